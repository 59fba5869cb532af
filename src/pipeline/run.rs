//! A run over many repositories: mirrors are fetched ahead while others are mined, one failure never stops the rest.

use std::{
    collections::HashSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{
    mine::{self, Progress, Report, mine_repository},
    recipe::Settings,
};
use crate::{
    git::{
        mirror::{self, ErrorKind, Request, redact_url},
        supervise::{self, Limits},
    },
    source::{Location, RepoSpec, url::mirror_path},
    store::{
        self, RepositoryId, Store,
        index::{Index, SourceState},
    },
};

/// Most repositories that are mined at once. Each has plan and caches in memory, and more do not make it faster.
const REPOSITORIES_AT_ONCE_MAX: usize = 8;

/// How to run, as far as it doesn't decide what the rows are.
#[derive(Debug)]
pub struct Options {
    /// Threads that mine, over all repositories.
    pub threads: usize,
    /// Memory for histories and for what is remembered of objects, over all repositories, in bytes.
    pub memory: u64,
    /// Size in bytes after which a segment is sealed.
    pub segment_bytes_max: u64,
    /// The store whose rows a dry run takes as mined.
    pub dry_run: Option<Store>,
    /// Whether to write down what rules dropped.
    pub ledger: bool,
    /// Where mirrors are kept and how they are fetched.
    pub mirrors: Mirrors,
}

/// How mirrors are fetched.
#[derive(Clone, Debug)]
pub struct Mirrors {
    /// The directory that holds them.
    pub directory: PathBuf,
    /// Whether a mirror is removed as soon as it is mined.
    pub discard: bool,
    /// Fetches at once.
    pub fetches: usize,
    /// What one fetch may take.
    pub limits: Limits,
    /// This program, which runs itself with `mirror-child` for every fetch.
    pub program: PathBuf,
    /// Whether only addresses may be asked that everybody reaches.
    pub public_only: bool,
}

impl Mirrors {
    /// Where the mirror of `spec` is, or would be.
    pub fn of(&self, spec: &RepoSpec) -> PathBuf {
        self.directory.join(mirror_path(&spec.identity))
    }

    /// Where the repository is, or its mirror would be, that `spec` is attached to.
    pub fn root_of(&self, spec: &RepoSpec) -> Option<PathBuf> {
        let root = spec.root()?;
        Some(if root.starts_with('/') { PathBuf::from(root) } else { self.directory.join(mirror_path(&root)) })
    }
}

/// A store that is being written, its index, and the number that the index gave to the run.
pub struct Target<'a> {
    /// The store.
    pub store: &'a Store,
    /// Its index.
    pub index: &'a Mutex<Index>,
    /// The run.
    pub run: i64,
}

/// Why a repository failed, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether it took more memory than its share.
    pub needs_memory: bool,
}

impl Failure {
    /// What `error` says, with what to do about it.
    pub fn new(error: &dyn std::error::Error, hint: Option<String>) -> Self {
        Failure { reason: error.to_string(), hint, needs_memory: false }
    }
}

/// What happens to a source.
pub enum Event<'e> {
    /// Its mirror is being fetched; so many bytes are new on disk.
    Fetching(u64),
    /// Its mirror is up to date.
    Fetched(mirror::Outcome),
    /// It is being mined.
    Mining(Progress),
    /// It is done.
    Finished(&'e Result<Report, Failure>),
}

