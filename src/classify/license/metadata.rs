//! Licences in package metadata: Cargo.toml, package.json, pyproject.toml, setup.cfg, gemspecs, pom.xml and the like.

use std::{
    collections::BTreeSet,
    sync::{LazyLock, Mutex, PoisonError},
};

use regex::Regex;

use super::{expression, phrases::normalized, text::Said};

/// Whether a file name is one that [`license`] reads.
pub fn is_metadata_name(name: &str) -> bool {
    format_of(name).is_some()
}

enum Format {
    Toml,
    Json,
    Lines,
    Xml,
}

fn format_of(name: &str) -> Option<Format> {
    match name {
        "Cargo.toml" | "pyproject.toml" => Some(Format::Toml),
        "package.json" | "composer.json" | "bower.json" | "META.json" => Some(Format::Json),
        "setup.cfg" | "setup.py" | "DESCRIPTION" | "package.yaml" | "mix.exs" | "pubspec.yaml" | "build.sbt" => {
            Some(Format::Lines)
        }
        "pom.xml" => Some(Format::Xml),
        _ if name.ends_with(".gemspec")
            || name.ends_with(".cabal")
            || name.ends_with(".podspec")
            || name.ends_with(".rockspec") =>
        {
            Some(Format::Lines)
        }
        _ if name.ends_with(".nuspec") => Some(Format::Xml),
        _ => None,
    }
}

/// What the metadata file `name` with these contents declares. Words that are no licence say nothing, but those that
/// refuse one are terms of their own.
pub fn license(name: &str, contents: &str) -> Said {
    match format_of(name) {
        Some(Format::Toml) => in_toml(contents),
        Some(Format::Json) => in_json(contents),
        Some(Format::Lines) => in_lines(name, contents),
        Some(Format::Xml) => in_xml(contents),
        None => Said::Nothing,
    }
}

/// Tables of TOML that can say something, with those that may have them inside.
const TABLES: [&str; 6] = ["[package]", "[project]", "[tool]", "[tool.poetry]", "[workspace]", "[workspace.package]"];

/// Tables whose `license` is that of the package.
const PACKAGE_TABLES: [&str; 4] = ["[package]", "[project]", "[workspace.package]", "[tool.poetry]"];

/// The parts of `contents` that can say something: dependencies are most of it, and every version is read.
fn told_tables(contents: &str) -> String {
    let (mut told, mut from) = (String::new(), 0);
    let starts = memchr::memmem::find_iter(contents.as_bytes(), b"\n[").map(|end| end + 1).chain([contents.len()]);
    for to in starts {
        let table = &contents[from..to];
        if !table.starts_with('[') || is_told(table) {
            told.push_str(table);
        }
        from = to;
    }
    told
}

/// Whether the table that this line begins can say something.
fn is_told(line: &str) -> bool {
    TABLES.iter().any(|table| line.starts_with(table))
}

/// What the parts in [`told_tables`] say where all that speaks of licences is a plain `license = "…"`, or `license-file`,
/// which says nothing; none where it has to be parsed.
fn plainly_told(told: &str) -> Option<Said> {
    if is_plain(told) {
        return plainly_named(told);
    }
    if memchr::memmem::find(told.as_bytes(), b"'''").is_some() {
        return None;
    }
    static MARKS: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#"icen|lassifiers|\\|"""|\n\["#).expect("the pattern is valid"));
    let (mut found, mut in_package, mut in_text): (Option<&str>, bool, bool) = (None, false, false);
    let mut from = 0;
    // The first line, and those with something to look at.
    while from < told.len() {
        let end = told[from..].find('\n').map_or(told.len(), |end| from + end);
        let line = &told[from..end];
        let next = MARKS.find_at(told, end);
        from = next.map_or(told.len(), |mark| told[..mark.end()].rfind('\n').map_or(0, |end| end + 1));
        // A text of several lines, such as a description, says nothing. Its marks may be hidden, or be none.
        let ends = line.matches("\"\"\"").count();
        if in_text || ends > 0 {
            let is_doubtful = ends > 0 && line.contains(['#', '\'']) || !in_text && line.contains("icen");
            if is_doubtful || line.starts_with('[') || line.contains('\\') {
                return None;
            }
            in_text ^= ends % 2 == 1;
            continue;
        }
        let tells = line.contains("icen") || line.contains("lassifiers") || line.contains('\\');
        if line.starts_with('[') && !tells {
            in_package = PACKAGE_TABLES.contains(&line.trim_end());
        }
        if !tells {
            continue;
        }
        let value = line.strip_prefix("license").filter(|_| in_package)?;
        if value.starts_with("-file") {
            continue;
        }
        let value = value.trim_start().strip_prefix('=')?.trim_start().strip_prefix('"')?;
        let (value, rest) = value.split_once('"')?;
        let rest = rest.trim();
        if found.is_some() || value.contains('\\') || !(rest.is_empty() || rest.starts_with('#')) {
            return None;
        }
        found = Some(value);
    }
    (!in_text).then(|| found.map_or(Said::Nothing, named_as_before))
}

