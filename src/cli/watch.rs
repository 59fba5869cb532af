//! `gitlode watch`: keeps a store current with its sources, until it is told to stop.

use std::{
    collections::HashSet,
    net::{SocketAddr, TcpListener},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    Error, counted,
    discover::{self, NotListed},
    mine::{self, lock, remember_columns_of},
    of_configuration, print, printable,
    publish::Publisher,
    repositories, seconds_now,
};
use crate::{
    daemon::{
        event::{Fault, Policy, Rows, State},
        http::Access,
        notify::Notifier,
        watch::{self, Means, Note, Options, Sources, Summary, Watch},
    },
    git::mirror::{Outcome, redact_url},
    pipeline::{
        recipe::{Settings, rules},
        run::{Mirrors, Target},
    },
    source::{self, RepoSpec},
    store::{Store, index::Index},
};

#[derive(clap::Args)]
pub struct Args {
    /// The store's directory; made where there is none. It is locked as long as it is watched.
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// What to watch, as `mine` takes it: paths, directories of mirrors that something else updates, URLs, @FILE for
    /// a list, and URL/@FILE for all names in a list below a base URL. Lists and directories are read anew now and then.
    #[arg(long, value_delimiter = ',', value_name = "SOURCE")]
    sources: Vec<String>,
    /// Watch what `discover` finds as well, as [discover] of the configuration has it.
    #[arg(long)]
    discover: bool,
    /// Seconds after which it is found anew. Where that fails, what was found last is watched on.
    #[arg(long, default_value_t = 3600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..), help_heading = "When to look")]
    discover_seconds: u64,
    /// Look at every repository once, mine what is new, and end.
    #[arg(long)]
    once: bool,
    /// Shortest time in seconds between two looks at a repository.
    #[arg(long, default_value_t = 300, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..), help_heading = "When to look")]
    interval_min: u64,
    /// Longest time in seconds between two looks. In between, a repository that changes often is looked at more often.
    #[arg(long, default_value_t = 86_400, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..), help_heading = "When to look")]
    interval_max: u64,
    /// Longest time in seconds that a look may take, however little the server sends at a time.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..), help_heading = "When to look")]
    look_seconds: u64,
    /// Seconds after which lists and directories are read anew.
    #[arg(long, default_value_t = 300, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..), help_heading = "When to look")]
    reread_seconds: u64,
    /// Looks and fetches at once.
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = super::at_least_one::<usize>, help_heading = "How much at once")]
    connections: usize,
    /// Looks and fetches at once from one server.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = super::at_least_one::<usize>, help_heading = "How much at once")]
    connections_per_host: usize,
    /// Repositories that are mined at once; one place is kept for those that are not large.
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = super::at_least_one::<usize>, help_heading = "How much at once")]
    mines: usize,
    /// What becomes of the rows of a repository that is gone (404, 410, 451) or has no commits any more.
    #[arg(long, value_enum, default_value_t = Rows::Keep)]
    gone: Rows,
    /// Of one that its server has under another name now: they stay under the name of the source, with what comes there, or go.
    #[arg(long, value_enum, default_value_t = Rows::Keep)]
    moved: Rows,
    /// Of one whose licence was permissive and is not any more at its tip: they stay, each with the licence that its own commit
    /// has, and newer commits are mined; or they go, and nothing is mined until the licence is permissive again.
    #[arg(long, value_enum, default_value_t = Rows::Keep)]
    relicensed: Rows,
    /// Looks in a row that have to find it so.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    gone_after: u32,
    /// Batches of a repository after which they are joined to one, so that a store has few files.
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = super::at_least_one::<usize>)]
    batches_max: usize,
    /// Most bytes that mirrors may take together; beyond it those go that change most rarely, and are cloned anew when they
    /// are due.
    #[arg(long, value_name = "BYTES")]
    mirror_bytes_max: Option<u64>,
    /// Directory that the store is exported to now and then, as [export] and [assemble] of the configuration have it: a
    /// directory for each export, and a link `current` to the newest.
    #[arg(long, value_name = "DIR", help_heading = "Exports")]
    export_to: Option<PathBuf>,
    /// Shortest time in seconds between two exports; none is written where nothing changed.
    #[arg(long, default_value_t = 86_400, value_name = "SECONDS", help_heading = "Exports")]
    export_every: u64,
    /// Exports that are kept.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = super::at_least_one::<usize>, help_heading = "Exports")]
    export_keep: usize,
    /// Address of the server for webhooks, metrics and states, like 127.0.0.1:8420; none by default.
    #[arg(long, value_name = "ADDRESS", help_heading = "Server")]
    listen: Option<SocketAddr>,
    /// File with the secret of GitHub's webhooks; without it none are taken.
    #[arg(long, value_name = "FILE", help_heading = "Server")]
    webhook_secret_file: Option<PathBuf>,
    /// File with the token that who asks for metrics and states has to send (Authorization: Bearer TOKEN); needed where the
    /// address is not of this machine alone.
    #[arg(long, value_name = "FILE", help_heading = "Server")]
    token_file: Option<PathBuf>,
    /// Let who may ask the server have a repository looked at, or mined from the start (POST /api/repositories/IDENTITY/look and
    /// /mine).
    #[arg(long, help_heading = "Server")]
    writable: bool,
    /// Ask servers at addresses, too, that not everybody reaches: this machine, private networks, what is reserved; and take
    /// file:// URLs. For a server of your own, and behind a proxy that finds the addresses of names itself.
    #[arg(long)]
    allow_private: bool,
    /// Seconds within which it ends when it is told to stop, whatever it is doing.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    stop_seconds: u64,
    /// Only failures, and no summary.
    #[arg(long, short)]
    quiet: bool,
}

