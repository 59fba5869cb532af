//! Exports the rows of a store: one deterministic order, a directory of shards and a manifest, whatever the format.

use std::{
    borrow::Cow,
    cmp::Ordering,
    collections::{BTreeMap, BinaryHeap, HashMap},
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use arrow_schema::DataType;
use serde_json::{Value, json};

use super::{join::Join, trial};
use crate::{
    filter::Ruleset,
    sample::Sample,
    store::{self, Checkpoint, Store, io_error, rows::Rows, segment},
    verdict::Counts,
};

/// CommitPack's ten columns, in its order.
pub const COMMITPACK_COLUMNS: [&str; 10] = [
    "commit",
    "old_file",
    "new_file",
    "old_contents",
    "new_contents",
    "subject",
    "message",
    "lang",
    "license",
    "repos",
];

/// Rows of one segment, in order, with the position that the next one has.
pub struct SegmentRows {
    path: PathBuf,
    batches: Box<dyn Iterator<Item = Result<arrow_array::RecordBatch, store::Error>>>,
    rows: Option<Rows>,
    at: usize,
}

impl SegmentRows {
    /// Opens the segment at `path`.
    ///
    /// # Errors
    /// As [`segment::read`].
    pub fn open(path: PathBuf) -> Result<Self, store::Error> {
        let batches = Box::new(segment::read(&path)?);
        Ok(SegmentRows { path, batches, rows: None, at: 0 })
    }

    /// Moves to the next row; whether there is one.
    ///
    /// # Errors
    /// The segment is damaged.
    pub fn advance(&mut self) -> Result<bool, store::Error> {
        self.at += 1;
        while self.rows.as_ref().is_none_or(|rows| self.at >= rows.len()) {
            let Some(batch) = self.batches.next() else { return Ok(false) };
            let damaged =
                |e: arrow_schema::ArrowError| store::Error::Damaged { path: self.path.clone(), reason: e.to_string() };
            self.rows = Some(Rows::new(&batch?).map_err(damaged)?);
            self.at = 0;
        }
        Ok(true)
    }

    /// The row that [`SegmentRows::advance`] moved to.
    pub fn sample(&self) -> Sample<'_> {
        self.rows.as_ref().map_or_else(Sample::default, |rows| rows.get(self.at))
    }
}

/// What orders rows within a repository: path, then commit time and ids. It is the order of every segment as well.
fn key(sample: &Sample<'_>) -> (String, i64, String, String) {
    let path = sample.new_file.or(sample.old_file).unwrap_or_default();
    (path.to_owned(), sample.commit_time.unwrap_or(0), sample.commit.to_owned(), sample.id.to_owned())
}

struct Head {
    key: (String, i64, String, String),
    segment: usize,
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Head {}
impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Head {
    /// Reversed, since the heap gives its largest.
    fn cmp(&self, other: &Self) -> Ordering {
        (&other.key, other.segment).cmp(&(&self.key, self.segment))
    }
}

/// A row on its way out.
pub struct Row<'a> {
    /// The row.
    pub sample: &'a Sample<'a>,
    /// The newest batch of its repository.
    pub checkpoint: &'a Checkpoint,
    /// What the list says of the repository, and what was joined to the row.
    pub columns: Cow<'a, BTreeMap<String, String>>,
}

