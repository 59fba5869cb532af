//! The licence files of a directory: by what names they are known, and what they say together.

use super::{Licenses, text::Said};

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
}
