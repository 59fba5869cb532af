//! How alike rows are: what earlier assemblies found out, and what is worked out from the sets of rows.
//!
//! ```text
//! STORE/assembly/pairs        for pairs of rows that were compared, their similarities, or bounds of them
//! STORE/assembly/sizes        for rows that share a band with another one, how large the set of their contents is
//! STORE/assembly/sketches     for rows that share a band with very many others, a sketch of that set
//! ```
//!
//! All are sorted by digests over what was compared and have no names in them, so nothing in them can be out of date.

use std::{
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use hashbrown::HashMap;

use super::{
    Near,
    facts::{Changes, Segment, TEXT_COLUMNS, change_set, contents_set, for_each_batch},
    kept::{KeptReader, KeptWriter, is_whole},
    spill::{Bits, Bytes, Fields, Record, Sorter, Table, record},
};
use crate::{
    dedup::{
        near::{MinHash, SKETCH_BANDS},
        words,
    },
    pipeline::{
        ordered::ordered,
        redact::{Redaction, Scratch},
    },
    store::{Error, Store, segment::Batches},
};

/// Bytes of a member of a set.
const MEMBER: usize = size_of::<u32>();

/// Rows whose sets are made at once, but for the rest of a segment.
const GATHERED_AT_ONCE: usize = 1 << 18;

/// Records of a file that is kept of which one is remembered: the others are looked for behind it.
const FENCED: usize = 64;

/// The hashes of the bands of the sketch of the contents of a row.
pub type Sketch = [u32; SKETCH_BANDS];

/// Jaccard similarity of the changes, and of the contents (1 where those do not count). Of a pair that is not alike, one of them is
/// negative: it is at most so much without the sign, which tells that the pair is not alike. The other one says nothing then.
pub type Similarity = [f64; 2];

/// Whether a pair with this similarity is alike.
pub fn is_alike(similarity: Similarity, similarity_min: f64) -> bool {
    similarity.iter().all(|share| *share >= similarity_min)
}

/// Whether that can be told: what was found out with a higher threshold may not.
fn tells(similarity: Similarity, similarity_min: f64) -> bool {
    let mut bounds = similarity.iter().filter(|share| share.is_sign_negative()).peekable();
    bounds.peek().is_none() || bounds.any(|bound| -bound < similarity_min)
}

record!(
    /// What comparing needs of a row; by number. `at` is its position in all segments.
    Candidate { change_size: u32, license: u8, time: i64, id: u128, digest: u128, at: u32, is_deletion: u8 }
        self => self.id as u64
);

record!(
    /// A row whose sets are made, by its position in all segments.
    Wanted { at: u32, number: u32, is_deletion: u8 } self => u64::from(self.at)
);

record!(
    /// Where the sets of a row are, and the members of each; by number. Behind them is the sketch of those that need one.
    Place { at: u64, change: u32, contents: u32 } self => self.at
);

record!(
    /// The sets of a row that were made last.
    Placed { number: u32, at: u64, change: u32, contents: u32 } self => u64::from(self.number)
);

record!(
    /// What is kept of a pair: the bits of its similarities.
    Pair { digest: u128, change: u64, contents: u64 } self => (self.digest >> 64) as u64
);

record!(
    /// What is kept of a row: members of the set of its contents.
    Size { digest: u128, size: u32 } self => (self.digest >> 64) as u64
);

/// What is kept of a row that shares a band with very many others: the hashes of the bands of the sketch of its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sketched {
    digest: u128,
    sketch: Sketch,
}

