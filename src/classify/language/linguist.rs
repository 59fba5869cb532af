//! Today's language of a file, by the rules and in the order of GitHub Linguist (docs/how-linguist-works.md there):
//! modeline, file name, shebang, extension, XML declaration, manual page, heuristics over the contents.
//!
//! The facts are `languages/linguist.toml`, `heuristics.toml` and `vendored.toml`. Where all rules leave several
//! languages open, [`super::super::language`]'s tie-break decides; nothing here guesses.

mod heuristics;
mod modeline;
mod patterns;
mod shebang;
mod vendored;

use std::sync::OnceLock;

use hashbrown::HashMap;
use serde::Deserialize;

use crate::classify::catalog::{self, Text};
use heuristics::Heuristics;
use modeline::Modelines;
use shebang::interpreter;
use vendored::Vendored;

/// The files that its tables are in: languages, heuristics, vendored paths.
pub const TABLES: [&str; 3] = ["linguist.toml", "heuristics.toml", "vendored.toml"];

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

/// What was found at a path with earlier contents, most of which holds for the next ones.
#[derive(Default)]
pub struct Decided {
    named: Option<Named>,
    modeline: modeline::Last,
    heuristics: heuristics::Last,
}

/// What the name of a file says.
struct Named {
    lower: String,
    by_filename: Vec<LanguageId>,
    by_extension: Vec<LanguageId>,
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
    heuristics: Heuristics,
    vendored: Vendored,
    modelines: Modelines,
}

/// What is wrong with a table.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("{table}: {reason}")]
    Table { table: &'static str, reason: String },
}

impl Linguist {
    /// The tables in use.
    pub fn in_use() -> &'static Self {
        static BUILTIN: OnceLock<Linguist> = OnceLock::new();
        BUILTIN.get_or_init(|| Self::new(TABLES.map(catalog::table)).expect("tables are checked before they are used"))
    }

    /// Reads the tables of languages, heuristics and vendored paths. Patterns of heuristics are compiled when they are
    /// first needed.
    ///
    /// # Errors
    /// A table is not valid, or names a language that is not there.
    pub fn new([languages, heuristics, vendored]: [Text<'_>; 3]) -> Result<Self, Error> {
        let LanguageTable { generic, language: languages } = read(TABLES[0], languages)?;
        let by_name: HashMap<String, LanguageId> =
            (0..).zip(&languages).map(|(number, language)| (language.name.clone(), number)).collect();
        let heuristics = Heuristics::read(heuristics, |name| by_name.get(name).copied())?;
        let vendored = Vendored::read(vendored)?;
        let mut linguist = Linguist {
            languages: Vec::new(),
            by_name,
            by_extension: HashMap::new(),
            by_filename: HashMap::new(),
            by_interpreter: HashMap::new(),
            by_alias: HashMap::new(),
            generic,
            heuristics,
            vendored,
            modelines: Modelines::new(),
        };
        for (number, language) in (0..).zip(&languages) {
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
        self.vendored.pattern_for(path)
    }

    /// The patterns by which heuristics chose a language, each with the line in which it fits first; none where no pattern
    /// had to fit. For people, as it compiles each of them.
    pub fn heuristic_evidence(&self, path: &str, contents: &str, language: LanguageId) -> Vec<(&str, usize)> {
        self.heuristics.evidence(path, contents, language)
    }

    /// Compiles every pattern of heuristics, to see whether it is one.
    ///
    /// # Errors
    /// A pattern is not valid.
    pub fn compile_all(&self) -> Result<(), Error> {
        self.heuristics.compile_all()
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
        let by_modeline = self.modelines.language(contents, modeline, |alias| self.by_alias.get(alias).copied());
        if settled(&mut found, by_modeline.into_iter().collect(), Method::Modeline) {
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
        let by_heuristics = self.heuristics.languages(lower, contents, heuristics);
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
}

fn read<T: serde::de::DeserializeOwned>(table: &'static str, text: Text<'_>) -> Result<T, Error> {
    text.read().map_err(|reason| Error::Table { table, reason })
}

fn add(index: &mut HashMap<String, Vec<LanguageId>>, key: String, id: LanguageId) {
    let ids = index.entry(key).or_default();
    if !ids.contains(&id) {
        ids.push(id);
    }
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
        let groups: Vec<&String> = linguist.languages.iter().filter_map(|language| language.group.as_ref()).collect();
        assert!(groups.iter().all(|group| linguist.find(group).is_some()));
        let [_, heuristics, vendored] = TABLES.map(catalog::table);
        for languages in ["generic = []\nlanguage = []\ncolour = 1", "generic = []\nlanguage = []"] {
            assert!(Linguist::new([Text::Toml(languages), heuristics, vendored]).is_err());
        }
    }

    #[track_caller]
    fn check(path: &str, contents: &str, languages: &[&str], method: Method) {
        let linguist = Linguist::in_use();
        let found = linguist.candidates(path, contents, &mut Decided::default());
        let names: Vec<&str> = found.languages.iter().map(|id| linguist.language(*id).name.as_str()).collect();
        assert_eq!((names.as_slice(), found.method), (languages, method), "{path}");
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
}
