//! From commits to rows: compares trees, sorts the changes by path so that versions of a file are neighbours, and
//! turns blocks of changes into encoded record batches.

use std::{
    borrow::Cow,
    cell::{OnceCell, RefCell},
    collections::{HashMap, HashSet},
    rc::Rc,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use gix::{ObjectId, objs::Kind};

use super::{
    candidate::{BlobView, CommitView, HeaderView, Origin, TreeView},
    license::{Directories, Found, Place, Resolver, is_evidence},
    ordered::ordered,
    recipe::Recipe,
};
use crate::{
    classify::{
        author::Authors,
        language::{Languages, PathFacts, commitpack::CommitPackLanguages},
        license, message,
        natural::{self, Judge, NaturalLanguages},
    },
    dedup::opt_out::{self, OptOuts, Work},
    filter::{Layer, Rule, Ruleset, Texts, View},
    git::{
        self,
        blobs::{Blobs, read},
        change::{Change, Changes, Directory, TreeDiff},
        diff,
        lines::Comparer,
        rename,
        repository::{Objects, Repository},
        text,
        trees::Trees,
        walk::{self, Commit, Walked},
    },
    sample::{ChangeKind, Sample, SampleId},
    store::{
        self,
        ledger::Dropped,
        rows::{Rows, RowsBuilder},
        segment::Encoder,
    },
    verdict::{Counts, Skip},
};

/// Commits that a thread compares in one go.
const COMMITS_PER_BLOCK: usize = 64;

/// Changes in a block, the unit of resuming.
pub const CHANGES_PER_BLOCK: usize = 128;

/// Longest message in bytes that becomes a row. Every change of a commit repeats it, so a commit of many files with a
/// message of megabytes would fill a disk. CommitPackFT takes messages below 10,000 characters.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Contents in a record batch, in bytes, after which a new one begins.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// A change that may become a row.
pub struct Candidate {
    /// Index into [`Plan::commits`].
    pub commit: u32,
    /// The change.
    pub change: Change,
    /// Position in [`Plan::directories`] of the nearest directory that says something about licences.
    pub directory: Option<u32>,
}

/// Everything that is known before a blob is read.
pub struct Plan {
    /// The compared commits, oldest first.
    pub commits: Vec<Commit>,
    /// Number of paths that each of them changes, and how many of those are there before and after.
    pub files_changed: Vec<(u32, u32)>,
    /// Candidates in the order of rows: by path, then by commit time and id.
    pub candidates: Vec<Candidate>,
    /// Directories with licence texts or package metadata.
    pub places: Vec<Place>,
    /// The account of changes that were decided without reading a blob.
    pub early: Counts,
    /// The account of commits that gave nothing to compare.
    pub commits_skipped: Counts,
    /// Compared commits that were counted in `commits_skipped`.
    pub commits_decided: HashSet<u32>,
}

impl Plan {
    /// Adds to `counts` the compared commits: those of `kept` have a row.
    pub fn count_commits(&self, kept: &HashSet<u32>, counts: &mut Counts) {
        for number in 0..u32::try_from(self.commits.len()).unwrap_or(u32::MAX) {
            if kept.contains(&number) {
                counts.keep();
            } else if !self.commits_decided.contains(&number) {
                counts.skip(Skip::NoChangeKept);
            }
        }
    }

    /// Number of blocks.
    pub fn blocks(&self) -> u64 {
        self.candidates.len().div_ceil(CHANGES_PER_BLOCK) as u64
    }
}

/// What is to be made of a repository.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The settings.
    pub recipe: &'a Recipe,
    /// The rules.
    pub rules: &'a Ruleset,
    /// What is known of the repository.
    pub origin: &'a Origin<'a>,
    /// Who does not want their work in the rows; none where nobody is to be asked.
    pub opt_outs: Option<&'a OptOuts>,
}

