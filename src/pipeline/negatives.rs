//! Finds hard negatives: changes that a subject does not ask for, as near to its own as there are. Owns which change that is
//! and where the texts of all changes wait meanwhile; what is made of them is a matter of [`crate::export::embedding`].

use std::{
    collections::HashMap,
    fs::File,
    io::{BufWriter, Read as _, Seek as _, SeekFrom, Write as _},
    ops::Range,
    path::{Path, PathBuf},
};

use super::assemble::facts;
use crate::{
    dedup::{
        near::{NGRAM_WORDS, SIMILARITY_MIN},
        words::{self, mix},
    },
    export::embedding::{Near, pair, rules},
    sample::Sample,
    store::{self, io_error},
};

/// So many changes are compared at each distance before the next one is tried.
const TRIES: usize = 32;

/// A change that may be a negative; its text is in the spilled file.
struct Change {
    /// The first half of its id.
    id: u64,
    subject: u64,
    start: u64,
    bytes: u64,
    repository: u32,
    file: u32,
}

/// All changes of a language in a split, in the order of the export: those of a repository are neighbours, and of these
/// those of a file.
#[derive(Default)]
struct Pool {
    changes: Vec<Change>,
    /// How many of them were asked for.
    asked: usize,
}

/// The changes of an export.
pub struct Negatives {
    pools: HashMap<(usize, String), Pool>,
    /// The last repository and path, with their numbers.
    last: (String, String, u32, u32),
    path: PathBuf,
    file: BufWriter<File>,
    written: u64,
}

impl Negatives {
    /// Texts go to a file at `path`.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn new(path: &Path) -> Result<Self, store::Error> {
        let file = File::options().read(true).write(true).create_new(true).open(path).map_err(io_error(path))?;
        let last = (String::new(), String::new(), 0, 0);
        Ok(Negatives { pools: HashMap::new(), last, path: path.to_owned(), file: BufWriter::new(file), written: 0 })
    }

    /// Remembers a row, in the order of the export.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn see(&mut self, sample: &Sample<'_>, split: usize) -> Result<(), store::Error> {
        let Ok((subject, change)) = pair(sample) else { return Ok(()) };
        let repository = sample.repos.split(',').next().unwrap_or_default();
        let path = sample.new_file.or(sample.old_file).unwrap_or_default();
        let (last_repository, last_path, repositories, files) = &mut self.last;
        if last_repository != repository {
            *repositories += 1;
        }
        if last_repository != repository || last_path != path {
            *files += 1;
            (*last_repository, *last_path) = (repository.to_owned(), path.to_owned());
        }
        self.file.write_all(change.as_bytes()).map_err(io_error(&self.path))?;
        let bytes = change.len() as u64;
        let (start, id, subject) = (self.written, short(sample.id), words::hash(subject));
        let change = Change { id, subject, start, bytes, repository: *repositories, file: *files };
        self.pools.entry((split, sample.lang.to_owned())).or_default().changes.push(change);
        self.written += bytes;
        Ok(())
    }

    /// The negative of a row with its text, for rows in the order in which they were seen.
    ///
    /// # Errors
    /// The file can't be read; within that, the rule by which the row is left out.
    pub fn find(
        &mut self,
        sample: &Sample<'_>,
        split: usize,
    ) -> Result<Result<(Near, String), &'static str>, store::Error> {
        let (_, positive) = match pair(sample) {
            Ok(pair) => pair,
            Err(rule) => return Ok(Err(rule)),
        };
        let Negatives { pools, path, file, .. } = self;
        let changed = || store::Error::Changed { path: path.clone() };
        let pool = pools.get_mut(&(split, sample.lang.to_owned())).ok_or_else(changed)?;
        let at = pool.asked;
        pool.asked += 1;
        let all = &pool.changes;
        let own = all.get(at).filter(|change| change.id == short(sample.id)).ok_or_else(changed)?;
        let own_sets = Sets::of(positive);
        let around = |is_of: &dyn Fn(&Change) -> bool| {
            let start = all[..at].partition_point(|change| !is_of(change));
            start..at + all[at..].partition_point(|change| is_of(change))
        };
        let of_file = around(&|change| change.file == own.file);
        let of_repository = around(&|change| change.repository == own.repository);
        for (near, inner, outer) in [
            (Near::SameFile, at..at + 1, of_file.clone()),
            (Near::SameRepository, of_file, of_repository.clone()),
            (Near::SameLanguage, of_repository, 0..all.len()),
        ] {
            for candidate in drawn(own.id, &inner, &outer) {
                let change = &all[candidate];
                if change.subject == own.subject {
                    continue;
                }
                let text = read(file, path, change)?;
                let other = Sets::of(&text);
                if !other.is_like(&own_sets) {
                    return Ok(Ok((near, text)));
                }
            }
        }
        Ok(Err(rules::NO_NEGATIVE))
    }
}

