//! Reads the rows of a store in their one order, ahead of whoever wants them.

use std::{
    borrow::Cow,
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::{
    sample::Sample,
    store::{
        self, Checkpoint, Store,
        attached::Attached,
        decode::{Decoder, Stream},
        rows::Rows,
        segment::{self, SegmentManifest},
    },
};

/// Bytes of batches that were read and wait to be used. The batch that is read last comes on top, however large it is. So one of
/// the largest that mining writes is gone through while the next one is read, and threads that compress do not wait for it.
const AHEAD_BYTES_MAX: usize = 32 << 20;

/// Segments that were found to be whole and wait to be read. They stay in the kernel's cache until then, mostly 64 MiB each.
const CHECKED_AHEAD: usize = 2;

/// Rows that are handed over at once.
const CHUNK_ROWS: usize = 128;

/// Rows of one segment, in order, with the position that the next one has.
pub struct SegmentRows {
    path: PathBuf,
    batches: Stream,
    rows: Option<Arc<Rows>>,
    bytes: usize,
    at: usize,
}

impl SegmentRows {
    /// Opens the segment at `path`.
    ///
    /// # Errors
    /// As [`Stream::open`].
    pub fn open(path: PathBuf) -> Result<Self, store::Error> {
        let batches = Stream::open(&path)?;
        Ok(SegmentRows { path, batches, rows: None, bytes: 0, at: 0 })
    }

    /// Moves to the next row; whether there is one.
    ///
    /// # Errors
    /// The segment is damaged.
    pub fn advance(&mut self, decoder: &mut Decoder) -> Result<bool, store::Error> {
        self.at += 1;
        while self.rows.as_ref().is_none_or(|rows| self.at >= rows.len()) {
            // Before the next batch is read, since batches of large files are large.
            self.rows = None;
            let Some((batch, bytes)) = self.batches.next(decoder)? else { return Ok(false) };
            let damaged =
                |e: arrow_schema::ArrowError| store::Error::Damaged { path: self.path.clone(), reason: e.to_string() };
            self.bytes = bytes;
            self.rows = Some(Arc::new(Rows::new(&batch).map_err(damaged)?));
            self.at = 0;
        }
        Ok(true)
    }

    /// The row that [`SegmentRows::advance`] moved to.
    pub fn sample(&self) -> Sample<'_> {
        self.rows.as_ref().map_or_else(Sample::default, |rows| rows.get(self.at))
    }

    /// Whether another batch has to be read for the next row.
    fn is_last_of_batch(&self) -> bool {
        self.rows.as_ref().is_none_or(|rows| self.at + 1 >= rows.len())
    }
}

/// What orders rows.
type Key = (String, i64, String, String);

/// What orders rows within a repository: path, then commit time and ids. It is the order of every segment as well.
pub(super) fn key(sample: &Sample<'_>) -> Key {
    let path = sample.new_file.or(sample.old_file).unwrap_or_default();
    (path.to_owned(), sample.commit_time.unwrap_or(0), sample.commit.to_owned(), sample.id.to_owned())
}

/// A row on its way out.
pub struct Row<'a> {
    /// The row.
    pub sample: &'a Sample<'a>,
    /// The newest batch of its repository.
    pub checkpoint: &'a Checkpoint,
    /// What the list says of the repository, and what was joined to the row.
    pub columns: Cow<'a, BTreeMap<String, String>>,
}

