//! Which repositories to mine: paths, directories of many, URLs and lists, and where to find more. Opens no repository.
//! [`parse`] reads directories and lists and opens no connection; [`github`] and [`archive`] do nothing else.

pub mod archive;
pub mod collect;
pub mod discovery;
pub mod github;
mod http;
pub mod url;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// Columns of a list that may hold the source, the first present one wins.
const SOURCE_COLUMNS: [&str; 9] =
    ["url", "source", "clone_url", "repository", "repo", "full_name", "repo_name", "path", "name"];

/// What can be wrong with the arguments as a whole.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("can't read the list {name}: {reason}")]
    List { name: String, reason: String },
    #[error("{name}:{line}: {reason}")]
    Line { name: String, line: usize, reason: String },
}

/// One repository to mine, as the user named it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoSpec {
    /// What tells repositories apart: the canonical path, or host and path of the URL.
    pub identity: String,
    /// The name in the `repos` column.
    pub name: String,
    /// Where it is.
    pub location: Location,
    /// Further columns of the list that named it.
    pub columns: BTreeMap<String, String>,
    /// Whether it was named alone, without a list that could have columns: what is known of it already stands.
    #[serde(skip)]
    pub is_bare: bool,
}

impl RepoSpec {
    /// The identity of the repository that its list calls its root: what it is a fork of, in the end. A plain `owner/name` is
    /// beside it on its server.
    pub fn root(&self) -> Option<String> {
        let text = self.columns.get("root")?;
        let identity = match &self.location {
            Location::Url(_) if url::is_owner_and_name(text) => {
                let server = self.identity.rsplitn(3, '/').nth(2)?;
                let is_github = server == "github.com";
                format!("{server}/{}", if is_github { text.to_ascii_lowercase() } else { text.clone() })
            }
            Location::Url(_) => url::parse(text)?.ok()?.identity,
            Location::Path(_) => spec(Path::new(text), &BTreeMap::new()).ok()?.identity,
        };
        (identity != self.identity).then_some(identity)
    }
}

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Location {
    /// On this machine.
    Path(PathBuf),
    /// Elsewhere.
    Url(String),
}

/// A source that is none; the others are mined all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSource {
    /// What the user wrote, of a URL without query and fragment.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Further columns of the list that named it.
    pub columns: BTreeMap<String, String>,
    /// Whether it is a line of a list that names no source at all, so that there is nothing to try again.
    pub is_line: bool,
}

impl BadSource {
    fn new(text: &str, reason: String, hint: Option<&str>, columns: &BTreeMap<String, String>) -> Self {
        let hint = hint.map(str::to_owned);
        BadSource { text: text.to_owned(), reason, hint, columns: columns.clone(), is_line: false }
    }
}

type Found = Vec<Result<RepoSpec, BadSource>>;

/// Turns arguments into repositories: in the order of their first mention, each identity once.
///
/// # Errors
/// A list that can't be read or parsed.
pub fn parse(args: &[String], stdin: &mut dyn Read) -> Result<Found, Error> {
    let mut found = Vec::new();
    for arg in args {
        if arg == "-" {
            found.extend(list("standard input", &read(stdin)?)?);
        } else if let Some(file) = arg.strip_prefix('@') {
            let text =
                fs::read_to_string(file).map_err(|e| Error::List { name: file.to_owned(), reason: e.to_string() })?;
            found.extend(list(file, &text)?);
        } else if let Some((base, file)) = arg.split_once("/@").filter(|(base, _)| base.contains("://")) {
            let text =
                fs::read_to_string(file).map_err(|e| Error::List { name: file.to_owned(), reason: e.to_string() })?;
            found.extend(below(base, &text));
        } else {
            found.extend(argument(arg));
        }
    }
    let mut seen = std::collections::HashSet::new();
    found.retain(|source| source.as_ref().map_or(true, |spec| seen.insert(spec.identity.clone())));
    Ok(found)
}

/// The repositories that `text` names, one a line, below the address `base`.
fn below(base: &str, text: &str) -> Found {
    let names = text.lines().map(|line| line.trim().trim_matches('/')).filter(|line| !line.is_empty());
    names.filter(|name| !name.starts_with('#')).flat_map(|name| bare(&format!("{base}/{name}"))).collect()
}

