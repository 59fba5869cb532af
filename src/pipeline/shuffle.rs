//! Puts rows into an order that a seed and their ids draw, in bounded memory: they are spilled to files by the first byte of
//! their draw, and each file is sorted by itself. One that is too large is spilled again, by the next byte.

use std::{
    fs::{self, OpenOptions},
    io::{BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
};

use crate::{
    export::Error,
    store::{self, io_error},
};

/// Keeps these hashes apart from all others that are made of an id.
const DOMAIN: &[u8] = b"gitlode shuffle 1\0";

/// Files, one for each value of a byte.
const BUCKETS: usize = 256;

/// What waits for a file; all of them together keep at most 64 MiB.
const WAITING_BYTES_MAX: usize = 256 << 10;

/// A file up to this size is sorted in memory.
const SORTED_BYTES_MAX: u64 = 128 << 20;

/// Draw, split and length, in front of each row.
const HEADER_BYTES: usize = 16 + 4 + 8;

/// Hears of split and bytes of a row.
type Each<'a> = &'a mut dyn FnMut(usize, &[u8]) -> Result<(), Error>;

/// Rows on their way to another order.
pub struct Shuffle {
    seed: u64,
    directory: PathBuf,
    level: usize,
    waiting: Vec<Vec<u8>>,
    written: Vec<u64>,
}

impl Shuffle {
    /// Spills to files in `directory`, which is made and must not be there.
    ///
    /// # Errors
    /// It can't be made.
    pub fn new(directory: &Path, seed: u64) -> Result<Self, store::Error> {
        Shuffle::at(directory.to_owned(), seed, 0)
    }

    fn at(directory: PathBuf, seed: u64, level: usize) -> Result<Self, store::Error> {
        fs::create_dir(&directory).map_err(io_error(&directory))?;
        Ok(Shuffle { seed, directory, level, waiting: vec![Vec::new(); BUCKETS], written: vec![0; BUCKETS] })
    }

    /// Takes the row `id` of a split as the bytes that it is to come back as.
    ///
    /// # Errors
    /// A file can't be written.
    pub fn push(&mut self, id: &str, split: usize, row: &[u8]) -> Result<(), store::Error> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(DOMAIN);
        hasher.update(&self.seed.to_le_bytes());
        hasher.update(id.as_bytes());
        let mut draw = [0; 16];
        draw.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        self.spill(&draw, split as u32, row)
    }

    fn spill(&mut self, draw: &[u8; 16], split: u32, row: &[u8]) -> Result<(), store::Error> {
        let bucket = usize::from(draw[self.level]);
        let waiting = &mut self.waiting[bucket];
        waiting.extend_from_slice(draw);
        waiting.extend_from_slice(&split.to_le_bytes());
        waiting.extend_from_slice(&(row.len() as u64).to_le_bytes());
        waiting.extend_from_slice(row);
        if waiting.len() >= WAITING_BYTES_MAX { self.flush(bucket) } else { Ok(()) }
    }

    fn path(&self, bucket: usize) -> PathBuf {
        self.directory.join(format!("{bucket:02x}"))
    }

    fn flush(&mut self, bucket: usize) -> Result<(), store::Error> {
        let path = self.path(bucket);
        let waiting = std::mem::take(&mut self.waiting[bucket]);
        if waiting.is_empty() {
            return Ok(());
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&path).map_err(io_error(&path))?;
        file.write_all(&waiting).map_err(io_error(&path))?;
        self.written[bucket] += waiting.len() as u64;
        Ok(())
    }

    /// Calls `each` with split and bytes of every row, in the order that was drawn, and removes the files.
    ///
    /// # Errors
    /// A file can't be read, or what `each` returns.
    pub fn drain(mut self, each: Each<'_>) -> Result<(), Error> {
        for bucket in 0..BUCKETS {
            self.flush(bucket)?;
            let path = self.path(bucket);
            match self.written[bucket] {
                0 => continue,
                1..=SORTED_BYTES_MAX => self.sort(&path, each)?,
                _ if self.level + 1 == 16 => self.sort(&path, each)?,
                _ => self.spill_again(bucket, &path, each)?,
            }
        }
        fs::remove_dir(&self.directory).map_err(io_error(&self.directory))?;
        Ok(())
    }

    fn sort(&self, path: &Path, each: Each<'_>) -> Result<(), Error> {
        let bytes = fs::read(path).map_err(io_error(path))?;
        fs::remove_file(path).map_err(io_error(path))?;
        let mut rows: Vec<([u8; 16], u32, &[u8])> = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (header, behind) = rest.split_first_chunk().ok_or_else(|| damaged(path))?;
            let (draw, split, length) = parse(header);
            let (row, behind) = behind.split_at_checked(length).ok_or_else(|| damaged(path))?;
            rows.push((draw, split, row));
            rest = behind;
        }
        rows.sort_unstable();
        rows.into_iter().try_for_each(|(_, split, row)| each(split as usize, row))
    }

    /// The rows of one file, by the next byte of their draws.
    fn spill_again(&self, bucket: usize, path: &Path, each: Each<'_>) -> Result<(), Error> {
        let mut next = Shuffle::at(path.with_extension("next"), self.seed, self.level + 1)?;
        let mut reader = BufReader::new(fs::File::open(path).map_err(io_error(path))?);
        let (mut left, mut row) = (self.written[bucket], Vec::new());
        while left > 0 {
            let mut header = [0; HEADER_BYTES];
            reader.read_exact(&mut header).map_err(io_error(path))?;
            let (draw, split, length) = parse(&header);
            row.resize(length, 0);
            reader.read_exact(&mut row).map_err(io_error(path))?;
            next.spill(&draw, split, &row)?;
            left = left.checked_sub((HEADER_BYTES + length) as u64).ok_or_else(|| damaged(path))?;
        }
        fs::remove_file(path).map_err(io_error(path))?;
        next.drain(each)
    }
}

