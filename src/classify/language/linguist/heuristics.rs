//! What patterns in the contents say of the language, where an ending is of several: `languages/heuristics.toml`.
//!
//! Of each version of a file they are asked again, and say the same of most. So what was said last is kept, with what
//! of the contents it holds for, and of a version where nothing had a match before only what is new is looked at.

use std::sync::OnceLock;

use hashbrown::HashMap;
use regex_automata::{Anchored, Input, util::syntax};
use regex_syntax::hir::{Class, Hir, HirKind, Look, literal::Extractor};
use serde::Deserialize;

use super::{
    Error, LanguageId, TABLES,
    patterns::{AnyOf, any_of, pattern_syntax},
    read,
};
use crate::{
    bytes::{common_prefix, common_suffix},
    classify::catalog::Text,
};

/// Of the contents, so many bytes are looked at (HEURISTICS_CONSIDER_BYTES).
const CONTENT_BYTES_MAX: usize = 50 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    disambiguation: Vec<RawDisambiguation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDisambiguation {
    extensions: Vec<String>,
    rule: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    languages: Vec<String>,
    #[serde(default)]
    every: Vec<Vec<String>>,
    #[serde(default)]
    none: Vec<String>,
}

/// The table, ready to be asked. Patterns are compiled when they are first needed.
pub(super) struct Heuristics {
    disambiguations: Vec<Disambiguation>,
    by_extension: HashMap<String, usize>,
}

/// The rules for a kind of file.
struct Disambiguation {
    raw: Vec<RawRule>,
    /// The languages of each of them.
    languages: Vec<Vec<LanguageId>>,
    rules: OnceLock<Rules>,
}

struct Rules {
    list: Vec<Rule>,
    /// Where every match of the first rule begins a line, and is in that line alone: which bytes it begins with.
    first_begins: Option<Box<[bool; 256]>>,
    all: OnceLock<Patterns>,
}

/// All patterns of all rules for a kind of file.
struct Patterns {
    any: AnyOf,
    /// How many lines that are not blank a match can go on to from another one; none where that has no bound.
    lines: Option<usize>,
}

struct Rule {
    languages: Vec<LanguageId>,
    every: Vec<AnyOf>,
    none: Option<AnyOf>,
}

impl Disambiguation {
    fn patterns(&self) -> Patterns {
        let patterns = self.raw.iter().flat_map(|raw| raw.every.iter().flatten().chain(&raw.none));
        let patterns: Vec<String> = patterns.cloned().collect();
        let parsed = syntax::parse_many_with(&patterns, &pattern_syntax(true)).unwrap_or_default();
        let lines = parsed.iter().map(line_ends).try_fold(0, |most, ends| Some(ends?.max(most)));
        Patterns { any: compile(&patterns), lines }
    }

    fn rules(&self) -> &Rules {
        self.rules.get_or_init(|| {
            let list = self.raw.iter().zip(&self.languages).map(|(raw, languages)| Rule {
                languages: languages.clone(),
                every: raw.every.iter().map(|any| compile(any)).collect(),
                none: (!raw.none.is_empty()).then(|| compile(&raw.none)),
            });
            let list = list.collect();
            let first = self.raw.first().and_then(|raw| raw.every.first());
            let first_begins = first.and_then(|any| begins_lines(any));
            Rules { list, first_begins, all: OnceLock::new() }
        })
    }
}

/// What was said last.
#[derive(Default)]
pub(super) struct Last {
    /// How contents have to begin for it to be said of them as well. Where `whole`, that is all that is looked at.
    start: Vec<u8>,
    whole: bool,
    /// Whether no pattern of any rule has a match there.
    bare: bool,
    languages: Option<Vec<LanguageId>>,
}

