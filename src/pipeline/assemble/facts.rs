//! What depends on one row alone, worked out once for each segment and kept beside the ledger.
//!
//! ```text
//! STORE/assembly/facts/<key>.facts       for each row its name, hashes, sizes and bands
//! STORE/assembly/facts/<key>.verdicts    for the rows that opt-outs, rules, benchmarks or redaction name, what they say
//! ```
//!
//! The key of the first is a digest over the segment's checksum and all that the facts are made by; that of the second
//! has opt-outs, rules and benchmarks in it as well, so that others of those leave the facts as they are.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use hashbrown::HashMap;

use super::{
    judge::Judge,
    kept::{KeptReader, KeptWriter, is_whole},
    spill::Fields,
};
use crate::{
    classify::{
        catalog,
        license::{Class, Licenses},
    },
    dedup::{
        contamination::Memory,
        near::{self, BANDS, MinHash},
        words,
    },
    pipeline::{ordered::ordered, redact},
    sample::Sample,
    store::{
        Error, Store,
        rows::Rows,
        segment::{self, Batches},
    },
};

/// Counts up when facts are made in another way.
const VERSION: u32 = 5;

/// The columns that facts look at. Contents are known by their blobs, so that they need not be decompressed.
pub const COLUMNS: &[&str] = &[
    "id",
    "commit",
    "old_file",
    "new_file",
    "subject",
    "lang",
    "diff",
    "old_blob",
    "new_blob",
    "old_encoding",
    "new_encoding",
    "author_time",
    "commit_time",
    "language",
    "license_spdx",
];

/// The columns that facts, redaction and benchmarks look at.
pub const TEXT_COLUMNS: &[&str] = &[
    "id",
    "commit",
    "old_file",
    "new_file",
    "old_contents",
    "new_contents",
    "subject",
    "message",
    "lang",
    "repos",
    "diff",
    "parent",
    "old_blob",
    "new_blob",
    "old_encoding",
    "new_encoding",
    "author_time",
    "commit_time",
    "reverts_subject",
    "language",
    "license_spdx",
];

/// A thread reads as many batches at a time as have so many bytes in the file,
const PART_BYTES: u64 = 1 << 19;

/// or so many rows.
const PART_ROWS: u64 = 4096;

/// Changed lines as a sorted set of n-grams of words, which have the line's sign in them.
pub fn change_set(sample: &Sample<'_>) -> Vec<u32> {
    let (mut hashes, mut start, mut is_in_hunk) = (Vec::new(), 0, false);
    let signs = [(b'+', words::hash("+")), (b'-', words::hash("-"))];
    for end in memchr::memchr_iter(b'\n', sample.diff.as_bytes()).chain([sample.diff.len()]) {
        let line = &sample.diff.as_bytes()[start..end];
        is_in_hunk |= line.starts_with(b"@@");
        let sign = signs.iter().find(|(sign, _)| is_in_hunk && line.first() == Some(sign));
        if let Some((_, sign)) = sign {
            let from = hashes.len();
            words::hashes_in(sample.diff, start + 1..end, &mut hashes);
            hashes[from..].iter_mut().for_each(|word| *word ^= sign);
        }
        start = end + 1;
    }
    words::ngram_set(&hashes, near::NGRAM_WORDS)
}

/// The new contents (of a deletion the old ones).
fn contents<'a>(sample: &Sample<'a>) -> &'a str {
    sample.new_contents.or(sample.old_contents).unwrap_or_default()
}

/// The new contents (of a deletion the old ones) as a sorted set of n-grams of words.
pub fn contents_set(sample: &Sample<'_>) -> Vec<u32> {
    let mut hashes = Vec::new();
    words::hashes(contents(sample), &mut hashes);
    words::ngram_set(&hashes, near::NGRAM_WORDS)
}

fn half(hasher: &blake3::Hasher) -> u128 {
    let mut half = [0; 16];
    half.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    u128::from_le_bytes(half)
}