impl<'a> Job<'a> {
    /// Why a commit, or where there are paths one of its changes, is not wanted by those whose work it is.
    fn opt_out(&self, commit: ObjectId, facts: &Facts<'_>, paths: Files<'_>) -> Option<Refusal> {
        let work = Work {
            repositories: self.origin.name,
            commit: &commit.to_string(),
            paths: [paths.0, paths.1],
            people: [Some(&facts.author.email), Some(&facts.committer.email)],
            message: &facts.message,
        };
        let line = self.opt_outs?.find(work)?;
        let layer = if paths == (None, None) { Layer::Commit } else { Layer::Tree };
        Some(drop_as(opt_out::RULE.to_owned(), layer, commit, paths, line, String::new()))
    }

    /// All versions of subject and message that rules see, the last of which are the row's.
    fn texts<'t>(&self, message: &'t str) -> Texts<'t>
    where
        'a: 't,
    {
        match message::apply_trailers(message, self.recipe.trailers) {
            Cow::Borrowed(message) => self.rules.texts(message::subject(message), message),
            Cow::Owned(message) => self.rules.texts(message::subject(&message).to_owned(), message),
        }
    }
}

/// Why a candidate is no row.
#[derive(Debug)]
pub enum Refusal {
    /// It can't be one.
    Skip(Skip),
    /// A rule dropped it.
    Drop(Box<Dropped>),
}

impl From<Skip> for Refusal {
    fn from(skip: Skip) -> Self {
        Refusal::Skip(skip)
    }
}

impl Refusal {
    fn count(&self, counts: &mut Counts) {
        match self {
            Refusal::Skip(skip) => counts.skip(*skip),
            Refusal::Drop(dropped) => counts.drop_by(&dropped.rule),
        }
    }
}

fn dropped(
    rule: &Rule,
    layer: Layer,
    view: &dyn View,
    texts: &Texts<'_>,
    commit: ObjectId,
    files: Files<'_>,
) -> Refusal {
    let (value, bound) = rule.observe(view, texts);
    drop_as(rule.id.clone(), layer, commit, files, value, bound)
}

fn drop_as(rule: String, layer: Layer, commit: ObjectId, files: Files<'_>, value: String, bound: String) -> Refusal {
    let id = (files != (None, None))
        .then(|| SampleId::of(commit.as_bytes(), files.0.map(str::as_bytes), files.1.map(str::as_bytes)).to_hex());
    Refusal::Drop(Box::new(Dropped {
        commit: commit.to_string(),
        id,
        old_file: files.0.map(str::to_owned),
        new_file: files.1.map(str::to_owned),
        layer: layer.as_str(),
        rule,
        value,
        bound,
    }))
}

/// Sees all that rules can see of a candidate, and the texts.
pub type Observe<'a> = &'a dyn Fn(&Candidate, &dyn View, &Texts<'_>);

/// Old and new path.
type Files<'p> = (Option<&'p str>, Option<&'p str>);

/// The paths of a change as text.
fn files(change: &Change) -> Result<Files<'_>, Skip> {
    let text = |path: &'_ [u8]| std::str::from_utf8(path).map_err(|_| Skip::PathNotUtf8).map(str::len);
    text(&change.path)?;
    change.old_path.as_deref().map(text).transpose()?;
    // Checked above; the second look is free.
    let new = std::str::from_utf8(&change.path).unwrap_or_default();
    let old = change.old_path.as_deref().map_or(new, |path| std::str::from_utf8(path).unwrap_or_default());
    Ok((change.old.map(|_| old), change.new.map(|_| new)))
}

