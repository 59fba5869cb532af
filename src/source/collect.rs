//! Discovery as a whole: asks GitHub and reads GH Archive, asks again for what a demand needs to know, and gives a list
//! with its account. A query that fails adds nothing, and never stops the others.

use super::{
    archive::{self, Place, Pushes, Tally},
    discovery::{self, Account, Demand, Forks, Found, Reason, Repository, Verdict},
    github::{self, Client, Clock, Query, Requests, Shortfall},
};

/// So many repositories in a row that can't be looked up end it: the server has other troubles.
const FAILURES_MAX: usize = 3;

/// What to find.
pub struct Plan {
    /// What to ask GitHub for.
    pub queries: Vec<Query>,
    /// What to read of GH Archive.
    pub places: Vec<Place>,
    /// Whether to ask GitHub for each repository that GH Archive names.
    pub look_up: bool,
    /// How to ask.
    pub github: github::Options,
    /// What to list.
    pub demand: Demand,
}

/// What a query gave.
pub struct Asked {
    /// The query.
    pub query: Query,
    /// Repositories.
    pub found: u64,
    /// What GitHub has and did not give.
    pub shortfall: Shortfall,
}

/// What failed, as people call it, and why.
pub struct Failure {
    /// A query, a file or a repository.
    pub what: String,
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    pub hint: Option<&'static str>,
}

/// What was found.
#[derive(Default)]
pub struct Collected {
    /// The repositories, in the order of a list.
    pub list: Vec<Repository>,
    /// What became of all.
    pub account: Account,
    /// What each query that did not fail gave.
    pub asked: Vec<Asked>,
    /// What was in each file.
    pub read: Vec<(Place, Tally)>,
    /// What failed.
    pub failures: Vec<Failure>,
    /// Forks in the list whose root is not, or not known; only counted where forks are attached.
    pub forks_without_root: usize,
    /// Why answers could not be kept, if they could not.
    pub cache_failure: Option<String>,
    /// What it took.
    pub requests: Requests,
}

/// Why there is no list at all.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("interrupted")]
    Interrupted,
    #[error(transparent)]
    Github(github::Error),
    #[error(transparent)]
    Archive(archive::Error),
}

impl Error {
    /// Whether what was asked for can't be meant.
    pub fn is_usage(&self) -> bool {
        match self {
            Error::Github(error) => matches!(error, github::Error::BaseUrl { .. } | github::Error::Name { .. }),
            Error::Archive(error) => matches!(error, archive::Error::Hours { .. } | archive::Error::Base { .. }),
            Error::Interrupted => false,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Error::Github(error) => error.hint(),
            Error::Archive(_) | Error::Interrupted => None,
        }
    }
}

impl From<github::Error> for Error {
    fn from(error: github::Error) -> Self {
        match error {
            github::Error::Interrupted => Error::Interrupted,
            other => Error::Github(other),
        }
    }
}

impl From<archive::Error> for Error {
    fn from(error: archive::Error) -> Self {
        match error {
            archive::Error::Interrupted => Error::Interrupted,
            other => Error::Archive(other),
        }
    }
}

/// Finds what the plan says.
///
/// # Errors
/// The plan can't be carried out, or nobody waits for it any more.
pub fn collect(plan: &Plan, clock: Clock<'_>) -> Result<Collected, Error> {
    let mut client = Client::new(&plan.github, clock)?;
    let mut collected = Collected::default();
    let mut found = Found::new();
    ask(&mut client, &plan.queries, &mut found, &mut collected)?;
    read(plan, clock, &mut found, &mut collected)?;
    look_up(&mut client, plan, &mut found, &mut collected)?;
    collected.list = discovery::select(found, &plan.demand, &mut collected.account);
    if plan.demand.forks == Forks::Attach {
        collected.forks_without_root = discovery::without_root(&collected.list);
    }
    collected.requests = client.requests;
    collected.cache_failure = client.cache_failure;
    Ok(collected)
}

