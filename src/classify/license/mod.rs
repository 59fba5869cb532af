//! Licences: what texts, headers and package metadata say, as SPDX expressions, and what that asks of a user.

pub mod header;
pub mod metadata;
pub mod policy;
pub mod reuse;
pub mod text;

use std::{
    collections::{BTreeMap, HashMap},
    sync::OnceLock,
};

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use serde::Deserialize;

use self::text::Said;
use super::catalog;

/// Who may use what is under a licence, from the least restrictive on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Use {
    /// Everyone.
    All,
    /// For research and teaching.
    Academic,
    /// Not for commercial ends.
    NonCommercial,
    /// Nothing is known, or it is under terms of its own.
    Unspecified,
}

/// What a licence asks, the most restrictive of each for several that hold at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class {
    /// Whether the policy `permissive` leaves it out.
    pub restricted: bool,
    /// Who may use it.
    pub users: Use,
    /// Whether works made of it come under the same licence.
    pub share_alike: bool,
    /// Whether the notice has to stay.
    pub attribution: bool,
}

impl Class {
    /// Of what nothing is known.
    pub const UNKNOWN: Class =
        Class { restricted: true, users: Use::Unspecified, share_alike: true, attribution: true };

    /// What it asks, in a word.
    pub fn name(self) -> &'static str {
        match self.users {
            _ if !self.restricted => "permissive",
            Use::Academic | Use::NonCommercial => "non-commercial",
            Use::Unspecified => "unknown or own terms",
            Use::All if self.share_alike => "copyleft",
            Use::All => "restricted",
        }
    }

    /// What [`Class::name`] says.
    pub const NAMES: [&str; 5] = ["permissive", "copyleft", "restricted", "non-commercial", "unknown or own terms"];

    /// Its position among all classes, in their order.
    pub fn rank(self) -> u8 {
        let Class { restricted, users, share_alike, attribution } = self;
        u8::from(restricted) << 4 | (users as u8) << 2 | u8::from(share_alike) << 1 | u8::from(attribution)
    }

    /// The class of this [`Class::rank`].
    pub fn of_rank(rank: u8) -> Class {
        let users = match rank >> 2 & 3 {
            0 => Use::All,
            1 => Use::Academic,
            2 => Use::NonCommercial,
            _ => Use::Unspecified,
        };
        Class { restricted: rank >> 4 & 1 == 1, users, share_alike: rank >> 1 & 1 == 1, attribution: rank & 1 == 1 }
    }

    fn and(self, other: Class) -> Class {
        Class {
            restricted: self.restricted || other.restricted,
            users: self.users.max(other.users),
            share_alike: self.share_alike || other.share_alike,
            attribution: self.attribution || other.attribution,
        }
    }
}

/// A licence of the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct License {
    /// SPDX identifier.
    pub id: String,
    #[serde(default)]
    every: Vec<String>,
    #[serde(default)]
    none: Vec<String>,
    #[serde(default)]
    headers: Vec<String>,
    #[serde(default)]
    names: Vec<String>,
    #[serde(rename = "use")]
    users: Use,
    attribution: bool,
    share_alike: bool,
    permissive: bool,
}

impl License {
    /// What it asks.
    pub fn class(&self) -> Class {
        let Self { users, attribution, share_alike, permissive, .. } = *self;
        Class { restricted: !permissive, users, share_alike, attribution }
    }

    /// Whether a text is of this licence that has the first of its phrases; `has` says which others there are.
    fn is_text(&self, has: impl Fn(&String) -> bool) -> bool {
        self.every.iter().all(&has) && !self.none.iter().any(has)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    limits: Vec<String>,
    license: Vec<License>,
}

/// What a phrase of the table is besides a part of texts: a notice or a name of these licences, or a limit of the use.
#[derive(Default)]
struct Roles {
    /// Licences whose texts are known by this phrase before others.
    texts: Vec<usize>,
    headers: Vec<usize>,
    names: Vec<usize>,
    limit: bool,
}

/// The table, ready to be asked.
pub struct Licenses {
    licenses: Vec<License>,
    by_id: HashMap<String, usize>,
    /// All phrases, and what each of them is.
    phrases: AhoCorasick,
    roles: Vec<Roles>,
    pattern_of: HashMap<String, usize>,
}

impl Licenses {
    /// The table in use.
    pub fn in_use() -> &'static Self {
        static BUILTIN: OnceLock<Licenses> = OnceLock::new();
        BUILTIN.get_or_init(|| {
            Self::new(catalog::table("licenses.toml")).expect("tables are checked before they are used")
        })
    }

