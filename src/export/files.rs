//! Files of an export: they grow under a number and get their names when it is known how many there are. Languages may
//! be hundreds, so a file is open only while it grows.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use super::{Error, Shard, io_error};

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
    /// Its size.
    pub bytes: u64,
}

impl Part {
    fn new(path: PathBuf) -> Result<Self, Error> {
        File::create(&path).map_err(io_error(&path))?;
        Ok(Part { path, hasher: blake3::Hasher::new(), bytes: 0 })
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
    started: usize,
    finished: BTreeMap<Place, Vec<Finished>>,
}

impl Files {
    pub fn new(directory: &Path) -> Self {
        Files { directory: directory.to_owned(), parts: directory.join("parts"), started: 0, finished: BTreeMap::new() }
    }

    /// An empty file.
    pub fn start(&mut self) -> Result<Part, Error> {
        fs::create_dir_all(&self.parts).map_err(io_error(&self.parts))?;
        self.started += 1;
        Part::new(self.parts.join(format!("{:06}", self.started)))
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
        if self.started > 0 {
            fs::remove_dir(&self.parts).map_err(io_error(&self.parts))?;
        }
        Ok(shards)
    }
}
