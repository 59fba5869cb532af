//! Near-duplicates: which pairs are compared, how rows that are alike are joined to clusters, and who stays in each.

use std::path::Path;

use hashbrown::HashSet;

use super::{
    Near,
    groups::{COMPARISONS_MAX, Groups, Lists, is_large, met_before},
    similar::{Candidate, Similarities, Similarity, Sketch, is_alike},
    spill::{Bits, Bytes, Fields, Sorter, Table, record},
};
use crate::{
    dedup::{Clusters, near::SKETCH_BANDS},
    store::Error,
};

/// So many for each band of the sketch that they share as well: those of the most similar size.
const SKETCH_COMPARISONS_MAX: usize = COMPARISONS_MAX / SKETCH_BANDS;

/// A row that has more others in so many bands of its sketch counts as cut short. Two rows that are alike share a quarter of
/// them at least, so that the other half is enough to find them.
const BANDS_CUT_MAX: usize = SKETCH_BANDS / 2;

/// Rows of one cluster that stay and that further ones are compared with.
const KEPT_COMPARED_MAX: usize = 1024;

/// Pairs that are compared at a time. Those that turn out to be in one cluster already were compared for nothing.
const PAIRS_AT_ONCE: usize = 4096;

/// Bytes that a group or a pair takes in the list of those that were gone through.
const REMEMBERED_BYTES: u64 = 20;

/// Groups of so many rows are remembered: rows with one change share all bands, and come as a group for each.
const GROUP_REMEMBERED_MIN: usize = 8;

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

/// The rows of a group in the order in which they are compared.
fn members(numbers: &[u32], sizes: &Table<Size>) -> Result<Vec<(Size, u32)>, Error> {
    let member = |number: &u32| Ok((sizes.get(u64::from(*number))?, *number));
    let mut members = numbers.iter().map(member).collect::<Result<Vec<_>, Error>>()?;
    members.sort_unstable_by_key(|(size, number)| (size.size, size.id, *number));
    Ok(members)
}

/// A row of a large group, by the hash of a band of its sketch.
type Shared = (u32, u32);

/// The rows of a group in the order in which they are compared, and the groups of each.
struct Members {
    rows: Vec<(Size, u32)>,
    met: Vec<u32>,
    ends: Vec<usize>,
    /// Position of the group.
    group: u32,
    is_large: bool,
}

impl Members {
    fn met(&self, at: usize) -> &[u32] {
        &self.met[self.ends[at]..self.ends[at + 1]]
    }
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
    /// Pairs of large groups that were compared: there may be others with most of their rows.
    pairs: HashSet<(u32, u32)>,
    /// Of either.
    remembered_max: usize,
    unlike: Sorter<Unlike>,
    cut: Bits,
    alike: u64,
    /// Pairs that are to be compared next.
    waiting: Vec<Waiting>,
}

impl Joining<'_, '_> {
    /// Compares the rows of the group at `position`.
    fn group(
        &mut self,
        numbers: &[u32],
        position: u32,
        (lists, sizes, sketches): (&Lists, &Table<Size>, &Sketches),
    ) -> Result<(), Error> {
        if numbers.len() >= GROUP_REMEMBERED_MIN && !self.is_new(numbers) {
            return Ok(());
        }
        let (mut met, mut ends, rows) = (Vec::new(), vec![0], members(numbers, sizes)?);
        for (_, number) in &rows {
            lists.of_row(*number, &mut met)?;
            ends.push(met.len());
        }
        let members = Members { rows, met, ends, group: position, is_large: is_large(numbers) };
        if members.is_large && !sketches.is_empty() {
            return self.by_sketches(&members, sketches);
        }
        let all: Vec<usize> = (0..numbers.len()).collect();
        self.neighbours(&members, &all, COMPARISONS_MAX, |this, at| {
            this.cut.set(members.rows[at].1);
        })
    }

    /// Compares the rows of a large group that share a band of their sketches: many are in it for what says nothing of them, like
    /// the header of a licence, and those that are alike have to be found among them.
    fn by_sketches(&mut self, members: &Members, sketches: &Sketches) -> Result<(), Error> {
        let places: Vec<u64> = members.rows.iter().map(|row| sketches.place(row.1)).collect::<Result<_, _>>()?;
        let mut cut = vec![0; places.len()];
        let (mut shared, mut alike): (Vec<Shared>, Vec<usize>) = (Vec::new(), Vec::new());
        for band in 0..SKETCH_BANDS {
            shared.clear();
            for (at, place) in (0..).zip(&places) {
                shared.push((sketches.band(*place, band)?, at));
            }
            shared.sort_unstable();
            for rows in shared.chunk_by(|a, b| a.0 == b.0).filter(|rows| rows.len() > 1) {
                alike.clear();
                alike.extend(rows.iter().map(|row| row.1 as usize));
                self.neighbours(members, &alike, SKETCH_COMPARISONS_MAX, |_, at| cut[at] += 1)?;
            }
        }
        let cut = members.rows.iter().zip(cut).filter(|(_, bands)| *bands > BANDS_CUT_MAX);
        cut.for_each(|(row, _)| {
            self.cut.set(row.1);
        });
        Ok(())
    }