impl Record for Sketched {
    const BYTES: usize = size_of::<u128>() + MEMBER * SKETCH_BANDS;
    fn key(&self) -> u64 {
        (self.digest >> 64) as u64
    }
    fn put(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.digest.to_le_bytes());
        self.sketch.iter().for_each(|band| bytes.extend_from_slice(&band.to_le_bytes()));
    }
    fn get(fields: &mut Fields<'_>) -> Self {
        Sketched { digest: fields.u128(), sketch: std::array::from_fn(|_| fields.u32()) }
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

impl Digested for Sketched {
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
    /// The digest of every record at a multiple of [`FENCED`].
    fences: Vec<u128>,
    used: Sorter<R>,
}

impl<R: Digested> Known<R> {
    fn open(directory: &Path, name: &str, memory: u64, threads: usize) -> Result<Self, Error> {
        let mut known = Known {
            path: directory.join(name),
            known: Bytes::new(directory, memory / 2),
            fences: Vec::new(),
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
        let mut file = KeptReader::open(&self.path)?;
        let mut block = Vec::with_capacity(FENCED * R::BYTES);
        while file.left() >= R::BYTES as u64 {
            let records = usize::try_from(file.left()).unwrap_or(usize::MAX) / R::BYTES;
            block.resize(records.min(FENCED) * R::BYTES, 0);
            file.read(&mut block)?;
            self.fences.push(R::get(&mut Fields(&block)).digest());
            // What is appended at once can be read at once.
            self.known.append(&block)?;
        }
        Ok(())
    }

    fn find(&self, digest: u128) -> Result<Option<R>, Error> {
        let Some(block) = self.fences.partition_point(|fence| *fence <= digest).checked_sub(1) else {
            return Ok(None);
        };
        let at = (block * FENCED * R::BYTES) as u64;
        let bytes =
            self.known.read(at, (FENCED * R::BYTES).min(usize::try_from(self.known.len() - at).unwrap_or(0)))?;
        let records = bytes.chunks_exact(R::BYTES).map(|bytes| R::get(&mut Fields(bytes)));
        Ok(records.take_while(|record| record.digest() <= digest).find(|record| record.digest() == digest))
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

/// The sets of rows that were made, by number.
struct Sets {
    places: Table<Place>,
    bytes: Bytes,
}

/// The offset of sets that were not made.
const NOWHERE: u64 = u64::MAX;

impl Sets {
    fn place(&self, number: u32) -> Result<Option<Place>, Error> {
        if u64::from(number) >= self.places.len() {
            return Ok(None);
        }
        Ok(Some(self.places.get(u64::from(number))?).filter(|place| place.at != NOWHERE))
    }
}

/// Sets that a thread compares. Pairs that come together have most of their rows in common.
struct Compared<'a> {
    sets: &'a Sets,
    /// Members of the change, then those of the contents; the number of bytes of the former.
    read: HashMap<u32, (Vec<u8>, usize)>,
    bytes: usize,
    bytes_max: usize,
}

impl Compared<'_> {
    /// The similarity of a pair; none where one of the sets was not made.
    fn compare(&mut self, (a, b): (u32, u32), similarity_min: f64) -> Result<Option<Similarity>, Error> {
        if self.bytes > self.bytes_max {
            self.read.clear();
            self.bytes = 0;
        }
        for number in [a, b] {
            if !self.read.contains_key(&number) {
                let Some(Place { at, change, contents }) = self.sets.place(number)? else { return Ok(None) };
                let (of_change, all) = (MEMBER * change as usize, MEMBER * (change as usize + contents as usize));
                self.read.insert(number, (self.sets.bytes.read(at, all)?.into_owned(), of_change));
                self.bytes += all;
            }
        }
        let [a, b] = [a, b].map(|number| {
            let (bytes, of_change) = &self.read[&number];
            bytes.split_at((*of_change).min(bytes.len()))
        });
        // Pairs have part of their changes in common, or they would be none, so it mostly is the contents that differ.
        Ok(Some(match words::jaccard_from(a.1, b.1, similarity_min) {
            Err(bound) => [-1.0, -bound],
            Ok(contents) => match words::jaccard_from(a.0, b.0, similarity_min) {
                Err(bound) => [-bound, contents],
                Ok(change) => [change, contents],
            },
        }))
    }
}

/// What is asked for the similarity of pairs.
pub struct Similarities<'a> {
    near: Near,
    similarity_min: f64,
    candidates: &'a Table<Candidate>,
    segments: &'a [Segment],
    changes: &'a Changes,
    redaction: &'a Redaction,
    /// Rows of which sketches are needed.
    sketched: &'a Bits,
    /// Where spilled files are made.
    directory: PathBuf,
    memory: u64,
    threads: usize,
    interrupt: &'a AtomicBool,
    pairs: Known<Pair>,
    sizes: Known<Size>,
    sketches: Known<Sketched>,
    sets: Sets,
    /// Rows whose sets are to be made.
    wanted: Bits,
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
        (near, similarity_min): (Near, f64),
        (candidates, sketched): (&'a Table<Candidate>, &'a Bits),
        (segments, changes, redaction): (&'a [Segment], &'a Changes, &'a Redaction),
        memory: u64,
        threads: usize,
        interrupt: &'a AtomicBool,
    ) -> Result<Self, Error> {
        let directory = super::directory(store);
        Ok(Similarities {
            near,
            similarity_min,
            candidates,
            segments,
            changes,
            redaction,
            sketched,
            pairs: Known::open(&directory, "pairs", memory / 4, threads)?,
            sizes: Known::open(&directory, "sizes", memory / 16, threads)?,
            sketches: Known::open(&directory, "sketches", memory / 16, threads)?,
            sets: Sets { places: Table::new(&directory, memory / 8), bytes: Bytes::new(&directory, memory / 8) },
            wanted: Bits::default(),
            lacks: false,
            directory,
            memory,
            threads,
            interrupt,
        })
    }

    fn digest(&self, number: u32) -> Result<u128, Error> {
        Ok(self.candidates.get(u64::from(number))?.digest)
    }

    /// What is known of a pair without sets, or what they say.
    fn find(&self, pair: (u32, u32), compared: &mut Compared<'_>) -> Result<Found, Error> {
        let (a, b) = (self.digest(pair.0)?, self.digest(pair.1)?);
        if a == b {
            return Ok(Found { key: None, similarity: Some([1.0; 2]) });
        }
        let key = digest([a.min(b), a.max(b)]);
        let known = self.pairs.find(key)?.map(|pair| [f64::from_bits(pair.change), f64::from_bits(pair.contents)]);
        let similarity = match known.filter(|similarity| tells(*similarity, self.similarity_min)) {
            None => compared.compare(pair, self.similarity_min)?,
            known => known,
        };
        Ok(Found { key: Some(key), similarity })
    }

    /// Asks for the sets of a row, next time.
    fn want(&mut self, number: u32) {
        self.lacks = true;
        self.wanted.set(number);
    }

    /// How many members the set of the contents of a row has; none where it is not there, and wanted from then on.
    ///
    /// # Errors
    /// What was spilled can't be read.
    pub fn size(&mut self, number: u32) -> Result<Option<u32>, Error> {
        let digest = self.digest(number)?;
        let size = match self.sets.place(number)? {
            Some(place) => Some(place.contents),
            None => self.sizes.find(digest)?.map(|found| found.size),
        };
        match size {
            Some(size) => self.sizes.used.push(Size { digest, size })?,
            None => self.want(number),
        }
        Ok(size)
    }

    /// The sketch of the contents of a row that needs one; none where it is not there, and wanted from then on.
    ///
    /// # Errors
    /// What was spilled can't be read.
    pub fn sketch(&mut self, number: u32) -> Result<Option<Sketch>, Error> {
        let digest = self.digest(number)?;
        let sketch = match self.sets.place(number)? {
            Some(Place { at, change, contents }) => {
                let behind = at + MEMBER as u64 * (u64::from(change) + u64::from(contents));
                let bytes = self.sets.bytes.read(behind, MEMBER * SKETCH_BANDS)?;
                let mut fields = Fields(&bytes);
                Some(std::array::from_fn(|_| fields.u32()))
            }
            None => self.sketches.find(digest)?.map(|found| found.sketch),
        };
        match sketch {
            Some(sketch) => self.sketches.used.push(Sketched { digest, sketch })?,
            None => self.want(number),
        }
        Ok(sketch)
    }

    /// The similarities of pairs of rows, found on all threads; none where sets are not there, which are wanted from then on.
    ///
    /// # Errors
    /// What was spilled can't be read.
    pub fn of_many(&mut self, pairs: &[(u32, u32)]) -> Result<Vec<Option<Similarity>>, Error> {
        let part = pairs.len().div_ceil(self.threads).max(256);
        let this: &Self = self;
        let bytes_max = usize::try_from(self.memory / 8).unwrap_or(usize::MAX) / self.threads.max(1);
        let look = |pairs: &[(u32, u32)]| -> Result<Vec<Found>, Error> {
            let mut compared = Compared { sets: &this.sets, read: HashMap::new(), bytes: 0, bytes_max };
            pairs.iter().map(|pair| this.find(*pair, &mut compared)).collect()
        };
        let found: Vec<Found> = if pairs.len() <= part {
            look(pairs)?
        } else {
            let parts: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = pairs.chunks(part).map(|pairs| scope.spawn(move || look(pairs))).collect();
                threads.into_iter().map(|thread| thread.join().expect("comparing does not panic")).collect()
            });
            parts.into_iter().collect::<Result<Vec<_>, _>>()?.concat()
        };
        for ((a, b), Found { key, similarity }) in pairs.iter().zip(&found) {
            match (key, similarity) {
                (Some(digest), Some([change, contents])) => {
                    let (change, contents) = (change.to_bits(), contents.to_bits());
                    self.pairs.used.push(Pair { digest: *digest, change, contents })?;
                }
                (None, Some(_)) => {}
                (_, None) => [*a, *b].into_iter().for_each(|number| self.want(number)),
            }
        }
        Ok(found.into_iter().map(|found| found.similarity).collect())
    }

    /// Makes the sets that are wanted, beside those that are there.
    ///
    /// # Errors
    /// A segment is damaged, or something can't be written.
    pub fn gather(&mut self) -> Result<(), Error> {
        let (candidates, wanted) = (self.candidates, std::mem::take(&mut self.wanted));
        let mut rows = Sorter::new(&self.directory, self.memory / 4, candidates.len());
        for number in (0..u32::try_from(candidates.len()).unwrap_or(u32::MAX)).filter(|number| wanted.has(*number)) {
            if self.sets.place(number)?.is_none() {
                let Candidate { at, is_deletion, .. } = candidates.get(u64::from(number))?;
                rows.push(Wanted { at, number, is_deletion })?;
            }
        }
        let starts: Vec<u64> = self
            .segments
            .iter()
            .scan(0, |next, segment| {
                *next += segment.rows;
                Some(*next - segment.rows)
            })
            .collect();
        let segment_of = |row: &Wanted| starts.partition_point(|start| *start <= u64::from(row.at)) - 1;
        let mut placed = Sorter::new(&self.directory, self.memory / 4, candidates.len());
        let mut waiting: Vec<(usize, Vec<Wanted>)> = Vec::new();
        let mut rows_waiting = 0;
        rows.for_each_part(self.threads, |rows| {
            for of_one in rows.chunk_by(|a, b| segment_of(a) == segment_of(b)) {
                let segment = segment_of(&of_one[0]);
                match waiting.last_mut() {
                    Some((last, rows)) if *last == segment => rows.extend_from_slice(of_one),
                    _ => {
                        if rows_waiting >= GATHERED_AT_ONCE {
                            self.sets_of(&std::mem::take(&mut waiting), &starts, &mut placed)?;
                            rows_waiting = 0;
                        }
                        waiting.push((segment, of_one.to_vec()));
                    }
                }
                rows_waiting += of_one.len();
            }
            Ok(())
        })?;
        self.sets_of(&waiting, &starts, &mut placed)?;
        self.place(placed)?;
        self.lacks = false;
        Ok(())
    }

    /// Makes the sets of rows of some segments, in order.
    fn sets_of(
        &mut self,
        wanted: &[(usize, Vec<Wanted>)],
        starts: &[u64],
        placed: &mut Sorter<Placed>,
    ) -> Result<(), Error> {
        let (near, threads, redaction, interrupt) = (self.near, self.threads, self.redaction, self.interrupt);
        let (segments, changes, sketched) = (self.segments, self.changes, self.sketched);
        let mut found = Vec::new();
        let find = |_: &mut (), at: u64| {
            let (segment, rows) = &wanted[usize::try_from(at).unwrap_or_default()];
            let change = |row| changes.find(*segment, row);
            Gathered::find(&segments[*segment], starts[*segment], rows, (redaction.digest().is_some(), &change))
        };
        ordered(
            threads,
            0..wanted.len() as u64,
            || (),
            find,
            |_, of_segment| {
                found.push(of_segment);
                Ok(())
            },
        )?;
        let batches: Vec<(usize, usize)> = found
            .iter()
            .enumerate()
            .flat_map(|(at, gathered)| (0..gathered.wanted.len()).map(move |batch| (at, batch)))
            .collect();
        let minhash = MinHash::default();
        let sketch =
            |number: u32, set: &[u32]| (near == Near::Both && sketched.has(number)).then(|| minhash.sketch(set));
        let read = |scratch: &mut Scratch, at: u64| {
            let (gathered, batch) = batches[usize::try_from(at).unwrap_or_default()];
            found[gathered].read(batch, (near, &sketch), (redaction, scratch), interrupt)
        };
        let sets = &mut self.sets;
        ordered(threads, 0..batches.len() as u64, Scratch::default, read, |_, made: Made| {
            let mut rest = made.bytes.as_slice();
            for (number, change, contents, bytes) in made.rows {
                let (of_row, behind) = rest.split_at(bytes);
                placed.push(Placed { number, at: sets.bytes.append(of_row)?, change, contents })?;
                rest = behind;
            }
            Ok(())
        })
    }

    /// Notes where the sets that were made last are.
    fn place(&mut self, placed: Sorter<Placed>) -> Result<(), Error> {
        let mut places = Table::new(&self.directory, self.memory / 8);
        let before = &self.sets;
        let up_to = |places: &mut Table<Place>, end: u32| -> Result<(), Error> {
            for number in u32::try_from(places.len()).unwrap_or(u32::MAX)..end {
                let place = before.place(number)?.unwrap_or(Place { at: NOWHERE, change: 0, contents: 0 });
                places.push(place)?;
            }
            Ok(())
        };
        placed.for_each_part(self.threads, |rows| {
            for Placed { number, at, change, contents } in rows.iter().copied() {
                up_to(&mut places, number)?;
                places.push(Place { at, change, contents })?;
            }
            Ok(())
        })?;
        up_to(&mut places, u32::try_from(self.candidates.len()).unwrap_or(u32::MAX))?;
        self.sets.places = places;
        Ok(())
    }

    /// Keeps what counted for the next assembly.
    ///
    /// # Errors
    /// It can't be written.
    pub fn keep(&mut self) -> Result<(), Error> {
        self.pairs.keep()?;
        self.sizes.keep()?;
        self.sketches.keep()
    }
}

