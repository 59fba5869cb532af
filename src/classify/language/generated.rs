//! Files that programs made: lock files, minified files, and what generators leave, by `languages/generated.toml`.

use std::sync::OnceLock;

use hashbrown::HashMap;
use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder, SetMatches};
use serde::Deserialize;

use crate::classify::catalog::{self, Text};

/// A minified file has lines of more than so many bytes on average (Linguist's `minified_files?`).
const MINIFIED_LINE_BYTES: usize = 110;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    rule: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    id: String,
    path: Option<String>,
    #[serde(default)]
    extensions: Vec<String>,
    lines: Option<(usize, usize)>,
    #[serde(default)]
    last_lines: usize,
    pattern: Option<String>,
    #[serde(default)]
    minified: bool,
}

/// A rule of the table, compiled.
pub struct Rule {
    id: String,
    /// Position of the path's pattern among all of them.
    path: Option<usize>,
    extensions: Vec<String>,
    /// From and to, counted from 0, the end not included.
    lines: Option<(usize, usize)>,
    last_lines: usize,
    pattern: Option<Pattern>,
    minified: bool,
}

/// What contents are searched for; compiled when that is first needed.
struct Pattern {
    text: String,
    compiled: OnceLock<Regex>,
}

impl Pattern {
    fn compile(&self) -> Result<Regex, regex::Error> {
        RegexBuilder::new(&self.text).multi_line(true).unicode(false).build()
    }

    fn is_match(&self, contents: &str) -> bool {
        let compiled = || self.compile().expect("tables are checked before they are used");
        self.compiled.get_or_init(compiled).is_match(contents.as_bytes())
    }
}

/// The table, ready to be asked.
pub struct Generated {
    rules: Vec<Rule>,
    /// For the last extension of a file name, which rules are about it; those about any are under the empty one.
    by_extension: HashMap<String, Vec<usize>>,
    /// The patterns of paths, looked for at once.
    paths: RegexSet,
}

impl Generated {
    /// The table in use.
    pub fn in_use() -> &'static Self {
        static BUILTIN: OnceLock<Generated> = OnceLock::new();
        BUILTIN.get_or_init(|| {
            Self::new(catalog::table("generated.toml")).expect("tables are checked before they are used")
        })
    }

    /// Reads a table. Patterns for contents are compiled when they are first needed.
    ///
    /// # Errors
    /// It is not valid, or a pattern for paths is not.
    pub fn new(table: Text<'_>) -> Result<Self, String> {
        let Table { rule } = table.read()?;
        let mut paths: Vec<String> = Vec::new();
        let rules = rule.into_iter().map(|raw| {
            let path = raw.path.map(|pattern| {
                paths.push(pattern);
                paths.len() - 1
            });
            Rule {
                id: raw.id,
                path,
                extensions: raw.extensions,
                lines: raw.lines,
                last_lines: raw.last_lines,
                pattern: raw.pattern.map(|text| Pattern { text, compiled: OnceLock::new() }),
                minified: raw.minified,
            }
        });
        let rules: Vec<Rule> = rules.collect();
        let mut by_extension: HashMap<String, Vec<usize>> = HashMap::new();
        for (number, rule) in rules.iter().enumerate() {
            let last = |extension: &String| last_extension(extension).to_ascii_lowercase();
            let mut lasts: Vec<String> = rule.extensions.iter().map(last).collect();
            if lasts.is_empty() {
                lasts.push(String::new());
            }
            lasts.sort();
            lasts.dedup();
            lasts.into_iter().for_each(|last| by_extension.entry(last).or_default().push(number));
        }
        let paths = RegexSetBuilder::new(&paths).multi_line(true).unicode(false).build().map_err(|e| e.to_string())?;
        Ok(Generated { rules, by_extension, paths })
    }

    /// Compiles every pattern, to see whether it is one.
    ///
    /// # Errors
    /// A pattern is not valid.
    pub fn compile_all(&self) -> Result<(), String> {
        let mut patterns = self.rules.iter().filter_map(|rule| rule.pattern.as_ref());
        patterns.try_for_each(|pattern| pattern.compile().map(drop)).map_err(|e| e.to_string())
    }

    /// The ids of its rules.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.id.as_str())
    }

    /// The id of the rule by which the path decides, whatever the contents; none where they have a say.
    pub fn by_path(&self, path: &str) -> Option<&str> {
        self.open(path).into_iter().find(|rule| rule.needs_no_contents()).map(|rule| &*rule.id)
    }

    /// Most paths have none, and that is told sooner than which.
    fn paths_in(&self, path: &str) -> Option<SetMatches> {
        self.paths.is_match(path.as_bytes()).then(|| self.paths.matches(path.as_bytes()))
    }

    /// The rules that may hold for a path, in their order.
    fn open(&self, path: &str) -> Vec<&Rule> {
        let (paths, name) = (self.paths_in(path), path.rsplit('/').next().unwrap_or(path));
        let last = last_extension(name).to_ascii_lowercase();
        let keys = [Some(""), Some(&*last).filter(|last| !last.is_empty())];
        let about = keys.into_iter().flatten().filter_map(|key| self.by_extension.get(key));
        let mut numbers: Vec<usize> = about.flatten().copied().collect();
        numbers.sort_unstable();
        let rules = numbers.into_iter().map(|number| &self.rules[number]);
        rules.filter(|rule| rule.may_hold(paths.as_ref(), name)).collect()
    }

    /// What the path alone says.
    pub fn for_path(&self, path: &str) -> ForPath<'_> {
        let open = self.open(path);
        match open.iter().find(|rule| rule.needs_no_contents()) {
            Some(settled) => ForPath { settled: Some(&settled.id), ..ForPath::default() },
            None => {
                let mut lines = open.iter().map(|rule| rule.lines.map(|(_, to)| to).filter(|_| !rule.minified));
                let lines = lines.try_fold(0, |most, to| Some(to?.max(most)));
                ForPath { settled: None, open, lines }
            }
        }
    }
}

