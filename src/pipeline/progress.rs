//! How far a command is that goes through all rows.

use crate::store::{self, Store};

/// Rows between two words about them.
const ROWS: u64 = 512;

/// What is done with rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// They are read for a page.
    Reading,
    /// They are looked through for what others have to know of them.
    Comparing,
    /// They are written, or spilled to be shuffled.
    Writing,
    /// They are put into the order that was drawn.
    Shuffling,
}

impl Step {
    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Step::Reading => "reading",
            Step::Comparing => "comparing",
            Step::Writing => "writing",
            Step::Shuffling => "shuffling",
        }
    }
}

/// Hears how many rows of how many are done. When a step ends, both numbers are the same.
pub type Progress<'a> = &'a dyn Fn(Step, u64, u64);

/// Rows of `store`, a shared one with each repository that has it.
///
/// # Errors
/// The store can't be read.
pub(super) fn rows_in(store: &Store) -> Result<u64, store::Error> {
    Ok(store.batches()?.iter().map(|(_, checkpoint)| checkpoint.funnel.changes.kept).sum())
}

/// Counts the rows of one step.
pub(super) struct Counter<'a> {
    progress: Progress<'a>,
    step: Step,
    done: u64,
    total: u64,
}

impl<'a> Counter<'a> {
    /// Begins a step of `total` rows at most: rows that several repositories have come once.
    pub(super) fn new(progress: Progress<'a>, step: Step, total: u64) -> Self {
        progress(step, 0, total);
        Counter { progress, step, done: 0, total }
    }

    /// Another row is done.
    pub(super) fn row(&mut self) {
        self.done += 1;
        if self.done.is_multiple_of(ROWS) {
            (self.progress)(self.step, self.done.min(self.total), self.total);
        }
    }

    /// No row is left.
    pub(super) fn end(self) {
        (self.progress)(self.step, self.total, self.total);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn a_step_begins_and_ends_and_is_told_of_in_between() {
        for (rows, total, expected) in [
            (0, 0, vec![(0, 0), (0, 0)]),
            (3, 3, vec![(0, 3), (3, 3)]),
            // Fewer rows than were expected.
            (600, 2_000, vec![(0, 2_000), (512, 2_000), (2_000, 2_000)]),
            (1_024, 1_024, vec![(0, 1_024), (512, 1_024), (1_024, 1_024), (1_024, 1_024)]),
        ] {
            let heard = RefCell::new(Vec::new());
            let progress = |step, done, total| {
                assert_eq!(step, Step::Writing);
                heard.borrow_mut().push((done, total));
            };
            let mut counter = Counter::new(&progress, Step::Writing, total);
            (0..rows).for_each(|_| counter.row());
            counter.end();
            assert_eq!(heard.into_inner(), expected, "{rows} of {total}");
        }
    }
}