fn digest(text: &str) -> u128 {
    half(blake3::Hasher::new().update(text.as_bytes()))
}

/// The hash of a text that rows are counted by.
pub fn hash(text: &str) -> u64 {
    let mut start = [0; 8];
    start.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..8]);
    u64::from_le_bytes(start)
}

/// What is remembered of a row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The sample id.
    pub id: u128,
    /// Of old contents, new contents and subject.
    pub exact: u128,
    /// Of the set of the change, and of the contents that a set is made of: equal ones have equal sets.
    pub digests: [u128; 2],
    /// Rank of the licence class.
    pub license: u8,
    /// Author time in seconds since 1970, the latest where there is none.
    pub time: i64,
    /// Commit time, 0 where there is none: what rows are ordered by.
    pub commit_time: i64,
    /// Members of the set of the change.
    pub change_size: u32,
    /// Hashes of `lang`, `language` and `license_spdx`.
    pub values: [u64; 3],
    /// The commit id, in binary.
    pub commit: Vec<u8>,
    /// Path before.
    pub old_file: Option<Arc<str>>,
    /// Path after.
    pub new_file: Option<Arc<str>>,
    /// Hashes of the bands of the change; only where that has words.
    pub bands: Option<[u64; BANDS]>,
}

/// The digest that contents are known by. Text in UTF-8 is the bytes of its blob, which git's id names; where another encoding was
/// decoded, that matters as well. What was masked is known by the text as it stays.
fn contents_digest([stays, was]: [Option<&str>; 2], blob: Option<&str>, encoding: Option<&str>) -> Option<u128> {
    match (blob, encoding) {
        _ if stays != was => stays.map(digest),
        (Some(blob), None | Some("utf-8")) => Some(digest(blob)),
        (Some(blob), Some(encoding)) => Some(digest(&format!("{blob} {encoding}"))),
        (None, _) => None,
    }
}

/// The position of the first row of a part, the bytes of the sets of its rows, and where each ends.
type OfPart = (u32, Vec<u8>, Vec<usize>);

/// The sets of changes that facts were made of, as far as there is room: who compares rows needs them again.
pub struct Changes {
    /// By the position of the segment its parts, rising.
    segments: HashMap<usize, Vec<OfPart>>,
    bytes: u64,
    bytes_max: u64,
}

impl Changes {
    /// None yet, and at most about `bytes_max` bytes of them.
    pub fn new(bytes_max: u64) -> Self {
        Changes { segments: HashMap::new(), bytes: 0, bytes_max }
    }

    /// Adds the next rows of `segment`.
    fn add(&mut self, segment: usize, part: OfPart) {
        self.bytes += (part.1.len() + size_of_val(part.2.as_slice())) as u64;
        if self.bytes <= self.bytes_max {
            self.segments.entry(segment).or_default().push(part);
        }
    }

    /// The bytes of the members of the set of the change of a row; none where it is not known.
    pub fn find(&self, segment: usize, row: u64) -> Option<&[u8]> {
        let parts = self.segments.get(&segment)?;
        let (first, bytes, ends) = &parts[parts.partition_point(|part| u64::from(part.0) <= row).checked_sub(1)?];
        let row = usize::try_from(row - u64::from(*first)).ok()?;
        let start = row.checked_sub(1).map_or(Some(0), |before| ends.get(before).copied())?;
        bytes.get(start..*ends.get(row)?)
    }
}

/// Works out the facts of rows.
struct Maker {
    minhash: MinHash,
    licenses: &'static Licenses,
    scratch: redact::Scratch,
    memory: Memory,
    /// The expression of the row before and the rank of its class: rows come sorted by path.
    license: (Option<String>, u8),
    /// What the row before is counted by, and the hashes of that.
    values: ([String; 3], [u64; 3]),
    /// The sets of changes of the rows of a part, and where each ends.
    changes: (Vec<u8>, Vec<usize>),
}

