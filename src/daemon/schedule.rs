//! When each repository is looked at, fetched and mined: a state machine that is told what happened and when, and says
//! what to do next. It reads no clock, rolls no dice and does nothing itself, so tests can live through weeks of it.
//!
//! A repository goes from a **look** at its tips to a **fetch**, if the look found something new, and from there to
//! being **mined**. How often it is looked at follows how often looks find something. What goes wrong makes the pauses
//! longer: those of the repository, and, where the server seems to be the cause, those of all that it serves.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::{
    event::{Action, Event, Fault, Id, Licenses, Policy, Relicensed, Rows, State},
    host::{Host, PAUSE_MAX},
    repository::{Place, Repository, Stage},
};

/// A first mining of more than so many bytes counts as large: it may not take the last free place.
const LARGE_BYTES: u64 = 64 << 20;
/// One that was mined for longer than this counts as large as well.
const LARGE_MILLISECONDS: u64 = 20_000;

/// Whether the store is being exported. Segments that an export reads must not go, so nothing is mined or dropped then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Publishing {
    No,
    /// It is to be, as soon as nothing is being mined.
    Wanted,
    Going,
}

/// The schedule of all repositories.
pub struct Schedule {
    policy: Policy,
    repositories: Vec<Repository>,
    by_identity: HashMap<String, Id>,
    /// Those that are attached to a repository, by its identity.
    forks: HashMap<String, BTreeSet<Id>>,
    resting: BTreeSet<(u64, Id)>,
    /// By name; the one without a name is this machine.
    hosts: BTreeMap<String, Host>,
    /// The server that was served last.
    turn: String,
    /// Those that wait to be mined, each with a number that counts up.
    small: VecDeque<(u64, Id)>,
    large: VecDeque<(u64, Id)>,
    arrivals: u64,
    condemned: VecDeque<Id>,
    connections: usize,
    fetching: usize,
    mining: usize,
    mining_large: usize,
    dropping: usize,
    evicting: usize,
    tidying: usize,
    /// Those whose mirrors are to be tidied when they rest.
    untidy: BTreeSet<Id>,
    mirror_bytes: u64,
    publishing: Publishing,
    is_stopped: bool,
    unsaved: BTreeSet<Id>,
    faults: BTreeMap<Fault, u64>,
}

impl Schedule {
    /// An empty one.
    pub fn new(policy: Policy) -> Self {
        Schedule {
            policy,
            repositories: Vec::new(),
            by_identity: HashMap::new(),
            forks: HashMap::new(),
            resting: BTreeSet::new(),
            hosts: BTreeMap::new(),
            turn: String::new(),
            small: VecDeque::new(),
            large: VecDeque::new(),
            arrivals: 0,
            condemned: VecDeque::new(),
            connections: 0,
            fetching: 0,
            mining: 0,
            mining_large: 0,
            dropping: 0,
            evicting: 0,
            tidying: 0,
            untidy: BTreeSet::new(),
            mirror_bytes: 0,
            publishing: Publishing::No,
            is_stopped: false,
            unsaved: BTreeSet::new(),
            faults: BTreeMap::new(),
        }
    }