/// What was found of a pair.
#[derive(Clone, Copy)]
struct Found {
    /// What it is kept by; none of a pair that is the same.
    key: Option<u128>,
    similarity: Option<Similarity>,
}

/// Sets of rows, one behind the other.
struct Made {
    /// Numbers, the members of each set, and bytes.
    rows: Vec<(u32, u32, u32, usize)>,
    bytes: Vec<u8>,
}

/// What is wanted of a segment.
struct Gathered<'a> {
    segment: &'a Segment,
    columns: &'static [&'static str],
    batches: Batches,
    /// For each batch that has some, the rows.
    wanted: Vec<(usize, Vec<OfBatch<'a>>)>,
}

/// A row that is wanted of a batch: its position and its number, and the set of its change where that is known.
type OfBatch<'a> = (usize, u32, Option<&'a [u8]>);

impl<'a> Gathered<'a> {
    /// Looks for the batches of the rows that are `wanted`, of which all texts are read where they are redacted.
    fn find(
        segment: &'a Segment,
        start: u64,
        wanted: &[Wanted],
        (is_redacted, change): (bool, &impl Fn(u64) -> Option<&'a [u8]>),
    ) -> Result<Self, Error> {
        // A set is made of old contents where there are no new ones.
        let reads_all = is_redacted || wanted.iter().any(|row| row.is_deletion != 0);
        let reads_diffs = wanted.iter().any(|row| change(u64::from(row.at) - start).is_none());
        let columns: &'static [&'static str] = match (reads_all, reads_diffs) {
            (true, _) => TEXT_COLUMNS,
            (false, true) => &["diff", "new_contents"],
            (false, false) => &["new_contents"],
        };
        let batches = Batches::find(&segment.path, columns)?;
        let mut rows = wanted.iter().map(|row| (u64::from(row.at) - start, row.number)).peekable();
        let (mut by_batch, mut first) = (Vec::new(), 0);
        for (at, place) in batches.places().iter().enumerate() {
            let mut here = Vec::new();
            while let Some((position, number)) = rows.next_if(|(position, _)| *position < first + place.rows) {
                here.push((usize::try_from(position - first).unwrap_or(usize::MAX), number, change(position)));
            }
            if !here.is_empty() {
                by_batch.push((at, here));
            }
            first += place.rows;
        }
        match rows.next() {
            None => Ok(Gathered { segment, columns, batches, wanted: by_batch }),
            Some(_) => Err(Error::Damaged {
                path: segment.facts.clone(),
                reason: "facts are of rows that are not there".into(),
            }),
        }
    }