/// What stands on the command line may be a path with a slip in it, where a line of a list is what it looks like.
fn argument(text: &str) -> Found {
    let directory = text.split_once('/').map(|(directory, _)| Path::new(directory));
    let is_path = !Path::new(text).exists() && directory.is_some_and(Path::is_dir);
    if is_path && url::is_owner_and_name(text) {
        let reason = "no such file or directory".into();
        let hint = format!("if the repository on GitHub is meant, write https://github.com/{text}");
        return vec![Err(BadSource::new(text, reason, Some(&hint), &BTreeMap::new()))];
    }
    bare(text)
}

fn bare(text: &str) -> Found {
    let mut found = one(text, &BTreeMap::new());
    found.iter_mut().flatten().for_each(|spec| spec.is_bare = true);
    found
}

/// Seconds since 1970, of a time in RFC 3339.
fn seconds_of(text: &str) -> Option<i64> {
    gix::date::parse(text, None).ok().map(|time| time.seconds)
}

/// A time in seconds since 1970, in RFC 3339.
pub fn time_of(seconds: i64) -> String {
    // The last day of the year 9999, which is as far as the form goes.
    let time = gix::date::Time::new(seconds.clamp(0, 253_402_207_200), 0);
    let format = gix::date::time::format::ISO8601_STRICT;
    time.format(format).map_or_else(|_| format!("{seconds} s after 1970"), |text| text.replace("+00:00", "Z"))
}

fn read(stdin: &mut dyn Read) -> Result<String, Error> {
    let mut text = String::new();
    match stdin.read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(e) => Err(Error::List { name: "standard input".into(), reason: e.to_string() }),
    }
}

fn list(name: &str, text: &str) -> Result<Found, Error> {
    let text = text.trim_start_matches('\u{feff}');
    let first = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let mut columns = first.split(',').map(|column| column.trim().trim_matches('"').to_ascii_lowercase());
    let is_header = columns.any(|column| SOURCE_COLUMNS.contains(&column.as_str())) && !Path::new(first).exists();
    if first.starts_with('[') {
        json_array(name, text)
    } else if first.starts_with('{') {
        Ok(json_lines(name, text))
    } else if is_header {
        csv_rows(name, text)
    } else {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut found: Found = lines.flat_map(bare).collect();
        for bad in found.iter_mut().filter_map(|source| source.as_mut().err()).filter(|bad| bad.text.contains(',')) {
            let columns = SOURCE_COLUMNS.join(", ");
            bad.hint = Some(format!("if the list is CSV, its first line must name a column {columns}"));
        }
        Ok(found)
    }
}

/// A line of a list that names no source.
fn bad_line(name: &str, line: usize, reason: String) -> Found {
    let hint = "mend the line and give the list again; all its other lines count".into();
    let text = format!("{name}:{line}");
    vec![Err(BadSource { text, reason, hint: Some(hint), columns: BTreeMap::new(), is_line: true })]
}

fn json_lines(name: &str, text: &str) -> Found {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let found = lines.flat_map(|(number, line)| match serde_json::from_str(line) {
        Ok(value) => json_row(name, number + 1, value),
        Err(e) => bad_line(name, number + 1, e.to_string()),
    });
    found.collect()
}

fn json_array(name: &str, text: &str) -> Result<Found, Error> {
    let values: Vec<serde_json::Value> = serde_json::from_str(text).map_err(|e| Error::Line {
        name: name.to_owned(),
        line: e.line(),
        reason: format!("neither a JSON array nor a list of sources: {e}"),
    })?;
    Ok(values.into_iter().enumerate().flat_map(|(number, value)| json_row(name, number + 1, value)).collect())
}

fn json_row(name: &str, number: usize, value: serde_json::Value) -> Found {
    let object = match value {
        serde_json::Value::Object(object) => object,
        serde_json::Value::String(text) => return bare(&text),
        _ => return bad_line(name, number, "neither an object nor a string".into()),
    };
    let columns = object.into_iter().filter_map(|(key, value)| match value {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some((key, text)),
        other => Some((key, other.to_string())),
    });
    row(columns.collect()).unwrap_or_else(|reason| bad_line(name, number, reason))
}

fn csv_rows(name: &str, text: &str) -> Result<Found, Error> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let header = reader
        .headers()
        .map_err(|e| Error::Line { name: name.to_owned(), line: 1, reason: e.to_string() })?
        .iter()
        .map(str::to_ascii_lowercase)
        .collect::<Vec<_>>();
    if let Some(twice) = header.iter().enumerate().find_map(|(at, key)| header[..at].contains(key).then_some(key)) {
        return Err(Error::Line { name: name.to_owned(), line: 1, reason: format!("there are two columns {twice}") });
    }
    let mut found = Vec::new();
    for (number, record) in reader.records().enumerate() {
        let line = |position: Option<&csv::Position>| {
            position.map_or(number + 2, |at| usize::try_from(at.line()).unwrap_or(usize::MAX))
        };
        found.extend(match record {
            Err(e) => bad_line(name, line(e.position()), e.to_string()),
            Ok(record) => {
                let columns = header.iter().zip(record.iter()).filter(|(_, value)| !value.is_empty());
                let columns = columns.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
                row(columns).unwrap_or_else(|reason| bad_line(name, line(record.position()), reason))
            }
        });
    }
    Ok(found)
}