/// Calls `each` with every visible row of `store`, sorted by repository name, path, commit time and ids. A row that
/// several repositories have (forks) comes once, with the first, and `repos` names all of them, but not the forks that are
/// attached to one of them: what those have of their root need not be in the store.
///
/// # Errors
/// A segment is damaged, or what `each` returns.
pub fn for_each(
    store: &Store,
    interrupt: &AtomicBool,
    each: impl FnMut(Row<'_>) -> Result<(), store::Error>,
) -> Result<Vec<Checkpoint>, store::Error> {
    for_each_or(store, interrupt, each)
}

/// [`for_each`] where `each` has errors of its own.
pub(super) fn for_each_or<E: From<store::Error>>(
    store: &Store,
    interrupt: &AtomicBool,
    mut each: impl FnMut(Row<'_>) -> Result<(), E>,
) -> Result<Vec<Checkpoint>, E> {
    let batches = store.batches()?;
    let told = |error: store::Error| E::from(changed_or(store, &batches, error));
    let mut groups: BTreeMap<(&str, &str), (Vec<Whole<'_>>, &Checkpoint)> = BTreeMap::new();
    for (directory, checkpoint) in &batches {
        let names = (checkpoint.repository.name.as_str(), checkpoint.repository.identity.as_str());
        let (paths, newest) = groups.entry(names).or_insert_with(|| (Vec::new(), checkpoint));
        *newest = checkpoint;
        paths.extend(checkpoint.segments.iter().map(|segment| (directory.join(&segment.file), segment)));
    }
    let (repositories, paths): (Vec<_>, Vec<_>) =
        groups.into_iter().map(|(names, (paths, checkpoint))| ((names, checkpoint), paths)).unzip();
    thread::scope(|scope| {
        let (chunks, free) = Reader::start(scope, &paths);
        let shared = shared_rows(&batches, interrupt).map_err(told)?;
        for chunk in chunks {
            let chunk = chunk.map_err(told)?;
            let ((name, identity), checkpoint) = repositories[chunk.repository];
            for (batch, at) in &chunk.rows {
                go_on(interrupt)?;
                let mut sample = batch.get(*at);
                sample.repos = name;
                let first = match shared.get(sample.id) {
                    None => true,
                    Some((owner, repos)) => {
                        sample.repos = repos;
                        owner == identity
                    }
                };
                if first {
                    let columns = Cow::Borrowed(&checkpoint.repository.columns);
                    each(Row { sample: &sample, checkpoint, columns })?;
                }
            }
            // A reader that has ended needs to know no more.
            let _is_heard = free.send(chunk);
        }
        Ok::<(), E>(())
    })?;
    Ok(batches.into_iter().map(|(_, checkpoint)| checkpoint).collect())
}

/// Rows of a repository that follow each other.
#[derive(Default)]
struct Chunk {
    /// Its number, in the order of exports.
    repository: usize,
    rows: Vec<(Arc<Rows>, usize)>,
    /// Size of the batch whose last row is the last one here; none is 0.
    batch_bytes: usize,
}

/// A segment, and what it has to be.
type Whole<'a> = (PathBuf, &'a SegmentManifest);

/// Merges the segments of each repository in a thread of its own.
struct Reader {
    chunk: Chunk,
    chunks: Sender<Result<Chunk, store::Error>>,
    free: Receiver<Chunk>,
    ahead_bytes: usize,
    decoder: Decoder,
    /// Whether segments are whole, in the order in which they are read.
    whole: Receiver<Result<(), store::Error>>,
}

/// Starts a thread that finds out whether segments are whole, in the order of `repositories`: a flipped bit may still be a row.
fn check<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    repositories: &'scope [Vec<Whole<'scope>>],
) -> Receiver<Result<(), store::Error>> {
    let (send, whole) = bounded(CHECKED_AHEAD);
    scope.spawn(move || {
        for (path, manifest) in repositories.iter().flatten() {
            let result = segment::verify_file(path, manifest.bytes, &manifest.blake3);
            if send.send(result).is_err() {
                return;
            }
        }
    });
    whole
}

