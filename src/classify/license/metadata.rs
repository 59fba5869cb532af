//! Licences in package metadata: Cargo.toml, package.json, pyproject.toml, setup.cfg, gemspecs, pom.xml and the like.

use super::expression;

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

/// The licence that the metadata file `name` with these contents declares, as an SPDX expression.
pub fn license(name: &str, contents: &str) -> Option<String> {
    match format_of(name)? {
        Format::Toml => in_toml(contents),
        Format::Json => in_json(contents),
        Format::Lines => in_lines(contents),
        Format::Xml => in_xml(contents),
    }
}

fn in_toml(contents: &str) -> Option<String> {
    let table: toml::Table = contents.parse().ok()?;
    let package = |path: &[&str]| {
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
    let value =
        paths.iter().find_map(|path| package(path).filter(|value| value.is_str() || value.get("text").is_some()))?;
    named(value.as_str().or_else(|| value.get("text")?.as_str())?)
}

fn in_json(contents: &str) -> Option<String> {
    let object: serde_json::Value = serde_json::from_str(contents).ok()?;
    let one = |value: &serde_json::Value| named(value.as_str().or_else(|| value["type"].as_str())?);
    let all = |value: &serde_json::Value| -> Option<String> {
        let each: Option<Vec<String>> = value.as_array()?.iter().map(one).collect();
        each.filter(|each| !each.is_empty()).map(|each| each.join(" OR "))
    };
    let license = &object["license"];
    one(license).or_else(|| all(license)).or_else(|| one(&object["licenses"])).or_else(|| all(&object["licenses"]))
}

/// `license = 'MIT'`, `spec.license = "MIT"`, `License: MIT`, `licenses: ["MIT"]`; the first one that is an expression.
fn in_lines(contents: &str) -> Option<String> {
    contents.lines().take(400).find_map(|line| {
        let (key, value) = line.split_once(['=', ':'])?;
        let key = key.trim().rsplit('.').next()?.trim_matches(['"', '\'', ' ']).to_ascii_lowercase();
        if !matches!(key.as_str(), "license" | "licenses" | "licence") {
            return None;
        }
        let value = value.trim_start_matches(['>', ':', '=', '{', '[', '%', 'w', ' ', '(']);
        named(value.trim_matches(|c: char| {
            c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '[' | ']' | '(' | ')' | '{' | '}')
        }))
    })
}

fn in_xml(contents: &str) -> Option<String> {
    let between = |text: &str, tag: &str| -> Option<String> {
        let (_, rest) = text.split_once(&format!("<{tag}>"))?;
        Some(rest.split_once(&format!("</{tag}>"))?.0.trim().to_owned())
    };
    if let Some((_, rest)) = contents.split_once("<license type=\"expression\">") {
        return named(rest.split_once("</license>")?.0);
    }
    named(&between(&between(contents, "license")?, "name")?)
}

/// An expression, or one of the names that people write instead.
fn named(text: &str) -> Option<String> {
    const NAMES: [(&str, &str); 34] = [
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
        ("expat", "MIT"),
        ("new bsd license", "BSD-3-Clause"),
        ("the new bsd license", "BSD-3-Clause"),
        ("modified bsd license", "BSD-3-Clause"),
        ("3 clause bsd", "BSD-3-Clause"),
        ("bsd 3 clause", "BSD-3-Clause"),
        ("bsd3", "BSD-3-Clause"),
        ("bsd 2 clause", "BSD-2-Clause"),
        ("simplified bsd license", "BSD-2-Clause"),
        ("gplv2", "GPL-2.0-only"),
        ("gpl v2", "GPL-2.0-only"),
        ("gplv3", "GPL-3.0-only"),
        ("gpl v3", "GPL-3.0-only"),
        ("lgplv3", "LGPL-3.0-only"),
        ("agplv3", "AGPL-3.0-only"),
        ("mpl 2 0", "MPL-2.0"),
        ("mozilla public license 2 0", "MPL-2.0"),
        ("isc license", "ISC"),
        ("public domain", "LicenseRef-public-domain"),
    ];
    let normalized = super::text::normalized(text);
    let known = NAMES.iter().find(|(name, _)| *name == normalized.trim());
    known.map(|(_, id)| (*id).to_owned()).or_else(|| expression(text))
}

#[cfg(test)]
mod tests {
    use super::*;

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
                Some("MIT OR GPL-2.0-only"),
            ),
            ("package.json", "{\"license\": \"SEE LICENSE IN x\"}", None),
            ("package.json", "{broken", None),
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
        ] {
            assert_eq!(license(name, contents).as_deref(), expected, "{name}: {contents}");
        }
    }
}
