//! The record of a complete batch, which makes its rows visible.

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, Serialize};

use super::{
    Error, FORMAT_VERSION, LedgerManifest, SegmentManifest,
    attached::{Begin, Behind},
    files::{io_error, parse, write_json},
};
use crate::verdict::{Counts, Funnel};

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
    pub(super) fn read(path: &Path, numbers: (u32, u32)) -> Result<Self, Error> {
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
    pub(super) fn files(&self) -> impl Iterator<Item = String> {
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
