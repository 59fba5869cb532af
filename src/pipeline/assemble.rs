//! Decides which rows of a store go: rules, texts of benchmarks, secrets, duplicates. The outcome is a function of the set of rows
//! and of the options; a row that goes for one reason takes no other row with it.

mod decide;
pub mod explain;
pub(super) mod facts;
mod groups;
mod judge;
mod kept;
mod near;
mod order;
mod similar;
pub(super) mod spill;
pub mod weight;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use serde::{Deserialize, Serialize};

use super::{
    purge, recipe, redact,
    reversal::{self, LinkKind},
};
use crate::{
    dedup::{
        contamination::{self, Benchmarks, NotSearched, Task, TextsNotSearched},
        fingerprints::{Fingerprints, Known},
        near::SIMILARITY_MIN,
        opt_out,
        redact::{Action, Kind, Policy, SECRET_ONLY},
    },
    store::{
        self, Checkpoint, LedgerManifest, Store, io_error,
        ledger::{self, LedgerWriter},
        segment,
    },
    verdict::{Counts, Masked},
};
use decide::Decisions;
pub use facts::{change_set, contents_set};
use judge::Judge;
use weight::Weight;

/// The rules that rows go by here, as ledgers and accounts name them, in the order in which they are asked; those of redaction,
/// which come before duplicates, stand last; weights come before the caps.
pub const RULES: [&str; 12] = [
    opt_out::RULE,
    "contamination",
    "exact_duplicate",
    "near_duplicate",
    CAPS[0],
    CAPS[1],
    CAPS[2],
    Kind::PrivateKeys.rule(),
    Kind::Secrets.rule(),
    Kind::Emails.rule(),
    Kind::IpAddresses.rule(),
    SECRET_ONLY,
];

/// The rules of caps: rows of one path in one repository, of one repository, of one language.
const CAPS: [&str; 3] = ["cap_per_file", "cap_per_repository", "cap_per_language"];

/// What has to be alike for two rows to be near-duplicates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Near {
    /// Nothing: there are none.
    Off,
    /// The changed lines: a change that was made in many files stays once.
    Change,
    /// The changed lines and the new contents: copies of a file and its history.
    #[default]
    Both,
}

/// What decides the outcome beside the rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// File of those who do not want their work in the rows, beside those whom the store remembers.
    pub opt_out: Option<PathBuf>,
    /// Whether a row of several repositories stays as long as one of them did not opt out.
    #[serde(default)]
    pub keep_shared: bool,
    /// Ruleset that rows have to pass: a preset or the path of a file.
    pub filter: String,
    /// What near-duplicates are.
    pub near: Near,
    /// Jaccard similarity of sets of n-grams of words, from 0 to 1, from which on two rows are near-duplicates.
    pub similarity_min: f64,
    /// JSON lines files of benchmarks.
    pub benchmarks: Vec<PathBuf>,
    /// Benchmarks that are compiled in. Records of before there were any say nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known_benchmarks: Vec<Known>,
    /// Words in a run that a row must not share with a benchmark of `benchmarks`.
    pub ngram_words: usize,
    /// What becomes of secrets and addresses. Records of before there was redaction say nothing, and redacted nothing.
    #[serde(default = "Policy::off", skip_serializing_if = "Policy::is_off")]
    pub redact: Policy,
    /// Rules for secrets in place of those that are compiled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<PathBuf>,
    /// Shares of rows that stay, by what is in a column.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<Weight>,
    /// Most rows of one path in one repository, of one repository, and of one language (`lang`).
    pub caps: [Option<u64>; 3],
}

/// How it is done, which shows in no outcome.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// Threads.
    pub threads: usize,
    /// Bytes of memory for what is kept of rows, beside five bytes for each row.
    pub memory: u64,
    /// Set when it is to end.
    pub interrupt: &'a AtomicBool,
    /// Hears what is being done.
    pub say: &'a dyn Fn(&str),
}

