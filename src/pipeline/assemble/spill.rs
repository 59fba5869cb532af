//! Records in bounded memory: sorted by parts of their keys, and read back by position. What does not fit goes to files
//! that have no name any more, so that nothing stays behind whatever ends the process. Whether something was spilled shows
//! in no outcome.

use std::{
    borrow::Cow,
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Mutex,
};

use crate::{
    pipeline::ordered::ordered,
    store::{Error, io_error},
};

/// Parts that keys are sorted in. One of them has to fit into memory.
const PARTS: usize = 256;

/// Records from which on several threads sort.
const THREADED: usize = 1 << 14;

/// A record of fixed width, in the order in which it is sorted.
pub trait Record: Ord + Copy + Send + Sync {
    /// Its width in bytes.
    const BYTES: usize;
    /// What it is sorted by first: a hash, or a number below what the sorter was told.
    fn key(&self) -> u64;
    /// Appends it to `bytes`.
    fn put(&self, bytes: &mut Vec<u8>);
    /// Reads it back.
    fn get(bytes: &mut Fields<'_>) -> Self;
}

/// Fields one after the other.
pub struct Fields<'a>(pub &'a [u8]);

impl Fields<'_> {
    /// The next `N` bytes; zeros where there are no more.
    pub fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.0.split_at(N.min(self.0.len()));
        self.0 = rest;
        head.try_into().unwrap_or([0; N])
    }

    /// The next number.
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    /// The next number.
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    /// The next number.
    pub fn u128(&mut self) -> u128 {
        u128::from_le_bytes(self.take())
    }
}

/// A file for reading and writing in `directory` whose name is gone already.
fn nameless(directory: &Path) -> Result<File, Error> {
    let path = directory.join("spill");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
    let file = file.map_err(io_error(&path))?;
    fs::remove_file(&path).map_err(io_error(&path))?;
    Ok(file)
}

/// Bytes that are appended and read back by their offset.
pub struct Bytes {
    directory: PathBuf,
    memory: Vec<u8>,
    memory_max: usize,
    /// What was spilled, and how much that is; `memory` comes behind it.
    file: Option<(File, u64)>,
}

/// Bytes that are collected before they are appended to a file.
const APPENDED: usize = 1 << 20;

impl Bytes {
    /// None yet; up to `memory_max` of them stay in memory.
    pub fn new(directory: &Path, memory_max: u64) -> Self {
        let memory_max = usize::try_from(memory_max).unwrap_or(usize::MAX);
        Bytes { directory: directory.to_owned(), memory: Vec::new(), memory_max, file: None }
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.file.as_ref().map_or(0, |(_, bytes)| *bytes) + self.memory.len() as u64
    }

    /// Appends `bytes`; the offset that they have.
    ///
    /// # Errors
    /// They can't be written.
    pub fn append(&mut self, bytes: &[u8]) -> Result<u64, Error> {
        let at = self.len();
        self.memory.extend_from_slice(bytes);
        let most = if self.file.is_some() { APPENDED.min(self.memory_max) } else { self.memory_max };
        if self.memory.len() > most {
            let (mut file, spilled) = match self.file.take() {
                Some(file) => file,
                None => (nameless(&self.directory)?, 0),
            };
            file.write_all(&self.memory).map_err(io_error(&self.directory))?;
            self.file = Some((file, spilled + self.memory.len() as u64));
            self.memory = Vec::new();
        }
        Ok(at)
    }

    /// Up to `most` of the bytes from the offset `at` on, at least one that there is: those of a file end with it.
    ///
    /// # Errors
    /// They can't be read.
    pub fn window(&self, at: u64, most: usize) -> Result<Cow<'_, [u8]>, Error> {
        let spilled = self.file.as_ref().map_or(0, |(_, bytes)| *bytes);
        let end = if at < spilled { spilled } else { self.len() };
        self.read(at, usize::try_from(end - at).unwrap_or(usize::MAX).min(most))
    }

    /// The `len` bytes at the offset `at`.
    ///
    /// # Errors
    /// They can't be read.
    pub fn read(&self, at: u64, len: usize) -> Result<Cow<'_, [u8]>, Error> {
        let spilled = self.file.as_ref().map_or(0, |(_, bytes)| *bytes);
        match &self.file {
            Some((file, _)) if at < spilled => {
                let mut bytes = vec![0; len];
                // Nothing is cut in two by the end of the file: what is appended at once is spilled at once.
                file.read_exact_at(&mut bytes, at).map_err(io_error(&self.directory))?;
                Ok(Cow::Owned(bytes))
            }
            _ => {
                let from = usize::try_from(at - spilled).unwrap_or(usize::MAX);
                Ok(Cow::Borrowed(self.memory.get(from..from.saturating_add(len)).unwrap_or_default()))
            }
        }
    }
}

