//! Whose turn it is: for a connection, to be mined, and to lose rows or mirrors.

use super::{
    super::{
        event::{Action, Id},
        repository::{Repository, Stage},
    },
    Schedule,
};

impl Schedule {
    pub(super) fn next_to_drop(&mut self) -> Option<Action> {
        let id = self.condemned.pop_front()?;
        self.dropping += 1;
        self.repositories[id as usize].stage = Stage::Dropping;
        Some(Action::Drop(id))
    }

    /// Where mirrors take too much room, the one goes that changes most rarely. A byte of it saves as much room as one of any
    /// other, and it is the latest to be fetched again.
    pub(super) fn next_to_evict(&mut self) -> Option<Action> {
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
    pub(super) fn next_to_tidy(&mut self) -> Option<Action> {
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
    pub(super) fn next_to_mine(&mut self) -> Option<Action> {
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
    pub(super) fn next_to_connect(&mut self, now: u64) -> Option<Action> {
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
}
