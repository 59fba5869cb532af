//! Exports the rows of a store: which ones, in one deterministic order, and to which split. How they are written is a
//! matter of [`crate::export`].

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::{self, File},
    path::Path,
    thread,
};

use super::{
    changes::{Fate, Noted},
    join::Join,
    known::{Known, Maker},
    progress::{Counter, Progress, Step, rows_in},
    purge,
    read::{Row, for_each_or, go_on},
    redact,
    roots::Histories,
    shuffle::Shuffle,
    trial,
};
use crate::{
    classify::license::Licenses,
    dedup::opt_out::{self, OptOuts},
    export::{
        self, Record, Shard, Writer,
        card::{About, Split},
        documents,
        facts::Facts,
        manifest::{Input, Making, Manifest},
        split::Splits,
    },
    filter::{Ruleset, Texts},
    sample::Sample,
    store::{
        self, Checkpoint, Store,
        attached::{self, Attached},
        io_error, rows,
    },
    verdict::{Counts, Funnel, Masked},
};

/// What an export is to be.
pub struct Options<'a> {
    /// How rows are written.
    pub written: export::Options<'a>,
    /// Which rows go where.
    pub splits: &'a Splits,
    /// Ids of rows that were decided against, each with the rule.
    pub removed: &'a HashMap<String, String>,
    /// Options of the assembly that decided so.
    pub assembly: Option<&'a serde_json::Value>,
    /// What masks secrets and addresses, as the assembly did.
    pub redaction: Option<&'a redact::Redaction>,
    /// Rules that rows have to pass.
    pub rules: &'a Ruleset,
    /// Columns that rules can look at.
    pub join: Option<&'a Join>,
    /// Whether rows that rules and the assembly drop stay, with the rule beside them.
    pub tag_dropped: bool,
    /// What makes records of rows; none where rows stay rows.
    pub maker: Option<Maker<'a>>,
    /// Takes note of every row of the store, for a comparison.
    pub noted: Option<&'a RefCell<Noted>>,
    /// Hears how far it is.
    pub progress: Progress<'a>,
}

impl Options<'_> {
    /// What becomes of the row `id`, which `rule` dropped.
    fn fate(&self, id: &str, rule: Option<&str>) -> Fate {
        match rule {
            None => Fate::Kept,
            Some(opt_out::RULE) => Fate::OptedOut,
            Some(rule) if self.removed.get(id).is_some_and(|removed| removed == rule) => Fate::Assembly,
            Some(_) => Fate::Rules,
        }
    }
}

/// What an export wrote.
#[derive(Debug, Default, serde::Serialize)]
pub struct Exported {
    /// The account of the store's rows.
    pub changes: Counts,
    /// Rows by split.
    pub splits: BTreeMap<String, u64>,
    /// Rows of repositories that are mostly in another split.
    pub rows_of_several_splits: u64,
    /// Attached forks that leave out what their root may have no more: rows may be missing until they are mined again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub incomplete: Vec<String>,
    /// What was masked; none without redaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masked: Option<Masked>,
    /// Shard files, relative to the export.
    pub shards: Vec<String>,
    /// How records were made.
    #[serde(flatten)]
    pub making: Option<Making>,
}

/// Writes the rows of `store` to the directory `out`: files of rows, `manifest.json` and, where the format has one, the
/// card.
///
/// # Errors
/// `out` exists, can't be written, or the store is damaged; `out` then does not exist.
pub fn export(store: &Store, out: &Path, options: &Options<'_>) -> Result<Exported, export::Error> {
    if out.exists() {
        let source = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
        return Err(store::Error::Io { path: out.to_owned(), source }.into());
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
        // While that lasts, the mark tells what is left of a killed process.
        export::sync(&temporary)?;
        fs::remove_file(&mark).map_err(io_error(&mark))?;
        fs::rename(&temporary, out).map_err(io_error(out))?;
        // Where that fails, a power cut takes the whole export or nothing of it.
        let _is_there = export::sync_one(parent(out));
        Ok(exported)
    });
    drop((held, lock));
    if result.is_err() {
        // The first error is the one to report.
        let _second_error = fs::remove_dir_all(&temporary);
    }
    result
}

