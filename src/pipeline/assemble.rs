//! Decides which rows of a store go: rules, texts of benchmarks, secrets, duplicates. The outcome is a function of the set of rows
//! and of the options; a row that goes for one reason takes no other row with it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use serde::{Deserialize, Serialize};

use super::{
    export::for_each,
    purge, recipe, redact,
    reversal::{self, LinkKind},
    trial,
};
use crate::{
    classify::license::{Class, Licenses},
    dedup::{
        Clusters, Keeper,
        contamination::{self, Benchmarks},
        near::{self, MinHash},
        opt_out,
        redact::{Action, Kind, Policy, SECRET_ONLY},
        words,
    },
    sample::Sample,
    store::{
        self, Checkpoint, LedgerManifest, Store, io_error,
        ledger::{self, ASSEMBLY, Dropped, LedgerWriter},
        segment,
    },
    verdict::{Counts, Masked},
};

/// Rows that share a band with so many others are compared with that many of them, those of the most similar size.
const COMPARISONS_MAX: usize = 256;

/// Rows of one cluster that stay and that further ones are compared with.
const KEPT_COMPARED_MAX: usize = 1024;

/// The rules that rows go by here, as ledgers and accounts name them, in the order in which they are asked; those of redaction,
/// which come before duplicates, stand last.
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
    /// Words in a run that a row must not share with a benchmark.
    pub ngram_words: usize,
    /// What becomes of secrets and addresses. Records of before there was redaction say nothing, and redacted nothing.
    #[serde(default = "Policy::off", skip_serializing_if = "Policy::is_off")]
    pub redact: Policy,
    /// Rules for secrets in place of those that are compiled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<PathBuf>,
    /// Most rows of one path in one repository, of one repository, and of one language (`lang`).
    pub caps: [Option<u64>; 3],
}

