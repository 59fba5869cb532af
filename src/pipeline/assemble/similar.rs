//! How alike rows are: what earlier assemblies found out, and what is worked out from the sets of rows.
//!
//! ```text
//! STORE/assembly/pairs        for pairs of rows that were compared, their similarities
//! STORE/assembly/sizes        for rows that share a band with another one, how large the set of their contents is
//! ```
//!
//! Both are sorted by digests over what was compared and have no names in them, so nothing in them can be out of date.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, atomic::AtomicBool},
};

use hashbrown::{HashMap, HashSet};

use super::{
    Near,
    facts::{COLUMNS, FactsReader, Segment, change_set, contents_set, for_each_batch},
    kept::{KeptReader, KeptWriter, is_whole},
    spill::{Bytes, Fields, Record, Sorter, record},
};
use crate::{
    dedup::words,
    pipeline::{
        ordered::ordered,
        redact::{Redaction, Scratch},
    },
    store::{Error, Store, segment::Batches},
};

/// Bytes that one set takes in the index of sets and in the list of those that are wanted.
const INDEX_BYTES: u64 = 96;

/// Bytes of a member of a set.
const MEMBER: usize = size_of::<u32>();

/// Jaccard similarity of the changes, and of the contents (1 where those do not count).
pub type Similarity = [f64; 2];

record!(
    /// What is kept of a pair: the bits of its similarities.
    Pair { digest: u128, change: u64, contents: u64 } self => (self.digest >> 64) as u64
);

record!(
    /// What is kept of a row: members of the set of its contents.
    Size { digest: u128, size: u32 } self => (self.digest >> 64) as u64
);

impl Pair {
    fn similarity(&self) -> Similarity {
        [f64::from_bits(self.change), f64::from_bits(self.contents)]
    }
}

trait Digested: Record {
    fn digest(&self) -> u128;
}

impl Digested for Pair {
    fn digest(&self) -> u128 {
        self.digest
    }
}

impl Digested for Size {
    fn digest(&self) -> u128 {
        self.digest
    }
}

/// Records of a file that is kept, and those of them that are asked for, which are kept again.
struct Known<R> {
    path: PathBuf,
    directory: PathBuf,
    memory: u64,
    threads: usize,
    /// Sorted records.
    known: Bytes,
    used: Sorter<R>,
}

impl<R: Digested> Known<R> {
    fn open(directory: &Path, name: &str, memory: u64, threads: usize) -> Result<Self, Error> {
        let mut known = Known {
            path: directory.join(name),
            known: Bytes::new(directory, memory / 2),
            used: Sorter::new(directory, memory / 2, u64::MAX),
            directory: directory.to_owned(),
            memory,
            threads,
        };
        if is_whole(&known.path) {
            known.read()?;
        }
        Ok(known)
    }

    fn read(&mut self) -> Result<(), Error> {
        self.known = Bytes::new(&self.directory, self.memory / 2);
        let mut file = KeptReader::open(&self.path)?;
        let mut record = vec![0; R::BYTES];
        while file.left() >= R::BYTES as u64 {
            file.read(&mut record)?;
            self.known.append(&record)?;
        }
        Ok(())
    }

    fn len(&self) -> u64 {
        self.known.len() / R::BYTES as u64
    }

    fn get(&self, at: u64) -> Result<R, Error> {
        let bytes = self.known.read(at * R::BYTES as u64, R::BYTES)?;
        Ok(R::get(&mut Fields(&bytes)))
    }

    fn find(&self, digest: u128) -> Result<Option<R>, Error> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            let record = self.get(middle)?;
            match record.digest().cmp(&digest) {
                std::cmp::Ordering::Equal => return Ok(Some(record)),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(None)
    }

    /// Makes what was asked for known, beside what is.
    fn remember(&mut self) -> Result<(), Error> {
        for at in 0..self.len() {
            self.used.push(self.get(at)?)?;
        }
        self.keep()?;
        self.read()
    }