impl Maker {
    fn new() -> Self {
        Maker {
            minhash: MinHash::default(),
            licenses: Licenses::in_use(),
            scratch: redact::Scratch::default(),
            memory: Memory::default(),
            license: (None, Class::UNKNOWN.rank()),
            values: (Default::default(), [hash(""); 3]),
            changes: Default::default(),
        }
    }

    /// The facts of `sample`, which stays for what `was` there.
    fn facts(&mut self, sample: &Sample<'_>, was: &Sample<'_>) -> Option<Facts> {
        let old = contents_digest([sample.old_contents, was.old_contents], was.old_blob, was.old_encoding);
        let new = contents_digest([sample.new_contents, was.new_contents], was.new_blob, was.new_encoding);
        if self.license.0.as_deref() != sample.license_spdx {
            let class = sample.license_spdx.map_or(Class::UNKNOWN, |expression| self.licenses.class(expression));
            self.license = (sample.license_spdx.map(str::to_owned), class.rank());
        }
        let change = change_set(sample);
        let values = [sample.lang, sample.language.unwrap_or_default(), sample.license_spdx.unwrap_or_default()];
        if self.values.0 != values {
            self.values = (values.map(str::to_owned), values.map(hash));
        }
        let start = self.changes.0.len();
        self.changes.0.extend(change.iter().flat_map(|member| member.to_le_bytes()));
        self.changes.1.push(self.changes.0.len());
        let bytes = &self.changes.0[start..];
        // Digests of old contents, new contents and subject, and which of them there are.
        let mut exact = blake3::Hasher::new();
        for part in [old, new, Some(digest(sample.subject))] {
            exact.update(&[u8::from(part.is_some())]).update(&part.unwrap_or_default().to_le_bytes());
        }
        Some(Facts {
            id: u128::from_str_radix(sample.id, 16).ok()?,
            exact: half(&exact),
            digests: [half(blake3::Hasher::new().update(bytes)), new.or(old).unwrap_or_else(|| digest(""))],
            license: self.license.1,
            time: sample.author_time.unwrap_or(i64::MAX),
            commit_time: sample.commit_time.unwrap_or(0),
            change_size: u32::try_from(change.len()).unwrap_or(u32::MAX),
            values: self.values.1,
            commit: binary(sample.commit)?,
            old_file: sample.old_file.map(Arc::from),
            new_file: sample.new_file.map(Arc::from),
            bands: (!change.is_empty()).then(|| self.minhash.bands(&change)),
        })
    }
}

fn binary(hex: &str) -> Option<Vec<u8>> {
    let digit = |at: usize| hex.get(at..at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    if hex.len().is_multiple_of(2) { (0..hex.len()).step_by(2).map(digit).collect() } else { None }
}

/// How a path is written down.
mod path_is {
    pub const NONE: u8 = 0;
    pub const TEXT: u8 = 1;
    /// As in the row before.
    pub const AS_BEFORE: u8 = 2;
    /// As before the change.
    pub const AS_OLD: u8 = 3;
}

/// Bytes of what every row has: four digests, three numbers of eight bytes for what it is counted by, two times, a
/// size, the rank, the length of the commit id, and for each path how it is written down and its length.
const FIXED: usize = 4 * 16 + 3 * 8 + 2 * 8 + 4 + 2 + 2 * 5;

/// Paths of the row before.
type Paths = [Option<Arc<str>>; 2];

fn put(facts: &Facts, before: &Paths, bytes: &mut Vec<u8>) {
    for digest in [facts.id, facts.exact, facts.digests[0], facts.digests[1]] {
        bytes.extend_from_slice(&digest.to_le_bytes());
    }
    facts.values.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
    [facts.time, facts.commit_time].iter().for_each(|time| bytes.extend_from_slice(&time.to_le_bytes()));
    bytes.extend_from_slice(&facts.change_size.to_le_bytes());
    bytes.push(facts.license);
    bytes.push(u8::try_from(facts.commit.len()).unwrap_or_default());
    let paths = [&facts.old_file, &facts.new_file];
    let written = [0, 1].map(|at| match paths[at] {
        None => (path_is::NONE, ""),
        path if *path == before[at] => (path_is::AS_BEFORE, ""),
        path if at == 1 && path == paths[0] => (path_is::AS_OLD, ""),
        Some(path) => (path_is::TEXT, &**path),
    });
    for (how, text) in written {
        bytes.push(how);
        bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or_default().to_le_bytes());
    }
    bytes.extend_from_slice(&facts.commit);
    written.iter().for_each(|(_, text)| bytes.extend_from_slice(text.as_bytes()));
    facts.bands.iter().flatten().for_each(|band| bytes.extend_from_slice(&band.to_le_bytes()));
}

