//! How files of a store are named, found, read and written: whole or not at all.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::Error;

pub(crate) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
    |source| Error::Io { path: path.to_owned(), source }
}

/// Whether a file may be removed when no batch names it.
pub(super) fn is_store_file(name: &str) -> bool {
    let stem = name.strip_suffix(".tmp").unwrap_or(name);
    let stem = stem.strip_suffix(".json").or_else(|| stem.strip_suffix(".arrow"));
    let stem = stem.map(|stem| stem.strip_suffix(".ledger").unwrap_or(stem));
    stem.is_some_and(|stem| {
        (2..=3).contains(&stem.split('-').count())
            && stem.split('-').all(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

/// Generation and batch in the file name of a checkpoint; none for any other file.
pub(super) fn batch_numbers(stem: &str) -> Option<(u32, u32)> {
    let (generation, batch) = stem.split_once('-')?;
    let numbers = (generation.parse().ok()?, batch.parse().ok()?);
    (batch_stem(numbers.0, numbers.1) == stem).then_some(numbers)
}

/// The common start of the file names of a batch.
pub fn batch_stem(generation: u32, batch: u32) -> String {
    format!("{generation:04}-{batch:06}")
}

/// A directory name for an identity: readable, and never the same for two.
pub(super) fn key(identity: &str) -> String {
    let readable: String =
        identity.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' }).collect();
    let tail: String = readable.chars().rev().take(60).collect::<Vec<_>>().into_iter().rev().collect();
    let hash = &blake3::hash(identity.as_bytes()).to_hex()[..KEY_HASH_LENGTH];
    format!("{}-{hash}", tail.trim_start_matches(['.', '-', '_']))
}

const KEY_HASH_LENGTH: usize = 12;

/// Whether `path` has the name of a repository directory.
pub(super) fn is_key(path: &Path) -> bool {
    let hash = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.rsplit_once('-'));
    hash.is_some_and(|(_, hash)| hash.len() == KEY_HASH_LENGTH && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// A segment that a manifest names and that is not there is damage of the store.
pub(super) fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => Error::Damaged { path: path.to_owned(), reason: "it is missing".into() },
        _ => Error::Io { path: path.to_owned(), source },
    })
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
