//! What changed from one export of a store to the next: which rows came, which went, and why, as far as that can be told.
//!
//! An export that is to be compared keeps `rows.ids`: a line of JSON about the store, then a record for every row of it,
//! kept or not, sorted by id. Two such files are read side by side, so rows take no memory.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{
    assemble::spill::{Fields, Record as _, Sorter, record},
    purge,
};
use crate::store::{self, Store, io_error};

/// Version of the files.
const VERSION: u32 = 1;
/// About as much memory do records take while they are sorted.
const SORTED_BYTES_MAX: u64 = 64 << 20;
/// Longest first line that is read: a million repositories take half of that.
const HEAD_BYTES_MAX: u64 = 1 << 30;

/// What became of a row of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is in the export.
    Kept,
    /// Its owner opted out.
    OptedOut,
    /// The assembly decided against it.
    Assembly,
    /// The export's rules, or what makes records, left it out.
    Rules,
}

/// Why a row came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Its repository has other tips than before, and the row was not in the store.
    NewCommits,
    /// Its repository was not in the store.
    NewRepository,
    /// Its repository has other tips, which do not reach it any more.
    HistoryRewritten,
    /// Its repository is gone, and its rows with it.
    Gone,
    /// Its owner opted out, or takes that back.
    OptedOut,
    /// The assembly decided against it, or does not any more.
    Assembly,
    /// Its repository was mined, or it was exported, with other settings.
    Settings,
    /// It can't be told.
    Other,
}

record!(
    /// A row of the store.
    Seen { id: u128, repository: u32, fate: u8 } self => (self.id >> 64) as u64
);

impl Seen {
    fn fate(self) -> Fate {
        match self.fate {
            0 => Fate::Kept,
            1 => Fate::OptedOut,
            2 => Fate::Assembly,
            _ => Fate::Rules,
        }
    }
}

/// A repository of the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Repository {
    identity: String,
    name: String,
    /// Up to which it was mined.
    tips: Vec<String>,
    /// Digest of the settings with which it was.
    recipe: String,
}

/// The store as it was.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    gitlode_rows: u32,
    /// Digest of how it was exported.
    settings: String,
    /// Digest of who opted out.
    opt_outs: String,
    repositories: Vec<Repository>,
}

/// Takes note of the rows of a store while they are exported.
pub struct Noted {
    head: Head,
    numbers: HashMap<String, u32>,
    sorter: Sorter<Seen>,
}

impl Noted {
    /// Nothing yet of `store`; what does not fit into memory is spilled to `directory`.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn new(store: &Store, directory: &Path) -> Result<Self, store::Error> {
        let mut repositories: BTreeMap<String, Repository> = BTreeMap::new();
        for (_, checkpoint) in store.batches()? {
            let recipe = blake3::hash(checkpoint.recipe.to_string().as_bytes()).to_hex().to_string();
            let (identity, name) = (checkpoint.repository.identity, checkpoint.repository.name);
            let newest = Repository { identity: identity.clone(), name, tips: checkpoint.tips, recipe };
            repositories.insert(identity, newest);
        }
        let repositories: Vec<Repository> = repositories.into_values().collect();
        let numbers = (0..).zip(&repositories).map(|(number, one)| (one.identity.clone(), number)).collect();
        let (settings, opt_outs) = (String::new(), purge::opt_outs(store)?.digest());
        let head = Head { gitlode_rows: VERSION, settings, opt_outs, repositories };
        Ok(Noted { head, numbers, sorter: Sorter::new(directory, SORTED_BYTES_MAX, u64::MAX) })
    }

    /// How the export is made, as text.
    pub fn settle(&mut self, settings: &str) {
        self.head.settings = blake3::hash(settings.as_bytes()).to_hex().to_string();
    }

    /// Takes note of a row.
    ///
    /// # Errors
    /// It can't be spilled.
    pub fn row(&mut self, id: &str, identity: &str, fate: Fate) -> Result<(), store::Error> {
        let id = u128::from_str_radix(id, 16).unwrap_or_default();
        let repository = self.numbers.get(identity).copied().unwrap_or(u32::MAX);
        self.sorter.push(Seen { id, repository, fate: fate as u8 })
    }

    /// Writes all of it to the file `path`.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write(self, path: &Path) -> Result<(), store::Error> {
        let mut file = BufWriter::new(File::create(path).map_err(io_error(path))?);
        writeln!(file, "{}", serde_json::json!(self.head)).map_err(io_error(path))?;
        let mut bytes = Vec::new();
        self.sorter.for_each_part(1, |rows| {
            for row in rows {
                bytes.clear();
                row.put(&mut bytes);
                file.write_all(&bytes).map_err(io_error(path))?;
            }
            Ok(())
        })?;
        file.flush().map_err(io_error(path))
    }
}

/// Rows that came or went, by why.
pub type ByWhy = BTreeMap<Why, u64>;

/// What changed of one repository.
#[derive(Debug, Default, Serialize)]
pub struct OfRepository {
    repository: String,
    identity: String,
    added: ByWhy,
    removed: ByWhy,
}