impl Heuristics {
    /// Reads the table; `find` knows the languages.
    ///
    /// # Errors
    /// It is not valid, or names a language that is not there.
    pub(super) fn read(table: Text<'_>, find: impl Fn(&str) -> Option<LanguageId>) -> Result<Self, Error> {
        let Table { disambiguation } = read(TABLES[1], table)?;
        let mut heuristics = Heuristics { disambiguations: Vec::new(), by_extension: HashMap::new() };
        let known = |name: &String| {
            let reason = || format!("there is no language {name}");
            find(name).ok_or_else(|| Error::Table { table: TABLES[1], reason: reason() })
        };
        for RawDisambiguation { extensions, rule } in disambiguation {
            let languages = rule.iter().map(|rule| rule.languages.iter().map(known).collect());
            let languages = languages.collect::<Result<_, Error>>()?;
            for extension in extensions {
                heuristics.by_extension.insert(extension.to_lowercase(), heuristics.disambiguations.len());
            }
            heuristics.disambiguations.push(Disambiguation { raw: rule, languages, rules: OnceLock::new() });
        }
        Ok(heuristics)
    }

    /// The patterns by which heuristics chose a language, each with the line in which it fits first; none where no pattern
    /// had to fit. For people, as it compiles each of them.
    pub(super) fn evidence(&self, path: &str, contents: &str, language: LanguageId) -> Vec<(&str, usize)> {
        let lower = path.rsplit('/').next().unwrap_or(path).to_lowercase();
        let head = &contents.as_bytes()[..contents.len().min(CONTENT_BYTES_MAX)];
        let Some(disambiguation) = self.disambiguation(&lower) else { return Vec::new() };
        let rules = disambiguation.raw.iter().zip(&disambiguation.rules().list);
        let of_language = rules.filter(|(_, rule)| rule.languages.contains(&language)).map(|(raw, _)| raw);
        let fits = |pattern: &'_ String| {
            let found = any_of(std::slice::from_ref(pattern), true).ok()?.find(head)?;
            Some(1 + memchr::memchr_iter(b'\n', &head[..found.start()]).count())
        };
        let fitting = |raw: &'_ RawRule| -> Option<Vec<(usize, usize)>> {
            let first = |any: &Vec<String>| any.iter().enumerate().find_map(|(at, pattern)| Some((at, fits(pattern)?)));
            raw.every.iter().map(first).collect()
        };
        for raw in of_language {
            if let Some(found) = fitting(raw) {
                let named = raw.every.iter().zip(found).map(|(any, (at, line))| (any[at].as_str(), line));
                return named.collect();
            }
        }
        Vec::new()
    }

    /// The heuristics for the longest ending that has some.
    fn disambiguation(&self, lower_name: &str) -> Option<&Disambiguation> {
        let endings = lower_name.match_indices('.').map(|(at, _)| &lower_name[at..]);
        let number = endings.filter_map(|ending| self.by_extension.get(ending)).next()?;
        Some(&self.disambiguations[*number])
    }

    /// The languages that the rules for this name in lower case choose by these contents. `last` is of earlier contents
    /// under the same name.
    pub(super) fn languages(&self, lower_name: &str, contents: &str, last: &mut Last) -> Vec<LanguageId> {
        let head = &contents.as_bytes()[..contents.len().min(CONTENT_BYTES_MAX)];
        if let Some(languages) = &last.languages
            && if last.whole { head == last.start } else { head.starts_with(&last.start) }
        {
            return languages.clone();
        }
        let Some(disambiguation) = self.disambiguation(lower_name) else { return Vec::new() };
        let Rules { list, first_begins, all } = disambiguation.rules();
        // Where nothing had a match, what is new has to have one before anything can change.
        if let Some(languages) = last.languages.as_ref().filter(|_| last.bare)
            && let Patterns { any, lines: Some(lines) } = all.get_or_init(|| disambiguation.patterns())
            && !any.is_match(Input::new(head).range(touched(&last.start, head, *lines)))
        {
            let languages = languages.clone();
            last.start.clear();
            last.start.extend_from_slice(head);
            return languages;
        }
        let mut decide = |start: &[u8], (whole, bare): (bool, bool), languages: &[LanguageId]| {
            last.start.clear();
            last.start.extend_from_slice(start);
            (last.whole, last.bare, last.languages) = (whole, bare, Some(languages.to_vec()));
            languages.to_vec()
        };
        let mut rules = &list[..];
        // Where the first rule of all holds, whatever follows its match, it holds for the next version, too. The byte
        // behind the match may be part of it: the end of a line, or of a word.
        if let [Rule { languages, every, none: None }, others @ ..] = rules
            && let [any] = &every[..]
        {
            let end = match first_begins {
                Some(bytes) => in_a_line(any, bytes, head),
                None => first_end(any, Input::new(head)),
            };
            if let Some(end) = end {
                let start = head.get(..=end);
                return decide(start.unwrap_or(head), (start.is_none(), false), languages);
            }
            rules = others;
        }
        let bare = list.len() > 1 && !all.get_or_init(|| disambiguation.patterns()).any.is_match(head);
        let found = |any: &AnyOf| !bare && any.is_match(head);
        let holds = |rule: &&Rule| rule.every.iter().all(found) && !rule.none.as_ref().is_some_and(found);
        decide(head, (true, bare), rules.iter().find(holds).map_or(&[], |rule| rule.languages.as_slice()))
    }

    /// Compiles every pattern, to see whether it is one.
    ///
    /// # Errors
    /// A pattern is not valid.
    pub(super) fn compile_all(&self) -> Result<(), Error> {
        let patterns = self.disambiguations.iter().flat_map(|disambiguation| &disambiguation.raw);
        for rule in patterns {
            for any in rule.every.iter().chain(std::iter::once(&rule.none)) {
                any_of(any, true).map_err(|e| Error::Table { table: TABLES[1], reason: e.to_string() })?;
            }
        }
        Ok(())
    }
}

