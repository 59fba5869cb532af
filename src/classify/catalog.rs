//! The tables of facts: those that are compiled in from `languages/`, and those that a user gives instead.
//!
//! A directory of tables is read once, at the start of the program, before anything is looked up.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use serde::de::DeserializeOwned;

use super::{author, language, license, natural};

/// A table that is compiled in.
struct CompiledIn {
    /// The name of its file.
    name: &'static str,
    /// The file.
    text: &'static str,
    /// What `languages/build.rs` made of it: reading TOML would take a hundredth of a short run.
    json: Option<&'static str>,
}

macro_rules! toml {
    ($name:literal) => {
        CompiledIn {
            name: concat!($name, ".toml"),
            text: include_str!(concat!("../../languages/", $name, ".toml")),
            json: Some(include_str!(concat!(env!("OUT_DIR"), "/", $name, ".json"))),
        }
    };
}

const TABLES: [CompiledIn; 9] = [
    toml!("authors"),
    toml!("commitpack"),
    toml!("generated"),
    toml!("heuristics"),
    toml!("licenses"),
    toml!("linguist"),
    toml!("natural"),
    CompiledIn { name: "tie_break.tsv", text: include_str!("../../languages/tie_break.tsv"), json: None },
    toml!("vendored"),
];

/// A table before it is read.
#[derive(Clone, Copy, Debug)]
pub enum Text<'a> {
    /// As people write it.
    Toml(&'a str),
    /// As it is compiled in.
    Json(&'a str),
}

impl Text<'_> {
    /// Reads it.
    ///
    /// # Errors
    /// It is not valid, or no `T`.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, String> {
        match self {
            Text::Toml(text) => toml::from_str(text).map_err(|e| e.to_string()),
            Text::Json(text) => serde_json::from_str(text).map_err(|e| e.to_string()),
        }
    }
}

static GIVEN: OnceLock<BTreeMap<&'static str, String>> = OnceLock::new();

/// What can be wrong with a directory of tables.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("{path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} is no table that gitlode knows; there are {}", TABLES.map(|table| table.name).join(", "))]
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
        let Some(CompiledIn { name, .. }) = TABLES.iter().find(|known| known.name == name) else {
            return Err(Error::Unknown { path });
        };
        given.insert(*name, fs::read_to_string(&path).map_err(read(&path))?);
    }
    check(&given).map_err(|(name, reason)| Error::Invalid { path: directory.join(name), reason })?;
    let _the_first_counts = GIVEN.set(given);
    Ok(())
}

fn check(given: &BTreeMap<&'static str, String>) -> Result<(), (&'static str, String)> {
    for (name, text) in given {
        let table = Text::Toml(text);
        let outcome = match *name {
            "authors.toml" => author::Authors::new(table).map(|_| ()),
            "commitpack.toml" => language::commitpack::CommitPackLanguages::new(table).map(|_| ()),
            "generated.toml" => language::generated::Generated::new(table).and_then(|table| table.compile_all()),
            "licenses.toml" => license::Licenses::new(table).map(|_| ()),
            "natural.toml" => natural::NaturalLanguages::new(table).map(|_| ()),
            "tie_break.tsv" => language::tie_break::TieBreak::check(text).map_err(|at| format!("line {at}")),
            _ => {
                let of = |name| given.get(name).map_or_else(|| compiled_in(name).table(), |text| Text::Toml(text));
                let linguist = language::linguist::Linguist::new(language::linguist::TABLES.map(of));
                let Err(language::linguist::Error::Table { table, reason }) =
                    linguist.and_then(|linguist| linguist.compile_all())
                else {
                    continue;
                };
                // One that is compiled in is at odds with what was given.
                let (at, reason) = match given.get_key_value(table) {
                    Some((at, _)) => (at, reason),
                    None => (name, format!("with the {table} that is compiled in, {reason}")),
                };
                return Err((*at, reason));
            }
        };
        outcome.map_err(|reason| (*name, reason))?;
    }
    Ok(())
}

fn compiled_in(name: &str) -> &'static CompiledIn {
    TABLES.iter().find(|known| known.name == name).expect("the names are those of tables")
}

impl CompiledIn {
    fn table(&self) -> Text<'static> {
        self.json.map_or(Text::Toml(self.text), Text::Json)
    }
}

fn given(name: &str) -> Option<&'static str> {
    Some(GIVEN.get()?.get(name)?)
}

/// The table that is in use under this file name.
pub fn table(name: &'static str) -> Text<'static> {
    given(name).map_or_else(|| compiled_in(name).table(), Text::Toml)
}

/// The file that is in use under this name.
pub fn file(name: &'static str) -> &'static str {
    given(name).unwrap_or_else(|| compiled_in(name).text)
}

/// Counts up when labels, or links of reverts, come out in another way with the same tables.
const RULES_VERSION: u32 = 5;

/// A digest over all tables in use and the version of the rules that are code: rows that were labelled by others are due again.
pub fn digest() -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&RULES_VERSION.to_le_bytes());
    for CompiledIn { name, .. } in TABLES {
        let text = file(name);
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compiled_in_says_what_the_files_say() {
        for CompiledIn { name, text, json } in TABLES {
            let of_file = Text::Toml(text).read::<serde_json::Value>().ok();
            let compiled = json.map(|json| Text::Json(json).read::<serde_json::Value>().expect("it is valid"));
            assert!(of_file == compiled && compiled.is_some() == name.ends_with(".toml"), "{name}");
        }
    }

    #[test]
    fn every_table_is_checked() {
        for CompiledIn { name, text, .. } in TABLES {
            assert_eq!(check(&BTreeMap::from([(name, text.to_owned())])), Ok(()), "{name}");
            let broken = BTreeMap::from([(name, format!("oops = 1\n{text}"))]);
            assert!(check(&broken).is_err_and(|(at, reason)| at == name && !reason.is_empty()), "{name}");
            // Whichever of them is wrong, also among others that are right.
            let all = TABLES.iter().map(|table| (table.name, table.text.to_owned()));
            let broken: BTreeMap<_, _> = all.chain(broken).collect();
            assert!(check(&broken).is_err_and(|(at, _)| at == name), "{name}");
        }
        // Without languages, rules name some that are not there.
        let alone = BTreeMap::from([("linguist.toml", "generic = []\nlanguage = []".to_owned())]);
        let (at, reason) = check(&alone).expect_err("there are no languages");
        assert!(
            at == "linguist.toml" && reason.starts_with("with the heuristics.toml that is compiled in"),
            "{reason}"
        );
    }
}