/// What changed.
#[derive(Debug, Serialize)]
pub struct Changes {
    gitlode_changes: u32,
    /// The export before.
    before: String,
    /// Rows that came.
    pub added: ByWhy,
    /// Rows that went.
    pub removed: ByWhy,
    /// The same by repository, those that have any.
    repositories: Vec<OfRepository>,
}

impl Changes {
    /// In a few words.
    pub fn sentence(&self) -> String {
        let part = |what: &str, by: &ByWhy| {
            let all: Vec<String> = by.iter().map(|(why, rows)| format!("{} {rows}", word(*why))).collect();
            let all = if all.is_empty() { String::new() } else { format!(" ({})", all.join(", ")) };
            format!("{} {what}{all}", by.values().sum::<u64>())
        };
        format!("{}, {}", part("added", &self.added), part("removed", &self.removed))
    }
}

fn word(why: Why) -> String {
    serde_json::json!(why).as_str().unwrap_or_default().to_owned()
}

/// A file of rows that is read.
struct Reader {
    head: Head,
    file: BufReader<File>,
    path: std::path::PathBuf,
}

impl Reader {
    fn open(path: &Path) -> Result<Self, store::Error> {
        let mut file = BufReader::new(File::open(path).map_err(io_error(path))?);
        let mut line = Vec::new();
        file.by_ref().take(HEAD_BYTES_MAX).read_until(b'\n', &mut line).map_err(io_error(path))?;
        let damaged = |reason: String| store::Error::BadManifest { path: path.to_owned(), reason };
        let head: Head = serde_json::from_slice(&line).map_err(|error| damaged(error.to_string()))?;
        if head.gitlode_rows != VERSION {
            return Err(damaged(format!("it is of version {}", head.gitlode_rows)));
        }
        Ok(Reader { head, file, path: path.to_owned() })
    }

    fn next(&mut self) -> Result<Option<Seen>, store::Error> {
        let mut bytes = [0; Seen::BYTES];
        if self.file.fill_buf().map_err(io_error(&self.path))?.is_empty() {
            return Ok(None);
        }
        self.file.read_exact(&mut bytes).map_err(io_error(&self.path))?;
        let seen = Seen::get(&mut Fields(&bytes));
        if seen.repository as usize >= self.head.repositories.len() {
            return Err(store::Error::BadManifest {
                path: self.path.clone(),
                reason: "a row is of no repository".into(),
            });
        }
        Ok(Some(seen))
    }
}

/// What is known of a row beside its fates.
struct Context {
    has_other_settings: bool,
    has_other_opt_outs: bool,
}

/// Why a row is in the export that was not in the one before; `then` is what became of it there.
fn why_added(context: &Context, then: Option<Fate>, before: Option<&Repository>, after: &Repository) -> Why {
    match (then, before) {
        (Some(Fate::OptedOut), _) => Why::OptedOut,
        (Some(Fate::Assembly), _) => Why::Assembly,
        (Some(Fate::Rules), _) if context.has_other_settings => Why::Settings,
        (Some(Fate::Rules | Fate::Kept), _) => Why::Other,
        (None, None) => Why::NewRepository,
        (None, Some(before)) if before.recipe != after.recipe => Why::Settings,
        (None, Some(before)) if before.tips != after.tips => Why::NewCommits,
        (None, Some(_)) => Why::Other,
    }
}

/// Why a row is not in the export any more; `now` is what became of it there. Of a repository that is not in the store any
/// more, `lost` says why.
fn why_removed(context: &Context, now: Option<Fate>, before: &Repository, after: Result<&Repository, Why>) -> Why {
    match (now, after) {
        (Some(Fate::OptedOut), _) => Why::OptedOut,
        (Some(Fate::Assembly), _) => Why::Assembly,
        (Some(Fate::Rules), _) if context.has_other_settings => Why::Settings,
        (Some(Fate::Rules | Fate::Kept), _) => Why::Other,
        (None, Err(lost)) => lost,
        (None, Ok(after)) if before.recipe != after.recipe => Why::Settings,
        // Only a history that was mined from the start, and a purge, take rows out of a store.
        (None, Ok(after)) => match (context.has_other_opt_outs, before.tips != after.tips) {
            (false, true) => Why::HistoryRewritten,
            (true, false) => Why::OptedOut,
            (true, true) | (false, false) => Why::Other,
        },
    }
}

