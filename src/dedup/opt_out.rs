//! Who does not want their work in the rows: owners, repositories, commits, paths and authors, one a line.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use regex::Regex;

use crate::{filter::glob, sample::Sample};

/// The rule that what is named here goes by, as ledgers and accounts name it.
pub const RULE: &str = "opt_out";

/// Counts up when lines name other work than before, so that what was decided by them is decided again.
const RULES_OF_NAMING: &[u8] = b"gitlode opt-outs 2\0";

/// Columns of a source list that name what a repository was forked from, as `discover --forks attach` writes them.
const ORIGIN_COLUMNS: [&str; 2] = ["parent", "root"];

/// Fewest digits that a commit id may be shortened to.
const COMMIT_DIGITS_MIN: usize = 7;

/// Digits of a SHA-256 in hexadecimal.
const AUTHOR_DIGITS: usize = 64;

/// A list of those.
#[derive(Clone, Debug, Default)]
pub struct OptOuts {
    /// Lines as they were given, and what they name.
    list: Vec<(String, Named)>,
    /// The first half of the ids of commits that were purged, by number.
    commits: HashSet<u128>,
    /// Of a repository's name the names of what it was forked from, all in lower case.
    origins: HashMap<String, BTreeSet<String>>,
    /// Whether some line names an author.
    has_authors: bool,
    /// Whether work of several repositories is only named where all of them are.
    keep_shared: bool,
}

#[derive(Clone, Debug)]
enum Named {
    /// Any part of a repository's name but the last, in lower case.
    Owner(String),
    /// A repository's name, in lower case.
    Repository(String),
    /// The start of a commit id.
    Commit(String),
    Path(Regex),
    /// The SHA-256 of an address in lower case, in hexadecimal.
    Author(String),
}