/// Mines `sources`, into `target` or just to count: forks that are attached to one of them behind all others, since they leave
/// out what their root is mined up to. `settings` gives the settings of each, `observe` hears of events (from any thread) with
/// the position of the source. An outcome is `None` where an interruption came first.
pub fn run(
    target: Option<&Target<'_>>,
    sources: &[RepoSpec],
    settings: &(dyn Fn(&RepoSpec) -> Settings + Sync),
    options: &Options,
    interrupt: &AtomicBool,
    observe: &(dyn Fn(usize, Event<'_>) + Sync),
) -> Vec<Option<Result<Report, Failure>>> {
    if sources.iter().any(|source| matches!(source.location, Location::Url(_))) {
        mirror::clean_up_all(&options.mirrors.directory);
    }
    let outcomes = Mutex::new(vec![None; sources.len()]);
    let identities: HashSet<&str> = sources.iter().map(|source| source.identity.as_str()).collect();
    let (behind, first): (Vec<usize>, Vec<usize>) = (0..sources.len())
        .partition(|&number| sources[number].root().is_some_and(|root| identities.contains(root.as_str())));
    for numbers in [first, behind] {
        let unfinished = AtomicUsize::new(numbers.len());
        let (remote, mut local): (Vec<usize>, Vec<usize>) =
            numbers.into_iter().partition(|&number| matches!(sources[number].location, Location::Url(_)));
        // The largest first, so that the last ones leave no thread without work for long.
        local.sort_by_cached_key(|&number| std::cmp::Reverse(pack_bytes(&sources[number].location)));
        let (remote, local) = (Queue::new(remote), Queue::new(local));
        let run = Run {
            target,
            sources,
            settings,
            options,
            interrupt,
            observe,
            outcomes: &outcomes,
            remote,
            local,
            unfinished,
            large: Mutex::default(),
        };
        run.all();
    }
    outcomes.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl Run<'_> {
    fn all(&self) {
        // A mirror is fetched ahead of its mining only as far as the channel reaches: with --discard-mirrors that bounds
        // the disk that mirrors take.
        let fetchers = self.options.mirrors.fetches.max(1).min(self.remote.numbers.len());
        let (send, receive) = bounded(1);
        thread::scope(|scope| {
            for _ in 0..fetchers {
                let send = send.clone();
                scope.spawn(|| self.fetch_all(send));
            }
            drop(send);
            for _ in 0..self.repositories_at_once() {
                let receive = receive.clone();
                scope.spawn(|| self.mine_all(receive));
            }
            drop(receive);
        });
        self.mine_large();
    }
}

/// The size of the packs of a repository on this machine; 0 where that can't be told.
fn pack_bytes(location: &Location) -> u64 {
    let Location::Path(path) = location else { return 0 };
    let packs = ["objects/pack", ".git/objects/pack"].iter().filter_map(|pack| fs::read_dir(path.join(pack)).ok());
    let files = packs.flatten().flatten().filter(|file| file.path().extension().is_some_and(|end| end == "pack"));
    files.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}

struct Queue {
    numbers: Vec<usize>,
    next: AtomicUsize,
}

impl Queue {
    fn new(numbers: Vec<usize>) -> Self {
        Queue { numbers, next: AtomicUsize::new(0) }
    }

    fn pop(&self) -> Option<usize> {
        self.numbers.get(self.next.fetch_add(1, Ordering::Relaxed)).copied()
    }
}

struct Run<'a> {
    target: Option<&'a Target<'a>>,
    sources: &'a [RepoSpec],
    settings: &'a (dyn Fn(&RepoSpec) -> Settings + Sync),
    options: &'a Options,
    interrupt: &'a AtomicBool,
    observe: &'a (dyn Fn(usize, Event<'_>) + Sync),
    outcomes: &'a Mutex<Vec<Option<Result<Report, Failure>>>>,
    remote: Queue,
    local: Queue,
    unfinished: AtomicUsize,
    /// What took more than its share of memory beside others.
    large: Mutex<Vec<(usize, PathBuf)>>,
}

