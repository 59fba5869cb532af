//! Who opted out, as the store remembers it, and the purge that takes their rows out of its segments for good.
//!
//! ```text
//! STORE/opt-out/list                lines that name what is not wanted
//! STORE/opt-out/commits             ids of commits that were purged, so that no fork brings them back
//! STORE/opt-out/<number>.json       receipts of purges
//! STORE/store.json                  what shows that some of these were taken away
//! ```
//!
//! A purge writes the list and the commits first: from then on neither `mine` nor an export lets those rows through,
//! whatever becomes of the process. Segments are written beside the old ones, and a checkpoint that names the new ones
//! takes the place of the old one before those go. A purge that was killed is done again and finds what is left.

mod remembered;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use serde::{Deserialize, Serialize};

use remembered::{add_lines, last_receipt};
pub use remembered::{opt_outs, remember};

use super::{recipe::Recipe, remove::remove_mirror};
use crate::{
    dedup::opt_out::{OptOuts, RULE, Work},
    sample::Sample,
    store::{
        self, Checkpoint, LedgerManifest, SegmentManifest, Store,
        attached::Attached,
        batch_stem,
        index::Index,
        io_error,
        ledger::{self, Dropped, LedgerWriter, PURGE},
        message::Encoder,
        rows::{Rows, RowsBuilder},
        segment::{self, SegmentWriter},
    },
    verdict::Skip,
};

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("{path}:{line}: {reason}")]
    OptOut { path: PathBuf, line: usize, reason: String },
}

/// The text of the list of opt-outs at `path`, without the mark that some editors begin a file with: lines are remembered by
/// themselves, and sorted.
///
/// # Errors
/// The file can't be read, or is not UTF-8.
pub fn read_list(path: &Path) -> io::Result<String> {
    Ok(fs::read_to_string(path)?.trim_start_matches('\u{feff}').to_owned())
}

/// Reads opt-outs from `text`, which is of the file `path`.
///
/// # Errors
/// A line is none; the message names it.
pub fn parse(path: &Path, text: &str) -> Result<OptOuts, Error> {
    let bad = |(line, reason)| Error::OptOut { path: path.to_owned(), line, reason };
    // What a store remembers of before may have some.
    let odd = (1..)
        .zip(text.lines().map(str::trim))
        .find(|(_, line)| line.starts_with("path:") && line.contains(['[', ']', '{', '}']));
    if let Some((line, text)) = odd {
        let reason =
            format!("{text} has more than *, ** and ?, which is all that globs know; ? stands for any one letter");
        return Err(bad((line, reason)));
    }
    OptOuts::read(text).map_err(bad)
}

/// A file before and after a purge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDigest {
    /// Relative to the store.
    pub file: String,
    /// Rows in it.
    pub rows: u64,
    /// BLAKE3, hexadecimal.
    pub blake3: String,
}

/// What a purge did to one repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgedRepository {
    /// The repository.
    pub identity: String,
    /// Its name in the `repos` column.
    pub name: String,
    /// Whether all of it went.
    pub whole: bool,
    /// Rows that went.
    pub rows: u64,
    /// Segments and ledgers that went.
    pub before: Vec<FileDigest>,
    /// What is in their place.
    pub after: Vec<FileDigest>,
}

/// The record of a purge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Version of this record.
    pub gitlode_receipt: u32,
    /// Position among the store's receipts, from 1.
    pub number: u32,
    /// When, in seconds since 1970.
    pub time: i64,
    /// The lines that were asked for now; the lines of earlier purges hold as well.
    pub lines: Vec<String>,
    /// Rows that went.
    pub rows: u64,
    /// For each of the lines how many rows it named; records of before they were counted say nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rows_by_line: BTreeMap<String, u64>,
    /// The lines that named nothing: no row, no repository, and no commit that a ledger knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmatched: Vec<String>,
    /// Commits that will not come back.
    pub commits: u64,
    /// What went, by repository. What has none of it is not listed.
    pub repositories: Vec<PurgedRepository>,
    /// The `blake3` of the receipt before; none of the first one, and of those of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// BLAKE3 in hexadecimal of all other fields as JSON without spaces, in order of their names, and `null` for this one.
    pub blake3: String,
}

