//! `gitlode mine`: resolves the flags, mines every source, reports what became of each.

mod report;
mod retry;
mod settings;

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use serde_json::json;

use super::{
    Error,
    display::{Display, Level},
    export, interrupt_flag, memory, seconds_now,
};
use crate::{
    classify::{
        license::{self, policy::Policy},
        message::TrailerPolicy,
        natural::Judge,
    },
    export::Format,
    git::mirror::redact_url,
    pipeline::{
        mine::Report,
        purge,
        recipe::{Settings, rules},
        run::{self, Failure, Target},
    },
    sample::ChangeKind,
    source::{self, BadSource, RepoSpec},
    store::{
        self, Store,
        index::{Index, SourceState},
    },
};
use report::report;
use retry::{Again, failed_of, refuse_settings};
use settings::end_of;
pub(super) use settings::{date, judge, opt_outs, options, recipe};

#[derive(clap::Args)]
pub struct Args {
    /// Repositories: a path to one, to a directory of many, a URL, owner/name on GitHub, @FILE or - for a list.
    ///
    /// A list has one source a line, or is CSV or JSON lines with a column url, path, full_name or the like; its
    /// further columns are kept with the repository, also when it is named without the list later. A directory is
    /// searched to any depth for repositories, but not inside of those; symbolic links count where they lead to one.
    /// owner/name is a path where there is such a path or a directory `owner`. URLs may be https, http, ssh, git or file; one with
    /// a query or a fragment is refused, since a token in it would be published with the rows. Tokens for https come from GITLODE_TOKEN,
    /// GITHUB_TOKEN or GH_TOKEN for github.com, from GITLODE_TOKEN_<HOST> for other hosts (GITLODE_TOKEN_GIT_EXAMPLE_ORG), or from git's credential helpers.
    #[arg(required_unless_present = "retry_failed", value_name = "SOURCE")]
    sources: Vec<String>,
    /// The store's directory; made where there is none.
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Only sources whose last run failed, with the settings of that run; without SOURCE, all of those in the store.
    #[arg(long, conflicts_with = "dry_run")]
    retry_failed: bool,

    /// Mine what this branch, tag, ref or commit id (or REV~N, REV^N) reaches, instead of the default branch.
    #[arg(long, value_name = "REV", conflicts_with = "all_branches", help_heading = "What to mine")]
    rev: Option<String>,
    /// Mine what any branch reaches.
    #[arg(long, help_heading = "What to mine")]
    all_branches: bool,
    /// Only commits with a commit time from here on (2024-01-31, RFC 3339, or seconds since 1970).
    #[arg(long, value_name = "DATE", value_parser = date, help_heading = "What to mine")]
    since: Option<i64>,
    /// Only commits with a commit time up to here; a date alone includes its day.
    #[arg(long, value_name = "DATE", value_parser = end_of, help_heading = "What to mine")]
    until: Option<i64>,
    /// Kinds of change that become rows.
    #[arg(long, value_delimiter = ',', default_value = "modified", help_heading = "What to mine")]
    kinds: Vec<ChangeKind>,
    /// Take a deleted and an added file that are alike for one rename, as `git log -M` does; --kinds renamed implies it.
    #[arg(long, help_heading = "What to mine")]
    detect_renames: bool,
    /// Ruleset: a preset (`gitlode filters` lists them) or the path of a file.
    #[arg(long, default_value = "instruct", value_name = "NAME|FILE", help_heading = "What to mine")]
    filter: String,
    /// Keep no ledger of what rules dropped.
    #[arg(long)]
    no_ledger: bool,
    /// Largest file in bytes that becomes contents.
    #[arg(long, default_value_t = 1 << 20, value_name = "BYTES", help_heading = "What to mine")]
    blob_bytes_max: u64,
    /// Most paths that a commit may change; one that changes more is skipped.
    #[arg(long, default_value_t = 1_000_000, value_name = "N", help_heading = "What to mine")]
    commit_changes_max: usize,
    /// What to do with message trailers that name people.
    #[arg(long, default_value = "keep", help_heading = "What to mine")]
    trailers: TrailerPolicy,
    /// Who judges the language of messages: a table and a small model, or where those are not sure lingua's models too.
    #[arg(long, default_value = "fast", value_name = "JUDGE", value_parser = judge, help_heading = "What to mine")]
    message_language: Judge,
    /// Put names and addresses of author and committer into the rows.
    #[arg(long, help_heading = "What to mine")]
    authors: bool,
    /// Leave out repositories whose declared licence (the list's column `license`) the policy does not take.
    ///
    /// A history may have had another licence than today's, so this loses rows that could be kept.
    #[arg(long, value_name = "POLICY", num_args = 0..=1, default_missing_value = "permissive", value_parser = ["any", "commitpack", "permissive"], help_heading = "What to mine")]
    skip_by_declared_license: Option<String>,
    /// File of those who do not want their work in the rows; the store remembers it for every later run and export.
    ///
    /// Lines owner:NAME, repository:OWNER/NAME, commit:ID, path:GLOB, author:HASH (the SHA-256 of an e-mail address in
    /// lower case). Rows that were mined before go with `gitlode purge`.
    #[arg(long, value_name = "FILE")]
    opt_out: Option<PathBuf>,
    /// Mine from the start and replace all earlier rows; needed to change settings, or after missing objects came.
    ///
    /// One that was interrupted goes on where it was.
    #[arg(long)]
    replace: bool,

