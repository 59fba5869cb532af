//! The driver of the schedule: does what it says in threads, tells it what came of that, and keeps what it remembers in
//! the store's index.
//!
//! A process that is killed loses nothing: rows are in the store as soon as their checkpoint is, and a state that was
//! not written down only means another look.

use std::{
    collections::{HashMap, HashSet},
    net::TcpListener,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, Scope},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use tokio::sync::oneshot;

use super::{
    event::{Action, Event, Fault, Id, Policy, State},
    http::{self, Access},
    metrics::Counters,
    notify::{Beat, Notifier},
    repository::Place,
    schedule::Schedule,
    work::{Work, settings_digest},
};
use crate::{
    git::mirror::{self, look::Looker},
    pipeline::{
        mine::Report,
        recipe::Settings,
        run::{Mirrors, Target},
    },
    source::{BadSource, Location, RepoSpec},
    store::{self, schedule::Remembered},
};

/// How often the flag is looked at that asks to stop.
const POLL: Duration = Duration::from_millis(100);
/// How long a look's answer may take to be complete, beside the time to connect.
const LOOK_SECONDS: u64 = 60;

/// A driver that did not move for so long is stuck.
const STUCK: Duration = Duration::from_secs(60);

/// How to watch.
#[derive(Debug)]
pub struct Options {
    /// When to do what.
    pub policy: Policy,
    /// Whether to look at every repository once, and end.
    pub once: bool,
    /// Threads that mine one repository.
    pub threads: usize,
    /// Size in bytes after which a segment is sealed.
    pub segment_bytes_max: u64,
    /// Batches of a repository after which they are joined.
    pub batches_max: usize,
    /// Whether to write down what rules dropped.
    pub ledger: bool,
    /// Where mirrors are kept and how they are fetched.
    pub mirrors: Mirrors,
    /// Seconds after which the sources are read anew.
    pub reread_seconds: u64,
    /// Seconds between two exports.
    pub publish_seconds: u64,
}

/// Sources as they are now.
pub type Sources = Vec<Result<RepoSpec, BadSource>>;

/// What watching needs from the program around it.
pub struct Means<'a> {
    /// The store.
    pub target: Target<'a>,
    /// Reads the sources.
    pub sources: &'a (dyn Fn() -> Result<Sources, String> + Sync),
    /// Adds to a source what is known of it, or says why it is not to be watched.
    pub complete: &'a Complete<'a>,
    /// The settings of a repository.
    pub settings: &'a (dyn Fn(&RepoSpec) -> Settings + Sync),
    /// Seconds since 1970.
    pub clock: &'a (dyn Fn() -> u64 + Sync),
    /// Set when it is time to stop.
    pub interrupt: &'a AtomicBool,
    /// Hears what happens to which repository.
    pub say: &'a (dyn Fn(&str, &Note<'_>) + Sync),
    /// Hears whether all is well.
    pub notifier: &'a Notifier,
    /// Exports the store, and says in a line what came of it.
    pub publish: Option<&'a Publish<'a>>,
    /// When that was last done.
    pub published: Option<u64>,
}

/// See [`Means::complete`].
pub type Complete<'a> = dyn Fn(RepoSpec) -> Result<Result<RepoSpec, &'static str>, store::Error> + Sync + 'a;

/// See [`Means::publish`].
pub type Publish<'a> = dyn Fn() -> Result<String, String> + Sync + 'a;

/// What the driver is told.
pub enum Message {
    /// Something that was begun came to its end.
    Event(Event),
    /// There may be something new in these repositories; to be answered when that is written down.
    Pushed(Vec<Id>, oneshot::Sender<bool>),
}