/// Patterns of heuristics.
fn compile(patterns: &[String]) -> AnyOf {
    any_of(patterns, true).expect("tables are checked before they are used")
}

/// Where the first match ends, at the earliest.
fn first_end(any: &AnyOf, within: Input<'_>) -> Option<usize> {
    Some(any.search_half(&within.earliest(true))?.offset())
}

/// As [`first_end`], of patterns that begin lines, with one of these bytes.
fn in_a_line(any: &AnyOf, bytes: &[bool; 256], head: &[u8]) -> Option<usize> {
    let starts = std::iter::once(0).chain(memchr::memchr_iter(b'\n', head).map(|end| end + 1));
    let mut starts = starts.filter(|at| head.get(*at).is_some_and(|byte| bytes[usize::from(*byte)]));
    starts.find_map(|at| first_end(any, Input::new(head).range(at..).anchored(Anchored::Yes)))
}

/// Which bytes matches begin with, where each of them begins a line and ends in it.
fn begins_lines(patterns: &[String]) -> Option<Box<[bool; 256]>> {
    let mut bytes = Box::new([false; 256]);
    for pattern in patterns {
        let parsed = syntax::parse_with(pattern, &pattern_syntax(true)).ok()?;
        if !parsed.properties().look_set_prefix().contains(Look::StartLF) || line_ends(&parsed) != Some(0) {
            return None;
        }
        for literal in Extractor::new().extract(&parsed).literals()? {
            bytes[usize::from(*literal.as_bytes().first()?)] = true;
        }
    }
    Some(bytes)
}