fn parse(header: &[u8; HEADER_BYTES]) -> ([u8; 16], u32, usize) {
    let (draw, rest) = header.split_first_chunk().expect("a header is longer");
    let (split, rest) = rest.split_first_chunk().expect("a header is longer");
    let length = rest.first_chunk().expect("a header is longer");
    (*draw, u32::from_le_bytes(*split), u64::from_le_bytes(*length) as usize)
}

fn damaged(path: &Path) -> store::Error {
    let source = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    store::Error::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_the_seeds_whatever_it_was() {
        let directory = tempfile::tempdir().expect("a directory");
        let ids: Vec<String> = (0..500).map(|n| format!("{n:032x}")).collect();
        let shuffled = |seed: u64, ids: &mut dyn Iterator<Item = &String>, again: bool| -> Vec<(usize, String)> {
            let mut shuffle = Shuffle::new(&directory.path().join("spill"), seed).expect("a directory");
            ids.for_each(|id| shuffle.push(id, id.len(), id.as_bytes()).expect("it is written"));
            let mut rows = Vec::new();
            let mut each = |split: usize, row: &[u8]| {
                rows.push((split, String::from_utf8_lossy(row).into_owned()));
                Ok(())
            };
            if again {
                for bucket in 0..BUCKETS {
                    shuffle.flush(bucket).expect("it is written");
                    if shuffle.written[bucket] > 0 {
                        shuffle.spill_again(bucket, &shuffle.path(bucket), &mut each).expect("it is read");
                    }
                }
                fs::remove_dir(&shuffle.directory).expect("nothing is left");
            } else {
                shuffle.drain(&mut each).expect("it is read");
            }
            rows
        };
        let first = shuffled(1, &mut ids.iter(), false);
        assert_eq!(first.len(), 500);
        assert_eq!(first, shuffled(1, &mut ids.iter().rev(), false), "another order before");
        assert_eq!(first, shuffled(1, &mut ids.iter(), true), "spilled twice");
        assert_ne!(first, shuffled(2, &mut ids.iter(), false));
        let mut sorted: Vec<_> = first.iter().map(|(_, id)| id).collect();
        assert_ne!(sorted, ids.iter().collect::<Vec<_>>());
        sorted.sort();
        assert_eq!(sorted, ids.iter().collect::<Vec<_>>());
    }
}