/// What is worth a line in a log.
pub enum Note<'n> {
    /// Its mirror was made or brought up to date.
    Fetched,
    /// It was mined.
    Mined(&'n Report),
    /// Something went wrong.
    Failed(Fault, &'n str),
    /// Its rows were removed.
    Dropped,
    /// The store was exported.
    Published(&'n str),
    /// It is not to be watched.
    LeftOut(&'n str),
    /// It is no source.
    Bad(&'n str),
    /// Something of the program's own went wrong.
    Trouble(&'n str),
}

/// What is known while watching, for those who ask.
pub struct Watch {
    schedule: Mutex<Schedule>,
    /// By their position in the schedule.
    specs: Mutex<Vec<RepoSpec>>,
    counters: Mutex<Counters>,
    /// When the driver last moved, in milliseconds since it was made.
    beat: AtomicU64,
    made: Instant,
    is_ready: AtomicBool,
}

/// How it went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Repositories that are watched.
    pub repositories: usize,
    /// Those of them whose last look, fetch or mining failed, and sources that are none.
    pub failed: usize,
    /// Those that nothing was done with, since their servers failed or it was stopped.
    pub waiting: usize,
    /// Sources that are not to be watched.
    pub left_out: usize,
    /// Rows that were mined.
    pub rows: u64,
    /// Whether it was stopped from outside.
    pub interrupted: bool,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch {
    /// Of nothing yet.
    pub fn new(policy: Policy) -> Self {
        Watch {
            schedule: Mutex::new(Schedule::new(policy)),
            specs: Mutex::default(),
            counters: Mutex::default(),
            beat: AtomicU64::new(0),
            made: Instant::now(),
            is_ready: AtomicBool::new(false),
        }
    }

    /// Whether the driver moved of late.
    pub fn is_alive(&self) -> bool {
        let beat = Duration::from_millis(self.beat.load(Ordering::Relaxed));
        self.made.elapsed().saturating_sub(beat) < STUCK
    }

    /// Whether sources are read and nobody wants it to stop.
    pub fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }

    fn moved(&self) {
        self.beat.store(u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The schedule.
    pub fn schedule(&self) -> MutexGuard<'_, Schedule> {
        lock(&self.schedule)
    }

    /// What was counted.
    pub fn counters(&self) -> MutexGuard<'_, Counters> {
        lock(&self.counters)
    }

    /// The source of a repository.
    pub fn spec(&self, id: Id) -> RepoSpec {
        lock(&self.specs)[id as usize].clone()
    }
}

/// Watches until all is done (`once`) or an interruption comes.
///
/// # Errors
/// The store or its index can't be read.
pub fn watch(
    watch: &Arc<Watch>,
    means: &Means<'_>,
    options: &Options,
    server: Option<(TcpListener, Access)>,
) -> Result<Summary, store::Error> {
    let store = means.target.store;
    store.clean_up()?;
    mirror::clean_up_all(&options.mirrors.directory);
    let limits = &options.mirrors.limits;
    let answer = limits.connect_seconds + LOOK_SECONDS.min(limits.low_speed_seconds.max(1));
    let (connect, answer) = (Duration::from_secs(limits.connect_seconds.max(1)), Duration::from_secs(answer));
    let looker = Looker::new(connect, answer, options.mirrors.public_only)
        .map_err(|e| store::Error::Io { path: "HTTP".into(), source: std::io::Error::other(e.to_string()) })?;
    let (send, receive) = unbounded();
    let mut driver = Driver {
        watch,
        means,
        options,
        looker,
        bad: HashSet::new(),
        left_out: HashSet::new(),
        saved: 0,
        is_saved: true,
        read: 0,
        told: None,
        published: means.published,
        is_changed: true,
    };
    thread::scope(|scope| {
        let (stop, stopped) = oneshot::channel();
        if let Some((listener, access)) = server {
            let (watch, send) = (Arc::clone(watch), send.clone());
            scope.spawn(move || {
                if let Err(error) = http::serve(listener, watch, send, access, stopped) {
                    (means.say)("server", &Note::Trouble(&error.to_string()));
                }
            });
        }
        let result = driver.read_sources(true);
        if result.is_ok() {
            driver.run(scope, &send, &receive);
        }
        // A server that is not there, or is gone, needs not be stopped.
        _ = stop.send(());
        result
    })?;
    Ok(driver.summary())
}

struct Driver<'a> {
    watch: &'a Watch,
    means: &'a Means<'a>,
    options: &'a Options,
    looker: Looker,
    /// Sources that are none.
    bad: HashSet<String>,
    /// Sources that are not to be watched.
    left_out: HashSet<String>,
    /// When states were last saved, and whether that went well.
    saved: u64,
    is_saved: bool,
    /// When sources were last read.
    read: u64,
    /// When somebody was last told that all is well.
    told: Option<Instant>,
    /// When the store was last exported, and whether it may have changed since.
    published: Option<u64>,
    is_changed: bool,
}

impl<'a> Driver<'a> {
    fn now(&self) -> u64 {
        (self.means.clock)()
    }

    fn is_interrupted(&self) -> bool {
        self.means.interrupt.load(Ordering::Relaxed)
    }

    fn run<'s>(&mut self, scope: &'s Scope<'s, '_>, send: &Sender<Message>, receive: &Receiver<Message>)
    where
        'a: 's,
    {
        let begun = self.now();
        let mut is_stopping = false;
        self.watch.is_ready.store(true, Ordering::Relaxed);
        self.means.notifier.say(Beat::Ready);
        loop {
            self.beat();
            if self.is_interrupted() && !is_stopping {
                is_stopping = true;
                self.watch.is_ready.store(false, Ordering::Relaxed);
                self.means.notifier.say(Beat::Stopping);
                self.watch.schedule().on(self.now(), Event::Stop);
            }
            // Once is once: what becomes due while it runs is for the next time.
            let horizon = if self.options.once { begun } else { self.now() };
            while let Some(action) = self.next(horizon) {
                self.begin(scope, action, send.clone());
            }
            self.save(is_stopping);
            let is_idle = self.watch.schedule().is_idle() && receive.is_empty();
            if (is_idle || !self.options.once) && !is_stopping && self.is_to_publish() {
                continue;
            }
            if is_idle && (is_stopping || self.options.once) {
                break;
            }
            match receive.recv_timeout(POLL) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            receive.try_iter().for_each(|message| self.take(message));
            let is_time = !self.options.once && self.now() >= self.read.saturating_add(self.options.reread_seconds);
            if is_time
                && !is_stopping
                && let Err(error) = self.read_sources(false)
            {
                (self.means.say)("sources", &Note::Trouble(&error.to_string()));
            }
        }
        self.save(true);
    }

    fn next(&self, now: u64) -> Option<Action> {
        self.watch.schedule().next(now)
    }

    /// Whether it is time for an export; the schedule then knows.
    fn is_to_publish(&mut self) -> bool {
        let now = self.now();
        let is_time = self.published.is_none_or(|last| now >= last.saturating_add(self.options.publish_seconds));
        if self.means.publish.is_none() || !self.is_changed || !is_time {
            return false;
        }
        (self.published, self.is_changed) = (Some(now), false);
        // Who exports asks the index which repositories are gone.
        self.save(true);
        self.watch.schedule().on(now, Event::PublishDue);
        true
    }

    /// Shows that it moves, to whoever wants to know.
    fn beat(&mut self) {
        self.watch.moved();
        let Some(watchdog) = self.means.notifier.watchdog else { return };
        if self.told.is_none_or(|told| told.elapsed() >= watchdog / 3) {
            self.told = Some(Instant::now());
            self.means.notifier.say(Beat::Alive);
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Event(event) => self.note(event),
            Message::Pushed(ids, noted) => {
                let now = self.now();
                ids.into_iter().for_each(|id| self.watch.schedule().on(now, Event::Pushed(id)));
                // Who asked may be gone by now.
                _ = noted.send(self.save_now());
            }
        }
    }

    /// Tells the schedule, and everybody who listens, what happened.
    fn note(&mut self, event: Event) {
        let now = self.now();
        if let Event::Failed { id, fault, reason, .. } = &event {
            (self.means.say)(&self.watch.spec(*id).name, &Note::Failed(*fault, reason));
        }
        let mut schedule = self.watch.schedule();
        self.is_changed |= matches!(event, Event::Mined { is_new: true, .. } | Event::Dropped(_));
        let news = match &event {
            Event::Mined { id, is_new: true, .. } => Some(*id),
            _ => None,
        };
        schedule.on(now, event);
        if let Some(lag) = news.and_then(|id| schedule.state(id).lag) {
            self.watch.counters().lag(lag);
        }
    }

    fn begin<'s>(&self, scope: &'s Scope<'s, '_>, action: Action, send: Sender<Message>)
    where
        'a: 's,
    {
        let (means, options, watch, looker) = (self.means, self.options, self.watch, self.looker.clone());
        let task = move || {
            let work = Work { means, options, watch, looker: &looker };
            let event = match action {
                Action::Look(id) => work.guarded(id, Work::look),
                Action::Fetch(id) => work.guarded(id, Work::fetch),
                Action::Mine(id) => work.guarded(id, Work::mine),
                Action::Drop(id) => work.guarded(id, Work::drop_rows),
                Action::Evict(id) => work.evict(id),
                Action::Publish => work.publish(),
            };
            // The receiver lives as long as the scope of this thread.
            _ = send.send(Message::Event(event));
        };
        scope.spawn(task);
    }

    /// Adds what is new among the sources, and takes out what is none any more.
    fn read_sources(&mut self, is_start: bool) -> Result<(), store::Error> {
        let now = self.now();
        self.read = now;
        let found = match (self.means.sources)() {
            Ok(found) => found,
            Err(reason) => {
                (self.means.say)("sources", &Note::Trouble(&reason));
                self.bad.insert("sources".into());
                return Ok(());
            }
        };
        let mut specs = Vec::new();
        self.bad.clear();
        for source in found {
            match source {
                Ok(spec) => specs.push(spec),
                Err(bad) => {
                    (self.means.say)(&bad.text, &Note::Bad(&bad.reason));
                    self.bad.insert(bad.text);
                }
            }
        }
        let mut states = HashMap::new();
        if is_start {
            let remembered = lock(self.means.target.index).schedules()?;
            states.extend(remembered.into_iter().map(|one| (one.identity, one.state)));
        }
        if let Some(last) = self.published.filter(|_| is_start) {
            let changed = |json: &String| serde_json::from_str::<State>(json).ok()?.changed;
            self.is_changed = states.values().filter_map(changed).any(|changed| changed >= last);
        }
        let named: HashSet<String> = specs.iter().map(|spec| spec.identity.clone()).collect();
        specs.extend(self.vanished(&states, &named)?);
        let all: HashSet<String> = specs.iter().map(|spec| spec.identity.clone()).collect();
        let mut named = HashSet::new();
        for spec in specs {
            let identity = spec.identity.clone();
            if self.watch_source(now, spec, &states)? {
                named.insert(identity);
            }
        }
        self.left_out.retain(|identity| all.contains(identity));
        let mut schedule = self.watch.schedule();
        let is_left_out = |id: &Id| {
            let place = schedule.place(*id);
            place.host.is_some() && !named.contains(&place.identity)
        };
        let left_out: Vec<Id> = schedule.ids().filter(is_left_out).collect();
        left_out.iter().for_each(|id| schedule.retire(*id));
        let mut forgotten: Vec<String> = left_out.iter().map(|id| schedule.place(*id).identity.clone()).collect();
        forgotten.extend(states.into_keys().filter(|identity| !named.contains(identity)));
        drop(schedule);
        if !forgotten.is_empty() {
            lock(self.means.target.index).forget_schedules(&forgotten)?;
        }
        Ok(())
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
        let mut schedule = self.watch.schedule();
        let mut specs = lock(&self.watch.specs);
        match known {
            Some(id) => {
                schedule.settle(now, id, place.settings);
                specs[id as usize] = spec;
            }
            None => {
                let state = states.get(&spec.identity).and_then(|json| serde_json::from_str::<State>(json).ok());
                let due =
                    |state: State| if self.options.once { State { due: state.due.min(now), ..state } } else { state };
                let id = schedule.add(now, place, state.map(due)) as usize;
                if id < specs.len() { specs[id] = spec } else { specs.push(spec) }
            }
        }
        Ok(true)
    }

    /// Repositories on this machine that were watched and are not there any more, so that no directory names them.
    fn vanished(
        &self,
        states: &HashMap<String, String>,
        named: &HashSet<String>,
    ) -> Result<Vec<RepoSpec>, store::Error> {
        let index = lock(self.means.target.index);
        let mut vanished = Vec::new();
        for identity in states.keys().filter(|identity| !named.contains(*identity)) {
            let spec = index.spec(identity)?.and_then(|json| serde_json::from_str::<RepoSpec>(&json).ok());
            vanished.extend(spec.filter(|spec| matches!(&spec.location, Location::Path(path) if !path.exists())));
        }
        vanished.sort_by(|a, b| a.identity.cmp(&b.identity));
        Ok(vanished)
    }

    fn place(&self, spec: &RepoSpec) -> Place {
        let settings = settings_digest(&(self.means.settings)(spec), spec);
        let host = match &spec.location {
            Location::Path(_) => None,
            Location::Url(_) => Some(spec.identity.split('/').next().unwrap_or_default().to_owned()),
        };
        Place { identity: spec.identity.clone(), host, settings }
    }

    /// Once a second at most, unless `is_urgent`.
    fn save(&mut self, is_urgent: bool) {
        let now = self.now();
        if now != self.saved || is_urgent {
            self.saved = now;
            self.save_now();
        }
    }

    /// Writes states down; whether that went well. Of a full disk is told once, not every second.
    fn save_now(&mut self) -> bool {
        let saved = save(self.watch, &self.means.target);
        if let Err(error) = &saved
            && self.is_saved
        {
            (self.means.say)("index", &Note::Trouble(&error.to_string()));
        }
        self.is_saved = saved.is_ok();
        self.is_saved
    }

    fn summary(&self) -> Summary {
        let schedule = self.watch.schedule();
        let failed =
            schedule.ids().filter(|id| schedule.state(*id).fault.is_some_and(|_| !schedule.state(*id).dropped));
        Summary {
            repositories: schedule.ids().count(),
            failed: failed.count() + self.bad.len(),
            waiting: schedule.waiting(),
            left_out: self.left_out.len(),
            rows: self.watch.counters().rows_kept(),
            interrupted: self.is_interrupted(),
        }
    }
}

/// Writes down what has changed of the schedule.
///
/// # Errors
/// The index can't be written; nothing is forgotten then.
pub fn save(watch: &Watch, target: &Target<'_>) -> Result<(), store::Error> {
    // The index first: who waits for it must not hold up those who ask the schedule.
    let mut index = lock(target.index);
    let unsaved = watch.schedule().take_unsaved();
    if unsaved.is_empty() {
        return Ok(());
    }
    let remembered = |(id, state): &(Id, State)| {
        let spec = watch.spec(*id);
        Remembered { identity: spec.identity, name: spec.name, state: serde_json::json!(state).to_string() }
    };
    let states: Vec<Remembered> = unsaved.iter().map(remembered).collect();
    index.remember_schedules(&states).inspect_err(|_| {
        watch.schedule().keep_unsaved(unsaved.iter().map(|(id, _)| *id));
    })
}