    /// Reads a table.
    ///
    /// # Errors
    /// It is not valid.
    pub fn new(table: &str) -> Result<Self, String> {
        let Table { limits, mut license } = toml::from_str(table).map_err(|e| e.to_string())?;
        for each in &mut license {
            for phrase in each.every.iter_mut().chain(&mut each.none).chain(&mut each.headers).chain(&mut each.names) {
                *phrase = text::normalized(phrase);
            }
        }
        let by_id = license.iter().enumerate().map(|(at, license)| (license.id.clone(), at)).collect();
        let mut known: BTreeMap<String, Roles> = BTreeMap::new();
        for (at, each) in license.iter().enumerate() {
            for phrase in each.every.iter().chain(&each.none) {
                known.entry(phrase.clone()).or_default();
            }
            if let Some(first) = each.every.first() {
                known.entry(first.clone()).or_default().texts.push(at);
            }
            for phrase in &each.headers {
                known.entry(phrase.clone()).or_default().headers.push(at);
            }
            for phrase in &each.names {
                known.entry(phrase.clone()).or_default().names.push(at);
            }
        }
        for limit in limits {
            known.entry(text::normalized(&limit)).or_default().limit = true;
        }
        let phrases = matcher(known.keys())?;
        let pattern_of = known.keys().enumerate().map(|(at, phrase)| (phrase.clone(), at)).collect();
        let roles = known.into_values().collect();
        Ok(Licenses { licenses: license, by_id, phrases, roles, pattern_of })
    }

    /// All licences, sorted by id.
    pub fn all(&self) -> impl Iterator<Item = &License> {
        self.licenses.iter()
    }

    /// The licence of this SPDX identifier.
    pub fn find(&self, id: &str) -> Option<&License> {
        self.by_id.get(id).map(|at| &self.licenses[*at])
    }

    /// What an SPDX expression asks: of an AND the most restrictive parts, of an OR the least restrictive side.
    pub fn class(&self, expression: &str) -> Class {
        let Ok(parsed) = spdx::Expression::parse_mode(expression, spdx::ParseMode::LAX) else { return Class::UNKNOWN };
        let mut stack: Vec<Class> = Vec::new();
        for node in parsed.iter() {
            match node {
                spdx::expression::ExprNode::Req(req) => stack.push(self.class_of(&req.req.to_string())),
                spdx::expression::ExprNode::Op(op) => {
                    let (Some(right), Some(left)) = (stack.pop(), stack.pop()) else { return Class::UNKNOWN };
                    stack.push(match op {
                        spdx::expression::Operator::And => left.and(right),
                        spdx::expression::Operator::Or => left.min(right),
                    });
                }
            }
        }
        stack.pop().unwrap_or(Class::UNKNOWN)
    }

    fn class_of(&self, requirement: &str) -> Class {
        let plain = requirement.split(" WITH ").next().unwrap_or(requirement);
        let known = self.find(requirement).or_else(|| self.find(plain)).map(License::class);
        // A licence that only SPDX's list knows: its terms were not read, so it is not called permissive.
        known.unwrap_or(Class::UNKNOWN)
    }
}

/// Few texts are searched, so what counts is how soon it is built.
fn matcher(phrases: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<AhoCorasick, String> {
    let kind = Some(AhoCorasickKind::ContiguousNFA);
    AhoCorasick::builder().kind(kind).build(phrases).map_err(|e| e.to_string())
}

/// `text` as an SPDX expression in the list's spelling: imprecise and deprecated names become precise ones, a slash is
/// an OR. `None` where it is none.
pub fn expression(text: &str) -> Option<String> {
    let mode = spdx::ParseMode {
        allow_slash_as_or_operator: true,
        allow_imprecise_license_names: true,
        allow_postfix_plus_on_gpl: true,
        allow_deprecated: true,
        allow_unknown: false,
    };
    let parsed = spdx::Expression::parse_mode(text.trim(), mode).ok()?;
    let mut stack: Vec<(String, bool)> = Vec::new();
    for node in parsed.iter() {
        match node {
            spdx::expression::ExprNode::Req(req) => stack.push((precise(&req.req.to_string()), false)),
            spdx::expression::ExprNode::Op(op) => {
                let ((right, right_or), (left, left_or)) = (stack.pop()?, stack.pop()?);
                let is_or = matches!(op, spdx::expression::Operator::Or);
                let inside = |text: String, or: bool| if or && !is_or { format!("({text})") } else { text };
                let word = if is_or { "OR" } else { "AND" };
                stack.push((format!("{} {word} {}", inside(left, left_or), inside(right, right_or)), is_or));
            }
        }
    }
    stack.pop().map(|(text, _)| text)
}

/// A licence as a source list declares it, in any case, as an SPDX expression; what is none is a reference of its own.
pub fn declared(text: &str) -> String {
    let by_id = || spdx::identifiers::LICENSES.iter().find(|license| license.name.eq_ignore_ascii_case(text.trim()));
    expression(text).or_else(|| expression(by_id()?.name)).unwrap_or_else(|| {
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '-' };
        format!("LicenseRef-{}", text.chars().map(plain).collect::<String>())
    })
}