/// Records by position.
pub struct Table<R> {
    bytes: Bytes,
    buffer: Vec<u8>,
    kind: std::marker::PhantomData<fn() -> R>,
}

impl<R: Record> Table<R> {
    /// None yet; up to `memory_max` bytes of them stay in memory.
    pub fn new(directory: &Path, memory_max: u64) -> Self {
        Table { bytes: Bytes::new(directory, memory_max), buffer: Vec::new(), kind: std::marker::PhantomData }
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.bytes.len() / R::BYTES as u64
    }

    /// Appends a record.
    ///
    /// # Errors
    /// It can't be written.
    pub fn push(&mut self, record: R) -> Result<(), Error> {
        self.buffer.clear();
        record.put(&mut self.buffer);
        self.bytes.append(&self.buffer).map(|_| ())
    }

    /// The record at the position `at`, which must be below [`Table::len`].
    ///
    /// # Errors
    /// It can't be read.
    pub fn get(&self, at: u64) -> Result<R, Error> {
        let bytes = self.bytes.read(at * R::BYTES as u64, R::BYTES)?;
        Ok(R::get(&mut Fields(&bytes)))
    }
}

/// Sorts records.
pub struct Sorter<R> {
    directory: PathBuf,
    /// By the first bits of the key.
    parts: Vec<Vec<R>>,
    waiting: usize,
    waiting_max: usize,
    /// How far keys are shifted to be the number of a part.
    shift: u32,
    /// What was spilled: for each time, where each part begins, and the end.
    file: Option<(File, u64)>,
    spilled: Vec<Vec<u64>>,
}

impl<R: Record> Sorter<R> {
    /// None yet, with keys up to `key_max`; about `memory_max` bytes of them stay in memory.
    pub fn new(directory: &Path, memory_max: u64, key_max: u64) -> Self {
        let bits = u64::BITS - key_max.leading_zeros();
        Sorter {
            directory: directory.to_owned(),
            parts: (0..PARTS).map(|_| Vec::new()).collect(),
            waiting: 0,
            // Vectors grow by doubling, so they are larger by a half than what is in them.
            waiting_max: (usize::try_from(memory_max).unwrap_or(usize::MAX) / 3 * 2 / size_of::<R>()).max(PARTS),
            shift: bits.saturating_sub(PARTS.ilog2()),
            file: None,
            spilled: Vec::new(),
        }
    }

