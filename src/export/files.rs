//! Files of an export: they grow under a number and get their names when it is known how many there are. Languages may
//! be hundreds, so a file is open only while it grows.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    thread,
};

use super::{Error, Shard, io_error};
use crate::store::ahead::{Ahead, Queue};

/// Files that are brought to disk at once: a journal takes what comes together in one go.
const SYNCING_AT_ONCE: usize = 8;

/// What a file has more is brought to disk while it grows.
const BEHIND_BYTES: usize = 8 << 20;

/// Brings `directory` and all that is in it to disk, so that a power cut behind the rename that publishes it takes nothing away.
///
/// # Errors
/// A file can't be read or brought to disk.
pub fn sync(directory: &Path) -> Result<(), Error> {
    let mut paths = vec![directory.to_owned()];
    let mut at = 0;
    while let Some(path) = paths.get(at).cloned() {
        at += 1;
        if path.is_dir() {
            for entry in fs::read_dir(&path).map_err(io_error(&path))? {
                paths.push(entry.map_err(io_error(&path))?.path());
            }
        }
    }
    sync_all(&paths)
}

/// Brings the files and directories at `paths` to disk.
///
/// # Errors
/// One can't be read or brought to disk.
pub fn sync_all(paths: &[PathBuf]) -> Result<(), Error> {
    thread::scope(|scope| {
        let shares = paths.chunks(paths.len().div_ceil(SYNCING_AT_ONCE).max(1));
        let threads: Vec<_> =
            shares.map(|paths| scope.spawn(move || paths.iter().try_for_each(|path| sync_one(path)))).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| thread.join();
        threads
            .into_iter()
            .map(join)
            .try_for_each(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// Brings the file or directory at `path` to disk.
///
/// # Errors
/// It can't be read or brought to disk.
pub fn sync_one(path: &Path) -> Result<(), Error> {
    match File::open(path).and_then(|file| file.sync_all()) {
        // Not every file system can do this with a directory.
        Err(error) if error.kind() == ErrorKind::InvalidInput && path.is_dir() => Ok(()),
        result => result.map_err(io_error(path)),
    }
}

/// What rows of one file have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The language, where every language has its own files.
    pub config: Option<String>,
    /// The number of the split.
    pub split: usize,
}

/// A file that grows.
pub struct Part {
    path: PathBuf,
    hasher: blake3::Hasher,
    ahead: Queue,
    /// Bytes that are not on their way to disk.
    behind: usize,
    /// Its size.
    pub bytes: u64,
}

impl Part {
    fn new(path: PathBuf, ahead: Queue) -> Result<Self, Error> {
        File::create(&path).map_err(io_error(&path))?;
        Ok(Part { path, hasher: blake3::Hasher::new(), ahead, behind: 0, bytes: 0 })
    }

    /// Writes `bytes` to its end.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut file = OpenOptions::new().append(true).open(&self.path).map_err(io_error(&self.path))?;
        file.write_all(bytes).map_err(io_error(&self.path))?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        self.behind += bytes.len();
        // Where enough is on its way, this can wait.
        if self.behind >= BEHIND_BYTES && self.ahead.take(&self.path, file) {
            self.behind = 0;
        }
        Ok(())
    }

    /// Ends it.
    pub fn finish(self, rows: u64, bytes_in_memory: u64) -> Finished {
        let blake3 = self.hasher.finalize().to_hex().to_string();
        Finished { path: self.path, rows, bytes: self.bytes, bytes_in_memory, blake3 }
    }

    /// Its path, and that it is of nobody's interest any more.
    pub fn into_path(self) -> PathBuf {
        self.path
    }
}

/// A file with everything but its name.
pub struct Finished {
    pub path: PathBuf,
    pub rows: u64,
    pub bytes: u64,
    pub bytes_in_memory: u64,
    pub blake3: String,
}

/// The files of an export.
pub struct Files {
    directory: PathBuf,
    parts: PathBuf,
    /// Once there is a file.
    ahead: Option<Ahead>,
    started: usize,
    finished: BTreeMap<Place, Vec<Finished>>,
}

impl Files {
    pub fn new(directory: &Path) -> Self {
        Files {
            directory: directory.to_owned(),
            parts: directory.join("parts"),
            ahead: None,
            started: 0,
            finished: BTreeMap::new(),
        }
    }

    /// An empty file.
    pub fn start(&mut self) -> Result<Part, Error> {
        fs::create_dir_all(&self.parts).map_err(io_error(&self.parts))?;
        self.started += 1;
        let ahead = match &mut self.ahead {
            Some(ahead) => ahead,
            none => none.insert(Ahead::start(&self.parts)?),
        };
        Part::new(self.parts.join(format!("{:06}", self.started)), ahead.queue().clone())
    }

    /// Takes the next file of `place`.
    pub fn add(&mut self, place: Place, file: Finished) {
        self.finished.entry(place).or_default().push(file);
    }

    /// Whether no file is finished.
    pub fn is_empty(&self) -> bool {
        self.finished.is_empty()
    }

    /// Moves all files to where `name` says, which is given place, number and how many files the place has.
    pub fn name(self, splits: &[&str], name: impl Fn(&Place, usize, usize) -> String) -> Result<Vec<Shard>, Error> {
        let mut shards = Vec::new();
        for (place, files) in self.finished {
            let count = files.len();
            for (number, file) in files.into_iter().enumerate() {
                let name = name(&place, number, count);
                let to = self.directory.join(&name);
                if let Some(parent) = to.parent() {
                    fs::create_dir_all(parent).map_err(io_error(parent))?;
                }
                fs::rename(&file.path, &to).map_err(io_error(&to))?;
                let Finished { rows, bytes, bytes_in_memory, blake3, .. } = file;
                let split = splits[place.split].to_owned();
                shards.push(Shard {
                    file: name,
                    config: place.config.clone(),
                    split,
                    rows,
                    bytes,
                    bytes_in_memory,
                    blake3,
                });
            }
        }
        self.ahead.map_or(Ok(()), Ahead::finish)?;
        if self.started > 0 {
            fs::remove_dir(&self.parts).map_err(io_error(&self.parts))?;
        }
        Ok(shards)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_in_a_directory_is_brought_to_disk() {
        let directory = tempfile::TempDir::new().expect("a directory");
        sync(directory.path()).expect("nothing is in it");
        for at in 0..30 {
            let deep = directory.path().join(format!("{}/{at}", at % 3));
            fs::create_dir_all(&deep).expect("it can be made");
            fs::write(deep.join("file"), [0; 4096]).expect("it can be written");
        }
        sync(directory.path()).expect("all of it can be read");
        // Wherever something can't be, it is told.
        let gone = directory.path().join("2/29/gone");
        std::os::unix::fs::symlink("nowhere", &gone).expect("a link");
        let error = sync(directory.path()).expect_err("the link leads nowhere");
        assert!(error.to_string().starts_with(&*gone.to_string_lossy()), "{error}");
    }
}