impl Default for Options {
    fn default() -> Self {
        Options {
            opt_out: None,
            keep_shared: false,
            filter: "none".into(),
            near: Near::default(),
            similarity_min: SIMILARITY_MIN,
            benchmarks: Vec::new(),
            known_benchmarks: Known::ALL.to_vec(),
            ngram_words: contamination::NGRAM_WORDS,
            redact: Policy::all(Action::Mask),
            secrets: None,
            weights: Vec::new(),
            caps: [None; 3],
        }
    }
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Filter(#[from] crate::filter::Error),
    #[error(transparent)]
    OptOut(#[from] purge::Error),
    #[error(transparent)]
    Redact(#[from] redact::Error),
    #[error("the benchmark {path}: {reason}")]
    Benchmark { path: PathBuf, reason: String },
}

/// The record of an assembly, `STORE/assembly/manifest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assembly {
    /// Version of this record.
    pub gitlode_assembly: u32,
    /// What it was to be.
    pub options: Options,
    /// Digest over options, the ruleset, the benchmarks and the batches of the store: another one is due again.
    pub digest: String,
    /// Rows that several repositories have (forks), counted once more for each further repository.
    pub shared: u64,
    /// The account of all rows, shared ones once.
    pub changes: Counts,
    /// Pairs that were compared in full, and how many of them were near-duplicates.
    pub pairs: (u64, u64),
    /// Rows of which not all candidates were compared, since too many share a band with them.
    pub rows_cut_short: u64,
    /// Lines of the file of opt-outs that name no row and no repository, and that the store does not remember, whose work is gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmatched_opt_outs: Vec<String>,
    /// Hits in benchmarks by the benchmark's file name.
    pub contamination: BTreeMap<String, u64>,
    /// Rows of benchmarks that can't be looked for, by the benchmark's file name: too short, or alike with many others of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub not_searched: BTreeMap<String, u64>,
    /// Texts (fields) of benchmarks that can't be looked for, also of rows that are found by another text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub texts_not_searched: BTreeMap<String, TextsNotSearched>,
    /// Of the tasks of a benchmark that name a repository, by the benchmark's file name: those that name none of the store, whose base commit
    /// no row has either, and all of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tasks_elsewhere: BTreeMap<String, (u64, u64)>,
    /// What was masked in the rows that came as far as that, before duplicates and caps.
    #[serde(default)]
    pub masked: Masked,
    /// Commits that were taken back or brought back, in `links.jsonl`: lines commit, time, kind and by, sorted.
    #[serde(default)]
    pub links: Links,
    /// What goes and why; none where nothing does.
    pub ledger: Option<LedgerManifest>,
}

/// The account of the links between commits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Links {
    /// Links that say a commit was taken back.
    pub reverted: u64,
    /// Links that say it was brought back.
    pub relanded: u64,
    /// BLAKE3 of the file, hexadecimal.
    pub blake3: String,
}

/// The file of links of the assembly of `store`.
pub fn links_file(store: &Store) -> PathBuf {
    directory(store).join("links.jsonl")
}

fn write_links<'a>(store: &Store, checkpoints: impl Iterator<Item = &'a Checkpoint>) -> Result<Links, store::Error> {
    let (mut links, mut text) = (Links::default(), Vec::new());
    for link in reversal::links(checkpoints) {
        match link.kind {
            LinkKind::Reverted => links.reverted += 1,
            LinkKind::Relanded => links.relanded += 1,
        }
        text.extend_from_slice(serde_json::json!(link).to_string().as_bytes());
        text.push(b'\n');
    }
    links.blake3 = blake3::hash(&text).to_hex().to_string();
    store::write_text(&links_file(store), &text)?;
    Ok(links)
}

/// The directory of a store that holds its assembly.
fn directory(store: &Store) -> PathBuf {
    store.root().join("assembly")
}

fn manifest(store: &Store) -> PathBuf {
    directory(store).join("manifest.json")
}

/// The assembly of `store`; none where there is none.
///
/// # Errors
/// It can't be read.
pub fn read(store: &Store) -> Result<Option<Assembly>, store::Error> {
    let path = manifest(store);
    match fs::read(&path) {
        Ok(text) => store::parse(&path, &text).map(Some),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(store::Error::Io { path, source }),
    }
}

