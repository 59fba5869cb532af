//! What a fork need not mine since the root that it is attached to has it.

use std::{collections::HashSet, sync::atomic::AtomicBool};

use gix::ObjectId;

use super::{
    mine::{Error, Options, has_holes},
    recipe::{Recipe, Settings},
    roots,
};
use crate::{
    filter::LicenseScope,
    git::{repository::Repository, walk},
    store::{self, Checkpoint, RepositoryId, Roots, Store, attached::Behind},
};

/// The commits of a fork that need not be mined, since its root is mined up to them.
pub struct Others {
    /// The root, as far as it is mined.
    pub behind: Behind,
    /// The root commits that those go back to.
    pub roots: Roots,
    /// The commits up to there.
    pub commits: HashSet<ObjectId>,
}

impl Others {
    /// Finds them where the rows of a commit are the same in both repositories: the recipe is, and the licence of the repository as
    /// a whole where rules go by that; no rule asks which repository it is or what its list says; and nothing was missing when the
    /// root was mined. Without all that, and where the root is not at hand, a fork is mined whole.
    ///
    /// # Errors
    /// An interruption.
    pub fn find<'l>(
        store: &Store,
        id: &RepositoryId,
        settings: &Settings,
        license: &dyn Fn() -> Option<&'l str>,
        options: &Options,
        interrupt: &AtomicBool,
    ) -> Result<Option<Others>, Error> {
        let (Some(root), Some(path)) = (&id.root, &options.root) else { return Ok(None) };
        let rules = &settings.rules;
        if rules.read_columns() || rules.read_repository() {
            return Ok(None);
        }
        // What is wrong with the root is not the fork's trouble.
        let Ok(batches) = store::visible(&store.directory(root)) else { return Ok(None) };
        let by_license = rules.license_scope == LicenseScope::Repository && !rules.is_empty();
        if by_license && batches.last().is_none_or(|last| last.license.as_deref() != license()) {
            return Ok(None);
        }
        let is_same = |batch: &Checkpoint| Recipe::read(&batch.recipe).is_ok_and(|recipe| recipe == settings.recipe);
        let is_whole = |batch: &Checkpoint| !has_holes(&batch.funnel) && batch.shallow.is_empty();
        let is_root = |batch: &Checkpoint| batch.repository.root.is_none();
        if !batches.iter().all(|batch| is_same(batch) && is_whole(batch) && is_root(batch)) {
            return Ok(None);
        }
        let (Some(behind), Ok(repository)) = (Behind::of(&batches), Repository::open(path)) else { return Ok(None) };
        let tips: Vec<_> = behind.tips.iter().filter_map(|tip| ObjectId::from_hex(tip.as_bytes()).ok()).collect();
        // A root that was mined before roots were noted is divided by its name, and its forks are not.
        let Some(roots) = roots::joined(&batches) else { return Ok(None) };
        let commits = walk::reachable(&repository, &tips, interrupt)?;
        Ok(Some(Others { behind, roots, commits }))
    }
}
