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

pub mod ahead;
pub mod attached;
mod checkpoint;
pub mod decode;
mod files;
pub mod index;
pub mod ledger;
pub mod message;
pub mod rows;
pub mod schedule;
pub mod segment;
mod verify;

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

pub(crate) use checkpoint::digest;
pub use checkpoint::{Checkpoint, Relicensed, RepositoryId, Reversal, Roots};
use files::{batch_numbers, is_key, is_store_file, key};
pub use files::{batch_stem, write_json, write_text};
pub(crate) use files::{io_error, json_files, parse, seal};
pub use ledger::LedgerManifest;
pub use segment::SegmentManifest;
pub use verify::{Verified, repair, verify};

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
    let files = json_files(directory)?.into_iter();
    let mut named: Vec<_> = files.filter_map(|(path, stem)| Some((path, batch_numbers(&stem)?))).collect();
    // Of what is left of generations before, nothing has to be whole.
    let newest = named.iter().map(|(_, (generation, _))| *generation).max();
    named.retain(|(_, (generation, _))| Some(*generation) == newest);
    let read = named.iter().map(|(path, numbers)| Checkpoint::read(path, *numbers));
    let mut checkpoints = read.collect::<Result<Vec<Checkpoint>, Error>>()?;
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
/// [`verify()`] reads.
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
    if directory.exists() { sweep_around(directory, &visible(directory)?, keep) } else { Ok(()) }
}

/// As [`sweep`] where the visible batches are known.
///
/// # Errors
/// As [`sweep`].
pub fn sweep_around(directory: &Path, visible: &[Checkpoint], keep: &[&str]) -> Result<(), Error> {
    let mut wanted: HashSet<String> =
        keep.iter().flat_map(|stem| ["json", "arrow", "ledger.arrow"].map(|end| format!("{stem}.{end}"))).collect();
    for checkpoint in visible {
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
