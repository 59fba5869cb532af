//! Which answers are good, bad or better: by commits that take others back, bring them back, or say that they mend them.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs::File,
    io::{BufWriter, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use super::reversal::{Link, LinkKind};
use crate::{
    classify::message,
    sample::Sample,
    store::{self, io_error},
};

/// The rules that rows are left out by.
pub mod rules {
    /// It was reverted and landed again, so it is neither good nor bad.
    pub const RELANDED: &str = "relanded";
    /// No later commit landed it again or says that it mends it.
    pub const NO_PAIR: &str = "no_pair";
    /// It was landed again on other contents than at first, so that is another question's answer.
    pub const OTHER_START: &str = "other_start";
    /// It was landed again just as it was.
    pub const SAME_ANSWER: &str = "same_answer";
    /// What mends it is to take it back.
    pub const UNDONE: &str = "undone";
}

/// What became of commits that were taken back.
pub struct Fates(HashMap<String, LinkKind>);

impl Fates {
    /// The last link of a commit, by time, decides.
    pub fn of(links: &BTreeSet<Link>) -> Self {
        // Sorted by commit, then by time.
        Fates(links.iter().map(|link| (link.commit.clone(), link.kind)).collect())
    }

    /// Whether a change of `commit` stayed.
    ///
    /// # Errors
    /// The rule by which its rows are left out.
    pub fn stayed(&self, commit: &str) -> Result<bool, &'static str> {
        match self.0.get(commit) {
            None => Ok(true),
            Some(LinkKind::Reverted) => Ok(false),
            Some(LinkKind::Relanded) => Err(rules::RELANDED),
        }
    }
}

/// Why an answer is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The commit was taken back and landed again, changed.
    Relanded,
    /// A later commit says that it mends it.
    Fixed,
}

impl Why {
    /// The name in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Why::Relanded => "relanded",
            Why::Fixed => "fixed",
        }
    }
}

/// A row that may be the better answer to another one; its contents are in the spilled file.
#[derive(Clone)]
struct Later {
    time: i64,
    id: String,
    old_blob: String,
    new_blob: String,
    /// The commits that it says it mends.
    fixes: Vec<String>,
    start: u64,
    length: usize,
}

/// Rows that may be better answers, by what they may answer.
pub struct Pairs {
    /// Commits that brought a commit back.
    relanders: HashMap<String, Vec<String>>,
    /// All of these.
    bringers: HashSet<String>,
    /// By commit and path, of those.
    relands: HashMap<(String, String), Later>,
    /// By path and the blob that they start from.
    fixes: HashMap<(String, String), Vec<Later>>,
    path: PathBuf,
    file: BufWriter<File>,
    written: u64,
}

