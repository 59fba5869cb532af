//! The tables of facts: those that are compiled in from `languages/`, and those that a user gives instead.
//!
//! A directory of tables is read once, at the start of the program, before anything is looked up.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use super::{author, language, license, natural};

/// The tables by file name, as they are compiled in.
pub const TABLES: [(&str, &str); 9] = [
    ("authors.toml", include_str!("../../languages/authors.toml")),
    ("commitpack.toml", include_str!("../../languages/commitpack.toml")),
    ("generated.toml", include_str!("../../languages/generated.toml")),
    ("heuristics.toml", include_str!("../../languages/heuristics.toml")),
    ("licenses.toml", include_str!("../../languages/licenses.toml")),
    ("linguist.toml", include_str!("../../languages/linguist.toml")),
    ("natural.toml", include_str!("../../languages/natural.toml")),
    ("tie_break.tsv", include_str!("../../languages/tie_break.tsv")),
    ("vendored.toml", include_str!("../../languages/vendored.toml")),
];

static GIVEN: OnceLock<BTreeMap<&'static str, String>> = OnceLock::new();

/// What can be wrong with a directory of tables.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("{path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} is no table that gitlode knows; there are {}", TABLES.map(|(name, _)| name).join(", "))]
    Unknown { path: PathBuf },
    #[error("{path}: {reason}")]
    Invalid { path: PathBuf, reason: String },
}

/// Takes the tables in `directory` instead of those of the same name that are compiled in. Only the first call counts,
/// and only if nothing was looked up before.
///
/// # Errors
/// The directory or a file can't be read, has a name that no table has, or is not valid.
pub fn use_directory(directory: &Path) -> Result<(), Error> {
    let read = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Read { path, source }
    };
    let mut given = BTreeMap::new();
    for entry in fs::read_dir(directory).map_err(read(directory))? {
        let path = entry.map_err(read(directory))?.path();
        if !path.extension().is_some_and(|end| end == "toml" || end == "tsv") {
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some((name, _)) = TABLES.iter().find(|(known, _)| *known == name) else {
            return Err(Error::Unknown { path });
        };
        given.insert(*name, fs::read_to_string(&path).map_err(read(&path))?);
    }
    check(&given).map_err(|(name, reason)| Error::Invalid { path: directory.join(name), reason })?;
    let _the_first_counts = GIVEN.set(given);
    Ok(())
}

fn check(given: &BTreeMap<&'static str, String>) -> Result<(), (&'static str, String)> {
    let of = |name: &'static str| given.get(name).map_or_else(|| compiled_in(name), String::as_str);
    for (name, text) in given {
        let outcome = match *name {
            "authors.toml" => author::Authors::new(text).map(|_| ()),
            "commitpack.toml" => language::commitpack::CommitPackLanguages::new(text).map(|_| ()),
            "generated.toml" => language::generated::Generated::new(text).and_then(|table| table.compile_all()),
            "licenses.toml" => license::Licenses::new(text).map(|_| ()),
            "natural.toml" => natural::NaturalLanguages::new(text).map(|_| ()),
            "tie_break.tsv" => language::tie_break::TieBreak::check(text).map_err(|at| format!("line {at}")),
            _ => language::linguist::Linguist::new([of("linguist.toml"), of("heuristics.toml"), of("vendored.toml")])
                .and_then(|linguist| linguist.compile_all())
                .map_err(|e| e.to_string()),
        };
        outcome.map_err(|reason| (*name, reason))?;
    }
    Ok(())
}

fn compiled_in(name: &str) -> &'static str {
    TABLES.iter().find(|(known, _)| *known == name).map_or("", |(_, text)| text)
}

/// The table that is in use under this file name.
pub fn table(name: &'static str) -> &'static str {
    GIVEN.get().and_then(|given| given.get(name)).map_or_else(|| compiled_in(name), String::as_str)
}

/// Counts up when labels, or links of reverts, come out in another way with the same tables.
const RULES_VERSION: u32 = 4;

/// A digest over all tables in use and the version of the rules that are code: rows that were labelled by others are due again.
pub fn digest() -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&RULES_VERSION.to_le_bytes());
    for (name, _) in TABLES {
        let text = table(name);
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_checked() {
        for (name, text) in TABLES {
            assert_eq!(check(&BTreeMap::from([(name, text.to_owned())])), Ok(()), "{name}");
            let broken = BTreeMap::from([(name, format!("oops = 1\n{text}"))]);
            assert!(check(&broken).is_err_and(|(at, reason)| at == name && !reason.is_empty()), "{name}");
        }
    }
}