/// Compares every commit of `walked` with its first parent. `drops` hears of what rules dropped.
///
/// # Errors
/// An interruption, an error of the machine, or what `drops` returns.
pub fn plan<E: From<git::Error> + Send>(
    repository: &Repository,
    walked: Walked,
    job: Job<'_>,
    threads: usize,
    interrupt: &AtomicBool,
    progress: &(dyn Fn(u64, u64) + Sync),
    drops: &mut dyn FnMut(Dropped) -> Result<(), E>,
) -> Result<Plan, E> {
    let Walked { commits, trees, skipped, .. } = walked;
    let total = commits.len();
    let mut plan = Plan {
        files_changed: vec![(0, 0); total],
        candidates: Vec::new(),
        places: Vec::new(),
        early: Counts::default(),
        commits_skipped: skipped,
        commits_decided: HashSet::new(),
        commits: Vec::new(),
    };
    let mut directories = Directories::default();
    let comparing = Comparing { repository, job, trees: &trees, interrupt, tables: Tables::for_commits(0) };
    let compare = |trees: &mut Trees, block: u64| -> Result<Vec<Result<Compared, Refusal>>, E> {
        let from = block as usize * COMMITS_PER_BLOCK;
        let mut differ = TreeDiff::new(trees, job.recipe.commit_changes_max, interrupt);
        let mut compared = Vec::new();
        for commit in &commits[from..total.min(from + COMMITS_PER_BLOCK)] {
            if interrupt.load(Ordering::Relaxed) {
                return Err(git::Error::Interrupted.into());
            }
            compared.push(comparing.compare(&mut differ, commit));
        }
        // An interruption in the middle of the last comparison, too, must not pass for its outcome.
        if interrupt.load(Ordering::Relaxed) {
            return Err(git::Error::Interrupted.into());
        }
        repository.check()?;
        Ok(compared)
    };
    let blocks = total.div_ceil(COMMITS_PER_BLOCK) as u64;
    ordered(
        threads,
        0..blocks,
        || Trees::new(repository, is_evidence),
        compare,
        |block, compared| {
            for (at, compared) in compared.into_iter().enumerate() {
                repository.hold(compared.as_ref().map_or(0, Compared::bytes))?;
                plan.add(block as usize * COMMITS_PER_BLOCK + at, compared, &mut directories, drops)?;
            }
            progress(((block + 1) * COMMITS_PER_BLOCK as u64).min(total as u64), total as u64);
            Ok(())
        },
    )?;
    plan.candidates.sort_by(|a, b| {
        let key = |c: &Candidate| (c.commit, c.change.kind);
        a.change.path.cmp(&b.change.path).then_with(|| key(a).cmp(&key(b)))
    });
    plan.commits = commits;
    plan.places = directories.into_places();
    Ok(plan)
}

/// Compares single commits, on any thread.
struct Comparing<'a> {
    repository: &'a Repository,
    job: Job<'a>,
    trees: &'a HashMap<ObjectId, ObjectId>,
    interrupt: &'a AtomicBool,
    tables: Tables,
}