impl Pairs {
    /// Looks for pairs along `links`; contents of later rows go to a file at `path`.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn new(path: &Path, links: &BTreeSet<Link>) -> Result<Self, store::Error> {
        let mut relanders: HashMap<String, Vec<String>> = HashMap::new();
        for link in links.iter().filter(|link| link.kind == LinkKind::Relanded) {
            relanders.entry(link.commit.clone()).or_default().push(link.by.clone());
        }
        let bringers = relanders.values().flatten().cloned().collect();
        let options = File::options().read(true).write(true).create_new(true).open(path);
        let file = BufWriter::new(options.map_err(io_error(path))?);
        let (relands, fixes) = (HashMap::new(), HashMap::new());
        Ok(Pairs { relanders, bringers, relands, fixes, path: path.to_owned(), file, written: 0 })
    }

    /// Remembers a row if it may be a better answer.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn see(&mut self, sample: &Sample<'_>) -> Result<(), store::Error> {
        let (Some(path), Some(old_blob), Some(new_blob)) = (sample.new_file, sample.old_blob, sample.new_blob) else {
            return Ok(());
        };
        let is_relander = self.bringers.contains(sample.commit);
        let fixes = message::fixes(sample.message);
        let Some(contents) = sample.new_contents.filter(|_| is_relander || !fixes.is_empty()) else { return Ok(()) };
        self.file.write_all(contents.as_bytes()).map_err(io_error(&self.path))?;
        let later = Later {
            time: sample.commit_time.unwrap_or(0),
            id: sample.id.to_owned(),
            old_blob: old_blob.to_owned(),
            new_blob: new_blob.to_owned(),
            fixes,
            start: self.written,
            length: contents.len(),
        };
        self.written += contents.len() as u64;
        if is_relander {
            self.relands.insert((sample.commit.to_owned(), path.to_owned()), later.clone());
        }
        if let (false, Some(old_file)) = (later.fixes.is_empty(), sample.old_file) {
            self.fixes.entry((old_file.to_owned(), old_blob.to_owned())).or_default().push(later);
        }
        Ok(())
    }

    /// The better answer to a row, the earliest one, and why it is better.
    ///
    /// # Errors
    /// The file can't be read; within that, the rule by which the row is left out.
    pub fn find(&mut self, sample: &Sample<'_>) -> Result<Result<(Why, String), &'static str>, store::Error> {
        let (Some(path), Some(old_blob), Some(new_blob)) = (sample.new_file, sample.old_blob, sample.new_blob) else {
            return Ok(Err(rules::NO_PAIR));
        };
        let mut reason = rules::NO_PAIR;
        let mut found: Option<(Why, &Later)> = None;
        let mut take = |why: Why, later| {
            let key = |(_, later): &(Why, &Later)| (later.time, later.id.clone());
            if found.is_none_or(|best| key(&(why, later)) < key(&best)) {
                found = Some((why, later));
            }
        };
        for commit in self.relanders.get(sample.commit).into_iter().flatten() {
            match self.relands.get(&(commit.clone(), path.to_owned())) {
                None => {}
                Some(later) if later.old_blob != old_blob => reason = rules::OTHER_START,
                Some(later) if later.new_blob == new_blob => reason = rules::SAME_ANSWER,
                Some(later) => take(Why::Relanded, later),
            }
        }
        let names = |later: &&Later| later.fixes.iter().any(|start| sample.commit.starts_with(start.as_str()));
        let fixes = self.fixes.get(&(path.to_owned(), new_blob.to_owned()));
        for later in fixes.into_iter().flatten().filter(names) {
            match later.new_blob == old_blob {
                true => reason = rules::UNDONE,
                false => take(Why::Fixed, later),
            }
        }
        let Some((why, later)) = found else { return Ok(Err(reason)) };
        let (start, length) = (later.start, later.length);
        let mut bytes = vec![0; length];
        self.file.flush().map_err(io_error(&self.path))?;
        let file = self.file.get_mut();
        let read = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut bytes));
        read.map_err(io_error(&self.path))?;
        let contents = String::from_utf8(bytes).expect("what was written were contents of rows");
        Ok(Ok((why, contents)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(commit: &str, time: i64, kind: LinkKind, by: &str) -> Link {
        Link { commit: commit.into(), time, kind, by: by.into() }
    }

    #[test]
    fn the_last_link_decides() {
        use LinkKind::{Relanded, Reverted};
        let links = [
            link("a", 1, Reverted, "x"),
            link("b", 1, Reverted, "x"),
            link("b", 2, Relanded, "y"),
            link("c", 3, Reverted, "z"),
            link("c", 1, Reverted, "x"),
            link("c", 2, Relanded, "y"),
        ];
        let fates = Fates::of(&links.into_iter().collect());
        for (commit, expected) in [("a", Ok(false)), ("b", Err(rules::RELANDED)), ("c", Ok(false)), ("d", Ok(true))] {
            assert_eq!(fates.stayed(commit), expected, "{commit}");
        }
    }

    fn row<'a>(commit: &'a str, blobs: (&'a str, &'a str), message: &'a str) -> Sample<'a> {
        Sample {
            id: commit,
            commit,
            old_file: Some("f"),
            new_file: Some("f"),
            old_blob: Some(blobs.0),
            new_blob: Some(blobs.1),
            new_contents: Some(blobs.1),
            message,
            ..Sample::default()
        }
    }

    #[test]
    fn a_later_commit_has_the_better_answer() {
        let directory = tempfile::tempdir().expect("a directory");
        let links = [
            link("a1", 9, LinkKind::Relanded, "r1"),
            link("a2", 9, LinkKind::Relanded, "r2"),
            link("a3", 9, LinkKind::Relanded, "r3"),
        ];
        let mut pairs = Pairs::new(&directory.path().join("later"), &links.into_iter().collect()).expect("a file");
        for later in [
            row("r1", ("0", "better"), "Reland it"),
            row("r2", ("0", "1"), "Reland it"),
            row("r3", ("5", "better"), "Reland it"),
            row("f1", ("4", "mended"), "Mend it\n\nFixes: abcdef012345\n"),
            Sample { commit_time: Some(-5), ..row("f0", ("4", "earlier"), "Mend it\n\nFixes: abcdef0\n") },
            row("f2", ("4", "other"), "Mend it\n\nFixes: 1111111\n"),
            row("f3", ("7", "6"), "Take it back\n\nFixes: 2222222\n"),
        ] {
            pairs.see(&later).expect("it is written");
        }
        let long = |start: &str| start.repeat(40)[..40].to_owned();
        let ids = [long("abcdef012345"), long("2"), long("3")];
        for (first, expected) in [
            (row("a1", ("0", "1"), ""), Ok((Why::Relanded, "better"))),
            (row("a2", ("0", "1"), ""), Err(rules::SAME_ANSWER)),
            (row("a3", ("0", "1"), ""), Err(rules::OTHER_START)),
            (row(&ids[0], ("3", "4"), ""), Ok((Why::Fixed, "earlier"))),
            (row(&ids[0], ("3", "9"), ""), Err(rules::NO_PAIR)),
            (row(&ids[1], ("6", "7"), ""), Err(rules::UNDONE)),
            (row(&ids[2], ("3", "4"), ""), Err(rules::NO_PAIR)),
        ] {
            let found = pairs.find(&first).expect("it is read");
            assert_eq!(found, expected.map(|(why, text)| (why, text.to_owned())), "{}", first.commit);
        }
    }
}