/// The directory that `out` is in.
fn parent(out: &Path) -> &Path {
    out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// In a directory that is being written.
const UNFINISHED: &str = ".gitlode-unfinished";

/// Removes what killed exports to `out` left beside it.
fn remove_remains(out: &Path) {
    let Some(name) = out.file_name().map(|name| format!("{}.gitlode-", name.to_string_lossy())) else { return };
    for entry in fs::read_dir(parent(out)).into_iter().flatten().flatten() {
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

/// A row as it goes out.
#[derive(Clone, Copy)]
pub(super) struct Going<'a> {
    /// The row, masked.
    pub sample: &'a Sample<'a>,
    /// The number of its split.
    pub split: usize,
    /// Whether it is also in a repository of another split.
    pub is_divided: bool,
    /// The rules that would drop it.
    pub verdicts: &'a [String],
}

/// Which rows of a store an export takes.
pub(super) struct Judge<'a> {
    opt_outs: OptOuts,
    /// What splits go by; nothing where there is one split.
    histories: Histories,
    pub(super) options: &'a Options<'a>,
}

impl Judge<'_> {
    /// The texts of a row as rules rewrote them, and the rules that would drop it where such rows are tagged and stay.
    ///
    /// # Errors
    /// The rule by which it is left out.
    pub(super) fn judge<'t, 'r: 't>(&'t self, row: &mut Row<'r>) -> Result<(Texts<'t>, Vec<String>), String> {
        let Options { removed, rules, join, tag_dropped, .. } = self.options;
        if self.opt_outs.find(row.sample.into()).is_some() {
            return Err(opt_out::RULE.to_owned());
        }
        let mut verdicts = Vec::new();
        match removed.get(row.sample.id) {
            // Who opted out is no matter of selection.
            Some(rule) if !tag_dropped || rule == opt_out::RULE => return Err(rule.clone()),
            removed => verdicts.extend(removed.cloned()),
        }
        if let Some(values) = join.and_then(|join| join.find(row.sample.id)) {
            row.columns.to_mut().extend(values);
        }
        match trial::judge_row(rules, row) {
            Ok(texts) => Ok((texts, verdicts)),
            Err(dropped) if *tag_dropped => {
                verdicts.push(dropped.rule);
                Ok((rules.texts(row.sample.subject, row.sample.message), verdicts))
            }
            Err(dropped) => Err(dropped.rule),
        }
    }

    /// Hands a row to `each`: as rules rewrote it, and as it goes out, which is masked.
    ///
    /// # Errors
    /// The rule by which it is left out.
    pub(super) fn with<T>(
        &self,
        row: &mut Row<'_>,
        scratch: &mut redact::Scratch,
        each: impl FnOnce(&Sample<'_>, Going<'_>) -> T,
    ) -> Result<T, String> {
        let (texts, verdicts) = self.judge(row)?;
        let (subject, message) = (texts.last_subject(), texts.last_message());
        let whole = Sample { subject, message, ..row.sample.clone() };
        match self.options.redaction.map_or(redact::Fate::Clean, |redaction| redaction.redact(&whole, scratch)) {
            redact::Fate::Drop(rule, _) => Err(rule.to_owned()),
            fate => {
                let key = || self.histories.key(whole.commit, whole.repos, row.checkpoint);
                let (split, is_divided) =
                    self.options.splits.of(key, || self.histories.keys_of(whole.repos, row.checkpoint));
                Ok(each(&whole, Going { sample: &fate.sample(&whole), split, is_divided, verdicts: &verdicts }))
            }
        }
    }
}

/// Where rows and records go: to their files, or to those that are put into another order first.
struct Outlet<'a> {
    writer: Writer<'a>,
    shuffle: Option<Shuffle>,
    maker: Option<Maker<'a>>,
    /// What was pushed.
    pushed: u64,
    options: &'a Options<'a>,
}

impl<'a> Outlet<'a> {
    fn new(directory: &Path, options: &'a Options<'a>) -> Result<Self, export::Error> {
        let written = options.written;
        let shuffle = written.shuffle.map(|seed| Shuffle::new(&directory.join("shuffle"), seed)).transpose()?;
        let writer = Writer::new(directory, written)?;
        Ok(Outlet { writer, shuffle, maker: options.maker, pushed: 0, options })
    }

