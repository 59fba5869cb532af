//! Which rows share a band, and which groups a row is in.

use std::path::Path;

use super::spill::{Bits, Bytes, Fields, Sorter, Table, record};
use crate::store::Error;

/// Rows that share a band with more others are compared with at most so many of them.
pub const COMPARISONS_MAX: usize = 256;

/// Bytes of groups that are read at a time.
const WINDOW: usize = 1 << 20;

record!(
    /// A band of a row.
    Band { hash: u64, number: u32 } self => self.hash
);

record!(
    /// A row and one of its groups.
    Membership { number: u32, group: u32 } self => u64::from(self.number)
);

record!(
    /// Where the list of a row's groups begins; by number.
    Start { at: u64 } self => self.at
);

/// Groups of rows that share a band.
pub struct Groups {
    /// One after the other: so many, and their numbers.
    bytes: Bytes,
    /// Rows that are in one.
    pub rows: Bits,
    /// Rows that are in one with more others than a row is compared with.
    pub large: Bits,
}

/// Whether not all pairs of the rows of a group are compared.
pub fn is_large(numbers: &[u32]) -> bool {
    numbers.len() > COMPARISONS_MAX + 1
}

impl Groups {
    /// Sorts `bands` into groups, without the rows that are `gone`.
    ///
    /// # Errors
    /// Something can't be spilled or read back.
    pub fn new(bands: Sorter<Band>, gone: &Bits, spill: (&Path, u64), threads: usize) -> Result<Self, Error> {
        let bytes = Bytes::new(spill.0, spill.1);
        let mut groups = Groups { bytes, rows: Bits::default(), large: Bits::default() };
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
                    if is_large(&numbers) {
                        numbers.iter().for_each(|number| {
                            groups.large.set(*number);
                        });
                    }
                    groups.bytes.append(&bytes)?;
                }
            }
            Ok(())
        })?;
        Ok(groups)
    }

    /// Calls `each` with every group and its position.
    ///
    /// # Errors
    /// What was spilled can't be read, or what `each` returns.
    pub fn for_each(&self, mut each: impl FnMut(&[u32], u32) -> Result<(), Error>) -> Result<(), Error> {
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

/// The groups of each row, without large ones: what tells whether a pair was compared in an earlier group.
pub struct Lists {
    /// For each row positions, rising.
    bytes: Bytes,
    /// Where those of each row begin, and the end.
    starts: Table<Start>,
}

impl Lists {
    /// Those of `rows` rows.
    ///
    /// # Errors
    /// Something can't be spilled or read back.
    pub fn new(groups: &Groups, rows: u64, spill: (&Path, u64), threads: usize) -> Result<Self, Error> {
        let (directory, memory) = spill;
        let mut memberships = Sorter::new(directory, memory / 4, rows);
        groups.for_each(|numbers, group| match is_large(numbers) {
            true => Ok(()),
            false => numbers.iter().try_for_each(|number| memberships.push(Membership { number: *number, group })),
        })?;
        let (bytes, starts) = (Bytes::new(directory, memory), Table::new(directory, memory / 4));
        let mut lists = Lists { bytes, starts };
        let mut bytes = Vec::new();
        memberships.for_each_part(threads, |memberships| {
            for of_one in memberships.chunk_by(|a, b| a.number == b.number) {
                lists.start_up_to(u64::from(of_one[0].number))?;
                bytes.clear();
                of_one.iter().for_each(|membership| bytes.extend_from_slice(&membership.group.to_le_bytes()));
                lists.bytes.append(&bytes)?;
            }
            Ok(())
        })?;
        lists.start_up_to(rows)?;
        Ok(lists)
    }

    /// Notes that the lists of the rows up to `number` begin here at the latest.
    fn start_up_to(&mut self, number: u64) -> Result<(), Error> {
        while self.starts.len() <= number {
            self.starts.push(Start { at: self.bytes.len() })?;
        }
        Ok(())
    }

    /// Appends the groups of a row to `to`.
    ///
    /// # Errors
    /// What was spilled can't be read.
    pub fn of_row(&self, number: u32, to: &mut Vec<u32>) -> Result<(), Error> {
        let [start, end] = [self.starts.get(u64::from(number))?.at, self.starts.get(u64::from(number) + 1)?.at];
        if start < end {
            let bytes = self.bytes.read(start, usize::try_from(end - start).unwrap_or(usize::MAX))?;
            to.extend(bytes.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)));
        }
        Ok(())
    }
}

/// Whether two rows are in one group before the one at `end`.
pub fn met_before(a: &[u32], b: &[u32], end: u32) -> bool {
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        let (of_a, of_b) = (a[i], b[j]);
        if of_a >= end || of_b >= end {
            return false;
        }
        if of_a == of_b {
            return true;
        }
        i += usize::from(of_a <= of_b);
        j += usize::from(of_b <= of_a);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_that_met_are_known() {
        for (a, b, end, expected) in [
            (vec![], vec![1], 9, false),
            (vec![1, 4], vec![2, 4], 5, true),
            (vec![1, 4], vec![2, 4], 4, false),
            (vec![4, 6], vec![5, 6], 7, true),
            (vec![4, 6], vec![5, 7], 9, false),
        ] {
            assert_eq!(met_before(&a, &b, end), expected, "{a:?} {b:?} {end}");
        }
    }
}