    /// Compares each of the members at the places `at` with up to `most` of those behind it: sets of which one is much larger can't
    /// be alike, so only neighbours by size. Calls `cut` with the place of each that there would be more for.
    fn neighbours(
        &mut self,
        members: &Members,
        at: &[usize],
        most: usize,
        mut cut: impl FnMut(&mut Self, usize),
    ) -> Result<(), Error> {
        for (nth, a) in at.iter().enumerate() {
            let (size, of_a) = members.rows[*a];
            let fits = |b: &usize| f64::from(size.size) >= self.similarity_min * f64::from(members.rows[*b].0.size);
            let others = at[nth + 1..].iter().take(most + 1).take_while(|b| fits(b)).count();
            if others > most {
                cut(self, *a);
            }
            for b in &at[nth + 1..][..others.min(most)] {
                let (of_b_size, of_b) = members.rows[*b];
                let pair = (of_a.min(of_b), of_a.max(of_b));
                if met_before(members.met(*a), members.met(*b), members.group)
                    || self.is_done(pair)
                    || !self.is_new_pair(pair, members.is_large)
                {
                    continue;
                }
                let is_unlike = most_alike(size.change, of_b_size.change) < self.similarity_min;
                self.waiting.push(Waiting { pair, is_unlike });
                if self.waiting.len() >= PAIRS_AT_ONCE {
                    self.compare()?;
                }
            }
        }
        Ok(())
    }

    /// Whether a pair was not compared in a large group before, as far as that is remembered; it is from now on if it `is_large`.
    fn is_new_pair(&mut self, pair: (u32, u32), is_large: bool) -> bool {
        if !is_large {
            return self.pairs.is_empty() || !self.pairs.contains(&pair);
        }
        if self.pairs.len() >= self.remembered_max {
            self.pairs.clear();
        }
        self.pairs.insert(pair)
    }

    /// Whether the same rows have not been a group before, as far as that is remembered.
    fn is_new(&mut self, numbers: &[u32]) -> bool {
        let mut hasher = blake3::Hasher::new();
        numbers.iter().for_each(|number| {
            hasher.update(&number.to_le_bytes());
        });
        let mut half = [0; 16];
        half.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        if self.groups.len() >= self.remembered_max {
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

record!(
    /// A row with a sketch.
    Sketched { number: u32 } self => u64::from(self.number)
);

/// The sketches of rows of large groups, in the order of their numbers.
struct Sketches {
    numbers: Table<Sketched>,
    bands: Bytes,
}

impl Sketches {
    fn new(spill: (&Path, u64)) -> Self {
        Sketches { numbers: Table::new(spill.0, spill.1 / 4), bands: Bytes::new(spill.0, spill.1) }
    }

    fn push(&mut self, number: u32, sketch: &Sketch) -> Result<(), Error> {
        self.numbers.push(Sketched { number })?;
        let bytes: Vec<u8> = sketch.iter().flat_map(|band| band.to_le_bytes()).collect();
        self.bands.append(&bytes).map(|_| ())
    }

    fn is_empty(&self) -> bool {
        self.numbers.len() == 0
    }

    /// The place of the sketch of a row.
    fn place(&self, number: u32) -> Result<u64, Error> {
        let (mut from, mut to) = (0, self.numbers.len());
        while from < to {
            let middle = from.midpoint(to);
            match self.numbers.get(middle)?.number < number {
                true => from = middle + 1,
                false => to = middle,
            }
        }
        Ok(from)
    }

    /// The hash of a band of the sketch at `place`.
    fn band(&self, place: u64, band: usize) -> Result<u32, Error> {
        let at = place * size_of::<Sketch>() as u64 + (band * size_of::<u32>()) as u64;
        Ok(Fields(&self.bands.read(at, size_of::<u32>())?).u32())
    }
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
            let (sizes, sketches) = (self.sizes(similarities)?, self.sketches(similarities)?);
            if similarities.lacks {
                similarities.gather()?;
                continue;
            }
            let (mut clusters, joined, mut cut, pairs) = self.join(similarities, (&sizes, &sketches))?;
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

    /// The sketches of the rows of large groups, where contents count.
    fn sketches(&self, similarities: &mut Similarities<'_>) -> Result<Sketches, Error> {
        let mut sketches = Sketches::new(self.spill);
        let rows = 0..u32::try_from(self.candidates.len()).unwrap_or(u32::MAX);
        for number in rows.filter(|number| self.near == Near::Both && self.groups.large.has(*number)) {
            sketches.push(number, &similarities.sketch(number)?.unwrap_or_default())?;
        }
        Ok(sketches)
    }

    fn join(
        &self,
        similarities: &mut Similarities<'_>,
        (sizes, sketches): (&Table<Size>, &Sketches),
    ) -> Result<(Clusters, Bits, Bits, (u64, u64)), Error> {
        let (directory, memory) = self.spill;
        let rows = self.candidates.len();
        let lists = Lists::new(self.groups, rows, (directory, 2 * memory), self.threads)?;
        let mut joining = Joining {
            similarity_min: self.similarity_min,
            similarities,
            clusters: Clusters::new(usize::try_from(rows).unwrap_or(usize::MAX)),
            joined: Bits::default(),
            groups: HashSet::new(),
            pairs: HashSet::new(),
            remembered_max: usize::try_from(memory / 4 / REMEMBERED_BYTES).unwrap_or(usize::MAX).max(1),
            unlike: Sorter::new(directory, memory / 4, rows),
            cut: Bits::default(),
            alike: 0,
            waiting: Vec::new(),
        };
        self.groups.for_each(|numbers, position| joining.group(numbers, position, (&lists, sizes, sketches)))?;
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
    fn sizes_bound_similarity() {
        for (a, b, expected) in [(0, 0, 1.0), (0, 3, 0.0), (7, 10, 0.7), (10, 7, 0.7), (5, 5, 1.0)] {
            assert_eq!(most_alike(a, b), expected, "{a} {b}");
        }
    }
}
