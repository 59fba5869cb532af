//! Today's language of a file, by the rules and in the order of GitHub Linguist (docs/how-linguist-works.md there):
//! modeline, file name, shebang, extension, XML declaration, manual page, heuristics over the contents.
//!
//! The facts are `languages/linguist.toml`, `heuristics.toml` and `vendored.toml`. Where all rules leave several
//! languages open, [`super::super::language`]'s tie-break decides; nothing here guesses.

use std::sync::OnceLock;

use hashbrown::HashMap;
use regex::bytes::{Regex, RegexBuilder};
use regex_automata::{
    Anchored, Input, MatchKind, meta,
    util::{prefilter::Prefilter, syntax},
};
use regex_syntax::hir::{Class, Hir, HirKind};
use serde::Deserialize;

use crate::{
    bytes::{common_prefix, common_suffix},
    classify::catalog,
};

/// Of the contents, so many bytes are looked at (HEURISTICS_CONSIDER_BYTES).
const CONTENT_BYTES_MAX: usize = 50 * 1024;

/// A modeline stands among so many lines at the beginning or the end (SEARCH_SCOPE).
const MODELINE_LINES: usize = 5;

/// Lines of more bytes are not remembered.
const MODELINE_BYTES_KEPT: usize = 2048;

/// How a language was found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Method {
    /// An Emacs or Vim modeline.
    Modeline,
    /// The whole file name.
    Filename,
    /// The interpreter in the first line.
    Shebang,
    /// The ending of the file name.
    Extension,
    /// An XML declaration.
    Xml,
    /// A manual page's ending.
    Manpage,
    /// Patterns in the contents.
    Heuristics,
    /// The words of the contents.
    TieBreak,
}

impl Method {
    /// The name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Modeline => "modeline",
            Method::Filename => "filename",
            Method::Shebang => "shebang",
            Method::Extension => "extension",
            Method::Xml => "xml",
            Method::Manpage => "manpage",
            Method::Heuristics => "heuristics",
            Method::TieBreak => "tie-break",
        }
    }
}

/// A position in [`Linguist::languages`].
pub type LanguageId = u16;

