//! The store on disk: immutable Arrow segments and the checkpoints that make them visible.
//!
//! ```text
//! STORE/store.json                                format mark
//! STORE/lock                                      held while one process writes
//! STORE/index.sqlite                              what the manifests say, for queries, and the state of runs
//! STORE/repositories/<key>/<gen>-<batch>-<seg>.arrow   rows of one batch, cut into segments
//! STORE/repositories/<key>/<gen>-<batch>-<seg>.json    manifest of a sealed segment
//! STORE/repositories/<key>/<gen>-<batch>.json          checkpoint: the batch is complete and visible
//! ```
//!
//! A batch is what one run mined of one repository: everything reachable from its tips and not from the tips of the
//! batches before it. A generation is a chain of batches; mining under other settings starts a new generation, and
//! only the highest one with a checkpoint counts. Files are written beside their place and renamed into it.

pub mod attached;
pub mod index;
pub mod ledger;
pub mod rows;
pub mod schedule;
pub mod segment;

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::verdict::{Counts, Funnel};
use attached::{Begin, Behind};
pub use ledger::LedgerManifest;
pub use segment::SegmentManifest;

/// Version of the directory layout and of the manifests.
pub const FORMAT_VERSION: u32 = 1;

/// How often a lock that is waited for is tried.
const LOCK_POLL: std::time::Duration = std::time::Duration::from_millis(100);

/// What can go wrong with a store.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} is not a gitlode store")]
    NotAStore { path: PathBuf },
    #[error("{path} is no valid manifest: {reason}")]
    BadManifest { path: PathBuf, reason: String },
    #[error("{path} was written by a newer gitlode (version {found}, this one reads up to {known})")]
    Newer { path: PathBuf, found: u32, known: u32 },
    #[error("another gitlode is writing to {path}")]
    Locked { path: PathBuf },
    #[error("segment {path} is damaged: {reason}")]
    Damaged { path: PathBuf, reason: String },
    #[error("{path} changed while it was read: a run replaces its rows")]
    Changed { path: PathBuf },
    #[error("{path} is in the place of {what} of the store")]
    InTheWay { path: PathBuf, what: &'static str },
    #[error("the opt-outs in {path} are not as they were left: lines or commits were taken away or changed")]
    OptOutsChanged { path: PathBuf },
    #[error("interrupted")]
    Interrupted,
    #[error("can't encode rows: {0}")]
    Encode(#[from] arrow_schema::ArrowError),
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some space and run the same command again: it goes on from the last sealed segment".into())
            }
            Error::NotAStore { path } if path.join("repositories").is_dir() => Some(MARK_HINT.into()),
            Error::NotAStore { .. } => {
                Some("a store is made by `gitlode mine SOURCE --store DIR`, where DIR is new or empty".into())
            }
            Error::BadManifest { path, .. } if path.ends_with(MARK) => Some(MARK_HINT.into()),
            Error::InTheWay { .. } => Some("move it away, then run `gitlode verify STORE --repair`".into()),
            Error::Locked { .. } => Some("wait for it to finish (a watch ends when it is told to), or use another store".into()),
            Error::Damaged { .. } | Error::BadManifest { .. } => Some(
                "run `gitlode verify STORE --repair` to drop what is damaged; the next `gitlode mine` makes its rows again".into(),
            ),
            Error::Changed { .. } => Some("run the command again when `gitlode mine` is done".into()),
            Error::OptOutsChanged { .. } => Some(
                "put its files `list` and `commits` back from a copy; who means to take opt-outs back takes `opt_outs` out of store.json as well".into(),
            ),
            Error::Newer { .. } => Some("use the newer gitlode for this store".into()),
            Error::Io { .. } | Error::Encode(_) | Error::Interrupted => None,
        }
    }
}

const MARK_HINT: &str = "`gitlode verify STORE --repair` makes its store.json again";

/// The file that makes a directory a store.
const MARK: &str = "store.json";

pub(crate) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
    |source| Error::Io { path: path.to_owned(), source }
}