/// The source that a row of a list names, or what is wrong with the row.
fn row(given: BTreeMap<String, String>) -> Result<Found, String> {
    let mut columns = BTreeMap::new();
    for (key, value) in given {
        let key = key.to_ascii_lowercase();
        if columns.insert(key.clone(), value).is_some() {
            return Err(format!("there are two columns {key}"));
        }
    }
    let source = SOURCE_COLUMNS.iter().find_map(|column| columns.remove(*column));
    let source = source
        .ok_or_else(|| format!("no repository: one of the columns {} must name it", SOURCE_COLUMNS.join(", ")))?;
    let name = columns.remove("name");
    let mut found = one(&source, &columns);
    if let (Some(name), [Ok(spec)]) = (name, found.as_mut_slice()) {
        spec.name = name;
    }
    Ok(found)
}

/// The repositories that `text` names, a path, a URL or `owner/name`, with further columns of the list that named it.
pub fn one(text: &str, columns: &BTreeMap<String, String>) -> Found {
    let path = Path::new(text);
    if path.exists() {
        return at_path(text, path, columns);
    }
    let (shown, form) = match url::before_query(text) {
        Some(before) => (
            before,
            "give it without; credentials belong into git's credential helper or, for https, into GITLODE_TOKEN_<HOST>",
        ),
        None => (text, "a URL is like https://host/owner/name.git"),
    };
    let bad = |reason: String, hint: &str| BadSource::new(shown, reason, Some(hint), columns);
    vec![match url::parse(text) {
        Some(Ok(url::Remote { url, identity, name })) => {
            Ok(RepoSpec { identity, name, location: Location::Url(url), columns: columns.clone(), is_bare: false })
        }
        Some(Err(reason)) => Err(bad(reason, form)),
        None => Err(bad(
            "no such file or directory, and no URL".into(),
            "give the path of a repository, of a directory that holds some, a URL, owner/name, or @FILE for a list",
        )),
    }]
}

fn at_path(text: &str, path: &Path, columns: &BTreeMap<String, String>) -> Found {
    let (mut paths, mut closed) = (Vec::new(), Vec::new());
    search(path, &mut paths, &mut closed);
    paths.sort();
    if paths.is_empty() && closed.is_empty() {
        let reason = "neither a git repository nor a directory that holds one".into();
        let canonical = path.canonicalize().unwrap_or_default();
        let hint = match canonical.ancestors().skip(1).find(|above| is_repository(above)) {
            Some(repository) => format!("it is inside of the repository {}: give that path", repository.display()),
            None if path.is_file() => format!("if it is a list of sources, write @{text}"),
            None => "symbolic links to repositories count, and other links are not followed".into(),
        };
        return vec![Err(BadSource::new(text, reason, Some(&hint), columns))];
    }
    closed.sort();
    let closed = closed.into_iter().map(|(path, reason)| {
        let hint = "make it readable, or leave it out by naming its neighbours";
        Err(BadSource::new(&path.display().to_string(), reason, Some(hint), columns))
    });
    paths.into_iter().map(|path| spec(&path, columns)).chain(closed).collect()
}

fn spec(path: &Path, columns: &BTreeMap<String, String>) -> Result<RepoSpec, BadSource> {
    let bad = |reason: String| BadSource::new(&path.display().to_string(), reason, None, columns);
    let canonical = path.canonicalize().map_err(|e| bad(e.to_string()))?;
    // `x/.git` is the repository `x`. (A linked work tree has a HEAD of its own, and is a source of its own.)
    let canonical = match canonical.parent() {
        Some(parent) if canonical.ends_with(".git") => parent.to_owned(),
        _ => canonical,
    };
    let identity = canonical.to_str().ok_or_else(|| bad("its path is not UTF-8".into()))?.to_owned();
    let name = canonical.file_name().and_then(|name| name.to_str()).unwrap_or("repository");
    let name = name.strip_suffix(".git").unwrap_or(name);
    let (name, location) = (name.to_owned(), Location::Path(canonical));
    Ok(RepoSpec { identity, name, location, columns: columns.clone(), is_bare: false })
}