fn ask(client: &mut Client<'_>, queries: &[Query], found: &mut Found, collected: &mut Collected) -> Result<(), Error> {
    let mut stopped = false;
    for query in queries {
        if stopped {
            collected.fail(query.to_string(), "not asked, for the same reason".to_owned(), None);
            continue;
        }
        let given = match client.list(query) {
            Ok(given) => given,
            Err(error @ (github::Error::Interrupted | github::Error::Name { .. })) => return Err(error.into()),
            Err(error) => {
                stopped = error.is_general();
                collected.fail(query.to_string(), error.to_string(), error.hint());
                continue;
            }
        };
        for _ in 0..given.unreadable {
            collected.account.found += 1;
            collected.account.leave_out(Reason::Unreadable);
        }
        let count = given.repositories.len() as u64 + given.unreadable;
        collected.asked.push(Asked { query: query.clone(), found: count, shortfall: given.shortfall });
        for repository in given.repositories {
            discovery::add(found, &mut collected.account, repository);
        }
    }
    Ok(())
}

fn read(plan: &Plan, clock: Clock<'_>, found: &mut Found, collected: &mut Collected) -> Result<(), Error> {
    if plan.places.is_empty() {
        return Ok(());
    }
    let reader = archive::Reader::new(clock, plan.github.retries, plan.github.silent_seconds_max)?;
    let mut all = Pushes::default();
    for place in &plan.places {
        match reader.read(place) {
            Ok((pushes, tally)) => {
                if let Some(reason) = &tally.cut {
                    let reason =
                        format!("it ends early, behind line {}, and what is there counts: {reason}", tally.lines);
                    collected.fail(place.to_string(), reason, Some("get the file again"));
                }
                all.merge(pushes);
                collected.read.push((place.clone(), tally));
            }
            Err(archive::Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) => collected.fail(place.to_string(), error.to_string(), None),
        }
    }
    for repository in all.into_repositories() {
        discovery::add(found, &mut collected.account, repository);
    }
    Ok(())
}

/// Asks for what GitHub has to say of single repositories, where it is wanted and what is known does not speak against
/// them already.
fn look_up(client: &mut Client<'_>, plan: &Plan, found: &mut Found, collected: &mut Collected) -> Result<(), Error> {
    let is_wanted = |one: &Repository| {
        let attach = plan.demand.forks == Forks::Attach && one.fork == Some(true) && one.root.is_none();
        let describe = plan.look_up && !one.is_described;
        (attach || describe) && !matches!(plan.demand.judge(one), Verdict::Drop(_))
    };
    let keys: Vec<_> = found.iter().filter(|(_, one)| is_wanted(one)).map(|(key, _)| key.clone()).collect();
    let (mut stopped, mut failures) = (false, 0);
    for key in keys {
        let Some(one) = found.get_mut(&key) else { continue };
        let reason = match stopped {
            true => Reason::NotAsked,
            false => match client.describe(&one.name) {
                Ok(described) if described.id == one.id => {
                    failures = 0;
                    one.complete(described);
                    continue;
                }
                // Its name belongs to another repository by now.
                Ok(_) | Err(github::Error::NotFound { .. }) => Reason::Gone,
                Err(github::Error::Blocked { .. }) => Reason::Blocked,
                Err(github::Error::Interrupted) => return Err(Error::Interrupted),
                Err(error) => {
                    failures += 1;
                    stopped = error.is_general() || failures == FAILURES_MAX;
                    let what = one.name.clone();
                    collected.fail(what, error.to_string(), error.hint());
                    Reason::NotAsked
                }
            },
        };
        collected.account.leave_out(reason);
        found.remove(&key);
    }
    Ok(())
}

impl Collected {
    fn fail(&mut self, what: String, reason: String, hint: Option<&'static str>) {
        self.failures.push(Failure { what, reason, hint });
    }
}
