//! What is done with one repository: a look, a fetch, mining, removing rows or a mirror; and the export of all.
//! Everything here is done by functions that `gitlode mine` and `gitlode export` have as well.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Mutex, atomic::Ordering::Relaxed},
    time::Instant,
};

use super::{
    event::{Event, Fault, Id, Licenses, NO_LICENSE, Rows},
    watch::{Means, Note, Options, Watch, lock},
};
use crate::{
    classify::license::policy::Policy,
    git::{
        self,
        mirror::{
            ErrorKind, Outcome,
            look::{Looker, Refusal, Retry},
            maintain::{self, is_damaged, join_packs},
            moved, put_away,
        },
        repository::{NO_TIPS, Repository, tips_digest},
        supervise::links,
    },
    pipeline::{
        compact::compact,
        mine,
        recipe::Settings,
        run::{self, Failure},
    },
    source::{self, Location, RepoSpec},
    store,
};

/// Packs of a mirror above which small ones are joined: each one is asked for every object that is not in those before.
const PACKS_MAX: usize = 20;

/// One thing that is being done.
pub struct Work<'a> {
    /// What the program around it gives.
    pub means: &'a Means<'a>,
    /// How to watch.
    pub options: &'a Options,
    /// What is known.
    pub watch: &'a Watch,
    /// Looks at remotes.
    pub looker: &'a Looker,
}