/// Whether no text has several lines, nothing is escaped, and there are no classifiers: nearly all have nothing that could
/// hide a line.
fn is_plain(contents: &str) -> bool {
    let marks = [&b"\"\"\""[..], b"'''", b"\\", b"lassifiers"];
    !marks.iter().any(|mark| memchr::memmem::find(contents.as_bytes(), mark).is_some())
}

/// As [`plainly_told`], of contents that [`is_plain`] holds for; tables that say nothing may be among them.
fn plainly_named(contents: &str) -> Option<Said> {
    let (bytes, mut found, mut from) = (contents.as_bytes(), None, 0);
    while let Some(at) = memchr::memmem::find(&bytes[from..], b"icen").map(|at| from + at) {
        let start = memchr::memrchr(b'\n', &bytes[..at]).map_or(0, |end| end + 1);
        let end = memchr::memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |end| at + end);
        from = end;
        // The line may begin a table itself.
        let table = contents[..end].lines().rev().find(|line| line.starts_with('['));
        if table.is_some_and(|line| !is_told(line)) {
            continue;
        }
        let is_package = |line: &str| PACKAGE_TABLES.contains(&line.trim_end());
        let value = contents[start..end].strip_prefix("license").filter(|_| table.is_some_and(is_package))?;
        if value.starts_with("-file") {
            continue;
        }
        let value = value.trim_start().strip_prefix('=')?.trim_start().strip_prefix('"')?;
        let (value, rest) = value.split_once('"')?;
        let rest = rest.trim();
        if found.is_some() || !(rest.is_empty() || rest.starts_with('#')) {
            return None;
        }
        found = Some(value);
    }
    Some(found.map_or(Said::Nothing, named_as_before))
}

fn in_toml(contents: &str) -> Said {
    if is_plain(contents)
        && let Some(said) = plainly_named(contents)
    {
        return said;
    }
    let told = told_tables(contents);
    plainly_told(&told).unwrap_or_else(|| parsed(&told, contents))
}

fn parsed(told: &str, contents: &str) -> Said {
    // A text of several lines may look like the start of a table, and leaves nothing that can be read.
    let table = told.parse::<toml::Table>().or_else(|_| contents.parse());
    let Ok(table) = table else { return Said::Nothing };
    let at = |path: &[&str]| {
        let mut value = table.get(path[0])?;
        for key in &path[1..] {
            value = value.get(*key)?;
        }
        Some(value)
    };
    let paths: [&[&str]; 4] = [
        &["package", "license"],
        &["project", "license"],
        &["workspace", "package", "license"],
        &["tool", "poetry", "license"],
    ];
    let text = paths.iter().find_map(|path| {
        let value = at(path)?;
        value.as_str().or_else(|| value.get("text")?.as_str())
    });
    let said = text.map_or(Said::Nothing, named);
    let lists = [at(&["project", "classifiers"]), at(&["tool", "poetry", "classifiers"])];
    let classifiers = lists.into_iter().flatten().find_map(toml::Value::as_array);
    let classifiers = classifiers.into_iter().flatten().filter_map(toml::Value::as_str);
    if said == Said::Nothing { classified(classifiers) } else { said }
}

