//! One server: who waits for it, how much is asked of it at once, and when it is left alone.

use std::collections::BTreeSet;

use super::event::Id;

/// So many different repositories of a server have to fail in a row before nothing is asked of it for a while: one that
/// is broken, and asked for often, must not take the others with it.
const FAULTY_MAX: usize = 5;
/// The first pause of a server in seconds; it doubles with each further one.
pub const PAUSE: u64 = 30;
/// Its longest pause, whatever the server asks for.
pub const PAUSE_MAX: u64 = 3600;

/// Whether a server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Breaker {
    /// It is.
    Closed,
    /// It is left alone.
    Open { until: u64, times: u32 },
    /// It is asked one thing, to see.
    Trying { times: u32 },
}

/// Whether nobody told of a push, when it was due, and which repository it is.
pub type Turn = (bool, u64, Id);

/// A server.
pub struct Host {
    /// Those that wait for a look: pushed ones first, then the longest due.
    pub looks: BTreeSet<Turn>,
    /// Those that wait for a fetch, likewise.
    pub fetches: BTreeSet<Turn>,
    /// Looks that are taken now.
    pub looking: usize,
    /// Fetches that go on now.
    pub fetching: usize,
    breaker: Breaker,
    /// Those that failed since it last answered.
    faulty: BTreeSet<Id>,
}

impl Host {
    /// One that nothing is asked of.
    pub fn new() -> Self {
        let (looks, fetches, faulty) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        Host { looks, fetches, looking: 0, fetching: 0, breaker: Breaker::Closed, faulty }
    }

    /// Who may have a connection next, and whether for a fetch.
    pub fn next(&self, now: u64, max: usize, may_fetch: bool) -> Option<(bool, Turn)> {
        let is_asked = match self.breaker {
            Breaker::Closed => true,
            // No pause is longer, unless the clock went back.
            Breaker::Open { until, .. } => until <= now || until - now > PAUSE_MAX,
            Breaker::Trying { .. } => self.looking + self.fetching == 0,
        };
        if !is_asked || self.looking + self.fetching >= max {
            return None;
        }
        let may_fetch = may_fetch && self.fetching < (max - 1).max(1);
        let (look, fetch) = (self.first(&self.looks), self.first(&self.fetches).filter(|_| may_fetch));
        match (look, fetch) {
            // What is pushed goes before what is not, be it to be looked at or to be fetched.
            (Some(look), Some(fetch)) if !look.0 && fetch.0 => Some((false, look)),
            (_, Some(fetch)) => Some((true, fetch)),
            (look, None) => look.map(|look| (false, look)),
        }
    }

    /// The first of `turns`; to see whether a server is back, one that did not fail of late is asked for, if there is one.
    fn first(&self, turns: &BTreeSet<Turn>) -> Option<Turn> {
        let is_sound = |turn: &&Turn| self.breaker == Breaker::Closed || !self.faulty.contains(&turn.2);
        turns.iter().find(is_sound).or(turns.first()).copied()
    }

    /// It answered, whatever it said.
    pub fn answered(&mut self) {
        self.breaker = Breaker::Closed;
        self.faulty.clear();
    }

    /// It is likely the cause of a failure with a repository.
    pub fn failed(&mut self, now: u64, id: Id, retry_after: Option<u64>) {
        self.faulty.insert(id);
        let (is_faulty, times) = match self.breaker {
            Breaker::Closed => (self.faulty.len() >= FAULTY_MAX, 0),
            Breaker::Open { times, .. } => (false, times),
            Breaker::Trying { times } => (true, times + 1),
        };
        // One that names a time is taken at its word at once.
        if let Some(seconds) = retry_after {
            let until = now.saturating_add(seconds.clamp(1, PAUSE_MAX));
            self.breaker = Breaker::Open { until, times };
        } else if is_faulty {
            let pause = PAUSE.saturating_mul(1 << times.min(10)).min(PAUSE_MAX);
            self.breaker = Breaker::Open { until: now.saturating_add(pause), times };
        }
    }

    /// Takes note of a clock that went back by so much: no pause gets longer by it.
    pub fn turn_back(&mut self, seconds: u64) {
        if let Breaker::Open { until, .. } = &mut self.breaker {
            *until = until.saturating_sub(seconds);
        }
    }

    /// When it is asked again that is left alone now.
    pub fn is_open_until(&self) -> Option<u64> {
        match self.breaker {
            Breaker::Open { until, .. } => Some(until),
            Breaker::Closed | Breaker::Trying { .. } => None,
        }
    }

    /// A connection to it is about to be used.
    pub fn asked(&mut self) {
        if let Breaker::Open { times, .. } = self.breaker {
            self.breaker = Breaker::Trying { times };
        }
    }
}