impl Reader {
    /// Starts the thread. Whoever is done with a chunk sends it back: memory that is freed where it was allocated serves again.
    fn start<'scope>(
        scope: &'scope thread::Scope<'scope, '_>,
        repositories: &'scope [Vec<Whole<'scope>>],
    ) -> (Receiver<Result<Chunk, store::Error>>, Sender<Chunk>) {
        let (send, chunks) = bounded(CHUNK_ROWS);
        let (freed, free) = unbounded();
        let whole = check(scope, repositories);
        scope.spawn(move || {
            let decoder = match Decoder::new() {
                Ok(decoder) => decoder,
                Err(error) => {
                    // Nobody has ended yet.
                    let _is_heard = send.send(Err(error));
                    return;
                }
            };
            let mut reader = Reader { chunk: Chunk::default(), chunks: send, free, ahead_bytes: 0, decoder, whole };
            for (repository, paths) in repositories.iter().enumerate() {
                reader.chunk.repository = repository;
                match reader.merge(paths) {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => {
                        // Where nobody wants to know, it has ended for another reason.
                        let _is_heard = reader.chunks.send(Err(error));
                        return;
                    }
                }
            }
        });
        (chunks, freed)
    }

    /// Reads the rows of a repository. Whether anybody wants more.
    fn merge(&mut self, paths: &[Whole<'_>]) -> Result<bool, store::Error> {
        let mut heap = BinaryHeap::new();
        let mut segments = Vec::new();
        for (segment, (path, _)) in paths.iter().enumerate() {
            // A thread that has ended too early has panicked, which ends this export.
            let Ok(whole) = self.whole.recv() else { return Ok(false) };
            whole?;
            let mut rows = SegmentRows::open(path.clone())?;
            if rows.advance(&mut self.decoder)? {
                heap.push(Reverse((key(&rows.sample()), segment)));
            }
            segments.push(rows);
        }
        let mut next = heap.pop();
        while let Some(Reverse((_, segment))) = next {
            let rows = &mut segments[segment];
            self.chunk.rows.extend(rows.rows.clone().map(|batch| (batch, rows.at)));
            let is_last = rows.is_last_of_batch();
            if is_last {
                rows.rows = None;
                self.chunk.batch_bytes = rows.bytes;
            }
            if (is_last || self.chunk.rows.len() >= CHUNK_ROWS) && !self.hand_over() {
                return Ok(false);
            }
            next = match rows.advance(&mut self.decoder)? {
                false => heap.pop(),
                // The last segment that has rows left needs no place among others.
                true if heap.is_empty() => Some(Reverse((Key::default(), segment))),
                true => {
                    heap.push(Reverse((key(&rows.sample()), segment)));
                    heap.pop()
                }
            };
        }
        Ok(true)
    }

    /// Sends the chunk, and waits until little enough is ahead to read more. Whether anybody wants more.
    fn hand_over(&mut self) -> bool {
        let next = Chunk { repository: self.chunk.repository, ..Chunk::default() };
        let chunk = std::mem::replace(&mut self.chunk, next);
        self.ahead_bytes += chunk.batch_bytes;
        if self.chunks.send(Ok(chunk)).is_err() {
            return false;
        }
        // What is let go now is memory for the next batch.
        for chunk in self.free.try_iter() {
            self.ahead_bytes -= chunk.batch_bytes;
        }
        while self.ahead_bytes > AHEAD_BYTES_MAX {
            match self.free.recv() {
                Ok(chunk) => self.ahead_bytes -= chunk.batch_bytes,
                Err(_) => return false,
            }
        }
        true
    }
}

/// What a run replaced while it was read is not damaged.
fn changed_or(store: &Store, before: &store::Batches, error: store::Error) -> store::Error {
    let is_there = |old: &Checkpoint, now: &store::Batches| {
        now.iter().any(|(_, c)| (&c.repository.identity, c.generation) == (&old.repository.identity, old.generation))
    };
    match (error, store.batches()) {
        (store::Error::Damaged { path, .. }, Ok(now)) if !before.iter().all(|(_, old)| is_there(old, &now)) => {
            store::Error::Changed { path }
        }
        (error, _) => error,
    }
}

pub(super) fn go_on(interrupt: &AtomicBool) -> Result<(), store::Error> {
    if interrupt.load(Relaxed) { Err(store::Error::Interrupted) } else { Ok(()) }
}

/// The rows that more than one repository has.
#[derive(Default)]
struct Shared<'a> {
    /// For each, a position in the sets.
    rows: HashMap<u128, usize>,
    /// The identity of the first repository, and the names of all.
    sets: Vec<(&'a str, String)>,
}

impl Shared<'_> {
    fn get(&self, id: &str) -> Option<(&str, &str)> {
        let (owner, names) = &self.sets[*self.rows.get(&number(id))?];
        Some((owner, names))
    }
}

