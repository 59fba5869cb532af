//! What is watched: repositories come into the schedule when a source names them, and leave it when none does. One that
//! only can't be read, a list or a directory, takes nothing out.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::PathBuf,
    thread,
};

use super::{
    event::{Id, State},
    repository::Place,
    watch::{Driver, Note, Sources, lock},
    work::settings_digest,
};
use crate::{
    git::mirror::put_away,
    source::{Location, RepoSpec, url::mirror_path},
    store,
};

impl Driver<'_> {
    /// Adds what is new among the sources, and takes out what is none any more.
    ///
    /// # Errors
    /// The index can't be read or written.
    pub(super) fn read_sources(&mut self) -> Result<(), store::Error> {
        self.read = self.now();
        // Once is once: what is found while it runs is to be looked at as well.
        let now = if self.options.once { self.begun } else { self.read };
        let Sources { found, unread, is_pending, requests_left, failures } = (self.means.sources)();
        self.watch.counters().sources(unread.len() as u64, failures);
        let is_whole = unread.is_empty() && !is_pending;
        self.is_pending = is_pending;
        if let Some(left) = requests_left {
            self.watch.counters().requests_left(left);
        }
        let mut specs = self.readable(found, unread);
        let mut states = HashMap::new();
        if !self.is_known {
            let remembered = lock(self.means.target.index).schedules()?;
            states.extend(remembered.into_iter().map(|one| (one.identity, one.state)));
        }
        let named: HashSet<String> = specs.iter().map(|spec| spec.identity.clone()).collect();
        specs.extend(self.unnamed(&states, &named, is_whole)?);
        let all: HashSet<String> = specs.iter().map(|spec| spec.identity.clone()).collect();
        let mut named = HashSet::new();
        for spec in specs {
            let identity = spec.identity.clone();
            if self.watch_source(now, spec, &states)? {
                named.insert(identity);
            }
        }
        if is_whole {
            self.is_known = true;
            self.left_out.retain(|identity| all.contains(identity));
            self.forget(&named, states)?;
        }
        Ok(())
    }

    /// What can be watched of what was found; the rest is told, and counted.
    fn readable(
        &mut self,
        found: Vec<Result<RepoSpec, crate::source::BadSource>>,
        unread: Vec<(String, String)>,
    ) -> Vec<RepoSpec> {
        let (specs, bad): (Vec<_>, Vec<_>) = found.into_iter().partition(Result::is_ok);
        let bad = bad.into_iter().filter_map(Result::err).map(|bad| match bad.hint {
            Some(hint) => (bad.text, format!("{} ({hint})", bad.reason)),
            None => (bad.text, bad.reason),
        });
        self.bad.clear();
        for (text, reason) in bad.chain(unread) {
            (self.means.say)(&text, &Note::Bad(&reason));
            self.bad.insert(text);
        }
        specs.into_iter().filter_map(Result::ok).collect()
    }

    /// Takes out of the schedule, and out of the index, what no source names any more; the mirrors go with it.
    fn forget(&self, named: &HashSet<String>, states: HashMap<String, String>) -> Result<(), store::Error> {
        let mut schedule = self.watch.schedule();
        let is_left_out = |id: &Id| {
            let place = schedule.place(*id);
            place.host.is_some() && !named.contains(&place.identity)
        };
        let left_out: Vec<Id> = schedule.ids().filter(is_left_out).collect();
        left_out.iter().for_each(|id| schedule.retire(*id));
        let mut forgotten: Vec<String> = left_out.iter().map(|id| schedule.place(*id).identity.clone()).collect();
        forgotten.extend(states.into_keys().filter(|identity| !named.contains(identity)));
        // What is under way with one is done to its end, and it is taken out the next time.
        let unused: Vec<String> =
            forgotten.iter().filter(|identity| schedule.find(identity).is_none()).cloned().collect();
        drop(schedule);
        if !forgotten.is_empty() {
            lock(self.means.target.index).forget_schedules(&forgotten)?;
        }
        self.remove_mirrors(&unused);
        Ok(())
    }

    /// Removes the mirrors of repositories that are watched no more, without making anybody wait for that.
    fn remove_mirrors(&self, identities: &[String]) {
        // An identity that is a path has no mirror.
        let remote = identities.iter().filter(|identity| !identity.starts_with('/'));
        let moved = remote.filter_map(|identity| {
            let mirror = self.options.mirrors.directory.join(mirror_path(identity));
            put_away(&mirror).ok()
        });
        let moved: Vec<PathBuf> = moved.collect();
        if !moved.is_empty() {
            thread::spawn(move || moved.iter().for_each(|place| _ = fs::remove_dir_all(place)));
        }
    }

    /// Adds a source to the schedule, or takes note of what its list says of it now; whether it is to be watched.
    fn watch_source(
        &mut self,
        now: u64,
        spec: RepoSpec,
        states: &HashMap<String, String>,
    ) -> Result<bool, store::Error> {
        let known = self.watch.schedule().find(&spec.identity);
        if known.is_some_and(|id| spec.is_bare || spec == self.watch.spec(id)) {
            return Ok(true);
        }
        let (name, identity) = (spec.name.clone(), spec.identity.clone());
        let spec = match (self.means.complete)(spec)? {
            Ok(spec) => spec,
            Err(reason) => {
                if self.left_out.insert(identity) {
                    (self.means.say)(&name, &Note::LeftOut(reason));
                }
                return Ok(false);
            }
        };
        self.left_out.remove(&identity);
        let place = self.place(&spec);
        let is_incomplete = known.is_none() && self.is_incomplete(&spec);
        let mut schedule = self.watch.schedule();
        let mut specs = lock(&self.watch.specs);
        match known {
            Some(id) => {
                schedule.settle(now, id, place);
                specs[id as usize] = spec;
            }
            None => {
                let mut state = states.get(&spec.identity).and_then(|json| serde_json::from_str::<State>(json).ok());
                if let Some(state) = state.as_mut().filter(|_| is_incomplete) {
                    state.settings = None;
                }
                let due =
                    |state: State| if self.options.once { State { due: state.due.min(now), ..state } } else { state };
                let id = schedule.add(now, place, state.map(due)) as usize;
                if id < specs.len() { specs[id] = spec } else { specs.push(spec) }
            }
        }
        Ok(true)
    }

    /// Repositories that were watched and that no source names now, and are watched on: those on this machine that are not
    /// there any more, so that no directory names them, and, where not all sources can be read, all others.
    fn unnamed(
        &self,
        states: &HashMap<String, String>,
        named: &HashSet<String>,
        is_whole: bool,
    ) -> Result<Vec<RepoSpec>, store::Error> {
        let index = lock(self.means.target.index);
        let schedule = self.watch.schedule();
        let mut unnamed = Vec::new();
        let is_unnamed = |identity: &&String| !named.contains(*identity) && schedule.find(identity).is_none();
        for identity in states.keys().filter(is_unnamed) {
            let spec = index.spec(identity)?.and_then(|json| serde_json::from_str::<RepoSpec>(&json).ok());
            let is_watched = |spec: &RepoSpec| match &spec.location {
                Location::Path(path) => !is_whole || !path.exists(),
                Location::Url(_) => !is_whole,
            };
            unnamed.extend(spec.filter(is_watched));
        }
        unnamed.sort_by(|a, b| a.identity.cmp(&b.identity));
        Ok(unnamed)
    }

    /// Whether it is a fork that leaves out what its root has no more: a process that was killed in between could not tell. What
    /// can't be read is found when it is mined.
    fn is_incomplete(&self, spec: &RepoSpec) -> bool {
        let store = self.means.target.store;
        let of = |identity: &str| store::visible(&store.directory(identity)).unwrap_or_default();
        let last = spec.root().and_then(|_| of(&spec.identity).pop());
        last.and_then(|last| last.behind).is_some_and(|behind| !behind.holds(&of(&behind.root)))
    }

    fn place(&self, spec: &RepoSpec) -> Place {
        let settings = settings_digest(&(self.means.settings)(spec), spec);
        let host = match &spec.location {
            Location::Path(_) => None,
            Location::Url(_) => Some(spec.identity.split('/').next().unwrap_or_default().to_owned()),
        };
        Place { identity: spec.identity.clone(), host, settings, root: spec.root() }
    }
}
