//! Exports that a watch writes by itself: a directory for each, a link to the newest, and the end of old ones.

use std::{
    cell::RefCell,
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use super::{Error, assemble, export, grouped, of_configuration};
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

/// Where exports go and what they are.
pub(super) struct Publisher {
    directory: PathBuf,
    keep: usize,
    export: export::Args,
    assemble: Option<assemble::Args>,
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
        Ok(Publisher { directory, keep: keep.max(1), export, assemble })
    }

    /// When the newest export was begun.
    pub(super) fn last(&self) -> Option<u64> {
        let target = fs::read_link(self.directory.join(CURRENT)).ok()?;
        target.to_str()?.strip_prefix(START)?.parse().ok()
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
        let name = format!("{START}{now}");
        let out = self.directory.join(&name);
        let noted = RefCell::new(Noted::new(store, &self.directory)?);
        let exported = self.export.write(store, &out, interrupt, Some(&noted))?;
        noted.into_inner().write(&out.join(ROWS))?;
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
        for old in self.old(&name)? {
            fs::remove_dir_all(&old).map_err(io(&old))?;
        }
        Ok(format!("{} rows in {}; {changes}", grouped(exported.changes.kept), out.display()))
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

    /// The exports that are not to be kept, `newest` being one that is.
    fn old(&self, newest: &str) -> Result<Vec<PathBuf>, Error> {
        let entries = fs::read_dir(&self.directory);
        let entries = entries.map_err(|source| Error::Io { path: self.directory.clone(), source })?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let time = |name: &str| name.strip_prefix(START)?.parse::<u64>().ok();
        let mut exports: Vec<(u64, String)> = names.filter_map(|name| Some((time(&name)?, name))).collect();
        exports.retain(|(_, name)| name != newest);
        exports.sort_by(|a, b| b.cmp(a));
        Ok(exports.into_iter().skip(self.keep - 1).map(|(_, name)| self.directory.join(name)).collect())
    }
}

#[cfg(unix)]
fn link_to(name: &str, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(name, link)
}

#[cfg(not(unix))]
fn link_to(_: &str, _: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}
