//! Mining: one repository at a time into the store, incrementally, and so that it can be killed at any moment.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashSet},
    panic::resume_unwind,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
    thread,
};

use gix::ObjectId;
use serde::Serialize;

use super::{
    candidate::Origin,
    extract::{self, Block},
    history::{History, Noted, TipLicense},
    job::Job,
    license,
    others::Others,
    plan::{self, Plan},
    recipe::{Recipe, Settings},
};
use crate::{
    filter::LicenseScope,
    git::{
        self,
        repository::{ObjectsRead, Repository, Revision},
        walk::{self, Span, Window},
    },
    sample::SCHEMA_VERSION,
    store::{
        self, Checkpoint, LedgerManifest, Relicensed, RepositoryId, Reversal, Roots, SegmentManifest, Store,
        attached::Behind, batch_stem, ledger::LedgerWriter, rows::Rows, segment, segment::SegmentWriter,
    },
    verdict::{Counts, Funnel},
};

/// What a thread takes at most beside what is counted, in bytes: a batch of rows while it is encoded, texts, numbered lines.
/// Where there is less memory than that for each, fewer threads work; 135 MB a thread were seen on git's own history.
const THREAD_BYTES: u64 = 256 << 20;

/// How to mine, as far as it doesn't decide what the rows are.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads for one repository, if there is memory for all of them.
    pub threads: usize,
    /// Memory for its history, for what threads remember of its objects, and for their rows, in bytes.
    pub memory: u64,
    /// Size in bytes after which a segment is sealed.
    pub segment_bytes_max: u64,
    /// Whether to count what a run would mine, and leave the store as it is.
    pub dry_run: bool,
    /// Whether to write down what rules dropped.
    pub ledger: bool,
    /// Where the repository is that this one is attached to: it may have commits that need not be mined twice.
    pub root: Option<PathBuf>,
}

/// What can stop the mining of one repository.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error(transparent)]
    Git(#[from] git::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("HEAD of {name} names no commit any more; its rows are kept")]
    NoTip { name: String },
    #[error("the history of {name} can't be read as far as it was mined; its rows are kept")]
    Unreadable { name: String },
    #[error("{name} is a shallow clone that lacks history which was mined; its rows are kept")]
    Shallower { name: String },
    #[error("{name} was mined before with other settings ({})", settings.join(", "))]
    OtherSettings { name: String, settings: Vec<String> },
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Git(error) => error.hint(),
            Error::Store(error) => error.hint(),
            Error::NoTip { .. } => {
                Some("--rev NAME mines another branch, in place of the earlier rows with --replace".into())
            }
            Error::Unreadable { .. } => Some("see `git fsck`, or mine a new clone".into()),
            Error::Shallower { .. } => {
                Some("run `git fetch --unshallow` in it, or mine what is left with --replace".into())
            }
            Error::OtherSettings { settings, .. } if settings.iter().any(|name| name == "license") => {
                Some("the list declares another licence now; add --replace to mine the repository again with it".into())
            }
            Error::OtherSettings { .. } => {
                Some("add --replace to mine it again and replace its rows, or use another --store".into())
            }
        }
    }

    /// Whether it takes more memory than it was given.
    pub fn is_of_memory(&self) -> bool {
        matches!(self, Error::Git(git::Error::Memory { .. }))
    }

    /// Whether it is the user's wish to stop.
    pub fn is_interruption(&self) -> bool {
        matches!(self, Error::Git(git::Error::Interrupted))
    }
}

/// How far the mining of a repository is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Progress {
    /// Commits are being listed.
    Walking,
    /// Trees are being compared, in commits.
    Comparing { done: u64, total: u64 },
    /// Rows are being made, in changes.
    Extracting { done: u64, total: u64, rows: u64 },
}

/// What became of a repository.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Whether it was left out for the licence that its list declares.
    pub skipped_by_license: bool,
    /// Whether it was left out since its owner opted out.
    pub opted_out: bool,
    /// Whether there was nothing new.
    pub unchanged: bool,
    /// Whether earlier rows were replaced.
    pub replaced: bool,
    /// So many earlier rows were.
    pub rows_replaced: u64,
    /// Whether history was skipped since objects were missing or corrupt, now or when earlier rows were mined.
    pub has_holes: bool,
    /// Rows that were mined now.
    pub rows: u64,
    /// Bytes of the new segments.
    pub bytes: u64,
    /// New segments.
    pub segments: usize,
    /// How many of them an interrupted run had left.
    pub segments_resumed: usize,
    /// Objects that were decoded for it.
    pub objects_read: ObjectsRead,
    /// The account of what was mined now.
    pub funnel: Funnel,
}