/// Who a repository is, as the store remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryId {
    /// Canonical URL or path: what tells repositories apart.
    pub identity: String,
    /// The name in the `repos` column.
    pub name: String,
    /// Further columns of the source list.
    #[serde(default)]
    pub columns: BTreeMap<String, String>,
    /// The identity of the repository that it is attached to, as a fork of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
}

/// A commit that takes others back, or brings back what was taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reversal {
    /// The commit id.
    pub commit: String,
    /// Its commit time in seconds since 1970.
    pub time: i64,
    /// Ids of commits that it takes back; one of these may itself be a commit that takes others back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reverts: Vec<String>,
    /// Ids of commits that it says it brings back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relands: Vec<String>,
}

/// Where the first parents of commits lead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roots {
    /// The root commit of all commits that are not among the others; empty where it can't be reached.
    pub main: String,
    /// How many commits those are.
    pub main_commits: u64,
    /// Commits that have another root, by that, sorted; those whose root can't be reached, under the empty text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub others: BTreeMap<String, Vec<String>>,
}

/// A change of the licence of a repository as a whole, as far as two minings show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relicensed {
    /// The licence at the tip that was mined before; none where it is not known.
    pub from: Option<String>,
    /// The licence at the tip that was mined then.
    pub to: Option<String>,
    /// That tip.
    pub tip: String,
    /// Its commit time in seconds since 1970.
    pub time: i64,
}

/// The record of a complete batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// [`FORMAT_VERSION`] of the writer.
    pub format: u32,
    /// [`crate::sample::SCHEMA_VERSION`] of the rows.
    pub schema: u32,
    /// Version of the program that wrote it.
    pub tool: String,
    /// The repository.
    pub repository: RepositoryId,
    /// Counts up whenever a repository is mined from the start again.
    pub generation: u32,
    /// Position in the generation.
    pub batch: u32,
    /// Commit ids that were mined up to.
    pub tips: Vec<String>,
    /// Commit ids that the batches before had mined up to.
    pub hidden: Vec<String>,
    /// Commit ids at the edge of a shallow clone.
    #[serde(default)]
    pub shallow: Vec<String>,
    /// The licence of the repository as a whole at its tip, as an SPDX expression; none where it is not known or where
    /// there are several tips.
    #[serde(default)]
    pub license: Option<String>,
    /// How that changed from one mining to the next, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relicensed: Vec<Relicensed>,
    /// What commits of the batch take back or bring back, also such as have no row; in order of their ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reversals: Vec<Reversal>,
    /// The root commits that its commits go back to; none where an older version mined the repository first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roots: Option<Roots>,
    /// Where the history began, if that was in batches that were joined to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begin: Option<Begin>,
    /// What this batch and those before it leave out since the root of the repository has it; none where they have all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<Behind>,
    /// The settings that decide the rows.
    pub recipe: serde_json::Value,
    /// The account of the changes that were decided without reading a blob, and so stand in no segment.
    pub early: Counts,
    /// What rules dropped before a blob was read; none where nothing was dropped, or no ledger was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<LedgerManifest>,
    /// The rows.
    pub segments: Vec<SegmentManifest>,
    /// The account of the batch.
    pub funnel: Funnel,
    /// BLAKE3 in hexadecimal of all other fields as JSON without spaces, in order of their names, and `null` for this one.
    pub blake3: String,
}

