//! Who does not want their work in the rows: owners, repositories, commits and paths, one a line.

use regex::Regex;

use crate::{filter::glob, sample::Sample};

/// Fewest digits that a commit id may be shortened to.
const COMMIT_DIGITS_MIN: usize = 7;

/// A list of those.
#[derive(Default)]
pub struct OptOuts {
    /// Lines as they were given, and what they name.
    list: Vec<(String, Named)>,
}

enum Named {
    /// Any part of a repository's name but the last, in lower case.
    Owner(String),
    /// A repository's name, in lower case.
    Repository(String),
    /// The start of a commit id.
    Commit(String),
    Path(Regex),
}

impl OptOuts {
    /// Reads `text`: lines `owner:NAME`, `repository:OWNER/NAME`, `commit:ID` (seven digits at the least) and
    /// `path:GLOB`; empty lines and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// A line is none of these; the first one, by number from 1, and what is wrong with it.
    pub fn read(text: &str) -> Result<Self, (usize, String)> {
        let mut list = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let named = named(line).map_err(|reason| (number + 1, reason))?;
            list.push((line.to_owned(), named));
        }
        Ok(OptOuts { list })
    }

    /// The first line that names the row `sample`. A row of several repositories is named by any of them.
    pub fn find(&self, sample: &Sample<'_>) -> Option<&str> {
        if self.list.is_empty() {
            return None;
        }
        let repositories = sample.repos.to_lowercase();
        let names = || repositories.split(',');
        let is_named = |named: &Named| match named {
            Named::Owner(owner) => names()
                .any(|name| name.rsplit_once('/').is_some_and(|(above, _)| above.split('/').any(|part| part == owner))),
            Named::Repository(repository) => names().any(|name| name == repository),
            Named::Commit(start) => sample.commit.starts_with(start),
            Named::Path(glob) => {
                [sample.old_file, sample.new_file].into_iter().flatten().any(|path| glob.is_match(path))
            }
        };
        self.list.iter().find(|(_, named)| is_named(named)).map(|(line, _)| line.as_str())
    }
}

fn named(line: &str) -> Result<Named, String> {
    let kinds = "a line is owner:NAME, repository:OWNER/NAME, commit:ID or path:GLOB";
    let (kind, name) = line.split_once(':').ok_or(kinds)?;
    let name = name.trim();
    if name.is_empty() {
        return Err(format!("{kind}: names nothing"));
    }
    match kind {
        "owner" => Ok(Named::Owner(name.to_lowercase())),
        "repository" => Ok(Named::Repository(name.to_lowercase())),
        "commit" if name.len() < COMMIT_DIGITS_MIN || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            Err(format!("{name} is no commit id of {COMMIT_DIGITS_MIN} digits or more"))
        }
        "commit" => Ok(Named::Commit(name.to_lowercase())),
        "path" => glob(&[name.to_owned()]).map(Named::Path),
        _ => Err(kinds.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_name_rows() {
        let list = "# those\nowner:Ann\n\nrepository: bob/two\ncommit:ABCDEF1\npath:secret/**\n";
        let opt_outs = OptOuts::read(list).map_err(|(line, reason)| format!("{line}: {reason}")).expect("a list");
        let find = |repos: &str, commit: &str, path: &str| {
            opt_outs.find(&Sample { repos, commit, new_file: Some(path), ..Sample::default() }).map(str::to_owned)
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
}