/// What the rules say of files with one path.
#[derive(Default)]
pub struct ForPath<'t> {
    settled: Option<&'t str>,
    open: Vec<&'t Rule>,
    /// How many lines at the start the open rules look at; none where they look at more than that.
    lines: Option<usize>,
}

/// The lines at the start of the last file by which no rule held.
#[derive(Default)]
pub struct Last(Option<String>);

impl<'t> ForPath<'t> {
    /// The id of the first rule by which a file with this path and these contents was made by a program. Rules that
    /// need no contents come before the others. `last` is of earlier contents at the same path: most versions begin as the
    /// one before.
    pub fn rule(&self, contents: &str, last: &mut Last) -> Option<&'t str> {
        if self.settled.is_some() || self.open.is_empty() {
            return self.settled;
        }
        if self.lines.is_some() && last.0.as_ref().is_some_and(|start| contents.starts_with(start)) {
            return None;
        }
        let found = self.open.iter().find(|rule| rule.holds(contents)).map(|rule| rule.id.as_str());
        // Where there are fewer lines, the next version may go on.
        let end = self.lines.filter(|_| found.is_none()).map(|lines| ends_of_lines(contents, lines));
        last.0 = end.filter(|end| *end < contents.len()).map(|end| contents[..end].to_owned());
        found
    }
}

/// What follows the last dot of a name, with the dot; empty where there is none.
fn last_extension(name: &str) -> &str {
    name.rfind('.').map_or("", |dot| &name[dot..])
}

impl Rule {
    fn needs_no_contents(&self) -> bool {
        self.pattern.is_none() && !self.minified
    }

    fn may_hold(&self, paths: Option<&SetMatches>, name: &str) -> bool {
        let ends = |extension: &String| {
            name.len() > extension.len()
                && name.as_bytes()[name.len() - extension.len()..].eq_ignore_ascii_case(extension.as_bytes())
        };
        let in_path = |at| paths.is_some_and(|paths| paths.matched(at));
        (self.extensions.is_empty() || self.extensions.iter().any(ends)) && self.path.is_none_or(in_path)
    }

    fn holds(&self, contents: &str) -> bool {
        if self.minified {
            let lines = memchr::memchr_iter(b'\n', contents.as_bytes()).count() + 1;
            return contents.len() > lines * (MINIFIED_LINE_BYTES + 1);
        }
        match (&self.pattern, self.lines) {
            (None, _) => true,
            (Some(pattern), Some((from, to))) => pattern.is_match(between(contents, from, to)),
            (Some(pattern), None) => pattern.is_match(last(contents, self.last_lines)),
        }
    }
}

/// Where so many lines of `text` end.
fn ends_of_lines(text: &str, lines: usize) -> usize {
    let Some(before) = lines.checked_sub(1) else { return 0 };
    memchr::memchr_iter(b'\n', text.as_bytes()).nth(before).map_or(text.len(), |at| at + 1)
}

/// Lines `from..to`, with their ends.
fn between(contents: &str, from: usize, to: usize) -> &str {
    let rest = &contents[ends_of_lines(contents, from)..];
    &rest[..ends_of_lines(rest, to - from)]
}