impl Checkpoint {
    /// Reads the checkpoint at `path`.
    ///
    /// # Errors
    /// It can't be read, is of a newer version, damaged, or of another batch than `generation` and `batch`.
    fn read(path: &Path, numbers: (u32, u32)) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Versions {
            format: u32,
            schema: u32,
        }
        let fields: serde_json::Value = parse(path, &fs::read(path).map_err(io_error(path))?)?;
        let bad = |reason: String| Error::BadManifest { path: path.to_owned(), reason };
        let Versions { format, schema } = Versions::deserialize(&fields).map_err(|e| bad(e.to_string()))?;
        if format > FORMAT_VERSION || schema > crate::sample::SCHEMA_VERSION {
            return Err(Error::Newer { path: path.to_owned(), found: format.max(schema), known: FORMAT_VERSION });
        }
        let checkpoint = Checkpoint::deserialize(&fields).map_err(|e| bad(e.to_string()))?;
        if (checkpoint.generation, checkpoint.batch) != numbers {
            return Err(bad("it is the checkpoint of another batch".into()));
        }
        // The checksum is over what is there, whichever version wrote it.
        if digest(fields) != checkpoint.blake3 {
            return Err(bad("its checksum does not match".into()));
        }
        Ok(checkpoint)
    }

    /// Writes it to `path`, with its checksum.
    ///
    /// # Errors
    /// As [`write_json`].
    pub fn write(mut self, path: &Path) -> Result<(), Error> {
        self.blake3 = digest(serde_json::json!(self));
        write_json(path, &self)
    }

    /// The names of all files that belong to the batch, but its own.
    fn files(&self) -> impl Iterator<Item = String> {
        let ledgers = self.segments.iter().filter_map(|segment| segment.ledger.as_ref()).chain(&self.ledger);
        let ledgers = ledgers.map(|ledger| ledger.file.clone());
        let segments = self.segments.iter();
        ledgers.chain(segments.flat_map(|segment| [segment.file.replace(".arrow", ".json"), segment.file.clone()]))
    }
}

/// The checksum that a record has in its field `blake3`.
pub(crate) fn digest(mut fields: serde_json::Value) -> String {
    fields["blake3"] = serde_json::Value::Null;
    fields.sort_all_objects();
    blake3::hash(fields.to_string().as_bytes()).to_hex().to_string()
}

/// Complete batches, each with the directory of its repository.
pub type Batches = Vec<(PathBuf, Checkpoint)>;

/// An open store.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    /// Held for its lock; none when only reading.
    _lock: Option<File>,
}

#[derive(Serialize, Deserialize)]
struct Mark {
    gitlode_store: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    opt_outs: Option<OptOutMark>,
}

impl Mark {
    const NEW: Mark = Mark { gitlode_store: FORMAT_VERSION, opt_outs: None };

    fn read(root: &Path) -> Result<Self, Error> {
        let path = root.join(MARK);
        match fs::read(&path) {
            Ok(text) => parse(&path, &text),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Err(Error::NotAStore { path: root.to_owned() })
            }
            Err(source) => Err(Error::Io { path, source }),
        }
    }
}

/// What shows that opt-outs or receipts of purges were taken away; `pipeline::purge` makes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptOutMark {
    /// Digest over the lists of opt-outs; while they are written, that of before and that of after.
    pub lists: Vec<String>,
    /// Number of the last receipt.
    pub receipts: u32,
    /// Checksum of the last receipt.
    pub last_receipt: Option<String>,
}