/// Checks the ledger of the assembly of `store`, where there is one, and that its account adds up.
///
/// # Errors
/// It is damaged.
pub fn verify(store: &Store) -> Result<(), store::Error> {
    let Some(assembly) = read(store)? else { return Ok(()) };
    let bad = |reason: &str| store::Error::BadManifest { path: manifest(store), reason: reason.into() };
    let dropped: u64 = assembly.changes.dropped.values().sum();
    // Records of before there were links have none.
    if !assembly.links.blake3.is_empty() {
        let path = links_file(store);
        let text = fs::read(&path).map_err(io_error(&path))?;
        if blake3::hash(&text).to_hex().as_str() != assembly.links.blake3 {
            return Err(store::Error::Damaged { path, reason: "its checksum is wrong".into() });
        }
    }
    match &assembly.ledger {
        Some(ledger) => segment::verify_ledger(&directory(store), ledger, dropped)?,
        None if dropped > 0 => return Err(bad("it drops rows and has no ledger")),
        None => {}
    }
    if assembly.changes.adds_up() { Ok(()) } else { Err(bad("its counts do not add up")) }
}

/// The ledger of the assembly of `store`.
pub fn ledger_file(store: &Store, ledger: &LedgerManifest) -> PathBuf {
    directory(store).join(&ledger.file)
}

/// Ids of the rows that go, each with the rule.
///
/// # Errors
/// The ledger can't be read.
pub fn removed(store: &Store, assembly: &Assembly) -> Result<HashMap<String, String>, store::Error> {
    let Some(ledger) = &assembly.ledger else { return Ok(HashMap::new()) };
    let rows = ledger::read(&ledger_file(store, ledger))?;
    Ok(rows.into_iter().filter_map(|row| Some((row.id?, row.rule))).collect())
}

/// SWE-bench's fields that are unified diffs.
const PATCHES: [&str; 2] = ["patch", "test_patch"];

/// The fields that HumanEval, MBPP and others keep their solutions in.
const SOLUTIONS: [&str; 3] = ["canonical_solution", "solution", "code"];

/// The tasks of a benchmark: of each line the strings at any depth, and where they are SWE-bench's fields, what they are.
fn tasks_of(path: &Path) -> Result<Vec<Task>, Error> {
    let bad = |reason: String| Error::Benchmark { path: path.to_owned(), reason };
    let text = fs::read_to_string(path).map_err(|e| bad(e.to_string()))?;
    let text = text.trim_start_matches('\u{feff}');
    let mut tasks = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let value: serde_json::Value =
            serde_json::from_str(line).map_err(|e| bad(format!("line {}: {e}", number + 1)))?;
        let mut task = Task::default();
        let is_patch =
            |name: &str, text: &str| PATCHES.contains(&name) && text.lines().any(|line| line.starts_with("@@ "));
        let fields = value.as_object().into_iter().flatten();
        match value.is_object() {
            true => fields
                .filter(|(name, value)| !value.as_str().is_some_and(|text| is_patch(name, text)))
                .for_each(|(_, value)| collect(value, &mut task.texts)),
            false => collect(&value, &mut task.texts),
        }
        let field = |name: &str| value[name].as_str().map(str::to_owned);
        let is_id = |id: &String| matches!(id.len(), 40 | 64) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        task.base = field("base_commit");
        if let Some(base) = task.base.as_ref().filter(|base| !is_id(base)) {
            // Rows that stand on it would be missed.
            return Err(bad(format!("line {}: base_commit `{base}` is no commit id in full", number + 1)));
        }
        task.name = ["task_id", "instance_id"].into_iter().find_map(field);
        task.repository = field("repo");
        task.solutions = SOLUTIONS.into_iter().filter_map(field).collect();
        let patches = PATCHES.into_iter().filter_map(|name| field(name).filter(|text| is_patch(name, text)));
        task.patches = patches.collect();
        tasks.push(task);
    }
    Ok(tasks)
}

fn collect(value: &serde_json::Value, texts: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => texts.push(text.clone()),
        serde_json::Value::Array(values) => values.iter().for_each(|value| collect(value, texts)),
        serde_json::Value::Object(fields) => fields.values().for_each(|value| collect(value, texts)),
        _ => {}
    }
}

/// What of benchmarks can't be looked for, by their names.
type NotSearchedOf = BTreeMap<String, NotSearched>;

/// What is said of a task: the name of its benchmark, its repository and its base commit.
type About = (String, String, Option<String>);

