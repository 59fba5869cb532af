//! Near-duplicates: which pairs are compared, how rows that are alike are joined to clusters, and who stays in each.

use std::path::Path;

use hashbrown::HashSet;

use super::{
    Near,
    similar::{Similarities, Similarity},
    spill::{Bits, Bytes, Fields, Sorter, Table, record},
};
use crate::{dedup::Clusters, store::Error};

/// Rows that share a band with so many others are compared with that many of them, those of the most similar size.
const COMPARISONS_MAX: usize = 256;

/// Rows of one cluster that stay and that further ones are compared with.
const KEPT_COMPARED_MAX: usize = 1024;

/// Pairs that are compared at a time. Those that turn out to be in one cluster already were compared for nothing.
const PAIRS_AT_ONCE: usize = 4096;

/// Bytes that a pair takes in the list of those that were compared, and a group in that of those that were gone through.
const COMPARED_BYTES: u64 = 20;

/// Groups of so many rows are remembered: rows with one change share all bands, and come as a group for each.
const GROUP_REMEMBERED_MIN: usize = 8;

record!(
    /// A band of a row.
    Band { hash: u64, number: u32 } self => self.hash
);

record!(
    /// What comparing needs of a row; by number.
    Candidate { change_size: u32, license: u8, time: i64, id: u128, digest: u128 } self => self.id as u64
);

record!(
    /// A row of a cluster, in the order in which rows stay.
    Member { root: u32, license: u8, time: i64, id: u128, number: u32 } self => u64::from(self.root)
);

record!(
    /// Two rows that are not alike.
    Unlike { a: u32, b: u32 } self => u64::from(self.a)
);

record!(
    /// Members of the set that tells how large a row is; by number.
    Size { size: u32 } self => u64::from(self.size)
);

/// A row that goes: its number, the id of the row that stays, and how alike they are.
pub type Gone = (u32, u128, Similarity);

/// The account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Pairs that were compared, and those of them that were alike.
    pub pairs: (u64, u64),
    /// Rows of which not all candidates were compared.
    pub rows_cut_short: u64,
}

/// Groups of rows that share a band.
pub struct Groups {
    /// One after the other: so many, and their numbers.
    bytes: Bytes,
    /// Rows that are in one.
    rows: Bits,
}

impl Groups {
    /// Sorts `bands` into groups, without the rows that are `gone`.
    ///
    /// # Errors
    /// Something can't be spilled or read back.
    pub fn new(bands: Sorter<Band>, gone: &Bits, spill: (&Path, u64), threads: usize) -> Result<Self, Error> {
        let mut groups = Groups { bytes: Bytes::new(spill.0, spill.1), rows: Bits::default() };
        let (mut numbers, mut bytes) = (Vec::new(), Vec::new());
        bands.for_each_part(threads, |bands| {
            for group in bands.chunk_by(|a, b| a.hash == b.hash).filter(|group| group.len() > 1) {
                numbers.clear();
                numbers.extend(group.iter().map(|band| band.number).filter(|number| !gone.has(*number)));
                if numbers.len() > 1 {
                    bytes.clear();
                    bytes.extend_from_slice(&u32::try_from(numbers.len()).unwrap_or(u32::MAX).to_le_bytes());
                    for number in &numbers {
                        bytes.extend_from_slice(&number.to_le_bytes());
                        groups.rows.set(*number);
                    }
                    groups.bytes.append(&bytes)?;
                }
            }
            Ok(())
        })?;
        Ok(groups)
    }

    fn for_each(&self, mut each: impl FnMut(&[u32]) -> Result<(), Error>) -> Result<(), Error> {
        let (mut at, mut numbers) = (0, Vec::new());
        while at < self.bytes.len() {
            let len = Fields(&self.bytes.read(at, 4)?).u32() as usize;
            numbers.clear();
            numbers.extend(self.bytes.read(at + 4, 4 * len)?.chunks_exact(4).map(|bytes| Fields(bytes).u32()));
            each(&numbers)?;
            at += 4 + 4 * len as u64;
        }
        Ok(())
    }
}

/// Joins rows to clusters.
struct Joining<'a, 'b> {
    similarity_min: f64,
    similarities: &'a mut Similarities<'b>,
    clusters: Clusters,
    /// Rows that are in a cluster with another one.
    joined: Bits,
    /// Pairs that were found not to be alike; as many as memory allows, since it only saves work.
    compared: HashSet<(u32, u32)>,
    compared_max: usize,
    /// Digests of large groups that were gone through: the same rows once more have no pair that is not done.
    groups: HashSet<u128>,
    unlike: Sorter<Unlike>,
    cut: Bits,
    alike: u64,
    /// Pairs that are to be compared next, by number and by digest.
    waiting: Vec<((u32, u32), (u128, u128))>,
}