impl Store {
    /// Opens the store at `root` for reading.
    ///
    /// # Errors
    /// Not a store, or one of a newer format.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let mark = Mark::read(root)?;
        if mark.gitlode_store > FORMAT_VERSION {
            return Err(Error::Newer { path: root.to_owned(), found: mark.gitlode_store, known: FORMAT_VERSION });
        }
        Ok(Store { root: root.to_owned(), _lock: None })
    }

    /// Opens the store at `root` for writing, making it where there is none, and takes its lock.
    ///
    /// # Errors
    /// As [`Store::open`]; a directory that holds something else; another process that is writing. `wait` is asked
    /// then, several times a second: as long as it is true, the lock is waited for.
    pub fn create(root: &Path, wait: &dyn Fn() -> bool) -> Result<Self, Error> {
        let mark = root.join(MARK);
        if root.is_file() {
            return Err(Error::NotAStore { path: root.to_owned() });
        }
        if !mark.exists() {
            fs::create_dir_all(root).map_err(io_error(root))?;
            let mut entries = fs::read_dir(root).map_err(io_error(root))?.filter_map(Result::ok);
            if entries.any(|entry| entry.file_name() != "lock" && entry.file_name() != "store.json.tmp") {
                return Err(Error::NotAStore { path: root.to_owned() });
            }
        }
        let lock_path = root.join("lock");
        let lock = File::create(&lock_path).map_err(io_error(&lock_path))?;
        while let Err(error) = lock.try_lock() {
            match error {
                fs::TryLockError::WouldBlock if wait() => std::thread::sleep(LOCK_POLL),
                fs::TryLockError::WouldBlock => return Err(Error::Locked { path: root.to_owned() }),
                fs::TryLockError::Error(source) => return Err(Error::Io { path: lock_path, source }),
            }
        }
        if !mark.exists() {
            write_json(&mark, &Mark::NEW)?;
        }
        Ok(Store { _lock: Some(lock), ..Store::open(root)? })
    }

    /// Writes the format mark of the store at `root` again where it is missing or damaged. What is in the repositories
    /// says by itself of which version it is.
    ///
    /// # Errors
    /// The mark can't be written.
    pub fn restore_mark(root: &Path) -> Result<(), Error> {
        match Store::open(root) {
            Err(Error::NotAStore { .. } | Error::BadManifest { .. }) if root.join("repositories").is_dir() => {
                write_json(&root.join(MARK), &Mark::NEW)
            }
            _ => Ok(()),
        }
    }

    /// What shows that opt-outs were taken away; none where there never were any.
    ///
    /// # Errors
    /// The mark of the store can't be read.
    pub fn opt_out_mark(&self) -> Result<Option<OptOutMark>, Error> {
        Ok(Mark::read(&self.root)?.opt_outs)
    }

    /// Writes that into the mark of the store, which must be locked.
    ///
    /// # Errors
    /// It can't be written.
    pub fn set_opt_out_mark(&self, opt_outs: &OptOutMark) -> Result<(), Error> {
        let mark = Mark::read(&self.root)?;
        write_json(&self.root.join(MARK), &Mark { opt_outs: Some(opt_outs.clone()), ..mark })
    }

    /// The store's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the segments of a repository are.
    pub fn directory(&self, identity: &str) -> PathBuf {
        self.root.join("repositories").join(key(identity))
    }

    /// Whether a process is writing at this moment. Takes no lock that a writer could trip over.
    pub fn is_being_written(&self) -> bool {
        // A shared lock is let go at once; a writer that comes in this instant waits or says so.
        let Ok(lock) = File::open(self.root.join("lock")) else { return false };
        self._lock.is_none() && matches!(lock.try_lock_shared(), Err(fs::TryLockError::WouldBlock))
    }

    /// Every repository directory, sorted; it may be a symbolic link to one. Files beside them are none of the store's
    /// business.
    ///
    /// # Errors
    /// The store can't be read; something else has the name of a repository directory.
    pub fn directories(&self) -> Result<Vec<PathBuf>, Error> {
        let path = self.root.join("repositories");
        if !path.exists() {
            return Ok(Vec::new());
        }
        let mut directories = Vec::new();
        for entry in fs::read_dir(&path).map_err(io_error(&path))? {
            let path = entry.map_err(io_error(&path))?.path();
            if path.is_dir() {
                directories.push(path);
            } else if is_key(&path) {
                return Err(Error::InTheWay { path, what: "a directory" });
            }
        }
        directories.sort();
        Ok(directories)
    }

    /// For every repository directory with a visible batch, sorted: its name, the generation, and how many batches
    /// that has. Read from file names alone.
    ///
    /// # Errors
    /// The store can't be read.
    pub(crate) fn newest_batches(&self) -> Result<Vec<(String, u32, u32)>, Error> {
        let mut newest = Vec::new();
        for directory in self.directories()? {
            let numbers = json_files(&directory)?.into_iter().filter_map(|(_, stem)| batch_numbers(&stem));
            if let Some((generation, batch)) = numbers.max() {
                let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
                newest.push((name, generation, batch + 1));
            }
        }
        Ok(newest)
    }

    /// The visible batches of every repository, each with its directory: repositories sorted by name and identity, the
    /// batches of one in order. What a source list says of a repository is what it said last, for all of its batches.
    ///
    /// # Errors
    /// A manifest can't be read or is of a newer version.
    pub fn batches(&self) -> Result<Batches, Error> {
        let (batches, damaged) = self.batches_and_damage()?;
        damaged.into_iter().next().map_or(Ok(batches), Err)
    }

    /// As [`Store::batches`], without the repositories whose manifests can't be read, and what is wrong with those.
    ///
    /// # Errors
    /// The directory of repositories can't be read.
    pub fn batches_and_damage(&self) -> Result<(Batches, Vec<Error>), Error> {
        let (mut repositories, mut damaged) = (Vec::new(), Vec::new());
        for directory in self.directories()? {
            let mut batches = match visible(&directory) {
                Ok(batches) => batches,
                Err(error) => {
                    damaged.push(error);
                    continue;
                }
            };
            let Some(newest) = batches.last().map(|last| last.repository.clone()) else { continue };
            batches.iter_mut().for_each(|batch| batch.repository = newest.clone());
            repositories.push((newest.name, newest.identity, directory, batches));
        }
        repositories.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        let all = repositories
            .into_iter()
            .flat_map(|(_, _, directory, batches)| batches.into_iter().map(move |batch| (directory.clone(), batch)));
        Ok((all.collect(), damaged))
    }
}

