//! Answers that are known already, each in a file of its own, so that a server need not send them again. What is damaged
//! is not there.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// A directory of answers.
pub(super) struct Cache {
    directory: PathBuf,
    /// What a server shows depends on who asks: each token has answers of its own.
    asker: blake3::Hash,
}

/// An answer with the mark that the server knows it by.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// Where it came from.
    pub url: String,
    /// The server's mark.
    pub etag: String,
    /// The page that follows.
    pub next: Option<String>,
    /// The answer.
    pub body: String,
}

/// A file: a checksum of the entry, and the entry.
#[derive(Serialize, Deserialize)]
struct Kept {
    blake3: String,
    entry: Entry,
}

impl Entry {
    fn checksum(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for part in [&self.url, &self.etag, self.next.as_deref().unwrap_or_default(), &self.body] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }
}

impl Cache {
    /// Answers in `directory` that were given to `token`.
    pub(super) fn new(directory: &Path, token: Option<&str>) -> Self {
        Cache { directory: directory.to_owned(), asker: blake3::hash(token.unwrap_or_default().as_bytes()) }
    }

    fn path(&self, url: &str) -> PathBuf {
        let name = blake3::keyed_hash(self.asker.as_bytes(), url.as_bytes()).to_hex();
        self.directory.join(&name[..2]).join(format!("{name}.json"))
    }

    /// The answer of `url`, if it is known and whole.
    pub(super) fn get(&self, url: &str) -> Option<Entry> {
        let kept: Kept = serde_json::from_slice(&fs::read(self.path(url)).ok()?).ok()?;
        (kept.entry.url == url && kept.entry.checksum() == kept.blake3).then_some(kept.entry)
    }

    /// Keeps an answer; where it can't be written, and why.
    pub(super) fn put(&self, entry: Entry) -> Result<(), (PathBuf, std::io::Error)> {
        let path = self.path(&entry.url);
        let kept = Kept { blake3: entry.checksum(), entry };
        let text = serde_json::to_string(&kept).expect("strings are JSON");
        write(&path, text.as_bytes()).map_err(|error| (path, error))
    }
}

/// Whole or not at all. Two processes may write the same file, so each has its own place to write to.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new(""));
    let mut builder = fs::DirBuilder::new();
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        // With a token they may hold what only its owner may see.
        use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
        builder.mode(0o700);
        options.mode(0o600);
    }
    builder.recursive(true).create(parent)?;
    let temporary = path.with_extension(std::process::id().to_string());
    options.open(&temporary)?.write_all(bytes)?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_or_another_ones_is_not_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let cache = |token| Cache::new(directory.path(), token);
        let entry = |body: &str| Entry {
            url: "https://h/x".to_owned(),
            etag: "\"1\"".to_owned(),
            next: None,
            body: body.to_owned(),
        };
        cache(Some("a")).put(entry("[1]")).expect("it can be written");
        cache(Some("a")).put(entry("[2]")).expect("it can be written again");
        assert_eq!(cache(Some("a")).get("https://h/x"), Some(entry("[2]")));
        assert_eq!(cache(Some("b")).get("https://h/x"), None);
        assert_eq!(cache(None).get("https://h/x"), None);
        let path = cache(Some("a")).path("https://h/x");
        let whole = fs::read(&path).expect("a file");
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&path, &damaged).expect("it can be written");
            assert_eq!(cache(Some("a")).get("https://h/x"), None, "byte {at}");
            fs::write(&path, &whole[..at]).expect("it can be written");
            assert_eq!(cache(Some("a")).get("https://h/x"), None, "cut at {at}");
        }
    }
}