/// SPDX's replacements for the identifiers of the GNU licences that it deprecated.
fn precise(id: &str) -> String {
    let gnu = ["GPL-", "LGPL-", "AGPL-", "GFDL-"].iter().any(|family| id.starts_with(family));
    match id.strip_suffix('+') {
        Some(base) if gnu => format!("{base}-or-later"),
        None if gnu && !id.contains("-only") && !id.contains("-or-later") && !id.contains(" WITH ") => {
            format!("{id}-only")
        }
        _ => id.to_owned(),
    }
}

/// The name that CommitPack has for an expression: the identifier in lower case, without `-only` and `-or-later`. Of
/// several in an OR, the first; several in an AND have none.
pub fn commitpack_name(expression: &str) -> Option<String> {
    let first = expression.split(" OR ").next().unwrap_or(expression).trim_matches(['(', ')']);
    if first.contains(" AND ") || first.starts_with("LicenseRef-") {
        return None;
    }
    let id = first.split(" WITH ").next().unwrap_or(first).to_ascii_lowercase();
    Some(id.trim_end_matches("-only").trim_end_matches("-or-later").to_owned())
}

/// How a licence was found, from the strongest evidence on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// `SPDX-License-Identifier` in the file itself.
    Tag,
    /// A notice in the file itself.
    Header,
    /// A licence file in the nearest directory that has one.
    Text,
    /// A `REUSE.toml`, a `.reuse/dep5` or the file names in a `LICENSES` directory.
    Reuse,
    /// Package metadata in the nearest directory that has some.
    Metadata,
    /// The source list says so.
    Declared,
}

impl Method {
    /// The name in the `license_method` column.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Tag => "tag",
            Method::Header => "header",
            Method::Text => "text",
            Method::Reuse => "reuse",
            Method::Metadata => "metadata",
            Method::Declared => "declared",
        }
    }
}

/// Whether a file name is one of those that licence texts have, in any spelling that is common.
pub fn is_text_name(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).as_bytes();
    let starts = [
        "license",
        "licence",
        "copying",
        "unlicense",
        "unlicence",
        "copyright",
        "mit-license",
        "ofl",
        "commons-clause",
        "gpl",
        "lgpl",
        "agpl",
    ];
    let ends = ["-license", "_license", "-licence", "_licence"];
    let is = |part: Option<&[u8]>, word: &str| part.is_some_and(|part| part.eq_ignore_ascii_case(word.as_bytes()));
    // Nearly all names end here: this is asked of every entry of a tree.
    let (Some(first), Some(last)) = (stem.first(), stem.last()) else { return false };
    let begins = |start: &&&str| start.as_bytes()[0] == first.to_ascii_lowercase();
    let named = starts.iter().filter(begins).any(|start| is(stem.get(..start.len()), start))
        || last.eq_ignore_ascii_case(&b'e')
            && ends.iter().any(|end| is(stem.len().checked_sub(end.len()).map(|at| &stem[at..]), end));
    if !named {
        return false;
    }
    if starts.iter().any(|start| name.eq_ignore_ascii_case(start)) {
        return true;
    }
    let lower = name.to_ascii_lowercase();
    let code = [
        ".rs",
        ".py",
        ".js",
        ".ts",
        ".tsx",
        ".jsx",
        ".c",
        ".h",
        ".cpp",
        ".hpp",
        ".cc",
        ".go",
        ".java",
        ".rb",
        ".php",
        ".cs",
        ".kt",
        ".swift",
        ".json",
        ".yml",
        ".yaml",
        ".toml",
        ".lock",
        ".xml",
        ".css",
        ".scss",
        ".png",
        ".svg",
        ".jpg",
        ".pl",
        ".pm",
        ".sh",
        ".sql",
        ".vue",
        ".scala",
        ".lua",
        ".ex",
        ".exs",
        ".erl",
        ".hs",
        ".m",
        ".mm",
        ".properties",
        ".po",
    ];
    // What a project takes from others, and what is not about its code.
    let other =
        ["third", "3rd", "thirdparty", "vendor", "dependenc", "bundled", "notice", "header", "template", "checker"];
    let docs = ["docs", "doc", "documentation", "fonts", "font", "assets", "logo", "data", "images", "art", "content"];
    !code.iter().any(|end| lower.ends_with(end))
        && !other.iter().any(|word| lower.contains(word))
        && !lower.split(['-', '.']).skip(1).any(|word| docs.contains(&word))
}

