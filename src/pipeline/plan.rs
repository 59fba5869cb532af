//! Everything that is known before a blob is read: compares the trees of commits, asks the rules that need no contents, and
//! sorts the changes by path, so that versions of a file are neighbours.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use gix::ObjectId;
use hashbrown::HashMap;

use super::{
    candidate::{CommitView, TreeView},
    commit::Facts,
    job::{Job, Refusal, dropped, files},
    license::{self, Directories, is_evidence},
    ordered::{RUN, in_runs},
    paths::Paths,
};
use crate::{
    classify::language::Languages,
    dedup::opt_out::OptOuts,
    filter::{Layer, Texts},
    git::{
        self,
        change::{Change, Changes, Directory, TreeDiff},
        needs::Needs,
        packs::{Packs, Place},
        rename,
        repository::Repository,
        trees::Trees,
        walk::{self, Commit, Walked},
    },
    sample::ChangeKind,
    store::ledger::Dropped,
    verdict::{Counts, Skip},
};

/// Room is made for so many candidates of a commit: a list that grows is moved again and again, to memory that is cleared for it.
const CHANGES_PER_COMMIT: usize = 4;

/// No room is made for more candidates before they are there.
const CANDIDATES_MAX: usize = 1 << 16;

/// Commits that a thread compares in one go.
const COMMITS_PER_BLOCK: usize = 64;

/// Objects that a commit may be expected to need, and more than most do.
const OBJECTS_PER_COMMIT: usize = 8;

/// Changes in a block, the unit of resuming.
pub const CHANGES_PER_BLOCK: usize = 128;

/// A change that may become a row.
pub struct Candidate {
    /// Index into [`Plan::commits`].
    pub commit: u32,
    /// The change.
    pub change: Change,
    /// Position in [`Plan::places`] of the nearest directory that says something about licences.
    pub directory: Option<u32>,
    /// Where the blobs before and after are, if they are in a pack.
    pub places: [Option<Place>; 2],
}

/// Everything that is known before a blob is read.
pub struct Plan {
    /// The compared commits, oldest first.
    pub commits: Vec<Commit>,
    /// Number of paths that each of them changes, and how many of those are there before and after.
    pub files_changed: Vec<(u32, u32)>,
    /// Candidates in the order of rows: by path, then by commit time and id.
    pub candidates: Vec<Candidate>,
    /// How often objects are needed for them.
    pub needs: Arc<Needs>,
    /// Directories with licence texts or package metadata.
    pub places: Vec<license::Place>,
    /// The account of changes that were decided without reading a blob.
    pub early: Counts,
    /// The account of commits that gave nothing to compare.
    pub commits_skipped: Counts,
    /// Compared commits that were counted in `commits_skipped`.
    pub commits_decided: HashSet<u32>,
}

impl Plan {
    /// Adds to `counts` the compared commits: those of `kept` have a row.
    pub fn count_commits(&self, kept: &HashSet<u32>, counts: &mut Counts) {
        for number in 0..u32::try_from(self.commits.len()).unwrap_or(u32::MAX) {
            if kept.contains(&number) {
                counts.keep();
            } else if !self.commits_decided.contains(&number) {
                counts.skip(Skip::NoChangeKept);
            }
        }
    }

    /// Number of blocks.
    pub fn blocks(&self) -> u64 {
        self.candidates.len().div_ceil(CHANGES_PER_BLOCK) as u64
    }
}

