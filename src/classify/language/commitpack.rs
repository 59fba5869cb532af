//! CommitPack's language of a path, by its frozen table in `languages/commitpack.toml`. Looks at the name alone.

use std::sync::OnceLock;

use hashbrown::HashMap;
use serde::Deserialize;

use crate::classify::catalog::{self, Text};

/// What CommitPack calls a path that no extension matches.
const UNKNOWN: &str = "unknown";

/// CommitPack's table, ready to be asked.
pub struct CommitPackLanguages {
    /// Endings that begin with a dot.
    extensions: HashMap<String, String>,
    /// Endings without a dot, as the table has them for Dockerfile and Makefile.
    names: Vec<(String, String)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    language: Vec<Language>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(test), expect(dead_code, reason = "name and published are for readers of the table and for its tests"))]
struct Language {
    name: String,
    directory: String,
    published: bool,
    extensions: Vec<String>,
}

impl CommitPackLanguages {
    /// The table in use.
    pub fn in_use() -> &'static Self {
        static BUILTIN: OnceLock<CommitPackLanguages> = OnceLock::new();
        BUILTIN.get_or_init(|| {
            Self::new(catalog::table("commitpack.toml")).expect("tables are checked before they are used")
        })
    }

    /// Reads a table.
    ///
    /// # Errors
    /// It is not valid.
    pub fn new(table: Text<'_>) -> Result<Self, String> {
        let table: Table = table.read()?;
        let mut languages = CommitPackLanguages { extensions: HashMap::new(), names: Vec::new() };
        for language in table.language {
            for extension in language.extensions {
                // A later language takes an extension away from an earlier one, as in the original.
                if extension.starts_with('.') {
                    languages.extensions.insert(extension, language.directory.clone());
                } else {
                    languages.names.push((extension, language.directory.clone()));
                }
            }
        }
        Ok(languages)
    }

    /// Everything that [`CommitPackLanguages::lang`] may answer, sorted.
    pub fn all(&self) -> Vec<&str> {
        let names = self.names.iter().map(|(_, lang)| lang);
        let mut all: Vec<&str> = self.extensions.values().chain(names).map(String::as_str).chain([UNKNOWN]).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The published directory name of the language with the longest extension that ends `path`, else `unknown`.
    pub fn lang(&self, path: &str) -> &str {
        let name = path.rsplit('/').next().unwrap_or(path);
        let dotted =
            name.match_indices('.').find_map(|(at, _)| Some((name.len() - at, self.extensions.get(&name[at..])?)));
        let plain = self
            .names
            .iter()
            .rev()
            .filter(|(end, _)| name.ends_with(end.as_str()))
            .map(|(end, lang)| (end.len(), lang));
        plain.chain(dotted).max_by_key(|(len, _)| *len).map_or(UNKNOWN, |(_, lang)| lang)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let languages = CommitPackLanguages::in_use();
        let cases = [
            ("src/main.rs", "rust"),
            ("a/b.py", "python"),
            ("x.c", "c"),
            ("Makefile", "makefile"),
            ("docker/Dockerfile", "dockerfile"),
            ("web.Dockerfile", "dockerfile"),
            ("README", "unknown"),
            ("a.b/README", "unknown"),
            ("x.unheard-of", "unknown"),
            ("x.html.erb", "html+erb"),
            ("graph.dot", "graphviz-dot"),
        ];
        for (path, lang) in cases {
            assert_eq!(languages.lang(path), lang, "{path}");
        }
    }

    #[test]
    fn the_table_is_whole() {
        let table: Table = catalog::table("commitpack.toml").read().expect("the table is valid");
        assert_eq!(table.language.len(), 358);
        assert_eq!(table.language.iter().filter(|language| language.published).count(), 349);
        assert!(table.language.iter().all(|language| !language.extensions.is_empty() && !language.name.is_empty()));
    }
}