/// The benchmarks in `options`, a digest over them and how they are looked for, what of them can't be, and the tasks about repositories.
fn benchmarks(options: &Options) -> Result<(Benchmarks, String, NotSearchedOf, Vec<About>), Error> {
    let (mut not_searched, mut about) = (NotSearchedOf::new(), Vec::new());
    let mut benchmarks = Benchmarks::new(options.ngram_words);
    let mut parts = vec![options.ngram_words.to_le_bytes().to_vec()];
    for path in &options.benchmarks {
        let bad = |reason: String| Error::Benchmark { path: path.clone(), reason };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let tasks = tasks_of(path)?;
        let missed = benchmarks.add(&name, &tasks).map_err(bad)?;
        let of_task = |task: Task| Some((name.clone().into_owned(), task.repository?.to_lowercase(), task.base));
        about.extend(tasks.into_iter().filter_map(of_task));
        not_searched.entry(name.clone().into_owned()).or_default().add(missed);
        parts.push(name.as_bytes().to_vec());
        parts.push(fs::read(path).map_err(|e| bad(e.to_string()))?);
    }
    for known in &options.known_benchmarks {
        let bad = |reason: String| Error::Benchmark { path: known.as_str().into(), reason };
        Fingerprints::of(*known).and_then(|found| benchmarks.add_fingerprints(&found)).map_err(bad)?;
        parts.push(known.text().as_bytes().to_vec());
    }
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    Ok((benchmarks, facts::key(&parts), not_searched, about))
}

/// Of the tasks that `about` says something of, those that no repository of these names and no commit of a row is of, and all.
fn elsewhere(about: Vec<About>, names: &[&str], bases: &BTreeSet<String>) -> BTreeMap<String, (u64, u64)> {
    let names: BTreeSet<String> = names.iter().map(|name| name.to_lowercase()).collect();
    let mut elsewhere = BTreeMap::<String, (u64, u64)>::new();
    for (benchmark, repository, base) in about {
        let (missing, all) = elsewhere.entry(benchmark).or_default();
        let is_here = contamination::names_of(&repository).any(|name| names.contains(name));
        *missing += u64::from(!is_here && !base.is_some_and(|base| bases.contains(&base.to_ascii_lowercase())));
        *all += 1;
    }
    elsewhere.retain(|_, (missing, _)| *missing > 0);
    elsewhere
}

/// Decides for `store`, which must be locked, and writes `STORE/assembly`.
///
/// # Errors
/// The store is damaged or can't be written, the ruleset or a benchmark is not as it should be, or an interruption.
pub fn assemble(store: &Store, options: &Options, means: Means<'_>) -> Result<Assembly, Error> {
    let rules = recipe::rules(&options.filter)?;
    let (benchmarks, of_benchmarks, not_searched, about) = benchmarks(options)?;
    let benchmarks = (benchmarks, of_benchmarks);
    let mut opt_outs = [purge::opt_outs(store)?, opt_out::OptOuts::default()];
    let remembered: BTreeSet<String> = opt_outs[0].lines().map(str::to_owned).collect();
    if let Some(path) = &options.opt_out {
        let given = purge::parse(path, &purge::read_list(path).map_err(io_error(path))?)?;
        match options.keep_shared {
            true => opt_outs[1] = given.keep_shared(),
            false => opt_outs[0].add(given),
        }
    }
    let digest = digest(store, options)?;
    let batches = store.batches()?;
    for (_, Checkpoint { repository, .. }) in &batches {
        opt_outs.iter_mut().for_each(|list| list.add_origins(&repository.name, &repository.columns));
    }
    let repositories = order::repositories(&batches);
    let newest = repositories.iter().map(|repository| repository.newest).collect();
    let redaction = redact::Redaction::new(options.redact, options.secrets.as_deref())?;
    let judge = Judge { opt_outs, rules, benchmarks, redaction, repositories: newest };
    let path = directory(store);
    fs::create_dir_all(&path).map_err(io_error(&path))?;

    let mut decisions = Decisions::make(store, &repositories, &judge, options, means)?;
    (means.say)("writing the decisions");
    let mut ledger = LedgerWriter::new(&path, &format!("decisions-{}", &digest[..16]))?;
    let (changes, contamination) = decisions.write(&mut ledger)?;
    let (pairs, rows_cut_short) = (decisions.account.pairs, decisions.account.rows_cut_short);
    let wanted = decisions.files();
    let mined: u64 = batches.iter().map(|(_, checkpoint)| checkpoint.funnel.changes.kept).sum();
    let links = write_links(store, batches.iter().map(|(_, checkpoint)| checkpoint))?;
    let assembly = Assembly {
        gitlode_assembly: 1,
        options: options.clone(),
        digest,
        shared: mined - changes.candidates,
        changes,
        pairs,
        rows_cut_short,
        unmatched_opt_outs: unmatched(&judge, &decisions, &remembered),
        contamination,
        not_searched: not_searched
            .iter()
            .map(|(name, of)| (name.clone(), of.rows))
            .filter(|(_, rows)| *rows > 0)
            .collect(),
        texts_not_searched: not_searched
            .into_iter()
            .map(|(name, of)| (name, of.texts))
            .filter(|(_, t)| *t != TextsNotSearched::default())
            .collect(),
        tasks_elsewhere: elsewhere(
            about,
            &repositories.iter().map(|repository| repository.name).collect::<Vec<_>>(),
            &decisions.bases,
        ),
        masked: std::mem::take(&mut decisions.masked),
        links,
        ledger: ledger.seal()?,
    };
    store::write_json(&manifest(store), &assembly)?;
    let ledger = assembly.ledger.as_ref().map(|ledger| path.join(&ledger.file));
    sweep(&path, |name| name.starts_with("decisions-"), &ledger.into_iter().collect::<Vec<_>>())?;
    sweep(&facts::directory(store), |_| true, &wanted)?;
    Ok(assembly)
}