impl Run<'_> {
    fn repositories_at_once(&self) -> usize {
        let sources = self.remote.numbers.len() + self.local.numbers.len();
        self.options.threads.min(sources).clamp(1, REPOSITORIES_AT_ONCE_MAX)
    }

    fn interrupted(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed)
    }

    fn fetch_all(&self, ready: Sender<(usize, PathBuf)>) {
        while !self.interrupted() {
            let Some(number) = self.remote.pop() else { return };
            match self.fetch(number) {
                Ok(path) => {
                    if ready.send((number, path)).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => return,
                Err(error) => {
                    let hint = hint(error.kind()).map(str::to_owned);
                    self.finish(number, Err(Failure::new(&error, hint)));
                }
            }
        }
    }

    fn fetch(&self, number: usize) -> Result<PathBuf, mirror::Error> {
        let observe = |event: Event<'_>| (self.observe)(number, event);
        fetch(&self.sources[number], &self.options.mirrors, self.interrupt, &observe)
    }

    fn mine_all(&self, ready: Receiver<(usize, PathBuf)>) {
        while !self.interrupted() {
            // A fetched mirror goes first, so that its fetcher can go on.
            let next = ready.try_recv().ok().or_else(|| self.local.pop().and_then(|number| self.local_path(number)));
            let Some((number, path)) = next.or_else(|| ready.recv().ok()) else { return };
            let at_once = self.repositories_at_once();
            let Some(result) = self.mine(number, &path, at_once) else { return };
            if at_once > 1 && result.as_ref().is_err_and(|failure| failure.needs_memory) {
                self.large.lock().unwrap_or_else(PoisonError::into_inner).push((number, path));
                continue;
            }
            self.finish(number, result);
            self.discard(number, path);
        }
    }

    /// Mines what is too large beside others, one after the other.
    fn mine_large(&self) {
        let mut large = std::mem::take(&mut *self.large.lock().unwrap_or_else(PoisonError::into_inner));
        large.sort_unstable();
        for (number, path) in large {
            if self.interrupted() {
                return;
            }
            let Some(result) = self.mine(number, &path, 1) else { return };
            self.finish(number, result);
            self.discard(number, path);
        }
    }

    /// Removes a mirror, where mirrors are not to be kept.
    fn discard(&self, number: usize, path: PathBuf) {
        if self.options.mirrors.discard && matches!(self.sources[number].location, Location::Url(_)) {
            // What can't be removed is fetched into, not cloned again, by the next run.
            let _kept_at_worst = fs::remove_dir_all(&path);
            let mut lock = path.into_os_string();
            lock.push(".lock");
            let _kept_at_worst = fs::remove_file(lock);
        }
    }

    fn local_path(&self, number: usize) -> Option<(usize, PathBuf)> {
        match &self.sources[number].location {
            Location::Path(path) => Some((number, path.clone())),
            Location::Url(_) => None,
        }
    }

    /// `None` when interrupted. So many are mined at once.
    fn mine(&self, number: usize, path: &Path, at_once: usize) -> Option<Result<Report, Failure>> {
        // The last repositories get the threads that the others no longer use.
        let unfinished = self.unfinished.load(Ordering::Relaxed).max(1);
        let options = mine::Options {
            threads: self.options.threads.div_ceil(at_once.min(unfinished)),
            memory: self.options.memory / at_once as u64,
            segment_bytes_max: self.options.segment_bytes_max,
            dry_run: self.target.is_none(),
            ledger: self.options.ledger,
            root: self.options.mirrors.root_of(&self.sources[number]),
        };
        let store = self.target.map(|target| target.store).or(self.options.dry_run.as_ref());
        let progress = |progress| (self.observe)(number, Event::Mining(progress));
        let spec = &self.sources[number];
        mine(store, spec, path, &(self.settings)(spec), &options, self.interrupt, &progress)
    }

    fn finish(&self, number: usize, result: Result<Report, Failure>) {
        let spec = &self.sources[number];
        let entered = self.target.map_or(Ok(()), |target| enter(target, spec, &(self.settings)(spec), &result));
        let result = match entered {
            Ok(()) => result,
            Err(error) => Err(Failure::new(&error, error.hint())),
        };
        self.unfinished.fetch_sub(1, Ordering::Relaxed);
        (self.observe)(number, Event::Finished(&result));
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)[number] = Some(result);
    }
}