fn in_json(contents: &str) -> Said {
    let Ok(object) = serde_json::from_str::<serde_json::Value>(contents) else { return Said::Nothing };
    let one =
        |value: &serde_json::Value| value.as_str().or_else(|| value["type"].as_str()).map_or(Said::Nothing, named);
    let each = |value: &serde_json::Value| match value.as_array() {
        Some(all) => joined(all.iter().map(one).collect(), " OR "),
        None => one(value),
    };
    match each(&object["license"]) {
        Said::Nothing => each(&object["licenses"]),
        said => said,
    }
}

/// `license = 'MIT'`, `spec.license = "MIT"`, `License: MIT`, `licenses: ["MIT", "ISC"]`; the first one that is known.
/// Python's classifiers come after that.
fn in_lines(name: &str, contents: &str) -> Said {
    static FIELD: LazyLock<Regex> = LazyLock::new(|| {
        let key = r#"(?:^|[\s.,({%"'])(?i:licen[sc]es?)["']?\s*(?::=|=>|=|:)[ \t]*(?:>|%w)?[ \t]*"#;
        Regex::new(&[key, r"(?P<value>[^\n]*)"].concat()).expect("the pattern is valid")
    });
    static QUOTED: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#""([^"\n]*)"|'([^'\n]*)'"#).expect("the pattern is valid"));
    let lines = || contents.lines().take(400).filter(|line| !line.trim_start().starts_with(['#', '%']));
    for line in lines() {
        let Some(value) = FIELD.captures(line).and_then(|found| found.name("value")) else { continue };
        let value = value.as_str().trim();
        // Python's classifiers are no such field.
        if value.starts_with(':') {
            continue;
        }
        let is_list = value.starts_with(['[', '(', '{']);
        let said = match QUOTED.captures(value).filter(|_| is_list || value.starts_with(['"', '\''])) {
            Some(_) if is_list => {
                let inside = value.split([']', ')', '}']).next().unwrap_or(value);
                let each = QUOTED.captures_iter(inside).filter_map(|found| found.get(1).or(found.get(2)));
                joined(each.map(|each| named(each.as_str())).collect(), " OR ")
            }
            Some(first) => first.get(1).or(first.get(2)).map_or(Said::Nothing, |value| named(value.as_str())),
            None => {
                let bare = value
                    .trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '[' | ']' | '{' | '}'));
                // `%w[MIT ISC]` and `(MIT)`, but `GPL (>= 2)` keeps its brackets.
                named(if bare.starts_with('(') { bare.trim_matches(['(', ')']) } else { bare })
            }
        };
        if said != Said::Nothing {
            return said;
        }
    }
    if !matches!(name, "setup.py" | "setup.cfg") {
        return Said::Nothing;
    }
    classified(lines().filter_map(|line| line.find("License ::").map(|at| &line[at..])))
}

/// By Python's trove classifiers, the licences of which hold together.
fn classified<'c>(classifiers: impl Iterator<Item = &'c str>) -> Said {
    let licenses = classifiers.filter_map(|classifier| {
        let name = classifier.trim().strip_prefix("License ::")?.rsplit("::").next()?;
        let name = name.split(['"', '\'', ',']).next().unwrap_or(name).trim();
        let name = match name.rsplit_once(" (") {
            Some((before, short)) if !before.is_empty() && !short.starts_with("GPL") => before,
            _ => name,
        };
        // This one stands above all others.
        (name != "OSI Approved").then(|| match text_of_classifier(name) {
            Some(id) => Said::Known { expression: id.to_owned(), in_words: true },
            None => named(name),
        })
    });
    joined(licenses.filter(|said| *said != Said::Nothing).collect(), " AND ")
}

