//! Exports that a watch writes by itself: a directory for each, a link to the newest, and the end of old ones.

use std::{
    cell::RefCell,
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use super::{
    Error, assemble, config,
    export::{self, incomplete},
    grouped, of_configuration,
};
use crate::{
    dedup::opt_out::Work,
    pipeline::{
        changes::{Noted, Why, compare},
        purge,
    },
    store::Store,
};

/// The link to the newest export.
const CURRENT: &str = "current";
/// How directories of exports begin; the time in seconds since 1970 follows.
const START: &str = "export-";
/// What an export is compared by.
const ROWS: &str = "rows.ids";
/// What it was made of.
const MADE_OF: &str = "made-of";

/// Where exports go and what they are.
pub(super) struct Publisher {
    directory: PathBuf,
    keep: usize,
    export: export::Args,
    assemble: Option<assemble::Args>,
    /// The settings of both.
    settings: serde_json::Value,
}

impl Publisher {
    /// Exports as `[export]` and `[assemble]` of the configuration have them; with `export.assembled`, what is to go is decided
    /// anew each time.
    pub(super) fn new(command: &clap::Command, store: &Path, directory: PathBuf, keep: usize) -> Result<Self, Error> {
        let export: export::Args = of_configuration(command, &["export".as_ref(), store.as_os_str(), "-".as_ref()])?;
        let is_assembled = export.is_assembled();
        let assemble = || of_configuration(command, &["assemble".as_ref(), store.as_os_str()]);
        let assemble = is_assembled.then(assemble).transpose()?;
        fs::create_dir_all(&directory).map_err(|source| Error::Io { path: directory.clone(), source })?;
        let sections = if is_assembled { &["export", "assemble"][..] } else { &["export"] };
        let sections = sections.iter().filter_map(|name| command.find_subcommand(name));
        let settings = serde_json::json!(sections.map(config::values).collect::<Vec<_>>());
        Ok(Publisher { directory, keep: keep.max(1), export, assemble, settings })
    }

    /// When the newest export was begun.
    fn last(&self) -> Option<u64> {
        let target = fs::read_link(self.directory.join(CURRENT)).ok()?;
        target.to_str()?.strip_prefix(START)?.parse().ok()
    }

    /// When the newest export was begun, if it was made with the settings of now and without those who have opted out by now; what
    /// was made otherwise does not put off the next.
    pub(super) fn last_of_its_kind(&self, store: &Store) -> Result<Option<u64>, Error> {
        let kind = self.kind(store)?;
        Ok(self.last().filter(|_| self.newest_made_of().is_some_and(|made_of| made_of.starts_with(&kind))))
    }

    /// Whether an export would be made of something else than the newest was: of other rows or with other settings. Where there
    /// was none, an empty store is no reason for the first.
    pub(super) fn is_to_publish(&self, store: &Store) -> Result<bool, Error> {
        match self.last() {
            None => Ok(!store.batches()?.is_empty()),
            Some(_) => Ok(self.newest_made_of() != Some(self.made_of(store)?)),
        }
    }

    fn newest_made_of(&self) -> Option<String> {
        fs::read_to_string(self.directory.join(CURRENT).join(MADE_OF)).ok()
    }

    /// A digest of settings and opt-outs.
    fn kind(&self, store: &Store) -> Result<String, Error> {
        let kind = format!("{}{}", self.settings, purge::opt_outs(store)?.digest());
        Ok(blake3::hash(kind.as_bytes()).to_hex().to_string())
    }

    /// All that an export is made of: [`Publisher::kind`], and a digest of the batches of rows.
    fn made_of(&self, store: &Store) -> Result<String, Error> {
        let mut rows = blake3::Hasher::new();
        for (_, checkpoint) in store.batches()? {
            rows.update(serde_json::json!(checkpoint).to_string().as_bytes());
        }
        Ok(format!("{}\n{}\n", self.kind(store)?, rows.finalize().to_hex()))
    }

    /// Removes what exports left that were killed. The store is locked, so nobody else writes one.
    fn remove_remains(&self) {
        let is_rest = |name: &str| {
            let rest = name.strip_prefix(START).and_then(|rest| rest.split_once(".gitlode-"));
            rest.is_some_and(|(time, id)| time.parse::<u64>().is_ok() && id.parse::<u32>().is_ok())
        };
        for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(is_rest) {
                // What can't be removed is in nobody's way but the disk's.
                _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Exports `store`, lists what changed since the export before, lets the link lead there, and removes all but the newest
    /// exports. What it was, in a line. `gone` has the identities of repositories whose rows were removed since they are gone.
    pub(super) fn publish(
        &self,
        store: &Store,
        now: u64,
        interrupt: &AtomicBool,
        gone: &HashSet<String>,
    ) -> Result<String, Error> {
        if let Some(args) = &self.assemble {
            args.decide(store, interrupt, &|_| {})?;
        }
        self.remove_remains();
        let made_of = self.made_of(store)?;
        // A clock that went back may come to a second that has one.
        let is_free = |time: &u64| !self.directory.join(format!("{START}{time}")).exists();
        let now = (now..).find(is_free).unwrap_or(now);
        let name = format!("{START}{now}");
        let out = self.directory.join(&name);
        let noted = RefCell::new(Noted::new(store, &self.directory)?);
        let exported = self.export.write(store, &out, interrupt, &|_, _, _| {}, Some(&noted))?;
        noted.into_inner().write(&out.join(ROWS))?;
        let path = out.join(MADE_OF);
        fs::write(&path, made_of).map_err(|source| Error::Io { path, source })?;
        let changes = self.changes(store, &out, gone)?;
        let io = |path: &Path| {
            let path = path.to_owned();
            |source| Error::Io { path, source }
        };
        // Whoever reads through the link sees one export or the other, and always a whole one.
        let link = self.directory.join(format!(".{CURRENT}.new"));
        _ = fs::remove_file(&link);
        link_to(&name, &link).map_err(io(&link))?;
        fs::rename(&link, self.directory.join(CURRENT)).map_err(io(&link))?;
        for old in old(&self.directory, now, self.keep)? {
            fs::remove_dir_all(&old).map_err(io(&old))?;
        }
        let incomplete = incomplete(&exported).map(|incomplete| format!("; {incomplete}")).unwrap_or_default();
        Ok(format!("{} rows in {}; {changes}{incomplete}", grouped(exported.changes.kept), out.display()))
    }

    /// Writes what changed since the export that the link leads to; that in a few words.
    fn changes(&self, store: &Store, out: &Path, gone: &HashSet<String>) -> Result<String, Error> {
        let Some(last) = self.last() else { return Ok("the first one".into()) };
        let name = format!("{START}{last}");
        let opt_outs = purge::opt_outs(store)?;
        let lost = |identity: &str, name: &str| {
            if opt_outs.find(Work { repositories: name, ..Work::default() }).is_some() {
                return Why::OptedOut;
            }
            if gone.contains(identity) { Why::Gone } else { Why::Other }
        };
        let before = self.directory.join(&name).join(ROWS);
        let (list, path) = (out.join("changes.jsonl"), out.join("changes.json"));
        let changes = match compare((&name, &before), &out.join(ROWS), &list, &lost) {
            Ok(changes) => changes,
            // What is wrong with the one before must not keep this one back.
            Err(error) => {
                _ = fs::remove_file(&list);
                return Ok(format!("it can't be compared with {name}: {error}"));
            }
        };
        let text = format!("{:#}\n", serde_json::json!(changes));
        fs::write(&path, text).map_err(|source| Error::Io { path, source })?;
        Ok(changes.sentence())
    }
}

/// The exports in `directory` beyond `keep`, the one of the time `newest` being one that stays. Those of a later time are of a clock
/// that has gone back since, and the first to go.
fn old(directory: &Path, newest: u64, keep: usize) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(directory);
    let entries = entries.map_err(|source| Error::Io { path: directory.to_owned(), source })?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let time = |name: &str| name.strip_prefix(START)?.parse::<u64>().ok();
    let mut exports: Vec<(u64, String)> = names.filter_map(|name| Some((time(&name)?, name))).collect();
    exports.retain(|(time, _)| *time != newest);
    exports.sort_by_key(|(time, _)| (*time > newest, std::cmp::Reverse(*time)));
    Ok(exports.into_iter().skip(keep - 1).map(|(_, name)| directory.join(name)).collect())
}

#[cfg(unix)]
fn link_to(name: &str, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(name, link)
}

#[cfg(not(unix))]
fn link_to(_: &str, _: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_exports_are_kept_whatever_the_clock_said() {
        let directory = tempfile::tempdir().expect("a directory");
        for name in
            ["export-100", "export-200", "export-300", "export-9999", "export-100.gitlode-7", "exports", "current"]
        {
            fs::create_dir(directory.path().join(name)).expect("a directory");
        }
        for (newest, keep, expected) in [
            (300, 1, &["export-200", "export-100", "export-9999"][..]),
            (300, 2, &["export-100", "export-9999"]),
            (300, 3, &["export-9999"]),
            (300, 9, &[]),
            (9999, 2, &["export-200", "export-100"]),
        ] {
            let found = old(directory.path(), newest, keep).expect("exports");
            assert_eq!(
                found,
                expected.iter().map(|name| directory.path().join(name)).collect::<Vec<_>>(),
                "{newest} {keep}"
            );
        }
    }
}