/// Repositories whose rows name no author, so that no purge by author can find their rows.
///
/// # Errors
/// The store is damaged.
pub fn without_authors(store: &Store) -> Result<Vec<String>, store::Error> {
    let batches = store.batches()?;
    let anonymous = batches.iter().filter(|(_, checkpoint)| {
        checkpoint.funnel.changes.kept > 0 && Recipe::read(&checkpoint.recipe).is_ok_and(|recipe| !recipe.authors)
    });
    Ok(anonymous.map(|(_, c)| c.repository.name.clone()).collect::<BTreeSet<_>>().into_iter().collect())
}

/// Takes out of `store`, which must be locked, what `lines` (see [`OptOuts::read`]) and all earlier opt-outs name, and
/// writes the receipt. `now` is in seconds since 1970.
///
/// # Errors
/// A line is none (the place is "opt-out"), the store is damaged or can't be written, or an interruption.
pub fn purge(store: &Store, lines: &[String], now: i64, interrupt: &AtomicBool) -> Result<Receipt, Error> {
    let mut asked = parse(Path::new("opt-out"), &lines.join("\n"))?;
    // What a process that was killed had on its way out is not to stay either.
    store.clean_up()?;
    let batches = store.batches()?;
    for (_, Checkpoint { repository, .. }) in &batches {
        asked.add_origins(&repository.name, &repository.columns);
    }
    let mut tally = Tally::new(&asked);
    let mut wanted = asked.clone();
    wanted.add(opt_outs(store)?);
    let is_gone = |checkpoint: &Checkpoint| {
        wanted.find(Work { repositories: &checkpoint.repository.name, ..Work::default() }).is_some()
    };
    // What a fork has of the work of those who opted out is theirs, too.
    let mut commits = BTreeSet::new();
    // But what an attached fork has of its root is the root's, whether the fork was mined with it or without.
    let attached = Attached::new(batches.iter().map(|(_, checkpoint)| checkpoint));
    let mut of_forks: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (directory, checkpoint) in &batches {
        let whole = is_gone(checkpoint);
        let root = attached.root(&checkpoint.repository.identity).filter(|_| whole);
        let commits = root.map_or(&mut commits, |root| of_forks.entry(root).or_default());
        let name = &checkpoint.repository.name;
        tally.repository(name);
        for segment in &checkpoint.segments {
            each_row(&directory.join(&segment.file), interrupt, &mut |sample| {
                let work = Work { repositories: name, ..Work::from(&sample) };
                tally.row(work);
                let work = Work { paths: [None, None], ..work };
                if (whole || wanted.find(work).is_some()) && !commits.contains(sample.commit) {
                    commits.insert(sample.commit.to_owned());
                }
                Ok(())
            })?;
        }
        for ledger in ledgers(checkpoint).filter(|_| whole) {
            commits.extend(ledger::read(&directory.join(&ledger.file))?.into_iter().map(|dropped| dropped.commit));
        }
    }
    for (root, mut of_forks) in of_forks {
        for (directory, checkpoint) in batches.iter().filter(|(_, checkpoint)| checkpoint.repository.identity == root) {
            for segment in &checkpoint.segments {
                each_row(&directory.join(&segment.file), interrupt, &mut |sample| {
                    of_forks.remove(sample.commit);
                    Ok(())
                })?;
            }
            for ledger in ledgers(checkpoint) {
                for dropped in ledger::read(&directory.join(&ledger.file))? {
                    of_forks.remove(&dropped.commit);
                }
            }
        }
        commits.append(&mut of_forks);
    }
    tally.look_into_ledgers(&batches)?;
    let (number, previous) = last_receipt(store)?;
    let number = number + 1;
    remember(store, &lines.join("\n"))?;
    let known = add_lines(store, "commits", commits.iter().map(String::as_str))?;
    let wanted = opt_outs(store)?;
    let mut receipt = Receipt {
        gitlode_receipt: 1,
        number,
        time: now,
        lines: lines.to_vec(),
        rows_by_line: tally.rows_by_line(),
        unmatched: tally.unmatched(),
        commits: known.len() as u64,
        previous,
        ..Receipt::default()
    };
    let mut index = Index::open(store)?;
    for group in batches.chunk_by(|(a, _), (b, _)| a == b) {
        let (path, checkpoint) = &group[0];
        let repository = &checkpoint.repository;
        let mut purged = PurgedRepository {
            identity: repository.identity.clone(),
            name: repository.name.clone(),
            ..PurgedRepository::default()
        };
        if is_gone(checkpoint) {
            purged.whole = true;
            for (path, checkpoint) in group {
                purged.rows += checkpoint.funnel.changes.kept;
                purged.before.extend(checkpoint.segments.iter().map(|s| of_segment(store, path, s)));
                purged.before.extend(ledgers(checkpoint).map(|l| of_ledger(store, path, l)));
            }
            store.remove(&repository.identity)?;
            remove_mirror(store, &repository.identity)?;
            index.forget_source(&repository.identity)?;
        } else {
            let purging = Purging { store, directory: path, wanted: &wanted, number, interrupt };
            for (_, checkpoint) in group {
                purging.batch(checkpoint, &mut purged)?;
            }
            // Also what an interrupted run had sealed: it is made again, without what is not wanted.
            store::sweep(path, &[])?;
        }
        receipt.rows += purged.rows;
        if purged.whole || !purged.before.is_empty() {
            receipt.repositories.push(purged);
        }
    }
    // Its ledger names rows that are gone.
    let assembly = store.root().join("assembly");
    if assembly.is_dir() {
        fs::remove_dir_all(&assembly).map_err(io_error(&assembly))?;
    }
    index.forget(&|name| wanted.find_repository(name).is_some(), &|argument| wanted.names_source(argument))?;
    drop(index);
    Index::rebuild(store)?.vacuum()?;
    receipt.blake3 = store::digest(serde_json::json!(receipt));
    remembered::add_receipt(store, &receipt)?;
    Ok(receipt)
}

