//! The settings that decide which rows a repository gives. Two runs with equal recipes and tips give equal rows.

use serde::{Deserialize, Serialize};

use crate::{
    classify::message::TrailerPolicy,
    git::{repository::Revision, walk::Window},
    sample::ChangeKind,
};

/// What to mine and how to write it down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// Where to start.
    pub revision: Revision,
    /// Which commits, by commit time.
    pub window: Window,
    /// Which kinds of change become rows.
    pub kinds: Vec<ChangeKind>,
    /// Name of the ruleset.
    pub filter: String,
    /// Largest blob in bytes that becomes contents.
    pub blob_bytes_max: u64,
    /// Most paths that a commit may change.
    pub commit_changes_max: usize,
    /// What happens to trailers that name people.
    pub trailers: TrailerPolicy,
    /// Whether names and addresses of authors stand in the row.
    pub authors: bool,
    /// The licence that the source list declares, as it goes into the row.
    pub license: Option<String>,
    /// Digest of the tables in `languages/`.
    pub catalog: String,
}

impl Recipe {
    /// The names of the settings in which `self` differs from `older`, as they are spelled in manifests. Tables that
    /// came with a newer program are left out: they make a repository due, not the user's choice different.
    pub fn differences(&self, older: &serde_json::Value) -> Vec<String> {
        let Ok(serde_json::Value::Object(mine)) = serde_json::to_value(self) else { return Vec::new() };
        mine.into_iter()
            .filter(|(name, value)| name != "catalog" && older.get(name) != Some(value))
            .map(|(name, _)| name)
            .collect()
    }
}

/// The digest of the compiled-in tables.
pub fn catalog_digest() -> String {
    let mut hasher = blake3::Hasher::new();
    for table in [crate::classify::author::TABLE, crate::classify::language::TABLE] {
        hasher.update(&(table.len() as u64).to_le_bytes());
        hasher.update(table.as_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}