    /// The sets of the rows that are wanted of one batch.
    fn read(
        &self,
        batch: usize,
        (near, sketch): (Near, &impl Fn(u32, &[u32]) -> Option<Sketch>),
        (redaction, scratch): (&Redaction, &mut Scratch),
        interrupt: &AtomicBool,
    ) -> Result<Made, Error> {
        let (at, wanted) = &self.wanted[batch];
        let mut made = Made { rows: Vec::with_capacity(wanted.len()), bytes: Vec::new() };
        for_each_batch(self.segment, (&self.batches, self.columns), *at..*at + 1, interrupt, |rows| {
            for (row, number, change) in wanted {
                let sample = rows.get(*row);
                let fate = redaction.redact(&sample, scratch);
                let sample = fate.sample(&sample);
                let contents = if near == Near::Both { contents_set(&sample) } else { Vec::new() };
                let start = made.bytes.len();
                match change {
                    Some(bytes) => made.bytes.extend_from_slice(bytes),
                    None => made.bytes.extend(change_set(&sample).iter().flat_map(|member| member.to_le_bytes())),
                }
                let change = (made.bytes.len() - start) / MEMBER;
                let members = contents.iter().copied().chain(sketch(*number, &contents).into_iter().flatten());
                made.bytes.extend(members.flat_map(u32::to_le_bytes));
                let [change, contents] = [change, contents.len()].map(|len| u32::try_from(len).unwrap_or(u32::MAX));
                made.rows.push((*number, change, contents, made.bytes.len() - start));
            }
            Ok(())
        })?;
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_tell_up_to_their_threshold() {
        for (similarity, similarity_min, expected) in [
            ([0.9, 0.8], 0.1, true),
            ([-1.0, -0.3], 0.7, true),
            ([-1.0, -0.3], 0.3, false),
            ([-0.0, 1.0], 0.1, true),
            ([-0.6, 0.9], 0.6, false),
            ([-0.6, 0.9], 0.7, true),
        ] {
            assert_eq!(tells(similarity, similarity_min), expected, "{similarity:?} {similarity_min}");
            assert!(similarity[0] >= 0.0 || !is_alike(similarity, similarity_min));
        }
    }
}