impl Work<'_> {
    /// One repository must not take the others with it, whatever bug it finds.
    pub fn guarded(&self, id: Id, work: fn(&Self, Id) -> Event) -> Event {
        catch_unwind(AssertUnwindSafe(|| work(self, id))).unwrap_or_else(|_| Event::Failed {
            id,
            fault: Fault::Local,
            reason: "a bug in gitlode (please report it with the message above)".into(),
            retry_after: None,
        })
    }

    /// Looks at the tips of a repository.
    pub fn look(&self, id: Id) -> Event {
        let spec = self.watch.spec(id);
        let revision = (self.means.settings)(&spec).recipe.revision;
        match &spec.location {
            Location::Path(path) => match self.tips_of(id, path) {
                Err((Fault::Gone, reason)) if (self.means.is_out_of_sight)(path) => Event::Failed {
                    id,
                    fault: Fault::Local,
                    reason: format!("{reason}, and what held it is empty or can't be read: perhaps it is not mounted"),
                    retry_after: None,
                },
                Ok(tips) => Event::Looked { id, tips: Some(tips), moved_to: None },
                Err((fault, reason)) => Event::Failed { id, fault, reason, retry_after: None },
            },
            Location::Url(url) => match self.looker.look(url, &revision, self.means.interrupt) {
                Ok(look) => {
                    self.watch.counters().look(look.as_ref().map_or(0, |look| look.bytes));
                    let (tips, moved_to) = look.map_or((None, None), |look| (Some(look.tips), look.moved_to));
                    if self.options.policy.moved == Rows::Drop
                        && let Some(to) = moved_to.clone().filter(|to| is_elsewhere(&spec.identity, to))
                    {
                        return Event::Moved { id, to };
                    }
                    Event::Looked { id, tips, moved_to }
                }
                Err(refusal) if refusal.error.kind() == ErrorKind::Interrupted => Event::GivenUp(id),
                Err(refusal) => self.refused(id, &refusal),
            },
        }
    }

    /// Digest of the tips of the repository at `path`.
    fn tips_of(&self, id: Id, path: &Path) -> Result<String, (Fault, String)> {
        let spec = self.watch.spec(id);
        let revision = (self.means.settings)(&spec).recipe.revision;
        let tips = Repository::open(path).and_then(|repository| repository.tips_digest(&revision));
        match tips {
            Ok(tips) if tips == NO_TIPS && self.has_rows(&spec) => {
                Err((Fault::Emptied, "it has no commits any more".into()))
            }
            Ok(tips) => Ok(tips),
            Err(error @ git::Error::NotARepository { .. }) => Err((Fault::Gone, error.to_string())),
            Err(error) => Err((Fault::Unminable, error.to_string())),
        }
    }

    fn has_rows(&self, spec: &RepoSpec) -> bool {
        self.tips_in_store(spec).is_ok_and(|tips| tips != NO_TIPS)
    }

    /// Digest of the tips up to which a repository is in the store.
    fn tips_in_store(&self, spec: &RepoSpec) -> Result<String, store::Error> {
        let batches = store::visible(&self.means.target.store.directory(&spec.identity))?;
        let ids = |ids: &[String]| -> Vec<gix::ObjectId> {
            ids.iter().filter_map(|id| gix::ObjectId::from_hex(id.as_bytes()).ok()).collect()
        };
        Ok(batches.last().map_or(NO_TIPS.to_owned(), |batch| tips_digest(ids(&batch.tips), ids(&batch.shallow))))
    }

    fn refused(&self, id: Id, refusal: &Refusal) -> Event {
        let now = (self.means.clock)();
        let retry_after = match refusal.retry {
            Some(Retry::After(seconds)) => Some(seconds),
            Some(Retry::At(time)) => Some(time.saturating_sub(now)),
            Some(Retry::Unsaid) | None => None,
        };
        let fault = if refusal.retry.is_some() { Fault::RateLimited } else { fault(refusal.error.kind()) };
        Event::Failed { id, fault, reason: refusal.error.to_string(), retry_after }
    }

    /// Brings its mirror up to date.
    pub fn fetch(&self, id: Id) -> Event {
        let mut spec = self.watch.spec(id);
        // Where no redirect is followed, it is fetched from where the look was led to.
        if self.options.mirrors.public_only
            && let Location::Url(url) = &spec.location
            && let Some(to) = &self.watch.schedule().state(id).moved_to
        {
            spec.location = Location::Url(moved(url, to));
        }
        let said = Mutex::new((0, Outcome::Unchanged));
        let observe = |event: run::Event<'_>| match event {
            run::Event::Fetching(bytes) => lock(&said).0 = bytes,
            run::Event::Fetched(outcome) => lock(&said).1 = outcome,
            run::Event::Mining(_) | run::Event::Finished(_) => {}
        };
        let path = match run::fetch(&spec, &self.options.mirrors, self.means.interrupt, &observe) {
            Ok(path) => path,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Event::GivenUp(id),
            Err(error) => {
                return Event::Failed { id, fault: fault(error.kind()), reason: error.to_string(), retry_after: None };
            }
        };
        let (bytes, outcome) = *lock(&said);
        self.watch.counters().fetch(bytes);
        join_packs(&path, PACKS_MAX, self.means.interrupt);
        (self.means.say)(&spec.name, &Note::Fetched(outcome));
        if matches!(outcome, Outcome::Cloned | Outcome::Replaced) {
            lock(&self.watch.cloned).insert(id);
        }
        match self.tips_of(id, &path) {
            Ok(tips) => Event::Fetched { id, tips, bytes: room_of(&path, spec.root().is_some()) },
            Err((fault, reason)) => Event::Failed { id, fault, reason, retry_after: None },
        }
    }

    /// Mines it into the store.
    pub fn mine(&self, id: Id) -> Event {
        let spec = self.watch.spec(id);
        let mut settings = (self.means.settings)(&spec);
        let digest = settings_digest(&settings, &spec);
        let is_again = self.watch.schedule().state(id).again;
        // What a damaged mirror lacked, a new one may have.
        settings.replace = is_again || (lock(&self.watch.cloned).contains(&id) && self.has_holes(&spec));
        let path: PathBuf = match &spec.location {
            Location::Path(path) => path.clone(),
            Location::Url(_) => self.options.mirrors.of(&spec),
        };
        let licenses = self.licenses(id, &spec, &path);
        if let Some(tips) = self.refuses(id, &path, &licenses) {
            return Event::Relicensed { id, tips, licenses };
        }
        let options = mine::Options {
            threads: self.options.threads,
            memory: self.options.memory,
            segment_bytes_max: self.options.segment_bytes_max,
            dry_run: false,
            ledger: self.options.ledger,
            root: self.options.mirrors.root_of(&spec),
        };
        let target = &self.means.target;
        let begun = Instant::now();
        let mined = run::mine(Some(target.store), &spec, &path, &settings, &options, self.means.interrupt, &|_| {});
        let Some(result) = mined else { return Event::GivenUp(id) };
        let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        if self.lacks_what_was_fetched(&spec, &path, &result) {
            let reason = "its mirror is damaged; it is cloned and mined anew".into();
            return Event::Failed { id, fault: Fault::Local, reason, retry_after: None };
        }
        lock(&self.watch.cloned).remove(&id);
        let is_new = result.as_ref().is_ok_and(|report| !report.unchanged);
        let compacted = if is_new { self.compact(&spec) } else { Ok(()) };
        let result = match compacted {
            Ok(()) => result,
            Err(store::Error::Interrupted) => return Event::GivenUp(id),
            Err(error) => Err(Failure::new(&error, error.hint())),
        };
        let entered = run::enter(target, &spec, &settings, &result).and_then(|()| self.tips_in_store(&spec));
        let result = match entered {
            Ok(tips) => result.map(|report| (report, tips)),
            Err(error) => Err(Failure::new(&error, error.hint())),
        };
        match result {
            Ok((report, tips)) => {
                self.watch.counters().mined(&report);
                (self.means.say)(&spec.name, &Note::Mined(&report));
                let (is_new, is_anew) = (!report.unchanged, report.replaced);
                Event::Mined { id, tips, settings: digest, is_new, is_anew, is_again, milliseconds, licenses }
            }
            Err(failure) => {
                let hint = failure.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
                let reason = format!("{}{hint}", failure.reason);
                Event::Failed { id, fault: Fault::Unminable, reason, retry_after: None }
            }
        }
    }

    /// The licences of a repository at the tip up to which it is mined, and now.
    fn licenses(&self, id: Id, spec: &RepoSpec, path: &Path) -> Licenses {
        let revision = (self.means.settings)(spec).recipe.revision;
        let word = |license: Option<String>| license.unwrap_or_else(|| NO_LICENSE.into());
        let of_store = || {
            let last = store::visible(&self.means.target.store.directory(&spec.identity)).ok()?.pop()?;
            (last.tips.len() == 1).then(|| word(last.license))
        };
        Licenses {
            before: self.watch.schedule().state(id).license.clone().or_else(of_store),
            // What can't be opened fails when it is mined.
            now: mine::license_at_tip(path, &revision).ok().flatten().map(word),
        }
    }

    /// The tips, if such a change of the licence is a reason not to mine it.
    fn refuses(&self, id: Id, path: &Path, licenses: &Licenses) -> Option<String> {
        let (before, now) = licenses.change().filter(|_| self.options.policy.relicensed == Rows::Drop)?;
        let permissive = Policy::find("permissive").expect("it is in the compiled-in table");
        if !permissive.takes(Some(before)) || permissive.takes(Some(now)) {
            return None;
        }
        self.tips_of(id, path).ok()
    }

    /// Whether history that a mirror lacks is why mining failed, or has holes; the mirror is gone then.
    fn lacks_what_was_fetched(&self, spec: &RepoSpec, path: &Path, result: &Result<mine::Report, Failure>) -> bool {
        let is_suspect = result.as_ref().map_or(true, |report| mine::has_holes(&report.funnel));
        let is_damaged =
            is_suspect && matches!(spec.location, Location::Url(_)) && is_damaged(path, self.means.interrupt);
        if is_damaged {
            self.remove_mirror(spec);
        }
        is_damaged
    }

    /// Whether history was skipped for damage when its rows were mined.
    fn has_holes(&self, spec: &RepoSpec) -> bool {
        let batches = store::visible(&self.means.target.store.directory(&spec.identity));
        batches.is_ok_and(|batches| batches.iter().any(|batch| mine::has_holes(&batch.funnel)))
    }

    /// Joins the batches of a repository where there are many of them.
    fn compact(&self, spec: &RepoSpec) -> Result<(), store::Error> {
        let directory = self.means.target.store.directory(&spec.identity);
        let Options { batches_max, segment_bytes_max, .. } = *self.options;
        if compact(&directory, batches_max, segment_bytes_max, self.means.interrupt)? {
            self.watch.counters().compacted();
        }
        Ok(())
    }

    /// Removes its rows and its mirror.
    pub fn drop_rows(&self, id: Id) -> Event {
        let spec = self.watch.spec(id);
        let target = &self.means.target;
        let dropped = target.store.remove(&spec.identity).and_then(|()| lock(target.index).remove(&spec.identity));
        if let Err(error) = dropped {
            return Event::Failed { id, fault: Fault::Local, reason: error.to_string(), retry_after: None };
        }
        self.remove_mirror(&spec);
        (self.means.say)(&spec.name, &Note::Dropped);
        Event::Dropped(id)
    }

    /// Removes its mirror.
    pub fn evict(&self, id: Id) -> Event {
        self.remove_mirror(&self.watch.spec(id));
        Event::Evicted(id)
    }

    /// Removes from its mirror what nothing reaches, unless there is something new in it that is to be mined first.
    pub fn tidy(&self, id: Id) -> Event {
        let spec = self.watch.spec(id);
        let path = self.options.mirrors.of(&spec);
        let is_mined =
            self.tips_of(id, &path).is_ok_and(|tips| self.tips_in_store(&spec).is_ok_and(|mined| mined == tips));
        let result = if is_mined { maintain::tidy(&path, self.means.interrupt) } else { Err(maintain::Error::Locked) };
        match result {
            Ok(()) => self.watch.counters().tidied(true),
            Err(maintain::Error::Interrupted) => return Event::GivenUp(id),
            // Without git there is nothing to be done, and what is in use is tidied another time.
            Err(maintain::Error::NotInstalled | maintain::Error::Locked) => {}
            Err(error) => {
                self.watch.counters().tidied(false);
                (self.means.say)(&spec.name, &Note::Trouble(&format!("its mirror can't be tidied: {error}")));
            }
        }
        Event::Tidied { id, bytes: room_of(&path, spec.root().is_some()) }
    }

    /// At once for all who look, since a clone may be about to borrow its packs. What can't be removed is in nobody's way but the
    /// disk's.
    fn remove_mirror(&self, spec: &RepoSpec) {
        if matches!(spec.location, Location::Url(_)) {
            _ = put_away(&self.options.mirrors.of(spec)).and_then(std::fs::remove_dir_all);
        }
    }

    /// Exports the store.
    pub fn publish(&self) -> Event {
        let Some(publish) = &self.means.publish else { return Event::Published { is_done: true } };
        let result = catch_unwind(AssertUnwindSafe(publish)).unwrap_or_else(|_| Err("a bug in gitlode".into()));
        match &result {
            Ok(what) => (self.means.say)("export", &Note::Published(what)),
            // Who stops it has no trouble with it.
            Err(_) if self.means.interrupt.load(Relaxed) => {}
            Err(reason) => (self.means.say)("export", &Note::Trouble(reason)),
        }
        Event::Published { is_done: result.is_ok() }
    }
}