/// Places in `outer` and not in `inner`: all of them, from a drawn one on, or so many as are tried, each drawn.
fn drawn(id: u64, inner: &Range<usize>, outer: &Range<usize>) -> impl Iterator<Item = usize> {
    let left = inner.start - outer.start;
    let places = left + (outer.end - inner.end);
    let (start, end, from) = (outer.start, inner.end, mix(id));
    (0..places.min(TRIES)).map(move |turn| {
        let drawn = match places <= TRIES {
            true => from.wrapping_add(turn as u64),
            false => mix(from.wrapping_add(turn as u64)),
        };
        let place = (drawn % places as u64) as usize;
        if place < left { start + place } else { end + (place - left) }
    })
}

fn short(id: &str) -> u64 {
    id.get(..16).and_then(|half| u64::from_str_radix(half, 16).ok()).unwrap_or_default()
}

/// A change as sets of n-grams. Two are alike if one of their sets is: of the changed lines with their signs, as near-duplicates
/// are told; of each line, context too, without signs, so that what takes a change back, or changes one line once more, is
/// like it as well; and of what whoever compares the texts may take: all, all but the places of hunks, the changed lines.
struct Sets([Vec<u32>; 5]);

impl Sets {
    fn of(change: &str) -> Self {
        let (mut each, mut hashes) = (Vec::new(), Vec::new());
        let lines = || change.lines().filter(|line| !line.starts_with("@@"));
        for line in lines() {
            hashes.clear();
            words::hashes(line, &mut hashes);
            each.extend(words::ngram_set(&hashes, NGRAM_WORDS));
        }
        each.sort_unstable();
        each.dedup();
        let mut of_lines = |lines: &mut dyn Iterator<Item = &str>| {
            hashes.clear();
            lines.for_each(|line| words::hashes(line, &mut hashes));
            words::ngram_set(&hashes, NGRAM_WORDS)
        };
        Sets([
            facts::change_set(&Sample { diff: change, ..Sample::default() }),
            each,
            of_lines(&mut change.lines()),
            of_lines(&mut lines()),
            of_lines(&mut lines().filter(|line| line.starts_with(['+', '-']))),
        ])
    }

    fn is_like(&self, other: &Sets) -> bool {
        self.0.iter().zip(&other.0).any(|(own, other)| words::jaccard(own, other) >= SIMILARITY_MIN)
    }
}

