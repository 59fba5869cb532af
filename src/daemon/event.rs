//! The words of the schedule: what happened, what is to be done, what is remembered, and what can go wrong.

use serde::{Deserialize, Serialize};

/// Position of a repository in a schedule.
pub type Id = u32;

/// What the schedule goes by. All times are in seconds.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Shortest time between two looks at a repository.
    pub interval_min: u64,
    /// Longest time between two looks.
    pub interval_max: u64,
    /// Looks and fetches at once.
    pub connections: usize,
    /// Of one server.
    pub connections_per_host: usize,
    /// Repositories that are mined at once.
    pub mines: usize,
    /// What becomes of the rows of a repository that is gone or has no commits any more.
    pub gone: Rows,
    /// Of one that the server has elsewhere now.
    pub moved: Rows,
    /// Of one whose licence was permissive and is not any more.
    pub relicensed: Rows,
    /// Looks in a row that have to find it so.
    pub gone_after: u32,
    /// Most bytes that mirrors may take together.
    pub mirror_bytes_max: Option<u64>,
}

/// What becomes of the rows of a repository that is not any more what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Rows {
    /// They stay.
    Keep,
    /// They go.
    Drop,
}

/// What went wrong with a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// There is no such repository any more, or not for us: 404, 410, 451.
    Gone,
    /// It had commits and has none now.
    Emptied,
    /// The server has it under another name, and its rows are not to stay then.
    Moved,
    /// Its licence was permissive and is not any more, and its rows are not to stay then.
    Relicensed,
    /// The server wants other credentials: 401, 403.
    Refused,
    /// The server wants to be asked less often: 429, 403 with a limit.
    RateLimited,
    /// The server can't be reached, is out of order (5xx), or breaks connections off.
    Unreachable,
    /// The server stopped sending.
    Stalled,
    /// What the server says is no git, or leads elsewhere.
    Garbage,
    /// It leads to an address that not everybody reaches, and those are not to be asked.
    PrivateAddress,
    /// It is larger or slower than the limits allow.
    Limit,
    /// This machine: disk, memory.
    Local,
    /// It can't be mined.
    Unminable,
}

impl Policy {
    /// What becomes of the rows where such a thing happened to their repository; they stay where it is no end.
    pub fn rows(&self, fault: Fault) -> Rows {
        match fault {
            Fault::Gone | Fault::Emptied => self.gone,
            Fault::Moved => self.moved,
            Fault::Relicensed => self.relicensed,
            Fault::Refused
            | Fault::RateLimited
            | Fault::Unreachable
            | Fault::Stalled
            | Fault::Garbage
            | Fault::PrivateAddress
            | Fault::Limit
            | Fault::Local
            | Fault::Unminable => Rows::Keep,
        }
    }
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 13] = [
        Fault::Gone,
        Fault::Emptied,
        Fault::Moved,
        Fault::Relicensed,
        Fault::Refused,
        Fault::RateLimited,
        Fault::Unreachable,
        Fault::Stalled,
        Fault::Garbage,
        Fault::PrivateAddress,
        Fault::Limit,
        Fault::Local,
        Fault::Unminable,
    ];

    /// Its name in JSON and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Fault::Gone => "gone",
            Fault::Emptied => "emptied",
            Fault::Moved => "moved",
            Fault::Relicensed => "relicensed",
            Fault::Refused => "refused",
            Fault::RateLimited => "rate_limited",
            Fault::Unreachable => "unreachable",
            Fault::Stalled => "stalled",
            Fault::Garbage => "garbage",
            Fault::PrivateAddress => "private_address",
            Fault::Limit => "limit",
            Fault::Local => "local",
            Fault::Unminable => "unminable",
        }
    }

    /// Whether the server is the likely cause, so that its other repositories fare no better.
    pub fn is_of_host(self) -> bool {
        matches!(self, Fault::RateLimited | Fault::Unreachable | Fault::Stalled)
    }

    /// Whether there is nothing left that rows could be of, or that they are to be of.
    pub fn is_end(self) -> bool {
        matches!(self, Fault::Gone | Fault::Emptied | Fault::Moved | Fault::Relicensed)
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Somebody says that there is something new.
    Pushed(Id),
    /// Somebody wants it mined from the start.
    Again(Id),
    /// A look was taken. Without a digest of the tips it can't be told whether there is something new.
    Looked {
        /// The repository.
        id: Id,
        /// Digest of the tips.
        tips: Option<String>,
        /// Where the server says that it is now.
        moved_to: Option<String>,
    },
    /// The mirror is up to date.
    Fetched {
        /// The repository.
        id: Id,
        /// Digest of its tips.
        tips: String,
        /// Size of the mirror.
        bytes: u64,
    },
    /// All that is new is in the store.
    Mined {
        /// The repository.
        id: Id,
        /// Digest of the tips up to which it is in the store.
        tips: String,
        /// Digest of the settings, rules and tables with which it is.
        settings: String,
        /// Whether there was something new.
        is_new: bool,
        /// Whether it took the place of earlier rows.
        is_anew: bool,
        /// Whether it was mined from the start since somebody wanted that.
        is_again: bool,
        /// How long it took.
        milliseconds: u64,
        /// The licence at its tip before, and now.
        licenses: Licenses,
    },
    /// The server has it elsewhere, and such a repository is not to be mined.
    Moved {
        /// The repository.
        id: Id,
        /// Where.
        to: String,
    },
    /// Its licence was permissive and is not any more, and such a repository is not to be mined.
    Relicensed {
        /// The repository.
        id: Id,
        /// Digest of the tips that were found so.
        tips: String,
        /// The licence at its tip before, and now.
        licenses: Licenses,
    },
    /// Something went wrong.
    Failed {
        /// The repository.
        id: Id,
        /// What kind of thing.
        fault: Fault,
        /// The rest, for people.
        reason: String,
        /// How many seconds the server wants to be left alone.
        retry_after: Option<u64>,
    },
    /// Its rows are gone.
    Dropped(Id),
    /// Its mirror is gone.
    Evicted(Id),
    /// Its mirror was tidied, or that was tried; it is again when it has doubled once more.
    Tidied {
        /// The repository.
        id: Id,
        /// Size of the mirror.
        bytes: u64,
    },
    /// It is time to export the store.
    PublishDue,
    /// That came to its end.
    Published {
        /// Whether there is an export now.
        is_done: bool,
    },
    /// What was begun was given up, since the program is to stop.
    GivenUp(Id),
    /// Nothing more is to be begun.
    Stop,
}

