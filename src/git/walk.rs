//! Lists the commits to mine. Every commit is decoded once; one that is missing or damaged is counted, and the walk goes on.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::atomic::{AtomicBool, Ordering},
};

use gix::ObjectId;

use super::{
    Error,
    blobs::{ReadError, read},
    repository::{Objects, Repository},
};
use crate::verdict::{Counts, Skip};

/// Commit objects that are kept for those who ask for them again, in bytes. git's own commits have 700 each.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// What a commit takes in the tables of a walk and in what is planned and known of it later, in bytes, beside the object.
const COMMIT_BYTES: u64 = 600;

/// A commit to compare with its first parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Commit time in seconds since 1970: with the id, the order of versions of a file.
    pub time: i64,
    /// The commit.
    pub id: ObjectId,
    /// Its tree.
    pub tree: ObjectId,
    /// The first parent, none for a root commit.
    pub parent: Option<ObjectId>,
    /// The object, as long as there is room for it: it is asked for again.
    pub object: Option<Box<[u8]>>,
}

/// Only commits whose commit time lies in the window are mined. Bounds are inclusive, in seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Window {
    /// Nothing older.
    pub since: Option<i64>,
    /// Nothing newer.
    pub until: Option<i64>,
}

impl Window {
    fn contains(&self, time: i64) -> bool {
        self.since.is_none_or(|since| since <= time) && self.until.is_none_or(|until| time <= until)
    }
}

/// What a walk found.
pub struct Walked {
    /// Commits to compare with their parents, oldest first.
    pub commits: Vec<Commit>,
    /// The tree of every commit that was read.
    pub trees: HashMap<ObjectId, ObjectId>,
    /// The account of the commits that are not compared.
    pub skipped: Counts,
    /// Whether every hidden tip is still reachable: if not, history was rewritten since it was mined.
    pub continues: bool,
}