impl Comparing<'_> {
    /// What a message rule drops is not compared; what a path rule drops is no candidate.
    fn compare(&self, differ: &mut TreeDiff<'_>, commit: &Commit) -> Result<Compared, Refusal> {
        let Job { recipe, rules, origin, opt_outs } = self.job;
        let judged = rules.has(Layer::Commit) || rules.has(Layer::Tree) || opt_outs.is_some();
        // What has no message that can be read is skipped later, for that reason.
        let objects = differ.objects();
        let mut buffer = Vec::new();
        let facts = judged.then(|| Facts::read(objects, self.repository, commit, &mut buffer).ok()).flatten();
        if let Some(refusal) = facts.as_ref().and_then(|facts| self.job.opt_out(commit.id, facts, (None, None))) {
            return Err(refusal);
        }
        let seen = facts.as_ref().map(|facts| {
            let view =
                CommitView::new(origin, commit.id.to_string(), facts, &self.tables.authors, recipe.message_language);
            (view, self.job.texts(&facts.message))
        });
        if let Some((view, texts)) = &seen
            && let Some(rule) = rules.judge(Layer::Commit, view, texts)
        {
            return Err(dropped(rule, Layer::Commit, view, texts, commit.id, (None, None)));
        }
        let parent_tree = match commit.parent {
            None => Ok(None),
            Some(parent) => match self.trees.get(&parent) {
                Some(tree) => Ok(Some(*tree)),
                None => walk::tree_of(self.repository, objects, parent).map(Some),
            },
        };
        let mut changes = differ.compare(parent_tree.map_err(|error| error.skip())?, commit.tree)?;
        let files_changed = (u32::try_from(changes.len()).unwrap_or(u32::MAX), changes.modified);
        if files_changed.0 == 0 {
            return Err(Skip::NoChange.into());
        }
        if recipe.renames {
            rename::detect(differ.objects(), &mut changes, self.interrupt);
        }
        let Changes { regular, skipped, directories, .. } = changes;
        let mut compared =
            Compared { files_changed, directories, candidates: Vec::new(), counts: skipped, drops: Vec::new() };
        for change in regular {
            let refusal = self.refusal(commit, &change, files_changed, seen.as_ref(), facts.as_ref());
            match refusal {
                None => compared.candidates.push(change),
                Some(refusal) => {
                    refusal.count(&mut compared.counts);
                    if let Refusal::Drop(dropped) = refusal {
                        compared.drops.push(*dropped);
                    }
                }
            }
        }
        Ok(compared)
    }

    fn refusal(
        &self,
        commit: &Commit,
        change: &Change,
        files_changed: (u32, u32),
        seen: Option<&(CommitView<'_>, Texts<'_>)>,
        facts: Option<&Facts<'_>>,
    ) -> Option<Refusal> {
        let Job { recipe, rules, opt_outs, .. } = self.job;
        if !recipe.kinds.contains(&change.kind) {
            return Some(Refusal::Skip(match change.kind {
                ChangeKind::Modified => Skip::KindModified,
                ChangeKind::Added => Skip::KindAdded,
                ChangeKind::Deleted => Skip::KindDeleted,
                ChangeKind::Renamed => Skip::KindRenamed,
            }));
        }
        let ((view, texts), Ok((old_file, new_file))) = (seen?, files(change)) else { return None };
        if opt_outs.is_some_and(OptOuts::has_paths)
            && let Some(refusal) = self.job.opt_out(commit.id, facts?, (old_file, new_file))
        {
            return Some(refusal);
        }
        let view = TreeView {
            commit: view,
            old_file,
            new_file,
            kind: change.kind,
            files_changed: files_changed.0,
            files_modified: files_changed.1,
            commitpack: &self.tables.commitpack,
            languages: Languages::in_use(),
        };
        let rule = rules.judge(Layer::Tree, &view, texts)?;
        Some(dropped(rule, Layer::Tree, &view, texts, commit.id, (old_file, new_file)))
    }
}

/// What became of the changes of a commit.
struct Compared {
    /// Paths that it changes (a rename is two), and how many of them are there before and after.
    files_changed: (u32, u32),
    directories: Vec<Directory>,
    candidates: Vec<Change>,
    /// The account of all others.
    counts: Counts,
    drops: Vec<Dropped>,
}

impl Compared {
    /// What its candidates take in a plan, in bytes, with the room that a growing list has.
    fn bytes(&self) -> u64 {
        let candidate = |change: &Change| 2 * size_of::<Candidate>() + change.path.len();
        let directory =
            |directory: &Directory| if directory.notable.is_empty() { 0 } else { directory.path.len() + 64 };
        let candidates: usize = self.candidates.iter().map(candidate).sum();
        (candidates + self.directories.iter().map(directory).sum::<usize>()) as u64
    }
}

impl Plan {
    fn add<E>(
        &mut self,
        commit: usize,
        compared: Result<Compared, Refusal>,
        directories: &mut Directories,
        drops: &mut dyn FnMut(Dropped) -> Result<(), E>,
    ) -> Result<(), E> {
        let number = u32::try_from(commit).unwrap_or(u32::MAX);
        let compared = match compared {
            Ok(compared) => compared,
            Err(refusal) => {
                refusal.count(&mut self.commits_skipped);
                self.commits_decided.insert(number);
                return if let Refusal::Drop(dropped) = refusal { drops(*dropped) } else { Ok(()) };
            }
        };
        self.files_changed[commit] = compared.files_changed;
        self.early.add(&compared.counts);
        compared.drops.into_iter().try_for_each(drops)?;
        if !compared.candidates.is_empty() {
            let positions = directories.add(compared.directories);
            self.candidates.extend(compared.candidates.into_iter().map(|change| {
                let directory = positions.get(change.directory as usize).copied().flatten();
                Candidate { commit: number, change, directory }
            }));
        }
        Ok(())
    }
}

