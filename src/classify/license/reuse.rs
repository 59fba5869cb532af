//! Licences as the REUSE specification (version 3.3) has them: `REUSE.toml`, the older `.reuse/dep5`, and `LICENSES/`.

use std::collections::BTreeSet;

use regex::Regex;
use serde::Deserialize;

use super::{expression, metadata::named, text::Said};

/// What one annotation says about the files that it names.
#[derive(Debug)]
pub struct Annotation {
    paths: Regex,
    /// SPDX expression.
    pub expression: String,
    /// Whether it counts more than what the file itself says.
    pub overrides: bool,
}

/// The last annotation that names the file at `path`, which is relative to where the annotations are.
pub fn annotation<'a>(annotations: &'a [Annotation], path: &str) -> Option<&'a Annotation> {
    annotations.iter().rfind(|annotation| annotation.paths.is_match(path))
}

#[derive(Deserialize)]
struct Toml {
    #[serde(default)]
    annotations: Vec<TomlAnnotation>,
}

#[derive(Deserialize)]
struct TomlAnnotation {
    path: OneOrMany,
    #[serde(default)]
    precedence: String,
    #[serde(rename = "SPDX-License-Identifier")]
    license: Option<OneOrMany>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn all(self) -> Vec<String> {
        match self {
            OneOrMany::One(text) => vec![text],
            OneOrMany::Many(texts) => texts,
        }
    }
}

/// Reads a `REUSE.toml`; what is not valid says nothing.
pub fn toml(text: &str) -> Vec<Annotation> {
    let Ok(Toml { annotations }) = toml::from_str::<Toml>(text) else { return Vec::new() };
    let read = annotations.into_iter().filter_map(|raw| {
        let overrides = raw.precedence == "override";
        let paths = any_of(raw.path.all().iter().map(|glob| pattern(glob, false)))?;
        Some(Annotation { paths, expression: both(raw.license?.all())?, overrides })
    });
    read.collect()
}

/// Reads a `dep5`, a Debian copyright file of format 1.0: paragraphs with `Files:` and `License:`.
pub fn dep5(text: &str) -> Vec<Annotation> {
    let mut annotations = Vec::new();
    for paragraph in text.replace("\r\n", "\n").split("\n\n") {
        let (mut files, mut license) = (String::new(), None);
        let mut in_files = false;
        for line in paragraph.lines() {
            if let Some(value) = line.strip_prefix("Files:") {
                files.push_str(value);
                in_files = true;
            } else if in_files && line.starts_with([' ', '\t']) {
                files.push_str(line);
            } else {
                in_files = false;
                license = license.or_else(|| line.strip_prefix("License:"));
            }
        }
        let paths = any_of(files.split_whitespace().map(|glob| pattern(glob, true)));
        if let (Some(paths), Some(expression)) = (paths, license.and_then(|text| both(vec![text.to_owned()]))) {
            annotations.push(Annotation { paths, expression, overrides: false });
        }
    }
    annotations
}

/// What a Debian copyright file says, which gives licences by files: all of them hold. None where `text` is none.
/// (Debian's "Machine-readable debian/copyright file", version 1.0.)
pub fn debian(text: &str) -> Option<Said> {
    let begin = &text[..text.floor_char_boundary(400)];
    if !begin.contains("copyright-format") || !begin.contains("Format") {
        return None;
    }
    // `MIT/X11` is a choice by itself.
    let inside = |text: String| if text.contains(" OR ") { format!("({text})") } else { text };
    let joined = |all: BTreeSet<String>| {
        let several = all.len() > 1;
        all.into_iter().map(|text| if several { inside(text) } else { text }).collect::<Vec<_>>().join(" AND ")
    };
    let mut all: BTreeSet<String> = BTreeSet::new();
    for name in text.lines().filter_map(|line| line.strip_prefix("License:")) {
        let choices: Vec<&str> = name.split(" or ").flat_map(|name| name.split(" | ")).collect();
        let mut known = BTreeSet::new();
        for choice in &choices {
            let parts: Option<BTreeSet<String>> =
                choice.split(" and ").map(|part| named(part.trim_matches([' ', ',', '\t'])).expression()).collect();
            let Some(parts) = parts else { return Some(Said::Unknown) };
            known.insert(joined(parts));
        }
        all.insert(known.into_iter().collect::<Vec<_>>().join(" OR "));
    }
    if all.is_empty() {
        return Some(Said::Unknown);
    }
    Some(Said::Known { expression: joined(all), in_words: true })
}