/// The store's directory, if the flags make sense together.
fn check(args: &Args) -> Result<&Path, Error> {
    let usage = |text: &str| Err(Error::Usage(text.into()));
    let Some(path) = &args.store else { return usage("--store DIR is missing: where the rows go") };
    let mut sources = args.sources.iter().filter(|source| !source.is_empty());
    if sources.next().is_none() && !args.discover {
        return usage("--sources or --discover is missing: what to watch");
    }
    if args.interval_min > args.interval_max {
        return usage("--interval-min has to be from 1 to --interval-max");
    }
    let of_server = [
        ("--webhook-secret-file", args.webhook_secret_file.is_some()),
        ("--token-file", args.token_file.is_some()),
        ("--writable", args.writable),
    ];
    match of_server.iter().find(|(_, is_set)| *is_set) {
        Some((flag, _)) if args.listen.is_none() => {
            usage(&format!("{flag} is for the server, and --listen is missing"))
        }
        _ => Ok(path),
    }
}

/// When to do what, and how.
fn options(args: &Args, mining: &mine::Args) -> Result<Options, Error> {
    let policy = Policy {
        interval_min: args.interval_min,
        interval_max: args.interval_max,
        connections: args.connections,
        connections_per_host: args.connections_per_host,
        mines: args.mines,
        gone: args.gone,
        moved: args.moved,
        relicensed: args.relicensed,
        gone_after: args.gone_after,
        mirror_bytes_max: args.mirror_bytes_max,
    };
    let options = mine::options(mining, &[])?;
    Ok(Options {
        once: args.once,
        threads: options.threads.div_ceil(policy.mines.min(options.threads)),
        memory: options.memory / policy.mines as u64,
        policy,
        segment_bytes_max: options.segment_bytes_max,
        batches_max: args.batches_max,
        ledger: options.ledger,
        mirrors: Mirrors { public_only: !args.allow_private, ..options.mirrors },
        look_seconds: args.look_seconds,
        reread_seconds: args.reread_seconds,
        publish_seconds: args.export_every,
    })
}