/// The checkpoints of the highest generation in `directory`, in order; empty where nothing is complete.
///
/// # Errors
/// A checkpoint can't be read or is of a newer version.
pub fn visible(directory: &Path) -> Result<Vec<Checkpoint>, Error> {
    let mut checkpoints = Vec::new();
    for (path, stem) in json_files(directory)? {
        let Some(numbers) = batch_numbers(&stem) else { continue };
        checkpoints.push(Checkpoint::read(&path, numbers)?);
    }
    let newest = checkpoints.iter().map(|c| c.generation).max();
    checkpoints.retain(|c| Some(c.generation) == newest);
    checkpoints.sort_by_key(|c| c.batch);
    if let Some((missing, _)) = (0..).zip(&checkpoints).find(|(number, checkpoint)| *number != checkpoint.batch) {
        return Err(Error::BadManifest { path: directory.to_owned(), reason: format!("batch {missing} is missing") });
    }
    Ok(checkpoints)
}

impl Store {
    /// Removes all rows of a repository, at once or not at all.
    ///
    /// # Errors
    /// They can't be moved away, or not be removed after that, which [`Store::clean_up`] tries again.
    pub fn remove(&self, identity: &str) -> Result<(), Error> {
        let directory = self.directory(identity);
        let removed = self.root.join(REMOVED);
        let place = removed.join(directory.file_name().unwrap_or_default());
        if directory.exists() {
            fs::create_dir_all(&removed).map_err(io_error(&removed))?;
            remove_tree(&place)?;
            seal(&directory, &place).map_err(io_error(&directory))?;
        }
        // Others may be on their way out beside it.
        remove_linked(&place)
    }

    /// Whether rows that a process had moved away to be removed are still there.
    pub fn has_rows_on_their_way_out(&self) -> bool {
        fs::read_dir(self.root.join(REMOVED)).is_ok_and(|mut entries| entries.next().is_some())
    }

    /// Removes what a process that was killed had moved away to be removed.
    ///
    /// # Errors
    /// It can't be removed.
    pub fn clean_up(&self) -> Result<(), Error> {
        let removed = self.root.join(REMOVED);
        if removed.exists() {
            for entry in fs::read_dir(&removed).map_err(io_error(&removed))? {
                remove_linked(&entry.map_err(io_error(&removed))?.path())?;
            }
        }
        remove_tree(&removed)
    }
}

/// Removes the directory `path`, and what it leads to where it is a link to one, which goes first.
fn remove_linked(path: &Path) -> Result<(), Error> {
    if path.is_symlink()
        && let Ok(target) = fs::canonicalize(path)
    {
        remove_tree(&target)?;
    }
    remove_tree(path)
}