    /// Where mirrors of URLs are kept; STORE/mirrors by default.
    #[arg(long, value_name = "DIR", help_heading = "Mirrors")]
    mirrors: Option<PathBuf>,
    /// Remove each mirror as soon as it is mined.
    #[arg(long, help_heading = "Mirrors")]
    discard_mirrors: bool,
    /// Fetches at once.
    #[arg(long, default_value_t = 4, value_name = "N", help_heading = "Mirrors")]
    fetches: usize,
    /// Most bytes that one fetch may add to the disk.
    #[arg(long, default_value_t = 20_000_000_000, value_name = "BYTES", help_heading = "Mirrors")]
    fetch_bytes_max: u64,
    /// Most objects that one fetch may bring.
    #[arg(long, default_value_t = 100_000_000, value_name = "N", help_heading = "Mirrors")]
    fetch_objects_max: u64,
    /// Most bytes that may come of them when they are unpacked.
    #[arg(long, default_value_t = 1_000_000_000_000, value_name = "BYTES", help_heading = "Mirrors")]
    fetch_unpacked_bytes_max: u64,
    /// Longest time in seconds that one fetch may take, retries included.
    #[arg(long, default_value_t = 7200, value_name = "SECONDS", help_heading = "Mirrors")]
    fetch_seconds_max: u64,
    /// Least bytes a second that must arrive, over --fetch-low-speed-seconds.
    #[arg(long, default_value_t = 1000, value_name = "BYTES", help_heading = "Mirrors")]
    fetch_low_speed_bytes: u64,
    /// How long a fetch may be slower than that once it is connected; 0 is for ever.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", help_heading = "Mirrors")]
    fetch_low_speed_seconds: u64,
    /// How long a connection may take to open.
    #[arg(long, default_value_t = 20, value_name = "SECONDS", help_heading = "Mirrors")]
    fetch_connect_seconds: u64,
    /// Further attempts after a failure that may pass, with a growing pause between them.
    #[arg(long, default_value_t = 3, value_name = "N", help_heading = "Mirrors")]
    fetch_retries: u32,

    /// Export the store when all is mined, with the options of `export` as they are set elsewhere or by default; may be
    /// given several times.
    #[arg(long, value_name = "FORMAT:DIR", value_parser = wanted, conflicts_with_all = ["dry_run", "retry_failed"])]
    export: Vec<Wanted>,
    /// Mine and count, but write no rows.
    #[arg(long)]
    dry_run: bool,
    /// Threads that mine; all cores by default.
    #[arg(long, short = 'j', value_name = "N", value_parser = super::threads)]
    threads: Option<usize>,
    /// Memory for histories and for what is remembered of objects, such as 512M or 2G; a quarter of the machine's by
    /// default. A repository that takes more than its share is mined alone, after the others. It shows in no byte.
    #[arg(long, value_name = "SIZE", value_parser = memory::size)]
    memory: Option<u64>,
    /// Size in bytes after which a segment is sealed.
    #[arg(long, default_value_t = 64 << 20, value_name = "BYTES", value_parser = super::at_least_one::<u64>)]
    segment_bytes_max: u64,
    /// Wait for another process that writes to the store, instead of giving up.
    #[arg(long)]
    wait: bool,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
    /// No progress and no summary.
    #[arg(long, short)]
    quiet: bool,
    /// A line for every step; wins over --quiet.
    #[arg(long, short)]
    verbose: bool,
}

/// An export that is to follow.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    format: String,
    directory: String,
}