    /// Writes what was asked for.
    fn keep(&mut self) -> Result<(), Error> {
        let mut file = KeptWriter::new(&self.path)?;
        let empty = Sorter::new(&self.directory, self.memory / 2, u64::MAX);
        let (mut last, mut bytes) = (None, Vec::new());
        std::mem::replace(&mut self.used, empty).for_each_part(self.threads, |records| {
            for record in records {
                if last != Some(record.digest()) {
                    bytes.clear();
                    record.put(&mut bytes);
                    file.write(&bytes)?;
                    last = Some(record.digest());
                }
            }
            Ok(())
        })?;
        file.seal()
    }
}

fn digest(parts: [u128; 2]) -> u128 {
    let mut hasher = blake3::Hasher::new();
    parts.iter().for_each(|part| {
        hasher.update(&part.to_le_bytes());
    });
    let mut half = [0; 16];
    half.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    u128::from_le_bytes(half)
}

/// What is compared of a row, as one digest: that of the change, or of change and contents.
pub fn compared(digests: [u128; 2], near: Near) -> u128 {
    match near {
        Near::Both => digest(digests),
        Near::Off | Near::Change => digests[0],
    }
}

/// Where the sets of a row are: an offset, and the members of each.
type Place = (u64, [usize; 2]);

/// The sets of rows that are to be compared, by what is compared.
struct Sets {
    places: HashMap<u128, Place>,
    bytes: Bytes,
}

impl Sets {
    fn compare(&self, (at_a, of_a): Place, (at_b, of_b): Place) -> Result<Similarity, Error> {
        let a = self.bytes.read(at_a, MEMBER * (of_a[0] + of_a[1]))?;
        let b = self.bytes.read(at_b, MEMBER * (of_b[0] + of_b[1]))?;
        let (a, b) = (a.split_at((MEMBER * of_a[0]).min(a.len())), b.split_at((MEMBER * of_b[0]).min(b.len())));
        Ok([words::jaccard_of_bytes(a.0, b.0), words::jaccard_of_bytes(a.1, b.1)])
    }

    /// Adds the sets of a row, of which `bytes` has the members one after the other.
    fn add(&mut self, digest: u128, bytes: &[u8], lens: [usize; 2]) -> Result<(), Error> {
        if !self.places.contains_key(&digest) {
            let at = self.bytes.append(bytes)?;
            self.places.insert(digest, (at, lens));
        }
        Ok(())
    }
}

/// What is asked for the similarity of pairs.
pub struct Similarities<'a> {
    near: Near,
    segments: &'a [Segment],
    redaction: &'a Redaction,
    /// Where spilled files are made.
    directory: PathBuf,
    memory: u64,
    threads: usize,
    interrupt: &'a AtomicBool,
    pairs: Known<Pair>,
    sizes: Known<Size>,
    sets: Sets,
    wanted: HashSet<u128>,
    /// Whether a pair was asked for that is not known.
    pub lacks: bool,
}

impl<'a> Similarities<'a> {
    /// Reads what `store` keeps of earlier pairs. In memory are at most about `memory` bytes.
    ///
    /// # Errors
    /// It can't be read.
    pub fn open(
        store: &Store,
        near: Near,
        (segments, redaction): (&'a [Segment], &'a Redaction),
        memory: u64,
        threads: usize,
        interrupt: &'a AtomicBool,
    ) -> Result<Self, Error> {
        let directory = super::directory(store);
        Ok(Similarities {
            near,
            segments,
            redaction,
            pairs: Known::open(&directory, "pairs", memory / 4, threads)?,
            sizes: Known::open(&directory, "sizes", memory / 8, threads)?,
            sets: Sets { places: HashMap::new(), bytes: Bytes::new(&directory, memory / 4) },
            wanted: HashSet::new(),
            lacks: false,
            directory,
            memory,
            threads,
            interrupt,
        })
    }

    fn key(&self, a: u128, b: u128) -> u128 {
        digest([a.min(b), a.max(b)])
    }

    /// The similarity of what the digests stand for, as far as it is known without sets.
    fn find(&self, a: u128, b: u128) -> Result<Option<Similarity>, Error> {
        if a == b {
            return Ok(Some([1.0; 2]));
        }
        Ok(self.pairs.find(self.key(a, b))?.map(|pair| pair.similarity()))
    }

    fn compute(&self, a: u128, b: u128) -> Result<Option<Similarity>, Error> {
        let (Some(a), Some(b)) = (self.sets.places.get(&a), self.sets.places.get(&b)) else { return Ok(None) };
        self.sets.compare(*a, *b).map(Some)
    }

