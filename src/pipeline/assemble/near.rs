//! Near-duplicates: which pairs are compared, how rows that are alike are joined to clusters, and who stays in each.

use std::path::Path;

use hashbrown::HashSet;

use super::{
    Near,
    similar::{Candidate, Similarities, Similarity, is_alike},
    spill::{Bits, Bytes, Fields, Sorter, Table, record},
};
use crate::{dedup::Clusters, store::Error};

/// Rows that share a band with so many others are compared with that many of them, those of the most similar size.
const COMPARISONS_MAX: usize = 256;

/// Rows of one cluster that stay and that further ones are compared with.
const KEPT_COMPARED_MAX: usize = 1024;

/// Pairs that are compared at a time. Those that turn out to be in one cluster already were compared for nothing.
const PAIRS_AT_ONCE: usize = 4096;

/// Bytes that a group takes in the list of those that were gone through.
const REMEMBERED_BYTES: u64 = 20;

/// Bytes of groups that are read at a time.
const WINDOW: usize = 1 << 20;

/// Groups of so many rows are remembered: rows with one change share all bands, and come as a group for each.
const GROUP_REMEMBERED_MIN: usize = 8;

record!(
    /// A band of a row.
    Band { hash: u64, number: u32 } self => self.hash
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
    /// Members of the set that tells how large a row is, and of that of the change; the first half of the id. By number.
    Size { size: u32, change: u32, id: u64 } self => u64::from(self.size)
);

record!(
    /// A row and one of its groups, with its place there where that matters.
    Membership { number: u32, group: u32, place: u32 } self => u64::from(self.number)
);

record!(
    /// Where the list of a row's groups begins; by number.
    Start { at: u64 } self => self.at
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

    /// Calls `each` with every group and its position.
    fn for_each(&self, mut each: impl FnMut(&[u32], u32) -> Result<(), Error>) -> Result<(), Error> {
        let (mut at, mut position, mut numbers, mut most) = (0, 0_u32, Vec::new(), WINDOW);
        while at < self.bytes.len() {
            let window = self.bytes.window(at, most)?;
            let mut rest: &[u8] = &window;
            while let Some((len, behind)) = rest.split_first_chunk::<4>() {
                let Some((group, behind)) = behind.split_at_checked(4 * u32::from_le_bytes(*len) as usize) else {
                    break;
                };
                numbers.clear();
                numbers.extend(group.chunks_exact(4).map(|bytes| Fields(bytes).u32()));
                each(&numbers, position)?;
                // More groups than numbers: the last ones share one, and pairs in them are only compared again.
                position = position.saturating_add(1);
                rest = behind;
            }
            let read = window.len() - rest.len();
            // A group that is larger than a window is read in one that is twice as large.
            most = if read == 0 { 2 * most } else { WINDOW };
            at += read as u64;
        }
        Ok(())
    }
}

/// The groups of each row, and its places in them: what tells whether a pair was compared in an earlier group.
struct Lists {
    /// For each row positions and places, rising.
    bytes: Bytes,
    /// Where those of each row begin, and the end.
    starts: Table<Start>,
}

impl Lists {
    fn new(groups: &Groups, sizes: &Table<Size>, spill: (&Path, u64), threads: usize) -> Result<Self, Error> {
        let (directory, memory) = spill;
        let mut memberships = Sorter::new(directory, memory / 4, sizes.len());
        groups.for_each(|numbers, group| {
            // In a group that is not larger, all rows are near enough to each other.
            if numbers.len() <= COMPARISONS_MAX + 1 {
                return numbers.iter().try_for_each(|n| memberships.push(Membership { number: *n, group, place: 0 }));
            }
            let members = members(numbers, sizes)?;
            (0..)
                .zip(members)
                .try_for_each(|(place, (_, number))| memberships.push(Membership { number, group, place }))
        })?;
        let (bytes, starts) = (Bytes::new(directory, memory), Table::new(directory, memory / 4));
        let mut lists = Lists { bytes, starts };
        let mut bytes = Vec::new();
        memberships.for_each_part(threads, |memberships| {
            for of_one in memberships.chunk_by(|a, b| a.number == b.number) {
                lists.start_up_to(u64::from(of_one[0].number))?;
                bytes.clear();
                for Membership { group, place, .. } in of_one {
                    [group, place].iter().for_each(|field| bytes.extend_from_slice(&field.to_le_bytes()));
                }
                lists.bytes.append(&bytes)?;
            }
            Ok(())
        })?;
        lists.start_up_to(sizes.len())?;
        Ok(lists)
    }