/// Compares what was noted of an export with what was noted of the one before, which `name` names; each row that came or went
/// is a line of the file `list`. `lost` says why a repository, by identity and name, is not in the store any more.
///
/// # Errors
/// One of the files can't be read, or `list` can't be written.
pub fn compare(
    (name, before): (&str, &Path),
    after: &Path,
    list: &Path,
    lost: &dyn Fn(&str, &str) -> Why,
) -> Result<Changes, store::Error> {
    let (mut old, mut new) = (Reader::open(before)?, Reader::open(after)?);
    let mut list_file = BufWriter::new(File::create(list).map_err(io_error(list))?);
    let context = Context {
        has_other_settings: old.head.settings != new.head.settings,
        has_other_opt_outs: old.head.opt_outs != new.head.opt_outs,
    };
    let (olds, news) = (old.head.repositories.clone(), new.head.repositories.clone());
    let by = |all: &[Repository]| -> HashMap<String, usize> {
        all.iter().enumerate().map(|(at, one)| (one.identity.clone(), at)).collect()
    };
    let (old_by, new_by) = (by(&olds), by(&news));
    let mut found: BTreeMap<String, OfRepository> = BTreeMap::new();
    let (mut added, mut removed) = (ByWhy::new(), ByWhy::new());
    let (mut left, mut right) = (old.next()?, new.next()?);
    while left.is_some() || right.is_some() {
        let id = left.iter().chain(&right).map(|seen| seen.id).min().unwrap_or_default();
        let (then, now) = (left.filter(|seen| seen.id == id), right.filter(|seen| seen.id == id));
        let is_kept = |seen: Option<Seen>| seen.filter(|seen| seen.fate() == Fate::Kept);
        let change = match (is_kept(then), is_kept(now)) {
            (None, Some(now)) => {
                let repository = &news[now.repository as usize];
                let before = old_by.get(&repository.identity).map(|at| &olds[*at]);
                Some(("added", repository, why_added(&context, then.map(Seen::fate), before, repository)))
            }
            (Some(then), None) => {
                let repository = &olds[then.repository as usize];
                let after = new_by.get(&repository.identity).map(|at| &news[*at]);
                let after = after.ok_or_else(|| lost(&repository.identity, &repository.name));
                Some(("removed", repository, why_removed(&context, now.map(Seen::fate), repository, after)))
            }
            _ => None,
        };
        if let Some((change, repository, why)) = change {
            let of = found.entry(repository.identity.clone()).or_insert_with(|| OfRepository {
                repository: repository.name.clone(),
                identity: repository.identity.clone(),
                ..OfRepository::default()
            });
            let (all, own) = match change {
                "added" => (&mut added, &mut of.added),
                _ => (&mut removed, &mut of.removed),
            };
            *all.entry(why).or_default() += 1;
            *own.entry(why).or_default() += 1;
            let line = serde_json::json!({
                "id": format!("{id:032x}"), "change": change, "why": why, "repository": repository.name,
            });
            writeln!(list_file, "{line}").map_err(io_error(list))?;
        }
        if then.is_some() {
            left = old.next()?;
        }
        if now.is_some() {
            right = new.next()?;
        }
    }
    list_file.flush().map_err(io_error(list))?;
    let repositories = found.into_values().collect();
    Ok(Changes { gitlode_changes: VERSION, before: name.to_owned(), added, removed, repositories })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_what_the_two_states_show_and_nothing_more() {
        let repository = |tips: &str, recipe: &str| Repository {
            identity: "h/a".into(),
            name: "a".into(),
            tips: vec![tips.into()],
            recipe: recipe.into(),
        };
        let (same, moved, other) = (repository("1", "r"), repository("2", "r"), repository("2", "s"));
        let context = |has_other_settings, has_other_opt_outs| Context { has_other_settings, has_other_opt_outs };
        let calm = context(false, false);
        for (context, then, before, after, expected) in [
            (&calm, None, None, &same, Why::NewRepository),
            (&calm, None, Some(&same), &moved, Why::NewCommits),
            (&calm, None, Some(&same), &other, Why::Settings),
            (&calm, None, Some(&same), &same, Why::Other),
            (&calm, Some(Fate::Assembly), Some(&same), &moved, Why::Assembly),
            (&calm, Some(Fate::OptedOut), Some(&same), &same, Why::OptedOut),
            (&calm, Some(Fate::Rules), Some(&same), &moved, Why::Other),
            (&context(true, false), Some(Fate::Rules), Some(&same), &same, Why::Settings),
        ] {
            assert_eq!(why_added(context, then, before, after), expected, "{then:?} {before:?}");
        }
        for (context, now, after, expected) in [
            (&calm, None, Err(Why::Gone), Why::Gone),
            (&calm, None, Ok(&moved), Why::HistoryRewritten),
            (&calm, None, Ok(&same), Why::Other),
            (&calm, None, Ok(&other), Why::Settings),
            (&context(false, true), None, Ok(&same), Why::OptedOut),
            (&context(false, true), None, Ok(&moved), Why::Other),
            (&calm, Some(Fate::Assembly), Ok(&moved), Why::Assembly),
            (&calm, Some(Fate::OptedOut), Ok(&same), Why::OptedOut),
            (&calm, Some(Fate::Rules), Ok(&same), Why::Other),
            (&context(true, false), Some(Fate::Rules), Ok(&same), Why::Settings),
        ] {
            assert_eq!(why_removed(context, now, &same, after), expected, "{now:?} {after:?}");
        }
    }
}