fn wanted(text: &str) -> Result<Wanted, String> {
    let (format, directory) = text.split_once(':').ok_or("it is FORMAT:DIR, like hf:out")?;
    if directory.is_empty() {
        return Err("it names no directory".into());
    }
    <Format as clap::ValueEnum>::from_str(format, false)
        .map_err(|_| format!("there is no format {format}; `gitlode export --list` has all"))?;
    Ok(Wanted { format: format.to_owned(), directory: directory.to_owned() })
}

/// The exports that are to follow, each as its own command would be, checked as far as can be before there are rows.
fn exports(args: &Args, command: &clap::Command) -> Result<Vec<export::Args>, Error> {
    let Some(store) = args.store.as_deref() else { return Ok(Vec::new()) };
    let mut exports = Vec::new();
    for (at, Wanted { format, directory }) in args.export.iter().enumerate() {
        let directory = Path::new(directory);
        // Each is to be whole by itself, and to be uploaded as it is.
        let is_in = |other: &Wanted| {
            directory.starts_with(&other.directory) || Path::new(&other.directory).starts_with(directory)
        };
        if args.export[..at].iter().any(is_in) {
            return Err(Error::Usage(format!("two exports to {}", directory.display())));
        }
        let follows = export::Args::parse(command, [store, directory], format, [args.json, args.quiet])?;
        follows.check()?;
        exports.push(follows);
    }
    Ok(exports)
}

/// Mines, and exports what is there then. Where some repositories failed, the others are exported all the same.
pub fn run(args: &Args, given: Option<&clap::ArgMatches>, command: &clap::Command) -> Result<(), Error> {
    let exports = exports(args, command)?;
    let mined = mine(args, given);
    if !matches!(mined, Ok(()) | Err(Error::Reported(3))) {
        return mined;
    }
    exports.iter().try_for_each(export::run)?;
    mined
}

impl Args {
    /// What `gitlode mine --store STORE` would be told by the configuration file and the environment alone.
    ///
    /// # Errors
    /// They hold something that `mine` does not take.
    pub(super) fn of_configuration(command: &clap::Command, store: &Path) -> Result<Self, Error> {
        super::of_configuration(command, &["mine".as_ref(), "--store".as_ref(), store.as_os_str(), "-".as_ref()])
    }

    /// The ruleset.
    pub(super) fn filter(&self) -> &str {
        &self.filter
    }

    /// Whether a repository is left out for its declared licence. What declares nothing may have a licence all the same.
    pub(super) fn refuses(&self, spec: &RepoSpec) -> bool {
        let policy = self.skip_by_declared_license.as_deref().and_then(Policy::find);
        let declared = spec.columns.get("license");
        policy.is_some_and(|policy| declared.is_some_and(|text| !policy.takes(Some(&license::declared(text)))))
    }
}

/// What became of one source.
struct Outcome {
    name: String,
    identity: String,
    result: Result<Report, Failure>,
}

