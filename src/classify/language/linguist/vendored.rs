//! Files that come from elsewhere, by their paths: `languages/vendored.toml`.

use regex_automata::{Anchored, Input};
use serde::Deserialize;

use super::{
    Error, TABLES,
    patterns::{AnyOf, any_of, at_start},
    read,
};
use crate::classify::catalog::Text;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    patterns: Vec<String>,
}

/// Paths that come from elsewhere. Nearly all patterns begin at the start of a name in the path; where they are only tried
/// there, the automaton is at its end after a byte or two, and stays small.
pub(super) struct Vendored {
    patterns: Vec<String>,
    at_names: AnyOf,
    anywhere: AnyOf,
}

impl Vendored {
    /// What such patterns begin with.
    const STARTS: [&'static str; 2] = ["(^|/)", r"(^|\/)"];

    pub(super) fn read(table: Text<'_>) -> Result<Self, Error> {
        let Table { patterns } = read(TABLES[2], table)?;
        Self::new(patterns).map_err(|e| Error::Table { table: TABLES[2], reason: e.to_string() })
    }

    fn new(patterns: Vec<String>) -> Result<Self, Box<regex_automata::meta::BuildError>> {
        let (mut at_names, mut anywhere) = (Vec::new(), Vec::new());
        for pattern in &patterns {
            let rest = Self::STARTS.iter().find_map(|start| pattern.strip_prefix(start));
            match rest.filter(|rest| !rest.starts_with(['?', '*', '+', '{']) && !is_choice(rest)) {
                Some(rest) => at_names.push(rest.to_owned()),
                None => anywhere.push(pattern.clone()),
            }
        }
        let (at_names, anywhere) = (at_start(&at_names)?, any_of(&anywhere, false)?);
        Ok(Vendored { patterns, at_names, anywhere })
    }

    pub(super) fn is_match(&self, path: &str) -> bool {
        let starts = std::iter::once(0).chain(memchr::memchr_iter(b'/', path.as_bytes()).map(|at| at + 1));
        let at_name = |at| Input::new(path).range(at..).anchored(Anchored::Yes);
        self.anywhere.is_match(path) || starts.map(at_name).any(|input| self.at_names.is_match(input))
    }

    /// The pattern by which a path says that the file comes from elsewhere; for people, as it compiles each of them.
    pub(super) fn pattern_for(&self, path: &str) -> Option<&str> {
        let fits =
            |pattern: &&String| any_of(std::slice::from_ref(*pattern), false).is_ok_and(|any| any.is_match(path));
        self.patterns.iter().find(fits).map(String::as_str)
    }
}

/// Whether a `|` may stand outside of all brackets in a pattern.
fn is_choice(pattern: &str) -> bool {
    let (mut depth, mut escaped) = (0_i32, false);
    pattern.bytes().any(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            _ => return byte == b'|' && depth <= 0,
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::{super::Linguist, *};
    use crate::classify::catalog;

    #[test]
    fn patterns_at_names_match_as_they_would_anywhere() {
        let Table { patterns } = read("vendored paths", catalog::table("vendored.toml")).expect("a valid table");
        let all = any_of(&patterns, false).expect("valid patterns");
        let vendored = Vendored::new(patterns).expect("valid patterns");
        let names = "deps vendor Vendors src/tests/fixtures extjs docs _build gradle/wrapper jquery-1.2.js jquery.ui.core.css a.min.js \
                     x.d.ts bootstrap.css d3.v3.js Packages/x.1/ configure config.sub .yarn/releases tiny_mce/langs third-party main.rs \
                     react-dom.js .DS_Store";
        let names: Vec<&str> = names.split_whitespace().collect();
        let mut matches = 0;
        for a in &names {
            for b in &names {
                for path in [format!("{a}/{b}"), format!("x{a}/{b}"), format!("{a}x/y{b}"), format!("/{a}//{b}/")] {
                    assert_eq!(vendored.is_match(&path), all.is_match(&path), "{path}");
                    matches += usize::from(vendored.is_match(&path));
                }
            }
        }
        assert!((500..1500).contains(&matches), "{matches}");
        for (pattern, path) in [("(^|/)a|b", "cb"), ("(^|/)?a", "ca"), ("(^|/)[|)]a", "c/|a"), ("(^|/)a\\|b", "c/a|b")]
        {
            let patterns = vec![pattern.to_owned()];
            assert!(Vendored::new(patterns).expect("a valid pattern").is_match(path), "{pattern}");
        }
    }

    #[test]
    fn vendored_paths() {
        let vendored = |path: &str| Linguist::in_use().is_vendored(path);
        for path in ["node_modules/x/y.js", "a/vendor/b.c", "jquery-3.2.1.min.js", "deps/lua/src/lua.c", "configure"] {
            assert!(vendored(path), "{path}");
        }
        assert_eq!(Linguist::in_use().vendored_by("deps/lua/src/lua.c"), Some("^deps/"));
        for path in ["src/main.rs", "vendors.md", "a/configure.ac", "src/dependencies.rs"] {
            assert!(!vendored(path), "{path}");
        }
    }
}