fn remove_tree(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(io_error(path)(e)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Where rows are moved to that are to be removed.
const REMOVED: &str = "removed";

/// Whether the segments of `checkpoints` are in `directory`, and as long as they were. What is in them only
/// [`verify`] reads.
///
/// # Errors
/// One is missing or cut.
pub fn check_presence(directory: &Path, checkpoints: &[Checkpoint]) -> Result<(), Error> {
    for segment in checkpoints.iter().flat_map(|checkpoint| &checkpoint.segments) {
        let path = directory.join(&segment.file);
        match fs::metadata(&path) {
            Ok(file) if file.len() == segment.bytes => {}
            Ok(file) => {
                let reason = format!("it has {} bytes and should have {}", file.len(), segment.bytes);
                return Err(Error::Damaged { path, reason });
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Damaged { path, reason: "it is missing".into() });
            }
            Err(source) => return Err(Error::Io { path, source }),
        }
    }
    Ok(())
}

/// Removes from `directory` what neither a visible batch nor the list `keep` of file name stems names.
///
/// # Errors
/// A file can't be removed.
pub fn sweep(directory: &Path, keep: &[&str]) -> Result<(), Error> {
    if !directory.exists() {
        return Ok(());
    }
    let visible = visible(directory)?;
    let mut wanted: HashSet<String> =
        keep.iter().flat_map(|stem| ["json", "arrow", "ledger.arrow"].map(|end| format!("{stem}.{end}"))).collect();
    for checkpoint in &visible {
        wanted.insert(format!("{}.json", batch_stem(checkpoint.generation, checkpoint.batch)));
        wanted.extend(checkpoint.files());
    }
    for entry in fs::read_dir(directory).map_err(io_error(directory))? {
        let entry = entry.map_err(io_error(directory))?;
        let (path, name) = (entry.path(), entry.file_name());
        let is_ours = entry.file_type().is_ok_and(|kind| kind.is_file()) && is_store_file(&name.to_string_lossy());
        if is_ours && !wanted.contains(name.to_string_lossy().as_ref()) {
            fs::remove_file(&path).map_err(io_error(&path))?;
        }
    }
    Ok(())
}

/// Whether a file may be removed when no batch names it.
fn is_store_file(name: &str) -> bool {
    let stem = name.strip_suffix(".tmp").unwrap_or(name);
    let stem = stem.strip_suffix(".json").or_else(|| stem.strip_suffix(".arrow"));
    let stem = stem.map(|stem| stem.strip_suffix(".ledger").unwrap_or(stem));
    stem.is_some_and(|stem| {
        (2..=3).contains(&stem.split('-').count())
            && stem.split('-').all(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

/// Generation and batch in the file name of a checkpoint; none for any other file.
fn batch_numbers(stem: &str) -> Option<(u32, u32)> {
    let (generation, batch) = stem.split_once('-')?;
    let numbers = (generation.parse().ok()?, batch.parse().ok()?);
    (batch_stem(numbers.0, numbers.1) == stem).then_some(numbers)
}

/// The common start of the file names of a batch.
pub fn batch_stem(generation: u32, batch: u32) -> String {
    format!("{generation:04}-{batch:06}")
}

pub(crate) fn json_files(directory: &Path) -> Result<Vec<(PathBuf, String)>, Error> {
    let mut files = Vec::new();
    if !directory.exists() {
        return Ok(files);
    }
    for entry in fs::read_dir(directory).map_err(io_error(directory))? {
        let path = entry.map_err(io_error(directory))?.path();
        if let Some(stem) = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".json"))
        {
            let stem = stem.to_owned();
            files.push((path, stem));
        }
    }
    files.sort();
    Ok(files)
}

pub(crate) fn parse<T: serde::de::DeserializeOwned>(path: &Path, text: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(text).map_err(|e| Error::BadManifest { path: path.to_owned(), reason: e.to_string() })
}

/// Writes `value` so that `path` either does not exist or is whole, also after a power cut.
///
/// # Errors
/// The file can't be written; what was there before is untouched.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let text = serde_json::to_vec_pretty(value)
        .map_err(|e| Error::BadManifest { path: path.to_owned(), reason: e.to_string() })?;
    write_text(path, &[&text[..], b"\n"].concat())
}

/// Writes `text` so that `path` either does not exist or is whole, also after a power cut.
///
/// # Errors
/// The file can't be written; what was there before is untouched.
pub fn write_text(path: &Path, text: &[u8]) -> Result<(), Error> {
    let temporary = path.with_added_extension("tmp");
    let write = || -> io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(text)?;
        file.sync_all()?;
        seal(&temporary, path)
    };
    write().map_err(|source| {
        // The first error is the one to report.
        let _second_error = fs::remove_file(&temporary);
        Error::Io { path: path.to_owned(), source }
    })
}

/// Renames a file that is on disk into its place and makes the rename durable.
pub(crate) fn seal(temporary: &Path, path: &Path) -> io::Result<()> {
    fs::rename(temporary, path)?;
    if let Some(parent) = path.parent() {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// A directory name for an identity: readable, and never the same for two.
fn key(identity: &str) -> String {
    let readable: String =
        identity.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' }).collect();
    let tail: String = readable.chars().rev().take(60).collect::<Vec<_>>().into_iter().rev().collect();
    let hash = &blake3::hash(identity.as_bytes()).to_hex()[..KEY_HASH_LENGTH];
    format!("{}-{hash}", tail.trim_start_matches(['.', '-', '_']))
}

const KEY_HASH_LENGTH: usize = 12;

/// Whether `path` has the name of a repository directory.
fn is_key(path: &Path) -> bool {
    let hash = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.rsplit_once('-'));
    hash.is_some_and(|(_, hash)| hash.len() == KEY_HASH_LENGTH && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// What a check of a repository directory found.
#[derive(Debug, Default)]
pub struct Verified {
    /// Rows in segments that are whole.
    pub rows: u64,
    /// What does not agree.
    pub damage: Vec<Error>,
    /// Files of no complete batch: the remains of a run that was stopped, or of one that goes on.
    pub remains: Vec<PathBuf>,
    /// The repository; none where no checkpoint can be read.
    pub identity: Option<String>,
    /// The first batch with damage, and its generation.
    bad: Option<(u32, u32)>,
}

/// Checks the repository directory `directory`: names, chain of batches, checksums, counts in both units, manifests.
///
/// # Errors
/// The directory can't be read, or is of a newer version.
pub fn verify(directory: &Path) -> Result<Verified, Error> {
    // A run that replaces rows while they are checked would look like damage.
    const TRIES: usize = 3;
    let mut tried = 0;
    loop {
        tried += 1;
        let before = stems(directory)?;
        let verified = verify_once(directory)?;
        if verified.damage.is_empty() || tried == TRIES || before == stems(directory)? {
            return Ok(verified);
        }
    }
}

fn stems(directory: &Path) -> Result<Vec<String>, Error> {
    Ok(json_files(directory)?.into_iter().map(|(_, stem)| stem).filter(|stem| batch_numbers(stem).is_some()).collect())
}

fn verify_once(directory: &Path) -> Result<Verified, Error> {
    let mut verified = Verified::default();
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(io_error(directory))? {
        let path = entry.map_err(io_error(directory))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if is_store_file(&name) && path.is_dir() {
            return Err(Error::InTheWay { path, what: "a file" });
        }
        files.extend(is_store_file(&name).then_some((path, name)));
    }
    let numbers: Vec<(u32, u32)> = stems(directory)?.iter().filter_map(|stem| batch_numbers(stem)).collect();
    let newest = numbers.iter().map(|(generation, _)| *generation).max().unwrap_or_default();
    let last = numbers.iter().filter(|(generation, _)| *generation == newest).map(|(_, batch)| *batch).max();
    let mut named: HashSet<String> = numbers.iter().map(|(g, b)| format!("{}.json", batch_stem(*g, *b))).collect();
    let mut tips = Vec::new();
    for batch in 0..last.map_or(0, |last| last + 1) {
        let path = directory.join(format!("{}.json", batch_stem(newest, batch)));
        let bad = |reason: &str| Error::BadManifest { path: path.clone(), reason: reason.into() };
        let checkpoint = match Checkpoint::read(&path, (newest, batch)) {
            Ok(checkpoint) => checkpoint,
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                verified.damage.push(bad("the batch is missing"));
                verified.bad.get_or_insert((newest, batch));
                continue;
            }
            Err(error @ Error::BadManifest { .. }) => {
                verified.damage.push(error);
                verified.bad.get_or_insert((newest, batch));
                continue;
            }
            Err(error) => return Err(error),
        };
        let damage = verified.damage.len();
        verified.identity = Some(checkpoint.repository.identity.clone());
        if directory.file_name().and_then(|name| name.to_str()) != Some(&key(&checkpoint.repository.identity)) {
            verified.damage.push(bad("it belongs to another repository"));
        }
        if checkpoint.hidden != tips {
            verified.damage.push(bad("it does not begin where the batch before it ends"));
        }
        verify_batch(directory, &checkpoint, &bad, &mut verified);
        named.extend(checkpoint.files());
        if verified.damage.len() > damage {
            verified.bad.get_or_insert((newest, batch));
        }
        tips = checkpoint.tips;
    }
    verified.remains = files.into_iter().filter(|(_, name)| !named.contains(name)).map(|(path, _)| path).collect();
    verified.remains.sort();
    Ok(verified)
}

fn verify_batch(directory: &Path, checkpoint: &Checkpoint, bad: &dyn Fn(&str) -> Error, verified: &mut Verified) {
    let mut changes = checkpoint.early.clone();
    let mut commits = HashSet::new();
    let mut block = 0;
    let mut whole = true;
    for segment in &checkpoint.segments {
        changes.add(&segment.changes);
        match segment::verify(directory, segment, &mut commits) {
            Ok(()) => verified.rows += segment.rows,
            Err(error) => {
                whole = false;
                verified.damage.push(error);
            }
        }
        if segment.block_from != block {
            verified.damage.push(bad("its segments do not follow one another"));
        }
        block = segment.block_to;
        let path = directory.join(segment.file.replace(".arrow", ".json"));
        let own = fs::read(&path).map_err(io_error(&path)).and_then(|text| parse::<SegmentManifest>(&path, &text));
        match own {
            Ok(own) if own == *segment => {}
            Ok(_) => {
                let reason = "it differs from what its batch says".into();
                verified.damage.push(Error::BadManifest { path, reason });
            }
            Err(Error::Io { source, path }) => {
                verified.damage.push(Error::BadManifest { path, reason: source.to_string() });
            }
            Err(error) => verified.damage.push(error),
        }
    }
    if let Some(ledger) = &checkpoint.ledger {
        let dropped =
            [&checkpoint.early, &checkpoint.funnel.commits].map(|counts| counts.dropped.values().sum::<u64>());
        verified.damage.extend(segment::verify_ledger(directory, ledger, dropped.iter().sum()).err());
    }
    if changes != checkpoint.funnel.changes || !checkpoint.funnel.adds_up() {
        verified.damage.push(bad("its counts do not add up"));
    } else if whole && checkpoint.funnel.commits.kept != commits.len() as u64 {
        let reason = format!("it counts {} commits, its rows have {}", checkpoint.funnel.commits.kept, commits.len());
        verified.damage.push(bad(&reason));
    }
}

/// Drops from `directory` the first damaged batch that `verified` found and all behind it, and what belongs to no
/// batch. The batches before it stay. The store must be locked. Returns the number of batches that are left.
///
/// # Errors
/// A file can't be removed.
pub fn repair(directory: &Path, verified: &Verified) -> Result<usize, Error> {
    if let Some((generation, batch)) = verified.bad {
        for (path, stem) in json_files(directory)? {
            if batch_numbers(&stem).is_some_and(|found| found.0 == generation && found.1 >= batch) {
                fs::remove_file(&path).map_err(io_error(&path))?;
            }
        }
    }
    sweep(directory, &[])?;
    Ok(visible(directory)?.len())
}