pub fn run(args: &Args, command: &clap::Command) -> Result<(), Error> {
    let path = check(args)?;
    let mining = mine::Args::of_configuration(command, path)?;
    let publisher = |directory: &PathBuf| Publisher::new(command, path, directory.clone(), args.export_keep);
    let publisher = args.export_to.as_ref().map(publisher).transpose()?;
    let access = access(args)?;
    let interrupt = super::interrupt_flag();
    bound_stop(Arc::clone(&interrupt), Duration::from_secs(args.stop_seconds), args.once);
    let store = Store::create(path, &|| false)?;
    // Whoever can't have the store has no address either.
    let server = access.map(|(address, access)| Ok::<_, Error>((listen(address)?, access))).transpose()?;
    let opt_outs = Arc::new(mine::opt_outs(&mining, Some(&store))?);
    let ruleset = Arc::new(rules(mining.filter())?);
    let options = options(args, &mining)?;
    let index = Mutex::new(Index::open(&store)?);
    let named: Vec<String> = args.sources.iter().map(|source| redact_url(source)).collect();
    let number = lock(&index).begin_run(seconds_now(), &named)?;
    let settings = |spec: &RepoSpec| {
        let recipe = mine::recipe(&mining, &ruleset, Some(spec));
        let (rules, opt_outs) = (Arc::clone(&ruleset), Arc::clone(&opt_outs));
        Settings { recipe, rules, opt_outs, replace: false, is_replaced: false, renews: true }
    };
    let finder = args.discover.then(|| Finder::start(command, args, &interrupt)).transpose()?;
    let sources = || read_sources(&args.sources, finder.as_deref());
    let has_news = || finder.as_ref().is_some_and(|finder| finder.has_news.swap(false, Ordering::Relaxed));
    let complete = |mut spec: RepoSpec| {
        remember_columns_of(&mut spec, &lock(&index))?;
        let is_opted_out = opt_outs.find_source(&spec.name, &spec.columns).is_some();
        Ok(match (is_opted_out, mining.refuses(&spec)) {
            (true, _) => Err("its owner opted out"),
            (_, true) => Err("its declared licence is left out"),
            (false, false) => Ok(spec),
        })
    };
    let clock = || u64::try_from(seconds_now()).unwrap_or_default();
    let publish = publisher.as_ref().map(|publisher| {
        || {
            let gone = gone(&lock(&index)).map_err(|error| error.to_string())?;
            publisher.publish(&store, clock(), &interrupt, &gone).map_err(|error| error.to_string())
        }
    });
    let means = Means {
        target: Target { store: &store, index: &index, run: number },
        sources: &sources,
        has_news: &has_news,
        is_out_of_sight: &|path| source::is_out_of_sight(path, &args.sources),
        complete: &complete,
        settings: &settings,
        clock: &clock,
        publish: publish.as_ref().map(|publish| publish as &watch::Publish<'_>),
        published: publisher.as_ref().map_or(Ok(None), |publisher| publisher.last_of_its_kind(&store))?,
        is_to_publish: publisher.as_ref().map_or(Ok(false), |publisher| publisher.is_to_publish(&store))?,
        interrupt: &interrupt,
        say: &|name, note| say(args, name, note),
        notifier: &Notifier::new(variable("NOTIFY_SOCKET").as_deref(), variable("WATCHDOG_USEC").as_deref()),
    };
    let state = Arc::new(Watch::new(options.policy.clone()));
    let summary = watch::watch(&state, &means, &options, server)?;
    super::filters::warn_of_failures(&ruleset);
    lock(&index).finish_run(number, seconds_now())?;
    finish(args, summary)
}

/// Identities of the repositories whose rows were removed since they are gone, emptied, moved or relicensed.
fn gone(index: &Index) -> Result<HashSet<String>, crate::store::Error> {
    let is_gone = |json: &str| {
        serde_json::from_str::<State>(json).is_ok_and(|state| state.dropped && state.fault.is_some_and(Fault::is_end))
    };
    let all = index.schedules()?.into_iter();
    Ok(all.filter(|one| is_gone(&one.state)).map(|one| one.identity).collect())
}

/// Reads lists and directories, each by itself, so that one that can't be read does not take the others with it.
fn read_sources(named: &[String], finder: Option<&Finder>) -> Sources {
    let mut sources = Sources::default();
    let mut add = |name: &str, argument: &str, mut text: &[u8]| match source::parse(&[argument.to_owned()], &mut text) {
        Ok(found) => sources.found.extend(found),
        Err(error) => sources.unread.push((name.to_owned(), error.to_string())),
    };
    named.iter().for_each(|source| add(source, source, b""));
    match finder.map(|finder| lock(&finder.finding).clone()) {
        None => {}
        Some(Finding::List(list)) => add("discover", "-", list.as_bytes()),
        Some(Finding::Pending) => sources.is_pending = true,
        Some(Finding::Failed(reason)) => sources.unread.push(("discover".into(), reason)),
    }
    if let Some(finder) = finder {
        sources.requests_left = *lock(&finder.requests_left);
        sources.failures = finder.failures.load(Ordering::Relaxed);
    }
    // A repository that several sources name is the first one's.
    let mut seen = HashSet::new();
    sources.found.retain(|one| one.as_ref().map_or(true, |spec| seen.insert(spec.identity.clone())));
    sources
}

/// What `discover` found.
#[derive(Clone)]
enum Finding {
    /// Nothing yet.
    Pending,
    /// Nothing yet, for this reason.
    Failed(String),
    /// A list of sources.
    List(String),
}

/// Finds sources beside everything else, and keeps what it found until it is found anew.
struct Finder {
    args: discover::Args,
    finding: Mutex<Finding>,
    /// How many requests the server leaves, as it last said.
    requests_left: Mutex<Option<u64>>,
    /// How often it failed.
    failures: AtomicU64,
    /// Whether something is another than when it was last asked.
    has_news: AtomicBool,
}

/// The first pause after a failure of `discover`; it doubles with each further one.
const FIND_PAUSE: Duration = Duration::from_secs(30);

/// No server is believed that it takes nothing for longer; GitHub's limits end within an hour.
const LIMITED_MAX: Duration = Duration::from_secs(24 * 3600);

impl Finder {
    /// Begins to find. Nobody waits for the end of that: what is under way when the program ends is of no use any more.
    fn start(command: &clap::Command, args: &Args, interrupt: &Arc<AtomicBool>) -> Result<Arc<Self>, Error> {
        let of_discover: discover::Args = of_configuration(command, &["discover".as_ref()])?;
        of_discover.check()?;
        let (finding, has_news) = (Mutex::new(Finding::Pending), AtomicBool::new(false));
        let (requests_left, failures) = (Mutex::default(), AtomicU64::new(0));
        let args_of_finder = of_discover.for_watch();
        let finder = Arc::new(Finder { args: args_of_finder, finding, requests_left, failures, has_news });
        let every = (!args.once).then(|| Duration::from_secs(args.discover_seconds));
        let (finds, interrupt) = (Arc::clone(&finder), Arc::clone(interrupt));
        thread::spawn(move || finds.find(every, &interrupt));
        Ok(finder)
    }

    /// Finds, and finds anew every so often until there is an end; without `every`, once.
    fn find(&self, every: Option<Duration>, interrupt: &AtomicBool) {
        let mut pause = FIND_PAUSE;
        while !interrupt.load(Ordering::Relaxed) {
            let found = catch_unwind(AssertUnwindSafe(|| self.args.list(interrupt)));
            let found = found.unwrap_or_else(|_| Err(Error::Usage("a bug in gitlode".into()).into()));
            let next = match &found {
                Ok(_) => every,
                // GitHub may shut out those who go on before their time.
                Err(error) => every.map(|every| pause.min(every).max(rest(error.limited_until, seconds_now()))),
            };
            pause = if found.is_ok() { FIND_PAUSE } else { pause.saturating_mul(2) };
            self.keep(found);
            let Some(next) = next else { return };
            let begun = Instant::now();
            while !interrupt.load(Ordering::Relaxed) && begun.elapsed() < next {
                thread::sleep(Duration::from_millis(200));
            }
        }
    }

    fn keep(&self, found: Result<(String, Option<u64>), NotListed>) {
        let mut finding = lock(&self.finding);
        let left = match &found {
            Ok((_, left)) => *left,
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                error.limited_until.map(|_| 0)
            }
        };
        let mut requests_left = lock(&self.requests_left);
        *requests_left = left.or(*requests_left);
        match (found, &*finding) {
            (Err(error), Finding::List(_)) => {
                tell!("discover: failed: {}; what was found last holds", printable(&error.reason));
            }
            (Err(error), _) => *finding = Finding::Failed(error.reason),
            (Ok((list, _)), _) => *finding = Finding::List(list),
        }
        self.has_news.store(true, Ordering::Relaxed);
    }
}