    /// Notes that the lists of the rows up to `number` begin here at the latest.
    fn start_up_to(&mut self, number: u64) -> Result<(), Error> {
        while self.starts.len() <= number {
            self.starts.push(Start { at: self.bytes.len() })?;
        }
        Ok(())
    }

    /// Appends the groups of a row, and its places, to `to`.
    fn of_row(&self, number: u32, to: &mut Vec<(u32, u32)>) -> Result<(), Error> {
        let [start, end] = [self.starts.get(u64::from(number))?.at, self.starts.get(u64::from(number) + 1)?.at];
        if start < end {
            let bytes = self.bytes.read(start, usize::try_from(end - start).unwrap_or(usize::MAX))?;
            to.extend(bytes.chunks_exact(8).map(|bytes| (Fields(bytes).u32(), Fields(&bytes[4..]).u32())));
        }
        Ok(())
    }
}

/// The rows of a group in the order in which they are compared.
fn members(numbers: &[u32], sizes: &Table<Size>) -> Result<Vec<(Size, u32)>, Error> {
    let member = |number: &u32| Ok((sizes.get(u64::from(*number))?, *number));
    let mut members = numbers.iter().map(member).collect::<Result<Vec<_>, Error>>()?;
    members.sort_unstable_by_key(|(size, number)| (size.size, size.id, *number));
    Ok(members)
}

/// Whether two rows are in one group before the one at `end`, so near to each other that they were compared if they fit.
fn met_before(a: &[(u32, u32)], b: &[(u32, u32)], end: u32) -> bool {
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        let ((of_a, place_a), (of_b, place_b)) = (a[i], b[j]);
        if of_a >= end || of_b >= end {
            return false;
        }
        if of_a == of_b && place_a.abs_diff(place_b) as usize <= COMPARISONS_MAX {
            return true;
        }
        i += usize::from(of_a <= of_b);
        j += usize::from(of_b <= of_a);
    }
    false
}

/// A pair that is to be compared.
struct Waiting {
    pair: (u32, u32),
    /// The sizes of the changes say that it is not alike.
    is_unlike: bool,
}

/// Joins rows to clusters.
struct Joining<'a, 'b> {
    similarity_min: f64,
    similarities: &'a mut Similarities<'b>,
    clusters: Clusters,
    /// Rows that are in a cluster with another one.
    joined: Bits,
    /// Digests of large groups that were gone through: the same rows once more have no pair that is not done.
    groups: HashSet<u128>,
    groups_max: usize,
    unlike: Sorter<Unlike>,
    cut: Bits,
    alike: u64,
    /// Pairs that are to be compared next.
    waiting: Vec<Waiting>,
}