/// Licences of a repository as a whole, as expressions of SPDX; [`NO_LICENSE`] where none is known, and nothing where it can't
/// be told: several branches are mined, or what says it can't be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Licenses {
    /// Up to what is in the store.
    pub before: Option<String>,
    /// Now.
    pub now: Option<String>,
}

/// SPDX's word for no licence; here also for one that is not known.
pub const NO_LICENSE: &str = "NONE";

impl Licenses {
    /// From which to which it was changed.
    pub fn change(&self) -> Option<(&str, &str)> {
        let (before, now) = (self.before.as_deref()?, self.now.as_deref()?);
        (before != now).then_some((before, now))
    }
}

/// What to do; each is answered by an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Look at the tips: [`Event::Looked`].
    Look(Id),
    /// Bring the mirror up to date: [`Event::Fetched`].
    Fetch(Id),
    /// Mine: [`Event::Mined`].
    Mine(Id),
    /// Remove the rows: [`Event::Dropped`].
    Drop(Id),
    /// Remove the mirror: [`Event::Evicted`].
    Evict(Id),
    /// Remove from the mirror what nothing reaches, and join the rest: [`Event::Tidied`].
    Tidy(Id),
    /// Export the store: [`Event::Published`].
    Publish,
}

/// What is remembered of a repository from one start of the program to the next.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Digest of the tips up to which it is mined.
    pub tips: Option<String>,
    /// Digest of the settings, rules and tables with which it is mined.
    pub settings: Option<String>,
    /// Digest of those with which it is to be.
    pub wanted: Option<String>,
    /// Whether somebody wants it mined from the start.
    pub again: bool,
    /// Time between looks, before the jitter.
    pub interval: u64,
    /// When the next look is due.
    pub due: u64,
    /// When it was last looked at.
    pub looked: Option<u64>,
    /// When a look last saw nothing but what is in the store by now.
    pub current: Option<u64>,
    /// When something new was last found.
    pub changed: Option<u64>,
    /// The first push that is not in the store yet.
    pub pushed: Option<u64>,
    /// How long the last news took from the push to its rows, or, where nobody told of a push, at most.
    pub lag: Option<u64>,
    /// How long it was last mined.
    pub milliseconds: u64,
    /// Size of its mirror; 0 where there is none.
    pub mirror_bytes: u64,
    /// The size that it had when it was cloned or last tidied; 0 where that is not known.
    pub tidy_bytes: u64,
    /// Failures in a row.
    pub failures: u32,
    /// The last of them.
    pub fault: Option<Fault>,
    /// What that one said.
    pub reason: Option<String>,
    /// Whether its rows were removed since it is gone.
    pub dropped: bool,
    /// Where the server said last that it is, if that is another place than the one that was asked for.
    pub moved_to: Option<String>,
    /// The licence at the tip up to which it is mined, or was before its rows were removed; `NONE` where none is known.
    pub license: Option<String>,
    /// The last change of that.
    pub relicensed: Option<Relicensed>,
}

/// A change of a repository's licence.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Relicensed {
    /// What it was.
    pub from: String,
    /// What it is since then.
    pub to: String,
    /// When that was found.
    pub at: u64,
    /// Digest of the tips that are not mined since they are under it; none where they are.
    pub tips: Option<String>,
}

impl State {
    /// What is to be said of it in one word.
    pub fn condition(&self) -> &'static str {
        match self.fault {
            Some(Fault::Gone) if self.dropped => "dropped",
            Some(fault) => fault.as_str(),
            None if self.tips.is_none() => "new",
            None => "current",
        }
    }
}