/// Compares every commit of `walked` with its first parent. `drops` hears of what rules dropped.
///
/// # Errors
/// An interruption, an error of the machine, or what `drops` returns.
pub fn plan<E: From<git::Error> + Send>(
    repository: &Repository,
    walked: Walked,
    job: Job<'_>,
    threads: usize,
    interrupt: &AtomicBool,
    progress: &(dyn Fn(u64, u64) + Sync),
    drops: &mut dyn FnMut(Dropped) -> Result<(), E>,
) -> Result<Plan, E> {
    let Walked { commits, trees, skipped, .. } = walked;
    let total = commits.len();
    let mut plan = Plan {
        files_changed: vec![(0, 0); total],
        candidates: Vec::with_capacity(total.saturating_mul(CHANGES_PER_COMMIT).min(CANDIDATES_MAX)),
        needs: Arc::default(),
        places: Vec::new(),
        early: Counts::default(),
        commits_skipped: skipped,
        commits_decided: HashSet::new(),
        commits: Vec::new(),
    };
    let packs = repository.packs();
    packs.expect(OBJECTS_PER_COMMIT * total);
    // A table that grows leaves memory behind. About half of all objects of a history are blobs, and few commits need few.
    let needs = Needs::with_room((packs.objects() / 2).min(OBJECTS_PER_COMMIT * total));
    let mut adding = Adding { packs: &packs, directories: Directories::default(), needs, paths: Paths::default() };
    let comparing = Comparing { repository, packs: &packs, job, trees: &trees, interrupt };
    let compare = |trees: &mut Trees, block: u64| -> Result<Vec<Result<Compared, Refusal>>, E> {
        let from = block as usize * COMMITS_PER_BLOCK;
        let mut differ = TreeDiff::new(trees, job.recipe.commit_changes_max, interrupt);
        let mut compared = Vec::new();
        for commit in &commits[from..total.min(from + COMMITS_PER_BLOCK)] {
            if interrupt.load(Ordering::Relaxed) {
                return Err(git::Error::Interrupted.into());
            }
            compared.push(comparing.compare(&mut differ, commit));
        }
        // An interruption in the middle of the last comparison, too, must not pass for its outcome.
        if interrupt.load(Ordering::Relaxed) {
            return Err(git::Error::Interrupted.into());
        }
        repository.check()?;
        Ok(compared)
    };
    let blocks = total.div_ceil(COMMITS_PER_BLOCK) as u64;
    in_runs(
        RUN,
        threads,
        0..blocks,
        || Trees::new(repository, is_evidence),
        compare,
        |compared| compared.iter().flatten().map(|compared| compared.bytes() as usize).sum(),
        |block, compared| {
            for (at, compared) in compared.into_iter().enumerate() {
                repository.hold(compared.as_ref().map_or(0, Compared::bytes))?;
                plan.add(block as usize * COMMITS_PER_BLOCK + at, compared, &mut adding, drops)?;
            }
            progress(((block + 1) * COMMITS_PER_BLOCK as u64).min(total as u64), total as u64);
            Ok(())
        },
    )?;
    adding.paths.sort(&mut plan.candidates);
    plan.commits = commits;
    plan.needs = Arc::new(adding.needs);
    plan.places = adding.directories.into_places();
    Ok(plan)
}

/// Compares single commits, on any thread.
struct Comparing<'a> {
    repository: &'a Repository,
    packs: &'a Packs,
    job: Job<'a>,
    trees: &'a HashMap<ObjectId, ObjectId>,
    interrupt: &'a AtomicBool,
}

impl Comparing<'_> {
    /// What a message rule drops is not compared; what a path rule drops is no candidate.
    fn compare(&self, differ: &mut TreeDiff<'_>, commit: &Commit) -> Result<Compared, Refusal> {
        let Job { recipe, rules, origin, opt_outs } = self.job;
        let judged = rules.has(Layer::Commit) || rules.has(Layer::Tree) || opt_outs.is_some();
        // What has no message that can be read is skipped later, for that reason.
        let objects = differ.objects();
        let mut buffer = Vec::new();
        let facts = judged.then(|| Facts::read(objects, commit, &mut buffer).ok()).flatten();
        if let Some(refusal) = facts.as_ref().and_then(|facts| self.job.opt_out(commit.id, facts, (None, None))) {
            return Err(refusal);
        }
        let seen = facts.as_ref().map(|facts| {
            let view = CommitView::new(origin, commit.id.to_string(), facts, recipe.message_language);
            (view, self.job.texts(&facts.message))
        });
        if let Some((view, texts)) = &seen
            && let Some(rule) = rules.judge(Layer::Commit, view, texts)
        {
            return Err(dropped(rule, Layer::Commit, view, texts, commit.id, (None, None)));
        }
        let parent_tree = match commit.parent {
            None => Ok(None),
            Some(parent) => match self.trees.get(&parent) {
                Some(tree) => Ok(Some(*tree)),
                None => walk::tree_of(self.repository, objects, parent).map(Some),
            },
        };
        let mut changes = differ.compare(parent_tree.map_err(|error| error.skip())?, commit.tree)?;
        let files_changed = (u32::try_from(changes.len()).unwrap_or(u32::MAX), changes.modified);
        if files_changed.0 == 0 {
            return Err(Skip::NoChange.into());
        }
        if recipe.renames {
            rename::detect(differ.objects(), &mut changes, self.interrupt);
        }
        let Changes { regular, skipped, directories, .. } = changes;
        let mut compared =
            Compared { files_changed, directories, candidates: Vec::new(), counts: skipped, drops: Vec::new() };
        for change in regular {
            let refusal = self.refusal(commit, &change, files_changed, seen.as_ref(), facts.as_ref());
            match refusal {
                None => {
                    let place = |file: git::change::File| self.packs.place(&file.id);
                    let places = [change.old.and_then(place), change.new.and_then(place)];
                    compared.candidates.push((change, places));
                }
                Some(refusal) => {
                    refusal.count(&mut compared.counts);
                    if let Refusal::Drop(dropped) = refusal {
                        compared.drops.push(*dropped);
                    }
                }
            }
        }
        Ok(compared)
    }

    fn refusal(
        &self,
        commit: &Commit,
        change: &Change,
        files_changed: (u32, u32),
        seen: Option<&(CommitView<'_>, Texts<'_>)>,
        facts: Option<&Facts<'_>>,
    ) -> Option<Refusal> {
        let Job { recipe, rules, opt_outs, .. } = self.job;
        if !recipe.kinds.contains(&change.kind) {
            return Some(Refusal::Skip(match change.kind {
                ChangeKind::Modified => Skip::KindModified,
                ChangeKind::Added => Skip::KindAdded,
                ChangeKind::Deleted => Skip::KindDeleted,
                ChangeKind::Renamed => Skip::KindRenamed,
            }));
        }
        let ((view, texts), Ok((old_file, new_file))) = (seen?, files(change)) else { return None };
        if opt_outs.is_some_and(OptOuts::has_paths)
            && let Some(refusal) = self.job.opt_out(commit.id, facts?, (old_file, new_file))
        {
            return Some(refusal);
        }
        let view = TreeView {
            commit: view,
            old_file,
            new_file,
            kind: change.kind,
            files_changed: files_changed.0,
            files_modified: files_changed.1,
            languages: Languages::in_use(),
        };
        let rule = rules.judge(Layer::Tree, &view, texts)?;
        Some(dropped(rule, Layer::Tree, &view, texts, commit.id, (old_file, new_file)))
    }
}