/// Calls `each` with every visible row of `store`, sorted by repository name, path, commit time and ids. A row that
/// several repositories have (forks) comes once, with the first, and `repos` names all of them.
///
/// # Errors
/// A segment is damaged, or what `each` returns.
pub fn for_each(
    store: &Store,
    interrupt: &AtomicBool,
    each: impl FnMut(Row<'_>) -> Result<(), store::Error>,
) -> Result<Vec<Checkpoint>, store::Error> {
    let batches = store.batches()?;
    let before: Vec<_> = batches.iter().map(|(_, c)| (c.repository.identity.clone(), c.generation)).collect();
    for_each_of(batches, interrupt, each).map_err(|error| match (error, store.batches()) {
        // What a run replaced while it was read is not damaged.
        (store::Error::Damaged { path, .. }, Ok(now))
            if !before
                .iter()
                .all(|old| now.iter().any(|(_, c)| (&c.repository.identity, c.generation) == (&old.0, old.1))) =>
        {
            store::Error::Changed { path }
        }
        (error, _) => error,
    })
}

fn for_each_of(
    batches: Vec<(PathBuf, Checkpoint)>,
    interrupt: &AtomicBool,
    mut each: impl FnMut(Row<'_>) -> Result<(), store::Error>,
) -> Result<Vec<Checkpoint>, store::Error> {
    let shared = shared_rows(&batches, interrupt)?;
    let mut groups: BTreeMap<(&str, &str), (Vec<PathBuf>, &Checkpoint)> = BTreeMap::new();
    for (directory, checkpoint) in &batches {
        let names = (checkpoint.repository.name.as_str(), checkpoint.repository.identity.as_str());
        let (paths, newest) = groups.entry(names).or_insert_with(|| (Vec::new(), checkpoint));
        *newest = checkpoint;
        paths.extend(checkpoint.segments.iter().map(|segment| directory.join(&segment.file)));
    }
    let mut done = std::collections::HashSet::new();
    for ((name, _), (paths, checkpoint)) in groups {
        let mut heap = BinaryHeap::new();
        let mut segments = Vec::new();
        for (segment, path) in paths.into_iter().enumerate() {
            let mut rows = SegmentRows::open(path)?;
            if rows.advance()? {
                heap.push(Head { key: key(&rows.sample()), segment });
            }
            segments.push(rows);
        }
        while let Some(Head { segment, .. }) = heap.pop() {
            go_on(interrupt)?;
            let rows = &mut segments[segment];
            let mut sample = rows.sample();
            sample.repos = name;
            let first = match shared.get(sample.id) {
                None => true,
                Some(repos) => {
                    sample.repos = repos;
                    done.insert(sample.id.to_owned())
                }
            };
            if first {
                each(Row { sample: &sample, checkpoint, columns: Cow::Borrowed(&checkpoint.repository.columns) })?;
            }
            if rows.advance()? {
                heap.push(Head { key: key(&rows.sample()), segment });
            }
        }
    }
    Ok(batches.into_iter().map(|(_, checkpoint)| checkpoint).collect())
}

fn go_on(interrupt: &AtomicBool) -> Result<(), store::Error> {
    if interrupt.load(Relaxed) { Err(store::Error::Interrupted) } else { Ok(()) }
}

/// Ids of the rows that more than one repository has, with the names of those.
fn shared_rows(
    batches: &[(PathBuf, Checkpoint)],
    interrupt: &AtomicBool,
) -> Result<BTreeMap<String, String>, store::Error> {
    let mut owners: BTreeMap<String, std::collections::BTreeSet<String>> = BTreeMap::new();
    let identities: std::collections::HashSet<_> = batches.iter().map(|(_, c)| &c.repository.identity).collect();
    if identities.len() < 2 {
        return Ok(BTreeMap::new());
    }
    let mut first: std::collections::HashMap<u128, &str> = std::collections::HashMap::new();
    for (directory, checkpoint) in batches {
        let (name, identity) = (&checkpoint.repository.name, checkpoint.repository.identity.as_str());
        for manifest in &checkpoint.segments {
            let mut rows = SegmentRows::open(directory.join(&manifest.file))?;
            while rows.advance()? {
                go_on(interrupt)?;
                let id = rows.sample().id;
                let number = u128::from_str_radix(id, 16).unwrap_or_default();
                let owner = *first.entry(number).or_insert(identity);
                if owner != identity {
                    let known = batches
                        .iter()
                        .find(|(_, c)| c.repository.identity == owner)
                        .map(|(_, c)| c.repository.name.clone());
                    let names = owners.entry(id.to_owned()).or_default();
                    names.extend(known);
                    names.insert(name.clone());
                }
            }
        }
    }
    Ok(owners.into_iter().map(|(id, names)| (id, names.into_iter().collect::<Vec<_>>().join(","))).collect())
}

/// What an export is to be.
pub struct Options<'a> {
    /// The fields of a row, in order.
    pub columns: &'a [&'a str],
    /// Size in bytes after which a shard ends.
    pub shard_bytes_max: u64,
    /// Ids of rows that were decided against, each with the rule.
    pub removed: &'a HashMap<String, String>,
    /// Rules that rows have to pass.
    pub rules: &'a Ruleset,
    /// Columns that rules can look at.
    pub join: Option<&'a Join>,
    /// Set when the user wishes to stop.
    pub interrupt: &'a AtomicBool,
}