/// Whether `path` looks like a repository: a work tree with `.git`, or a git directory.
pub fn is_repository(path: &Path) -> bool {
    path.join(".git").exists() || (path.join("HEAD").is_file() && path.join("objects").is_dir())
}

/// Directories that can't be read are sources that failed: there may be repositories in them. Symbolic links can go in
/// circles, so only those that lead to a repository count.
fn search(path: &Path, found: &mut Vec<PathBuf>, closed: &mut Vec<(PathBuf, String)>) {
    let mut directories = vec![path.to_owned()];
    while let Some(path) = directories.pop() {
        if is_repository(&path) {
            found.push(path);
            continue;
        }
        match fs::read_dir(&path) {
            Err(_) if path.is_file() => {}
            Err(e) => closed.push((path, e.to_string())),
            Ok(entries) => {
                for entry in entries.filter_map(Result::ok) {
                    let (path, kind) = (entry.path(), entry.file_type());
                    let is = |of: fn(&fs::FileType) -> bool| kind.as_ref().is_ok_and(of);
                    if is(fs::FileType::is_dir) || (is(fs::FileType::is_symlink) && is_repository(&path)) {
                        directories.push(path);
                    }
                }
            }
        }
    }
}

/// Whether nothing can be told of the repository that was at `path`: its directory, or the one that held it, is empty or can't
/// be read, as the place of a disk is that is not mounted; or a directory among `sources` above it holds no repository at all.
pub fn is_out_of_sight(path: &Path, sources: &[String]) -> bool {
    let is_hidden = |directory: &Path| match fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
    };
    let Some(above) = path.parent() else { return true };
    if is_hidden(path) || is_hidden(above) || !above.is_dir() {
        return true;
    }
    let directories = sources.iter().filter_map(|source| Path::new(source).canonicalize().ok());
    directories.filter(|source| above.starts_with(source)).any(|source| !holds_repository(&source))
}