/// Brings the mirror of `spec` up to date, and says where it is; nowhere for a repository on this machine.
///
/// # Errors
/// As [`supervise::fetch`].
pub fn fetch(
    spec: &RepoSpec,
    mirrors: &Mirrors,
    interrupt: &AtomicBool,
    observe: &dyn Fn(Event<'_>),
) -> Result<PathBuf, mirror::Error> {
    let Location::Url(url) = &spec.location else { return Ok(PathBuf::new()) };
    let request = Request {
        url: url.clone(),
        directory: mirrors.of(spec),
        connect_seconds: mirrors.limits.connect_seconds,
        stall_seconds: mirrors.limits.low_speed_seconds,
        public_only: mirrors.public_only,
        borrow: mirrors.root_of(spec),
    };
    observe(Event::Fetching(0));
    let progress = |bytes| observe(Event::Fetching(bytes));
    let outcome = supervise::fetch(&mirrors.program, &request, &mirrors.limits, interrupt, &progress)?;
    observe(Event::Fetched(outcome));
    Ok(request.directory)
}

/// Mines one repository at `path` into `store`, whatever bug it finds: it must not take the others with it. `None` when
/// interrupted.
pub fn mine(
    store: Option<&Store>,
    spec: &RepoSpec,
    path: &Path,
    settings: &Settings,
    options: &mine::Options,
    interrupt: &AtomicBool,
    progress: &(dyn Fn(Progress) + Sync),
) -> Option<Result<Report, Failure>> {
    let mined = catch_unwind(AssertUnwindSafe(|| {
        mine_repository(store, &id(spec), path, settings, options, interrupt, progress)
    }));
    match mined {
        Ok(Ok(report)) => Some(Ok(report)),
        Ok(Err(error)) if error.is_interruption() => None,
        Ok(Err(error)) => {
            let failure = Failure::new(&error, error.hint());
            Some(Err(Failure { needs_memory: error.is_of_memory(), ..failure }))
        }
        Err(_) => {
            let hint = Some("please report it with the message above".into());
            Some(Err(Failure { reason: "a bug in gitlode".into(), hint, needs_memory: false }))
        }
    }
}

/// Who the repository of `spec` is in a store.
pub fn id(spec: &RepoSpec) -> RepositoryId {
    let RepoSpec { identity, name, columns, .. } = spec.clone();
    RepositoryId { identity, name, columns, root: spec.root() }
}

/// Notes in the index of `target` what became of a source that was mined with `settings`.
///
/// # Errors
/// The index can't be written.
pub fn enter(
    target: &Target<'_>,
    spec: &RepoSpec,
    settings: &Settings,
    result: &Result<Report, Failure>,
) -> Result<(), store::Error> {
    let mut index = target.index.lock().unwrap_or_else(PoisonError::into_inner);
    if result.as_ref().is_ok_and(|report| !report.unchanged) {
        index.enter(&target.store.directory(&spec.identity))?;
    }
    let without_secrets = match &spec.location {
        Location::Url(url) => RepoSpec { location: Location::Url(redact_url(url)), ..spec.clone() },
        Location::Path(_) => spec.clone(),
    };
    let state = SourceState {
        identity: spec.identity.clone(),
        spec: serde_json::json!(without_secrets).to_string(),
        rows: result.as_ref().map_or(0, |report| report.rows),
        recipe: serde_json::json!(settings.recipe).to_string(),
        replace: settings.replace && !result.as_ref().is_ok_and(|report| report.has_holes),
        failure: result.as_ref().err().map(|failure| (failure.reason.clone(), failure.hint.clone())),
    };
    index.set_source(target.run, &state)
}

/// What to do about a fetch that failed.
pub fn hint(kind: ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::NotFound => {
            "check the name (owner/name that is no path here is taken for one on github.com); a private repository \
             needs a token, see `gitlode help mine`"
        }
        ErrorKind::Authentication => {
            "set GITLODE_TOKEN for github.com, GITLODE_TOKEN_<HOST> for another host, or a git credential helper; over \
             plain http no password is sent, use https"
        }
        ErrorKind::Unreachable | ErrorKind::Disconnected | ErrorKind::Stalled => {
            "try again later with --retry-failed; --fetch-retries and --fetch-low-speed-seconds set the patience"
        }
        ErrorKind::Limit => "raise --fetch-bytes-max or --fetch-seconds-max, then --retry-failed",
        ErrorKind::Unsupported => "clone it with git and give the path of the clone",
        ErrorKind::Io => "see whether the --mirrors directory can be written and has space",
        ErrorKind::Protocol => "see whether `git ls-remote` reads it; a web page's address is not its repository's",
        ErrorKind::Interrupted | ErrorKind::PrivateAddress => return None,
    })
}