/// The lines that were given and name nothing, without those that are `remembered`.
fn unmatched(judge: &Judge<'_>, decisions: &Decisions<'_>, remembered: &BTreeSet<String>) -> Vec<String> {
    let lists = judge.opt_outs.iter().zip(&decisions.known_lines);
    let lines = lists.flat_map(|(list, known)| list.lines().enumerate().filter(|(at, _)| !known.contains(at)));
    let lines: BTreeSet<&str> = lines.map(|(_, line)| line).filter(|line| !remembered.contains(*line)).collect();
    lines.into_iter().map(str::to_owned).collect()
}

/// Removes from `directory` the files with names that `is_ours`, but for those in `keep`.
fn sweep(directory: &Path, is_ours: impl Fn(&str) -> bool, keep: &[PathBuf]) -> Result<(), store::Error> {
    if !directory.is_dir() {
        return Ok(());
    }
    let keep: std::collections::HashSet<&PathBuf> = keep.iter().collect();
    for entry in fs::read_dir(directory).map_err(io_error(directory))? {
        let path = entry.map_err(io_error(directory))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if is_ours(&name) && !keep.contains(&path) {
            fs::remove_file(&path).map_err(io_error(&path))?;
        }
    }
    Ok(())
}

/// Whether the assembly of `store` is about what is in it, and was made with `options`.
///
/// # Errors
/// The store, the ruleset or a benchmark can't be read.
pub fn is_current(store: &Store, assembly: &Assembly, options: &Options) -> Result<bool, Error> {
    Ok(assembly.options == *options && assembly.digest == digest(store, options)?)
}

fn digest(store: &Store, options: &Options) -> Result<String, Error> {
    let mut hasher = blake3::Hasher::new();
    let mut add = |text: &[u8]| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text);
    };
    add(serde_json::json!(options).to_string().as_bytes());
    add(recipe::rules(&options.filter)?.digest().as_bytes());
    for path in &options.benchmarks {
        add(&fs::read(path).map_err(|e| Error::Benchmark { path: path.clone(), reason: e.to_string() })?);
    }
    options.known_benchmarks.iter().for_each(|known| add(known.text().as_bytes()));
    if let Some(digest) = redact::Redaction::new(options.redact, options.secrets.as_deref())?.digest() {
        add(digest.as_bytes());
    }
    if let Some(path) = &options.opt_out {
        add(&fs::read(path).map_err(io_error(path))?);
    }
    add(purge::opt_outs(store)?.digest().as_bytes());
    for (_, checkpoint) in store.batches()? {
        add(checkpoint.repository.identity.as_bytes());
        add(checkpoint.blake3.as_bytes());
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// Bytes in hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        text.extend([byte >> 4, byte & 15].map(|digit| char::from_digit(u32::from(digit), 16).unwrap_or('0')));
        text
    })
}