/// What became of the changes of a commit.
struct Compared {
    /// Paths that it changes (a rename is two), and how many of them are there before and after.
    files_changed: (u32, u32),
    directories: Vec<Directory>,
    /// Each with where its blobs are.
    candidates: Vec<(Change, [Option<Place>; 2])>,
    /// The account of all others.
    counts: Counts,
    drops: Vec<Dropped>,
}

impl Compared {
    /// What its candidates take in a plan, in bytes, with the room that a growing list has, and what is counted of their blobs.
    fn bytes(&self) -> u64 {
        let each = 2 * (size_of::<Candidate>() + Needs::OBJECT_BYTES + Paths::CANDIDATE_BYTES);
        let candidate = |(change, _): &(Change, _)| each + change.path.len();
        let directory =
            |directory: &Directory| if directory.notable.is_empty() { 0 } else { directory.path.len() + 64 };
        let candidates: usize = self.candidates.iter().map(candidate).sum();
        (candidates + self.directories.iter().map(directory).sum::<usize>()) as u64
    }
}

/// What is gathered of candidates while they come.
struct Adding<'a> {
    packs: &'a Packs,
    directories: Directories,
    needs: Needs,
    paths: Paths,
}

impl Plan {
    fn add<E>(
        &mut self,
        commit: usize,
        compared: Result<Compared, Refusal>,
        adding: &mut Adding<'_>,
        drops: &mut dyn FnMut(Dropped) -> Result<(), E>,
    ) -> Result<(), E> {
        let number = u32::try_from(commit).unwrap_or(u32::MAX);
        let compared = match compared {
            Ok(compared) => compared,
            Err(refusal) => {
                refusal.count(&mut self.commits_skipped);
                self.commits_decided.insert(number);
                return if let Refusal::Drop(dropped) = refusal { drops(*dropped) } else { Ok(()) };
            }
        };
        self.files_changed[commit] = compared.files_changed;
        self.early.add(&compared.counts);
        compared.drops.into_iter().try_for_each(drops)?;
        if !compared.candidates.is_empty() {
            let positions = adding.directories.add(compared.directories);
            for (change, places) in compared.candidates {
                let directory = positions.get(change.directory as usize).copied().flatten();
                self.candidates.push(Candidate { commit: number, change, directory, places });
                adding.paths.see_last(&self.candidates);
                for place in places.into_iter().flatten() {
                    adding.needs.count(adding.packs, place, 2 * self.candidates.len());
                }
            }
        }
        Ok(())
    }
}