/// How long a server that takes nothing before a time is to be left alone at least.
fn rest(limited_until: Option<i64>, now: i64) -> Duration {
    let seconds = limited_until.map_or(0, |until| until.saturating_sub(now));
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).min(LIMITED_MAX)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The address of the server, and what who asks has to know.
fn access(args: &Args) -> Result<Option<(SocketAddr, Access)>, Error> {
    let Some(address) = args.listen else { return Ok(None) };
    let read = |path: &Option<PathBuf>| -> Result<Option<String>, Error> {
        let Some(path) = path else { return Ok(None) };
        let text = std::fs::read_to_string(path).map_err(|source| Error::Io { path: path.clone(), source })?;
        match text.trim() {
            "" => Err(Error::Config { path: path.clone(), reason: "it is empty".into() }),
            text => Ok(Some(text.to_owned())),
        }
    };
    let access = Access {
        secret: read(&args.webhook_secret_file)?.map(String::into_bytes),
        token: read(&args.token_file)?,
        is_writable: args.writable,
    };
    if !address.ip().is_loopback() && access.token.is_none() {
        return Err(Error::Usage(format!(
            "--listen {address} can be reached from other machines: --token-file is missing"
        )));
    }
    Ok(Some((address, access)))
}

fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    let listener =
        TcpListener::bind(address).map_err(|source| Error::Io { path: address.to_string().into(), source })?;
    let address = listener.local_addr().map_err(|source| Error::Io { path: address.to_string().into(), source })?;
    tell!("listening on {address}");
    Ok(listener)
}