impl Joining<'_, '_> {
    /// Compares the rows of a group: sets of which one is much larger can't be alike, so only neighbours by size.
    fn group(&mut self, numbers: &[u32], candidates: &Table<Candidate>, sizes: &Table<Size>) -> Result<(), Error> {
        if numbers.len() >= GROUP_REMEMBERED_MIN && !self.is_new(numbers) {
            return Ok(());
        }
        let mut members = Vec::with_capacity(numbers.len());
        for number in numbers {
            let Candidate { id, digest, .. } = candidates.get(u64::from(*number))?;
            let Size { size } = sizes.get(u64::from(*number))?;
            members.push((size, id, *number, digest));
        }
        members.sort_unstable();
        for (at, (size, _, a, of_a)) in members.iter().enumerate() {
            let fits = |other: u32| f64::from(*size) >= self.similarity_min * f64::from(other);
            let others = members[at + 1..].iter().take_while(|(other, ..)| fits(*other)).count();
            if others > COMPARISONS_MAX {
                self.cut.set(*a);
            }
            for (_, _, b, of_b) in &members[at + 1..][..others.min(COMPARISONS_MAX)] {
                let pair = (*a.min(b), *a.max(b));
                if !self.is_done(pair) {
                    self.waiting.push((pair, (*of_a, *of_b)));
                    if self.waiting.len() >= PAIRS_AT_ONCE {
                        self.compare()?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the same rows have not been a group before, as far as that is remembered.
    fn is_new(&mut self, numbers: &[u32]) -> bool {
        let mut hasher = blake3::Hasher::new();
        numbers.iter().for_each(|number| {
            hasher.update(&number.to_le_bytes());
        });
        let mut half = [0; 16];
        half.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        if self.groups.len() >= self.compared_max {
            self.groups.clear();
        }
        self.groups.insert(u128::from_le_bytes(half))
    }

    fn is_done(&mut self, pair: (u32, u32)) -> bool {
        let (a, b) = (self.clusters.find(pair.0 as usize), self.clusters.find(pair.1 as usize));
        a == b || self.compared.contains(&pair)
    }

    /// Compares what waits, then joins in order what is alike, as if each pair had been compared when it came.
    fn compare(&mut self) -> Result<(), Error> {
        let waiting = std::mem::take(&mut self.waiting);
        let digests: Vec<(u128, u128)> = waiting.iter().map(|(_, digests)| *digests).collect();
        let found = self.similarities.of_many(&digests)?;
        for ((pair, _), similarity) in waiting.into_iter().zip(found) {
            if self.is_done(pair) {
                continue;
            }
            if similarity.is_some_and(|similarity| is_alike(similarity, self.similarity_min)) {
                self.alike += 1;
                self.clusters.join(pair.0 as usize, pair.1 as usize);
                self.joined.set(pair.0);
                self.joined.set(pair.1);
                continue;
            }
            if self.compared.len() >= self.compared_max {
                self.compared.clear();
            }
            self.compared.insert(pair);
            self.unlike.push(Unlike { a: pair.0, b: pair.1 })?;
        }
        Ok(())
    }
}

fn is_alike(similarity: Similarity, similarity_min: f64) -> bool {
    similarity.iter().all(|share| *share >= similarity_min)
}

/// What near-duplicates are found in.
pub struct Search<'a> {
    /// What near-duplicates are.
    pub near: Near,
    /// All rows by number.
    pub candidates: &'a Table<Candidate>,
    /// Which of them share a band.
    pub groups: &'a Groups,
    /// From which similarity on two rows are near-duplicates.
    pub similarity_min: f64,
    /// Where files are spilled, and how many bytes may be in memory.
    pub spill: (&'a Path, u64),
    /// Threads.
    pub threads: usize,
}

impl Search<'_> {
    /// Of rows that are alike, one stays: calls `each` with the others. What has to be read for that is read, and the
    /// search done again with it; so the outcome is the same as if everything had been in memory.
    ///
    /// # Errors
    /// A segment is damaged, or something can't be spilled or read back.
    pub fn run(
        &self,
        similarities: &mut Similarities<'_>,
        each: &mut dyn FnMut(Gone) -> Result<(), Error>,
    ) -> Result<Account, Error> {
        loop {
            let sizes = self.sizes(similarities)?;
            if similarities.lacks {
                similarities.gather()?;
                continue;
            }
            let (mut clusters, joined, mut cut, pairs) = self.join(similarities, &sizes)?;
            if similarities.lacks {
                similarities.gather()?;
                continue;
            }
            let gone = self.choose(similarities, &mut clusters, &joined, &mut cut)?;
            if similarities.lacks {
                similarities.gather()?;
                continue;
            }
            for at in 0..gone.len() {
                let Decided { number, keeper, change, contents } = gone.get(at)?;
                each((number, keeper, [f64::from_bits(change), f64::from_bits(contents)]))?;
            }
            return Ok(Account { pairs, rows_cut_short: cut.count() });
        }
    }

    /// How large the rows are that share a band: in changed lines, or in contents where those count.
    fn sizes(&self, similarities: &mut Similarities<'_>) -> Result<Table<Size>, Error> {
        let mut sizes = Table::new(self.spill.0, self.spill.1 / 4);
        for number in 0..u32::try_from(self.candidates.len()).unwrap_or(u32::MAX) {
            let size = if self.groups.rows.has(number) {
                let Candidate { change_size, digest, .. } = self.candidates.get(u64::from(number))?;
                match self.near {
                    Near::Both => similarities.size(digest)?.unwrap_or_default(),
                    Near::Off | Near::Change => change_size,
                }
            } else {
                0
            };
            sizes.push(Size { size })?;
        }
        Ok(sizes)
    }

    fn join(
        &self,
        similarities: &mut Similarities<'_>,
        sizes: &Table<Size>,
    ) -> Result<(Clusters, Bits, Bits, (u64, u64)), Error> {
        let (directory, memory) = self.spill;
        let rows = self.candidates.len();
        let mut joining = Joining {
            similarity_min: self.similarity_min,
            similarities,
            clusters: Clusters::new(usize::try_from(rows).unwrap_or(usize::MAX)),
            joined: Bits::default(),
            compared: HashSet::new(),
            groups: HashSet::new(),
            compared_max: usize::try_from(memory / 4 / COMPARED_BYTES).unwrap_or(usize::MAX).max(1),
            unlike: Sorter::new(directory, memory / 4, rows),
            cut: Bits::default(),
            alike: 0,
            waiting: Vec::new(),
        };
        self.groups.for_each(|numbers| joining.group(numbers, self.candidates, sizes))?;
        joining.compare()?;
        let Joining { clusters, joined, unlike, cut, alike, .. } = joining;
        let mut compared = alike;
        unlike.for_each_part(self.threads, |pairs| {
            compared += pairs.chunk_by(|a, b| a == b).count() as u64;
            Ok(())
        })?;
        Ok((clusters, joined, cut, (compared, alike)))
    }

    /// A chain of versions has ends that are not alike: a row only goes for one that stays and is like it.
    fn choose(
        &self,
        similarities: &mut Similarities<'_>,
        clusters: &mut Clusters,
        joined: &Bits,
        cut: &mut Bits,
    ) -> Result<Table<Decided>, Error> {
        let (directory, memory) = self.spill;
        let rows = self.candidates.len();
        let mut members = Sorter::new(directory, memory / 4, rows);
        for number in (0..u32::try_from(rows).unwrap_or(u32::MAX)).filter(|number| joined.has(*number)) {
            let Candidate { license, time, id, .. } = self.candidates.get(u64::from(number))?;
            let root = u32::try_from(clusters.find(number as usize)).unwrap_or(u32::MAX);
            members.push(Member { root, license, time, id, number })?;
        }
        let mut gone = Table::new(directory, memory / 4);
        members.for_each_part(self.threads, |members| {
            for cluster in members.chunk_by(|a, b| a.root == b.root) {
                let mut kept: Vec<(u128, u128)> = Vec::new();
                for member in cluster {
                    let digest = self.candidates.get(u64::from(member.number))?.digest;
                    if kept.len() > KEPT_COMPARED_MAX {
                        cut.set(member.number);
                    }
                    let mut like = None;
                    for (id, of_kept) in kept.iter().take(KEPT_COMPARED_MAX) {
                        let similarity = similarities.of(digest, *of_kept)?;
                        like =
                            similarity.filter(|found| is_alike(*found, self.similarity_min)).map(|found| (*id, found));
                        if like.is_some() {
                            break;
                        }
                    }
                    match like {
                        Some((keeper, [change, contents])) => gone.push(Decided {
                            number: member.number,
                            keeper,
                            change: change.to_bits(),
                            contents: contents.to_bits(),
                        })?,
                        None => kept.push((member.id, digest)),
                    }
                }
            }
            Ok(())
        })?;
        Ok(gone)
    }
}

record!(
    /// A near-duplicate and its keeper.
    Decided { number: u32, keeper: u128, change: u64, contents: u64 } self => u64::from(self.number)
);