    /// Remembers that the similarity of a pair counted.
    fn note(&mut self, a: u128, b: u128, [change, contents]: Similarity) -> Result<(), Error> {
        if a == b {
            return Ok(());
        }
        let pair = Pair { digest: self.key(a, b), change: change.to_bits(), contents: contents.to_bits() };
        self.pairs.used.push(pair)
    }

    /// Asks for the sets of both, next time; as many at once as memory allows.
    fn want(&mut self, a: u128, b: u128) {
        self.lacks = true;
        let most = usize::try_from(self.memory / 4 / INDEX_BYTES).unwrap_or(usize::MAX).max(2);
        if self.wanted.len() + 2 <= most {
            self.wanted.extend([a, b]);
        }
    }

    /// How many members the set of the contents of a row has; none where it is not there, and wanted from then on.
    ///
    /// # Errors
    /// What was spilled can't be read.
    pub fn size(&mut self, digest: u128) -> Result<Option<u32>, Error> {
        let size = match self.sets.places.get(&digest) {
            Some((_, lens)) => Some(u32::try_from(lens[1]).unwrap_or(u32::MAX)),
            None => self.sizes.find(digest)?.map(|found| found.size),
        };
        match size {
            Some(size) => self.sizes.used.push(Size { digest, size })?,
            None => self.want(digest, digest),
        }
        Ok(size)
    }

    /// The similarity of a pair; none where its sets are not there, which are wanted from then on.
    ///
    /// # Errors
    /// What was spilled can't be read.
    pub fn of(&mut self, a: u128, b: u128) -> Result<Option<Similarity>, Error> {
        Ok(self.of_many(&[(a, b)])?[0])
    }

    /// As [`Similarities::of`], for many pairs, on all threads.
    ///
    /// # Errors
    /// What was spilled can't be read.
    pub fn of_many(&mut self, pairs: &[(u128, u128)]) -> Result<Vec<Option<Similarity>>, Error> {
        let part = pairs.len().div_ceil(self.threads).max(256);
        let this: &Self = self;
        let look = |pairs: &[(u128, u128)]| -> Result<Vec<Option<Similarity>>, Error> {
            let one = |(a, b): &(u128, u128)| match this.find(*a, *b)? {
                None => this.compute(*a, *b),
                found => Ok(found),
            };
            pairs.iter().map(one).collect()
        };
        let found: Vec<Option<Similarity>> = if pairs.len() <= part {
            look(pairs)?
        } else {
            let parts: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = pairs.chunks(part).map(|pairs| scope.spawn(move || look(pairs))).collect();
                threads.into_iter().map(|thread| thread.join().expect("comparing does not panic")).collect()
            });
            parts.into_iter().collect::<Result<Vec<_>, _>>()?.concat()
        };
        for ((a, b), similarity) in pairs.iter().zip(&found) {
            match similarity {
                Some(similarity) => self.note(*a, *b, *similarity)?,
                None => self.want(*a, *b),
            }
        }
        Ok(found)
    }

    /// Gets the sets that are wanted, instead of those that are there; what was worked out from those is known from then
    /// on.
    ///
    /// # Errors
    /// A segment is damaged, or something can't be written.
    pub fn gather(&mut self) -> Result<(), Error> {
        if !self.sets.places.is_empty() {
            self.pairs.remember()?;
            self.sizes.remember()?;
        }
        let (wanted, near, threads) = (std::mem::take(&mut self.wanted), self.near, self.threads);
        let (segments, redaction, interrupt) = (self.segments, self.redaction, self.interrupt);
        // Which batches have rows that are wanted: the others are not read.
        let mut found = Vec::new();
        let find = |_: &mut (), at: u64| {
            let segment = &segments[usize::try_from(at).unwrap_or_default()];
            Gathered::find(segment, near, &wanted, redaction.digest().is_some())
        };
        ordered(
            threads,
            0..segments.len() as u64,
            || (),
            find,
            |_, of_segment| {
                found.extend(of_segment);
                Ok(())
            },
        )?;
        let batches: Vec<(usize, usize)> = found
            .iter()
            .enumerate()
            .flat_map(|(at, gathered)| (0..gathered.wanted.len()).map(move |batch| (at, batch)))
            .collect();
        let sets = Mutex::new(Sets {
            places: HashMap::with_capacity(wanted.len()),
            bytes: Bytes::new(&self.directory, self.memory / 4),
        });
        let read = |scratch: &mut Scratch, at: u64| {
            let (gathered, batch) = batches[usize::try_from(at).unwrap_or_default()];
            found[gathered].read(batch, near, &sets, (redaction, scratch), interrupt)
        };
        ordered(threads, 0..batches.len() as u64, Scratch::default, read, |_, ()| Ok(()))?;
        self.sets = sets.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.lacks = false;
        match self.sets.places.len() == wanted.len() {
            true => Ok(()),
            false => Err(Error::Damaged {
                path: self.directory.join("facts"),
                reason: "facts are of rows that are not there".into(),
            }),
        }
    }

    /// Keeps what counted for the next assembly.
    ///
    /// # Errors
    /// It can't be written.
    pub fn keep(&mut self) -> Result<(), Error> {
        self.pairs.keep()?;
        self.sizes.keep()
    }
}

