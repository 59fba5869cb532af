//! One repository in a schedule: where it is on its way, and what is known of it.

use super::event::State;

/// So much more a mirror has to have: below that there is nothing to gain.
const TIDY_BYTES: u64 = 256 << 10;

/// Where a repository is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing to do until it is due.
    Resting,
    /// Waits until the root that it is attached to was mined for the first time, or can't be.
    Behind,
    /// Waits for a connection, for a look or a fetch.
    Ready {
        /// Whether for a fetch.
        is_fetch: bool,
    },
    /// Its tips are being looked at.
    Looking,
    /// Its mirror is being brought up to date.
    Fetching,
    /// Waits for a place to be mined in.
    Fetched {
        /// Whether it is to leave a place to others.
        is_large: bool,
    },
    /// It is being mined.
    Mining {
        /// Whether it is to leave a place to others.
        is_large: bool,
    },
    /// Waits for its rows to be removed.
    Condemned,
    /// They are being removed.
    Dropping,
    /// Its mirror is being removed.
    Evicting,
    /// It is being tidied.
    Tidying,
    /// Is no source any more.
    Retired,
}

/// Where a repository is, as far as the schedule is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What tells it apart from all others.
    pub identity: String,
    /// The server; none for a repository on this machine, which needs no fetch.
    pub host: Option<String>,
    /// Digest of the settings, rules and tables that it is to be mined with.
    pub settings: String,
    /// The identity of the repository that it is attached to.
    pub root: Option<String>,
}

/// A repository in a schedule.
pub struct Repository {
    /// Where it is.
    pub place: Place,
    /// What its jitter is drawn from.
    pub seed: u64,
    /// What is remembered of it.
    pub state: State,
    /// Where it is on its way.
    pub stage: Stage,
    /// The tips that were seen last.
    pub seen: Option<String>,
    /// When it was first pushed to since that began which is under way.
    pub pushed_again: Option<u64>,
    /// Whether its root was begun anew while it was mined.
    pub is_outdated: bool,
}

impl Stage {
    /// What is being done, in a few words.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Resting => "resting",
            Stage::Behind => "waiting for its root",
            Stage::Ready { is_fetch: false } => "waiting for a look",
            Stage::Ready { is_fetch: true } => "waiting for a fetch",
            Stage::Looking => "looking",
            Stage::Fetching => "fetching",
            Stage::Fetched { .. } => "waiting to be mined",
            Stage::Mining { .. } => "mining",
            Stage::Condemned | Stage::Dropping => "dropping",
            Stage::Evicting => "evicting",
            Stage::Tidying => "tidying",
            Stage::Retired => "retired",
        }
    }

    /// All that [`Stage::as_str`] says of sources.
    pub const WORDS: [&str; 11] = [
        "resting",
        "waiting for its root",
        "waiting for a look",
        "waiting for a fetch",
        "looking",
        "fetching",
        "waiting to be mined",
        "mining",
        "dropping",
        "evicting",
        "tidying",
    ];

    /// Whether it waits for something: for a connection, a server that is left alone, or a place to be mined in.
    pub fn waits(self) -> bool {
        matches!(self, Stage::Behind | Stage::Ready { .. } | Stage::Fetched { .. } | Stage::Condemned)
    }
}

impl Place {
    /// The name of its server in the schedule; this machine's is empty.
    pub fn host_name(&self) -> String {
        self.host.clone().unwrap_or_default()
    }
}

impl Repository {
    /// Whether the tips that were seen are those up to which it is mined as it is to be.
    pub fn is_mined(&self) -> bool {
        !self.state.again && self.seen == self.state.tips && self.state.settings.as_ref() == Some(&self.place.settings)
    }

    /// Whether its mirror has doubled since it was tidy.
    pub fn is_untidy(&self) -> bool {
        self.state.mirror_bytes > self.state.tidy_bytes.saturating_mul(2).saturating_add(TIDY_BYTES)
    }

    /// Whether the tips that were seen are those that are not mined for their licence.
    pub fn is_refused(&self) -> bool {
        let refused = self.state.relicensed.as_ref().and_then(|relicensed| relicensed.tips.as_ref());
        self.seen.is_some() && self.seen.as_ref() == refused
    }

    /// `interval`, less or more by up to a fifth: what began together must not stay together.
    pub fn jittered(&self, now: u64, interval: u64) -> u64 {
        let hash = blake3::hash(&[self.seed.to_le_bytes(), now.to_le_bytes()].concat());
        let part = u64::from(u16::from_le_bytes([hash.as_bytes()[0], hash.as_bytes()[1]]));
        let fifth = interval / 5;
        interval - fifth + (2 * fifth).saturating_mul(part) / u64::from(u16::MAX)
    }
}
