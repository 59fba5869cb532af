//! Lists the commits to mine, on several threads. Every commit is decoded once; one that is missing or damaged is counted, and
//! the walk goes on.
//!
//! Where history is a line, only who has read a commit knows the next one. So a thread that follows it does no more than that,
//! and hands over what it read, for others to look at.

use std::{
    collections::{HashSet, VecDeque},
    panic::resume_unwind,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use gix::{ObjectId, hash::Kind as HashKind};
use hashbrown::HashMap;

use super::{
    Error,
    blobs::{ReadError, read},
    commit::{Commit as Parts, Said},
    decoder::Decoder,
    repository::{Objects, Repository},
};
use crate::verdict::{Counts, Skip};

/// Commit objects that are kept for those who ask for them again, in bytes. git's own commits have 700 each.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// What a commit takes in the tables of a walk and in what is planned and known of it later, in bytes, beside the object.
const COMMIT_BYTES: u64 = 600;

/// Commits that are handed over at once, so that waking a thread for them costs little,
const BATCH_COMMITS: usize = 64;

/// and so many bytes of objects at most, but for the last one.
const BATCH_BYTES_MAX: usize = 1 << 20;

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
    /// What [`Said::alone`] leaves of the object, as long as there is room for it: it is asked for again.
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

/// What is noted of the commits of a walk. Each thread has a part of its own.
pub trait Notes: Send {
    /// A part in which nothing is noted yet.
    fn part(&self) -> Self;

    /// Looks at the commit `id`.
    fn see(&mut self, id: ObjectId, commit: &Parts<'_>);

    /// Adds what a part has seen.
    fn add(&mut self, part: Self);
}

/// Nothing is noted.
impl Notes for () {
    fn part(&self) -> Self {}

    fn see(&mut self, _: ObjectId, _: &Parts<'_>) {}

    fn add(&mut self, (): ()) {}
}

/// What to list.
#[derive(Clone, Copy)]
pub struct Span<'a> {
    /// What these reach,
    pub tips: &'a [ObjectId],
    /// and what these don't,
    pub hidden: &'a [ObjectId],
    /// and what is none of these, whose ancestors are among them as well.
    pub others: &'a HashSet<ObjectId>,
    /// What of it is compared.
    pub window: Window,
}

/// Lists the commits of `span` on so many threads; `notes` see every one of them.
///
/// # Errors
/// An interruption, or an error of the machine.
pub fn walk<N: Notes>(
    repository: &Repository,
    span: Span<'_>,
    threads: usize,
    interrupt: &AtomicBool,
    notes: N,
) -> Result<(Walked, N), Error> {
    let Span { tips, hidden, others, window } = span;
    repository.hold_nothing();
    let mut seen: hashbrown::HashSet<ObjectId> = ancestors(repository, hidden, interrupt)?.into_iter().collect();
    seen.extend(others);
    let unmet = hidden.iter().filter(|id| !tips.contains(id)).copied().collect();
    let ids = tips.iter().copied().filter(|tip| seen.insert(*tip)).collect();
    let state = State { seen, unmet, ids, batches: Vec::new(), following: 0, idle: 0, end: None };
    let threads = threads.max(1);
    let kept_bytes = AtomicUsize::new(0);
    let (state, changed) = (Mutex::new(state), Condvar::new());
    let walking = Walking { repository, window, threads, interrupt, state, changed, kept_bytes };
    let (first, others) = thread::scope(|scope| {
        let work = |notes: N| Worker::new(&walking, notes).work();
        let spawn = |notes: N| scope.spawn(move || work(notes));
        let others: Vec<_> = (1..threads).map(|_| spawn(notes.part())).collect();
        let first = work(notes);
        let joined = others.into_iter().map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        (first, joined.collect())
    });
    let State { end, mut unmet, .. } = walking.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(Err(error)) = end {
        return Err(error);
    }
    repository.check()?;
    let (walked, notes) = joined(first, others);
    if !unmet.is_empty() {
        // One old tip may hide behind another, so only the whole ancestry tells.
        let reachable = ancestors(repository, tips, interrupt)?;
        unmet.retain(|tip| !reachable.contains(tip));
    }
    Ok((Walked { continues: unmet.is_empty(), ..walked }, notes))
}

/// What all threads found.
fn joined<N: Notes>(first: Part<N>, others: Vec<Part<N>>) -> (Walked, N) {
    let Part { mut commits, mut trees, mut skipped, mut notes } = first;
    for part in others {
        commits.extend(part.commits);
        trees.extend(part.trees);
        skipped.add(&part.skipped);
        notes.add(part.notes);
    }
    commits.sort_by_key(|commit| (commit.time, commit.id));
    (Walked { commits, trees, skipped, continues: true }, notes)
}

/// What threads share.
struct Walking<'a> {
    repository: &'a Repository,
    window: Window,
    threads: usize,
    interrupt: &'a AtomicBool,
    state: Mutex<State>,
    /// There is something to do, or all is done.
    changed: Condvar,
    /// Bytes of objects that were to be kept, also beyond the bound.
    kept_bytes: AtomicUsize,
}

struct State {
    /// Commits that were met, and those that nobody wants.
    seen: hashbrown::HashSet<ObjectId>,
    /// Hidden tips that no commit of the walk has as a parent, as far as it is.
    unmet: HashSet<ObjectId>,
    /// Commits to be read.
    ids: Vec<ObjectId>,
    /// Commits that were read, to be looked at.
    batches: Vec<Vec<Decoded>>,
    /// Threads that follow history: more may come of them.
    following: usize,
    /// Threads that wait.
    idle: usize,
    /// How it ended, once it has.
    end: Option<Result<(), Error>>,
}

/// A commit that was read.
struct Decoded {
    id: ObjectId,
    tree: ObjectId,
    parents: Vec<ObjectId>,
    object: Vec<u8>,
}

/// What there is to do.
enum Task {
    Follow(Vec<ObjectId>),
    Look(Vec<Decoded>),
}

/// What a thread found.
struct Part<N> {
    commits: Vec<Commit>,
    trees: HashMap<ObjectId, ObjectId>,
    skipped: Counts,
    notes: N,
}

impl Walking<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something to do; none where nothing is left. To follow history goes first: others may wait for it.
    fn task(&self) -> Option<Task> {
        let mut state = self.state();
        loop {
            if state.end.is_some() {
                return None;
            }
            if !state.ids.is_empty() {
                state.following += 1;
                return Some(Task::Follow(std::mem::take(&mut state.ids)));
            }
            if let Some(batch) = state.batches.pop() {
                return Some(Task::Look(batch));
            }
            if state.following == 0 {
                drop(state);
                self.end(Ok(()));
                return None;
            }
            state.idle += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    /// Ends it. An error stays, and counts more than that nothing is left: the thread that finds it may be the last one at work,
    /// while others see nothing to do any more.
    fn end(&self, end: Result<(), Error>) {
        let mut state = self.state();
        if !matches!(state.end, Some(Err(_))) {
            state.end = Some(end);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Takes note of the parents of a commit, and adds to `ids` those that are new. False once all has ended.
    fn meet(&self, parents: &[ObjectId], ids: &mut Vec<ObjectId>) -> bool {
        let mut state = self.state();
        let State { seen, unmet, end, .. } = &mut *state;
        for parent in parents {
            unmet.remove(parent);
            if seen.insert(*parent) {
                ids.push(*parent);
            }
        }
        let goes_on = end.is_none();
        // Who has nothing to do takes the older half of what is open here.
        if ids.len() > 1 && state.idle > 0 && state.ids.is_empty() {
            let half = ids.len() / 2;
            state.ids.extend(ids.drain(..half));
            self.changed.notify_one();
        }
        goes_on
    }

    /// Hands over what was read, or gives it back where the others have enough to do.
    fn hand_over(&self, batch: Vec<Decoded>) -> Option<Vec<Decoded>> {
        let mut state = self.state();
        if state.batches.len() >= 2 * (self.threads - 1) {
            return Some(batch);
        }
        state.batches.push(batch);
        if state.idle > 0 {
            self.changed.notify_one();
        }
        None
    }

    /// Whether an object of so many bytes is kept.
    fn keep(&self, bytes: usize) -> Result<bool, Error> {
        let before = self.kept_bytes.fetch_add(bytes, Ordering::Relaxed).min(KEPT_BYTES_MAX);
        let after = before.saturating_add(bytes);
        // Which ones are kept depends on who comes first; what is counted for all of them does not.
        self.repository.hold((after.min(KEPT_BYTES_MAX) - before) as u64)?;
        Ok(after <= KEPT_BYTES_MAX)
    }
}

/// Ends a walk where its thread panics.
struct EndInPanic<'w, 'a>(&'w Walking<'a>);

impl Drop for EndInPanic<'_, '_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.end(Ok(()));
        }
    }
}

/// A thread of a walk.
struct Worker<'w, 'a, N> {
    walking: &'w Walking<'a>,
    reader: Reader,
    part: Part<N>,
}

impl<'w, 'a, N: Notes> Worker<'w, 'a, N> {
    fn new(walking: &'w Walking<'a>, notes: N) -> Self {
        let part = Part { commits: Vec::new(), trees: HashMap::new(), skipped: Counts::default(), notes };
        Worker { walking, reader: Reader::new(walking.repository), part }
    }

    fn work(mut self) -> Part<N> {
        let walking = self.walking;
        // Nobody must wait for a thread that panics.
        let _ends = EndInPanic(walking);
        while let Some(task) = walking.task() {
            let done = match task {
                Task::Look(batch) => self.look(batch),
                Task::Follow(ids) => {
                    let done = self.follow(ids);
                    let mut state = walking.state();
                    state.following -= 1;
                    if state.following == 0 && state.idle > 0 {
                        walking.changed.notify_all();
                    }
                    done
                }
            };
            if let Err(error) = done {
                walking.end(Err(error));
            }
        }
        self.part
    }

    /// Reads what `ids` reach.
    fn follow(&mut self, mut ids: Vec<ObjectId>) -> Result<(), Error> {
        let Walking { repository, interrupt, .. } = *self.walking;
        let (mut batch, mut bytes) = (Vec::with_capacity(BATCH_COMMITS), 0);
        while let Some(id) = ids.pop() {
            if interrupt.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let decoded = match self.reader.decode(id) {
                Ok(decoded) => decoded,
                Err(error) => {
                    self.part.skipped.skip(error.skip());
                    continue;
                }
            };
            repository.hold(COMMIT_BYTES)?;
            let parents = if repository.shallow().contains(&id) { &[] } else { &decoded.parents[..] };
            if !self.walking.meet(parents, &mut ids) {
                return Ok(());
            }
            bytes += decoded.object.len();
            batch.push(decoded);
            if batch.len() == BATCH_COMMITS || bytes >= BATCH_BYTES_MAX {
                let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH_COMMITS));
                bytes = 0;
                if let Some(own) = self.walking.hand_over(full) {
                    self.look(own)?;
                }
            }
        }
        self.look(batch)
    }

    /// Notes what there is to know of commits that were read.
    fn look(&mut self, batch: Vec<Decoded>) -> Result<(), Error> {
        let Walking { repository, window, .. } = *self.walking;
        for Decoded { id, tree, parents, object } in batch {
            let parts = Parts { tree, parents, said: Said::parse(&object) };
            self.part.notes.see(id, &parts);
            self.part.trees.insert(id, tree);
            let (time, parents) = (time(&parts.said), parts.parents);
            let skip = if parents.len() > 1 {
                Skip::Merge
            } else if repository.shallow().contains(&id) && !parents.is_empty() {
                Skip::ShallowBoundary
            } else if !window.contains(time) {
                Skip::OutsideWindow
            } else {
                let said = Said::alone(&object);
                let is_kept = self.walking.keep(said.len())?;
                let object = is_kept.then(|| said.into_boxed_slice());
                self.part.commits.push(Commit { time, id, tree, parent: parents.first().copied(), object });
                continue;
            };
            self.part.skipped.skip(skip);
        }
        Ok(())
    }
}