/// The rows of one block, encoded, with their account.
#[derive(Default)]
pub struct Block {
    /// Encoded record batches and the number of rows in each.
    pub batches: Vec<(Vec<u8>, u64)>,
    /// The account of the block's changes.
    pub changes: Counts,
    /// Commits that got a row.
    pub commits: Vec<u32>,
    /// What rules dropped.
    pub drops: Vec<Dropped>,
}

/// Turns the blocks `from..` of `plan` into rows, and hands them over in order; unless `keep`, only their account.
///
/// # Errors
/// An interruption, or what `consume` returns.
#[allow(clippy::too_many_arguments)]
pub fn extract<E: From<git::Error> + From<store::Error> + Send>(
    repository: &Repository,
    plan: &Plan,
    job: Job<'_>,
    from: u64,
    threads: usize,
    keep: bool,
    interrupt: &AtomicBool,
    consume: impl FnMut(u64, Block) -> Result<(), E>,
) -> Result<(), E> {
    let tables = Tables::for_commits(plan.commits.len());
    let start = || Extractor::new(repository, plan, job, &tables, keep);
    let work = |extractor: &mut Extractor<'_>, number: u64| extractor.block(number, interrupt);
    ordered(threads, from..plan.blocks(), start, work, consume)
}

/// What the source list declares.
fn declared(text: &str) -> Found {
    let expression = license::declared(text);
    Found { expression: Some(expression), path: None, method: license::Method::Declared, confidence: Some(0.5) }
}

/// Calls `each` with every candidate of `plan` in the order of rows, and with its row or the reason why it is none.
/// Before that, `observe` sees all that rules can see of it, and the texts.
///
/// # Errors
/// The rows can't be encoded; contents can't cause that.
pub fn for_each(
    repository: &Repository,
    plan: &Plan,
    job: Job<'_>,
    mut each: impl FnMut(&Candidate, Result<&Sample<'_>, Refusal>),
    observe: Observe<'_>,
) -> Result<(), store::Error> {
    let tables = Tables::for_commits(plan.commits.len());
    let mut extractor = Extractor::new(repository, plan, job, &tables, true);
    for candidate in &plan.candidates {
        match extractor.row(candidate, Some(observe)) {
            Ok(()) => {
                let batch = extractor.rows.as_mut().map(RowsBuilder::finish).transpose()?;
                if let Some(batch) = batch {
                    each(candidate, Ok(&Rows::new(&batch)?.get(0)));
                }
            }
            Err(refusal) => each(candidate, Err(refusal)),
        }
    }
    Ok(())
}

/// What the classifiers look things up in.
struct Tables {
    authors: Authors,
    commitpack: CommitPackLanguages,
    /// What is known of each commit, once it was asked for. A commit's rows are far apart.
    commits: Vec<OnceLock<CommitLabels>>,
}

/// What author and message say.
struct CommitLabels {
    author_kind: &'static str,
    author_label: Option<Box<str>>,
    reverts: Option<Box<message::Reverts>>,
    natural: Option<natural::Label>,
}

impl CommitLabels {
    fn of(facts: &Facts<'_>, authors: &Authors, judge: Judge) -> Self {
        let Facts { message, author, committer, .. } = facts;
        let author = authors.classify(&author.name, &author.email, &committer.name, &committer.email, message);
        let reverts = message::reverts(message);
        CommitLabels {
            author_kind: author.kind.as_str(),
            author_label: author.name.map(Into::into),
            reverts: (reverts != message::Reverts::default()).then(|| Box::new(reverts)),
            natural: NaturalLanguages::in_use().label(message, judge),
        }
    }
}

impl Tables {
    fn for_commits(commits: usize) -> Self {
        let commits = std::iter::repeat_with(OnceLock::new).take(commits).collect();
        Tables { authors: Authors::in_use(), commitpack: CommitPackLanguages::in_use(), commits }
    }
}

struct Extractor<'a> {
    repository: &'a Repository,
    plan: &'a Plan,
    job: Job<'a>,
    tables: &'a Tables,
    languages: Languages,
    /// Rows come sorted by path, so these serve many of them.
    path: PathFacts,
    licenses: Resolver<'a>,
    /// What the source list says, for files of which nothing else is known.
    declared: Option<Arc<Found>>,
    /// The last expression, and CommitPack's name for it.
    named: (String, Option<String>),
    blobs: Blobs,
    comparer: Comparer,
    encoder: Encoder,
    /// None where rows are only counted.
    rows: Option<RowsBuilder>,
    buffer: Vec<u8>,
}