/// Reads the facts of one segment, row by row.
pub struct FactsReader {
    file: KeptReader,
    reads_bands: bool,
    /// The row that [`FactsReader::advance`] moved to.
    pub row: Facts,
}

impl FactsReader {
    /// Opens the facts at `path`; without bands, where those are not wanted.
    ///
    /// # Errors
    /// They can't be read.
    pub fn open(path: &Path, reads_bands: bool) -> Result<Self, Error> {
        Ok(FactsReader { file: KeptReader::open(path)?, reads_bands, row: Facts::default() })
    }

    /// Moves to the next row; whether there is one.
    ///
    /// # Errors
    /// They can't be read.
    pub fn advance(&mut self) -> Result<bool, Error> {
        if self.file.left() == 0 {
            return Ok(false);
        }
        let mut fixed = [0; FIXED];
        self.file.read(&mut fixed)?;
        let mut fields = Fields(&fixed);
        let row = &mut self.row;
        [row.id, row.exact] = [fields.u128(), fields.u128()];
        row.digests = [fields.u128(), fields.u128()];
        row.values = [fields.u64(), fields.u64(), fields.u64()];
        [row.time, row.commit_time] = [0; 2].map(|_| i64::from_le_bytes(fields.take()));
        row.change_size = fields.u32();
        let [license, commit_len] = fields.take();
        row.license = license;
        let written = [0; 2].map(|_| {
            let [how] = fields.take();
            (how, fields.u32() as usize)
        });
        row.commit.resize(usize::from(commit_len), 0);
        self.file.read(&mut row.commit)?;
        for (at, (how, len)) in written.into_iter().enumerate() {
            let path = match how {
                path_is::AS_BEFORE => continue,
                path_is::TEXT => Some(Arc::from(self.file.text(len)?)),
                path_is::AS_OLD => row.old_file.clone(),
                _ => None,
            };
            *if at == 0 { &mut row.old_file } else { &mut row.new_file } = path;
        }
        row.bands = None;
        if row.change_size > 0 && self.reads_bands {
            let mut bytes = [0; 8 * BANDS];
            self.file.read(&mut bytes)?;
            let mut fields = Fields(&bytes);
            row.bands = Some([0; BANDS].map(|_| fields.u64()));
        } else if row.change_size > 0 {
            self.file.skip(8 * BANDS)?;
        }
        Ok(true)
    }
}

/// Calls `each` with the rows of every batch at `range` of `batches`.
///
/// # Errors
/// The segment is damaged, an interruption, or what `each` returns.
pub fn for_each_batch(
    segment: &Segment,
    (batches, columns): (&Batches, &[&str]),
    range: Range<usize>,
    interrupt: &AtomicBool,
    mut each: impl FnMut(&Rows) -> Result<(), Error>,
) -> Result<(), Error> {
    let damaged = |reason: String| Error::Damaged { path: segment.path.clone(), reason };
    let places = batches.places()[range.clone()].iter();
    let mut read = batches.read(range)?;
    for place in places {
        if interrupt.load(Relaxed) {
            return Err(Error::Interrupted);
        }
        let batch = read.next().ok_or_else(|| damaged("a batch is missing".into()))??;
        let rows = Rows::of_columns(&batch, columns).map_err(|e| damaged(e.to_string()))?;
        if rows.len() as u64 != place.rows {
            return Err(damaged("a batch has not as many rows as it says".into()));
        }
        each(&rows)?;
    }
    Ok(())
}

