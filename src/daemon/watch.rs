//! The driver of the schedule: does what it says in threads, tells it what came of that, and keeps what it remembers in
//! the store's index.
//!
//! A process that is killed loses nothing: rows are in the store as soon as their checkpoint is, and a state that was
//! not written down only means another look.

use std::{
    collections::HashSet,
    net::TcpListener,
    path::Path,
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
    schedule::Schedule,
    work::Work,
};
use crate::{
    git::mirror::{
        self, Outcome,
        look::{Looker, Patience},
    },
    pipeline::{
        mine::Report,
        recipe::Settings,
        run::{Mirrors, Target},
    },
    source::{BadSource, RepoSpec},
    store::{self, schedule::Remembered},
};

/// How often the flag is looked at that asks to stop.
const POLL: Duration = Duration::from_millis(100);
/// How long the answer to a request of a look may take, beside the time to connect.
const ANSWER_SECONDS: u64 = 60;
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
    /// Memory for one repository, in bytes.
    pub memory: u64,
    /// Size in bytes after which a segment is sealed.
    pub segment_bytes_max: u64,
    /// Batches of a repository after which they are joined.
    pub batches_max: usize,
    /// Whether to write down what rules dropped.
    pub ledger: bool,
    /// Where mirrors are kept and how they are fetched.
    pub mirrors: Mirrors,
    /// How long a look may take in all.
    pub look_seconds: u64,
    /// Seconds after which the sources are read anew.
    pub reread_seconds: u64,
    /// Seconds between two exports.
    pub publish_seconds: u64,
}

/// Sources as they are now.
#[derive(Debug, Default)]
pub struct Sources {
    /// What they name.
    pub found: Vec<Result<RepoSpec, BadSource>>,
    /// Lists that can't be read, each with the reason: what they name is not known, and so not gone.
    pub unread: Vec<(String, String)>,
    /// Whether more is still being found.
    pub is_pending: bool,
    /// How many requests the server where it is found leaves until its limit, as it last said.
    pub requests_left: Option<u64>,
    /// How often finding more failed.
    pub failures: u64,
}

/// What watching needs from the program around it.
pub struct Means<'a> {
    /// The store.
    pub target: Target<'a>,
    /// Reads the sources, without waiting for anybody.
    pub sources: &'a (dyn Fn() -> Sources + Sync),
    /// Whether they are worth reading before it is time; it says so once.
    pub has_news: &'a (dyn Fn() -> bool + Sync),
    /// Whether nothing can be told of a repository that was at this path, since what held it can't be seen.
    pub is_out_of_sight: &'a (dyn Fn(&Path) -> bool + Sync),
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
    /// Whether an export now would be another one than that.
    pub is_to_publish: bool,
}

/// See [`Means::complete`].
pub type Complete<'a> = dyn Fn(RepoSpec) -> Result<Result<RepoSpec, &'static str>, store::Error> + Sync + 'a;

/// See [`Means::publish`].
pub type Publish<'a> = dyn Fn() -> Result<String, String> + Sync + 'a;

/// What the driver is told.
pub enum Message {
    /// Something that was begun came to its end.
    Event(Event),
    /// There may be something new in a repository, or it is to be mined from the start; to be answered when that is written down.
    Asked(Vec<Event>, oneshot::Sender<bool>),
}

/// What is worth a line in a log.
pub enum Note<'n> {
    /// Its mirror was made or brought up to date.
    Fetched(Outcome),
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
    pub(super) specs: Mutex<Vec<RepoSpec>>,
    counters: Mutex<Counters>,
    /// Repositories whose mirrors were cloned and that were not mined since.
    pub(super) cloned: Mutex<HashSet<Id>>,
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
    /// Those of them whose last look, fetch or mining failed, sources that are none, and an export.
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

/// The first pause in seconds after an export that failed; it doubles with each further one.
const PUBLISH_PAUSE: u64 = 10;

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
            cloned: Mutex::default(),
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
    let patience = Patience {
        connect: Duration::from_secs(limits.connect_seconds.max(1)),
        answer: Duration::from_secs(limits.connect_seconds + ANSWER_SECONDS.min(limits.low_speed_seconds.max(1))),
        total: Duration::from_secs(options.look_seconds),
    };
    let looker = Looker::new(patience, options.mirrors.public_only)
        .map_err(|e| store::Error::Io { path: "HTTP".into(), source: std::io::Error::other(e.to_string()) })?;
    let (send, receive) = unbounded();
    let mut driver = Driver {
        watch,
        means,
        options,
        looker,
        begun: (means.clock)(),
        bad: HashSet::new(),
        left_out: HashSet::new(),
        is_known: false,
        is_pending: false,
        saved: 0,
        is_saved: true,
        read: 0,
        told: None,
        published: means.published,
        publish_failures: 0,
        is_changed: means.is_to_publish,
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
        let result = driver.read_sources();
        if result.is_ok() {
            driver.run(scope, &send, &receive);
        }
        // A server that is not there, or is gone, needs not be stopped.
        _ = stop.send(());
        result
    })?;
    Ok(driver.summary())
}