    /// Adds a record.
    ///
    /// # Errors
    /// It can't be written.
    pub fn push(&mut self, record: R) -> Result<(), Error> {
        let part = (record.key() >> self.shift) as usize;
        self.parts[part.min(PARTS - 1)].push(record);
        self.waiting += 1;
        if self.waiting >= self.waiting_max { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> Result<(), Error> {
        let (mut file, mut at) = match self.file.take() {
            Some(file) => file,
            None => (nameless(&self.directory)?, 0),
        };
        let mut starts = vec![at];
        let mut bytes = Vec::new();
        for part in &mut self.parts {
            for record in part.iter() {
                record.put(&mut bytes);
                if bytes.len() >= APPENDED {
                    file.write_all(&bytes).map_err(io_error(&self.directory))?;
                    bytes.clear();
                }
            }
            at += (part.len() * R::BYTES) as u64;
            starts.push(at);
            part.clear();
        }
        file.write_all(&bytes).map_err(io_error(&self.directory))?;
        self.file = Some((file, at));
        self.spilled.push(starts);
        self.waiting = 0;
        Ok(())
    }

    /// Calls `each` with the records of every part, sorted, in order; parts are sorted on `threads` threads.
    ///
    /// # Errors
    /// They can't be read back, or what `each` returns.
    pub fn for_each_part(self, threads: usize, mut each: impl FnMut(&[R]) -> Result<(), Error>) -> Result<(), Error> {
        let Sorter { directory, parts, file, spilled, waiting, .. } = self;
        let parts: Vec<Mutex<Vec<R>>> = parts.into_iter().map(Mutex::new).collect();
        let sort = |_: &mut (), number: u64| {
            let number = usize::try_from(number).unwrap_or_default();
            let mut records = parts[number].lock().map(|mut part| std::mem::take(&mut *part)).unwrap_or_default();
            for starts in &spilled {
                let Some((file, _)) = &file else { continue };
                let mut bytes = vec![0; usize::try_from(starts[number + 1] - starts[number]).unwrap_or_default()];
                file.read_exact_at(&mut bytes, starts[number]).map_err(io_error(&directory))?;
                records.extend(bytes.chunks_exact(R::BYTES).map(|bytes| R::get(&mut Fields(bytes))));
            }
            records.sort_unstable();
            Ok(records)
        };
        // What is sorted in a moment is not worth threads.
        if file.is_none() && waiting < THREADED {
            return (0..PARTS as u64).try_for_each(|number| each(&sort(&mut (), number)?));
        }
        ordered(threads, 0..PARTS as u64, || (), sort, |_, records| each(&records))
    }

    /// All records, sorted, by position.
    ///
    /// # Errors
    /// They can't be read back or written.
    pub fn into_table(self, threads: usize, memory_max: u64) -> Result<Table<R>, Error> {
        let mut table = Table::new(&self.directory.clone(), memory_max);
        self.for_each_part(threads, |records| records.iter().try_for_each(|record| table.push(*record)))?;
        Ok(table)
    }
}

/// One bit for each row.
#[derive(Default)]
pub struct Bits(Vec<u64>);

impl Bits {
    /// Sets the bit `at`; whether it was not set.
    pub fn set(&mut self, at: u32) -> bool {
        let (word, bit) = (at as usize / 64, 1 << (at % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let is_new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        is_new
    }

    /// Whether the bit `at` is set.
    pub fn has(&self, at: u32) -> bool {
        self.0.get(at as usize / 64).is_some_and(|word| word & (1 << (at % 64)) != 0)
    }

    /// How many are set.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

/// Defines a record: its fields in the order in which it is sorted, of unsigned numbers, and its key.
macro_rules! record {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty),+ $(,)? } $self:ident => $key:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name { $($(#[$field_doc])* pub $field: $kind),+ }

        impl $crate::pipeline::assemble::spill::Record for $name {
            const BYTES: usize = 0 $(+ size_of::<$kind>())+;
            fn key(&$self) -> u64 {
                $key
            }
            fn put(&self, bytes: &mut Vec<u8>) {
                $(bytes.extend_from_slice(&self.$field.to_le_bytes());)+
            }
            fn get(fields: &mut $crate::pipeline::assemble::spill::Fields<'_>) -> Self {
                $name { $($field: <$kind>::from_le_bytes(fields.take())),+ }
            }
        }
    };
}
pub(in crate::pipeline) use record;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dedup::words::mix;

    record!(Pair { hash: u64, number: u32 } self => self.hash);

    #[test]
    fn what_is_sorted_does_not_depend_on_memory() {
        let directory = tempfile::TempDir::new().expect("a directory");
        let pairs: Vec<Pair> = (0..20_000).map(|n| Pair { hash: mix(u64::from(n % 7000)), number: n }).collect();
        let mut expected = pairs.clone();
        expected.sort_unstable();
        for (memory, threads) in [(0, 1), (10_000, 2), (100_000, 3), (u64::MAX, 2)] {
            let mut sorter = Sorter::new(directory.path(), memory, u64::MAX);
            pairs.iter().try_for_each(|pair| sorter.push(*pair)).expect("it can be written");
            assert_eq!(sorter.file.is_some(), memory < u64::MAX);
            let table = sorter.into_table(threads, memory).expect("it can be read");
            let found: Vec<Pair> = (0..table.len()).map(|at| table.get(at).expect("a record")).collect();
            assert_eq!(found, expected, "{memory}");
        }
        assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 0, "spilled files have no names");
    }

    #[test]
    fn numbers_are_sorted_in_parts_as_well() {
        let directory = tempfile::TempDir::new().expect("a directory");
        record!(Number { number: u32 } self => u64::from(self.number));
        for max in [1, 255, 1000, 70_000] {
            let mut sorter = Sorter::new(directory.path(), 1000, u64::from(max));
            (0..=max).rev().try_for_each(|number| sorter.push(Number { number })).expect("it can be written");
            let table = sorter.into_table(2, 1000).expect("it can be read");
            assert!((0..=max).all(|at| table.get(u64::from(at)).is_ok_and(|record| record.number == at)), "{max}");
        }
    }

    #[test]
    fn bits_are_counted() {
        let mut bits = Bits::default();
        assert!(bits.set(70) && !bits.set(70) && bits.set(0));
        assert!(bits.has(70) && bits.has(0) && !bits.has(1) && !bits.has(7000));
        assert_eq!(bits.count(), 2);
    }
}