/// In how many places a match of a pattern can go on to another line, blank lines not counted; none where that has no bound.
fn line_ends(pattern: &Hir) -> Option<usize> {
    let of_class = |class: &Class| match class {
        Class::Bytes(class) => {
            let has = |byte: u8| class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&byte));
            let is_space = class.ranges().iter().all(|r| (r.start()..=r.end()).all(|byte| BLANKS.contains(&byte)));
            (has(b'\n'), is_space)
        }
        Class::Unicode(_) => (true, false),
    };
    match pattern.kind() {
        HirKind::Empty | HirKind::Look(_) => Some(0),
        HirKind::Literal(literal) => Some(literal.0.iter().filter(|byte| **byte == b'\n').count()),
        HirKind::Class(class) => Some(usize::from(of_class(class).0)),
        HirKind::Capture(capture) => line_ends(&capture.sub),
        HirKind::Concat(parts) => parts.iter().map(line_ends).sum(),
        HirKind::Alternation(parts) => parts.iter().map(line_ends).try_fold(0, |most, ends| Some(ends?.max(most))),
        HirKind::Repetition(repetition) => match (line_ends(&repetition.sub)?, repetition.sub.kind()) {
            (0, _) => Some(0),
            (_, HirKind::Class(class)) if of_class(class).1 => Some(1),
            (ends, _) => ends.checked_mul(repetition.max? as usize),
        },
    }
}

/// What lines that hold nothing else are blank with: `\s`, in ASCII.
const BLANKS: &[u8] = b" \t\r\x0b\x0c\n";