impl<'a> Extractor<'a> {
    fn new(repository: &'a Repository, plan: &'a Plan, job: Job<'a>, tables: &'a Tables, keep: bool) -> Self {
        Extractor {
            repository,
            plan,
            job,
            tables,
            languages: Languages::in_use(),
            path: PathFacts::default(),
            licenses: Resolver::new(&plan.places, repository),
            declared: job.recipe.license.as_deref().map(declared).map(Arc::new),
            named: Default::default(),
            blobs: Blobs::new(repository, job.recipe.blob_bytes_max),
            comparer: Comparer::default(),
            encoder: Encoder::default(),
            rows: keep.then(RowsBuilder::default),
            buffer: Vec::new(),
        }
    }

    fn block<E: From<git::Error> + From<store::Error>>(
        &mut self,
        number: u64,
        interrupt: &AtomicBool,
    ) -> Result<Block, E> {
        let from = number as usize * CHANGES_PER_BLOCK;
        let to = self.plan.candidates.len().min(from + CHANGES_PER_BLOCK);
        let mut block = Block::default();
        let plan = self.plan;
        for candidate in &plan.candidates[from..to] {
            if interrupt.load(Ordering::Relaxed) {
                return Err(git::Error::Interrupted.into());
            }
            match self.row(candidate, None) {
                Ok(()) => {
                    block.changes.keep();
                    block.commits.push(candidate.commit);
                }
                Err(refusal) => {
                    refusal.count(&mut block.changes);
                    if let Refusal::Drop(dropped) = refusal {
                        block.drops.push(*dropped);
                    }
                }
            }
            if self.rows.as_ref().is_some_and(|rows| rows.bytes() > BATCH_BYTES_MAX) {
                self.flush(&mut block).map_err(E::from)?;
            }
        }
        self.flush(&mut block).map_err(E::from)?;
        self.repository.check()?;
        Ok(block)
    }

    fn flush(&mut self, block: &mut Block) -> Result<(), store::Error> {
        if let Some(rows) = self.rows.as_mut().filter(|rows| !rows.is_empty()) {
            let len = rows.len() as u64;
            block.batches.push((self.encoder.encode(&rows.finish()?)?, len));
        }
        Ok(())
    }