/// What the licence files of a directory say together.
#[derive(Debug, PartialEq, Eq)]
pub struct Combined {
    /// SPDX expression; none where one of them has terms that are not known.
    pub expression: Option<String>,
    /// Name of the first file that says so.
    pub file: String,
    /// Whether several files do.
    pub several: bool,
}

/// Puts together what the licence files of one directory say, each with its name. `None` where none says anything.
pub fn combine(mut files: Vec<(String, Said)>) -> Option<Combined> {
    files.sort_by(|a, b| a.0.cmp(&b.0));
    let known = |said: &Said| matches!(said, Said::Known { .. });
    let any_known = files.iter().any(|(_, said)| known(said));
    // A list of who holds the copyright adds nothing to a licence.
    let is_list = |name: &str| name.get(..9).is_some_and(|start| start.eq_ignore_ascii_case("copyright"));
    let counts = |name: &str| is_plain_name(name) && !(any_known && is_list(name));
    // A choice without names, and without files that have them, is no better.
    let is_unknown = |said: &Said| *said == Said::Unknown || *said == Said::Choice && !any_known;
    if let Some((file, _)) = files.iter().find(|(name, said)| is_unknown(said) && counts(name)) {
        return Some(Combined { expression: None, file: file.clone(), several: false });
    }
    // A file that only points to the others says nothing by itself.
    let pointer = files.iter().any(|(_, said)| *said == Said::Choice);
    let mut parts: Vec<Part> = Vec::new();
    for (name, said) in files {
        let Said::Known { expression, in_words } = said else { continue };
        if !parts.iter().any(|part| part.expression == expression) {
            parts.push(Part { expression, offers: in_words, file: name });
        }
    }
    if parts.iter().any(|part| part.expression.starts_with("LGPL-")) {
        parts.retain(|part| !part.expression.starts_with("GPL-"));
    }
    // Words that offer a choice speak of the files beside them.
    let offers: Vec<String> = parts
        .iter()
        .filter(|part| part.offers)
        .map(|part| part.expression.clone())
        .filter(|e| e.contains(" OR "))
        .collect();
    let is_side = |offer: &str, id: &str| {
        offer
            .split(['(', ')'])
            .flat_map(|part| part.split(" OR "))
            .any(|part| part.split(" AND ").any(|side| side.trim() == id))
    };
    let is_offered =
        |part: &Part| offers.iter().any(|offer| *offer != part.expression && is_side(offer, &part.expression));
    parts.retain(|part| !is_offered(part));
    // Names such as LICENSE-MIT and LICENSE-APACHE offer a choice by custom. Where one of them is restrictive, parts of
    // the project may be under each of them as well, so that only words count.
    let restricted = |text: &str| Licenses::in_use().class(text).restricted;
    let choice = pointer || parts.iter().all(|part| names_its_license(&part.file) && !restricted(&part.expression));
    let file = parts.first()?.file.clone();
    let several = parts.len() > 1;
    let (word, other) = if choice { (" OR ", " AND ") } else { (" AND ", " OR ") };
    let inside = |text: String| if several && text.contains(other) { format!("({text})") } else { text };
    let all: Vec<String> = parts.into_iter().map(|part| inside(part.expression)).collect();
    Some(Combined { expression: Some(all.join(word)), file, several })
}

struct Part {
    expression: String,
    /// Whether it may offer the files beside it, since it has words only.
    offers: bool,
    file: String,
}

