//! What follows from what was found, done or gone wrong: where a repository goes next, and when.

use super::{
    super::{
        event::{Fault, Id, Licenses, Policy, Relicensed, Rows},
        host::{Host, PAUSE_MAX},
        repository::Stage,
    },
    Schedule,
};

impl Schedule {
    pub(super) fn pushed(&mut self, now: u64, id: Id) {
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

    pub(super) fn looked(&mut self, now: u64, id: Id, tips: Option<String>) {
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
    pub(super) fn licensed(&mut self, now: u64, id: Id, licenses: Licenses, refused: Option<String>) {
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

    pub(super) fn failed_for_license(&mut self, now: u64, id: Id) {
        let Relicensed { from, to, .. } = self.state(id).relicensed.clone().unwrap_or_default();
        self.failed(now, id, Fault::Relicensed, format!("its licence was {from} and is {to}"), None);
    }

    pub(super) fn fetched(&mut self, now: u64, id: Id, tips: String, bytes: u64) {
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

    pub(super) fn mined(&mut self, now: u64, id: Id, is_new: bool) {
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

    pub(super) fn unchanged(&mut self, now: u64, id: Id) {
        let max = self.policy.interval_max;
        let state = &mut self.repositories[id as usize].state;
        state.interval = (state.interval + state.interval / 4 + 1).min(max);
        self.succeeded(now, id);
    }

    pub(super) fn succeeded(&mut self, now: u64, id: Id) {
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

    pub(super) fn failed(&mut self, now: u64, id: Id, fault: Fault, reason: String, retry_after: Option<u64>) {
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

    pub(super) fn dropped(&mut self, now: u64, id: Id) {
        self.leave(id);
        self.size_of_mirror(id, 0);
        let max = self.policy.interval_max;
        let repository = &mut self.repositories[id as usize];
        let state = &mut repository.state;
        (state.dropped, state.tips, state.settings, state.changed) = (true, None, None, Some(now));
        let due = now.saturating_add(repository.jittered(now, max));
        self.rest(id, due);
    }
}