/// Mines the repository at `path` into `store`; without a store, only counts.
///
/// # Errors
/// The repository can't be opened, the store can't be written, other settings without `replace`, or an interruption.
pub fn mine_repository(
    store: Option<&Store>,
    id: &RepositoryId,
    path: &Path,
    settings: &Settings,
    options: &Options,
    interrupt: &AtomicBool,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Report, Error> {
    let Settings { recipe, rules, .. } = settings;
    progress(Progress::Walking);
    let threads = options.threads.min(usize::try_from(options.memory / THREAD_BYTES).unwrap_or(usize::MAX)).max(1);
    let options = &Options { threads, ..options.clone() };
    let repository = Repository::open(path)?.with_memory(options.memory, threads);
    let tips = repository.tips(&recipe.revision)?;
    let license = TipLicense::new(&repository, &tips);
    let Due { mut batch, walked, history } = match Work::find(store, id, settings, &license, options, interrupt)? {
        Work::Due(due) => *due,
        Work::UpToDate { has_holes, visible } => {
            if let Some(store) = store.filter(|_| !options.dry_run) {
                // A run that was killed right behind its checkpoint left the rows that this replaced.
                store::sweep_around(&store.directory(&id.identity), &visible, &[])?;
            }
            return Ok(Report { unchanged: true, has_holes, ..Report::default() });
        }
    };
    let on_compare = |done, total| progress(Progress::Comparing { done, total });
    batch.note_license(&license);
    // Rules see what the list says last where nothing else is known.
    let declared = || recipe.license.as_deref().map(crate::classify::license::declared);
    let repository_license = batch.license.clone().or_else(declared);
    let origin = Origin {
        name: &id.name,
        columns: Cow::Borrowed(&id.columns),
        license: repository_license.as_deref(),
        scope: rules.license_scope,
    };
    let opt_outs = Some(settings.opt_outs.as_ref()).filter(|opt_outs| !opt_outs.is_empty());
    let job = Job { recipe, rules, origin: &origin, opt_outs };
    let mut ledger = match &batch.directory {
        Some(directory) if options.ledger && (!rules.is_empty() || opt_outs.is_some()) => {
            Some(LedgerWriter::new(directory, &batch.stem())?)
        }
        _ => None,
    };
    let (plan, concluded) = thread::scope(|scope| {
        let concluded = scope.spawn(|| history.conclude(&repository, interrupt));
        let plan = plan::plan(&repository, walked, job, threads, interrupt, &on_compare, &mut |dropped| {
            ledger.as_mut().map_or(Ok(()), |ledger| Ok::<_, Error>(ledger.add(dropped)?))
        });
        (plan, concluded.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    let mut plan = plan?;
    // What could not be read for the other must not pass for its outcome.
    repository.check()?;
    (batch.reversals, batch.roots) = concluded?;
    batch.ledger = ledger.map(LedgerWriter::seal).transpose()?.flatten();
    if plan.early.has_lost_objects() || plan.commits_skipped.has_lost_objects() {
        repository.check_files()?;
    }
    batch.resume(&plan)?;
    let from = batch.segments.last().map_or(0, |segment| segment.block_to);
    let total = plan.candidates.len() as u64;
    let mut writing = Writing { repository: &repository, batch: &mut batch, segment: None, options };
    let mut rows = 0;
    let keep = writing.batch.directory.is_some();
    extract::extract(&repository, &plan, job, from, threads, keep, interrupt, |number, block| {
        rows += block.changes.kept;
        writing.add(number, block)?;
        let done = ((number + 1) * plan::CHANGES_PER_BLOCK as u64).min(total);
        progress(Progress::Extracting { done, total, rows });
        Ok::<_, Error>(())
    })?;
    thread::scope(|scope| {
        // Disks are waited for, so there is time to free what is not needed any more.
        let candidates = std::mem::take(&mut plan.candidates);
        scope.spawn(move || drop(candidates));
        writing.seal()
    })?;
    batch.complete(&plan, id, &tips, recipe, repository.objects_read())
}

/// What the repository at `path` says at its tip of its licence; the outer `None` where that can't be told: there is not one tip,
/// or something that may say it can't be read.
///
/// # Errors
/// It can't be opened, or its references not be read.
pub fn license_at_tip(path: &Path, revision: &Revision) -> Result<Option<Option<String>>, git::Error> {
    let repository = Repository::open(path)?;
    let tips = repository.tips(revision)?;
    let [tip] = tips[..] else { return Ok(None) };
    let is_legible = license::is_legible(&repository, tip);
    Ok(is_legible.then(|| license::of_repository(&repository, tip).and_then(|found| found.expression)))
}

pub fn has_holes(funnel: &Funnel) -> bool {
    funnel.commits.has_lost_objects() || funnel.changes.has_lost_objects()
}

/// A batch that is to be mined.
struct Due {
    batch: Batch,
    /// The commits in it.
    walked: walk::Walked,
    history: History,
}

/// What there is to do.
enum Work {
    /// Nothing new beside the batches that are there.
    UpToDate { has_holes: bool, visible: Vec<Checkpoint> },
    /// A batch to be mined.
    Due(Box<Due>),
}

impl Work {
    fn find(
        store: Option<&Store>,
        id: &RepositoryId,
        settings: &Settings,
        license: &TipLicense<'_>,
        options: &Options,
        interrupt: &AtomicBool,
    ) -> Result<Work, Error> {
        let TipLicense { repository, tips, .. } = *license;
        let (Settings { recipe, rules, renews, .. }, replace) = (settings, settings.is_to_replace());
        let directory = store.map(|store| store.directory(&id.identity));
        let earlier = directory.as_deref().map(store::visible).transpose()?.unwrap_or_default();
        if let Some(directory) = directory.as_deref().filter(|_| !replace) {
            store::check_presence(directory, &earlier)?;
        }
        let mut batch = Batch {
            directory: directory.filter(|_| !options.dry_run),
            identity: id.identity.clone(),
            ..Batch::default()
        };
        batch.shallow =
            hex(&repository.shallow().iter().copied().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>());
        batch.has_holes = earlier.iter().any(|batch| has_holes(&batch.funnel));
        batch.rows_before = earlier.iter().map(|batch| batch.funnel.changes.kept).sum();
        let mut hidden = Vec::new();
        batch.generation = 1;
        if let Some(last) = earlier.last() {
            batch.generation = last.generation;
            batch.batch = last.batch + 1;
            (batch.before, batch.relicensed) =
                (Some((last.license.clone(), last.tips.clone())), last.relicensed.clone());
            let older = Recipe::read(&last.recipe);
            // A clone that was deepened shows what commits change that could not be compared before.
            let same_edge = last.shallow == batch.shallow;
            // Rules that look at the repository's licence or at a column judge all of its history by it.
            let by_license = rules.license_scope == LicenseScope::Repository && !rules.is_empty();
            let same_license = !by_license || license.get() == last.license.as_deref();
            let same_columns = !rules.read_columns() || last.repository.columns == id.columns;
            // What was left out has to be somewhere.
            let same_root = match (store, &last.behind) {
                (Some(store), Some(behind)) => {
                    let of_root = store::visible(&store.directory(&behind.root)).unwrap_or_default();
                    id.root.as_ref() == Some(&behind.root) && behind.holds(&of_root)
                }
                _ => true,
            };
            let same_facts = same_edge && same_license && same_columns && same_root;
            let same = older.as_ref().is_ok_and(|older| older == recipe) && same_facts && !replace;
            if same && last.tips == hex(tips) && last.repository == *id {
                return Ok(Work::UpToDate { has_holes: batch.has_holes, visible: earlier });
            }
            let settings = older.map_or_else(|_| vec!["recipe".into()], |older| recipe.differences(&older));
            if !settings.is_empty() && !replace && !renews {
                return Err(Error::OtherSettings { name: id.name.clone(), settings });
            }
            let edge_is_new = batch.shallow.iter().any(|id| !last.shallow.contains(id));
            if edge_is_new && !replace && !reaches_as_far(repository, tips, &earlier, interrupt)? {
                return Err(Error::Shallower { name: id.name.clone() });
            }
            hidden = last.tips.iter().filter_map(|tip| ObjectId::from_hex(tip.as_bytes()).ok()).collect();
            if !same {
                batch.restart(&mut hidden);
            }
        }
        if tips.is_empty() && !earlier.is_empty() {
            return Err(Error::NoTip { name: id.name.clone() });
        }
        let attached = match store {
            Some(store) => Others::find(store, id, settings, &|| license.get(), options, interrupt)?,
            None => None,
        };
        let none = HashSet::new();
        let others = attached.as_ref().map_or(&none, |attached| &attached.commits);
        let walk = |hidden: &[ObjectId]| {
            let span = Span { tips, hidden, others, window: recipe.window };
            thread::scope(|scope| {
                // A history that is a line leaves all threads but one with little to do.
                (options.threads > 1).then(|| scope.spawn(|| (license.get(), extract::prepare())));
                walk::walk(repository, span, options.threads, interrupt, Noted::default())
            })
        };
        let (mut walked, mut noted) = walk(&hidden)?;
        if !walked.continues {
            // Only a history that was read whole can show that it was rewritten.
            if walked.skipped.has_lost_objects() {
                return Err(Error::Unreadable { name: id.name.clone() });
            }
            batch.restart(&mut hidden);
            (walked, noted) = walk(&hidden)?;
        }
        // What the batches before leave out stays left out.
        let carried = || earlier.last().filter(|_| !batch.replaced).and_then(|last| last.behind.clone());
        let behind = attached.as_ref().map(|attached| attached.behind.clone());
        batch.behind = behind.or_else(carried);
        batch.hidden = hex(&hidden);
        batch.set_digest(id, tips, settings, options);
        let before = if batch.batch == 0 { Vec::new() } else { earlier };
        Ok(Work::Due(Box::new(Due { batch, walked, history: History { noted, before, attached } })))
    }
}

/// Whether a clone whose edge moved shows all that the batches `earlier` saw: each commit of the old edge, and no fewer
/// commits than before. A clone that had no edge can only have lost something.
fn reaches_as_far(
    repository: &Repository,
    tips: &[ObjectId],
    earlier: &[Checkpoint],
    interrupt: &AtomicBool,
) -> Result<bool, Error> {
    let Some(last) = earlier.last().filter(|last| !last.shallow.is_empty()) else { return Ok(false) };
    let seen: u64 = earlier.iter().map(|batch| batch.funnel.commits.candidates).sum();
    let span = Span { tips, hidden: &[], others: &HashSet::new(), window: Window::default() };
    let (now, ()) = walk::walk(repository, span, 1, interrupt, ())?;
    let is_there = |id: &String| ObjectId::from_hex(id.as_bytes()).is_ok_and(|id| now.trees.contains_key(&id));
    Ok(now.trees.len() as u64 >= seen && last.shallow.iter().all(is_there))
}

fn hex(ids: &[ObjectId]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

/// The batch that is being mined.
#[derive(Default)]
struct Batch {
    /// None for a dry run.
    directory: Option<PathBuf>,
    generation: u32,
    batch: u32,
    replaced: bool,
    /// Rows of the batches before.
    rows_before: u64,
    /// Whether the batches before lack history, for damage.
    has_holes: bool,
    hidden: Vec<String>,
    shallow: Vec<String>,
    license: Option<String>,
    /// The licence and the tips of the batch before; none where there is none.
    before: Option<(Option<String>, Vec<String>)>,
    /// How the licence changed.
    relicensed: Vec<Relicensed>,
    /// What it and the batches before leave out.
    behind: Option<Behind>,
    /// What its commits take back.
    reversals: Vec<Reversal>,
    /// What they go back to.
    roots: Option<Roots>,
    /// What rules dropped before a blob was read.
    ledger: Option<LedgerManifest>,
    identity: String,
    digest: String,
    segments: Vec<SegmentManifest>,
    /// How many of them an interrupted run had left.
    resumed: usize,
    /// The account of blocks that a dry run did not write.
    unwritten: Counts,
    commits: HashSet<u32>,
}

impl Batch {
    /// Begins a new generation: history was rewritten or deepened, or the settings changed.
    fn restart(&mut self, hidden: &mut Vec<ObjectId>) {
        if !self.replaced {
            self.generation += 1;
        }
        self.replaced = true;
        self.batch = 0;
        hidden.clear();
    }

    /// Takes note of the licence at the tip, and of what it was: of several tips nothing can be said.
    fn note_license(&mut self, license: &TipLicense<'_>) {
        let TipLicense { repository, tips, .. } = *license;
        let license = license.get().map(str::to_owned);
        if let ([tip], Some((before, of))) = (tips, self.before.take())
            && before != license
            && of.len() == 1
            && license::is_legible(repository, *tip)
        {
            // A tip that can't be read is skipped, and has no time.
            let time = walk::time_of(repository, *tip).unwrap_or_default();
            self.relicensed.push(Relicensed { from: before, to: license.clone(), tip: tip.to_string(), time });
        }
        self.license = license;
    }

    fn set_digest(&mut self, id: &RepositoryId, tips: &[ObjectId], settings: &Settings, options: &Options) {
        let (recipe, opt_outs) = (&settings.recipe, settings.opt_outs.digest());
        let version = (env!("CARGO_PKG_VERSION"), SCHEMA_VERSION, options.ledger);
        let what = serde_json::json!([id, hex(tips), self.hidden, self.shallow, recipe, version, opt_outs]);
        let what = self.behind.as_ref().map_or(what.clone(), |behind| serde_json::json!([what, behind]));
        self.digest = blake3::hash(what.to_string().as_bytes()).to_hex().to_string();
    }

    fn stem(&self) -> String {
        batch_stem(self.generation, self.batch)
    }

    /// Finds the segments that an interrupted run of this very batch sealed, and removes all other remains.
    fn resume(&mut self, plan: &Plan) -> Result<(), Error> {
        let Some(directory) = &self.directory else { return Ok(()) };
        let stem = self.stem();
        let mut expected = 0;
        for (path, name) in store::json_files(directory)? {
            if !name.starts_with(&format!("{stem}-")) {
                continue;
            }
            let Ok(manifest) = std::fs::read(&path)
                .map_err(store::io_error(&path))
                .and_then(|text| store::parse::<SegmentManifest>(&path, &text))
            else {
                break;
            };
            if manifest.batch_digest != self.digest
                || manifest.block_from != expected
                || segment::verify(directory, &manifest, &mut HashSet::new()).is_err()
            {
                break;
            }
            expected = manifest.block_to;
            self.segments.push(manifest);
        }
        self.resumed = self.segments.len();
        // What was sealed for other tips or settings is of no use any more.
        let stem = self.stem();
        let mut keep: Vec<&str> = self.segments.iter().map(|segment| segment.file.trim_end_matches(".arrow")).collect();
        keep.extend(self.ledger.as_ref().map(|_| stem.as_str()));
        store::sweep(directory, &keep)?;
        self.recall_commits(plan)
    }

    fn recall_commits(&mut self, plan: &Plan) -> Result<(), Error> {
        let Some(directory) = &self.directory else { return Ok(()) };
        let numbers: std::collections::HashMap<String, u32> = if self.segments.is_empty() {
            Default::default()
        } else {
            (0..).zip(&plan.commits).map(|(number, commit)| (commit.id.to_string(), number)).collect()
        };
        for manifest in &self.segments {
            for batch in segment::read(&directory.join(&manifest.file))? {
                let rows = Rows::new(&batch?).map_err(store::Error::from)?;
                self.commits.extend((0..rows.len()).filter_map(|at| numbers.get(rows.get(at).commit)));
            }
        }
        Ok(())
    }

    fn complete(
        self,
        plan: &Plan,
        id: &RepositoryId,
        tips: &[ObjectId],
        recipe: &Recipe,
        objects_read: ObjectsRead,
    ) -> Result<Report, Error> {
        let mut funnel = Funnel { commits: plan.commits_skipped.clone(), changes: plan.early.clone() };
        plan.count_commits(&self.commits, &mut funnel.commits);
        funnel.changes.add(&self.unwritten);
        for segment in &self.segments {
            funnel.changes.add(&segment.changes);
        }
        let report = Report {
            skipped_by_license: false,
            opted_out: false,
            unchanged: false,
            replaced: self.replaced,
            rows_replaced: if self.replaced { self.rows_before } else { 0 },
            has_holes: has_holes(&funnel) || (self.has_holes && !self.replaced),
            rows: funnel.changes.kept,
            bytes: self.segments.iter().map(|segment| segment.bytes).sum(),
            segments: self.segments.len(),
            segments_resumed: self.resumed,
            objects_read,
            funnel: funnel.clone(),
        };
        let Some(directory) = &self.directory else { return Ok(report) };
        std::fs::create_dir_all(directory).map_err(store::io_error(directory))?;
        let path = directory.join(format!("{}.json", self.stem()));
        let checkpoint = Checkpoint {
            format: store::FORMAT_VERSION,
            schema: SCHEMA_VERSION,
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            repository: id.clone(),
            generation: self.generation,
            batch: self.batch,
            tips: hex(tips),
            hidden: self.hidden,
            shallow: self.shallow,
            license: self.license,
            relicensed: self.relicensed,
            reversals: self.reversals,
            roots: self.roots,
            begin: None,
            behind: self.behind,
            recipe: serde_json::to_value(recipe)
                .map_err(|e| store::Error::BadManifest { path: path.clone(), reason: e.to_string() })?,
            early: plan.early.clone(),
            ledger: self.ledger,
            segments: self.segments,
            funnel,
            blake3: String::new(),
        };
        checkpoint.write(&path)?;
        store::sweep(directory, &[])?;
        Ok(report)
    }
}

/// Cuts the stream of blocks into segments.
struct Writing<'a> {
    repository: &'a Repository,
    batch: &'a mut Batch,
    segment: Option<Open>,
    options: &'a Options,
}

struct Open {
    writer: SegmentWriter,
    ledger: Option<LedgerWriter>,
    block_from: u64,
    block_to: u64,
    changes: Counts,
}

impl Writing<'_> {
    fn add(&mut self, number: u64, block: Block) -> Result<(), Error> {
        self.batch.commits.extend(block.commits);
        let Some(directory) = &self.batch.directory else {
            self.batch.unwritten.add(&block.changes);
            return Ok(());
        };
        if self.segment.is_none() {
            let stem = format!("{}-{:06}", self.batch.stem(), self.batch.segments.len());
            let writer = SegmentWriter::new(directory, &stem)?;
            self.segment =
                Some(Open { writer, ledger: None, block_from: number, block_to: number, changes: Counts::default() });
        }
        if let Some(open) = &mut self.segment {
            for (message, rows) in &block.batches {
                open.writer.append(message, *rows)?;
            }
            open.changes.add(&block.changes);
            for dropped in block.drops.into_iter().filter(|_| self.options.ledger) {
                if open.ledger.is_none() {
                    let stem = format!("{}-{:06}", self.batch.stem(), self.batch.segments.len());
                    open.ledger = Some(LedgerWriter::new(directory, &stem)?);
                }
                open.ledger.as_mut().map_or(Ok(()), |ledger| ledger.add(dropped))?;
            }
            open.block_to = number + 1;
            if open.writer.bytes() >= self.options.segment_bytes_max {
                self.seal()?;
            }
        }
        Ok(())
    }

    fn seal(&mut self) -> Result<(), Error> {
        if self.batch.unwritten.has_lost_objects() {
            self.repository.check_files()?;
        }
        let Some(open) = self.segment.take() else { return Ok(()) };
        // What a failing disk hid must not be sealed as missing: the next run would take it for done.
        if open.changes.has_lost_objects() {
            self.repository.check_files()?;
        }
        let ledger = open.ledger.map(LedgerWriter::seal).transpose()?.flatten();
        let manifest = SegmentManifest {
            ledger,
            file: String::new(),
            repository: self.batch.identity.clone(),
            batch_digest: self.batch.digest.clone(),
            schema: SCHEMA_VERSION,
            block_from: open.block_from,
            block_to: open.block_to,
            rows: 0,
            bytes: 0,
            blake3: String::new(),
            changes: open.changes,
        };
        self.batch.segments.push(open.writer.seal(manifest)?);
        Ok(())
    }
}