fn read(file: &mut BufWriter<File>, path: &Path, change: &Change) -> Result<String, store::Error> {
    file.flush().map_err(io_error(path))?;
    let mut bytes = vec![0; change.bytes as usize];
    let file = file.get_mut();
    let read = file.seek(SeekFrom::Start(change.start)).and_then(|_| file.read_exact(&mut bytes));
    read.map_err(io_error(path))?;
    Ok(String::from_utf8(bytes).expect("what was written were texts of rows"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hunk(text: &str) -> String {
        let (goes, comes) = ("goes away for good now", "comes in its place today");
        let (goes, comes) = if text == "back" { (comes, goes) } else { (goes, comes) };
        let text = if text == "back" { "alpha" } else { text };
        format!("@@ -1 +1 @@\n-{text} {goes} with {text} and {text}\n+{text} {comes} with {text} and {text}\n")
    }

    /// Repository, path, language, subject and change.
    fn found(rows: &[(&str, &str, &str, &str, &str)]) -> Vec<Result<(Near, String), &'static str>> {
        let directory = tempfile::tempdir().expect("a directory");
        let mut negatives = Negatives::new(&directory.path().join("changes")).expect("a file");
        let ids: Vec<String> = (0..rows.len()).map(|n| format!("{:032x}", mix(n as u64 + 1))).collect();
        let hunks: Vec<String> =
            rows.iter().map(|row| if row.4.is_empty() { String::new() } else { hunk(row.4) }).collect();
        let samples = rows.iter().zip(&ids).zip(&hunks).map(|(((repos, path, lang, subject, _), id), diff)| Sample {
            id,
            repos,
            lang,
            subject,
            diff,
            new_file: Some(path),
            ..Sample::default()
        });
        let samples: Vec<_> = samples.collect();
        samples.iter().for_each(|sample| negatives.see(sample, 0).expect("it is written"));
        samples.iter().map(|sample| negatives.find(sample, 0).expect("it is read")).collect()
    }

    #[test]
    fn the_nearest_change_that_differs_is_the_negative() {
        use Near::{SameFile, SameLanguage, SameRepository};
        let near = |rows: &[_]| found(rows).into_iter().map(|found| found.map(|(near, _)| near)).collect::<Vec<_>>();
        let a = ("r", "a.c", "c", "one", "alpha");
        for (what, rows, expected) in [
            ("the file's", vec![a, ("r", "a.c", "c", "two", "beta")], vec![Ok(SameFile), Ok(SameFile)]),
            (
                "the repository's",
                vec![a, ("r", "b.c", "c", "two", "beta")],
                vec![Ok(SameRepository), Ok(SameRepository)],
            ),
            ("the language's", vec![a, ("s", "a.c", "c", "two", "beta")], vec![Ok(SameLanguage), Ok(SameLanguage)]),
            ("of another language", vec![a, ("r", "a.py", "python", "two", "beta")], vec![Err(rules::NO_NEGATIVE); 2]),
            ("of the same subject", vec![a, ("r", "b.c", "c", "one", "beta")], vec![Err(rules::NO_NEGATIVE); 2]),
            ("of the same change", vec![a, ("r", "b.c", "c", "two", "alpha")], vec![Err(rules::NO_NEGATIVE); 2]),
            ("of what takes it back", vec![a, ("r", "a.c", "c", "two", "back")], vec![Err(rules::NO_NEGATIVE); 2]),
            ("without subject", vec![("r", "a.c", "c", " ", "x")], vec![Err(rules::NO_SUBJECT)]),
            ("without hunks", vec![("r", "a.c", "c", "x", "")], vec![Err(rules::NO_HUNK)]),
            (
                "past what is too much alike",
                vec![
                    a,
                    ("r", "a.c", "c", "two", "alpha"),
                    ("r", "b.c", "c", "two", "beta"),
                    ("s", "z.c", "c", "six", "ten"),
                ],
                vec![Ok(SameRepository), Ok(SameLanguage), Ok(SameRepository), Ok(SameLanguage)],
            ),
        ] {
            assert_eq!(near(&rows), expected, "{what}");
        }
    }

    #[test]
    fn places_are_drawn_outside_of_those_that_were_tried() {
        for (inner, outer) in [(3..4, 3..4), (3..4, 0..9), (0..1, 0..2), (8..9, 0..9), (40..60, 0..300)] {
            let places: Vec<usize> = drawn(7, &inner, &outer).collect();
            assert!(places.iter().all(|at| outer.contains(at) && !inner.contains(at)), "{places:?}");
            let mut once = places.clone();
            once.sort_unstable();
            once.dedup();
            let left = outer.len() - inner.len();
            assert!(left > TRIES || once.len() == left, "{places:?}");
            assert_eq!(places.len(), left.min(TRIES));
        }
    }
}