/// What a line can name, as far as it is known.
#[derive(Clone, Copy, Default)]
pub struct Work<'a> {
    /// Names of repositories, with commas between them.
    pub repositories: &'a str,
    /// The commit id in hexadecimal.
    pub commit: &'a str,
    /// Paths before and after.
    pub paths: [Option<&'a str>; 2],
    /// The addresses of the author and of the committer.
    pub people: [Option<&'a str>; 2],
    /// The message, which may name further people.
    pub message: &'a str,
}

impl<'a> From<&'a Sample<'a>> for Work<'a> {
    fn from(sample: &'a Sample<'a>) -> Self {
        Work {
            repositories: sample.repos,
            commit: sample.commit,
            paths: [sample.old_file, sample.new_file],
            people: [sample.author_email, sample.committer_email],
            message: sample.message,
        }
    }
}

/// What stands for a purged commit: as many digits of its id as fit into the number, of both kinds of id.
fn number(commit: &str) -> Option<u128> {
    commit.get(..32).and_then(|digits| u128::from_str_radix(digits, 16).ok())
}

impl OptOuts {
    /// Reads `text`: lines `owner:NAME`, `repository:OWNER/NAME`, `commit:ID` (seven digits at the least), `path:GLOB`
    /// and `author:HASH` (the SHA-256 of an e-mail address in lower case, which names all work that the address stands in as
    /// author's, as committer's or in the message); empty lines and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// A line is none of these; the first one, by number from 1, and what is wrong with it.
    pub fn read(text: &str) -> Result<Self, (usize, String)> {
        let mut list = Vec::new();
        for (number, line) in lines(text) {
            list.push((line.to_owned(), named(line).map_err(|reason| (number, reason))?));
        }
        let has_authors = list.iter().any(|(_, named)| matches!(named, Named::Author(_)));
        Ok(OptOuts { list, has_authors, ..OptOuts::default() })
    }

    /// Adds commit ids, one a line, in full.
    ///
    /// # Errors
    /// A line is no commit id; its number from 1, and what is wrong with it.
    pub fn add_commits(&mut self, text: &str) -> Result<(), (usize, String)> {
        for (at, line) in lines(text) {
            let is_id = [40, 64].contains(&line.len());
            let number = number(line).filter(|_| is_id).ok_or_else(|| (at, format!("{line} is no commit id")))?;
            self.commits.insert(number);
        }
        Ok(())
    }

    /// Adds the lines of `other`.
    pub fn add(&mut self, other: OptOuts) {
        self.list.extend(other.list);
        self.commits.extend(other.commits);
        self.has_authors |= other.has_authors;
        for (name, origins) in other.origins {
            self.origins.entry(name).or_default().extend(origins);
        }
    }

    /// Makes lines that name what the repository `name` was forked from, by the `columns` of its source list, name the fork
    /// as well: which of its commits are whose is not known.
    pub fn add_origins(&mut self, name: &str, columns: &BTreeMap<String, String>) {
        let origins: BTreeSet<String> = origins(columns).collect();
        if !origins.is_empty() {
            self.origins.entry(name.to_lowercase()).or_default().extend(origins);
        }
    }

    /// The first line that names the repository `name`, or what it was forked from by the `columns` of its source list.
    pub fn find_source(&self, name: &str, columns: &BTreeMap<String, String>) -> Option<String> {
        let names = origins(columns).chain([name.to_owned()]);
        let line = names.filter_map(|name| self.find_repository(&name)).min()?;
        Some(self.line(line, ""))
    }

    /// Whether some line names an owner or a repository.
    pub fn has_repositories(&self) -> bool {
        self.list.iter().any(|(_, named)| matches!(named, Named::Owner(_) | Named::Repository(_)))
    }

    /// The lines that name an owner or a repository, but none of `repositories`, names with the columns of their source
    /// lists.
    pub fn unmatched_repositories<'a>(
        &self,
        repositories: impl Iterator<Item = (&'a str, &'a BTreeMap<String, String>)>,
    ) -> Vec<String> {
        let names = repositories.flat_map(|(name, columns)| origins(columns).chain([name.to_lowercase()]));
        let names: BTreeSet<String> = names.collect();
        let lines = self.list.iter().filter(|(_, named)| match named {
            Named::Repository(name) => !names.contains(name),
            Named::Owner(_) => !names.iter().any(|name| named.names_repository(name)),
            Named::Commit(_) | Named::Path(_) | Named::Author(_) => false,
        });
        lines.map(|(line, _)| line.clone()).collect()
    }

    /// Makes a line of an owner or repository name work of several repositories only where all of them are named, as in
    /// CommitPack, where a commit stays as long as one repository that has it did not opt out.
    pub fn keep_shared(self) -> Self {
        OptOuts { keep_shared: true, ..self }
    }

    /// Whether it names nothing.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && self.commits.is_empty()
    }

    /// Whether some line names an author.
    pub fn has_authors(&self) -> bool {
        self.has_authors
    }

    /// Whether some line names a path.
    pub fn has_paths(&self) -> bool {
        self.list.iter().any(|(_, named)| matches!(named, Named::Path(_)))
    }

    /// What decides what it names, as text.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(RULES_OF_NAMING);
        let lines: BTreeSet<&str> = self.list.iter().map(|(line, _)| line.as_str()).collect();
        lines.iter().for_each(|line| {
            hasher.update(line.as_bytes()).update(b"\n");
        });
        let commits: BTreeSet<u128> = self.commits.iter().copied().collect();
        commits.iter().for_each(|commit| {
            hasher.update(&commit.to_le_bytes());
        });
        hasher.finalize().to_hex().to_string()
    }

    /// The lines, in order.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|(line, _)| line.as_str())
    }

    /// The first line that names `work`, or the commit where that was purged. Work of several repositories is named by
    /// any of them, and what several people wrote by any of those.
    pub fn find(&self, work: Work<'_>) -> Option<String> {
        let line = [self.find_repository(work.repositories), self.find_work(work)].into_iter().flatten().min()?;
        Some(self.line(line, work.commit))
    }

    /// The line at the position `at`; behind the last one, what names the purged commit `commit`.
    pub fn line(&self, at: usize, commit: &str) -> String {
        self.list.get(at).map_or_else(|| format!("commit:{commit}"), |(line, _)| line.clone())
    }

    /// The position of the first line that names one of `repositories`, names with commas between them.
    pub fn find_repository(&self, repositories: &str) -> Option<usize> {
        if self.list.is_empty() {
            return None;
        }
        let repositories = repositories.to_lowercase();
        let names = || repositories.split(',').filter(|name| !name.is_empty());
        let is_left = |name: &str| !self.list.iter().any(|(_, named)| self.is_of(named, name));
        if self.keep_shared && names().any(is_left) {
            return None;
        }
        self.list.iter().position(|(_, named)| names().any(|name| self.is_of(named, name)))
    }

    /// Whether a line names the repository that `source` is, a URL, a path or OWNER/NAME, as far as that tells.
    pub fn names_source(&self, source: &str) -> bool {
        let bare = source.trim_end_matches('/');
        let bare = bare.strip_suffix(".git").unwrap_or(bare);
        let starts = bare.rmatch_indices(['/', ':']).map(|(at, _)| at + 1).chain([0]).take(2);
        starts.map(|start| bare[start..].replace(':', "/")).any(|name| self.find_repository(&name).is_some())
    }

    /// Whether the repository `name`, in lower case, or what it was forked from, is `named`.
    fn is_of(&self, named: &Named, name: &str) -> bool {
        let origins = self.origins.get(name).into_iter().flatten();
        named.names_repository(name) || origins.into_iter().any(|origin| named.names_repository(origin))
    }

    /// The position of the first line that names `work` by commit, path or author; behind the last one where the commit
    /// was purged.
    pub fn find_work(&self, work: Work<'_>) -> Option<usize> {
        if self.is_empty() {
            return None;
        }
        let people = if self.has_authors { people(&work) } else { Vec::new() };
        let line = self.list.iter().position(|(_, named)| named.names_work(&work, &people));
        let is_purged = || number(work.commit).is_some_and(|commit| self.commits.contains(&commit));
        line.or_else(|| is_purged().then_some(self.list.len()))
    }

    /// The positions of all lines that name `work` or one of its repositories, whether others share it or not.
    pub fn find_all(&self, work: Work<'_>) -> Vec<usize> {
        let people = if self.has_authors { people(&work) } else { Vec::new() };
        let repositories = work.repositories.to_lowercase();
        let is_named = |named: &Named| {
            named.names_work(&work, &people) || repositories.split(',').any(|name| self.is_of(named, name))
        };
        let lines = self.list.iter().enumerate();
        lines.filter(|(_, (_, named))| is_named(named)).map(|(at, _)| at).collect()
    }
}

