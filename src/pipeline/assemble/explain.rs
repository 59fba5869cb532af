//! What the assembly of a store decided on the rows of one commit.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
};

use serde::Serialize;

use super::{
    Assembly,
    facts::{self, FactsReader},
    hex,
    kept::is_whole,
};
use crate::{
    pipeline::redact::{Redaction, Scratch},
    store::{
        Error, Store, io_error,
        ledger::{self, Dropped},
        rows::Rows,
        segment,
    },
};

/// A row that stays for another one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KeptRow {
    /// The sample id.
    pub id: String,
    /// The commit id.
    pub commit: String,
    /// The path after the change; before, where the file is gone.
    pub path: String,
}

/// What was decided on a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DecidedRow {
    /// The sample id.
    pub id: String,
    /// The path after the change; before, where the file is gone.
    pub path: String,
    /// The rule that it goes by; none for a row that stays.
    pub rule: Option<String>,
    /// What the rule saw.
    pub value: String,
    /// What it demands.
    pub bound: String,
    /// The row that stays for it.
    pub keeper: Option<KeptRow>,
    /// What is masked in a row that stays, by kind, and how many values; nothing where nothing is.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub masked: BTreeMap<String, u64>,
}

/// What `assembly` of `store` decided on the rows of `commit`, by path.
///
/// # Errors
/// The ledger or what is kept of rows can't be read.
pub fn explain(store: &Store, assembly: &Assembly, commit: &str) -> Result<Vec<DecidedRow>, Error> {
    let mut dropped: HashMap<String, Dropped> = HashMap::new();
    if let Some(ledger) = &assembly.ledger {
        let rows = ledger::read(&super::directory(store).join(&ledger.file))?;
        let of_commit = rows.into_iter().filter(|row| row.commit == commit);
        dropped.extend(of_commit.filter_map(|row| Some((row.id.clone()?, row))));
    }
    let mut rows = find(store, |facts| hex(&facts.commit) == commit)?;
    rows.sort_by(|a, b| (&a.path, &a.id).cmp(&(&b.path, &b.id)));
    // A fork has the same row once more.
    rows.dedup();
    let keeper_of = |row: &Dropped| row.bound.strip_prefix("keeper ").map(str::to_owned);
    let keepers: Vec<String> = dropped.values().filter_map(keeper_of).collect();
    let keepers = match keepers.is_empty() {
        true => Vec::new(),
        false => find(store, |facts| keepers.contains(&format!("{:032x}", facts.id)))?,
    };
    let masked = masked(store, assembly, commit)?;
    let decided = |row: KeptRow| match dropped.get(&row.id) {
        None => DecidedRow {
            path: row.path,
            rule: None,
            value: String::new(),
            bound: String::new(),
            keeper: None,
            masked: masked.get(&row.id).cloned().unwrap_or_default(),
            id: row.id,
        },
        Some(dropped) => DecidedRow {
            id: row.id,
            path: row.path,
            rule: Some(dropped.rule.clone()),
            value: dropped.value.clone(),
            bound: dropped.bound.clone(),
            keeper: keeper_of(dropped).and_then(|id| keepers.iter().find(|keeper| keeper.id == id).cloned()),
            masked: BTreeMap::new(),
        },
    };
    Ok(rows.into_iter().map(decided).collect())
}

/// What is masked in the rows of `commit`, by their ids: worked out again, as an export does.
fn masked(store: &Store, assembly: &Assembly, commit: &str) -> Result<HashMap<String, BTreeMap<String, u64>>, Error> {
    let mut found = HashMap::new();
    // Without its rules nothing was assembled either.
    let Ok(redaction) = Redaction::new(assembly.options.redact, assembly.options.secrets.as_deref()) else {
        return Ok(found);
    };
    let Some(masked) = redaction.digest() else { return Ok(found) };
    let (directory, catalog, mut scratch) = (facts::directory(store), facts::catalog(), Scratch::default());
    for (batch, checkpoint) in store.batches()? {
        for manifest in &checkpoint.segments {
            let facts = directory.join(format!("{}.facts", facts::facts_key(&manifest.blake3, &catalog, masked)));
            if !is_whole(&facts) || !has_commit(&facts, commit)? {
                continue;
            }
            let path = batch.join(&manifest.file);
            for rows in segment::read(&path)? {
                let damaged =
                    |e: arrow_schema::ArrowError| Error::Damaged { path: path.clone(), reason: e.to_string() };
                let rows = Rows::new(&rows?).map_err(damaged)?;
                for sample in (0..rows.len()).map(|at| rows.get(at)).filter(|sample| sample.commit == commit) {
                    redaction.redact(&sample, &mut scratch);
                    let kinds = std::mem::take(&mut scratch.masked).kinds;
                    let kinds = kinds.into_iter().map(|(kind, tally)| (kind, tally.values)).collect();
                    found.insert(sample.id.to_owned(), kinds);
                }
            }
        }
    }
    Ok(found)
}

/// Whether a row of these facts is of `commit`.
fn has_commit(facts: &std::path::Path, commit: &str) -> Result<bool, Error> {
    let mut reader = FactsReader::open(facts, false)?;
    while reader.advance()? {
        if hex(&reader.row.commit) == commit {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The rows that were decided on and are `wanted`.
fn find(store: &Store, wanted: impl Fn(&facts::Facts) -> bool) -> Result<Vec<KeptRow>, Error> {
    let directory = facts::directory(store);
    let mut found = Vec::new();
    if !directory.is_dir() {
        return Ok(found);
    }
    for entry in fs::read_dir(&directory).map_err(io_error(&directory))? {
        let path = entry.map_err(io_error(&directory))?.path();
        if path.extension().is_none_or(|kind| kind != "facts") || !is_whole(&path) {
            continue;
        }
        let mut reader = FactsReader::open(&path, false)?;
        while reader.advance()? {
            let row = &reader.row;
            if wanted(row) {
                let path = row.new_file.as_deref().or(row.old_file.as_deref()).unwrap_or_default().to_owned();
                found.push(KeptRow { id: format!("{:032x}", row.id), commit: hex(&row.commit), path });
            }
        }
    }
    Ok(found)
}