/// What the lines that are asked for name in the store as it was.
struct Tally<'a> {
    asked: &'a OptOuts,
    rows: Vec<u64>,
    is_known: Vec<bool>,
}

impl<'a> Tally<'a> {
    fn new(asked: &'a OptOuts) -> Self {
        let lines = asked.lines().count();
        Tally { asked, rows: vec![0; lines], is_known: vec![false; lines] }
    }

    fn repository(&mut self, name: &str) {
        let work = Work { repositories: name, ..Work::default() };
        self.asked.find_all(work).into_iter().for_each(|at| self.is_known[at] = true);
    }

    fn row(&mut self, work: Work<'_>) {
        for at in self.asked.find_all(work) {
            self.rows[at] += 1;
            self.is_known[at] = true;
        }
    }

    /// A commit without rows is known all the same where rules dropped it.
    fn look_into_ledgers(&mut self, batches: &store::Batches) -> Result<(), store::Error> {
        for (directory, checkpoint) in batches {
            for ledger in ledgers(checkpoint) {
                if self.is_known.iter().all(|is_known| *is_known) {
                    return Ok(());
                }
                for Dropped { commit, old_file, new_file, .. } in ledger::read(&directory.join(&ledger.file))? {
                    let paths = [old_file.as_deref(), new_file.as_deref()];
                    let work = Work { commit: &commit, paths, ..Work::default() };
                    self.asked.find_all(work).into_iter().for_each(|at| self.is_known[at] = true);
                }
            }
        }
        Ok(())
    }

