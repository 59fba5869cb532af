//! `gitlode mine`: resolves the flags, mines every source, reports what became of each.

use std::{
    io::IsTerminal as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::{Error, grouped, interrupt_flag, print};
use crate::{
    classify::message::TrailerPolicy,
    git::{repository::Revision, walk::Window},
    pipeline::{
        mine::{self, Progress, Report, mine_repository},
        recipe::{Recipe, catalog_digest},
    },
    sample::ChangeKind,
    source::{self, Location, RepoSpec},
    store::{RepositoryId, Store},
    verdict::Funnel,
};

#[derive(clap::Args)]
pub struct Args {
    /// Repositories: a path to one, to a directory of many, @FILE or - for a list (lines, CSV or JSON lines).
    #[arg(required = true)]
    sources: Vec<String>,
    /// The store's directory; made where there is none.
    #[arg(long, env = "GITLODE_STORE", value_name = "DIR", required_unless_present = "dry_run")]
    store: Option<PathBuf>,
    /// Mine what this branch, tag, ref or commit id reaches, instead of the default branch.
    #[arg(long, conflicts_with = "all_branches")]
    rev: Option<String>,
    /// Mine what any branch reaches.
    #[arg(long)]
    all_branches: bool,
    /// Only commits with a commit time from here on (2024-01-31, RFC 3339, or seconds since 1970).
    #[arg(long, value_name = "DATE", value_parser = date)]
    since: Option<i64>,
    /// Only commits with a commit time up to here.
    #[arg(long, value_name = "DATE", value_parser = date)]
    until: Option<i64>,
    /// Kinds of change that become rows.
    #[arg(long, value_delimiter = ',', default_value = "modified", env = "GITLODE_KINDS")]
    kinds: Vec<ChangeKind>,
    /// Ruleset.
    #[arg(long, default_value = "none", value_parser = ["none"], env = "GITLODE_FILTER")]
    filter: String,
    /// Largest file in bytes that becomes contents.
    #[arg(long, default_value_t = 1 << 20, value_name = "BYTES", env = "GITLODE_BLOB_BYTES_MAX")]
    blob_bytes_max: u64,
    /// Most paths that a commit may change; one that changes more is skipped.
    #[arg(long, default_value_t = 1_000_000, value_name = "N", env = "GITLODE_COMMIT_CHANGES_MAX")]
    commit_changes_max: usize,
    /// What to do with message trailers that name people: keep, mask or drop.
    #[arg(long, default_value = "keep", env = "GITLODE_TRAILERS")]
    trailers: TrailerPolicy,
    /// Put names and addresses of author and committer into the rows.
    #[arg(long)]
    authors: bool,
    /// Mine again, and replace, what was mined with other settings.
    #[arg(long)]
    replace: bool,
    /// Mine and count, but write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Threads; all cores by default.
    #[arg(long, short = 'j', env = "GITLODE_THREADS")]
    threads: Option<usize>,
    /// Size in bytes after which a segment is sealed.
    #[arg(long, default_value_t = 64 << 20, value_name = "BYTES")]
    segment_bytes_max: u64,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
    /// No progress and no summary.
    #[arg(long, short)]
    quiet: bool,
}

/// Only absolute dates: a run must mean the same tomorrow.
fn date(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<i64>()
        && text.len() > 4
    {
        return Ok(seconds);
    }
    gix::date::parse(text, None)
        .map(|time| time.seconds)
        .map_err(|_| "give an absolute date such as 2024-01-31 or 2024-01-31T12:00:00Z".into())
}

/// What became of one source.
struct Outcome {
    name: String,
    result: Result<Report, (String, Option<String>)>,
}

pub fn run(args: &Args) -> Result<(), Error> {
    let interrupt = interrupt_flag();
    let sources = source::parse(&args.sources, &mut std::io::stdin().lock())?;
    let store = match &args.store {
        Some(path) if !args.dry_run => Some(Store::create(path)?),
        _ => None,
    };
    let started = Instant::now();
    let display = Display::new(args, sources.len());
    let outcomes = mine_all(args, store.as_ref(), &sources, &interrupt, &display);
    display.clear();
    let failed = outcomes.iter().filter(|outcome| outcome.result.is_err()).count();
    report(args, &outcomes, started)?;
    if interrupt.load(Ordering::Relaxed) {
        anstream::eprintln!("interrupted: what is sealed is kept; the same command goes on from there");
        return Err(Error::Reported(130));
    }
    if failed > 0 { Err(Error::Reported(3)) } else { Ok(()) }
}

fn mine_all(
    args: &Args,
    store: Option<&Store>,
    sources: &[Result<RepoSpec, source::BadSource>],
    interrupt: &AtomicBool,
    display: &Display,
) -> Vec<Outcome> {
    let threads = args.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from)).max(1);
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads.min(sources.len()) {
            scope.spawn(|| {
                while !interrupt.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(source) = sources.get(number) else { return };
                    let Some(outcome) = mine_one(args, store, source, threads, interrupt, display) else { return };
                    outcomes.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((number, outcome));
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    outcomes.sort_by_key(|(number, _)| *number);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// `None` when interrupted.
fn mine_one(
    args: &Args,
    store: Option<&Store>,
    source: &Result<RepoSpec, source::BadSource>,
    threads: usize,
    interrupt: &AtomicBool,
    display: &Display,
) -> Option<Outcome> {
    let spec = match source {
        Ok(spec) => spec,
        Err(bad) => {
            return Some(Outcome { name: bad.text.clone(), result: Err((bad.reason.clone(), bad.hint.clone())) });
        }
    };
    let path = match &spec.location {
        Location::Path(path) => path,
        Location::Url(_) => {
            let hint = "clone it with `git clone --bare` and give the path".to_owned();
            return Some(Outcome {
                name: spec.name.clone(),
                result: Err(("this version can't clone yet".into(), Some(hint))),
            });
        }
    };
    let id = RepositoryId { identity: spec.identity.clone(), name: spec.name.clone(), columns: spec.columns.clone() };
    let recipe = recipe(args, spec);
    let options = mine::Options { threads, segment_bytes_max: args.segment_bytes_max, replace: args.replace };
    let bar = display.repository(&spec.name);
    let on_progress = |progress: Progress| show_progress(&bar, progress);
    // A repository must not take the others with it, whatever bug it finds.
    let result = catch_unwind(AssertUnwindSafe(|| {
        mine_repository(store, &id, path, &recipe, &options, interrupt, &on_progress)
    }));
    bar.finish_and_clear();
    let result = match result {
        Ok(Ok(report)) => Ok(report),
        Ok(Err(error)) if error.is_interruption() => return None,
        Ok(Err(error)) => Err((error.to_string(), error.hint())),
        Err(_) => Err(("a bug in gitlode".into(), Some("please report it with the message above".into()))),
    };
    display.finished(&spec.name, &result);
    Some(Outcome { name: spec.name.clone(), result })
}

fn recipe(args: &Args, spec: &RepoSpec) -> Recipe {
    let revision = match (&args.rev, args.all_branches) {
        (Some(rev), _) => Revision::Named(rev.clone()),
        (None, true) => Revision::AllBranches,
        (None, false) => Revision::Head,
    };
    let mut kinds = args.kinds.clone();
    kinds.sort();
    kinds.dedup();
    Recipe {
        revision,
        window: Window { since: args.since, until: args.until },
        kinds,
        filter: args.filter.clone(),
        blob_bytes_max: args.blob_bytes_max,
        commit_changes_max: args.commit_changes_max,
        trailers: args.trailers,
        authors: args.authors,
        license: spec.columns.get("license").map(|license| license.to_lowercase()),
        catalog: catalog_digest(),
    }
}

fn show_progress(bar: &ProgressBar, progress: Progress) {
    match progress {
        Progress::Walking => bar.set_message("listing commits"),
        Progress::Comparing { done, total } => {
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message("comparing commits");
        }
        Progress::Extracting { done, total, rows } => {
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(format!("extracting changes, {} rows", grouped(rows)));
        }
    }
}

/// Bars on a terminal, plain lines elsewhere, nothing when quiet.
struct Display {
    bars: MultiProgress,
    plain: bool,
    total: usize,
    done: AtomicUsize,
}

impl Display {
    fn new(args: &Args, total: usize) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bars = MultiProgress::new();
        if args.quiet || !terminal {
            bars.set_draw_target(ProgressDrawTarget::hidden());
        }
        Display { bars, plain: !args.quiet && !terminal, total, done: AtomicUsize::new(0) }
    }

    fn repository(&self, name: &str) -> ProgressBar {
        let style = ProgressStyle::with_template("{prefix:.bold} [{bar:30}] {human_pos}/{human_len} {per_sec} {msg}");
        let bar = self.bars.add(ProgressBar::new(0));
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_owned());
        bar
    }

    fn finished(&self, name: &str, result: &Result<Report, (String, Option<String>)>) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let what = match result {
            Ok(report) if report.unchanged => "nothing new".to_owned(),
            Ok(report) => {
                format!("{} rows from {} commits", grouped(report.rows), grouped(report.funnel.commits.candidates))
            }
            Err((reason, _)) => format!("failed: {reason}"),
        };
        let line = format!("[{done}/{}] {name}: {what}", self.total);
        if self.plain {
            eprintln!("{line}");
        } else {
            let _a_lost_progress_line_is_no_error = self.bars.println(line);
        }
    }

    fn clear(&self) {
        let _a_lost_progress_line_is_no_error = self.bars.clear();
    }
}