fn holds_repository(directory: &Path) -> bool {
    let mut directories = vec![directory.to_owned()];
    while let Some(path) = directories.pop() {
        if is_repository(&path) {
            return true;
        }
        let entries = fs::read_dir(&path).into_iter().flatten().flatten();
        let is_way = |entry: &fs::DirEntry| {
            let kind = entry.file_type();
            kind.as_ref().is_ok_and(fs::FileType::is_dir)
                || (kind.is_ok_and(|kind| kind.is_symlink()) && is_repository(&entry.path()))
        };
        directories.extend(entries.filter(is_way).map(|entry| entry.path()));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_held_a_repository_has_to_be_seen_before_it_is_gone() {
        let root = tempfile::tempdir().expect("a directory");
        let root = root.path().canonicalize().expect("a path");
        let make = |path: &str| fs::create_dir_all(root.join(path)).expect("a directory");
        ["full/a.git/objects", "empty", "other/text", "full/hollow.git", "full/left.git/rest"]
            .into_iter()
            .for_each(make);
        fs::write(root.join("full/a.git/HEAD"), "").expect("a file");
        fs::write(root.join("full/file.git"), "").expect("a file");
        let sources = ["full", "empty", "other", "absent"].map(|name| root.join(name).display().to_string());
        for (path, expected) in [
            ("full/b.git", false),
            ("full/left.git", false),
            ("full/file.git", false),
            ("full/hollow.git", true),
            ("full/deep/b.git", true),
            ("empty/b.git", true),
            ("other/b.git", true),
            ("absent/b.git", true),
        ] {
            assert_eq!(is_out_of_sight(&root.join(path), &sources), expected, "{path}");
        }
        assert!(!is_out_of_sight(&root.join("other/b.git"), &sources[..2]), "no source is above it");
    }

    fn parse_list(text: &str) -> Result<Vec<(String, String, String)>, String> {
        let specs = parse(&["-".to_owned()], &mut text.as_bytes()).map_err(|e| e.to_string())?;
        Ok(specs
            .into_iter()
            .map(|source| match source {
                Ok(spec) => (spec.identity, spec.name, format!("{:?}", spec.columns)),
                Err(bad) => (bad.text, "bad".to_owned(), bad.reason),
            })
            .collect())
    }

    #[test]
    fn lists_come_as_lines_csv_and_json() {
        let url = "github.com/a/b";
        let same = |text: &str| parse_list(text).map(|found| found.into_iter().map(|f| f.0).collect::<Vec<_>>());
        assert_eq!(same("# mine\n\na/b\nhttps://github.com/a/b\n"), Ok(vec![url.to_owned()]));
        assert_eq!(same("no where\n"), Ok(vec!["no where".to_owned()]));
        let csv = parse_list("full_name,license,stars\na/b,MIT,5\n");
        assert_eq!(csv, Ok(vec![(url.to_owned(), "a/b".to_owned(), r#"{"license": "MIT", "stars": "5"}"#.to_owned())]));
        let json = parse_list("{\"url\":\"https://h/x.git\",\"name\":\"x\",\"stars\":5,\"gone\":null}\n");
        assert_eq!(json, Ok(vec![("h/x".to_owned(), "x".to_owned(), r#"{"stars": "5"}"#.to_owned())]));
    }

    #[test]
    fn a_root_is_beside_its_fork_unless_it_is_given_in_full() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().canonicalize().expect("a path").join("root");
        fs::create_dir_all(path.join("objects")).expect("a directory");
        let text = path.to_str().expect("UTF-8");
        let check = |location: Location, identity: &str, root: &str, expected: Option<&str>| {
            let columns = BTreeMap::from([("root".to_owned(), root.to_owned())]);
            let spec = RepoSpec { identity: identity.into(), name: String::new(), location, columns, is_bare: false };
            assert_eq!(spec.root().as_deref(), expected, "{identity} {root}");
        };
        for (identity, root, expected) in [
            ("github.com/a/x", "B/X", Some("github.com/b/x")),
            ("github.com/a/x", "A/x", None),
            ("h:8443/git/a/x", "B/X", Some("h:8443/git/B/X")),
            ("h/a/x", "https://other/c/y.git", Some("other/c/y")),
            ("h/a/x", "oops", None),
            ("h/x", "b/x", None),
        ] {
            check(Location::Url("https://unused".into()), identity, root, expected);
        }
        check(Location::Path("/fork".into()), "/fork", text, Some(text));
        check(Location::Path("/fork".into()), "/fork", "/absent", None);
        check(Location::Path("/fork".into()), text, text, None);
    }

    #[test]
    fn lists_come_in_many_spellings() {
        let identities = |text: &str| parse_list(text).map(|found| found.into_iter().map(|f| f.0).collect::<Vec<_>>());
        let both = Ok(vec!["github.com/a/b".to_owned(), "github.com/c/d".to_owned()]);
        for text in [
            "url\na/b\nc/d\n",
            "URL,Stars\na/b,1\nc/d,2\n",
            "\"repo\",\"license\"\n\"a/b\",\"MIT\"\n\"c/d\",\"MIT\"\n",
            "[\"a/b\", \"c/d\"]",
            "[{\"Repo\": \"a/b\"},\n {\"repo\": \"c/d\", \"stars\": 5}]",
        ] {
            assert_eq!(identities(text), both, "{text}");
        }
    }

    #[test]
    fn names_are_below_their_base() {
        let identities: Vec<String> = below("https://h:8443/git", "# all\n/a/b.git\n\nc\n")
            .into_iter()
            .map(|source| source.expect("a source").identity)
            .collect();
        assert_eq!(identities, ["h:8443/git/a/b", "h:8443/git/c"]);
    }

    #[test]
    fn malformed_lines_are_failed_sources_and_the_others_count() {
        let check = |text: &str, at: &str, reason: &str| {
            let found = parse_list(text).expect("a list");
            assert_eq!((found[0].0.as_str(), found.len()), ("github.com/a/b", 2), "{text}");
            assert!(found[1].0 == at && found[1].2.contains(reason), "{:?}", found[1]);
        };
        check("{\"url\":\"a/b\"}\n{oops\n", "standard input:2", "key must be a string");
        check("{\"url\":\"a/b\"}\n{\"stars\":1}\n", "standard input:2", "must name it");
        check("url,stars\na/b,1\nc/d,1,2\n", "standard input:3", "fields");
        check("url,stars\na/b,1\n,2\n", "standard input:3", "must name it");
        check("{\"url\":\"a/b\"}\n{\"url\":\"c/d\",\"URL\":\"e/f\"}\n", "standard input:2", "two columns url");
        check("[\"a/b\", 5]", "standard input:2", "neither an object nor a string");
        let twice = parse_list("url,stars,Stars\na/b,1,2\n");
        assert!(twice.as_ref().is_err_and(|e| e == "standard input:1: there are two columns stars"), "{twice:?}");
        assert!(parse_list("[oops]").is_err_and(|e| e.starts_with("standard input:1: neither a JSON array")));
    }
}