impl Named {
    /// Whether it is the repository `name`, in lower case, or its owner.
    fn names_repository(&self, name: &str) -> bool {
        match self {
            Named::Owner(owner) => {
                name.rsplit_once('/').is_some_and(|(above, _)| above.split('/').any(|part| part == owner))
            }
            Named::Repository(repository) => name == repository,
            Named::Commit(_) | Named::Path(_) | Named::Author(_) => false,
        }
    }

    /// Whether it is the commit, a path, or one of `people`, of `work`.
    fn names_work(&self, work: &Work<'_>, people: &[String]) -> bool {
        match self {
            Named::Owner(_) | Named::Repository(_) => false,
            Named::Commit(start) => work.commit.starts_with(start),
            Named::Path(glob) => work.paths.into_iter().flatten().any(|path| glob.is_match(path)),
            Named::Author(hash) => people.contains(hash),
        }
    }
}

/// What a repository was forked from, in lower case, by the columns of its source list.
fn origins(columns: &BTreeMap<String, String>) -> impl Iterator<Item = String> + '_ {
    let named = ORIGIN_COLUMNS.iter().filter_map(|column| columns.get(*column));
    named.filter(|name| !name.is_empty()).map(|name| name.to_lowercase())
}

/// Lines that say something, by number from 1.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = (1..).zip(text.lines().map(str::trim));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// Hashes of all addresses that stand in `work`: those of the author and the committer, and whatever looks like one in
/// the message, in a trailer or elsewhere.
fn people(work: &Work<'_>) -> Vec<String> {
    let is_around = |c: char| c.is_whitespace() || "<>()[]{},;:\"'`|".contains(c);
    let words = work.message.split(is_around).map(|word| word.trim_end_matches(['.', '!', '?']));
    let mentioned = words.filter(|word| word.len() > 2 && word.contains('@'));
    work.people.into_iter().flatten().chain(mentioned).map(author_hash).collect()
}