fn report(args: &Args, outcomes: &[Outcome], started: Instant) -> Result<(), Error> {
    let mut funnel = Funnel::default();
    for report in outcomes.iter().filter_map(|outcome| outcome.result.as_ref().ok()) {
        funnel.add(&report.funnel);
    }
    for outcome in outcomes {
        if let Err((reason, hint)) = &outcome.result {
            anstream::eprintln!("{}: {}: {reason}", super::style("error"), outcome.name);
            if let Some(hint) = hint {
                anstream::eprintln!("{}: {hint}", super::style("hint"));
            }
        }
    }
    if args.json {
        let repositories: Vec<_> = outcomes
            .iter()
            .map(|outcome| match &outcome.result {
                Ok(report) => json!({"name": outcome.name, "report": report}),
                Err((reason, hint)) => json!({"name": outcome.name, "error": reason, "hint": hint}),
            })
            .collect();
        return print(&format!("{:#}\n", json!({"repositories": repositories, "funnel": funnel})));
    }
    if args.quiet {
        return Ok(());
    }
    print(&super::stats::funnel_table(&funnel))?;
    let failed = outcomes.iter().filter(|outcome| outcome.result.is_err()).count();
    let rows = grouped(funnel.changes.kept);
    let seconds = started.elapsed().as_secs_f64();
    print(&format!("{rows} new rows from {} repositories in {seconds:.1} s, {failed} failed\n", outcomes.len()))
}