    fn rows_by_line(&self) -> BTreeMap<String, u64> {
        self.asked.lines().map(str::to_owned).zip(self.rows.iter().copied()).collect()
    }

    fn unmatched(&self) -> Vec<String> {
        let lines = self.asked.lines().zip(&self.is_known);
        let lines: BTreeSet<&str> = lines.filter(|(_, is_known)| !**is_known).map(|(line, _)| line).collect();
        lines.into_iter().map(str::to_owned).collect()
    }
}

fn ledgers(checkpoint: &Checkpoint) -> impl Iterator<Item = &LedgerManifest> {
    checkpoint.segments.iter().filter_map(|segment| segment.ledger.as_ref()).chain(&checkpoint.ledger)
}

fn of_segment(store: &Store, directory: &Path, segment: &SegmentManifest) -> FileDigest {
    FileDigest { file: relative(store, directory, &segment.file), rows: segment.rows, blake3: segment.blake3.clone() }
}

fn of_ledger(store: &Store, directory: &Path, ledger: &LedgerManifest) -> FileDigest {
    FileDigest { file: relative(store, directory, &ledger.file), rows: ledger.rows, blake3: ledger.blake3.clone() }
}

fn relative(store: &Store, directory: &Path, file: &str) -> String {
    let path = directory.join(file);
    path.strip_prefix(store.root()).unwrap_or(&path).display().to_string()
}

/// Calls `each` with every row of the segment at `path`.
fn each_row(
    path: &Path,
    interrupt: &AtomicBool,
    each: &mut dyn FnMut(Sample<'_>) -> Result<(), store::Error>,
) -> Result<(), store::Error> {
    for batch in segment::read(path)? {
        if interrupt.load(Relaxed) {
            return Err(store::Error::Interrupted);
        }
        let damaged = |e: arrow_schema::ArrowError| store::Error::Damaged { path: path.into(), reason: e.to_string() };
        let rows = Rows::new(&batch?).map_err(damaged)?;
        (0..rows.len()).try_for_each(|at| each(rows.get(at)))?;
    }
    Ok(())
}

/// Rewrites the batches of one repository that stays.
struct Purging<'a> {
    store: &'a Store,
    directory: &'a Path,
    wanted: &'a OptOuts,
    number: u32,
    interrupt: &'a AtomicBool,
}