fn mine(args: &Args, given: Option<&clap::ArgMatches>) -> Result<(), Error> {
    let started = Instant::now();
    if args.store.is_none() && !args.dry_run {
        return Err(Error::Usage("--store DIR is missing: where the rows go; or --dry-run to count only".into()));
    }
    if args.retry_failed {
        refuse_settings(given)?;
        // A store that is not there has no failed sources, and is more likely misspelt.
        args.store.as_deref().map(Store::open).transpose()?;
    } else if args.sources.is_empty() {
        return Err(Error::Usage("SOURCE is missing: what to mine".into()));
    }
    if let (Some(since), Some(until)) = (args.since, args.until)
        && since > until
    {
        return Err(Error::Usage("--since is later than --until: no commit is in between".into()));
    }
    let sources = source::parse(&args.sources, &mut std::io::stdin().lock())?;
    // Until here nothing needs an orderly end, and Ctrl-C is one.
    let interrupt = interrupt_flag();
    let store = match &args.store {
        Some(path) if !args.dry_run => match Store::create(path, &|| wait(args, &interrupt)) {
            Err(store::Error::Locked { .. }) if interrupt.load(Ordering::Relaxed) => return Err(Error::Reported(130)),
            Err(error @ store::Error::Locked { .. }) => return Err(Error::Locked(error)),
            other => Some(other?),
        },
        _ => None,
    };
    let index = store.as_ref().map(Index::open).transpose()?.map(Mutex::new);
    let Again { mut sources, recipes: earlier, superseded } = match &index {
        Some(index) if args.retry_failed => failed_of(sources, index, args)?,
        _ => Again { sources, ..Again::default() },
    };
    if sources.is_empty() && !args.quiet {
        let what = if args.retry_failed { "no source failed in its last run" } else { "the list has no sources" };
        tell!("{}: {what}", super::style("warning"));
    }
    match (&index, &args.store) {
        (Some(index), _) => remember_columns(&mut sources, &lock(index))?,
        (None, Some(path)) => {
            let index = Store::open(path).ok().and_then(|store| Index::read(&store));
            index.map_or(Ok(()), |index| remember_columns(&mut sources, &index))?;
        }
        (None, None) => {}
    }
    let replaced = index.as_ref().filter(|_| args.replace).map(|index| lock(index).replaced_by_interrupted_runs());
    let replaced = replaced.transpose()?.unwrap_or_default();
    let target = match (&store, &index) {
        (Some(store), Some(index)) => {
            let arguments: Vec<String> = args.sources.iter().map(|source| redact_url(source)).collect();
            let run = lock(index).begin_run(seconds_now(), &arguments)?;
            Some(Target { store, index, run })
        }
        _ => None,
    };
    let (outcomes, unfinished) = mine_all(args, target.as_ref(), sources, &earlier, &replaced, &interrupt)?;
    let failed = outcomes.iter().filter(|outcome| outcome.result.is_err()).count();
    let reported = report(args, &outcomes, unfinished, started);
    let noted = match &target {
        Some(target) if unfinished == 0 => {
            let mut index = lock(target.index);
            let forgotten = superseded.iter().try_for_each(|identity| index.forget_source(identity));
            forgotten.and_then(|()| index.finish_run(target.run, seconds_now()))
        }
        _ => Ok(()),
    };
    reported?;
    if unfinished > 0 {
        let advice = if args.dry_run { "" } else { ": what is sealed is kept; the same command goes on from there" };
        tell!("interrupted{advice}");
        return Err(Error::Reported(130));
    }
    match noted {
        Err(error) if failed > 0 => {
            // A full disk keeps failures from being noted as well.
            tell!("{}: {error}; --retry-failed may not know of all that failed", super::style("warning"));
            Err(Error::Reported(3))
        }
        Ok(()) if failed > 0 => Err(Error::Reported(3)),
        other => Ok(other?),
    }
}

/// What a list said of sources that are named without one now.
fn remember_columns(sources: &mut Sources, index: &Index) -> Result<(), Error> {
    Ok(sources.iter_mut().flatten().try_for_each(|spec| remember_columns_of(spec, index))?)
}

/// What a list said of a source that is named without one now.
pub(super) fn remember_columns_of(spec: &mut RepoSpec, index: &Index) -> Result<(), store::Error> {
    if !spec.is_bare {
        return Ok(());
    }
    let given = index.spec(&spec.identity)?.and_then(|json| serde_json::from_str::<RepoSpec>(&json).ok());
    let known = match given {
        Some(given) => Some((given.name, given.columns)),
        None => index.repository(&spec.identity)?.map(|known| (known.name, known.columns)),
    };
    if let Some((name, columns)) = known {
        (spec.name, spec.columns) = (name, columns);
    }
    Ok(())
}

pub(super) fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn wait(args: &Args, interrupt: &Arc<AtomicBool>) -> bool {
    static SAID: std::sync::Once = std::sync::Once::new();
    let wait = args.wait && !interrupt.load(Ordering::Relaxed);
    if wait && !args.quiet {
        SAID.call_once(|| tell!("waiting for another gitlode that writes to the store"));
    }
    wait
}

type Sources = Vec<Result<RepoSpec, BadSource>>;

/// Settings by identity.
type Recipes = HashMap<String, Settings>;

/// What tells `source` apart from others in the index.
pub(super) fn identity(source: &Result<RepoSpec, BadSource>) -> String {
    match source {
        Ok(spec) => spec.identity.clone(),
        Err(bad) => bad_identity(bad),
    }
}

/// What tells sources apart that could not be understood: the absolute path that was meant, or the text.
fn bad_identity(bad: &BadSource) -> String {
    let path = if bad.text.contains("://") { None } else { std::path::absolute(&bad.text).ok() };
    path.map_or_else(|| redact_url(&bad.text), |path| path.display().to_string())
}

