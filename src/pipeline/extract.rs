//! From candidates to rows: turns blocks of changes into encoded record batches.

use std::{
    cell::{OnceCell, RefCell},
    rc::Rc,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use gix::ObjectId;

use super::{
    candidate::{BlobView, CommitView, HeaderView, TreeView},
    commit::Facts,
    job::{Job, Refusal, dropped, files},
    license::{Found, Resolver},
    ordered::{RUN, in_runs},
    plan::{CHANGES_PER_BLOCK, Candidate, Plan},
};
use crate::{
    bytes::hex,
    classify::{
        author::Authors,
        language::{Languages, PathFacts},
        license::{self, Licenses},
        message,
        natural::{self, Judge, NaturalLanguages},
    },
    filter::{Layer, Texts, View},
    git::{self, blobs::Blobs, diff, lines::Comparer, needs::Needs, repository::Repository},
    sample::{Sample, SampleId},
    store::{
        self,
        ledger::Dropped,
        message::Encoder,
        rows::{Rows, RowsBuilder},
    },
    verdict::Counts,
};

/// What most batches need for contents before, and for those after.
const BATCH_BYTES: usize = BATCH_BYTES_MAX / 4;

/// Contents in a record batch, in bytes, after which a new one begins.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// Sees all that rules can see of a candidate, and the texts.
pub type Observe<'a> = &'a dyn Fn(&Candidate, &dyn View, &Texts<'_>);

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
    let labels = CommitLabels::of_none(plan.commits.len());
    let needs = match from {
        0 => Arc::clone(&plan.needs),
        // Rows that are there already need nothing.
        _ => {
            Arc::new(needs_of(plan.candidates.get(from as usize * CHANGES_PER_BLOCK..).unwrap_or_default(), repository))
        }
    };
    let start = || Extractor::new(repository, plan, job, &labels, Some(Arc::clone(&needs)), keep);
    let work = |extractor: &mut Extractor<'_>, number: u64| extractor.block(number, interrupt);
    let weight = |block: &Block| block.batches.iter().map(|(message, _)| message.len()).sum();
    in_runs(RUN, threads, from..plan.blocks(), start, work, weight, consume)
}

/// What the rows of `candidates` need.
fn needs_of(candidates: &[Candidate], repository: &Repository) -> Needs {
    let (packs, mut needs) = (repository.packs(), Needs::default());
    for place in candidates.iter().flat_map(|candidate| candidate.places).flatten() {
        needs.count(&packs, place, 2 * candidates.len());
    }
    needs
}

/// Makes the tables that rows ask for, so that nobody has to wait for them.
pub fn prepare() {
    Languages::in_use();
    NaturalLanguages::in_use();
    Authors::in_use();
    Licenses::in_use();
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
    let labels = CommitLabels::of_none(plan.commits.len());
    let mut extractor = Extractor::new(repository, plan, job, &labels, None, true);
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

/// What author and message say.
struct CommitLabels {
    author_kind: &'static str,
    author_label: Option<Box<str>>,
    reverts: Option<Box<message::Reverts>>,
    natural: Option<natural::Label>,
}

impl CommitLabels {
    /// Those of so many commits, of which nothing is known yet.
    fn of_none(commits: usize) -> Vec<OnceLock<Self>> {
        std::iter::repeat_with(OnceLock::new).take(commits).collect()
    }

    fn of(facts: &Facts<'_>, judge: Judge) -> Self {
        let Facts { message, author, committer, .. } = facts;
        let author =
            Authors::in_use().classify(&author.name, &author.email, &committer.name, &committer.email, message);
        let reverts = message::reverts(message);
        CommitLabels {
            author_kind: author.kind.as_str(),
            author_label: author.name.map(Into::into),
            reverts: (reverts != message::Reverts::default()).then(|| Box::new(reverts)),
            natural: NaturalLanguages::in_use().label(message, judge),
        }
    }
}

struct Extractor<'a> {
    repository: &'a Repository,
    plan: &'a Plan,
    job: Job<'a>,
    /// What is known of each commit, once it was asked for. A commit's rows are far apart.
    labels: &'a [OnceLock<CommitLabels>],
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
    fn new(
        repository: &'a Repository,
        plan: &'a Plan,
        job: Job<'a>,
        labels: &'a [OnceLock<CommitLabels>],
        needs: Option<Arc<Needs>>,
        keep: bool,
    ) -> Self {
        Extractor {
            repository,
            plan,
            job,
            labels,
            languages: Languages::in_use(),
            path: PathFacts::default(),
            licenses: Resolver::new(&plan.places, repository),
            declared: job.recipe.license.as_deref().map(declared).map(Arc::new),
            named: Default::default(),
            blobs: Blobs::new(repository, job.recipe.blob_bytes_max, needs),
            comparer: Comparer::default(),
            encoder: Encoder::default(),
            rows: keep.then(|| RowsBuilder::with_room(BATCH_BYTES)),
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
            let len = rows.len();
            block.batches.push((self.encoder.encode(len, &rows.columns())?, len as u64));
        }
        Ok(())
    }

    /// Makes the row of `candidate`, as far as no rule objects. `observe` sees what rules see, before they are asked.
    fn row(&mut self, candidate: &Candidate, observe: Option<Observe<'_>>) -> Result<(), Refusal> {
        let Extractor { plan, job, labels, languages, path, licenses, declared, named, blobs, rows, .. } = self;
        let (comparer, buffer) = (RefCell::new(&mut self.comparer), &mut self.buffer);
        let Job { recipe, rules, origin, .. } = *job;
        let change = &candidate.change;
        let commit = &plan.commits[candidate.commit as usize];
        let (old_file, new_file) = files(change)?;
        let new_path = new_file.or(old_file).unwrap_or_default();
        let facts = Facts::read(blobs.objects(), commit, buffer)?;
        let (files_changed, files_modified) = plan.files_changed[candidate.commit as usize];
        let texts = job.texts(&facts.message);
        let commit_view = CommitView::new(origin, hex(commit.id.as_bytes()), &facts, recipe.message_language);
        let tree = TreeView {
            commit: &commit_view,
            old_file,
            new_file,
            kind: change.kind,
            files_changed,
            files_modified,
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
        let [old_place, new_place] = candidate.places;
        let old = change.old.map(|file| blobs.text(file.id, old_place)).transpose()?;
        let new = change.new.map(|file| blobs.text(file.id, new_place)).transpose()?;
        let (old_text, new_text) = (old.as_ref().map(|t| t.text.as_str()), new.as_ref().map(|t| t.text.as_str()));
        if path.path != new_path {
            *path = languages.for_path(new_path);
        }
        // What the file is now; what it was, where it is gone.
        let contents = new.as_ref().or(old.as_ref()).map(|text| Rc::clone(&text.text)).unwrap_or_default();
        let (label_cell, license_cell, unified_cell) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        let label = || *label_cell.get_or_init(|| languages.label(path, &contents));
        let licenses = RefCell::new(licenses);
        let license = || {
            let find = || licenses.borrow_mut().resolve(blobs.objects(), candidate.directory, new_path, &contents);
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
        let CommitLabels { author_kind, author_label, reverts, natural } =
            labels[candidate.commit as usize].get_or_init(|| CommitLabels::of(&facts, recipe.message_language));
        let (license, label, unified) = (license(), label(), unified());
        let license_spdx = license.as_ref().and_then(|found| found.expression.as_deref());
        if let Some(expression) = license_spdx.filter(|expression| *expression != named.0) {
            *named = (expression.to_owned(), license::commitpack_name(expression));
        }
        let commitpack_license = license_spdx.and(named.1.as_deref());
        let id = SampleId::of(commit.id.as_bytes(), old_file.map(str::as_bytes), new_file.map(str::as_bytes)).to_hex();
        let mut digits = [gix::hash::Kind::hex_buf(); 3];
        let mut digits = digits.iter_mut();
        let mut hex_of = |id: Option<ObjectId>| id.zip(digits.next()).map(|(id, digits)| &*id.hex_to_buf(digits));
        let [parent, old_blob, new_blob] =
            [commit.parent, change.old.map(|file| file.id), change.new.map(|file| file.id)].map(&mut hex_of);
        let person = |text: &'_ str| recipe.authors.then(|| text.to_owned());
        let (author_name, author_email) = (person(&facts.author.name), person(&facts.author.email));
        let (committer_name, committer_email) = (person(&facts.committer.name), person(&facts.committer.email));
        let sample = Sample {
            id: &id,
            commit: &commit_view.id,
            old_file,
            new_file,
            old_contents: old_text,
            new_contents: new_text,
            subject: texts.last_subject(),
            message: texts.last_message(),
            lang: path.commitpack,
            license: commitpack_license,
            repos: origin.name,
            diff: &unified.text,
            parent,
            kind: change.kind.as_str(),
            files_changed,
            files_modified: Some(files_modified),
            additions: unified.additions,
            deletions: unified.deletions,
            old_blob,
            new_blob,
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
