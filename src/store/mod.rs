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

pub mod index;
pub mod rows;
pub mod segment;

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::verdict::{Counts, Funnel};
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
            Error::NotAStore { .. } => Some("`gitlode mine SOURCE --store DIR` makes a store".into()),
            Error::Locked { .. } => Some("add --wait to wait for it to finish, or use another --store".into()),
            Error::Damaged { .. } | Error::BadManifest { .. } => Some(
                "run `gitlode verify STORE --repair` to drop what is damaged; the next `gitlode mine` makes its rows again".into(),
            ),
            Error::Newer { .. } => Some("use the newer gitlode for this store".into()),
            Error::Io { .. } | Error::Encode(_) => None,
        }
    }
}

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
    /// The settings that decide the rows.
    pub recipe: serde_json::Value,
    /// The account of the changes that were decided without reading a blob, and so stand in no segment.
    pub early: Counts,
    /// The rows.
    pub segments: Vec<SegmentManifest>,
    /// The account of the batch.
    pub funnel: Funnel,
}

/// An open store.
pub struct Store {
    root: PathBuf,
    /// Held for its lock; none when only reading.
    _lock: Option<File>,
}

#[derive(Serialize, Deserialize)]
struct Mark {
    gitlode_store: u32,
}

impl Store {
    /// Opens the store at `root` for reading.
    ///
    /// # Errors
    /// Not a store, or one of a newer format.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let path = root.join("store.json");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(Error::NotAStore { path: root.to_owned() }),
            Err(source) => return Err(Error::Io { path, source }),
        };
        let mark: Mark = parse(&path, &text)?;
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
        let mark = root.join("store.json");
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
            write_json(&mark, &Mark { gitlode_store: FORMAT_VERSION })?;
        }
        Ok(Store { _lock: Some(lock), ..Store::open(root)? })
    }

    /// The store's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the segments of a repository are.
    pub fn directory(&self, identity: &str) -> PathBuf {
        self.root.join("repositories").join(key(identity))
    }

    /// Every repository directory, sorted.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn directories(&self) -> Result<Vec<PathBuf>, Error> {
        let path = self.root.join("repositories");
        if !path.exists() {
            return Ok(Vec::new());
        }
        let mut directories = Vec::new();
        for entry in fs::read_dir(&path).map_err(io_error(&path))? {
            directories.push(entry.map_err(io_error(&path))?.path());
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
            let numbers = json_files(&directory)?.into_iter().filter_map(|(_, stem)| {
                let (generation, batch) = stem.split_once('-')?;
                Some((generation.parse::<u32>().ok()?, batch.parse::<u32>().ok()?))
            });
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
    pub fn batches(&self) -> Result<Vec<(PathBuf, Checkpoint)>, Error> {
        let mut repositories = Vec::new();
        for directory in self.directories()? {
            let mut batches = visible(&directory)?;
            let Some(newest) = batches.last().map(|last| last.repository.clone()) else { continue };
            batches.iter_mut().for_each(|batch| batch.repository = newest.clone());
            repositories.push((newest.name, newest.identity, directory, batches));
        }
        repositories.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        let all = repositories
            .into_iter()
            .flat_map(|(_, _, directory, batches)| batches.into_iter().map(move |batch| (directory.clone(), batch)));
        Ok(all.collect())
    }
}

/// The checkpoints of the highest generation in `directory`, in order; empty where nothing is complete.
///
/// # Errors
/// A checkpoint can't be read or is of a newer version.
pub fn visible(directory: &Path) -> Result<Vec<Checkpoint>, Error> {
    let mut checkpoints = Vec::new();
    for (path, stem) in json_files(directory)? {
        if stem.split('-').count() != 2 {
            continue;
        }
        let checkpoint: Checkpoint = parse(&path, &fs::read(&path).map_err(io_error(&path))?)?;
        if checkpoint.format > FORMAT_VERSION || checkpoint.schema > crate::sample::SCHEMA_VERSION {
            let found = checkpoint.format.max(checkpoint.schema);
            return Err(Error::Newer { path, found, known: FORMAT_VERSION });
        }
        checkpoints.push(checkpoint);
    }
    let newest = checkpoints.iter().map(|c| c.generation).max();
    checkpoints.retain(|c| Some(c.generation) == newest);
    checkpoints.sort_by_key(|c| c.batch);
    if let Some((missing, _)) = (0..).zip(&checkpoints).find(|(number, checkpoint)| *number != checkpoint.batch) {
        return Err(Error::BadManifest { path: directory.to_owned(), reason: format!("batch {missing} is missing") });
    }
    Ok(checkpoints)
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
        keep.iter().flat_map(|stem| [format!("{stem}.json"), format!("{stem}.arrow")]).collect();
    for checkpoint in &visible {
        wanted.insert(format!("{}.json", batch_stem(checkpoint.generation, checkpoint.batch)));
        for segment in &checkpoint.segments {
            wanted.insert(segment.file.replace(".arrow", ".json"));
            wanted.insert(segment.file.clone());
        }
    }
    for entry in fs::read_dir(directory).map_err(io_error(directory))? {
        let path = entry.map_err(io_error(directory))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !wanted.contains(name.as_ref()) {
            fs::remove_file(&path).map_err(io_error(&path))?;
        }
    }
    Ok(())
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
    let temporary = path.with_added_extension("tmp");
    let write = || -> io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(&text)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        seal(&temporary, path)
    };
    write().map_err(io_error(path))
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
    format!("{}-{}", tail.trim_start_matches(['.', '-', '_']), &blake3::hash(identity.as_bytes()).to_hex()[..12])
}

/// Everything that does not agree in the repository directory `directory`: checksums, row counts, sums.
///
/// # Errors
/// The directory can't be read.
pub fn verify(directory: &Path) -> Result<Vec<Error>, Error> {
    let mut found = Vec::new();
    let checkpoints = match visible(directory) {
        Ok(checkpoints) => checkpoints,
        Err(error @ Error::BadManifest { .. }) => return Ok(vec![error]),
        Err(error) => return Err(error),
    };
    for checkpoint in checkpoints {
        let path = directory.join(format!("{}.json", batch_stem(checkpoint.generation, checkpoint.batch)));
        let mut changes = checkpoint.early.clone();
        for segment in &checkpoint.segments {
            changes.add(&segment.changes);
            found.extend(segment::verify(directory, segment).err());
        }
        if changes != checkpoint.funnel.changes || !checkpoint.funnel.adds_up() {
            found.push(Error::BadManifest { path, reason: "its counts do not add up".into() });
        }
    }
    Ok(found)
}