impl Purging<'_> {
    /// File names must be of a kind that a sweep knows, and other ones than before.
    fn stem(&self, stem: &str) -> String {
        format!("{stem}{:06}", self.number)
    }

    fn line(&self, name: &str, sample: &Sample<'_>) -> Option<String> {
        self.wanted.find(Work { repositories: name, ..Work::from(sample) })
    }

    /// Writes anew what of `checkpoint` has something that is not wanted, and then the checkpoint.
    fn batch(&self, checkpoint: &Checkpoint, purged: &mut PurgedRepository) -> Result<(), store::Error> {
        let stem = batch_stem(checkpoint.generation, checkpoint.batch);
        let mut next = checkpoint.clone();
        let (mut before, mut after) = (HashSet::new(), HashSet::new());
        let mut is_changed = false;
        for (at, segment) in next.segments.iter_mut().enumerate() {
            let stem = self.stem(&format!("{stem}-{at:06}"));
            let old = segment.clone();
            if let Some(new) = self.segment(checkpoint, segment, &stem, &mut before, &mut after)? {
                is_changed = true;
                purged.rows += old.rows - new.rows;
                purged.before.push(of_segment(self.store, self.directory, &old));
                purged.before.extend(old.ledger.iter().map(|ledger| of_ledger(self.store, self.directory, ledger)));
                purged.after.push(of_segment(self.store, self.directory, &new));
                purged.after.extend(new.ledger.iter().map(|ledger| of_ledger(self.store, self.directory, ledger)));
                let changes = &mut next.funnel.changes;
                let rows = old.rows - new.rows;
                changes.kept -= rows;
                if rows > 0 {
                    *changes.dropped.entry(RULE.to_owned()).or_default() += rows;
                }
                *segment = new;
            }
        }
        if let Some(ledger) = &checkpoint.ledger
            && let Some(new) = self.ledger(ledger, Vec::new(), &self.stem(&stem))?
        {
            is_changed = true;
            purged.before.push(of_ledger(self.store, self.directory, ledger));
            purged.after.push(of_ledger(self.store, self.directory, &new));
            next.ledger = Some(new);
        }
        if !is_changed {
            return Ok(());
        }
        // Unchanged segments have rows of the same commits, so all of the batch's have to be looked at.
        for (old, new) in checkpoint.segments.iter().zip(&next.segments).filter(|(old, new)| old == new) {
            debug_assert_eq!(old.file, new.file);
            each_row(&self.directory.join(&old.file), self.interrupt, &mut |sample| {
                before.insert(sample.commit.to_owned());
                after.insert(sample.commit.to_owned());
                Ok(())
            })?;
        }
        let gone = (before.len() - after.len()) as u64;
        next.funnel.commits.kept -= gone;
        next.funnel.commits.candidates -= gone;
        next.funnel.commits.skip_many(Skip::NoChangeKept, gone);
        next.write(&self.directory.join(format!("{stem}.json")))
    }

    /// Writes the segment `old` anew without what is not wanted; none where it has nothing of the kind. `before` and
    /// `after` get the commits of its rows where it has.
    fn segment(
        &self,
        checkpoint: &Checkpoint,
        old: &SegmentManifest,
        stem: &str,
        before: &mut HashSet<String>,
        after: &mut HashSet<String>,
    ) -> Result<Option<SegmentManifest>, store::Error> {
        let name = &checkpoint.repository.name;
        let path = self.directory.join(&old.file);
        let mut drops = Vec::new();
        each_row(&path, self.interrupt, &mut |sample| {
            if let Some(line) = self.line(name, &sample) {
                drops.push(Dropped {
                    commit: sample.commit.to_owned(),
                    id: Some(sample.id.to_owned()),
                    old_file: sample.old_file.map(str::to_owned),
                    new_file: sample.new_file.map(str::to_owned),
                    layer: PURGE,
                    rule: RULE.to_owned(),
                    value: line,
                    bound: String::new(),
                });
            }
            Ok(())
        })?;
        let mut new = old.clone();
        let dropped = drops.len() as u64;
        // Without a ledger of what rules dropped there is none of this either.
        let is_kept = old.ledger.is_some() || old.changes.dropped.is_empty();
        new.ledger = match &old.ledger {
            Some(ledger) => self.ledger(ledger, drops, stem)?.or_else(|| Some(ledger.clone())),
            None if dropped > 0 && is_kept => {
                let mut writer = LedgerWriter::new(self.directory, stem)?;
                drops.into_iter().try_for_each(|dropped| writer.add(dropped))?;
                writer.seal()?
            }
            None => None,
        };
        if dropped == 0 && new.ledger == old.ledger {
            return Ok(None);
        }
        new.changes.kept -= dropped;
        if dropped > 0 {
            *new.changes.dropped.entry(RULE.to_owned()).or_default() += dropped;
        }
        let mut writer = SegmentWriter::new(self.directory, stem)?;
        let (mut encoder, mut builder) = (Encoder::default(), RowsBuilder::default());
        let damaged = |e: arrow_schema::ArrowError| store::Error::Damaged { path: path.clone(), reason: e.to_string() };
        for batch in segment::read(&path)? {
            let rows = Rows::new(&batch?).map_err(damaged)?;
            for at in 0..rows.len() {
                let sample = rows.get(at);
                before.insert(sample.commit.to_owned());
                if self.line(name, &sample).is_none() {
                    after.insert(sample.commit.to_owned());
                    builder.push(&sample);
                }
            }
            if !builder.is_empty() {
                let len = builder.len();
                writer.append(&encoder.encode(len, &builder.columns())?, len as u64)?;
            }
        }
        new.schema = crate::sample::SCHEMA_VERSION;
        writer.seal(new).map(Some)
    }

    /// Writes `ledger` anew with `more`, and without what rules saw of commits that are not wanted; none where that
    /// changes nothing.
    fn ledger(
        &self,
        ledger: &LedgerManifest,
        more: Vec<Dropped>,
        stem: &str,
    ) -> Result<Option<LedgerManifest>, store::Error> {
        let mut rows = ledger::read(&self.directory.join(&ledger.file))?;
        let mut is_changed = !more.is_empty();
        for row in rows.iter_mut().filter(|row| row.rule != RULE && !row.value.is_empty()) {
            let paths = [row.old_file.as_deref(), row.new_file.as_deref()];
            if self.wanted.find(Work { commit: &row.commit, paths, ..Work::default() }).is_some() {
                row.value.clear();
                is_changed = true;
            }
        }
        if !is_changed {
            return Ok(None);
        }
        let mut writer = LedgerWriter::new(self.directory, stem)?;
        rows.into_iter().chain(more).try_for_each(|dropped| writer.add(dropped))?;
        writer.seal()
    }
}