/// The licences of a `LICENSES/` directory with these entries: all of them may hold, since only annotations say where.
pub fn directory<'n>(names: impl Iterator<Item = &'n str>) -> Option<String> {
    let ids = names.filter_map(|name| expression(name.rsplit_once('.').map_or(name, |(stem, _)| stem)));
    let mut ids: Vec<String> = ids.collect();
    ids.sort();
    ids.dedup();
    (!ids.is_empty()).then(|| ids.join(" AND "))
}

fn both(licenses: Vec<String>) -> Option<String> {
    let parts: Option<Vec<String>> = licenses.iter().map(|text| expression(text)).collect();
    let parts = parts.filter(|parts| !parts.is_empty())?;
    let several = parts.len() > 1;
    let inside = |text: String| if several && text.contains(" OR ") { format!("({text})") } else { text };
    Some(parts.into_iter().map(inside).collect::<Vec<_>>().join(" AND "))
}

fn any_of(patterns: impl Iterator<Item = String>) -> Option<Regex> {
    let all: Vec<String> = patterns.collect();
    if all.is_empty() { None } else { Regex::new(&format!("^(?:{})$", all.join("|"))).ok() }
}

/// A glob as a regular expression. In `REUSE.toml` a star stays within a directory and two stars do not; in `dep5` one
/// star crosses directories.
fn pattern(glob: &str, star_crosses: bool) -> String {
    let mut pattern = String::new();
    let mut letters = glob.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '*' if letters.peek() == Some(&'*') => {
                letters.next();
                pattern.push_str(".*");
            }
            '*' => pattern.push_str(if star_crosses { ".*" } else { "[^/]*" }),
            '?' if star_crosses => pattern.push('.'),
            '\\' => pattern.push_str(&letters.next().map_or_else(String::new, |next| regex::escape(&next.to_string()))),
            other => pattern.push_str(&regex::escape(&other.to_string())),
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_name_files() {
        let annotations = toml(
            "version = 1\n[[annotations]]\npath = \"**\"\nSPDX-License-Identifier = \"MIT\"\n\
             [[annotations]]\npath = [\"po/*.po\", 'odd\\*name']\nprecedence = \"override\"\n\
             SPDX-License-Identifier = [\"CC0-1.0\", \"MIT OR Apache-2.0\"]\n\
             [[annotations]]\npath = \"x\"\nSPDX-License-Identifier = \"no licence\"\n",
        );
        let of = |path: &str| annotation(&annotations, path).map(|found| (found.expression.as_str(), found.overrides));
        assert_eq!(of("src/a.rs"), Some(("MIT", false)));
        assert_eq!(of("po/de.po"), Some(("CC0-1.0 AND (MIT OR Apache-2.0)", true)));
        assert_eq!(of("po/a/de.po"), Some(("MIT", false)));
        assert_eq!(of("odd*name"), Some(("CC0-1.0 AND (MIT OR Apache-2.0)", true)));
        assert_eq!(of("x"), Some(("MIT", false)));
        assert!(toml("annotations = 5").is_empty());
    }

    #[test]
    fn debian_copyright_names_files() {
        let annotations = dep5(
            "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nCopyright: me\nLicense: MIT\n\n\
             Files: doc/* \n img/?.png\nCopyright: me\nLicense: CC-BY-4.0\n",
        );
        let of = |path: &str| annotation(&annotations, path).map(|found| found.expression.as_str());
        assert_eq!(
            (of("a/b.c"), of("doc/a/b.md"), of("img/a.png")),
            (Some("MIT"), Some("CC-BY-4.0"), Some("CC-BY-4.0"))
        );
        for (licenses, expected) in [
            (&["MIT/X11", "GPL-2+"][..], "GPL-2.0-or-later AND (MIT OR X11)"),
            (&["MIT/X11"], "MIT OR X11"),
            (&["GPL-2+ or MIT", "Expat"], "(GPL-2.0-or-later OR MIT) AND MIT"),
            (&["GPL-2+ or MIT"], "GPL-2.0-or-later OR MIT"),
            (&["MIT and Zlib"], "MIT AND Zlib"),
        ] {
            let stanzas: String = licenses.iter().map(|name| format!("\nFiles: *\nLicense: {name}\n")).collect();
            let text = format!("Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n{stanzas}");
            let said = debian(&text).expect("it is one");
            assert_eq!(said.expression().as_deref(), Some(expected), "{licenses:?}");
        }
        assert_eq!(
            directory(["MIT.txt", "Apache-2.0.txt", "README.md"].into_iter()).as_deref(),
            Some("Apache-2.0 AND MIT")
        );
    }
}