/// Whether a name that [`is_text_name`] takes can hardly be anything else, as `licenses.csv`, `license.dart` and
/// `LicenseManager.md` can: only such a file makes its directory unknown where its text is.
fn is_plain_name(name: &str) -> bool {
    let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
    let lower = stem.to_ascii_lowercase();
    let words = [
        "unlicense",
        "unlicence",
        "license",
        "licence",
        "copying",
        "copyright",
        "ofl",
        "gpl",
        "lgpl",
        "agpl",
        "clause",
    ];
    let is_word = lower.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| words.contains(&part));
    let documents = ["", "txt", "md", "rst", "html", "htm", "markdown", "adoc", "text", "rtf", "pdf"];
    let is_upper = !stem.contains(char::is_lowercase);
    is_word && (is_upper || documents.contains(&ending.to_ascii_lowercase().as_str()))
}

/// `LICENSE-MIT`, `LICENSE.apache`, `MIT-LICENSE`: the name says which one it is, so there are others to choose from.
fn names_its_license(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let plain = [
        "license",
        "licence",
        "copying",
        "unlicense",
        "unlicence",
        "copyright",
        "txt",
        "md",
        "rst",
        "html",
        "text",
        "markdown",
        "adoc",
    ];
    words.into_iter().any(|word| !plain.contains(&word)) || lower.starts_with("unlicen")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_strict_and_known_to_spdx() {
        let licenses = Licenses::in_use();
        let ids: Vec<&str> = licenses.all().map(|license| license.id.as_str()).collect();
        assert!(ids.is_sorted(), "{ids:?}");
        for license in licenses.all() {
            let known =
                license.id.starts_with("LicenseRef-") || expression(&license.id).as_deref() == Some(&license.id);
            assert!(known || license.id == "MIT-open-group", "{}", license.id);
            assert!(!license.every.is_empty() || !license.headers.is_empty(), "{}", license.id);
            let id = license.id.split(" WITH ").next().and_then(spdx::license_id);
            if license.permissive {
                assert!(!license.share_alike && license.users == Use::All, "{}", license.id);
                assert!(id.is_none_or(|id| !id.is_copyleft()), "{}", license.id);
            }
        }
        assert!(Licenses::new("[[license]]\nid = \"x\"\n").is_err());
    }

    #[test]
    fn expressions_get_the_lists_spelling() {
        for (text, expected) in [
            ("MIT", Some("MIT")),
            ("mit/apache-2.0", None),
            ("MIT/Apache-2.0", Some("MIT OR Apache-2.0")),
            ("GPL-2.0", Some("GPL-2.0-only")),
            ("GPL-2.0+", Some("GPL-2.0-or-later")),
            ("(MIT OR Apache-2.0) AND BSD-3-Clause", Some("(MIT OR Apache-2.0) AND BSD-3-Clause")),
            ("Apache-2.0 WITH LLVM-exception", Some("Apache-2.0 WITH LLVM-exception")),
            ("see LICENSE", None),
            ("", None),
        ] {
            assert_eq!(expression(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn classes_follow_and_and_or() {
        let restricted = |text: &str| Licenses::in_use().class(text).restricted;
        for (text, expected) in [
            ("MIT", false),
            ("MIT OR GPL-2.0-only", false),
            ("MIT AND GPL-2.0-only", true),
            ("(MIT OR GPL-2.0-only) AND Apache-2.0", false),
            ("(MIT AND GPL-2.0-only) OR MPL-2.0", true),
            ("GPL-2.0-only WITH Classpath-exception-2.0", true),
            ("LicenseRef-RSALv2 OR SSPL-1.0", true),
            ("Aladdin", true),
            ("nonsense", true),
        ] {
            assert_eq!(restricted(text), expected, "{text}");
        }
        assert_eq!(Licenses::in_use().class("CC-BY-NC-4.0").users, Use::NonCommercial);
        assert!(Licenses::in_use().class("MIT AND MPL-2.0").share_alike);
        assert!(!Licenses::in_use().class("0BSD").attribution);
    }

    #[test]
    fn files_of_a_directory_add_up() {
        let known = |expression: &str| Said::Known { expression: expression.to_owned(), in_words: false };
        let words = |expression: &str| Said::Known { expression: expression.to_owned(), in_words: true };
        let check = |files: &[(&str, Said)], expected: Option<(Option<&str>, &str)>| {
            let combined = combine(files.iter().map(|(name, said)| ((*name).to_owned(), said.clone())).collect());
            let found = combined.as_ref().map(|found| (found.expression.as_deref(), found.file.as_str()));
            assert_eq!(found, expected, "{files:?}");
        };
        check(&[("LICENSE", known("MIT"))], Some((Some("MIT"), "LICENSE")));
        check(
            &[("LICENSE-APACHE", known("Apache-2.0")), ("LICENSE-MIT", known("MIT"))],
            Some((Some("Apache-2.0 OR MIT"), "LICENSE-APACHE")),
        );
        check(
            &[("COPYING", Said::Choice), ("LICENSE-MIT", known("MIT")), ("UNLICENSE", known("Unlicense"))],
            Some((Some("MIT OR Unlicense"), "LICENSE-MIT")),
        );
        check(
            &[("COPYING", words("MIT OR Unlicense")), ("LICENSE-MIT", known("MIT")), ("UNLICENSE", known("Unlicense"))],
            Some((Some("MIT OR Unlicense"), "COPYING")),
        );
        check(
            &[
                ("LICENSE", words("Apache-2.0 OR MIT")),
                ("LICENSE-MIT", known("MIT")),
                ("LICENSE-BSD", known("BSD-3-Clause")),
            ],
            Some((Some("(Apache-2.0 OR MIT) AND BSD-3-Clause"), "LICENSE")),
        );
        for (name, id) in [("GPL-LICENSE", "GPL-2.0-only"), ("BUSL-LICENSE", "BUSL-1.1"), ("A-LICENSE", "Elastic-2.0")]
        {
            let both = format!("{id} AND MIT");
            check(&[(name, known(id)), ("MIT-LICENSE", known("MIT"))], Some((Some(&both), name)));
        }
        check(
            &[("LICENSE", known("MIT")), ("COPYING", known("GPL-2.0-only"))],
            Some((Some("GPL-2.0-only AND MIT"), "COPYING")),
        );
        check(
            &[("COPYING", known("GPL-3.0-only")), ("COPYING.LESSER", known("LGPL-3.0-only"))],
            Some((Some("LGPL-3.0-only"), "COPYING.LESSER")),
        );
        check(&[("LICENSE", Said::Nothing)], None);
        check(&[("LICENSE", Said::Choice)], Some((None, "LICENSE")));
        check(&[("LICENSE-MIT", known("MIT")), ("LICENSE.md", Said::Unknown)], Some((None, "LICENSE.md")));
        check(&[("LICENSE-MIT", known("MIT")), ("LICENSE.md", Said::Nothing)], Some((Some("MIT"), "LICENSE-MIT")));
        check(&[("LICENSE", known("MIT")), ("COPYRIGHT", Said::Unknown)], Some((Some("MIT"), "LICENSE")));
        check(&[("COPYRIGHT", Said::Unknown)], Some((None, "COPYRIGHT")));
        for name in ["COMMONS-CLAUSE.txt", "GPL", "gpl-2.0.txt"] {
            assert!(is_text_name(name), "{name}");
            check(&[(name, Said::Unknown), ("LICENSE", known("MIT"))], Some((None, name)));
        }
        for name in ["LICENSE-EE.txt", "License.md", "ACME-LICENSE", "COPYING.foo", "license_acme"] {
            check(&[(name, Said::Unknown)], Some((None, name)));
        }
        for name in ["licenses.csv", "license.dart", "LicenseManager.md", "LICENSES.md"] {
            check(&[(name, Said::Unknown), ("LICENSE", known("MIT"))], Some((Some("MIT"), "LICENSE")));
        }
    }

    #[test]
    fn names_of_license_files() {
        for name in [
            "LICENSE",
            "licence.md",
            "COPYING.LESSER",
            "MIT-LICENSE.txt",
            "LICENSE-APACHE",
            "UNLICENSE",
            "COPYRIGHT",
            "LICENSE.BSD",
            "LICENSE-ARTISTIC",
            "GPL-LICENSE.txt",
        ] {
            assert!(is_text_name(name), "{name}");
        }
        for name in [
            "license.rs",
            "LICENSE-3RD-PARTY.txt",
            "LICENSE-docs",
            "licensing.py",
            "README",
            "license_checker.sh",
            "NOTICE",
        ] {
            assert!(!is_text_name(name), "{name}");
        }
    }

    #[test]
    fn commitpack_names() {
        for (expression, name) in [
            ("MIT", Some("mit")),
            ("GPL-2.0-or-later", Some("gpl-2.0")),
            ("Apache-2.0 OR MIT", Some("apache-2.0")),
            ("MIT AND ISC", None),
        ] {
            assert_eq!(commitpack_name(expression).as_deref(), name);
        }
    }
}