/// What is wanted of a segment.
struct Gathered<'a> {
    segment: &'a Segment,
    columns: &'static [&'static str],
    batches: Batches,
    /// For each batch that has some, positions and digests of rows.
    wanted: Vec<(usize, Vec<(usize, u128)>)>,
}

impl<'a> Gathered<'a> {
    /// Looks for the rows that are `wanted`, of which all texts are read where they are redacted.
    fn find(
        segment: &'a Segment,
        near: Near,
        wanted: &HashSet<u128>,
        is_redacted: bool,
    ) -> Result<Option<Self>, Error> {
        let (mut here, mut reads_all): (Vec<(u64, u128)>, bool) = (Vec::new(), is_redacted);
        let (mut facts, mut position) = (FactsReader::open(&segment.facts, false)?, 0);
        while facts.advance()? {
            let digest = compared(facts.row.digests, near);
            if wanted.contains(&digest) {
                here.push((position, digest));
                // A set is made of old contents where there are no new ones.
                reads_all |= facts.row.new_file.is_none();
            }
            position += 1;
        }
        if here.is_empty() {
            return Ok(None);
        }
        let columns: &'static [&'static str] = if reads_all { &COLUMNS } else { &["diff", "new_contents"] };
        let batches = Batches::find(&segment.path, columns)?;
        let (mut by_batch, mut first, mut here) = (Vec::new(), 0, here.into_iter().peekable());
        for (at, place) in batches.places().iter().enumerate() {
            let mut rows = Vec::new();
            while let Some((position, digest)) = here.next_if(|(position, _)| *position < first + place.rows) {
                rows.push((usize::try_from(position - first).unwrap_or(usize::MAX), digest));
            }
            if !rows.is_empty() {
                by_batch.push((at, rows));
            }
            first += place.rows;
        }
        Ok(Some(Gathered { segment, columns, batches, wanted: by_batch }))
    }

    /// Adds the sets of the rows that are wanted of one batch.
    fn read(
        &self,
        batch: usize,
        near: Near,
        sets: &Mutex<Sets>,
        (redaction, scratch): (&Redaction, &mut Scratch),
        interrupt: &AtomicBool,
    ) -> Result<(), Error> {
        let locked = || sets.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (at, wanted) = &self.wanted[batch];
        for_each_batch(self.segment, (&self.batches, self.columns), *at..*at + 1, interrupt, |rows| {
            for (row, digest) in wanted {
                if locked().places.contains_key(digest) {
                    continue;
                }
                let sample = rows.get(*row);
                let fate = redaction.redact(&sample, scratch);
                let sample = fate.sample(&sample);
                let contents = if near == Near::Both { contents_set(&sample) } else { Vec::new() };
                let change = change_set(&sample);
                let mut bytes = Vec::with_capacity(MEMBER * (change.len() + contents.len()));
                change.iter().chain(&contents).for_each(|member| bytes.extend_from_slice(&member.to_le_bytes()));
                locked().add(*digest, &bytes, [change.len(), contents.len()])?;
            }
            Ok(())
        })
    }
}