impl Default for Options {
    fn default() -> Self {
        Options {
            opt_out: None,
            keep_shared: false,
            filter: "none".into(),
            near: Near::default(),
            similarity_min: near::SIMILARITY_MIN,
            benchmarks: Vec::new(),
            ngram_words: contamination::NGRAM_WORDS,
            redact: Policy::all(Action::Mask),
            secrets: None,
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
    /// Rows of which not all candidates were compared, see [`COMPARISONS_MAX`].
    pub rows_cut_short: u64,
    /// Hits in benchmarks by the benchmark's file name.
    pub contamination: BTreeMap<String, u64>,
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

fn write_links(store: &Store, checkpoints: &[Checkpoint]) -> Result<Links, store::Error> {
    let (mut links, mut text) = (Links::default(), Vec::new());
    for link in reversal::links(checkpoints.iter()) {
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

/// Texts of a benchmark: the strings in each line, at any depth.
fn texts_of(path: &Path) -> Result<Vec<Vec<String>>, Error> {
    let bad = |reason: String| Error::Benchmark { path: path.to_owned(), reason };
    let text = fs::read_to_string(path).map_err(|e| bad(e.to_string()))?;
    let mut rows = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let value = serde_json::from_str(line).map_err(|e| bad(format!("line {}: {e}", number + 1)))?;
        let mut texts = Vec::new();
        collect(&value, &mut texts);
        rows.push(texts);
    }
    Ok(rows)
}

fn collect(value: &serde_json::Value, texts: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => texts.push(text.clone()),
        serde_json::Value::Array(values) => values.iter().for_each(|value| collect(value, texts)),
        serde_json::Value::Object(fields) => fields.values().for_each(|value| collect(value, texts)),
        _ => {}
    }
}

/// Why a row goes.
enum Fate {
    /// The line that names it.
    OptedOut(String),
    Rule(Box<Dropped>),
    Contaminated(contamination::Hit),
    /// By this rule of redaction, and what was seen.
    Redacted(&'static str, String),
    /// Another row (by position) has the same contents and subject.
    Exact(u32),
    /// A row that stays (by position) stands for it.
    Near(u32),
    /// So many rows of its kind stay, by this one of [`CAPS`].
    Capped(usize, u64),
}

/// A row, as far as it has to be remembered.
struct Entry {
    keeper: Keeper,
    /// Of old contents, new contents and subject.
    exact: u128,
    /// Hashes of what [`CAPS`] count by.
    groups: [u64; 3],
    fate: Option<Fate>,
}

/// What [`CAPS`] count by: repository and path, repository, language. A row of several repositories is the first one's.
fn groups(sample: &Sample<'_>) -> [u64; 3] {
    let hash = |text: &str| {
        let mut start = [0; 8];
        start.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..8]);
        u64::from_le_bytes(start)
    };
    let repository = sample.repos.split(',').next().unwrap_or_default();
    let path = sample.new_file.or(sample.old_file).unwrap_or_default();
    [hash(&format!("{repository}\0{path}")), hash(repository), hash(sample.lang)]
}

/// Changed lines as a sorted set of n-grams of words, which have the line's sign in them.
pub fn change_set(sample: &Sample<'_>) -> Vec<u64> {
    let lines = sample.diff.lines().skip_while(|line| !line.starts_with("@@"));
    let changed = lines.filter(|line| line.starts_with(['+', '-']));
    let hashes: Vec<u64> = changed
        .flat_map(|line| {
            let (sign, text) = line.split_at(1);
            words::words(text).map(move |word| words::hash(word) ^ words::hash(sign))
        })
        .collect();
    words::ngram_set(&hashes, near::NGRAM_WORDS)
}

/// The new contents (of a deletion the old ones) as a sorted set of n-grams of words.
pub fn contents_set(sample: &Sample<'_>) -> Vec<u64> {
    let text = sample.new_contents.or(sample.old_contents).unwrap_or_default();
    words::ngram_set(&words::words(text).map(words::hash).collect::<Vec<_>>(), near::NGRAM_WORDS)
}

fn exact(sample: &Sample<'_>) -> u128 {
    let mut hasher = blake3::Hasher::new();
    for text in [sample.old_contents, sample.new_contents, Some(sample.subject)] {
        hasher.update(&text.map_or(u64::MAX, |text| text.len() as u64).to_le_bytes());
        hasher.update(text.unwrap_or_default().as_bytes());
    }
    let mut half = [0; 16];
    half.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    u128::from_le_bytes(half)
}

/// The sets of a row that may be a near-duplicate: of the change, and of the contents where they count.
type Sets = HashMap<u32, (Vec<u64>, Vec<u64>)>;

/// Decides for `store`, which must be locked, and writes `STORE/assembly`. `say` hears what is being done.
///
/// # Errors
/// The store is damaged or can't be written, the ruleset or a benchmark is not as it should be, or an interruption.
pub fn assemble(
    store: &Store,
    options: &Options,
    interrupt: &AtomicBool,
    say: &dyn Fn(&str),
) -> Result<Assembly, Error> {
    let rules = recipe::rules(&options.filter)?;
    let mut benchmarks = Benchmarks::new(options.ngram_words);
    for path in &options.benchmarks {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let added = texts_of(path).and_then(|rows| {
            benchmarks.add(&name, &rows).map_err(|reason| Error::Benchmark { path: path.clone(), reason })
        });
        added?;
    }
    let (mut opt_outs, mut kept_shared) = (purge::opt_outs(store)?, None);
    if let Some(path) = &options.opt_out {
        let given = purge::parse(path, &fs::read_to_string(path).map_err(io_error(path))?)?;
        match options.keep_shared {
            true => kept_shared = Some(given.keep_shared()),
            false => opt_outs.add(given),
        }
    }
    let digest = digest(store, options)?;
    let redaction = redact::Redaction::new(options.redact, options.secrets.as_deref())?;
    let mut scratch = redact::Scratch::default();
    say("reading rows");
    let (licenses, minhash) = (Licenses::in_use(), MinHash::default());
    let mut entries: Vec<Entry> = Vec::new();
    let mut bands: Vec<(u64, u32)> = Vec::new();
    let checkpoints = for_each(store, interrupt, |row| {
        let sample = row.sample;
        let keeper = Keeper {
            license: sample.license_spdx.map_or(Class::UNKNOWN, |expression| licenses.class(expression)),
            time: sample.author_time.unwrap_or(i64::MAX),
            id: u128::from_str_radix(sample.id, 16).unwrap_or_default(),
        };
        let given = || kept_shared.as_ref().and_then(|opt_outs| opt_outs.find(sample.into()));
        let opted_out = opt_outs.find(sample.into()).or_else(given);
        let mut fate = match trial::judge_row(&rules, &row) {
            _ if opted_out.is_some() => opted_out.map(Fate::OptedOut),
            Err(dropped) => Some(Fate::Rule(dropped)),
            Ok(_) if benchmarks.is_empty() => None,
            Ok(_) => benchmarks.find(sample).map(Fate::Contaminated),
        };
        let masked = match &fate {
            None => redaction.redact(sample, &mut scratch),
            Some(_) => redact::Fate::Clean,
        };
        if let redact::Fate::Drop(rule, value) = &masked {
            fate = Some(Fate::Redacted(rule, value.clone()));
        }
        let sample = &*masked.sample(sample);
        if fate.is_none() && options.near != Near::Off {
            let set = change_set(sample);
            if !set.is_empty() {
                let number = entries.len() as u32;
                bands.extend(minhash.bands(&set).map(|band| (band, number)));
            }
        }
        entries.push(Entry { keeper, exact: exact(sample), groups: groups(sample), fate });
        Ok(())
    })?;
    let mined: u64 = checkpoints.iter().map(|checkpoint| checkpoint.funnel.changes.kept).sum();

    drop_exact(&mut entries);
    bands.retain(|(_, number)| entries[*number as usize].fate.is_none());
    bands.sort_unstable();
    let groups: Vec<&[(u64, u32)]> = bands.chunk_by(|a, b| a.0 == b.0).filter(|group| group.len() > 1).collect();
    let wanted: HashSet<u32> = groups.iter().flat_map(|group| group.iter().map(|(_, number)| *number)).collect();
    let mut sets = Sets::new();
    if !wanted.is_empty() {
        say("comparing rows that may be alike");
        let (mut number, mut scratch) = (0, redact::Scratch::default());
        for_each(store, interrupt, |row| {
            if wanted.contains(&number) {
                let masked = redaction.redact(row.sample, &mut scratch);
                let sample = masked.sample(row.sample);
                let contents = if options.near == Near::Both { contents_set(&sample) } else { Vec::new() };
                sets.insert(number, (change_set(&sample), contents));
            }
            number += 1;
            Ok(())
        })?;
    }
    let (pairs, rows_cut_short) = drop_near(&mut entries, &groups, &sets, options);
    drop_capped(&mut entries, options.caps);

    say("writing the decisions");
    let path = directory(store);
    fs::create_dir_all(&path).map_err(io_error(&path))?;
    let mut ledger = LedgerWriter::new(&path, &format!("decisions-{}", &digest[..16]))?;
    let (mut changes, mut contamination) = (Counts::default(), BTreeMap::new());
    let mut at = 0;
    for_each(store, interrupt, |row| {
        let entry = &entries[at];
        at += 1;
        let Some(fate) = &entry.fate else {
            changes.keep();
            return Ok(());
        };
        let dropped = record(row.sample, fate, at - 1, &entries, &sets, options);
        changes.drop_by(&dropped.rule);
        if let Fate::Contaminated(hit) = fate {
            let name = hit.benchmark.rsplit_once(':').map_or("", |(name, _)| name);
            *contamination.entry(name.to_owned()).or_default() += 1;
        }
        ledger.add(dropped)
    })?;
    let links = write_links(store, &checkpoints)?;
    let assembly = Assembly {
        gitlode_assembly: 1,
        options: options.clone(),
        digest,
        shared: mined - changes.candidates,
        changes,
        pairs,
        rows_cut_short,
        contamination,
        masked: scratch.masked,
        links,
        ledger: ledger.seal()?,
    };
    store::write_json(&manifest(store), &assembly)?;
    sweep(&path, assembly.ledger.as_ref())?;
    Ok(assembly)
}

/// Removes ledgers of earlier assemblies.
fn sweep(path: &Path, keep: Option<&LedgerManifest>) -> Result<(), store::Error> {
    for entry in fs::read_dir(path).map_err(io_error(path))? {
        let entry = entry.map_err(io_error(path))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("decisions-") && keep.is_none_or(|keep| keep.file != name) {
            fs::remove_file(entry.path()).map_err(io_error(&entry.path()))?;
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

/// Of rows with the same contents and subject, one stays.
fn drop_exact(entries: &mut [Entry]) {
    let mut keepers: HashMap<u128, u32> = HashMap::new();
    for (number, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.fate.is_none()) {
        let keeper = keepers.entry(entry.exact).or_insert(number as u32);
        if entry.keeper < entries[*keeper as usize].keeper {
            *keeper = number as u32;
        }
    }
    for (number, entry) in entries.iter_mut().enumerate().filter(|(_, entry)| entry.fate.is_none()) {
        let keeper = keepers[&entry.exact];
        entry.fate = (keeper as usize != number).then_some(Fate::Exact(keeper));
    }
}

/// Of rows that are alike, one stays. The pairs that were compared and those that were alike, and the rows that were not
/// compared with all of their candidates.
fn drop_near(entries: &mut [Entry], groups: &[&[(u64, u32)]], sets: &Sets, options: &Options) -> ((u64, u64), u64) {
    let mut clusters = Clusters::new(entries.len());
    let (mut compared, mut alike, mut cut) = (HashSet::new(), 0, HashSet::new());
    let size = |number: u32| match (sets.get(&number), options.near) {
        (Some((_, contents)), Near::Both) => contents.len(),
        (Some((change, _)), _) => change.len(),
        (None, _) => 0,
    };
    let is_alike = |a: u32, b: u32| match (sets.get(&a), sets.get(&b)) {
        (Some(a), Some(b)) => {
            words::jaccard(&a.0, &b.0) >= options.similarity_min && words::jaccard(&a.1, &b.1) >= options.similarity_min
        }
        _ => false,
    };
    let fits = |a: usize, b: usize| a as f64 >= options.similarity_min * b as f64;
    for group in groups {
        // Sets of which one is much larger can't be alike, so only neighbours by size are compared.
        let mut members: Vec<(usize, u128, u32)> =
            group.iter().map(|(_, number)| (size(*number), entries[*number as usize].keeper.id, *number)).collect();
        members.sort_unstable();
        for (at, (len, _, a)) in members.iter().enumerate() {
            let others = members[at + 1..].iter().take_while(|(other, ..)| fits(*len, *other));
            for (n, (_, _, b)) in others.enumerate() {
                if n == COMPARISONS_MAX {
                    cut.insert(*a);
                    break;
                }
                if clusters.find(*a as usize) == clusters.find(*b as usize) || !compared.insert((*a.min(b), *a.max(b)))
                {
                    continue;
                }
                if is_alike(*a, *b) {
                    alike += 1;
                    clusters.join(*a as usize, *b as usize);
                }
            }
        }
    }
    // A chain of versions has ends that are not alike: a row only goes for one that stays and is like it.
    let mut members: BTreeMap<usize, Vec<(Keeper, u32)>> = BTreeMap::new();
    for number in sets.keys() {
        let cluster = clusters.find(*number as usize);
        members.entry(cluster).or_default().push((entries[*number as usize].keeper, *number));
    }
    for mut members in members.into_values().filter(|members| members.len() > 1) {
        members.sort_unstable();
        let mut kept: Vec<u32> = Vec::new();
        for (_, number) in members {
            if kept.len() > KEPT_COMPARED_MAX {
                cut.insert(number);
            }
            match kept.iter().take(KEPT_COMPARED_MAX).find(|keeper| is_alike(number, **keeper)) {
                Some(keeper) => entries[number as usize].fate = Some(Fate::Near(*keeper)),
                None => kept.push(number),
            }
        }
    }
    ((compared.len() as u64, alike), cut.len() as u64)
}

/// Of rows beyond a cap, those with the smallest ids stay: ids are hashes, so that is a sample, and the same one whatever
/// else there is.
fn drop_capped(entries: &mut [Entry], caps: [Option<u64>; 3]) {
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_unstable_by_key(|at| entries[*at].keeper.id);
    for (cap, most) in caps.into_iter().enumerate().filter_map(|(cap, most)| Some((cap, most?))) {
        let mut counts: HashMap<u64, u64> = HashMap::new();
        for at in &order {
            let entry = &mut entries[*at];
            if entry.fate.is_none() {
                let count = counts.entry(entry.groups[cap]).or_default();
                *count += 1;
                entry.fate = (*count > most).then_some(Fate::Capped(cap, most));
            }
        }
    }
}

fn record(
    sample: &Sample<'_>,
    fate: &Fate,
    number: usize,
    entries: &[Entry],
    sets: &Sets,
    options: &Options,
) -> Dropped {
    let keeper = |at: u32| format!("keeper {:032x}", entries[at as usize].keeper.id);
    let (rule, value, bound) = match fate {
        Fate::Rule(dropped) => return (**dropped).clone(),
        Fate::OptedOut(line) => (RULES[0], line.clone(), String::new()),
        Fate::Contaminated(hit) => {
            let bound = format!("no {} words in a row of a benchmark", options.ngram_words);
            (RULES[1], format!("{} in {}", hit.benchmark, hit.column), bound)
        }
        Fate::Redacted(rule, value) => (*rule, value.clone(), String::new()),
        Fate::Capped(cap, most) => (CAPS[*cap], String::new(), format!("at most {most} rows")),
        Fate::Exact(at) => (RULES[2], String::new(), keeper(*at)),
        Fate::Near(at) => {
            let none = (Vec::new(), Vec::new());
            let (own, other) = (sets.get(&(number as u32)).unwrap_or(&none), sets.get(at).unwrap_or(&none));
            let change = words::jaccard(&own.0, &other.0);
            let value = match options.near {
                Near::Both => format!("change {change:.2}, contents {:.2}", words::jaccard(&own.1, &other.1)),
                _ => format!("change {change:.2}"),
            };
            (RULES[3], value, keeper(*at))
        }
    };
    Dropped {
        commit: sample.commit.to_owned(),
        id: Some(sample.id.to_owned()),
        old_file: sample.old_file.map(str::to_owned),
        new_file: sample.new_file.map(str::to_owned),
        layer: ASSEMBLY,
        rule: rule.to_owned(),
        value,
        bound,
    }
}
