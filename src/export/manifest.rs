//! `manifest.json`: what an export was made of, how, and the checksum of every file of rows.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::{
    Compression, Format, Shard, aya::Templated, card::Split, documents::Document, dolma::Tagged, embedding::Embedded,
    provenance::Provenance, tokens::Tokenized, trainer::Training,
};
use crate::verdict::Masked;

/// A repository as it was when its rows were mined; one for each batch.
#[derive(Clone, Debug, Serialize)]
pub struct Input {
    /// Its name.
    pub repository: String,
    /// Canonical URL or path.
    pub identity: String,
    /// Commit ids that were mined up to.
    pub tips: Vec<String>,
    /// Commit ids that the batches before had mined up to.
    pub hidden: Vec<String>,
    /// The licence at the tip, as an SPDX expression; none where it is not known or there are several tips.
    pub license: Option<String>,
    /// How it changed from one mining to the next: `from`, `to`, `tip`, `time`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub relicensed: Vec<Value>,
    /// The repository that it is attached to, as a fork of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// The tips of that up to which it leaves commits out, since they were mined there; none where it leaves out none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub behind: Vec<String>,
    /// Whether the root may have some of these no more, so that rows may be missing until the fork is mined again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_incomplete: bool,
    /// The version of the program that mined it.
    pub tool: String,
    /// The settings that decided the rows.
    pub recipe: Value,
    /// How many rows there are.
    pub rows: u64,
}

/// How records were made of rows; the key says what they are for.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Making {
    /// Prompts with completions.
    Training(Training),
    /// Subjects with changes.
    Embedding(Embedded),
    /// Documents with attributes.
    Dolma(Tagged),
    /// Instructions.
    Aya(Templated),
    /// Nothing but what is known of them.
    Provenance(Box<Provenance>),
    /// Token ids.
    Tokens(Box<Tokenized>),
}

impl Making {
    /// The section of the card.
    pub fn section(&self, format: Format) -> String {
        match self {
            Making::Training(training) => training.section(format),
            Making::Embedding(embedded) => embedded.section(),
            Making::Dolma(tagged) => tagged.section(),
            Making::Tokens(tokenized) => tokenized.section(),
            Making::Provenance(provenance) => provenance.section(),
            Making::Aya(templated) => templated.section(),
        }
    }
}

/// The record of an export.
#[derive(Debug, Serialize)]
pub struct Manifest<'a> {
    /// Version of this record.
    pub gitlode_export: u32,
    /// The version of the program.
    pub version: &'static str,
    /// The format.
    pub format: Format,
    /// Of JSON lines.
    pub compression: Compression,
    /// The columns, in order.
    pub columns: &'a [&'a str],
    /// How records were made; none where rows stayed rows.
    #[serde(flatten)]
    pub making: Option<&'a Making>,
    /// What drew the order of the rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shuffle: Option<u64>,
    /// Size after which a shard ended.
    pub shard_bytes_max: u64,
    /// How many rows there are.
    pub rows: u64,
    /// The same by split, with its part of the repositories.
    pub splits: &'a BTreeMap<&'a str, Split>,
    /// Rows of repositories that are mostly in another split.
    pub rows_of_several_splits: u64,
    /// Name of the ruleset.
    pub filter: &'a str,
    /// Digest of its rules.
    pub filter_digest: &'a str,
    /// Options of the assembly that was left out; none without one.
    pub assembly: Option<&'a Value>,
    /// Rows that were left out, by rule.
    pub dropped: &'a BTreeMap<String, u64>,
    /// What was masked; none without redaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masked: Option<&'a Masked>,
    /// The files of rows.
    pub shards: &'a [Shard],
    /// The files about the rows: the card, its figures and other metadata.
    pub documents: &'a [Document],
    /// What the rows came from.
    pub inputs: &'a [Input],
}