/// What an export wrote.
#[derive(Debug, Default, serde::Serialize)]
pub struct Exported {
    /// The account of the store's rows.
    pub changes: Counts,
    /// Shard files, relative to the export.
    pub shards: Vec<String>,
}

/// Writes the rows of `store` as JSON lines to the directory `out`: `data/train-00000-of-0000N.jsonl`, each of about
/// `shard_bytes_max` bytes, `manifest.json`, and a `README.md` with the columns' types, as `datasets` reads them. `columns` are the fields of a row, in order.
///
/// # Errors
/// `out` exists, can't be written, or the store is damaged; `out` then does not exist.
pub fn export_jsonl(store: &Store, out: &Path, options: &Options<'_>) -> Result<Exported, store::Error> {
    if out.exists() {
        let source = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
        return Err(store::Error::Io { path: out.to_owned(), source });
    }
    // A name that nobody else has: what is there under another one isn't ours to remove.
    let temporary = out.with_added_extension(format!("gitlode-{}", std::process::id()));
    remove_remains(out);
    fs::create_dir_all(&temporary).map_err(io_error(&temporary))?;
    // Held as long as this process writes; what nobody holds a later export to the same place may remove.
    let mark = temporary.join(UNFINISHED);
    let lock = File::create(&mark).map_err(io_error(&mark))?;
    let held = lock.try_lock();
    let result = write_export(store, &temporary, options).and_then(|exported| {
        fs::remove_file(&mark).map_err(io_error(&mark))?;
        fs::rename(&temporary, out).map_err(io_error(out)).map(|()| exported)
    });
    drop((held, lock));
    if result.is_err() {
        // The first error is the one to report.
        let _second_error = fs::remove_dir_all(&temporary);
    }
    result
}

/// In a directory that is being written.
const UNFINISHED: &str = ".gitlode-unfinished";

/// Removes what killed exports to `out` left beside it.
fn remove_remains(out: &Path) {
    let Some(name) = out.file_name().map(|name| format!("{}.gitlode-", name.to_string_lossy())) else { return };
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(&name) {
            continue;
        }
        let lock = File::open(entry.path().join(UNFINISHED));
        if lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
            // What can't be removed is in nobody's way.
            let _stays = fs::remove_dir_all(entry.path());
        }
    }
}

