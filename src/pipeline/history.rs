//! What is known of a history before rows are made of it: what its tip says of its licence, and what is noted of its commits while
//! they are walked.

use std::sync::{OnceLock, atomic::AtomicBool};

use gix::ObjectId;

use super::{ancestry::Ancestry, license, others::Others, reversal::Reversals, roots};
use crate::{
    git::{self, repository::Repository, walk},
    store::{Checkpoint, Reversal, Roots},
};

/// What a repository says of its licence at its tip, once somebody asked; of several tips nothing can be said.
pub struct TipLicense<'a> {
    pub(super) repository: &'a Repository,
    pub(super) tips: &'a [ObjectId],
    found: OnceLock<Option<String>>,
}

impl<'a> TipLicense<'a> {
    /// Nobody has asked yet.
    pub fn new(repository: &'a Repository, tips: &'a [ObjectId]) -> Self {
        TipLicense { repository, tips, found: OnceLock::new() }
    }

    /// The expression, if there is one.
    pub fn get(&self) -> Option<&str> {
        let find = || match self.tips {
            [tip] => license::of_repository(self.repository, *tip).and_then(|found| found.expression),
            _ => None,
        };
        self.found.get_or_init(find).as_deref()
    }
}

/// What is noted of every commit of a walk.
#[derive(Default)]
pub struct Noted {
    reversals: Reversals,
    ancestry: Ancestry,
}

impl walk::Notes for Noted {
    fn part(&self) -> Self {
        Noted { reversals: Reversals::default(), ancestry: self.ancestry.part() }
    }

    fn see(&mut self, id: ObjectId, commit: &git::commit::Commit<'_>) {
        self.reversals.see(id, commit);
        self.ancestry.see(id, commit);
    }

    fn add(&mut self, part: Self) {
        self.reversals.add(part.reversals);
        self.ancestry.add(part.ancestry);
    }
}

/// What tells of a history as a whole. No row depends on it, so rows need not wait for it.
pub struct History {
    pub(super) noted: Noted,
    /// The batches before.
    pub(super) before: Vec<Checkpoint>,
    pub(super) attached: Option<Others>,
}

impl History {
    /// What the commits of the walk take back, and what they go back to.
    ///
    /// # Errors
    /// An interruption.
    pub fn conclude(
        self,
        repository: &Repository,
        interrupt: &AtomicBool,
    ) -> Result<(Vec<Reversal>, Option<Roots>), git::Error> {
        let Noted { reversals, ancestry } = self.noted;
        let elsewhere = self.attached.as_ref().map(|attached| (&attached.commits, &attached.roots));
        let roots = roots::of_walk(&ancestry, repository, &self.before, elsewhere);
        Ok((reversals.resolve(repository, &ancestry, interrupt)?, roots))
    }
}