fn last(contents: &str, lines: usize) -> &str {
    let trimmed = contents.trim_end_matches(['\r', '\n']);
    let start = memchr::memrchr_iter(b'\n', trimmed.as_bytes()).nth(lines.max(1) - 1).map_or(0, |at| at + 1);
    &contents[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_programs_made() {
        let long = "x".repeat(500);
        for (path, contents, rule) in [
            ("a/Cargo.lock", "version = 4\n", Some("lockfile")),
            ("package-lock.json", "{}", Some("lockfile")),
            ("yarn.lock", "# yarn\n", Some("lockfile")),
            ("go.sum", "x\n", Some("lockfile")),
            ("rebar.lock", "x\n", Some("lockfile")),
            ("r/renv.lock", "{}", Some("lockfile")),
            ("shard.lock", "x\n", Some("lockfile")),
            ("symfony.lock", "{}", Some("lockfile")),
            ("proto/buf.lock", "x\n", Some("lockfile")),
            ("Brewfile.lock.json", "{}", Some("lockfile")),
            ("a/x.js", long.as_str(), Some("minified")),
            ("a/x.min.js", "a\n", Some("minified")),
            ("a/x.js", "a\nb\n", None),
            ("a/x.txt", long.as_str(), None),
            ("x.js.map", "{}", Some("source-map")),
            ("x.css", "a{}\n/*# sourceMappingURL=x.css.map */\n", Some("source-map-reference")),
            ("x.pb.go", "// Code generated by protoc-gen-go. DO NOT EDIT.\npackage x\n", Some("go")),
            ("x.go", "package x\n", None),
            (
                "x_pb2.py",
                "# -*- coding: utf-8 -*-\n# Generated by the protocol buffer compiler.  DO NOT EDIT!\n",
                Some("protobuf"),
            ),
            ("parser.c", "/* Generated by Cython 0.29 */\nx\n", Some("cython")),
            ("x.h", "/* A Bison parser, made by GNU Bison 3.8. */\n", Some("bison")),
            ("x.py", "# @generated by a tool\n", Some("at-generated")),
            ("x.py", "print('Code generated')\n", None),
        ] {
            assert_eq!(
                Generated::in_use().for_path(path).rule(contents, &mut Last::default()),
                rule,
                "{path}: {}",
                &contents[..contents.len().min(40)]
            );
            let by_path = Generated::in_use().by_path(path);
            let settled = ["", "x", long.as_str()]
                .map(|contents| Generated::in_use().for_path(path).rule(contents, &mut Last::default()));
            assert_eq!(by_path, settled[0].filter(|_| settled == [settled[0]; 3]), "{path}");
        }
    }

    #[test]
    fn what_held_of_earlier_contents_changes_nothing() {
        let lines =
            ["// Code generated by x. DO NOT EDIT.", "package x", "", "/* Generated by Cython */", "# @generated", "y"];
        let mut drawn = 5_u64;
        let mut draw = |below: usize| {
            drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (drawn >> 33) as usize % below
        };
        let (mut found, mut remembered) = (0, 0);
        for path in ["x.go", "x.c", "x.py", "x.js", "x.rs", "x.css"] {
            let for_path = Generated::in_use().for_path(path);
            for _ in 0..100 {
                let (mut last, mut text) = (Last::default(), vec!["y"; draw(60)]);
                for _ in 0..10 {
                    let at = draw(text.len() + 1);
                    match draw(4) {
                        0 if at < text.len() => drop(text.remove(at)),
                        1 => text.insert(at, lines[draw(lines.len())]),
                        _ => text.insert(at, "y"),
                    }
                    let contents = text.join("\n");
                    let rule = for_path.rule(&contents, &mut last);
                    assert_eq!(rule, for_path.rule(&contents, &mut Last::default()), "{path} {contents:?}");
                    found += usize::from(rule.is_some());
                    remembered += usize::from(last.0.is_some());
                }
            }
        }
        assert!(found > 100 && remembered > 1000, "{found} {remembered}");
    }

    #[test]
    fn the_table_is_sorted_and_strict() {
        let ids: Vec<&str> = Generated::in_use().rules.iter().map(|rule| rule.id.as_str()).collect();
        assert!(ids.is_sorted(), "{ids:?}");
        assert!(Generated::new(Text::Toml("[[rule]]\nid = \"x\"\nwhy = \"y\"\n")).is_err());
        let broken = Text::Toml("[[rule]]\nid = \"x\"\npattern = \"(\"\nlines = [0, 1]\n");
        let broken = Generated::new(broken).expect("its form is right");
        assert!(broken.compile_all().is_err());
        assert_eq!(Generated::in_use().compile_all(), Ok(()));
    }
}
