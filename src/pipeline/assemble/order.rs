//! The rows of a store in the order of exports, from their facts: numbers, copies in forks, names of repositories.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use super::{
    facts::{Facts, FactsReader, Segment},
    judge::{Verdict, VerdictReader},
    spill::{Bits, Sorter, Table, record},
};
use crate::store::{Checkpoint, Error, attached::Attached, segment::SegmentManifest};

/// A repository with visible batches.
pub struct Repository<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its newest batch.
    pub newest: &'a Checkpoint,
    /// Its rows.
    pub rows: u64,
    /// Its segments, and where they are.
    pub segments: Vec<(PathBuf, &'a SegmentManifest)>,
}

/// The repositories in `batches`, in the order of exports.
pub fn repositories(batches: &[(PathBuf, Checkpoint)]) -> Vec<Repository<'_>> {
    let mut found: BTreeMap<(&str, &str), Repository<'_>> = BTreeMap::new();
    for (directory, checkpoint) in batches {
        let name = checkpoint.repository.name.as_str();
        let repository = found.entry((name, checkpoint.repository.identity.as_str())).or_insert_with(|| Repository {
            name,
            newest: checkpoint,
            rows: 0,
            segments: Vec::new(),
        });
        repository.newest = checkpoint;
        repository.rows += checkpoint.segments.iter().map(|segment| segment.rows).sum::<u64>();
        repository.segments.extend(checkpoint.segments.iter().map(|segment| (directory.join(&segment.file), segment)));
    }
    found.into_values().collect()
}

/// A row of the store in its order.
pub struct Numbered<'a> {
    /// Its number; copies in forks have numbers of their own.
    pub number: u32,
    /// Its position in all segments, one behind the other.
    pub at: u32,
    /// The position of its repository.
    pub repository: usize,
    /// What is remembered of it.
    pub facts: &'a Facts,
    /// What opt-outs, rules and benchmarks say.
    pub verdict: Option<Verdict>,
}

/// What orders rows within a repository, as in `export`.
type Key = (Option<Arc<str>>, i64, Vec<u8>, u128);

struct Open {
    facts: FactsReader,
    verdicts: VerdictReader,
    /// Position of the segment's first row in all segments.
    start: u32,
    position: u32,
}

impl Open {
    fn head(&self, segment: usize) -> (Key, usize) {
        let row = &self.facts.row;
        let path = row.new_file.clone().or_else(|| row.old_file.clone());
        ((path, row.commit_time, row.commit.clone(), row.id), segment)
    }
}

/// What is read of every row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// Everything but the bands.
    Rows,
    /// The bands as well.
    Bands,
}