/// A segment of a visible batch, and what is kept of it.
pub struct Segment {
    /// The file of rows.
    pub path: PathBuf,
    /// How many its manifest says there are.
    pub rows: u64,
    /// Size of the file in bytes, and its checksum.
    pub whole: (u64, String),
    /// Position of its repository.
    pub repository: usize,
    /// The file of its facts.
    pub facts: PathBuf,
    /// The file of what opt-outs, rules and benchmarks say; none where there are none of those.
    pub verdicts: Option<PathBuf>,
}

/// The directory of what is kept of segments.
pub fn directory(store: &Store) -> PathBuf {
    super::directory(store).join("facts")
}

/// A digest over `parts`.
pub fn key(parts: &[&[u8]]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// Tells apart facts of a segment with the checksum `blake3` that may differ; `masked` is a digest of what is masked.
pub fn facts_key(blake3: &str, catalog: &str, masked: &str) -> String {
    key(&[&VERSION.to_le_bytes(), blake3.as_bytes(), catalog.as_bytes(), masked.as_bytes()])
}

/// The digest of all tables that facts are made by.
pub fn catalog() -> String {
    catalog::digest()
}

/// Batches of a segment that a thread reads at a time.
struct Part {
    /// Position of the segment among those that are read.
    of: usize,
    batches: Range<usize>,
    /// Position of its first row in the segment.
    first: u32,
    /// Whether no part of the segment comes behind it.
    is_last: bool,
}

/// A segment of which something has to be made.
struct Due<'a> {
    /// Its position.
    at: usize,
    segment: &'a Segment,
    batches: Batches,
    /// Whether it is the facts, and whether it is the verdicts.
    lacks: [bool; 2],
}

impl<'a> Due<'a> {
    fn find(at: usize, segment: &'a Segment, columns: &[&str]) -> Result<Option<Self>, Error> {
        let verdicts = segment.verdicts.as_deref();
        let lacks = [!is_whole(&segment.facts), verdicts.is_some_and(|path| !is_whole(path))];
        if lacks == [false; 2] {
            return Ok(None);
        }
        // What is kept goes by the checksum of the manifest, so it must be made of that and nothing else.
        segment::verify_file(&segment.path, segment.whole.0, &segment.whole.1)?;
        let batches = Batches::find(&segment.path, columns)?;
        let rows: u64 = batches.places().iter().map(|place| place.rows).sum();
        match rows == segment.rows {
            true => Ok(Some(Due { at, segment, batches, lacks })),
            false => Err(Error::Damaged {
                path: segment.path.clone(),
                reason: format!("its manifest says {} rows, it has {rows}", segment.rows),
            }),
        }
    }

    /// What is read of it at a time; a segment without rows is one part without batches.
    fn parts(&self, of: usize) -> Vec<Part> {
        let places = self.batches.places();
        let (mut parts, mut start, mut rows, mut rows_before) = (Vec::new(), 0, 0, 0);
        for (at, place) in places.iter().enumerate() {
            rows += place.rows;
            let is_last = at + 1 == places.len();
            if is_last || rows >= PART_ROWS || place.end - places[start].start >= PART_BYTES {
                let first = u32::try_from(rows_before).unwrap_or(u32::MAX);
                parts.push(Part { of, batches: start..at + 1, first, is_last });
                (start, rows_before, rows) = (at + 1, rows_before + rows, 0);
            }
        }
        if parts.is_empty() {
            parts.push(Part { of, batches: 0..0, first: 0, is_last: true });
        }
        parts
    }