/// A language as the table has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Language {
    /// Linguist's name.
    pub name: String,
    /// programming, markup, data or prose.
    #[serde(rename = "type")]
    pub kind: String,
    /// The language that this one is counted with.
    pub group: Option<String>,
    /// Endings of file names.
    #[serde(default)]
    pub extensions: Vec<String>,
    /// Whole file names.
    #[serde(default)]
    pub filenames: Vec<String>,
    /// Programs in a first line.
    #[serde(default)]
    pub interpreters: Vec<String>,
    /// Further names.
    #[serde(default)]
    pub aliases: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LanguageTable {
    generic: Vec<String>,
    language: Vec<Language>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeuristicTable {
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VendoredTable {
    patterns: Vec<String>,
}

struct Disambiguation {
    raw: Vec<RawRule>,
    rules: OnceLock<Rules>,
}

struct Rules {
    list: Vec<Rule>,
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
}

/// Several patterns that are looked for at once.
type AnyOf = regex_automata::meta::Regex;

/// Paths that come from elsewhere. Nearly all patterns begin at the start of a name in the path; where they are only tried
/// there, the automaton is at its end after a byte or two, and stays small.
struct Vendored {
    patterns: Vec<String>,
    at_names: AnyOf,
    anywhere: AnyOf,
}

impl Vendored {
    /// What such patterns begin with.
    const STARTS: [&'static str; 2] = ["(^|/)", r"(^|\/)"];

    fn new(patterns: Vec<String>) -> Result<Self, Box<regex_automata::meta::BuildError>> {
        let (mut at_names, mut anywhere) = (Vec::new(), Vec::new());
        for pattern in &patterns {
            let rest = Self::STARTS.iter().find_map(|start| pattern.strip_prefix(start));
            match rest.filter(|rest| !rest.starts_with(['?', '*', '+', '{']) && !is_choice(rest)) {
                Some(rest) => at_names.push(rest.to_owned()),
                None => anywhere.push(pattern.clone()),
            }
        }
        let (at_names, anywhere) = (any_of(&at_names, false)?, any_of(&anywhere, false)?);
        Ok(Vendored { patterns, at_names, anywhere })
    }

    fn is_match(&self, path: &str) -> bool {
        let starts = std::iter::once(0).chain(memchr::memchr_iter(b'/', path.as_bytes()).map(|at| at + 1));
        let at_name = |at| Input::new(path).range(at..).anchored(Anchored::Yes);
        self.anywhere.is_match(path) || starts.map(at_name).any(|input| self.at_names.is_match(input))
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

/// What was found at a path with earlier contents, most of which holds for the next ones.
#[derive(Default)]
pub struct Decided {
    named: Option<Named>,
    modeline: Modeline,
    heuristics: Heuristics,
}

/// What the name of a file says.
struct Named {
    lower: String,
    by_filename: Vec<LanguageId>,
    by_extension: Vec<LanguageId>,
}

/// The lines that a modeline was looked for in, and what was found.
#[derive(Default)]
struct Modeline {
    head: String,
    foot: String,
    found: Option<LanguageId>,
}

/// What the heuristics said.
#[derive(Default)]
struct Heuristics {
    /// How contents have to begin for it to be said of them as well. Where `whole`, that is all that is looked at.
    start: Vec<u8>,
    whole: bool,
    /// Whether no pattern of any rule has a match there.
    bare: bool,
    languages: Option<Vec<LanguageId>>,
}

/// What the rules say of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidates {
    /// The languages that are left; in most cases one, none where nothing fits.
    pub languages: Vec<LanguageId>,
    /// The last rule that narrowed them down.
    pub method: Method,
}

/// The tables, ready to be asked.
pub struct Linguist {
    languages: Vec<Language>,
    by_name: HashMap<String, LanguageId>,
    by_extension: HashMap<String, Vec<LanguageId>>,
    by_filename: HashMap<String, Vec<LanguageId>>,
    by_interpreter: HashMap<String, Vec<LanguageId>>,
    by_alias: HashMap<String, LanguageId>,
    generic: Vec<String>,
    disambiguations: Vec<Disambiguation>,
    by_disambiguated: HashMap<String, usize>,
    vendored: Vendored,
    /// What every modeline has in it.
    modeline_mark: Regex,
    modelines: [Regex; 2],
}

/// What is wrong with a table.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("the table of {what}: {reason}")]
    Table { what: &'static str, reason: String },
}

impl Linguist {
    /// The tables in use.
    pub fn in_use() -> &'static Self {
        static BUILTIN: OnceLock<Linguist> = OnceLock::new();
        BUILTIN.get_or_init(|| {
            let tables = ["linguist.toml", "heuristics.toml", "vendored.toml"].map(catalog::table);
            Self::new(tables).expect("tables are checked before they are used")
        })
    }

    /// Reads the tables of languages, heuristics and vendored paths. Patterns of heuristics are compiled when they are
    /// first needed.
    ///
    /// # Errors
    /// A table is not valid, or names a language that is not there.
    pub fn new([languages, heuristics, vendored]: [&str; 3]) -> Result<Self, Error> {
        let LanguageTable { generic, language: languages } = read("languages", languages)?;
        let HeuristicTable { disambiguation } = read("heuristics", heuristics)?;
        let VendoredTable { patterns } = read("vendored paths", vendored)?;
        let vendored =
            Vendored::new(patterns).map_err(|e| Error::Table { what: "vendored paths", reason: e.to_string() })?;
        let mut linguist = Linguist {
            languages: Vec::new(),
            by_name: HashMap::new(),
            by_extension: HashMap::new(),
            by_filename: HashMap::new(),
            by_interpreter: HashMap::new(),
            by_alias: HashMap::new(),
            generic,
            disambiguations: Vec::new(),
            by_disambiguated: HashMap::new(),
            vendored,
            modeline_mark: multi_line(r"-\*-|vi:|vim|ex:").expect("the pattern is valid"),
            modelines: modelines(),
        };
        for (number, language) in (0..).zip(&languages) {
            linguist.by_name.insert(language.name.clone(), number);
            for extension in &language.extensions {
                add(&mut linguist.by_extension, extension.to_lowercase(), number);
            }
            for filename in &language.filenames {
                add(&mut linguist.by_filename, filename.clone(), number);
            }
            for interpreter in &language.interpreters {
                add(&mut linguist.by_interpreter, interpreter.clone(), number);
            }
            for alias in language.aliases.iter().chain([&language.name]) {
                linguist.by_alias.entry(alias.to_lowercase().replace(' ', "-")).or_insert(number);
            }
        }
        linguist.languages = languages;
        for RawDisambiguation { extensions, rule } in disambiguation {
            for name in rule.iter().flat_map(|rule| &rule.languages) {
                if !linguist.by_name.contains_key(name) {
                    return Err(Error::Table { what: "heuristics", reason: format!("there is no language {name}") });
                }
            }
            for extension in extensions {
                linguist.by_disambiguated.insert(extension.to_lowercase(), linguist.disambiguations.len());
            }
            linguist.disambiguations.push(Disambiguation { raw: rule, rules: OnceLock::new() });
        }
        Ok(linguist)
    }

    /// All languages, in the order of the table.
    pub fn languages(&self) -> &[Language] {
        &self.languages
    }

    /// The language at a position.
    pub fn language(&self, id: LanguageId) -> &Language {
        &self.languages[usize::from(id)]
    }

    /// The position of the language of this name.
    pub fn find(&self, name: &str) -> Option<LanguageId> {
        self.by_name.get(name).copied()
    }

    /// Whether the path says that the file comes from elsewhere.
    pub fn is_vendored(&self, path: &str) -> bool {
        self.vendored.is_match(path)
    }

    /// The pattern by which a path says that the file comes from elsewhere; for people, as it compiles each of them.
    pub fn vendored_by(&self, path: &str) -> Option<&str> {
        let fits =
            |pattern: &&String| any_of(std::slice::from_ref(*pattern), false).is_ok_and(|any| any.is_match(path));
        self.vendored.patterns.iter().find(fits).map(String::as_str)
    }

    /// The patterns by which heuristics chose a language, each with the line in which it fits first; none where no pattern
    /// had to fit. For people, as it compiles each of them.
    pub fn heuristic_evidence(&self, path: &str, contents: &str, language: LanguageId) -> Vec<(&str, usize)> {
        let lower = path.rsplit('/').next().unwrap_or(path).to_lowercase();
        let head = &contents.as_bytes()[..contents.len().min(CONTENT_BYTES_MAX)];
        let Some(disambiguation) = self.disambiguation(&lower) else { return Vec::new() };
        let rules = disambiguation.raw.iter().zip(&self.rules(disambiguation).list);
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

    /// What the rules leave of the languages of a file with this path and these contents. `decided` is of earlier
    /// contents at the same path.
    pub fn candidates(&self, path: &str, contents: &str, decided: &mut Decided) -> Candidates {
        let mut found = Candidates { languages: Vec::new(), method: Method::Extension };
        if contents.is_empty() {
            return found;
        }
        let settled = |found: &mut Candidates, languages: Vec<LanguageId>, method: Method| {
            if !languages.is_empty() {
                *found = Candidates { languages, method };
            }
            found.languages.len() == 1
        };
        let within = |found: &Candidates, languages: &[LanguageId]| -> Vec<LanguageId> {
            let open = &found.languages;
            languages.iter().copied().filter(|id| open.is_empty() || open.contains(id)).collect()
        };
        let Decided { named, modeline, heuristics } = decided;
        let Named { lower, by_filename, by_extension } = named.get_or_insert_with(|| self.named(path));
        if settled(&mut found, self.by_modeline(contents, modeline).into_iter().collect(), Method::Modeline) {
            return found;
        }
        let by_filename = within(&found, by_filename);
        if settled(&mut found, by_filename, Method::Filename) {
            return found;
        }
        let by_shebang = interpreter(contents).and_then(|program| self.by_interpreter.get(program.as_str()));
        let by_shebang = within(&found, by_shebang.map_or(&[], Vec::as_slice));
        if settled(&mut found, by_shebang, Method::Shebang) {
            return found;
        }
        let by_extension = within(&found, by_extension);
        if settled(&mut found, by_extension, Method::Extension) {
            return found;
        }
        if found.languages.is_empty() {
            let is_xml = contents.lines().take(2).any(|line| line.contains("<?xml version="));
            if settled(&mut found, self.find("XML").filter(|_| is_xml).into_iter().collect(), Method::Xml) {
                return found;
            }
            let pages = ["Roff Manpage", "Roff"].iter().filter_map(|name| self.find(name));
            let pages = if is_manual_page(lower) { pages.collect() } else { Vec::new() };
            settled(&mut found, pages, Method::Manpage);
        }
        let by_heuristics = self.by_heuristics(lower, contents, heuristics);
        settled(&mut found, by_heuristics, Method::Heuristics);
        found
    }

    fn named(&self, path: &str) -> Named {
        let name = path.rsplit('/').next().unwrap_or(path);
        let lower = name.to_lowercase();
        let is_generic = self.generic.iter().any(|extension| lower.ends_with(extension.as_str()));
        let by_extension = if is_generic { Vec::new() } else { self.by_extension(&lower).to_vec() };
        Named { lower, by_filename: self.by_filename.get(name).cloned().unwrap_or_default(), by_extension }
    }

    /// The languages of the longest ending that any language has.
    fn by_extension(&self, lower_name: &str) -> &[LanguageId] {
        let endings = lower_name.match_indices('.').map(|(at, _)| &lower_name[at..]);
        endings.filter_map(|ending| self.by_extension.get(ending)).next().map_or(&[], Vec::as_slice)
    }

    /// The heuristics for the longest ending that has some.
    fn disambiguation(&self, lower_name: &str) -> Option<&Disambiguation> {
        let endings = lower_name.match_indices('.').map(|(at, _)| &lower_name[at..]);
        let number = endings.filter_map(|ending| self.by_disambiguated.get(ending)).next()?;
        Some(&self.disambiguations[*number])
    }

    fn by_heuristics(&self, lower_name: &str, contents: &str, decided: &mut Heuristics) -> Vec<LanguageId> {
        let head = &contents.as_bytes()[..contents.len().min(CONTENT_BYTES_MAX)];
        if let Some(languages) = &decided.languages
            && if decided.whole { head == decided.start } else { head.starts_with(&decided.start) }
        {
            return languages.clone();
        }
        let Some(disambiguation) = self.disambiguation(lower_name) else { return Vec::new() };
        let Rules { list, all } = self.rules(disambiguation);
        // Where nothing had a match, what is new has to have one before anything can change.
        if let Some(languages) = decided.languages.as_ref().filter(|_| decided.bare)
            && let Patterns { any, lines: Some(lines) } = all.get_or_init(|| disambiguation.patterns())
            && !any.is_match(Input::new(head).range(touched(&decided.start, head, *lines)))
        {
            let languages = languages.clone();
            decided.start.clear();
            decided.start.extend_from_slice(head);
            return languages;
        }
        let mut decide = |start: &[u8], (whole, bare): (bool, bool), languages: &[LanguageId]| {
            decided.start.clear();
            decided.start.extend_from_slice(start);
            (decided.whole, decided.bare, decided.languages) = (whole, bare, Some(languages.to_vec()));
            languages.to_vec()
        };
        let mut rules = &list[..];
        // Where the first rule of all holds, whatever follows its match, it holds for the next version, too. The byte
        // behind the match may be part of it: the end of a line, or of a word.
        if let [Rule { languages, every, none: None }, others @ ..] = rules
            && let [any] = &every[..]
        {
            if let Some(found) = any.search_half(&Input::new(head).earliest(true)) {
                let start = head.get(..=found.offset());
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
    pub fn compile_all(&self) -> Result<(), Error> {
        let patterns = self.disambiguations.iter().flat_map(|disambiguation| &disambiguation.raw);
        for rule in patterns {
            for any in rule.every.iter().chain(std::iter::once(&rule.none)) {
                any_of(any, true).map_err(|e| Error::Table { what: "heuristics", reason: e.to_string() })?;
            }
        }
        Ok(())
    }

    fn rules<'a>(&self, disambiguation: &'a Disambiguation) -> &'a Rules {
        disambiguation.rules.get_or_init(|| {
            let list = disambiguation.raw.iter().map(|raw| Rule {
                languages: raw.languages.iter().filter_map(|name| self.find(name)).collect(),
                every: raw.every.iter().map(|any| compile(any)).collect(),
                none: (!raw.none.is_empty()).then(|| compile(&raw.none)),
            });
            let list = list.collect();
            Rules { list, all: OnceLock::new() }
        })
    }

    fn by_modeline(&self, contents: &str, last: &mut Modeline) -> Option<LanguageId> {
        let first = memchr::memchr_iter(b'\n', contents.as_bytes()).nth(MODELINE_LINES - 1);
        let first = first.map_or(contents.len(), |at| at + 1);
        let trimmed = contents.trim_end_matches(['\r', '\n']);
        let begin = memchr::memrchr_iter(b'\n', trimmed.as_bytes()).nth(MODELINE_LINES - 1).map_or(0, |at| at + 1);
        let (head, foot) = (&contents[..first], &trimmed[begin..]);
        if head.len() + foot.len() > MODELINE_BYTES_KEPT {
            return self.modeline_in(head, foot);
        }
        if head != last.head || foot != last.foot {
            for (known, part) in [(&mut last.head, head), (&mut last.foot, foot)] {
                known.clear();
                known.push_str(part);
            }
            last.found = self.modeline_in(head, foot);
        }
        last.found
    }

    fn modeline_in(&self, head: &str, foot: &str) -> Option<LanguageId> {
        for part in [head, foot] {
            if !self.modeline_mark.is_match(part.as_bytes()) {
                continue;
            }
            let captures = self.modelines.iter().find_map(|line| line.captures(part.as_bytes()));
            if captures.is_some() && head.contains("UseVimball") {
                return None;
            }
            if let Some(name) = captures.and_then(|captures| captures.get(1)) {
                let alias = String::from_utf8_lossy(name.as_bytes()).to_lowercase();
                return self.by_alias.get(&alias).copied();
            }
        }
        None
    }
}

fn read<T: serde::de::DeserializeOwned>(what: &'static str, text: &str) -> Result<T, Error> {
    toml::from_str(text).map_err(|e| Error::Table { what, reason: e.to_string() })
}

fn add(index: &mut HashMap<String, Vec<LanguageId>>, key: String, id: LanguageId) {
    let ids = index.entry(key).or_default();
    if !ids.contains(&id) {
        ids.push(id);
    }
}

/// Looked for by the automaton, which skips to the literals that matches begin with, if they all begin with some. Where a
/// literal in the middle or at the end of a pattern is common in the text, regex's search for that first ends in its
/// slowest engine, which took two thirds of the time of all labels. Automata that are built in full before anything is
/// searched cost a short run more than they save.
fn any_of(patterns: &[String], multi_line: bool) -> Result<AnyOf, Box<regex_automata::meta::BuildError>> {
    let syntax = pattern_syntax(multi_line);
    // Patterns that can't be read are the builder's to name.
    let begin = syntax::parse_many_with(patterns, &syntax)
        .ok()
        .and_then(|parsed| Prefilter::from_hirs_prefix(MatchKind::LeftmostFirst, &parsed))
        .filter(Prefilter::is_fast);
    meta::Regex::builder()
        .configure(
            meta::Config::new().auto_prefilter(false).prefilter(begin).utf8_empty(false).dfa(false).onepass(false),
        )
        .syntax(syntax)
        .build_many(patterns)
        .map_err(Box::new)
}

/// Patterns of heuristics.
fn compile(patterns: &[String]) -> AnyOf {
    any_of(patterns, true).expect("tables are checked before they are used")
}

fn pattern_syntax(multi_line: bool) -> syntax::Config {
    syntax::Config::new().multi_line(multi_line).unicode(false).utf8(false)
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

/// Classes such as `\w` are ASCII's, as they are for Linguist.
fn multi_line(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).multi_line(true).unicode(false).build()
}

/// The forms that Emacs and Vim document: `-*- mode: NAME -*-`, `-*- NAME -*-`; `vim: ft=NAME`, `vim: set ft=NAME :`.
fn modelines() -> [Regex; 2] {
    let compile = |pattern: &str| multi_line(pattern).expect("the pattern is valid");
    [
        compile(r"(?i)-\*-(?:[ \t]*|.*?[ \t;]mode[ \t]*:[ \t]*|mode[ \t]*:[ \t]*)([^:;\s]+?)(?:[ \t]*;.*?|[ \t]*)-\*-"),
        compile(
            r"(?:(?:^|[ \t])(?:vi|[vV]im(?:[<=>]?[0-9]+)?)|[ \t]ex):.*?[ \t:](?:filetype|ft|syntax)[ \t]*=(\w+)(?:$|\s|:)",
        ),
    ]
}

/// The program in a line `#!`, without its path and minor version; what `env` starts, and what a shell `exec`s at once.
fn interpreter(contents: &str) -> Option<String> {
    let line = contents.strip_prefix("#!")?.lines().next()?;
    let mut words = line.split_whitespace();
    let mut program = words.next()?.rsplit('/').next()?;
    if program == "env" {
        program = words.find(|word| !word.starts_with('-') && !word.contains('='))?;
    }
    if program == "osascript" && words.any(|word| word.starts_with("-l")) {
        return None;
    }
    if program == "sh"
        && let Some(started) = contents.lines().take(MODELINE_LINES).find_map(executed)
    {
        program = started;
    }
    let program = program.rsplit('/').next()?;
    let version = program.rfind('.').filter(|dot| {
        let digits = &program[dot + 1..];
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    Some(program[..version.unwrap_or(program.len())].to_owned())
}

/// `exec NAME "$0" "$@"`: a script that starts its own interpreter.
fn executed(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("exec ")?;
    let (program, rest) = rest.split_once([' ', '\t', '"', '\''])?;
    let rest: String = rest.chars().filter(|c| !c.is_whitespace() && !matches!(c, '"' | '\'')).collect();
    (rest.starts_with("$0$@") && program.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')).then_some(program)
}

/// An ending of a section of the manual: `.1` to `.9` with letters behind, `.0p`, `.n`, `.man`, `.mdoc`, and `.in` then.
fn is_manual_page(lower_name: &str) -> bool {
    let name = lower_name.strip_suffix(".in").unwrap_or(lower_name);
    let Some((_, ending)) = name.rsplit_once('.') else { return false };
    let mut bytes = ending.bytes();
    match ending {
        "0p" | "n" | "man" | "mdoc" => true,
        _ => {
            matches!(bytes.next(), Some(b'1'..=b'9'))
                && !ending[1..].starts_with(|c: char| c.is_ascii_digit())
                && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_whole() {
        let linguist = Linguist::in_use();
        assert!(linguist.languages.len() > 750);
        let names: Vec<&str> = linguist.languages.iter().map(|language| language.name.as_str()).collect();
        assert!(names.is_sorted(), "languages are sorted by name");
        let kinds = ["programming", "markup", "data", "prose"];
        assert!(linguist.languages.iter().all(|language| kinds.contains(&language.kind.as_str())));
        for disambiguation in &linguist.disambiguations {
            assert!(!linguist.rules(disambiguation).list.is_empty());
        }
        let groups: Vec<&String> = linguist.languages.iter().filter_map(|language| language.group.as_ref()).collect();
        assert!(groups.iter().all(|group| linguist.find(group).is_some()));
        assert!(
            Linguist::new([
                "generic = []\nlanguage = []\ncolour = 1",
                catalog::table("heuristics.toml"),
                catalog::table("vendored.toml")
            ])
            .is_err()
        );
        assert!(
            Linguist::new([
                "generic = []\nlanguage = []",
                catalog::table("heuristics.toml"),
                catalog::table("vendored.toml")
            ])
            .is_err()
        );
    }

    #[track_caller]
    fn check(path: &str, contents: &str, languages: &[&str], method: Method) {
        let linguist = Linguist::in_use();
        let found = linguist.candidates(path, contents, &mut Decided::default());
        let names: Vec<&str> = found.languages.iter().map(|id| linguist.language(*id).name.as_str()).collect();
        assert_eq!((names.as_slice(), found.method), (languages, method), "{path}");
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
    fn every_strategy_decides() {
        check("x.txt", "# -*- mode: Ruby; x: y -*-\n", &["Ruby"], Method::Modeline);
        check("x", "-*- perl -*-\n", &["Perl"], Method::Modeline);
        check("x.h", "a\nb\n// vim: set ts=4 ft=cpp :\n", &["C++"], Method::Modeline);
        check("x", "/* vim: ft=c */\n", &["C"], Method::Modeline);
        check("a/Makefile", "all:\n", &["Makefile"], Method::Filename);
        check("a/x", "#!/usr/bin/env -S A=b python3.12 -u\n", &["Python"], Method::Shebang);
        check("x", "#!/bin/sh\nexec tclsh \"$0\" \"$@\"\n", &["Tcl"], Method::Shebang);
        check("X.RS", "fn main() {}\n", &["Rust"], Method::Heuristics);
        check("x.tar.py", "x = 1\n", &["Python"], Method::Extension);
        check("x.unheard", "<?xml version=\"1.0\"?>\n<x/>\n", &["XML"], Method::Xml);
        check("git.1.in", ".TH git 1\n.SH NAME\n", &["Roff Manpage", "Roff"], Method::Manpage);
        check("git.1", ".TH git \"1\"\n.SH NAME\n", &["Roff Manpage"], Method::Heuristics);
        check("x.h", "#include <vector>\nclass X { public: int y; };\n", &["C++"], Method::Heuristics);
        check("x.h", "@interface X\n@end\n", &["Objective-C"], Method::Heuristics);
        check("x.m", "#import <X/X.h>\n", &["Objective-C"], Method::Heuristics);
        check("README", "hello\n", &[], Method::Extension);
        check("x.rs", "", &[], Method::Extension);
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

    #[test]
    fn patterns_at_names_match_as_they_would_anywhere() {
        let VendoredTable { patterns } = toml::from_str(catalog::table("vendored.toml")).expect("a valid table");
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