/// Lists what is reachable from `tips` and neither from `hidden` nor one of `others`, whose ancestors are among them as well;
/// `note` sees every such commit.
///
/// # Errors
/// An interruption, or an error of the machine.
pub fn walk(
    repository: &Repository,
    tips: &[ObjectId],
    hidden: &[ObjectId],
    others: &HashSet<ObjectId>,
    window: Window,
    interrupt: &AtomicBool,
    note: &mut dyn FnMut(ObjectId, &super::commit::Commit<'_>),
) -> Result<Walked, Error> {
    let objects = repository.objects();
    repository.hold_nothing();
    let mut seen = ancestors(repository, &objects, hidden, interrupt)?;
    seen.extend(others);
    let mut unmet: HashSet<ObjectId> = hidden.iter().filter(|id| !tips.contains(id)).copied().collect();
    let mut skipped = Counts::default();
    let mut commits = Vec::new();
    let mut trees = HashMap::new();
    let mut queue: Vec<ObjectId> = tips.iter().copied().filter(|tip| seen.insert(*tip)).collect();
    let (mut buffer, mut room) = (Vec::new(), KEPT_BYTES_MAX);
    while let Some(id) = queue.pop() {
        if interrupt.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let parsed = match parse_and_note(repository, &objects, id, &mut buffer, note) {
            Ok(parsed) => parsed,
            Err(error) => {
                skipped.skip(error.skip());
                continue;
            }
        };
        repository.hold(COMMIT_BYTES)?;
        trees.insert(id, parsed.tree);
        let cut = repository.shallow().contains(&id);
        for parent in parsed.parents.iter().filter(|_| !cut) {
            unmet.remove(parent);
            if seen.insert(*parent) {
                queue.push(*parent);
            }
        }
        if parsed.parents.len() > 1 {
            skipped.skip(Skip::Merge);
        } else if cut && !parsed.parents.is_empty() {
            skipped.skip(Skip::ShallowBoundary);
        } else if !window.contains(parsed.time) {
            skipped.skip(Skip::OutsideWindow);
        } else {
            let object = Some(&buffer).filter(|object| object.len() <= room).map(|object| object.as_slice().into());
            let object_len = object.as_deref().map_or(0, <[u8]>::len);
            repository.hold(object_len as u64)?;
            room -= object_len;
            let Parsed { tree, parents, time } = parsed;
            commits.push(Commit { time, id, tree, parent: parents.first().copied(), object });
        }
    }
    repository.check()?;
    commits.sort_by_key(|commit| (commit.time, commit.id));
    if !unmet.is_empty() {
        // One old tip may hide behind another, so only the whole ancestry tells.
        let reachable = ancestors(repository, &objects, tips, interrupt)?;
        unmet.retain(|tip| !reachable.contains(tip));
    }
    Ok(Walked { commits, trees, skipped, continues: unmet.is_empty() })
}

/// Lists the commits `ids` alone, without what they reach. They are not compared where [`walk`] would not.
pub fn only(repository: &Repository, ids: &[ObjectId]) -> Walked {
    let objects = repository.objects();
    let (mut commits, mut skipped, mut trees) = (Vec::new(), Counts::default(), HashMap::new());
    for &id in ids {
        match parse(repository, &objects, id, &mut Vec::new()) {
            Err(error) => skipped.skip(error.skip()),
            Ok(parsed) if parsed.parents.len() > 1 => skipped.skip(Skip::Merge),
            Ok(parsed) if repository.shallow().contains(&id) && !parsed.parents.is_empty() => {
                skipped.skip(Skip::ShallowBoundary);
            }
            Ok(Parsed { tree, parents, time }) => {
                trees.insert(id, tree);
                commits.push(Commit { time, id, tree, parent: parents.first().copied(), object: None });
            }
        }
    }
    Walked { commits, trees, skipped, continues: true }
}

/// All commits that `tips` reach.
///
/// # Errors
/// An interruption.
pub fn reachable(
    repository: &Repository,
    tips: &[ObjectId],
    interrupt: &AtomicBool,
) -> Result<HashSet<ObjectId>, Error> {
    ancestors(repository, &repository.objects(), tips, interrupt)
}

/// All of them, not a frontier by date: clocks lie, and a commit mined twice or never would break the account.
fn ancestors(
    repository: &Repository,
    objects: &Objects,
    tips: &[ObjectId],
    interrupt: &AtomicBool,
) -> Result<HashSet<ObjectId>, Error> {
    let mut seen: HashSet<ObjectId> = tips.iter().copied().collect();
    let mut queue: Vec<ObjectId> = seen.iter().copied().collect();
    let mut buffer = Vec::new();
    while let Some(id) = queue.pop() {
        if interrupt.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let Ok(parsed) = parse(repository, objects, id, &mut buffer) else { continue };
        if !repository.shallow().contains(&id) {
            queue.extend(parsed.parents.into_iter().filter(|parent| seen.insert(*parent)));
        }
    }
    Ok(seen)
}

struct Parsed {
    tree: ObjectId,
    parents: Vec<ObjectId>,
    time: i64,
}

/// The tree of the commit `id`.
///
/// # Errors
/// The commit is missing or damaged.
pub fn tree_of(repository: &Repository, objects: &Objects, id: ObjectId) -> Result<ObjectId, ReadError> {
    parse(repository, objects, id, &mut Vec::new()).map(|parsed| parsed.tree)
}

/// The time of the commit `id` in seconds since 1970.
///
/// # Errors
/// The commit is missing or damaged.
pub fn time_of(repository: &Repository, id: ObjectId) -> Result<i64, ReadError> {
    parse(repository, &repository.objects(), id, &mut Vec::new()).map(|parsed| parsed.time)
}

/// Searches `start` and its ancestors, nearest first, for what `is_wanted`, among the first `commits_max` of them. Which
/// one is found depends on nothing but that part of history. A commit of which `passed` gives the parents is not read: it
/// is known to be none that is wanted.
pub fn find_back(
    repository: &Repository,
    start: ObjectId,
    commits_max: usize,
    passed: &dyn Fn(&ObjectId) -> Option<Vec<ObjectId>>,
    is_wanted: &mut dyn FnMut(ObjectId, &super::commit::Commit<'_>) -> bool,
) -> Option<ObjectId> {
    let objects = repository.objects();
    let (mut seen, mut queue) = (HashSet::from([start]), VecDeque::from([start]));
    let mut buffer = Vec::new();
    for _ in 0..commits_max {
        let id = queue.pop_front()?;
        if let Some(parents) = passed(&id) {
            queue.extend(parents.into_iter().filter(|parent| seen.insert(*parent)));
            continue;
        }
        let mut found = false;
        let parsed = parse_and_note(repository, &objects, id, &mut buffer, &mut |id, commit| {
            found = is_wanted(id, commit);
        });
        if found {
            return Some(id);
        }
        let parents = parsed.map_or_else(|_| Vec::new(), |parsed| parsed.parents);
        queue.extend(parents.into_iter().filter(|parent| seen.insert(*parent)));
    }
    None
}

fn parse(repository: &Repository, objects: &Objects, id: ObjectId, buffer: &mut Vec<u8>) -> Result<Parsed, ReadError> {
    parse_and_note(repository, objects, id, buffer, &mut |_, _| {})
}

fn parse_and_note(
    repository: &Repository,
    objects: &Objects,
    id: ObjectId,
    buffer: &mut Vec<u8>,
    note: &mut dyn FnMut(ObjectId, &super::commit::Commit<'_>),
) -> Result<Parsed, ReadError> {
    let bytes = read(objects, id, gix::objs::Kind::Commit, buffer)?;
    let commit = super::commit::Commit::parse(bytes, repository.hash()).ok_or(ReadError::Corrupt)?;
    note(id, &commit);
    // git takes a time that it can't read for 1970.
    let time = commit.said.committer.time.unwrap_or(0);
    Ok(Parsed { tree: commit.tree, parents: commit.parents, time })
}