    /// Makes the row of `candidate`, as far as no rule objects. `observe` sees what rules see, before they are asked.
    fn row(&mut self, candidate: &Candidate, observe: Option<Observe<'_>>) -> Result<(), Refusal> {
        let Extractor {
            repository, plan, job, tables, languages, path, licenses, declared, named, blobs, rows, ..
        } = self;
        let (comparer, buffer) = (RefCell::new(&mut self.comparer), &mut self.buffer);
        let Job { recipe, rules, origin, .. } = *job;
        let change = &candidate.change;
        let commit = &plan.commits[candidate.commit as usize];
        let (old_file, new_file) = files(change)?;
        let new_path = new_file.or(old_file).unwrap_or_default();
        let facts = Facts::read(blobs.objects(), repository, commit, buffer)?;
        let (files_changed, files_modified) = plan.files_changed[candidate.commit as usize];
        let commit_hex = commit.id.to_string();
        let texts = job.texts(&facts.message);
        let commit_view = CommitView::new(origin, commit_hex.clone(), &facts, &tables.authors, recipe.message_language);
        let tree = TreeView {
            commit: &commit_view,
            old_file,
            new_file,
            kind: change.kind,
            files_changed,
            files_modified,
            commitpack: &tables.commitpack,
            languages: *languages,
        };
        let mut header = HeaderView { tree: &tree, old_bytes: None, new_bytes: None };
        if rules.has(Layer::Header) || observe.is_some() {
            header.old_bytes = change.old.map(|file| blobs.size(file.id)).transpose()?;
            header.new_bytes = change.new.map(|file| blobs.size(file.id)).transpose()?;
            if let Some(rule) = rules.judge(Layer::Header, &header, &texts) {
                return Err(dropped(rule, Layer::Header, &header, &texts, commit.id, (old_file, new_file)));
            }
        }
        let old = change.old.map(|file| blobs.text(file.id)).transpose()?;
        let new = change.new.map(|file| blobs.text(file.id)).transpose()?;
        let (old_text, new_text) = (old.as_ref().map(|t| t.text.as_str()), new.as_ref().map(|t| t.text.as_str()));
        if path.path != new_path {
            *path = languages.for_path(new_path);
        }
        // What the file is now; what it was, where it is gone.
        let contents = new_text.or(old_text).unwrap_or("");
        let (label_cell, license_cell, unified_cell) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        let label = || *label_cell.get_or_init(|| languages.label(path, contents));
        let licenses = RefCell::new(licenses);
        let license = || {
            let find = || licenses.borrow_mut().resolve(blobs.objects(), candidate.directory, new_path, contents);
            license_cell.get_or_init(|| find().or_else(|| declared.clone())).clone()
        };
        let texts_of = [&old, &new].map(|text| text.as_ref().map(|text| &text.text));
        let compare = || Rc::new(diff::unified(&mut comparer.borrow_mut(), change, texts_of[0], texts_of[1]));
        let unified = || Rc::clone(unified_cell.get_or_init(compare));
        let view =
            BlobView { header, old: old_text, new: new_text, label: &label, license: &license, unified: &unified };
        if let Some(observe) = observe {
            observe(candidate, &view, &texts);
        }
        if let Some(rule) = rules.judge(Layer::Blob, &view, &texts) {
            return Err(dropped(rule, Layer::Blob, &view, &texts, commit.id, (old_file, new_file)));
        }
        let CommitLabels { author_kind, author_label, reverts, natural } = tables.commits[candidate.commit as usize]
            .get_or_init(|| CommitLabels::of(&facts, &tables.authors, recipe.message_language));
        let (license, label, unified) = (license(), label(), unified());
        let license_spdx = license.as_ref().and_then(|found| found.expression.as_deref());
        if let Some(expression) = license_spdx.filter(|expression| *expression != named.0) {
            *named = (expression.to_owned(), license::commitpack_name(expression));
        }
        let commitpack_license = license_spdx.and(named.1.as_deref());
        let id = SampleId::of(commit.id.as_bytes(), old_file.map(str::as_bytes), new_file.map(str::as_bytes)).to_hex();
        let hex = |id: Option<ObjectId>| id.map(|id| id.to_string());
        let parent = hex(commit.parent);
        let (old_blob, new_blob) = (hex(change.old.map(|f| f.id)), hex(change.new.map(|f| f.id)));
        let person = |text: &'_ str| recipe.authors.then(|| text.to_owned());
        let (author_name, author_email) = (person(&facts.author.name), person(&facts.author.email));
        let (committer_name, committer_email) = (person(&facts.committer.name), person(&facts.committer.email));
        let sample = Sample {
            id: &id,
            commit: &commit_hex,
            old_file,
            new_file,
            old_contents: old_text,
            new_contents: new_text,
            subject: texts.last_subject(),
            message: texts.last_message(),
            lang: tables.commitpack.lang(new_path),
            license: commitpack_license,
            repos: origin.name,
            diff: &unified.text,
            parent: parent.as_deref(),
            kind: change.kind.as_str(),
            files_changed,
            files_modified: Some(files_modified),
            additions: unified.additions,
            deletions: unified.deletions,
            old_blob: old_blob.as_deref(),
            new_blob: new_blob.as_deref(),
            old_encoding: old.as_ref().map(|t| t.encoding),
            new_encoding: new.as_ref().map(|t| t.encoding),
            message_encoding: facts.message_encoding,
            author_time: facts.author.time,
            author_zone: facts.author.zone,
            commit_time: facts.committer.time,
            commit_zone: facts.committer.zone,
            author_kind,
            author_label: author_label.as_deref(),
            reverts: reverts.iter().flat_map(|reverts| &reverts.commits).map(String::as_str).collect(),
            reverts_subject: reverts.as_ref().and_then(|reverts| reverts.subject.as_deref()),
            author_name: author_name.as_deref(),
            author_email: author_email.as_deref(),
            committer_name: committer_name.as_deref(),
            committer_email: committer_email.as_deref(),
            language: label.language.map(|(id, _)| languages.linguist().language(id).name.as_str()),
            license_spdx,
            license_path: license.as_ref().and_then(|found| found.path.as_deref()),
            license_method: license.as_ref().map(|found| found.method.as_str()),
            license_confidence: license.as_ref().and_then(|found| found.confidence),
            message_language: natural.map(|label| label.language),
            message_script: natural.map(|label| label.script),
            message_language_confidence: natural.map(|label| label.confidence),
            vendored: Some(label.vendored),
            generated: label.generated,
        };
        match rows {
            Some(rows) => rows.push(&sample),
            // All of it was worked out, for whoever measures that.
            None => drop(std::hint::black_box(sample)),
        }
        Ok(())
    }
}