/// What a check of the purges of a store found, in words.
#[derive(Debug, Default)]
pub struct Verified {
    /// Rows that opt-outs name and files that were purged, which are there.
    pub there: Vec<String>,
    /// Receipts and opt-outs that are not there any more, or are not as they were written.
    pub missing: Vec<String>,
}

/// What is wrong with the purges of `store`. A store that remembers none has nothing wrong.
///
/// # Errors
/// The store is damaged.
pub fn verify(store: &Store, interrupt: &AtomicBool) -> Result<Verified, store::Error> {
    let mut verified = Verified { missing: remembered::missing(store)?, ..Verified::default() };
    let opt_outs = remembered::opt_outs_as_they_are(store)?;
    if opt_outs.is_empty() {
        return Ok(verified);
    }
    if store.has_rows_on_their_way_out() {
        verified.there.push("rows that a process which was killed had moved away are still there".into());
    }
    let (receipts, _) = remembered::receipts(store)?;
    let purged = receipts.iter().map(|(_, receipt)| receipt.time).max();
    if let (Some(purged), Some(index)) = (purged, Index::read(store)) {
        let names = index.arguments_before(purged)?.iter().filter(|argument| opt_outs.names_source(argument)).count();
        if names > 0 {
            verified.there.push(format!("{names} arguments of runs before the last purge name what was purged"));
        }
    }
    for (_, receipt) in receipts {
        for repository in &receipt.repositories {
            let there = repository.before.iter().filter(|file| {
                // The same name may be taken again by another run; the same contents may not.
                let now = fs::read(store.root().join(&file.file));
                now.is_ok_and(|bytes| blake3::hash(&bytes).to_hex().as_str() == file.blake3)
            });
            verified.there.extend(there.map(|file| format!("{} was purged and is still there", file.file)));
        }
    }
    for (directory, checkpoint) in store.batches()? {
        let (mut named, mut line) = (0_u64, String::new());
        for segment in &checkpoint.segments {
            each_row(&directory.join(&segment.file), interrupt, &mut |sample| {
                let work = Work { repositories: &checkpoint.repository.name, ..Work::from(&sample) };
                if let Some(found) = opt_outs.find(work) {
                    (named, line) = (named + 1, found);
                }
                Ok(())
            })?;
        }
        if named > 0 {
            let name = &checkpoint.repository.name;
            verified.there.push(format!("{named} rows of {name} are named by opt-outs such as {line}"));
        }
    }
    Ok(verified)
}