    fn push(&mut self, sample: &Sample<'_>, split: usize, records: &[Record]) -> Result<(), export::Error> {
        match (&mut self.shuffle, self.maker) {
            (Some(shuffle), Some(_)) => {
                self.pushed += records.len() as u64;
                records.iter().try_for_each(|record| shuffle.push(sample.id, split, &record.pack()))?;
            }
            (Some(shuffle), None) => {
                self.pushed += 1;
                let mut encoded = Vec::new();
                rows::encode(sample, &mut encoded);
                shuffle.push(sample.id, split, &encoded)?;
            }
            (None, Some(_)) => records.iter().try_for_each(|record| self.writer.push_record(record, split))?,
            (None, None) => self.writer.push(sample, split)?,
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<Shard>, export::Error> {
        let Outlet { mut writer, shuffle, maker, pushed, options } = self;
        if let Some(shuffle) = shuffle {
            let mut counter = Counter::new(options.progress, Step::Shuffling, pushed);
            shuffle.drain(&mut |split, mut row| {
                go_on(options.written.interrupt)?;
                counter.row();
                match maker {
                    Some(_) => writer.push_record(&Record::unpack(row).expect("what was spilled were records"), split),
                    None => writer.push(&rows::decode(&mut row).expect("what was spilled were rows"), split),
                }
            })?;
            counter.end();
        }
        writer.finish()
    }
}

fn write_export(store: &Store, directory: &Path, options: &Options<'_>) -> Result<Exported, export::Error> {
    let Options { written, splits, maker, redaction, .. } = options;
    let mut outlet = Outlet::new(directory, options)?;
    let (mut exported, mut facts) = (Exported::default(), Facts::default());
    let mut by_split: Vec<u64> = vec![0; written.splits.len()];
    let histories = match splits.names().len() {
        1 => Histories::default(),
        _ => Histories::of(&store.batches()?.into_iter().map(|(_, batch)| batch).collect::<Vec<_>>()),
    };
    let judge = Judge { opt_outs: purge::opt_outs(store)?, histories, options };
    let mut known = maker.map(|maker| Known::of(maker, store, directory, &judge)).transpose()?;
    let mut records = Vec::new();
    let (mut scratch, mut answers) = (redact::Scratch::default(), redact::Scratch::default());
    let mut counter = Counter::new(options.progress, Step::Writing, rows_in(store)?);
    let checkpoints = for_each_or(store, written.interrupt, |mut row| -> Result<(), export::Error> {
        counter.row();
        let repository = &row.checkpoint.repository;
        let source = [&*repository.name, &*repository.identity];
        let mut each = |whole: &Sample<'_>, going: Going<'_>| -> Result<Result<(), &'static str>, export::Error> {
            let Going { sample, split, is_divided, .. } = going;
            records.clear();
            let mut mask = |contents: &str| {
                // What the prompt has is numbered first, so placeholders are the same in every answer to it.
                let answer = Sample { new_contents: Some(contents), message: "", subject: "", ..whole.clone() };
                match redaction.map(|redaction| redaction.redact(&answer, &mut answers)) {
                    Some(redact::Fate::Drop(rule, _)) => Err(rule),
                    fate => Ok(fate.and_then(|fate| fate.sample(&answer).new_contents.map(str::to_owned))),
                }
            };
            let made = known.as_mut().map(|known| known.write(&mut records, going, source, &mut mask));
            if let Some(Err(rule)) = made.transpose()? {
                return Ok(Err(rule));
            }
            by_split[split] += 1;
            exported.rows_of_several_splits += u64::from(is_divided);
            facts.see(sample);
            outlet.push(sample, split, &records)?;
            Ok(Ok(()))
        };
        let dropped = match judge.with(&mut row, &mut scratch, &mut each) {
            Ok(is_kept) => is_kept?.err().map(str::to_owned),
            Err(rule) => Some(rule),
        };
        if let Some(noted) = options.noted {
            let (id, identity) = (row.sample.id, &row.checkpoint.repository.identity);
            noted.borrow_mut().row(id, identity, options.fate(id, dropped.as_deref()))?;
        }
        match dropped {
            None => exported.changes.keep(),
            Some(rule) => exported.changes.drop_by(&rule),
        }
        Ok(())
    })?;
    counter.end();
    let shards = outlet.finish()?;
    exported.masked = redaction.filter(|redaction| redaction.digest().is_some()).map(|_| scratch.masked);
    exported.making = known.map(|known| known.finish(options, directory)).transpose()?;
    let by_split: BTreeMap<&str, Split> = splits
        .fractions()
        .zip(&by_split)
        .map(|((name, fraction), rows)| (name, Split { fraction, rows: *rows }))
        .collect();
    exported.splits = by_split.iter().map(|(name, split)| ((*name).to_owned(), split.rows)).collect();
    exported.incomplete = attached::incomplete(&checkpoints).into_iter().map(str::to_owned).collect();
    exported.shards = shards.iter().map(|shard| shard.file.clone()).collect();
    thread::scope(|scope| {
        // Meanwhile files of rows are on their way to disk, so that little is left to be brought there in the end.
        let files: Vec<_> = shards.iter().map(|shard| directory.join(&shard.file)).collect();
        let syncing = scope.spawn(move || export::sync_all(&files));
        describe(directory, options, &exported, &shards, &by_split, &facts, checkpoints)?;
        syncing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    Ok(exported)
}

/// Writes the manifest and the card.
fn describe(
    directory: &Path,
    options: &Options<'_>,
    exported: &Exported,
    shards: &[Shard],
    splits: &BTreeMap<&str, Split>,
    facts: &Facts,
    checkpoints: Vec<Checkpoint>,
) -> Result<(), export::Error> {
    let attached = Attached::new(checkpoints.iter());
    // What a fork leaves out depends on when it was mined; so it has no part in an account that is not to.
    let mut mined = Funnel::default();
    let of_roots = |checkpoint: &&Checkpoint| attached.root(&checkpoint.repository.identity).is_none();
    checkpoints.iter().filter(of_roots).for_each(|checkpoint| mined.add(&checkpoint.funnel));
    let forks: BTreeSet<&str> = checkpoints.iter().map(|checkpoint| &*checkpoint.repository.identity).collect();
    let forks = forks.into_iter().filter(|identity| attached.root(identity).is_some()).count();
    let input = |checkpoint: Checkpoint| {
        let repository = checkpoint.repository;
        Input {
            license: checkpoint.license,
            relicensed: checkpoint.relicensed.iter().map(|change| serde_json::json!(change)).collect(),
            is_incomplete: exported.incomplete.contains(&repository.name),
            root: repository.root,
            behind: checkpoint.behind.map(|behind| behind.tips).unwrap_or_default(),
            repository: repository.name,
            identity: repository.identity,
            tips: checkpoint.tips,
            hidden: checkpoint.hidden,
            tool: checkpoint.tool,
            recipe: checkpoint.recipe,
            rows: checkpoint.funnel.changes.kept,
        }
    };
    let inputs: Vec<Input> = checkpoints.into_iter().map(input).collect();
    let Options { written, rules, .. } = options;
    let licenses = Licenses::in_use();
    let about = About {
        options: written,
        shards,
        facts,
        splits,
        rows_of_several_splits: exported.rows_of_several_splits,
        inputs: &inputs,
        mined: &mined,
        forks,
        filter: (&rules.id, rules.digest()),
        assembly: options.assembly,
        masked: exported.masked.as_ref(),
        changes: &exported.changes,
        class: &|license| licenses.class(license).name(),
        making: exported.making.as_ref(),
    };
    let documents = documents::write(directory, &about)?;
    let manifest = Manifest {
        gitlode_export: 1,
        version: env!("CARGO_PKG_VERSION"),
        format: written.format,
        compression: written.compression,
        columns: written.columns,
        making: exported.making.as_ref(),
        shuffle: written.shuffle,
        shard_bytes_max: written.shard_bytes_max,
        rows: exported.changes.kept,
        splits,
        rows_of_several_splits: exported.rows_of_several_splits,
        filter: &rules.id,
        filter_digest: rules.digest(),
        assembly: options.assembly,
        dropped: &exported.changes.dropped,
        masked: exported.masked.as_ref(),
        shards,
        documents: &documents,
        inputs: &inputs,
    };
    store::write_json(&directory.join("manifest.json"), &manifest)?;
    Ok(())
}