/// The SHA-256 in hexadecimal of the e-mail address `address`, without spaces around it and in lower case.
pub fn author_hash(address: &str) -> String {
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha256);
    hasher.update(address.trim().to_lowercase().as_bytes());
    // Only SHA-1 knows of collisions that it refuses.
    hasher.try_finalize().map(|id| id.to_string()).unwrap_or_default()
}

fn named(line: &str) -> Result<Named, String> {
    let kinds = "a line is owner:NAME, repository:OWNER/NAME, commit:ID, path:GLOB or author:HASH";
    let (kind, name) = line.split_once(':').ok_or(kinds)?;
    let name = name.trim();
    if name.is_empty() {
        return Err(format!("{kind}: names nothing"));
    }
    let is_hex = name.bytes().all(|byte| byte.is_ascii_hexdigit());
    match kind {
        "owner" => Ok(Named::Owner(name.to_lowercase())),
        "repository" => Ok(Named::Repository(name.to_lowercase())),
        "commit" if name.len() < COMMIT_DIGITS_MIN || !is_hex => {
            Err(format!("{name} is no commit id of {COMMIT_DIGITS_MIN} digits or more"))
        }
        "commit" => Ok(Named::Commit(name.to_lowercase())),
        "path" => glob(&[name.to_owned()]).map(Named::Path),
        "author" if name.len() != AUTHOR_DIGITS || !is_hex => {
            Err("author: takes the SHA-256 of an e-mail address in lower case, 64 hexadecimal digits".into())
        }
        "author" => Ok(Named::Author(name.to_lowercase())),
        _ => Err(kinds.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_named_by_the_end_of_their_place() {
        let opt_outs = OptOuts::read("owner:Ann\nrepository:bob/two\nrepository:three\n").expect("they can be read");
        for (source, expected) in [
            ("https://example.org/ann/one", true),
            ("https://example.org/ann/one.git/", true),
            ("git@example.org:Ann/one.git", true),
            ("ann/one", true),
            ("bob/two", true),
            ("bob/one", false),
            ("/srv/three.git", true),
            ("/ann/mirrors/bob/one", false),
            ("@ann.txt", false),
        ] {
            assert_eq!(opt_outs.names_source(source), expected, "{source}");
        }
    }

    #[test]
    fn lines_name_rows() {
        let list = "# those\nowner:Ann\n\nrepository: bob/two\ncommit:ABCDEF1\npath:secret/**\n";
        let opt_outs = OptOuts::read(list).map_err(|(line, reason)| format!("{line}: {reason}")).expect("a list");
        let find = |repos: &str, commit: &str, path: &str| {
            opt_outs.find(Work::from(&Sample { repos, commit, new_file: Some(path), ..Sample::default() }))
        };
        assert_eq!(find("ann/one", "0", "a"), Some("owner:Ann".into()));
        assert_eq!(find("x/y,gitlab.com/Ann/deep/name", "0", "a"), Some("owner:Ann".into()));
        assert_eq!(find("x/ann", "0", "a"), None, "a repository that is called like her is not hers");
        assert_eq!(find("Bob/Two", "0", "a"), Some("repository: bob/two".into()));
        assert_eq!(find("bob/three", "abcdef1234", "a"), Some("commit:ABCDEF1".into()));
        assert_eq!(find("bob/three", "0", "secret/deep/a"), Some("path:secret/**".into()));
        assert_eq!(find("bob/three", "0", "a/secret"), None);
        for (text, line) in [("owner:a\nnobody", 2), ("commit:abc", 1), ("owner:", 1), ("commit:xyzxyzx", 1)] {
            assert_eq!(OptOuts::read(text).err().map(|(line, _)| line), Some(line), "{text}");
        }
    }

    #[test]
    fn forks_go_with_what_they_were_forked_from() {
        let read = || OptOuts::read("repository:bob/two\nowner:ann").map_err(|(_, reason)| reason).expect("a list");
        let columns = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let forks = columns(&[("parent", "Dan/one"), ("root", "Ann/one")]);
        let others = columns(&[("parent", ""), ("owner", "ann"), ("source", "ann/one")]);
        assert_eq!(read().find_source("dan/fork", &forks), Some("owner:ann".into()));
        assert_eq!(read().find_source("dan/fork", &others), None);
        assert_eq!(read().find_source("Ann/x", &others), Some("owner:ann".into()));
        let mut opt_outs = read();
        let unmatched =
            |names: &[(&str, &BTreeMap<String, String>)]| opt_outs.unmatched_repositories(names.iter().copied());
        assert_eq!(unmatched(&[("carl/fork", &forks)]), ["repository:bob/two"]);
        assert_eq!(unmatched(&[("Bob/Two", &others), ("x/ann", &others)]), ["owner:ann"]);
        opt_outs.add_origins("Carl/Fork", &forks);
        opt_outs.add_origins("carl/other", &others);
        let find = |opt_outs: &OptOuts, repositories| opt_outs.find(Work { repositories, ..Work::default() });
        for (repositories, line) in
            [("carl/fork", Some("owner:ann")), ("x/y,carl/fork", Some("owner:ann")), ("carl/other", None)]
        {
            assert_eq!(find(&opt_outs, repositories).as_deref(), line, "{repositories}");
        }
        assert_eq!(opt_outs.find_all(Work { repositories: "carl/fork", ..Work::default() }), [1]);
        let shared = opt_outs.keep_shared();
        assert_eq!(find(&shared, "carl/fork,x/y"), None);
        assert_eq!(find(&shared, "ann/one,carl/fork").as_deref(), Some("owner:ann"), "nobody else has it");
    }

    #[test]
    fn authors_are_known_by_the_hash_of_their_address() {
        // `printf %s ann@example.com | sha256sum`
        let hash = "71d4f55f72fa128dfb468a1a3901507c804b74316488744d769d7f4b16696476";
        assert_eq!(author_hash(" Ann@Example.com"), hash);
        let list = format!("author:{}", author_hash("ann@example.com").to_uppercase());
        let opt_outs = OptOuts::read(&list).map_err(|(_, reason)| reason).expect("a list");
        let find = |people, message: &str| opt_outs.find(Work { people, message, ..Work::default() }).is_some();
        let (ann, bob) = (Some("ANN@example.com"), Some("bob@example.com"));
        assert!(find([ann, None], ""));
        assert!(find([bob, ann], ""), "who commits is in the row, too");
        for message in ["co-authored-by: A <ann@example.com>", "Thank ann@example.com.", "mailto:Ann@Example.com"] {
            assert!(find([bob, bob], &format!("Add it\n\n{message}\n")), "{message}");
        }
        for message in ["", "Thank joann@example.com", "ann@example.com.org", "@ann"] {
            assert!(!find([bob, bob], message), "{message}");
        }
        assert!(!find([None; 2], ""));
        assert!(OptOuts::read(&format!("author:{}", &hash[1..])).is_err());
    }

    #[test]
    fn purged_commits_are_known_in_full() {
        let mut opt_outs = OptOuts::default();
        let id = "0123456789abcdef0123456789abcdef01234567";
        opt_outs.add_commits(&format!("{id}\n")).map_err(|(_, reason)| reason).expect("an id");
        let find = |commit| opt_outs.find(Work { commit, ..Work::default() });
        assert_eq!(find(id), Some(format!("commit:{id}")));
        assert_eq!(find("1123456789abcdef0123456789abcdef01234567"), None);
        assert_eq!(opt_outs.add_commits("0123").err().map(|(line, _)| line), Some(1));
    }
}