/// What the commit object says, decoded.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The message.
    pub message: Cow<'a, str>,
    message_encoding: &'static str,
    /// Who wrote the change.
    pub author: Person<'a>,
    /// Who made the commit.
    pub committer: Person<'a>,
}

/// A name, an address and a time.
#[derive(Clone, Debug)]
pub struct Person<'a> {
    /// The name.
    pub name: Cow<'a, str>,
    /// The address.
    pub email: Cow<'a, str>,
    /// Seconds since 1970.
    pub time: Option<i64>,
    zone: Option<i32>,
}

impl<'a> Facts<'a> {
    fn read(
        objects: &Objects,
        repository: &Repository,
        commit: &'a Commit,
        buffer: &'a mut Vec<u8>,
    ) -> Result<Self, Skip> {
        let bytes = match &commit.object {
            Some(bytes) => bytes,
            None => read(objects, commit.id, Kind::Commit, buffer).map_err(|e| e.skip())?,
        };
        let commit = git::commit::Commit::parse(bytes, repository.hash()).ok_or(Skip::CorruptObject)?;
        if commit.message.len() > MESSAGE_BYTES_MAX {
            return Err(Skip::MessageTooLong);
        }
        let decoded = text::decode_message(commit.message, commit.encoding).map_err(|_| Skip::UndecodableText)?;
        // A name in no known encoding is no reason to lose the row.
        let named = commit.encoding.or(Some(decoded.encoding.as_bytes()));
        let decode = |bytes: &'a [u8]| match text::decode_message(bytes, named) {
            Ok(decoded) => decoded.text,
            Err(_) => String::from_utf8_lossy(bytes),
        };
        let person = |person: git::commit::Person<'a>| Person {
            name: decode(person.name),
            email: decode(person.email),
            time: person.time,
            zone: person.zone,
        };
        Ok(Facts {
            author: person(commit.author),
            committer: person(commit.committer),
            message_encoding: decoded.encoding,
            message: decoded.text,
        })
    }
}