    /// The files of facts and of verdicts, as far as they are lacking.
    fn files(&self) -> Result<[Option<KeptWriter>; 2], Error> {
        let verdicts = self.segment.verdicts.as_deref().filter(|_| self.lacks[1]);
        Ok([
            self.lacks[0].then(|| KeptWriter::new(&self.segment.facts)).transpose()?,
            verdicts.map(KeptWriter::new).transpose()?,
        ])
    }
}

/// Makes what is not kept yet of `segments`, on `threads` threads; the number of those that were read.
///
/// # Errors
/// A segment is damaged, or something can't be written.
pub fn make(
    segments: &[Segment],
    judge: &Judge,
    changes: &mut Changes,
    threads: usize,
    interrupt: &AtomicBool,
) -> Result<u64, Error> {
    let columns = judge.columns();
    let mut due = Vec::new();
    let find = |_: &mut (), at: u64| {
        let at = usize::try_from(at).unwrap_or_default();
        Due::find(at, &segments[at], columns)
    };
    ordered(
        threads,
        0..segments.len() as u64,
        || (),
        find,
        |_, found| {
            due.extend(found);
            Ok(())
        },
    )?;
    let parts: Vec<Part> = due.iter().enumerate().flat_map(|(of, due)| due.parts(of)).collect();
    let work = |maker: &mut Maker, at: u64| {
        let part = &parts[usize::try_from(at).unwrap_or_default()];
        make_part(&due[part.of], part, maker, (judge, columns), interrupt)
    };
    let mut files = [None, None];
    ordered(threads, 0..parts.len() as u64, Maker::new, work, |at, (made, sets)| {
        let part = &parts[usize::try_from(at).unwrap_or_default()];
        if due[part.of].lacks[0] {
            changes.add(due[part.of].at, (part.first, sets.0, sets.1));
        }
        if part.first == 0 && part.batches.start == 0 {
            files = due[part.of].files()?;
        }
        for (file, bytes) in files.iter_mut().zip(made) {
            file.as_mut().map_or(Ok(()), |file| file.write(&bytes))?;
        }
        match part.is_last {
            true => files.iter_mut().filter_map(Option::take).try_for_each(KeptWriter::seal),
            false => Ok(()),
        }
    })?;
    Ok(due.len() as u64)
}

/// The bytes of facts and verdicts of a part, and the sets of the changes in it.
type Made = ([Vec<u8>; 2], (Vec<u8>, Vec<usize>));

/// The bytes of facts and verdicts of a part, as far as they are lacking.
fn make_part(
    due: &Due<'_>,
    part: &Part,
    maker: &mut Maker,
    (judge, columns): (&Judge, &[&str]),
    interrupt: &AtomicBool,
) -> Result<Made, Error> {
    let Due { segment, batches, lacks, .. } = due;
    let (mut position, mut paths, mut made) = (part.first, Paths::default(), [Vec::new(), Vec::new()]);
    for_each_batch(segment, (batches, columns), part.batches.clone(), interrupt, |rows| {
        for sample in (0..rows.len()).map(|at| rows.get(at)) {
            let fate = judge.redaction.redact(&sample, &mut maker.scratch);
            let masked = std::mem::take(&mut maker.scratch.masked);
            if lacks[0] {
                let as_it_stays = fate.sample(&sample);
                let facts = maker.facts(&as_it_stays, &sample).ok_or_else(|| Error::Damaged {
                    path: segment.path.clone(),
                    reason: format!("row {position} has no id"),
                })?;
                put(&facts, &paths, &mut made[0]);
                paths = [facts.old_file, facts.new_file];
            }
            if lacks[1]
                && let Some(verdict) = judge.look(&sample, segment.repository, &fate, (masked, &mut maker.memory))
            {
                verdict.put(position, &mut made[1]);
            }
            position = position.saturating_add(1);
        }
        Ok(())
    })?;
    Ok((made, std::mem::take(&mut maker.changes)))
}
