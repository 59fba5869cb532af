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
    facts::{FactsReader, Segment, change_set, contents_set, for_each_row},
    kept::{KeptReader, KeptWriter, is_whole},
    spill::{Bytes, Fields, Record, Sorter, record},
};
use crate::{
    dedup::words,
    pipeline::{
        ordered::ordered,
        redact::{Redaction, Scratch},
    },
    store::{Error, Store},
};

/// Bytes that one set takes in the index of sets and in the list of those that are wanted.
const INDEX_BYTES: u64 = 96;

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
    fn read(&self, (at, lens): Place) -> Result<[Vec<u64>; 2], Error> {
        let bytes = self.bytes.read(at, 8 * (lens[0] + lens[1]))?;
        let mut fields = Fields(&bytes);
        Ok(lens.map(|len| (0..len).map(|_| fields.u64()).collect()))
    }

    fn add(&mut self, digest: u128, sets: [&[u64]; 2]) -> Result<(), Error> {
        if self.places.contains_key(&digest) {
            return Ok(());
        }
        let bytes: Vec<u8> = sets.iter().flat_map(|set| set.iter()).flat_map(|member| member.to_le_bytes()).collect();
        let at = self.bytes.append(&bytes)?;
        self.places.insert(digest, (at, sets.map(<[u64]>::len)));
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
        let (a, b) = (self.sets.read(*a)?, self.sets.read(*b)?);
        Ok(Some([0, 1].map(|at| words::jaccard(&a[at], &b[at]))))
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
        let (wanted, near, segments) = (std::mem::take(&mut self.wanted), self.near, self.segments);
        let redaction = self.redaction;
        let sets = Mutex::new(Sets {
            places: HashMap::with_capacity(wanted.len()),
            bytes: Bytes::new(&self.directory, self.memory / 4),
        });
        let one = |scratch: &mut Scratch, number: u64| {
            let segment = &segments[usize::try_from(number).unwrap_or_default()];
            gather_one(segment, near, &wanted, &sets, (redaction, scratch), self.interrupt)
        };
        ordered(self.threads, 0..segments.len() as u64, Scratch::default, one, |_, ()| Ok(()))?;
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

fn gather_one(
    segment: &Segment,
    near: Near,
    wanted: &HashSet<u128>,
    sets: &Mutex<Sets>,
    (redaction, scratch): (&Redaction, &mut Scratch),
    interrupt: &AtomicBool,
) -> Result<(), Error> {
    let locked = || sets.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut here: Vec<(u32, u128)> = Vec::new();
    let (mut facts, mut position) = (FactsReader::open(&segment.facts, false)?, 0);
    while facts.advance()? {
        let digest = compared(facts.row.digests, near);
        if wanted.contains(&digest) {
            here.push((position, digest));
        }
        position += 1;
    }
    if here.is_empty() {
        return Ok(());
    }
    let mut here = here.into_iter().peekable();
    for_each_row(&segment.path, interrupt, |position, sample| {
        let Some((_, digest)) = here.next_if(|(at, _)| *at == position) else { return Ok(()) };
        if locked().places.contains_key(&digest) {
            return Ok(());
        }
        let fate = redaction.redact(sample, scratch);
        let sample = fate.sample(sample);
        let contents = if near == Near::Both { contents_set(&sample) } else { Vec::new() };
        locked().add(digest, [&change_set(&sample), &contents])
    })
}