impl Joining<'_, '_> {
    /// Compares the rows of the group at `position`: sets of which one is much larger can't be alike, so only neighbours by size.
    fn group(&mut self, numbers: &[u32], position: u32, lists: &Lists, sizes: &Table<Size>) -> Result<(), Error> {
        if numbers.len() >= GROUP_REMEMBERED_MIN && !self.is_new(numbers) {
            return Ok(());
        }
        let members = members(numbers, sizes)?;
        let (mut met, mut ends) = (Vec::new(), vec![0]);
        for (_, number) in &members {
            lists.of_row(*number, &mut met)?;
            ends.push(met.len());
        }
        let met = |at: usize| &met[ends[at]..ends[at + 1]];
        for (at, (size, a)) in members.iter().enumerate() {
            let fits = |other: u32| f64::from(size.size) >= self.similarity_min * f64::from(other);
            let others = members[at + 1..].iter().take_while(|(other, _)| fits(other.size)).count();
            if others > COMPARISONS_MAX {
                self.cut.set(*a);
            }
            for (other, (of_b, b)) in members.iter().enumerate().skip(at + 1).take(others.min(COMPARISONS_MAX)) {
                let pair = (*a.min(b), *a.max(b));
                if met_before(met(at), met(other), position) || self.is_done(pair) {
                    continue;
                }
                let is_unlike = most_alike(size.change, of_b.change) < self.similarity_min;
                self.waiting.push(Waiting { pair, is_unlike });
                if self.waiting.len() >= PAIRS_AT_ONCE {
                    self.compare()?;
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
        if self.groups.len() >= self.groups_max {
            self.groups.clear();
        }
        self.groups.insert(u128::from_le_bytes(half))
    }

    /// Whether a pair is in one cluster, so that nothing more comes of comparing it.
    fn is_done(&mut self, pair: (u32, u32)) -> bool {
        let (a, b) = (self.clusters.find(pair.0 as usize), self.clusters.find(pair.1 as usize));
        a == b
    }

    /// Compares what waits, then joins in order what is alike, as if each pair had been compared when it came.
    fn compare(&mut self) -> Result<(), Error> {
        let waiting = std::mem::take(&mut self.waiting);
        let pairs: Vec<_> = waiting.iter().filter(|waiting| !waiting.is_unlike).map(|waiting| waiting.pair).collect();
        let mut found = self.similarities.of_many(&pairs)?.into_iter();
        for Waiting { pair, is_unlike } in waiting {
            let similarity = if is_unlike { None } else { found.next().flatten() };
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
            self.unlike.push(Unlike { a: pair.0, b: pair.1 })?;
        }
        Ok(())
    }
}

/// The most that two sets can have in common by their sizes.
fn most_alike(a: u32, b: u32) -> f64 {
    if a.max(b) == 0 { 1.0 } else { f64::from(a.min(b)) / f64::from(a.max(b)) }
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
        let mut sizes = Table::new(self.spill.0, self.spill.1);
        for number in 0..u32::try_from(self.candidates.len()).unwrap_or(u32::MAX) {
            let mut size = Size { size: 0, change: 0, id: 0 };
            if self.groups.rows.has(number) {
                let Candidate { change_size, id, .. } = self.candidates.get(u64::from(number))?;
                (size.change, size.id) = (change_size, (id >> 64) as u64);
                size.size = match self.near {
                    Near::Both => similarities.size(number)?.unwrap_or_default(),
                    Near::Off | Near::Change => change_size,
                };
            }
            sizes.push(size)?;
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
        let lists = Lists::new(self.groups, sizes, (directory, 2 * memory), self.threads)?;
        let mut joining = Joining {
            similarity_min: self.similarity_min,
            similarities,
            clusters: Clusters::new(usize::try_from(rows).unwrap_or(usize::MAX)),
            joined: Bits::default(),
            groups: HashSet::new(),
            groups_max: usize::try_from(memory / 4 / REMEMBERED_BYTES).unwrap_or(usize::MAX).max(1),
            unlike: Sorter::new(directory, memory / 4, rows),
            cut: Bits::default(),
            alike: 0,
            waiting: Vec::new(),
        };
        self.groups.for_each(|numbers, position| joining.group(numbers, position, &lists, sizes))?;
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
                let mut kept: Vec<(u128, u32)> = Vec::new();
                for member in cluster {
                    if kept.len() > KEPT_COMPARED_MAX {
                        cut.set(member.number);
                    }
                    let mut like = None;
                    for (id, number) in kept.iter().take(KEPT_COMPARED_MAX) {
                        let similarity = similarities.of_many(&[(member.number, *number)])?[0];
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
                        None => kept.push((member.id, member.number)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_that_met_are_known() {
        let near = COMPARISONS_MAX as u32;
        for (a, b, end, expected) in [
            (vec![], vec![(1, 0)], 9, false),
            (vec![(1, 0), (4, 0)], vec![(2, 0), (4, 0)], 5, true),
            (vec![(1, 0), (4, 0)], vec![(2, 0), (4, 0)], 4, false),
            (vec![(4, 7)], vec![(4, 7 + near)], 5, true),
            (vec![(4, 8 + near)], vec![(4, 7)], 5, false),
            (vec![(4, 0), (6, 3)], vec![(4, 1 + near), (6, 2)], 7, true),
        ] {
            assert_eq!(met_before(&a, &b, end), expected, "{a:?} {b:?} {end}");
        }
    }

    #[test]
    fn sizes_bound_similarity() {
        for (a, b, expected) in [(0, 0, 1.0), (0, 3, 0.0), (7, 10, 0.7), (10, 7, 0.7), (5, 5, 1.0)] {
            assert_eq!(most_alike(a, b), expected, "{a} {b}");
        }
    }
}