fn number(id: &str) -> u128 {
    u128::from_str_radix(id, 16).unwrap_or_default()
}

/// The roots of a batch's commits; none where a commit may have another one that could not be reached.
fn certain_roots(batch: &Checkpoint) -> Option<Vec<&str>> {
    let roots = batch.roots.as_ref()?;
    let roots: Vec<&str> = [&roots.main].into_iter().chain(roots.others.keys()).map(String::as_str).collect();
    let is_whole = batch.shallow.is_empty() && !batch.funnel.commits.has_lost_objects();
    (is_whole && !roots.contains(&"")).then_some(roots)
}

/// The repositories, by identity, that have no commit with another one, by the roots of their batches: a commit has one root,
/// whoever has it.
fn apart<'a>(batches: impl Iterator<Item = (&'a str, Option<Vec<&'a str>>)>) -> HashSet<&'a str> {
    let mut of_root: BTreeMap<&str, HashSet<&str>> = BTreeMap::new();
    let mut all = HashSet::new();
    for (identity, roots) in batches {
        // What is not known may be anybody's.
        let Some(roots) = roots else { return HashSet::new() };
        all.insert(identity);
        roots.into_iter().for_each(|root| _ = of_root.entry(root).or_default().insert(identity));
    }
    for together in of_root.values().filter(|together| together.len() > 1) {
        all.retain(|identity| !together.contains(identity));
    }
    all
}

fn shared_rows<'a>(batches: &'a [(PathBuf, Checkpoint)], interrupt: &AtomicBool) -> Result<Shared<'a>, store::Error> {
    // In the order of exports, as the batches are.
    let mut repositories: Vec<(&str, &str)> =
        batches.iter().map(|(_, batch)| (&*batch.repository.identity, &*batch.repository.name)).collect();
    repositories.dedup();
    let (mut first, mut owners): (HashMap<u128, usize>, HashMap<u128, Vec<usize>>) = Default::default();
    if repositories.len() < 2 {
        return Ok(Shared::default());
    }
    let apart = apart(batches.iter().map(|(_, batch)| (&*batch.repository.identity, certain_roots(batch))));
    let mut position = 0;
    for (directory, checkpoint) in batches {
        position += usize::from(repositories[position].0 != checkpoint.repository.identity);
        if apart.contains(&*checkpoint.repository.identity) {
            continue;
        }
        for manifest in &checkpoint.segments {
            segment::ids(&directory.join(&manifest.file), |id| {
                go_on(interrupt)?;
                let number = number(id);
                let owner = *first.entry(number).or_insert(position);
                if owner != position {
                    owners.entry(number).or_insert_with(|| vec![owner]).push(position);
                }
                Ok(())
            })?;
        }
    }
    let attached = Attached::new(batches.iter().map(|(_, batch)| batch));
    let mut shared = Shared::default();
    let mut known: HashMap<Vec<usize>, usize> = HashMap::new();
    for (number, owners) in owners {
        let set = *known.entry(owners).or_insert_with_key(|owners| {
            let mut owners: Vec<_> = owners.iter().map(|owner| repositories[*owner]).collect();
            attached.without_forks(&mut owners, |(identity, _)| identity);
            let names: BTreeSet<&str> = owners.iter().map(|(_, name)| *name).collect();
            shared.sets.push((owners[0].0, names.into_iter().collect::<Vec<_>>().join(",")));
            shared.sets.len() - 1
        });
        shared.rows.insert(number, set);
    }
    Ok(shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_without_a_common_root_are_apart() {
        let batches = [
            ("a", Some(vec!["1"])),
            ("a", Some(vec!["1", "2"])),
            ("b", Some(vec!["3"])),
            ("c", Some(vec!["4", "2"])),
            ("d", Some(vec!["5", "6"])),
        ];
        assert_eq!(apart(batches.clone().into_iter()), HashSet::from(["b", "d"]));
        assert_eq!(apart(batches.into_iter().chain([("e", None)])), HashSet::new(), "its roots may be any");
    }
}