    /// Adds a repository, or brings back a retired one. `state` is what is remembered of it; it is due at once where
    /// that is nothing, or where settings have changed.
    pub fn add(&mut self, now: u64, place: Place, state: Option<State>) -> Id {
        let mut state = state.unwrap_or_else(|| State {
            interval: self.policy.interval_min.saturating_mul(4),
            due: now,
            ..State::default()
        });
        state.interval = state.interval.clamp(self.policy.interval_min, self.policy.interval_max);
        state.wanted = Some(place.settings.clone());
        if state.settings != state.wanted || state.pushed.is_some() {
            state.due = state.due.min(now);
        }
        state.due = state.due.min(self.furthest(now));
        let due = state.due;
        let id = match self.by_identity.get(&place.identity) {
            Some(&id) => {
                let repository = &mut self.repositories[id as usize];
                if repository.stage != Stage::Retired {
                    return id;
                }
                repository.is_outdated = false;
                (repository.place, repository.state, repository.stage) = (place, state, Stage::Resting);
                id
            }
            None => {
                let id = Id::try_from(self.repositories.len()).expect("there are fewer repositories than that");
                let hash = blake3::hash(place.identity.as_bytes());
                let seed = u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("a hash has 32 bytes"));
                self.by_identity.insert(place.identity.clone(), id);
                let stage = Stage::Resting;
                let (seen, pushed_again, is_outdated) = (None, None, false);
                self.repositories.push(Repository { place, seed, state, stage, seen, pushed_again, is_outdated });
                id
            }
        };
        self.attach(id, None);
        let bytes = self.state(id).mirror_bytes;
        self.repositories[id as usize].state.mirror_bytes = 0;
        self.size_of_mirror(id, bytes);
        self.resting.insert((due, id));
        self.unsaved.insert(id);
        id
    }

    /// No pause ends later than this; what is due later was put there by a clock that has gone back since.
    fn furthest(&self, now: u64) -> u64 {
        now.saturating_add(self.policy.interval_max.max(PAUSE_MAX).saturating_mul(2))
    }

    /// Has a repository mined with other settings from now on, and looked at for that at once.
    pub fn settle(&mut self, now: u64, id: Id, place: Place) {
        let repository = &mut self.repositories[id as usize];
        repository.state.wanted = Some(place.settings.clone());
        self.unsaved.insert(id);
        repository.place.settings = place.settings;
        let before = std::mem::replace(&mut repository.place.root, place.root);
        self.attach(id, before);
        let repository = &mut self.repositories[id as usize];
        if repository.stage == Stage::Resting && repository.state.settings.as_ref() != Some(&repository.place.settings)
        {
            self.resting.remove(&(repository.state.due, id));
            self.rest(id, now);
        }
    }

    /// Takes a repository out that is no source any more; what is being done for it is done to its end.
    pub fn retire(&mut self, id: Id) {
        let repository = &mut self.repositories[id as usize];
        if repository.stage == Stage::Resting {
            self.resting.remove(&(repository.state.due, id));
            self.mirror_bytes -= repository.state.mirror_bytes;
            repository.stage = Stage::Retired;
            self.untidy.remove(&id);
            self.unsaved.remove(&id);
            self.let_forks_go(id);
        }
    }

    /// The repository with this identity.
    pub fn find(&self, identity: &str) -> Option<Id> {
        self.by_identity.get(identity).copied().filter(|id| self.repositories[*id as usize].stage != Stage::Retired)
    }

    /// Where a repository is.
    pub fn place(&self, id: Id) -> &Place {
        &self.repositories[id as usize].place
    }

    /// What is remembered of a repository.
    pub fn state(&self, id: Id) -> &State {
        &self.repositories[id as usize].state
    }

    /// What is being done with a repository, in one word.
    pub fn doing(&self, id: Id) -> &'static str {
        self.repositories[id as usize].stage.as_str()
    }

    /// All that are sources.
    pub fn ids(&self) -> impl Iterator<Item = Id> + '_ {
        (0..).zip(&self.repositories).filter(|(_, repository)| repository.stage != Stage::Retired).map(|(id, _)| id)
    }

    /// How many wait for something: for a connection, a server that is left alone, or a place to be mined in.
    pub fn waiting(&self) -> usize {
        self.repositories.iter().filter(|repository| repository.stage.waits()).count()
    }

    /// Whether there is one that was neither mined nor failed yet, and whose server is not left alone.
    pub fn is_first_round(&self) -> bool {
        let waits_for_itself = |id: &Id| self.repositories[*id as usize].stage != Stage::Behind;
        self.ids().filter(waits_for_itself).any(|id| self.state(id).condition() == "new" && !self.is_left_alone(id))
    }

    /// Whether there is a fork that is to be mined anew since its root was, so that rows may be missing until then; one that
    /// can't be mined is not waited for.
    pub fn has_outdated_fork(&self) -> bool {
        let is_outdated = |id: &Id| {
            let State { tips, settings, fault, .. } = self.state(*id);
            tips.is_some() && settings.is_none() && fault.is_none()
        };
        self.forks.values().flatten().any(|id| is_outdated(id) && !self.is_left_alone(*id))
    }

    /// Whether its server is left alone for now.
    fn is_left_alone(&self, id: Id) -> bool {
        let host = self.hosts.get(&self.place(id).host_name());
        host.is_some_and(|host| host.is_open_until().is_some())
    }

    /// How often each fault came up since the start.
    pub fn faults(&self) -> &BTreeMap<Fault, u64> {
        &self.faults
    }

    /// Servers that are left alone for now, each with the time until.
    pub fn open_hosts(&self) -> Vec<(&str, u64)> {
        let until = |host: &Host| host.is_open_until();
        self.hosts.iter().filter_map(|(name, host)| Some((name.as_str(), until(host)?))).collect()
    }

    /// Bytes of all mirrors.
    pub fn mirror_bytes(&self) -> u64 {
        self.mirror_bytes
    }

    /// The states that changed since this was last asked.
    pub fn take_unsaved(&mut self) -> Vec<(Id, State)> {
        let unsaved = std::mem::take(&mut self.unsaved);
        unsaved.into_iter().map(|id| (id, self.state(id).clone())).collect()
    }

    /// Takes back that states were saved.
    pub fn keep_unsaved(&mut self, ids: impl Iterator<Item = Id>) {
        self.unsaved.extend(ids);
    }

    /// Whether nothing is being done.
    pub fn is_idle(&self) -> bool {
        self.connections + self.mining + self.dropping + self.evicting + self.tidying == 0
            && self.publishing == Publishing::No
    }

    /// Whether the store is being exported, or is to be.
    pub fn is_publishing(&self) -> bool {
        self.publishing != Publishing::No
    }

    /// What to do now, until there is nothing more.
    pub fn next(&mut self, now: u64) -> Option<Action> {
        if self.is_stopped {
            return None;
        }
        while let Some(&(due, id)) = self.resting.first().filter(|(due, _)| *due <= now) {
            self.resting.remove(&(due, id));
            if self.has_new_root(id) {
                self.repositories[id as usize].stage = Stage::Behind;
            } else {
                self.wait_for_connection(id, false);
            }
        }
        let furthest = self.furthest(now);
        while let Some(&(due, id)) = self.resting.last().filter(|(due, _)| *due > furthest) {
            self.resting.remove(&(due, id));
            self.repositories[id as usize].state.due = now;
            self.wait_for_connection(id, false);
        }
        match self.publishing {
            Publishing::No => self.next_to_drop().or_else(|| self.next_to_mine()),
            Publishing::Wanted if self.mining + self.dropping == 0 => {
                self.publishing = Publishing::Going;
                Some(Action::Publish)
            }
            Publishing::Wanted | Publishing::Going => None,
        }
        .or_else(|| self.next_to_evict())
        .or_else(|| self.next_to_tidy())
        .or_else(|| self.next_to_connect(now))
    }

    /// Takes note of what happened.
    pub fn on(&mut self, now: u64, event: Event) {
        match event {
            Event::Pushed(id) => self.pushed(now, id),
            Event::Again(id) => {
                self.repositories[id as usize].state.again = true;
                self.pushed(now, id);
            }
            Event::Looked { id, tips, moved_to } => {
                self.repositories[id as usize].state.moved_to = moved_to;
                self.looked(now, id, tips);
            }
            Event::Fetched { id, tips, bytes } => self.fetched(now, id, tips, bytes),
            Event::Mined { id, tips, settings, is_new, is_anew, is_again, milliseconds, licenses } => {
                self.licensed(now, id, licenses, None);
                let state = &mut self.repositories[id as usize].state;
                state.again &= !is_again;
                // Not what was seen: it may have changed since, and be changed back later.
                (state.tips, state.settings, state.milliseconds) = (Some(tips), Some(settings), milliseconds);
                self.mined(now, id, is_new);
                if is_anew {
                    self.mine_forks_anew(id);
                }
                self.let_forks_go(id);
            }
            Event::Moved { id, to } => {
                let state = &mut self.repositories[id as usize].state;
                let reason = format!("the server has it at {to}");
                (state.looked, state.moved_to) = (Some(now), Some(to));
                self.failed(now, id, Fault::Moved, reason, None);
            }
            Event::Relicensed { id, tips, licenses } => {
                self.licensed(now, id, licenses, Some(tips));
                self.failed_for_license(now, id);
            }
            Event::Failed { id, fault, reason, retry_after } => self.failed(now, id, fault, reason, retry_after),
            Event::Dropped(id) => {
                self.dropped(now, id);
                self.mine_forks_anew(id);
            }
            Event::GivenUp(id) => {
                self.leave(id);
                self.rest(id, now);
            }
            Event::Evicted(id) => {
                self.leave(id);
                self.size_of_mirror(id, 0);
                self.rest_again(id);
            }
            Event::Tidied { id, bytes, .. } => {
                self.leave(id);
                self.repositories[id as usize].state.tidy_bytes = bytes;
                self.size_of_mirror(id, bytes);
                self.rest_again(id);
            }
            Event::PublishDue if self.publishing == Publishing::No => self.publishing = Publishing::Wanted,
            Event::PublishDue => {}
            Event::Published { .. } => self.publishing = Publishing::No,
            // What is only wanted is not begun any more.
            Event::Stop => {
                self.is_stopped = true;
                if self.publishing == Publishing::Wanted {
                    self.publishing = Publishing::No;
                }
            }
        }
    }

    fn pushed(&mut self, now: u64, id: Id) {
        let repository = &mut self.repositories[id as usize];
        repository.state.pushed.get_or_insert(now);
        self.unsaved.insert(id);
        match repository.stage {
            Stage::Resting => {
                self.resting.remove(&(repository.state.due, id));
                repository.state.due = repository.state.due.min(now);
                self.wait_for_connection(id, false);
            }
            Stage::Ready { is_fetch } => {
                let due = repository.state.due;
                let host = self.hosts.entry(repository.place.host_name()).or_insert_with(Host::new);
                let turns = if is_fetch { &mut host.fetches } else { &mut host.looks };
                turns.remove(&(true, due, id));
                turns.insert((false, due, id));
            }
            // Whatever is under way may have begun before the push.
            Stage::Looking
            | Stage::Fetching
            | Stage::Fetched { .. }
            | Stage::Mining { .. }
            | Stage::Evicting
            | Stage::Tidying => {
                repository.pushed_again.get_or_insert(now);
            }
            Stage::Behind | Stage::Condemned | Stage::Dropping | Stage::Retired => {}
        }
    }

    fn looked(&mut self, now: u64, id: Id, tips: Option<String>) {
        let repository = &mut self.repositories[id as usize];
        repository.state.looked = Some(now);
        repository.seen = tips;
        if self.policy.relicensed == Rows::Drop && self.repositories[id as usize].is_refused() {
            return self.failed_for_license(now, id);
        }
        self.leave(id);
        self.host_answered(id);
        let repository = &self.repositories[id as usize];
        if repository.seen.is_some() && repository.is_mined() {
            return self.unchanged(now, id);
        }
        if repository.place.host.is_some() {
            self.wait_for_connection(id, true);
        } else {
            self.wait_to_be_mined(id, 0);
        }
    }

    /// Takes note of a repository's licence; of the tips as well that are not mined for it.
    fn licensed(&mut self, now: u64, id: Id, licenses: Licenses, refused: Option<String>) {
        let is_refused = refused.is_some();
        let state = &mut self.repositories[id as usize].state;
        if let Some((from, to)) = licenses.change() {
            let since =
                state.relicensed.take().filter(|last| last.from == from && last.to == to && last.tips.is_some());
            let at = since.map_or(now, |last| last.at);
            state.relicensed = Some(Relicensed { from: from.to_owned(), to: to.to_owned(), at, tips: refused });
        } else if let Some(last) = &mut state.relicensed
            && last.tips.take().is_some()
        {
            // It was changed back before anything was mined under it.
            state.relicensed = None;
        }
        // What it was stays known as long as nothing is mined.
        let known = if is_refused { licenses.before } else { licenses.now.or(licenses.before) };
        state.license = known.or(state.license.take());
    }

    fn failed_for_license(&mut self, now: u64, id: Id) {
        let Relicensed { from, to, .. } = self.state(id).relicensed.clone().unwrap_or_default();
        self.failed(now, id, Fault::Relicensed, format!("its licence was {from} and is {to}"), None);
    }

    fn fetched(&mut self, now: u64, id: Id, tips: String, bytes: u64) {
        self.leave(id);
        self.host_answered(id);
        self.size_of_mirror(id, bytes);
        let repository = &mut self.repositories[id as usize];
        // What came may be newer than what the look saw.
        repository.seen = Some(tips);
        if repository.is_mined() {
            return self.unchanged(now, id);
        }
        self.wait_to_be_mined(id, bytes);
    }

    fn mined(&mut self, now: u64, id: Id, is_new: bool) {
        self.leave(id);
        let policy = &self.policy;
        let repository = &mut self.repositories[id as usize];
        let state = &mut repository.state;
        if is_new {
            state.changed = Some(now);
            // Without a push to reckon from, it came at some time after the last look that saw nothing but what is mined.
            let since = state.pushed.or(state.current);
            state.lag = since.map(|since| now.saturating_sub(since));
            state.interval = (state.interval / 2).max(policy.interval_min);
        }
        self.succeeded(now, id);
    }

    fn unchanged(&mut self, now: u64, id: Id) {
        let max = self.policy.interval_max;
        let state = &mut self.repositories[id as usize].state;
        state.interval = (state.interval + state.interval / 4 + 1).min(max);
        self.succeeded(now, id);
    }

    fn succeeded(&mut self, now: u64, id: Id) {
        let repository = &mut self.repositories[id as usize];
        let state = &mut repository.state;
        (state.failures, state.fault, state.reason, state.dropped) = (0, None, None, false);
        state.current = state.looked;
        state.pushed = repository.pushed_again.take();
        if std::mem::take(&mut repository.is_outdated) {
            state.settings = None;
            return self.rest(id, 0);
        }
        // Settings may have changed while it was mined.
        if state.pushed.is_some() || state.settings.as_ref() != Some(&repository.place.settings) {
            return self.rest(id, now);
        }
        let due = now.saturating_add(repository.jittered(now, repository.state.interval));
        self.rest(id, due);
    }

    fn failed(&mut self, now: u64, id: Id, fault: Fault, reason: String, retry_after: Option<u64>) {
        self.leave(id);
        *self.faults.entry(fault).or_default() += 1;
        if fault.is_of_host() {
            self.host_failed(now, id, retry_after);
        } else if fault != Fault::Local && fault != Fault::Unminable {
            self.host_answered(id);
        }
        let Policy { interval_min, interval_max, gone_after, .. } = self.policy;
        let rows = self.policy.rows(fault);
        let repository = &mut self.repositories[id as usize];
        let state = &mut repository.state;
        state.pushed = state.pushed.or(repository.pushed_again.take());
        state.failures = if state.fault.is_none_or(|before| before == fault) { state.failures + 1 } else { 1 };
        (state.fault, state.reason) = (Some(fault), Some(reason));
        self.let_forks_go(id);
        let repository = &mut self.repositories[id as usize];
        let state = &mut repository.state;
        let is_end = fault.is_end() && state.failures >= gone_after;
        if is_end && rows == Rows::Drop && !state.dropped {
            repository.stage = Stage::Condemned;
            self.unsaved.insert(id);
            return self.condemned.push_back(id);
        }
        let pause = interval_min.saturating_mul(1 << (state.failures - 1).min(20)).min(interval_max);
        let pause = if is_end { interval_max } else { pause };
        state.pushed = state.pushed.filter(|_| !is_end);
        // A server is taken at its word within reason, as the one that all of its repositories wait for is.
        let asked = retry_after.unwrap_or(0).min(PAUSE_MAX);
        let due = now.saturating_add(repository.jittered(now, pause).max(asked));
        self.rest(id, due);
    }

    fn dropped(&mut self, now: u64, id: Id) {
        self.leave(id);
        self.size_of_mirror(id, 0);
        let max = self.policy.interval_max;
        let repository = &mut self.repositories[id as usize];
        let state = &mut repository.state;
        (state.dropped, state.tips, state.settings, state.changed) = (true, None, None, Some(now));
        let due = now.saturating_add(repository.jittered(now, max));
        self.rest(id, due);
    }

    /// Takes note of what a repository is attached to now, and was `before`.
    fn attach(&mut self, id: Id, before: Option<String>) {
        if let Some(forks) = before.and_then(|root| self.forks.get_mut(&root)) {
            forks.remove(&id);
        }
        if let Some(root) = self.place(id).root.clone() {
            self.forks.entry(root).or_default().insert(id);
        }
    }

    /// Whether it is attached to a repository that is about to be mined for the first time, or with other settings than before:
    /// what that has then, it leaves out.
    fn has_new_root(&self, id: Id) -> bool {
        let root = self.place(id).root.as_ref().and_then(|root| self.find(root));
        root.is_some_and(|root| {
            let (place, state) = (self.place(root), self.state(root));
            let is_due =
                place.root.is_none() && state.fault.is_none() && state.settings.as_ref() != Some(&place.settings);
            is_due && !self.is_left_alone(root)
        })
    }

    /// The forks that are attached to a repository.
    fn forks_of(&self, id: Id) -> Vec<Id> {
        self.forks.get(&self.place(id).identity).into_iter().flatten().copied().collect()
    }

    /// Lets the forks of a repository go that waited for it.
    fn let_forks_go(&mut self, id: Id) {
        for fork in self.forks_of(id) {
            if self.repositories[fork as usize].stage == Stage::Behind {
                self.wait_for_connection(fork, false);
            }
        }
    }

    /// Has the forks of a repository mined anew whose rows were replaced or removed: they left out what it may have no more. They
    /// are due since ever, and so in a single round as well.
    fn mine_forks_anew(&mut self, id: Id) {
        for fork in self.forks_of(id) {
            let repository = &mut self.repositories[fork as usize];
            repository.state.settings = None;
            repository.is_outdated = matches!(repository.stage, Stage::Mining { .. });
            self.unsaved.insert(fork);
            if repository.stage == Stage::Resting && !repository.state.dropped {
                self.resting.remove(&(repository.state.due, fork));
                self.rest(fork, 0);
            }
        }
    }

    /// Gives the place back that a repository has taken.
    fn leave(&mut self, id: Id) {
        let repository = &self.repositories[id as usize];
        let host = self.hosts.entry(repository.place.host_name()).or_insert_with(Host::new);
        match repository.stage {
            Stage::Looking => {
                self.connections -= 1;
                host.looking -= 1;
            }
            Stage::Fetching => {
                self.connections -= 1;
                self.fetching -= 1;
                host.fetching -= 1;
            }
            Stage::Mining { is_large } => {
                self.mining -= 1;
                self.mining_large -= usize::from(is_large);
            }
            Stage::Dropping => self.dropping -= 1,
            Stage::Evicting => self.evicting -= 1,
            Stage::Tidying => self.tidying -= 1,
            Stage::Resting
            | Stage::Behind
            | Stage::Ready { .. }
            | Stage::Fetched { .. }
            | Stage::Condemned
            | Stage::Retired => {}
        }
    }

    fn rest(&mut self, id: Id, due: u64) {
        let repository = &mut self.repositories[id as usize];
        repository.state.due = due;
        repository.stage = Stage::Resting;
        self.resting.insert((due, id));
        self.unsaved.insert(id);
    }

    /// Goes on with the rest that was interrupted.
    fn rest_again(&mut self, id: Id) {
        let repository = &mut self.repositories[id as usize];
        let due = repository.pushed_again.take().unwrap_or(repository.state.due);
        self.rest(id, due);
    }

    fn wait_for_connection(&mut self, id: Id, is_fetch: bool) {
        let repository = &mut self.repositories[id as usize];
        repository.stage = Stage::Ready { is_fetch };
        let turn = (repository.state.pushed.is_none(), repository.state.due, id);
        let host = self.hosts.entry(repository.place.host_name()).or_insert_with(Host::new);
        let turns = if is_fetch { &mut host.fetches } else { &mut host.looks };
        turns.insert(turn);
    }

    fn wait_to_be_mined(&mut self, id: Id, bytes: u64) {
        let repository = &mut self.repositories[id as usize];
        let State { tips, milliseconds, .. } = &repository.state;
        let is_large = *milliseconds > LARGE_MILLISECONDS || (tips.is_none() && bytes > LARGE_BYTES);
        repository.stage = Stage::Fetched { is_large };
        self.arrivals += 1;
        let queue = if is_large { &mut self.large } else { &mut self.small };
        queue.push_back((self.arrivals, id));
    }

    fn size_of_mirror(&mut self, id: Id, bytes: u64) {
        let state = &mut self.repositories[id as usize].state;
        self.mirror_bytes = self.mirror_bytes - state.mirror_bytes + bytes;
        // A clone is tidy, and so is one of which that is not known.
        if state.mirror_bytes == 0 && (bytes == 0 || state.tidy_bytes == 0) {
            state.tidy_bytes = bytes;
        }
        state.tidy_bytes = state.tidy_bytes.min(bytes);
        state.mirror_bytes = bytes;
        if self.repositories[id as usize].is_untidy() {
            self.untidy.insert(id)
        } else {
            self.untidy.remove(&id)
        };
    }

    fn next_to_drop(&mut self) -> Option<Action> {
        let id = self.condemned.pop_front()?;
        self.dropping += 1;
        self.repositories[id as usize].stage = Stage::Dropping;
        Some(Action::Drop(id))
    }

    /// Where mirrors take too much room, the one goes that changes most rarely. A byte of it saves as much room as one of any
    /// other, and it is the latest to be fetched again.
    fn next_to_evict(&mut self) -> Option<Action> {
        if self.policy.mirror_bytes_max.is_none_or(|max| self.mirror_bytes <= max) || self.evicting > 0 {
            return None;
        }
        let rests = |repository: &Repository| repository.stage == Stage::Resting && repository.state.mirror_bytes > 0;
        let resting = (0..).zip(&self.repositories).filter(|(_, repository)| rests(repository));
        let id: Id = resting.max_by_key(|(id, Repository { state, .. })| (state.interval, state.mirror_bytes, *id))?.0;
        let repository = &mut self.repositories[id as usize];
        self.resting.remove(&(repository.state.due, id));
        repository.stage = Stage::Evicting;
        self.evicting += 1;
        Some(Action::Evict(id))
    }

    /// One at a time, of those that are mined up to their tips.
    fn next_to_tidy(&mut self) -> Option<Action> {
        if self.tidying > 0 {
            return None;
        }
        let rests = |id: &&Id| {
            let Repository { stage, state, .. } = &self.repositories[**id as usize];
            *stage == Stage::Resting && state.tips.is_some() && state.fault.is_none()
        };
        let id = *self.untidy.iter().find(rests)?;
        let repository = &mut self.repositories[id as usize];
        self.resting.remove(&(repository.state.due, id));
        repository.stage = Stage::Tidying;
        self.tidying += 1;
        Some(Action::Tidy(id))
    }

    /// Large repositories leave one place to the small ones; a single place goes to who came first.
    fn next_to_mine(&mut self) -> Option<Action> {
        let places = self.policy.mines.max(1);
        if self.mining >= places {
            return None;
        }
        let is_first = match (self.large.front(), self.small.front()) {
            (Some(large), Some(small)) => places > 1 || large < small,
            (large, _) => large.is_some(),
        };
        let is_large = is_first && self.mining_large < (places - 1).max(1);
        let (_, id) = if is_large { self.large.pop_front() } else { self.small.pop_front() }?;
        self.mining += 1;
        self.mining_large += usize::from(is_large);
        self.repositories[id as usize].stage = Stage::Mining { is_large };
        Some(Action::Mine(id))
    }

    /// Servers take turns. Fetches, which can be long, leave a connection to looks.
    fn next_to_connect(&mut self, now: u64) -> Option<Action> {
        let connections = self.policy.connections.max(1);
        if self.connections >= connections {
            return None;
        }
        let may_fetch = self.fetching < (connections - 1).max(1);
        let behind = (std::ops::Bound::Excluded(self.turn.clone()), std::ops::Bound::Unbounded);
        let mut hosts = self.hosts.range(behind).chain(self.hosts.range(..=self.turn.clone()));
        let per_host = self.policy.connections_per_host.max(1);
        let (name, is_fetch, turn) = hosts.find_map(|(name, host)| {
            let (is_fetch, turn) = host.next(now, if name.is_empty() { connections } else { per_host }, may_fetch)?;
            Some((name.clone(), is_fetch, turn))
        })?;
        let host = self.hosts.get_mut(&name)?;
        self.turn = name;
        host.asked();
        let id = turn.2;
        self.connections += 1;
        if is_fetch {
            host.fetches.remove(&turn);
            host.fetching += 1;
            self.fetching += 1;
            self.repositories[id as usize].stage = Stage::Fetching;
            Some(Action::Fetch(id))
        } else {
            host.looks.remove(&turn);
            host.looking += 1;
            self.repositories[id as usize].stage = Stage::Looking;
            Some(Action::Look(id))
        }
    }

    fn host_answered(&mut self, id: Id) {
        let name = self.repositories[id as usize].place.host_name();
        self.hosts.entry(name).or_insert_with(Host::new).answered();
    }

    fn host_failed(&mut self, now: u64, id: Id, retry_after: Option<u64>) {
        let name = self.repositories[id as usize].place.host_name();
        self.hosts.entry(name).or_insert_with(Host::new).failed(now, id, retry_after);
    }
}

#[cfg(test)]
mod tests;