/// Reads commits, for one thread.
struct Reader {
    objects: Objects,
    decoder: Decoder,
    hash: HashKind,
}

impl Reader {
    fn new(repository: &Repository) -> Self {
        let decoder = Decoder::new(repository, gix::objs::Kind::Commit, u64::MAX);
        Reader { objects: repository.objects(), decoder, hash: repository.hash() }
    }

    /// The object of the commit `id`. What it says is not looked at.
    fn decode(&mut self, id: ObjectId) -> Result<Decoded, ReadError> {
        let object = match self.decoder.decode_once(&id) {
            Some(object) => {
                self.objects.count(gix::objs::Kind::Commit);
                object
            }
            None => {
                let mut buffer = Vec::new();
                read(&self.objects, id, gix::objs::Kind::Commit, &mut buffer)?;
                buffer
            }
        };
        // Tree and parents stand before the author.
        let head = memchr::memmem::find(&object, b"\nauthor ").map_or(&object[..], |end| &object[..=end]);
        let Parts { tree, parents, .. } = Parts::parse(head, self.hash).ok_or(ReadError::Corrupt)?;
        Ok(Decoded { id, tree, parents, object })
    }
}

/// git takes a time that it can't read for 1970.
fn time(said: &Said<'_>) -> i64 {
    said.committer.time.unwrap_or(0)
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
    ancestors(repository, tips, interrupt)
}

/// All of them, not a frontier by date: clocks lie, and a commit mined twice or never would break the account.
fn ancestors(repository: &Repository, tips: &[ObjectId], interrupt: &AtomicBool) -> Result<HashSet<ObjectId>, Error> {
    let mut seen: HashSet<ObjectId> = tips.iter().copied().collect();
    let mut queue: Vec<ObjectId> = seen.iter().copied().collect();
    let mut reader = Reader::new(repository);
    while let Some(id) = queue.pop() {
        if interrupt.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let Ok(decoded) = reader.decode(id) else { continue };
        if !repository.shallow().contains(&id) {
            queue.extend(decoded.parents.into_iter().filter(|parent| seen.insert(*parent)));
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
    is_wanted: &mut dyn FnMut(ObjectId, &Parts<'_>) -> bool,
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
    note: &mut dyn FnMut(ObjectId, &Parts<'_>),
) -> Result<Parsed, ReadError> {
    let bytes = read(objects, id, gix::objs::Kind::Commit, buffer)?;
    let commit = Parts::parse(bytes, repository.hash()).ok_or(ReadError::Corrupt)?;
    note(id, &commit);
    Ok(Parsed { time: time(&commit.said), tree: commit.tree, parents: commit.parents })
}
