//! From commits to rows: compares trees, sorts the changes by path so that versions of a file are neighbours, and
//! turns blocks of changes into encoded record batches.

use std::{
    collections::HashSet,
    rc::Rc,
    sync::OnceLock,
    sync::atomic::{AtomicBool, Ordering},
};

use gix::{ObjectId, objs::Kind};

use super::{
    license::{Directories, Found, Resolver, is_evidence},
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
    git::{
        self,
        blobs::{Blobs, read},
        change::{Change, Changes, Directory, TreeDiff},
        diff, rename,
        repository::{Objects, Repository},
        text,
        walk::{self, Commit, Walked},
    },
    sample::{ChangeKind, Sample, SampleId},
    store::{
        self,
        rows::{Rows, RowsBuilder},
        segment,
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
    /// Number of paths that each of them changes.
    pub files_changed: Vec<u32>,
    /// Candidates in the order of rows: by path, then by commit time and id.
    pub candidates: Vec<Candidate>,
    /// Directories with licence texts or package metadata.
    pub directories: Vec<Directory>,
    /// The account of changes that were decided without reading a blob.
    pub early: Counts,
    /// The account of commits that gave nothing to compare.
    pub commits_skipped: Counts,
    /// Compared commits that were counted in `commits_skipped`.
    pub commits_decided: HashSet<u32>,
}

impl Plan {
    /// Number of blocks.
    pub fn blocks(&self) -> u64 {
        self.candidates.len().div_ceil(CHANGES_PER_BLOCK) as u64
    }
}

/// Compares every commit of `walked` with its first parent.
///
/// # Errors
/// Only an interruption.
pub fn plan(
    repository: &Repository,
    walked: Walked,
    recipe: &Recipe,
    threads: usize,
    interrupt: &AtomicBool,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Plan, git::Error> {
    let Walked { commits, trees, skipped, .. } = walked;
    let total = commits.len();
    let mut plan = Plan {
        files_changed: vec![0; total],
        candidates: Vec::new(),
        directories: Vec::new(),
        early: Counts::default(),
        commits_skipped: skipped,
        commits_decided: HashSet::new(),
        commits: Vec::new(),
    };
    let mut directories = Directories::default();
    let compare = |objects: &mut Objects, block: u64| -> Result<Vec<Result<Compared, Skip>>, git::Error> {
        let from = block as usize * COMMITS_PER_BLOCK;
        let mut differ = TreeDiff::new(objects, repository.hash(), recipe.commit_changes_max, is_evidence, interrupt);
        let mut compared = Vec::new();
        for commit in &commits[from..total.min(from + COMMITS_PER_BLOCK)] {
            if interrupt.load(Ordering::Relaxed) {
                return Err(git::Error::Interrupted);
            }
            let parent_tree = match commit.parent {
                None => Ok(None),
                Some(parent) => match trees.get(&parent) {
                    Some(tree) => Ok(Some(*tree)),
                    None => walk::tree_of(repository, objects, parent).map(Some),
                },
            };
            let changes = parent_tree.map_err(|error| error.skip()).and_then(|tree| differ.compare(tree, commit.tree));
            compared.push(changes.map(|mut changes| {
                let files_changed = changes.len();
                if recipe.renames {
                    rename::detect(objects, &mut changes, interrupt);
                }
                Compared { files_changed, changes }
            }));
        }
        // An interruption in the middle of the last comparison, too, must not pass for its outcome.
        if interrupt.load(Ordering::Relaxed) {
            return Err(git::Error::Interrupted);
        }
        repository.check().map(|()| compared)
    };
    let blocks = total.div_ceil(COMMITS_PER_BLOCK) as u64;
    ordered(
        threads,
        0..blocks,
        || repository.objects(),
        compare,
        |block, compared| {
            for (at, compared) in compared.into_iter().enumerate() {
                plan.add(block as usize * COMMITS_PER_BLOCK + at, compared, recipe, &mut directories);
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
    plan.directories = directories.into_list();
    Ok(plan)
}

/// What a commit changes, and how many paths that concerns; a rename is one change of two paths.
struct Compared {
    files_changed: usize,
    changes: Changes,
}

impl Plan {
    fn add(&mut self, commit: usize, compared: Result<Compared, Skip>, recipe: &Recipe, directories: &mut Directories) {
        let number = u32::try_from(commit).unwrap_or(u32::MAX);
        let Compared { files_changed, changes } = match compared {
            Ok(compared) if compared.files_changed > 0 => compared,
            other => {
                self.commits_skipped.skip(other.err().unwrap_or(Skip::NoChange));
                self.commits_decided.insert(number);
                return;
            }
        };
        self.files_changed[commit] = u32::try_from(files_changed).unwrap_or(u32::MAX);
        self.early.add(&changes.skipped);
        let positions = directories.add(changes.directories);
        for change in changes.regular {
            if recipe.kinds.contains(&change.kind) {
                let directory = positions.get(change.directory as usize).copied().flatten();
                self.candidates.push(Candidate { commit: number, change, directory });
            } else {
                self.early.skip(match change.kind {
                    ChangeKind::Modified => Skip::KindModified,
                    ChangeKind::Added => Skip::KindAdded,
                    ChangeKind::Deleted => Skip::KindDeleted,
                    ChangeKind::Renamed => Skip::KindRenamed,
                });
            }
        }
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
}

/// Turns the blocks `from..` of `plan` into rows, and hands them over in order.
///
/// # Errors
/// An interruption, or what `consume` returns.
#[allow(clippy::too_many_arguments)]
pub fn extract<E: From<git::Error> + From<store::Error> + Send>(
    repository: &Repository,
    plan: &Plan,
    recipe: &Recipe,
    name: &str,
    from: u64,
    threads: usize,
    interrupt: &AtomicBool,
    consume: impl FnMut(u64, Block) -> Result<(), E>,
) -> Result<(), E> {
    let tables = Tables::for_commits(plan.commits.len());
    let start = || Extractor::new(repository, plan, recipe, name, &tables);
    let work = |extractor: &mut Extractor<'_>, number: u64| extractor.block(number, interrupt);
    ordered(threads, from..plan.blocks(), start, work, consume)
}

/// What the source list declares.
fn declared(text: &str) -> Found {
    let expression = license::declared(text);
    Found { expression, path: None, method: license::Method::Declared, confidence: 0.5 }
}

/// Calls `each` with every candidate of `plan` in the order of rows, and with its row or the reason why it is none.
///
/// # Errors
/// The rows can't be encoded; contents can't cause that.
pub fn for_each(
    repository: &Repository,
    plan: &Plan,
    recipe: &Recipe,
    name: &str,
    mut each: impl FnMut(&Candidate, Result<&Sample<'_>, Skip>),
) -> Result<(), store::Error> {
    let tables = Tables::for_commits(plan.commits.len());
    let mut extractor = Extractor::new(repository, plan, recipe, name, &tables);
    for candidate in &plan.candidates {
        match extractor.row(candidate) {
            Ok(()) => each(candidate, Ok(&Rows::new(&extractor.rows.finish()?)?.get(0))),
            Err(skip) => each(candidate, Err(skip)),
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
    fn of(facts: &Facts, authors: &Authors, judge: Judge) -> Self {
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
    recipe: &'a Recipe,
    name: &'a str,
    tables: &'a Tables,
    judge: Judge,
    languages: Languages,
    /// Rows come sorted by path, so these serve many of them.
    path: PathFacts,
    licenses: Resolver<'a>,
    /// What the source list says, for files of which nothing else is known.
    declared: Option<Rc<Found>>,
    blobs: Blobs,
    rows: RowsBuilder,
    buffer: Vec<u8>,
}

impl<'a> Extractor<'a> {
    fn new(repository: &'a Repository, plan: &'a Plan, recipe: &'a Recipe, name: &'a str, tables: &'a Tables) -> Self {
        Extractor {
            repository,
            plan,
            recipe,
            name,
            tables,
            judge: recipe.message_language,
            languages: Languages::in_use(),
            path: PathFacts::default(),
            licenses: Resolver::new(&plan.directories, repository.hash()),
            declared: recipe.license.as_deref().map(declared).map(Rc::new),
            blobs: Blobs::new(repository.objects(), recipe.blob_bytes_max),
            rows: RowsBuilder::default(),
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
            match self.row(candidate) {
                Ok(()) => {
                    block.changes.keep();
                    block.commits.push(candidate.commit);
                }
                Err(skip) => block.changes.skip(skip),
            }
            if self.rows.bytes() > BATCH_BYTES_MAX {
                self.flush(&mut block).map_err(E::from)?;
            }
        }
        self.flush(&mut block).map_err(E::from)?;
        self.repository.check()?;
        Ok(block)
    }

    fn flush(&mut self, block: &mut Block) -> Result<(), store::Error> {
        if !self.rows.is_empty() {
            let len = self.rows.len() as u64;
            block.batches.push((segment::encode(&self.rows.finish()?)?, len));
        }
        Ok(())
    }

    fn row(&mut self, candidate: &Candidate) -> Result<(), Skip> {
        let change = &candidate.change;
        let commit = &self.plan.commits[candidate.commit as usize];
        let new_path = std::str::from_utf8(&change.path).map_err(|_| Skip::PathNotUtf8)?;
        let old_path = match &change.old_path {
            Some(path) => std::str::from_utf8(path).map_err(|_| Skip::PathNotUtf8)?,
            None => new_path,
        };
        let old = change.old.map(|file| self.blobs.text(file.id)).transpose()?;
        let new = change.new.map(|file| self.blobs.text(file.id)).transpose()?;
        let facts = Facts::read(self.blobs.objects(), self.repository, commit.id, &mut self.buffer)?;
        let message = message::apply_trailers(&facts.message, self.recipe.trailers);
        let CommitLabels { author_kind, author_label, reverts, natural } = self.tables.commits
            [candidate.commit as usize]
            .get_or_init(|| CommitLabels::of(&facts, &self.tables.authors, self.judge));
        // What the file is now; what it was, where it is gone.
        if self.path.path != new_path {
            self.path = self.languages.for_path(new_path);
        }
        let contents = new.as_deref().or(old.as_deref()).map_or("", |t| t.text.as_str());
        let license = self.licenses.resolve(self.blobs.objects(), candidate.directory, new_path, contents);
        let license = license.or_else(|| self.declared.clone());
        let commitpack_license = license.as_ref().and_then(|found| license::commitpack_name(&found.expression));
        let label = self.languages.label(&self.path, contents);
        let unified =
            diff::unified(change, old.as_deref().map(|t| t.text.as_str()), new.as_deref().map(|t| t.text.as_str()));
        let (old_file, new_file) = (change.old.map(|_| old_path), change.new.map(|_| new_path));
        let id = SampleId::of(commit.id.as_bytes(), old_file.map(str::as_bytes), new_file.map(str::as_bytes)).to_hex();
        let hex = |id: Option<ObjectId>| id.map(|id| id.to_string());
        let (commit_hex, parent) = (commit.id.to_string(), hex(commit.parent));
        let (old_blob, new_blob) = (hex(change.old.map(|f| f.id)), hex(change.new.map(|f| f.id)));
        let person = |text: &'_ str| self.recipe.authors.then(|| text.to_owned());
        let (author_name, author_email) = (person(&facts.author.name), person(&facts.author.email));
        let (committer_name, committer_email) = (person(&facts.committer.name), person(&facts.committer.email));
        self.rows.push(&Sample {
            id: &id,
            commit: &commit_hex,
            old_file,
            new_file,
            old_contents: old.as_deref().map(|t| t.text.as_str()),
            new_contents: new.as_deref().map(|t| t.text.as_str()),
            subject: message::subject(&message),
            message: &message,
            lang: self.tables.commitpack.lang(new_path),
            license: commitpack_license.as_deref(),
            repos: self.name,
            diff: &unified.text,
            parent: parent.as_deref(),
            kind: change.kind.as_str(),
            files_changed: self.plan.files_changed[candidate.commit as usize],
            additions: unified.additions,
            deletions: unified.deletions,
            old_blob: old_blob.as_deref(),
            new_blob: new_blob.as_deref(),
            old_encoding: old.as_deref().map(|t| t.encoding),
            new_encoding: new.as_deref().map(|t| t.encoding),
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
            language: label.language.map(|(id, _)| self.languages.linguist().language(id).name.as_str()),
            license_spdx: license.as_ref().map(|found| found.expression.as_str()),
            license_path: license.as_ref().and_then(|found| found.path.as_deref()),
            license_method: license.as_ref().map(|found| found.method.as_str()),
            license_confidence: license.as_ref().map(|found| found.confidence),
            message_language: natural.map(|label| label.language),
            message_script: natural.map(|label| label.script),
            message_language_confidence: natural.map(|label| label.confidence),
            vendored: Some(label.vendored),
            generated: label.generated,
        });
        Ok(())
    }
}

/// What the commit object says, decoded.
struct Facts {
    message: String,
    message_encoding: &'static str,
    author: Person,
    committer: Person,
}

struct Person {
    name: String,
    email: String,
    time: i64,
    zone: i32,
}

impl Facts {
    fn read(objects: &Objects, repository: &Repository, id: ObjectId, buffer: &mut Vec<u8>) -> Result<Facts, Skip> {
        let bytes = read(objects, id, Kind::Commit, buffer).map_err(|e| e.skip())?;
        let commit = git::commit::Commit::parse(bytes, repository.hash()).ok_or(Skip::CorruptObject)?;
        if commit.message.len() > MESSAGE_BYTES_MAX {
            return Err(Skip::MessageTooLong);
        }
        let decoded = text::decode_message(commit.message, commit.encoding).map_err(|_| Skip::UndecodableText)?;
        // A name in no known encoding is no reason to lose the row.
        let named = commit.encoding.or(Some(decoded.encoding.as_bytes()));
        let decode = |bytes: &[u8]| match text::decode_message(bytes, named) {
            Ok(decoded) => decoded.text.into_owned(),
            Err(_) => String::from_utf8_lossy(bytes).into_owned(),
        };
        let person = |person: git::commit::Person<'_>| Person {
            name: decode(person.name),
            email: decode(person.email),
            time: person.time,
            zone: person.zone,
        };
        Ok(Facts {
            author: person(commit.author),
            committer: person(commit.committer),
            message_encoding: decoded.encoding,
            message: decoded.text.into_owned(),
        })
    }
}