/// The classifiers of <https://pypi.org/classifiers/> whose names are not among those that [`named`] knows.
fn text_of_classifier(name: &str) -> Option<&'static str> {
    let plain = normalized(name);
    let plain = plain.trim();
    let later = plain.contains("or later");
    let family = [
        ("gnu affero general public license v3", "AGPL-3.0"),
        ("gnu lesser general public license v3", "LGPL-3.0"),
        ("gnu lesser general public license v2", "LGPL-2.1"),
        ("gnu general public license v3", "GPL-3.0"),
        ("gnu general public license v2", "GPL-2.0"),
    ];
    let gnu = family.iter().find(|(start, _)| plain.starts_with(start))?.1;
    Some(match (gnu, later) {
        ("AGPL-3.0", true) => "AGPL-3.0-or-later",
        ("AGPL-3.0", false) => "AGPL-3.0-only",
        ("LGPL-3.0", true) => "LGPL-3.0-or-later",
        ("LGPL-3.0", false) => "LGPL-3.0-only",
        ("LGPL-2.1", true) => "LGPL-2.1-or-later",
        ("LGPL-2.1", false) => "LGPL-2.1-only",
        ("GPL-3.0", true) => "GPL-3.0-or-later",
        ("GPL-3.0", false) => "GPL-3.0-only",
        (_, true) => "GPL-2.0-or-later",
        (_, false) => "GPL-2.0-only",
    })
}

/// All of one field. One that is not known leaves it open what all of them are.
fn joined(all: Vec<Said>, word: &str) -> Said {
    if all.contains(&Said::Unknown) {
        return Said::Unknown;
    }
    let each: Option<BTreeSet<String>> = all.into_iter().map(Said::expression).collect();
    let Some(each) = each.filter(|each| !each.is_empty()) else { return Said::Nothing };
    let several = each.len() > 1;
    let inside = |text: String| if several && text.contains(' ') { format!("({text})") } else { text };
    Said::Known { expression: each.into_iter().map(inside).collect::<Vec<_>>().join(word), in_words: true }
}

fn in_xml(contents: &str) -> Said {
    if let Some((_, rest)) = contents.split_once("<license type=\"expression\">") {
        return rest.split_once("</license>").map_or(Said::Nothing, |(text, _)| named(text));
    }
    // Maven says of several that the user chooses.
    let blocks = contents.split("<license>").skip(1).filter_map(|rest| rest.split_once("</license>"));
    let names = blocks.filter_map(|(block, _)| block.split_once("<name>")?.1.split_once("</name>"));
    joined(names.map(|(name, _)| named(name)).collect(), " OR ")
}

/// As [`named`]. The manifests of a repository, and all of their versions, mostly say the same.
fn named_as_before(text: &str) -> Said {
    static LAST: Mutex<Option<(String, Said)>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, said)) = last.as_ref().filter(|(known, _)| known == text) {
        return said.clone();
    }
    let said = named(text);
    *last = Some((text.to_owned(), said.clone()));
    said
}