/// Calls `each` with every row of `segments`, which are sorted by repository: in the order of exports, copies of forks as
/// well. The number of rows.
///
/// # Errors
/// Facts can't be read, there are more rows than numbers, or what `each` returns.
pub fn for_each(
    segments: &[Segment],
    read: Read,
    interrupt: &AtomicBool,
    mut each: impl FnMut(Numbered<'_>) -> Result<(), Error>,
) -> Result<u32, Error> {
    let (mut number, mut start) = (0, 0);
    for of_one in segments.chunk_by(|a, b| a.repository == b.repository) {
        let (mut heap, mut opened) = (BinaryHeap::new(), Vec::new());
        for (at, segment) in of_one.iter().enumerate() {
            let facts = FactsReader::open(&segment.facts, read == Read::Bands)?;
            let mut open =
                Open { facts, verdicts: VerdictReader::open(segment.verdicts.as_deref())?, start, position: 0 };
            // Behind the last number that there is, the loop below ends before any position is wrong.
            start = u32::try_from(u64::from(start) + segment.rows).unwrap_or(u32::MAX);
            if open.facts.advance()? {
                heap.push(Reverse(open.head(at)));
            }
            opened.push(open);
        }
        while let Some(Reverse((_, segment))) = heap.pop() {
            let open = &mut opened[segment];
            // As long as no other segment has a row before it, the next one is of the same.
            loop {
                if interrupt.load(Relaxed) {
                    return Err(Error::Interrupted);
                }
                let verdict = open.verdicts.at(open.position)?;
                let repository = of_one[segment].repository;
                let at = open.start.saturating_add(open.position);
                each(Numbered { number, at, repository, facts: &open.facts.row, verdict })?;
                number = number.checked_add(1).ok_or_else(|| Error::Damaged {
                    path: of_one[segment].path.clone(),
                    reason: "a store can't have more rows than 4,294,967,295".into(),
                })?;
                open.position += 1;
                if !open.facts.advance()? {
                    break;
                }
                if heap.is_empty() {
                    continue;
                }
                let head = open.head(segment);
                if heap.peek().is_some_and(|next| next.0 < head) {
                    heap.push(Reverse(head));
                    break;
                }
            }
        }
    }
    Ok(number)
}

record!(
    /// Where a sample is.
    Place { id: u128, number: u32, repository: u32 } self => (self.id >> 64) as u64
);

record!(
    /// The repositories of a row that several have, as a position in a list of sets.
    Shared { number: u32, set: u32 } self => u64::from(self.number)
);

/// Which rows several repositories have.
#[derive(Default)]
pub struct Forks {
    /// Rows that another repository has before, or the root of a fork that is attached to it.
    pub copies: Bits,
    /// The names of repositories that rows have in common, with commas between them.
    pub sets: Vec<String>,
    shared: Option<Table<Shared>>,
    next: u64,
}

impl Forks {
    /// Finds them in at most `memory` bytes, apart from a bit for each row.
    ///
    /// # Errors
    /// Facts can't be read, or something can't be written.
    pub fn find(
        segments: &[Segment],
        repositories: &[Repository<'_>],
        spill: (&std::path::Path, u64),
        threads: usize,
        interrupt: &AtomicBool,
    ) -> Result<Forks, Error> {
        let (directory, memory) = spill;
        let mut forks = Forks::default();
        if repositories.len() < 2 {
            return Ok(forks);
        }
        let mut places = Sorter::new(directory, memory / 2, u64::MAX);
        let rows = for_each(segments, Read::Rows, interrupt, |row| {
            let repository = u32::try_from(row.repository).unwrap_or(u32::MAX);
            places.push(Place { id: row.facts.id, number: row.number, repository })
        })?;
        let attached = Attached::new(repositories.iter().map(|repository| repository.newest));
        let mut sets: HashMap<BTreeSet<&str>, u32> = HashMap::new();
        let mut shared = Sorter::new(directory, memory / 4, u64::from(rows));
        places.for_each_part(threads, |places| {
            for of_one in places.chunk_by(|a, b| a.id == b.id) {
                if of_one.iter().all(|place| place.repository == of_one[0].repository) {
                    continue;
                }
                let mut owners: Vec<&Place> = of_one.iter().collect();
                attached.without_forks(&mut owners, |place| {
                    &repositories[place.repository as usize].newest.repository.identity
                });
                let number = owners[0].number;
                of_one.iter().filter(|place| place.number != number).for_each(|place| {
                    forks.copies.set(place.number);
                });
                let names = owners.iter().map(|place| repositories[place.repository as usize].name).collect();
                let next = u32::try_from(sets.len()).unwrap_or(u32::MAX);
                let set = *sets.entry(names).or_insert(next);
                shared.push(Shared { number, set })?;
            }
            Ok(())
        })?;
        forks.sets = vec![String::new(); sets.len()];
        for (names, at) in sets {
            forks.sets[at as usize] = names.into_iter().collect::<Vec<_>>().join(",");
        }
        forks.shared = Some(shared.into_table(threads, memory / 4)?);
        Ok(forks)
    }

    /// Starts from the first row again.
    pub fn rewind(&mut self) {
        self.next = 0;
    }

    /// The position of the set of repositories that have the row `number`; none for a row that only one has. Numbers have
    /// to be asked for in order.
    ///
    /// # Errors
    /// What was spilled can't be read.
    pub fn set_of(&mut self, number: u32) -> Result<Option<usize>, Error> {
        let Some(table) = &self.shared else { return Ok(None) };
        while self.next < table.len() {
            let shared = table.get(self.next)?;
            if shared.number > number {
                break;
            }
            self.next += 1;
            if shared.number == number {
                return Ok(Some(shared.set as usize));
            }
        }
        Ok(None)
    }
}