/// What became of each source, and how many were not finished when an interruption came. `replaced` are sources and
/// recipes whose rows were replaced already.
fn mine_all(
    args: &Args,
    target: Option<&Target<'_>>,
    sources: Sources,
    earlier: &Recipes,
    replaced: &HashSet<(String, String)>,
    interrupt: &AtomicBool,
) -> Result<(Vec<Outcome>, usize), Error> {
    let mut specs = Vec::new();
    let mut outcomes = Vec::new();
    let opt_outs = Arc::new(opt_outs(args, target.map(|target| target.store))?);
    warn_of_unmatched(args, target.map(|target| target.store), &sources)?;
    let rules = Arc::new(rules(&args.filter)?);
    for source in sources {
        match source {
            Ok(spec) if args.refuses(&spec) => {
                let result = Ok(Report { skipped_by_license: true, ..Report::default() });
                outcomes.push(Outcome { name: spec.name, identity: spec.identity, result });
            }
            Ok(spec) if opt_outs.find_source(&spec.name, &spec.columns).is_some() => {
                let result = Ok(Report { opted_out: true, ..Report::default() });
                outcomes.push(Outcome { name: spec.name, identity: spec.identity, result });
            }
            Ok(spec) => specs.push(spec),
            Err(bad) => {
                let identity = bad_identity(&bad);
                if let Some(target) = target.filter(|_| !bad.is_line) {
                    let settings = earlier.get(&identity);
                    let recipe = settings.map_or_else(|| recipe(args, &rules, None), |s| s.recipe.clone());
                    let state = SourceState {
                        identity: identity.clone(),
                        spec: json!(bad.columns).to_string(),
                        recipe: json!(recipe).to_string(),
                        replace: settings.map_or(args.replace, |s| s.replace),
                        rows: 0,
                        failure: Some((bad.reason.clone(), bad.hint.clone())),
                    };
                    lock(target.index).set_source(target.run, &state)?;
                }
                let result = Err(Failure { reason: bad.reason, hint: bad.hint, needs_memory: false });
                outcomes.push(Outcome { name: redact_url(&bad.text), identity, result });
            }
        }
    }
    let level = match (args.quiet, args.verbose) {
        (_, true) => Level::Verbose,
        (true, _) => Level::Quiet,
        _ => Level::Normal,
    };
    let display = Display::new(level, specs.iter().map(|spec| spec.name.clone()).collect(), outcomes.len());
    for outcome in &outcomes {
        display.settled(&outcome.name, &outcome.result);
    }
    let options = options(args, &specs)?;
    let settings = |spec: &RepoSpec| {
        let settings = match earlier.get(&spec.identity) {
            Some(settings) => Settings { replace: settings.replace || args.replace, ..settings.clone() },
            None => {
                let recipe = recipe(args, &rules, Some(spec));
                let (rules, opt_outs) = (Arc::clone(&rules), Arc::default());
                Settings { recipe, rules, opt_outs, replace: args.replace, is_replaced: false, renews: false }
            }
        };
        let is_replaced = replaced.contains(&(spec.identity.clone(), json!(settings.recipe).to_string()));
        Settings { is_replaced, opt_outs: Arc::clone(&opt_outs), ..settings }
    };
    let observe = |number: usize, event: run::Event<'_>| display.event(number, &event);
    let results = run::run(target, &specs, &settings, &options, interrupt, &observe);
    display.clear();
    super::filters::warn_of_failures(&rules);
    let unfinished = results.iter().filter(|result| result.is_none()).count();
    let finished = specs.into_iter().zip(results);
    outcomes.extend(
        finished
            .filter_map(|(spec, result)| Some(Outcome { name: spec.name, identity: spec.identity, result: result? })),
    );
    Ok((outcomes, unfinished))
}

/// Warns of lines of `--opt-out` with an owner or a repository that neither this run nor the store has. What the others name
/// is not known before all rows are looked at, which `assemble` does.
fn warn_of_unmatched(args: &Args, target: Option<&Store>, sources: &Sources) -> Result<(), Error> {
    let Some(path) = args.opt_out.as_ref().filter(|_| !args.quiet) else { return Ok(()) };
    let text = purge::read_list(path).map_err(|source| Error::Io { path: path.clone(), source })?;
    let given = purge::parse(path, &text)?;
    if !given.has_repositories() {
        return Ok(());
    }
    let (batches, _damage) = target.map(Store::batches_and_damage).transpose()?.unwrap_or_default();
    let in_store = batches.iter().map(|(_, batch)| (&*batch.repository.name, &batch.repository.columns));
    let of_run = sources.iter().flatten().map(|spec| (&*spec.name, &spec.columns));
    super::warn_of_unmatched(&given.unmatched_repositories(in_store.chain(of_run)), "in this run or this store");
    Ok(())
}
