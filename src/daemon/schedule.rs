//! When each repository is looked at, fetched and mined: a state machine that is told what happened and when, and says
//! what to do next. It reads no clock, rolls no dice and does nothing itself, so tests can live through weeks of it.
//!
//! A repository goes from a **look** at its tips to a **fetch**, if the look found something new, and from there to
//! being **mined**. How often it is looked at follows how often looks find something. What goes wrong makes the pauses
//! longer: those of the repository, and, where the server seems to be the cause, those of all that it serves.

mod forks;
mod outcomes;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::{
    event::{Action, Event, Fault, Id, Policy, State},
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
    /// The time when it was last asked what to do.
    now: u64,
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
            now: 0,
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
        // What was looked at later than now was so by a clock that has gone back since, and what is due then as well.
        if state.due > self.furthest(now) || state.looked.is_some_and(|looked| looked > now) {
            state.due = now;
        }
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
        self.attach(id);
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

    /// Takes note of a clock that went back by so much: every pause stays as long as it was.
    fn turn_back(&mut self, seconds: u64) {
        for (_, id) in std::mem::take(&mut self.resting) {
            let due = &mut self.repositories[id as usize].state.due;
            *due = due.saturating_sub(seconds);
            self.resting.insert((*due, id));
            self.unsaved.insert(id);
        }
        self.hosts.values_mut().for_each(|host| host.turn_back(seconds));
    }

    /// Has a repository mined with other settings from now on, and looked at for that at once.
    pub fn settle(&mut self, now: u64, id: Id, place: Place) {
        let repository = &mut self.repositories[id as usize];
        repository.state.wanted = Some(place.settings.clone());
        self.unsaved.insert(id);
        repository.place.settings = place.settings;
        self.detach(id);
        self.repositories[id as usize].place.root = place.root;
        self.attach(id);
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
            self.detach(id);
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
        if now < self.now {
            self.turn_back(self.now - now);
        }
        self.now = now;
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

    fn host_answered(&mut self, id: Id) {
        let name = self.repositories[id as usize].place.host_name();
        self.hosts.entry(name).or_insert_with(Host::new).answered();
    }

    fn host_failed(&mut self, now: u64, id: Id, retry_after: Option<u64>) {
        let name = self.repositories[id as usize].place.host_name();
        self.hosts.entry(name).or_insert_with(Host::new).failed(now, id, retry_after);
    }
}