pub(super) struct Driver<'a> {
    pub(super) watch: &'a Watch,
    pub(super) means: &'a Means<'a>,
    pub(super) options: &'a Options,
    looker: Looker,
    /// When it was begun.
    pub(super) begun: u64,
    /// Sources that are none.
    pub(super) bad: HashSet<String>,
    /// Sources that are not to be watched.
    pub(super) left_out: HashSet<String>,
    /// Whether all sources were read once, so that what is remembered of them is in the schedule.
    pub(super) is_known: bool,
    /// Whether more sources are being found.
    pub(super) is_pending: bool,
    /// When states were last saved, and whether that went well.
    saved: u64,
    is_saved: bool,
    /// When sources were last read.
    pub(super) read: u64,
    /// When somebody was last told that all is well.
    told: Option<Instant>,
    /// When the store was last exported or that was last tried, failures since, and whether it may have changed.
    published: Option<u64>,
    publish_failures: u32,
    is_changed: bool,
}

impl<'a> Driver<'a> {
    pub(super) fn now(&self) -> u64 {
        (self.means.clock)()
    }

    fn is_interrupted(&self) -> bool {
        self.means.interrupt.load(Ordering::Relaxed)
    }

    fn run<'s>(&mut self, scope: &'s Scope<'s, '_>, send: &Sender<Message>, receive: &Receiver<Message>)
    where
        'a: 's,
    {
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
            let horizon = if self.options.once { self.begun } else { self.now() };
            while let Some(action) = self.next(horizon) {
                if action == Action::Publish {
                    // All that came until now is in it: nothing is mined while it is written.
                    self.is_changed = false;
                }
                self.begin(scope, action, send.clone());
            }
            self.save(is_stopping);
            let is_idle = self.watch.schedule().is_idle() && receive.is_empty();
            if (is_idle || !self.options.once) && !is_stopping && self.is_to_publish() {
                continue;
            }
            if is_idle && (is_stopping || (self.options.once && !self.is_pending)) {
                break;
            }
            match receive.recv_timeout(POLL) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            receive.try_iter().for_each(|message| self.take(message));
            if !is_stopping
                && self.is_to_read()
                && let Err(error) = self.read_sources()
            {
                (self.means.say)("sources", &Note::Trouble(&error.to_string()));
            }
        }
        self.save(true);
    }

    /// Whether it is time to read the sources anew; a clock that went back must not put it off.
    fn is_to_read(&self) -> bool {
        let is_due = || is_over(self.now(), self.read, self.options.reread_seconds);
        (self.means.has_news)() || (!self.options.once && is_due())
    }

    fn next(&self, now: u64) -> Option<Action> {
        self.watch.schedule().next(now)
    }

    /// Whether it is time for an export; the schedule then knows.
    fn is_to_publish(&mut self) -> bool {
        let now = self.now();
        let pause = match self.publish_failures {
            0 => self.options.publish_seconds,
            failures => {
                let pause = PUBLISH_PAUSE.saturating_mul(1 << (failures - 1).min(20));
                pause.min(self.options.publish_seconds.max(PUBLISH_PAUSE))
            }
        };
        let is_time = self.published.is_none_or(|last| is_over(now, last, pause));
        if self.means.publish.is_none() || !self.is_changed || !is_time || self.watch.schedule().is_publishing() {
            return false;
        }
        // The first one is not to be of the few that were mined first.
        let is_first = self.means.published.is_none() && self.published.is_none();
        if is_first && !self.options.once && (self.is_pending || self.watch.schedule().is_first_round()) {
            return false;
        }
        if self.watch.schedule().has_outdated_fork() {
            return false;
        }
        self.published = Some(now);
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
            Message::Asked(events, noted) => {
                let now = self.now();
                events.into_iter().for_each(|event| self.watch.schedule().on(now, event));
                // Who asked may be gone by now.
                _ = noted.send(self.save_now());
            }
        }
    }

    /// Tells the schedule, and everybody who listens, what happened.
    fn note(&mut self, event: Event) {
        let now = self.now();
        let ended = match &event {
            Event::Failed { id, .. } | Event::Moved { id, .. } | Event::Relicensed { id, .. } => Some(*id),
            _ => None,
        };
        let mut schedule = self.watch.schedule();
        self.is_changed |= matches!(event, Event::Mined { is_new: true, .. } | Event::Dropped(_));
        if let Event::Published { is_done } = event {
            self.is_changed |= !is_done;
            self.publish_failures = if is_done { 0 } else { self.publish_failures + 1 };
            self.watch.counters().published(is_done.then_some(now));
        }
        let news = match &event {
            Event::Mined { id, is_new: true, .. } => Some(*id),
            _ => None,
        };
        schedule.on(now, event);
        if let Some(lag) = news.and_then(|id| schedule.state(id).lag) {
            self.watch.counters().lag(lag);
        }
        let failure = ended.map(|id| (id, schedule.state(id).fault, schedule.state(id).reason.clone()));
        drop(schedule);
        if let Some((id, Some(fault), Some(reason))) = failure {
            (self.means.say)(&self.watch.spec(id).name, &Note::Failed(fault, &reason));
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
                Action::Tidy(id) => work.guarded(id, Work::tidy),
                Action::Publish => work.publish(),
            };
            // The receiver lives as long as the scope of this thread.
            _ = send.send(Message::Event(event));
        };
        scope.spawn(task);
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
            failed: failed.count() + self.bad.len() + usize::from(self.publish_failures > 0),
            waiting: schedule.waiting(),
            left_out: self.left_out.len(),
            rows: self.watch.counters().rows_kept(),
            interrupted: self.is_interrupted(),
        }
    }
}

/// Whether `seconds` have gone by since `last`, or the clock has gone back since.
fn is_over(now: u64, last: u64, seconds: u64) -> bool {
    now >= last.saturating_add(seconds) || now < last
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