/// An expression, or one of the names that people write instead.
pub(super) fn named(text: &str) -> Said {
    const NAMES: [(&str, &str); 65] = [
        ("apache 2", "Apache-2.0"),
        ("apache 2 0", "Apache-2.0"),
        ("apache license 2 0", "Apache-2.0"),
        ("apache license v2 0", "Apache-2.0"),
        ("apache license version 2 0", "Apache-2.0"),
        ("apache software license", "Apache-2.0"),
        ("apache software license version 2 0", "Apache-2.0"),
        ("apache v2", "Apache-2.0"),
        ("apache2", "Apache-2.0"),
        ("asl 2 0", "Apache-2.0"),
        ("the apache license version 2 0", "Apache-2.0"),
        ("the apache software license version 2 0", "Apache-2.0"),
        ("mit license", "MIT"),
        ("the mit license", "MIT"),
        ("the mit license mit", "MIT"),
        ("mit file license", "MIT"),
        ("mit", "MIT"),
        ("expat", "MIT"),
        ("new bsd license", "BSD-3-Clause"),
        ("the new bsd license", "BSD-3-Clause"),
        ("modified bsd license", "BSD-3-Clause"),
        ("3 clause bsd", "BSD-3-Clause"),
        ("bsd 3 clause", "BSD-3-Clause"),
        ("bsd 3 clause license", "BSD-3-Clause"),
        ("bsd 3 clause file license", "BSD-3-Clause"),
        ("bsd3", "BSD-3-Clause"),
        ("bsd 2 clause", "BSD-2-Clause"),
        ("bsd 2 clause file license", "BSD-2-Clause"),
        ("simplified bsd license", "BSD-2-Clause"),
        ("gpl 2", "GPL-2.0-only"),
        ("gpl 3", "GPL-3.0-only"),
        ("gplv2", "GPL-2.0-only"),
        ("gpl v2", "GPL-2.0-only"),
        ("gplv3", "GPL-3.0-only"),
        ("gpl v3", "GPL-3.0-only"),
        ("gnu gplv2", "GPL-2.0-only"),
        ("gnu gplv3", "GPL-3.0-only"),
        ("gnu general public license v2 0", "GPL-2.0-only"),
        ("gnu general public license v3 0", "GPL-3.0-only"),
        ("gnu lesser general public license v2 1", "LGPL-2.1-only"),
        ("gnu lesser general public license v3 0", "LGPL-3.0-only"),
        ("gnu affero general public license v3 0", "AGPL-3.0-only"),
        ("eclipse public license v 1 0", "EPL-1.0"),
        ("eclipse public license v 2 0", "EPL-2.0"),
        ("gnu general public license version 2", "GPL-2.0-only"),
        ("gnu general public license version 3", "GPL-3.0-only"),
        ("lgpl 2 1", "LGPL-2.1-only"),
        ("lgpl 3", "LGPL-3.0-only"),
        ("lgplv3", "LGPL-3.0-only"),
        ("lgplv2 1", "LGPL-2.1-only"),
        ("agpl 3", "AGPL-3.0-only"),
        ("agplv3", "AGPL-3.0-only"),
        ("mpl 2 0", "MPL-2.0"),
        ("mozilla public license 2 0", "MPL-2.0"),
        ("isc license", "ISC"),
        ("zlib license", "Zlib"),
        ("zlib libpng license", "Zlib"),
        ("the unlicense", "Unlicense"),
        ("academic free license", "AFL-3.0"),
        ("python software foundation license", "PSF-2.0"),
        ("universal permissive license", "UPL-1.0"),
        ("boost software license 1 0", "BSL-1.0"),
        ("eclipse public license 2 0", "EPL-2.0"),
        ("european union public licence 1 2", "EUPL-1.2"),
        ("public domain", "LicenseRef-public-domain"),
    ];
    // These refuse a licence; npm's documentation of package.json has the first.
    const REFUSED: [&str; 8] = [
        "unlicensed",
        "proprietary",
        "commercial",
        "private",
        "closed source",
        "all rights reserved",
        "other proprietary license",
        "proprietary license",
    ];
    // R: `MIT + file LICENSE`, `GPL (>= 2)`; others: `GPLv3+`.
    static FILE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(?i)\s*[+|]\s*file\s+LICEN[SC]E\s*$").expect("the pattern is valid"));
    static LATER: LazyLock<Regex> = LazyLock::new(|| {
        let later = r"(?i)\s*(?:\+|or (?:any )?(?:later|newer)(?: version)?)\s*$";
        let at_least = r"\(\s*>=?\s*([0-9.]+)\s*\)";
        Regex::new(&format!("(?:{later}|{at_least})")).expect("the pattern is valid")
    });
    let text = FILE.replace(text.trim(), "");
    let text = text.trim();
    let known = |expression: String| Said::Known { expression, in_words: true };
    // The list's "BSD" and "GPL" without a version would be a guess.
    match text.to_ascii_uppercase().as_str() {
        "BSD" | "BSD LICENSE" => return Said::Nothing,
        "GPL" | "LGPL" | "AGPL" => return Said::Unknown,
        _ => {}
    }
    let plain = normalized(text);
    if REFUSED.contains(&plain.trim()) {
        return Said::Unknown;
    }
    let by_name = |plain: &str| NAMES.iter().find(|(name, _)| *name == plain.trim()).map(|(_, id)| (*id).to_owned());
    if LATER.is_match(text) && text.to_ascii_uppercase().contains("GPL") || text.contains("(>=") {
        let base = LATER.replace(text, " $1");
        let base = normalized(&base);
        let base = base.strip_suffix(" 0 ").filter(|_| by_name(&base).is_none()).unwrap_or(&base);
        if let Some(id) = by_name(base).as_deref().and_then(|id| id.strip_suffix("-only")) {
            return known(format!("{id}-or-later"));
        }
    }
    match by_name(&plain).or_else(|| expression(text)) {
        Some(expression) => known(expression),
        // A name that is not known is no permission.
        None if super::text::names_copyleft(&plain) || plain.contains("commercial") => Said::Unknown,
        None => Said::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_fields_say_what_the_parsed_file_says() {
        for (is_plain, contents) in [
            (true, "[package]\nname = \"x\"\nlicense = \"MIT OR Apache-2.0\" # both\nlicense-file = \"LICENSE\"\n"),
            (true, "[package]\nname = \"x\"\n[workspace.package]\nlicense=\"MPL-2.0\"\n"),
            (true, "[package]\nname = \"x\"\n[dependencies]\nlicense = \"1\"\n"),
            (true, "[package.metadata]\nlicenses = 1\n[x.license]\nlicense = \"1\"\n[package]\nlicense = \"MIT\"\n"),
            (true, "[tool.poetry]\nlicense = \"\"\n"),
            (false, "[package]\nlicense.workspace = true\n"),
            (false, "[package]\nlicense = 'MIT'\n"),
            (false, "[package]\n\"license\" = \"MIT\"\n"),
            (false, "[package]\n\"l\\u0069cense\" = \"GPL-3.0-only\"\nlicense-file = \"x\"\n"),
            (true, "[package]\ndescription = \"\"\"\nlicense = \"MIT\"\n\"\"\"\nlicense = \"GPL-3.0-only\"\n"),
            (true, "[package]\ndescription = \"\"\"One.\"\"\"\nlicense = \"MIT\"\n"),
            (false, "[package]\nlicense = \"\"\"MIT\"\"\"\n"),
            (false, "[package]\n# \"\"\"\nlicense = \"GPL-3.0-only\"\n# \"\"\"\n"),
            (false, "[package]\nname = '\"\"\"'\nlicense = \"GPL-3.0-only\"\nother = '\"\"\"'\n"),
            (false, "[package]\ndescription = \"\"\"\n[a]: b\n\"\"\"\nlicense = \"MIT\"\n"),
            (false, "[package]\ndescription = \"\"\"\na \\\"\"\" b\n\"\"\"\nlicense = \"MIT\"\n"),
            (false, "[package]\ndescription = \"\"\"\nlicense = \"MIT\"\n"),
            (false, "[workspace]\nlicense = \"MIT\"\n"),
            (false, "[tool]\npoetry = { license = \"GPL-3.0-only\" }\n"),
            (false, "package.license = \"GPL-3.0-only\"\n[tool]\n"),
            (false, "[package]\nlicense = \"MIT\"\n[workspace.package]\nlicense = \"GPL-3.0-only\"\n"),
            (false, "[project]\nclassifiers = [\n\"License :: OSI Approved :: MIT License\",\n]\n"),
            (false, "[project]\nlicense = { text = \"MIT\" }\n"),
        ] {
            let told = told_tables(contents);
            let plainly = plainly_told(&told);
            assert_eq!(plainly.is_some(), is_plain, "{contents}");
            assert_eq!(plainly.unwrap_or_else(|| parsed(&told, contents)), parsed(&told, contents), "{contents}");
            assert_eq!(in_toml(contents), parsed(&told, contents), "{contents}");
        }
    }

    #[test]
    fn metadata_files() {
        for (name, contents, expected) in [
            ("Cargo.toml", "[package]\nname = \"x\"\nlicense = \"MIT/Apache-2.0\"\n", Some("MIT OR Apache-2.0")),
            ("Cargo.toml", "[package]\nlicense.workspace = true\n", None),
            ("Cargo.toml", "[workspace.package]\nlicense = \"MPL-2.0\"\n", Some("MPL-2.0")),
            ("pyproject.toml", "[project]\nlicense = { text = \"MIT License\" }\n", Some("MIT")),
            ("pyproject.toml", "[tool.poetry]\nlicense = \"GPL-3.0-or-later\"\n", Some("GPL-3.0-or-later")),
            ("package.json", "{\"license\": \"ISC\"}", Some("ISC")),
            (
                "package.json",
                "{\"licenses\": [{\"type\": \"MIT\"}, {\"type\": \"GPLv2\"}]}",
                Some("GPL-2.0-only OR MIT"),
            ),
            ("package.json", "{\"license\": \"SEE LICENSE IN x\"}", None),
            ("package.json", "{broken", None),
            ("mix.exs", "      licenses: [\"Apache-2.0\"],\n", Some("Apache-2.0")),
            ("setup.cfg", "[metadata]\nlicense = Apache 2.0\n", Some("Apache-2.0")),
            ("setup.py", "setup(\n    license='BSD-3-Clause',\n)", Some("BSD-3-Clause")),
            ("x.gemspec", "  spec.license     = \"MIT\"\n", Some("MIT")),
            ("x.gemspec", "  s.licenses = ['MIT']\n", Some("MIT")),
            ("x.cabal", "license:             BSD-3-Clause\n", Some("BSD-3-Clause")),
            (
                "pom.xml",
                "<project><licenses><license><name>The Apache License, Version 2.0</name></license></licenses></project>",
                Some("Apache-2.0"),
            ),
            ("x.nuspec", "<license type=\"expression\">MIT</license>", Some("MIT")),
            ("README", "license = MIT", None),
            ("setup.py", "setup(name=\"a\", license=\"MIT\")", Some("MIT")),
            ("setup.py", "setup(\n  name='a',\n  classifiers=['License :: OSI Approved :: MIT License'])", Some("MIT")),
            (
                "setup.cfg",
                "[metadata]\nclassifiers =\n    License :: OSI Approved :: GNU General Public License v3 or later (GPLv3+)\n",
                Some("GPL-3.0-or-later"),
            ),
            (
                "pyproject.toml",
                "[project]\nclassifiers = [\"License :: OSI Approved\", \"License :: OSI Approved :: Apache Software License\"]\n",
                Some("Apache-2.0"),
            ),
            ("x.gemspec", "  s.licenses = [\"MIT\", \"GPL-2.0\"]\n", Some("GPL-2.0-only OR MIT")),
            ("x.gemspec", "  s.licenses = %w[MIT]\n", Some("MIT")),
            ("DESCRIPTION", "Package: x\nLicense: MIT + file LICENSE\n", Some("MIT")),
            ("DESCRIPTION", "License: GPL (>= 2)\n", Some("GPL-2.0-or-later")),
            ("DESCRIPTION", "License: GPL (>= 2.0)\n", Some("GPL-2.0-or-later")),
            ("DESCRIPTION", "License: GPL-3\n", Some("GPL-3.0-only")),
            ("setup.py", "    license='GPLv3+',\n", Some("GPL-3.0-or-later")),
            ("setup.py", "    license='BSD',\n", None),
            (
                "pom.xml",
                "<licenses><license><name>GPL-2.0</name></license><license><name>MIT License</name></license></licenses>",
                Some("GPL-2.0-only OR MIT"),
            ),
        ] {
            assert_eq!(license(name, contents).expression().as_deref(), expected, "{name}: {contents}");
        }
    }

    #[test]
    fn a_refusal_is_no_silence() {
        for (name, contents, expected) in [
            ("package.json", "{\"license\": \"UNLICENSED\"}", Said::Unknown),
            ("package.json", "{\"license\": \"SEE LICENSE IN x\"}", Said::Nothing),
            ("package.json", "{\"private\": true}", Said::Nothing),
            ("setup.py", "classifiers=['License :: Other/Proprietary License']", Said::Unknown),
            ("Cargo.toml", "[package]\nlicense = \"Proprietary\"\n", Said::Unknown),
        ] {
            assert_eq!(license(name, contents), expected, "{name}: {contents}");
        }
    }
}