fn write_export(store: &Store, directory: &Path, options: &Options<'_>) -> Result<Exported, store::Error> {
    let Options { columns, shard_bytes_max, removed, rules, join, interrupt } = options;
    let data = directory.join("data");
    fs::create_dir_all(&data).map_err(io_error(&data))?;
    let mut shards: Vec<Value> = Vec::new();
    let mut shard = Shard::new(data.join("part-00000"))?;
    let mut changes = Counts::default();
    let checkpoints = for_each(store, interrupt, |mut row| {
        if let Some(rule) = removed.get(row.sample.id) {
            changes.drop_by(rule);
            return Ok(());
        }
        if let Some(values) = join.and_then(|join| join.find(row.sample.id)) {
            row.columns.to_mut().extend(values);
        }
        let texts = match trial::judge_row(rules, &row) {
            Ok(texts) => texts,
            Err(dropped) => {
                changes.drop_by(&dropped.rule);
                return Ok(());
            }
        };
        if shard.bytes >= *shard_bytes_max {
            let next = Shard::new(data.join(format!("part-{:05}", shards.len() + 1)))?;
            shards.push(std::mem::replace(&mut shard, next).finish()?);
        }
        changes.keep();
        let (subject, message) = (texts.last_subject(), texts.last_message());
        shard.write(&line(&Sample { subject, message, ..row.sample.clone() }, columns))
    })?;
    shards.push(shard.finish()?);
    let count = shards.len();
    let rows = changes.kept;
    let mut exported = Exported { changes, shards: Vec::new() };
    for (number, shard) in shards.iter_mut().enumerate() {
        let name = format!("data/train-{number:05}-of-{count:05}.jsonl");
        let from = data.join(format!("part-{number:05}"));
        fs::rename(&from, directory.join(&name)).map_err(io_error(&from))?;
        shard["file"] = json!(name);
        exported.shards.push(name);
    }
    let inputs: Vec<Value> = checkpoints
        .iter()
        .map(|c| json!({"repository": c.repository.name, "identity": c.repository.identity, "tips": c.tips, "hidden": c.hidden, "recipe": c.recipe, "rows": c.funnel.changes.kept}))
        .collect();
    let manifest = json!({"gitlode_export": 1, "format": "jsonl", "columns": columns, "rows": rows, "filter": rules.id, "filter_digest": rules.digest(), "dropped": exported.changes.dropped, "shards": shards, "inputs": inputs});
    store::write_json(&directory.join("manifest.json"), &manifest)?;
    let card = directory.join("README.md");
    fs::write(&card, features_card(columns)).map_err(io_error(&card))?;
    Ok(exported)
}

/// A dataset card that states the columns' types. Without it `datasets` guesses them from the first rows, and stops at
/// the first value in a column that was null until then.
fn features_card(columns: &[&str]) -> String {
    let schema = store::rows::schema();
    let mut card = "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*\n\
                    dataset_info:\n  features:\n"
        .to_owned();
    for name in columns {
        let kind = match schema.field_with_name(name).map(|field| field.data_type().clone()) {
            Ok(DataType::LargeUtf8) => "dtype: large_string",
            Ok(DataType::UInt32) => "dtype: uint32",
            Ok(DataType::Int32) => "dtype: int32",
            Ok(DataType::Int64) => "dtype: int64",
            Ok(DataType::Float64) => "dtype: float64",
            Ok(DataType::Boolean) => "dtype: bool",
            Ok(DataType::List(_)) => "sequence: string",
            _ => "dtype: string",
        };
        card.push_str(&format!("  - name: {name}\n    {kind}\n"));
    }
    card + "---\n\nMade by gitlode. `manifest.json` names the inputs and the checksums.\n"
}

fn line(sample: &Sample<'_>, columns: &[&str]) -> Vec<u8> {
    let all = serde_json::to_value(sample).unwrap_or_default();
    let row: Vec<String> = columns.iter().map(|name| format!("{}:{}", json!(name), all[*name])).collect();
    format!("{{{}}}\n", row.join(",")).into_bytes()
}

struct Shard {
    path: PathBuf,
    file: BufWriter<File>,
    hasher: blake3::Hasher,
    bytes: u64,
    rows: u64,
}

impl Shard {
    fn new(path: PathBuf) -> Result<Self, store::Error> {
        let file = BufWriter::new(File::create(&path).map_err(io_error(&path))?);
        Ok(Shard { path, file, hasher: blake3::Hasher::new(), bytes: 0, rows: 0 })
    }

    fn write(&mut self, line: &[u8]) -> Result<(), store::Error> {
        self.file.write_all(line).map_err(io_error(&self.path))?;
        self.hasher.update(line);
        self.bytes += line.len() as u64;
        self.rows += 1;
        Ok(())
    }

    fn finish(mut self) -> Result<Value, store::Error> {
        self.file.flush().map_err(io_error(&self.path))?;
        Ok(json!({"rows": self.rows, "bytes": self.bytes, "blake3": self.hasher.finalize().to_hex().to_string()}))
    }
}