/// Whether `url` is not only another way to write where the repository is.
fn is_elsewhere(identity: &str, url: &str) -> bool {
    !source::url::parse(url).is_some_and(|remote| remote.is_ok_and(|remote| remote.identity == identity))
}

/// A digest of all that decides, beside the tips, what rows a repository gives.
pub fn settings_digest(settings: &Settings, spec: &RepoSpec) -> String {
    let what = serde_json::json!([settings.recipe, run::id(spec), settings.opt_outs.digest()]);
    blake3::hash(what.to_string().as_bytes()).to_hex()[..32].to_owned()
}

fn fault(kind: ErrorKind) -> Fault {
    match kind {
        ErrorKind::NotFound => Fault::Gone,
        ErrorKind::Authentication => Fault::Refused,
        ErrorKind::Unreachable | ErrorKind::Disconnected => Fault::Unreachable,
        ErrorKind::Stalled => Fault::Stalled,
        ErrorKind::Protocol | ErrorKind::Unsupported => Fault::Garbage,
        ErrorKind::PrivateAddress => Fault::PrivateAddress,
        ErrorKind::Limit => Fault::Limit,
        ErrorKind::Io | ErrorKind::Interrupted => Fault::Local,
    }
}

/// The room that a directory and all in it take on the disk; 0 if there is none. What a fork has in common with its root is the
/// root's.
fn room_of(directory: &Path, is_fork: bool) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let of_entry = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => room_of(&entry.path(), is_fork) + room(&metadata),
        Ok(metadata) if is_fork && links(&metadata) > 1 => 0,
        Ok(metadata) => room(&metadata),
        Err(_) => 0,
    };
    entries.map(of_entry).sum()
}

#[cfg(unix)]
fn room(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(metadata) * 512
}

#[cfg(not(unix))]
fn room(metadata: &std::fs::Metadata) -> u64 {
    metadata.len()
}