/// Ends the process when it is told to stop and takes longer: a kill at any moment loses nothing.
fn bound_stop(interrupt: Arc<AtomicBool>, bound: Duration, is_once: bool) {
    thread::spawn(move || {
        while !interrupt.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(200));
        }
        thread::sleep(bound);
        tell!("what goes on is broken off; the next start does it again");
        // A daemon that was told to stop has done what it was to do; a round has not.
        std::process::exit(if is_once { 130 } else { 0 });
    });
}

fn finish(args: &Args, summary: Summary) -> Result<(), Error> {
    let Summary { repositories: watched, failed, waiting, left_out, rows, interrupted } = summary;
    if !args.quiet {
        let more = [(waiting, "not looked at to the end"), (left_out, "left out")];
        let more = more.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!(", {n} {what}")).collect::<String>();
        let rows = counted(rows, "row", "rows");
        print(&format!("{rows} from {}, {failed} failed{more}\n", repositories(watched)))?;
    }
    match (args.once, interrupted, failed + waiting) {
        (true, true, _) => Err(Error::Reported(130)),
        (true, false, 1..) => Err(Error::Reported(3)),
        // A daemon that was told to stop has done what it was to do.
        _ => Ok(()),
    }
}

/// Whether systemd's journal takes what is written to standard error: JOURNAL_STREAM names device and inode of what does, and is
/// handed on to programs that write elsewhere (systemd.exec(5)).
#[cfg(unix)]
fn is_journal() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let stream = std::fs::metadata("/dev/stderr").map(|metadata| format!("{}:{}", metadata.dev(), metadata.ino()));
    stream.is_ok_and(|stream| variable("JOURNAL_STREAM") == Some(stream))
}

#[cfg(not(unix))]
fn is_journal() -> bool {
    false
}

/// One line for what happened to a repository. It begins with the time, unless systemd's journal takes it, which has its own.
fn say(args: &Args, name: &str, note: &Note<'_>) {
    let text = match note {
        Note::Failed(fault, reason) => format!("{}: {reason}", fault.as_str()),
        Note::Bad(reason) | Note::Trouble(reason) => format!("failed: {reason}"),
        Note::LeftOut(_) if args.quiet => return,
        Note::LeftOut(reason) => format!("left out: {reason}"),
        Note::Published(_) if args.quiet => return,
        Note::Published(what) => (*what).to_owned(),
        Note::Dropped => "its rows are removed".into(),
        Note::Mined(report) if report.unchanged && args.quiet => return,
        Note::Mined(_) | Note::Fetched(_) if args.quiet => return,
        Note::Fetched(Outcome::Replaced) => "its mirror was damaged; cloned anew".into(),
        Note::Fetched(_) => "fetched".into(),
        Note::Mined(report) if report.unchanged => "nothing new".into(),
        Note::Mined(report) => {
            let replaced = if report.replaced { ", mined from the start" } else { "" };
            let commits = counted(report.funnel.commits.candidates, "commit", "commits");
            format!("{} from {commits}{replaced}", counted(report.rows, "row", "rows"))
        }
    };
    let time = if is_journal() { String::new() } else { format!("{} ", source::time_of(seconds_now())) };
    // A source that is none is named as it was written.
    tell!("{time}{}: {}", printable(&redact_url(name)), printable(&text));
}