/// Where in `new` a match can be that is not in `old`, if it reaches at most `lines` lines beyond one, blank ones not counted.
fn touched(old: &[u8], new: &[u8], lines: usize) -> std::ops::Range<usize> {
    let common = common_prefix(old, new);
    let same_end = common_suffix(&old[common..], &new[common..]);
    // What stands beside a match can decide about it.
    let (mut from, mut to) = (common.saturating_sub(1), (new.len() - same_end + 1).min(new.len()));
    let is_blank = |line: &[u8]| line.iter().all(|byte| BLANKS.contains(byte));
    let start_of = |at: usize| memchr::memrchr(b'\n', &new[..at]).map_or(0, |end| end + 1);
    let end_of = |at: usize| memchr::memchr(b'\n', &new[at..]).map_or(new.len(), |end| at + end + 1);
    (from, to) = (start_of(from), end_of(to));
    let (mut before, mut behind) = (lines, lines);
    while from > 0 {
        let start = start_of(from - 1);
        if !is_blank(&new[start..from]) {
            let Some(left) = before.checked_sub(1) else { break };
            before = left;
        }
        from = start;
    }
    while to < new.len() {
        let end = end_of(to);
        if !is_blank(&new[to..end]) {
            let Some(left) = behind.checked_sub(1) else { break };
            behind = left;
        }
        to = end;
    }
    from..to
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{
        super::{Decided, Linguist},
        *,
    };

    #[test]
    fn every_ending_has_rules() {
        let Heuristics { disambiguations, .. } = &Linguist::in_use().heuristics;
        assert!(!disambiguations.is_empty());
        assert!(disambiguations.iter().all(|disambiguation| !disambiguation.rules().list.is_empty()));
    }

    #[test]
    fn heuristics_say_which_pattern_fits_where() {
        let linguist = Linguist::in_use();
        let cpp = linguist.find("C++").expect("a language");
        let evidence = linguist.heuristic_evidence("x.h", "int x;\n\nnamespace y {\n}\nstd::z q;\n", cpp);
        assert_eq!(evidence, [("^[ \\t]*(class|(using[ \\t]+)?namespace)\\s+\\w+", 3)]);
        let c = linguist.find("C").expect("a language");
        assert_eq!(linguist.heuristic_evidence("x.h", "int x;\n", c), [], "it is what is left");
        assert_eq!(linguist.heuristic_evidence("x.py", "x = 1\n", c), []);
    }

    #[test]
    fn what_was_decided_of_earlier_contents_changes_nothing() {
        let lines = [
            "int x;",
            "",
            " \t",
            "#",
            "#include",
            "include <vector>",
            "#include <vector>",
            "  <string>",
            "template",
            "<",
            "class",
            "X;",
            "std:",
            "std::x",
            "entry",
            "@end",
            "@endless",
            "catch",
            "(",
            "private:",
            "private: x",
            "<?xml?>",
            "use",
            "fn x",
            "my $x;",
            "say \"x",
            "y\"",
            ".TH x",
            "\\begin{x}",
            "{",
            "[",
            "(*",
            "*)",
        ];
        let linguist = Linguist::in_use();
        let mut drawn = 7_u64;
        let mut draw = |below: usize| {
            drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (drawn >> 33) as usize % below
        };
        let (mut bare, mut others) = (0, 0);
        for ending in [".h", ".rs", ".pl", ".m", ".md", ".inc", ".1", ".t", ".tex", ".v", ".ml", ".json", ".ts", ".sql"]
        {
            let path = format!("x{ending}");
            for _ in 0..60 {
                let (mut decided, mut text): (Decided, Vec<&str>) = (Decided::default(), vec!["int x;"; draw(30)]);
                for _ in 0..12 {
                    let at = draw(text.len() + 1);
                    match draw(3) {
                        0 if at < text.len() => drop(text.remove(at)),
                        1 if at < text.len() => text[at] = lines[draw(lines.len())],
                        _ => text.insert(at, lines[draw(lines.len())]),
                    }
                    let contents = text.join(if draw(8) == 0 { "\r\n" } else { "\n" });
                    let helped = linguist.candidates(&path, &contents, &mut decided);
                    assert_eq!(
                        helped,
                        linguist.candidates(&path, &contents, &mut Decided::default()),
                        "{path} {contents:?}"
                    );
                    *(if decided.heuristics.bare { &mut bare } else { &mut others }) += 1;
                }
            }
        }
        assert!(bare > 1000 && others > 1000, "{bare} {others}");
    }

    #[test]
    fn patterns_that_begin_lines_are_found_there() {
        for (pattern, begins) in [
            ("^(use |fn )", Some("uf")),
            (r"^#!?\[", Some("#")),
            ("^[ab]c", Some("ab")),
            ("^a|b", None),
            (r"^\s*a", None),
            ("(a|^b)c", None),
            ("^a?", None),
        ] {
            let bytes = begins_lines(&[pattern.to_owned()]);
            let expected = begins.map(|begins| begins.bytes().map(usize::from).collect::<Vec<_>>());
            let found = bytes.map(|bytes| (0..256).filter(|byte| bytes[*byte]).collect::<Vec<_>>());
            assert_eq!(found.map(HashSet::<usize>::from_iter), expected.map(HashSet::from_iter), "{pattern}");
        }
        let patterns = ["^(use |fn )".to_owned(), "^mod$".to_owned()];
        let (any, bytes) = (compile(&patterns), begins_lines(&patterns).expect("they begin lines"));
        for head in ["", "\n", "use x", " use x\nfn y", "x\nmod", "mod x\nmod\n", "x use\n\n\nfn ", "\nuse"] {
            let head = head.as_bytes();
            assert_eq!(in_a_line(&any, &bytes, head), first_end(&any, Input::new(head)), "{head:?}");
        }
    }

    #[test]
    fn lines_that_a_match_can_go_over() {
        for (pattern, ends) in [
            ("std::x", Some(0)),
            (r"^[ \t]*a$", Some(0)),
            (r"^\s*a\s+b", Some(2)),
            ("a\nb|c", Some(1)),
            (r"a\s*(b\s*c)?", Some(2)),
            (r"a\s*(b\s*c){3}", Some(4)),
            (r"(a\s*)*", None),
            ("a[^b]*b", None),
            ("a[^b]{2}", Some(2)),
            ("(?s)a.b", Some(1)),
            (r"a\Wb", Some(1)),
        ] {
            let parsed = syntax::parse_with(pattern, &pattern_syntax(true)).expect("a valid pattern");
            assert_eq!(line_ends(&parsed), ends, "{pattern}");
        }
    }
}
