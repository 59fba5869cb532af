//! `gitlode discover`: writes a source list, and says what is not on it.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use super::{Error, counted, grouped, interrupt_flag, print_raw, printable, seconds_now, stats, style};
use crate::{
    classify::license::{self, policy::Policy},
    git::mirror,
    pipeline::run,
    source::{
        archive,
        collect::{self, Collected, Plan},
        discovery::{Archived, COLUMNS, Demand, Forks, Repository, Takes},
        github::{self, Clock, Query},
    },
};

/// So many failures are shown; `--json` has all.
const FAILURES_SHOWN_MAX: usize = 20;

const EXAMPLES: &str = "Examples:\n  \
gitlode discover --org rust-lang --forks skip > list\n  \
gitlode discover --search 'language:go stars:>=500' --license permissive --csv > list.csv\n  \
gitlode discover --topic parser --pushed-since 2026-01-01 --size-max 500000 > list\n  \
gitlode discover --hours 2026-11-20-0..2026-11-20-23 --look-up --stars-min 100 > list\n  \
gitlode mine @list --store rows";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The repositories of this organisation.
    #[arg(long, value_name = "NAME", help_heading = "Where to look")]
    org: Vec<String>,
    /// The repositories that this user owns.
    #[arg(long, value_name = "NAME", help_heading = "Where to look")]
    user: Vec<String>,
    /// What this search finds, in GitHub's own language; one with more than 1,000 results is asked in parts.
    #[arg(long, value_name = "QUERY", help_heading = "Where to look")]
    search: Vec<String>,
    /// What has this topic.
    #[arg(long, value_name = "TOPIC", help_heading = "Where to look")]
    topic: Vec<String>,
    /// What had pushes in these hours, by GH Archive: 2026-11-20-15, or the first and the last, 2026-11-20-15..2026-11-21-3,
    /// or the last 24 that are surely there, last-24.
    #[arg(long, value_name = "HOURS", help_heading = "Where to look")]
    hours: Vec<String>,
    /// What had pushes in an hour file of GH Archive at this path or URL.
    #[arg(long, value_name = "FILE|URL", help_heading = "Where to look")]
    archive: Vec<String>,
    /// Where the files of --hours are, a URL or a directory.
    #[arg(long, default_value = archive::BASE, value_name = "URL|DIR", help_heading = "Where to look")]
    archive_base: String,
    /// Ask GitHub for each repository that GH Archive names, since that says only name and pushes; a request each.
    #[arg(long, help_heading = "Where to look")]
    look_up: bool,

    /// Only these licences: SPDX identifiers, or what a policy takes (permissive, commitpack).
    #[arg(long, value_name = "ID|POLICY", value_delimiter = ',', help_heading = "What to list")]
    license: Vec<String>,
    /// Only repositories that are mostly in one of these languages.
    #[arg(long, value_name = "NAME", value_delimiter = ',', help_heading = "What to list")]
    language: Vec<String>,
    /// Least stars.
    #[arg(long, value_name = "N", help_heading = "What to list")]
    stars_min: Option<u64>,
    /// Most stars.
    #[arg(long, value_name = "N", help_heading = "What to list")]
    stars_max: Option<u64>,
    /// Largest repository, in KiB as GitHub counts them.
    #[arg(long, value_name = "KIB", help_heading = "What to list")]
    size_max: Option<u64>,
    /// Only repositories with a push from here on (2026-01-31, RFC 3339, or seconds since 1970).
    #[arg(long, value_name = "DATE", value_parser = super::mine::date, help_heading = "What to list")]
    pushed_since: Option<i64>,
    /// What to do with archived repositories.
    #[arg(long, value_enum, default_value_t, help_heading = "What to list")]
    archived: Archived,
    /// What to do with forks; attach asks for the root of each, a request each, so that what both have is mined once.
    #[arg(long, value_enum, default_value_t, help_heading = "What to list")]
    forks: Forks,
    /// List private repositories that the token may see, too.
    #[arg(long, help_heading = "What to list")]
    private: bool,

    /// The API; https://HOST/api/v3 for GitHub Enterprise.
    #[arg(long, default_value = github::BASE_URL, value_name = "URL", help_heading = "How to ask")]
    base_url: String,
    /// File with the token.
    ///
    /// Without it: GITLODE_TOKEN, GITHUB_TOKEN or GH_TOKEN for github.com, GITLODE_TOKEN_<HOST> for other hosts
    /// (GITLODE_TOKEN_GIT_EXAMPLE_ORG).
    #[arg(long, value_name = "FILE", help_heading = "How to ask")]
    token_file: Option<PathBuf>,
    /// Where answers are kept, so that what has not changed costs nothing; ~/.cache/gitlode/github by default.
    #[arg(long, value_name = "DIR", conflicts_with = "no_cache", help_heading = "How to ask")]
    cache: Option<PathBuf>,
    /// Keep no answers.
    #[arg(long, help_heading = "How to ask")]
    no_cache: bool,
    /// Longest wait in seconds where GitHub limits the rate; with a longer one ahead, it ends and says when to come back.
    #[arg(long, default_value_t = 300, value_name = "SECONDS", help_heading = "How to ask")]
    wait_seconds_max: u64,
    /// Further attempts after a failure that may pass, with a growing pause between them.
    #[arg(long, default_value_t = 3, value_name = "N", help_heading = "How to ask")]
    retries: u32,
    /// How long nothing may arrive of an answer.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..), help_heading = "How to ask")]
    silent_seconds_max: u64,

    /// Columns of the list, beside the url; all by default.
    ///
    /// A repository whose columns have changed gets an empty batch when it is mined again, and stars change every day.
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = COLUMNS)]
    columns: Vec<String>,
    /// Write CSV instead of JSON lines.
    #[arg(long)]
    csv: bool,
    /// Print the account as JSON, on standard error like the table.
    #[arg(long)]
    json: bool,
    /// No table and no word of waiting; failures are told, and the account with --json.
    #[arg(long, short)]
    quiet: bool,
    /// A line for every request.
    #[arg(long, short)]
    verbose: bool,
}

/// Columns of the list of a watch, where none are named: those that do not change every day.
const LASTING_COLUMNS: [&str; 4] = ["id", "license", "language", "fork"];

impl Args {
    /// For a watch, which tells nobody how things went, and asks again and again.
    pub(super) fn for_watch(mut self) -> Self {
        if self.columns.is_empty() {
            self.columns = LASTING_COLUMNS.map(str::to_owned).to_vec();
            self.columns.extend((self.forks == Forks::Attach).then(|| "root".to_owned()));
        }
        self
    }

    /// Whether it can be told where to look, and for what.
    ///
    /// # Errors
    /// It can't.
    pub(super) fn check(&self) -> Result<(), Error> {
        plan(self).map(|_| ())
    }

    /// The list as JSON lines, and how many requests the server leaves until its limit, where it says so.
    ///
    /// # Errors
    /// A query, a file or a repository failed, so that something may be missing; or it was interrupted.
    pub(super) fn list(&self, interrupt: &AtomicBool) -> Result<(String, Option<u64>), NotListed> {
        let collected = collect(self, &plan(self)?, interrupt).map_err(Error::from)?;
        if let Some(failure) = collected.failures.first() {
            let reason = format!("{}: {}", failure.what, failure.reason);
            return Err(NotListed { reason, limited_until: collected.requests.limited_until });
        }
        let list: Result<String, Error> = collected.list.iter().map(|one| line(self, one)).collect();
        Ok((list?, collected.requests.remaining))
    }
}

/// Why there is no list.
pub(super) struct NotListed {
    pub(super) reason: String,
    /// Before this time, in seconds since 1970, the server is not to be asked again; none where it did not say so.
    pub(super) limited_until: Option<i64>,
}

impl From<Error> for NotListed {
    fn from(error: Error) -> Self {
        NotListed { reason: error.to_string(), limited_until: None }
    }
}

fn collect(args: &Args, plan: &Plan, interrupt: &AtomicBool) -> Result<Collected, collect::Error> {
    let clock = Clock {
        now: &seconds_now,
        pause: &|seconds, why| pause(args, interrupt, seconds, why),
        tell: &|line| {
            if args.verbose {
                tell!("{}", printable(line));
            }
        },
    };
    collect::collect(plan, clock)
}

pub fn run(args: &Args) -> Result<(), Error> {
    let plan = plan(args)?;
    let interrupt = interrupt_flag();
    let collected = match collect(args, &plan, &interrupt) {
        Err(collect::Error::Interrupted) => {
            tell!("interrupted: there is no list");
            return Err(Error::Reported(130));
        }
        other => other?,
    };
    let failures: Vec<(&str, run::Failure)> = collected
        .failures
        .iter()
        .map(|failure| {
            let hint = failure.hint.map(str::to_owned);
            (failure.what.as_str(), run::Failure { reason: failure.reason.clone(), hint, needs_memory: false })
        })
        .collect();
    write_list(args, &collected.list)?;
    match (args.json, args.quiet) {
        (true, _) => tell!("{:#}", account(&collected)),
        (false, true) => {}
        (false, false) => tell(&collected),
    }
    if failures.is_empty() {
        return Ok(());
    }
    if !args.json {
        tell!("{}: {}; what is missing for that is in no count", style("error"), failed(failures.len()));
        let shown: Vec<_> = failures.iter().take(FAILURES_SHOWN_MAX).map(|(what, failure)| (*what, failure)).collect();
        tell!("{}", stats::failure_table(&shown));
    }
    Err(Error::Reported(3))
}

fn failed(count: usize) -> String {
    counted(count, "query, file or repository failed", "queries, files or repositories failed")
}

fn plan(args: &Args) -> Result<Plan, Error> {
    let of = |kind: fn(String) -> Query, names: &[String]| names.iter().cloned().map(kind).collect::<Vec<_>>();
    let mut queries = of(Query::Organisation, &args.org);
    queries.extend(of(Query::User, &args.user));
    queries.extend(of(Query::Search, &args.search));
    queries.extend(of(Query::Topic, &args.topic));
    let mut places = Vec::new();
    for hours in &args.hours {
        places.extend(archive::places(&args.archive_base, hours, seconds_now()).map_err(collect::Error::from)?);
    }
    for file in &args.archive {
        places.push(archive::place(file).map_err(collect::Error::from)?);
    }
    // A push is not to be counted twice.
    let mut seen = std::collections::HashSet::new();
    places.retain(|place| seen.insert(place.to_string()));
    if queries.is_empty() && places.is_empty() {
        return Err(Error::Usage(
            "where to look is missing: --org, --user, --search, --topic, --hours or --archive".into(),
        ));
    }
    let demand = demand(args)?;
    if !places.is_empty() && !args.look_up && demand.needs_description() {
        return Err(Error::Usage(
            "GH Archive says nothing of licence, language, stars, size, forks and archives: add --look-up".into(),
        ));
    }
    let github = github::Options {
        base_url: args.base_url.clone(),
        token: token(args)?,
        cache: args.cache.clone().or_else(own_cache).filter(|_| !args.no_cache),
        wait_seconds_max: args.wait_seconds_max,
        retries: args.retries,
        silent_seconds_max: args.silent_seconds_max,
    };
    Ok(Plan { queries, places, look_up: args.look_up, github, demand })
}

fn demand(args: &Args) -> Result<Demand, Error> {
    if let (Some(min), Some(max)) = (args.stars_min, args.stars_max)
        && min > max
    {
        return Err(Error::Usage("--stars-min is more than --stars-max: nothing is in between".into()));
    }
    Ok(Demand {
        license: if args.license.is_empty() { None } else { Some(licenses(&args.license)?) },
        languages: args.language.clone(),
        stars_min: args.stars_min,
        stars_max: args.stars_max,
        size_max: args.size_max,
        pushed_since: args.pushed_since,
        archived: args.archived,
        forks: args.forks,
        private: args.private,
    })
}

/// Policies by their names, and single licences.
fn licenses(given: &[String]) -> Result<Takes, Error> {
    let (mut policies, mut ids) = (Vec::new(), Vec::new());
    for text in given {
        match (Policy::find(text), license::declared(text)) {
            (Some(policy), _) => policies.push(policy),
            (None, id) if id.starts_with("LicenseRef-") && !text.starts_with("LicenseRef-") => {
                return Err(Error::Usage(format!("{text} is neither an SPDX identifier nor a policy")));
            }
            (None, id) => ids.push(id),
        }
    }
    Ok(Box::new(move |text| {
        let declared = license::declared(text);
        ids.contains(&declared) || policies.iter().any(|policy| policy.takes(Some(&declared)))
    }))
}

fn token(args: &Args) -> Result<Option<String>, Error> {
    let Some(path) = &args.token_file else {
        let (host, port) = github::server(&args.base_url).map_err(collect::Error::from)?;
        return Ok(mirror::token(&host, port));
    };
    let text = std::fs::read_to_string(path).map_err(|source| Error::Io { path: path.clone(), source })?;
    match text.trim() {
        "" => Err(Error::Usage(format!("{} has no token", path.display()))),
        token => Ok(Some(token.to_owned())),
    }
}

/// As the XDG base directory specification has it.
fn own_cache() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let directory = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(directory.join("gitlode/github"))
}

/// Waits, in steps between which it can be interrupted; false where it was.
fn pause(args: &Args, interrupt: &AtomicBool, seconds: u64, why: &str) -> bool {
    const STEP: Duration = Duration::from_millis(100);
    if seconds > 0 && !args.quiet {
        tell!("waiting {seconds} s: {}", printable(why));
    }
    for _ in 0..seconds.saturating_mul(10) {
        if interrupt.load(Ordering::Relaxed) {
            return false;
        }
        thread::sleep(STEP);
    }
    !interrupt.load(Ordering::Relaxed)
}

/// Writes the list, a few repositories at a time.
fn write_list(args: &Args, list: &[Repository]) -> Result<(), Error> {
    if args.csv {
        let columns = COLUMNS.into_iter().filter(|column| is_wanted(args, column));
        print_raw(&csv_line(columns.map(str::to_owned))?)?;
    }
    for part in list.chunks(1000) {
        print_raw(&part.iter().map(|one| line(args, one)).collect::<Result<String, Error>>()?)?;
    }
    Ok(())
}

/// Without its url, a line names no source.
fn is_wanted(args: &Args, column: &str) -> bool {
    args.columns.is_empty() || column == "url" || args.columns.iter().any(|wanted| wanted == column)
}

fn line(args: &Args, one: &Repository) -> Result<String, Error> {
    let mut known = COLUMNS.into_iter().zip(one.values()).filter(|(column, _)| is_wanted(args, column));
    if args.csv { csv_of(&mut known) } else { json_of(&mut known) }
}

type Values<'v> = dyn Iterator<Item = (&'static str, Value)> + 'v;

fn json_of(values: &mut Values<'_>) -> Result<String, Error> {
    let known = values.filter(|(_, value)| !value.is_null());
    let fields: Vec<String> = known.map(|(column, value)| format!("\"{column}\":{value}")).collect();
    Ok(format!("{{{}}}\n", fields.join(",")))
}

fn csv_of(values: &mut Values<'_>) -> Result<String, Error> {
    csv_line(values.map(|(_, value)| match value {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    }))
}

fn csv_line(values: impl Iterator<Item = String>) -> Result<String, Error> {
    let error = |e: std::io::Error| Error::Io { path: "standard output".into(), source: e };
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(values).map_err(|e| error(e.into()))?;
    let bytes = writer.into_inner().map_err(|e| error(e.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn account(collected: &Collected) -> serde_json::Value {
    let asked: Vec<_> = collected
        .asked
        .iter()
        .map(|asked| json!({"query": asked.query.to_string(), "found": asked.found, "search": asked.shortfall}))
        .collect();
    let read: Vec<_> =
        collected.read.iter().map(|(place, tally)| json!({"file": place.to_string(), "tally": tally})).collect();
    let failures: Vec<_> = collected
        .failures
        .iter()
        .map(|failure| json!({"what": failure.what, "error": failure.reason, "hint": failure.hint}))
        .collect();
    json!({
        "account": collected.account, "forks_without_root": collected.forks_without_root,
        "queries": asked, "archives": read, "failures": failures, "requests": collected.requests,
        "cache_failure": collected.cache_failure,
    })
}

/// The account, for people.
fn tell(collected: &Collected) {
    let account = &collected.account;
    let mut table = stats::new_table(&["", "repositories"]);
    table.add_row(["found".to_owned(), grouped(account.found)]);
    for (reason, count) in &account.left_out {
        let name = json!(reason);
        table.add_row([format!("left out: {}", name.as_str().unwrap_or_default()), grouped(*count)]);
    }
    table.add_row(["listed".to_owned(), grouped(account.listed)]);
    stats::align(&mut table, 1..2);
    tell!("{table}");
    let warn = |text: String| tell!("{}: {}", style("warning"), printable(&text));
    for asked in &collected.asked {
        if asked.shortfall.missing > 0 {
            let missing = grouped(asked.shortfall.missing);
            warn(format!("{}: {missing} that GitHub counts it did not give", asked.query));
        }
        if asked.shortfall.incomplete > 0 {
            let parts = counted(usize::try_from(asked.shortfall.incomplete).unwrap_or(usize::MAX), "part", "parts");
            warn(format!("{}: GitHub had no time to complete {parts}, so there may be more", asked.query));
        }
    }
    for (place, tally) in &collected.read {
        let bad = tally.bad_lines + tally.long_lines;
        if bad > 0 {
            warn(format!("{place}: {} of {} lines are no events", grouped(bad), grouped(tally.lines)));
        }
    }
    if collected.forks_without_root > 0 {
        warn(format!("{} listed without the root", counted(collected.forks_without_root, "fork is", "forks are")));
    }
    if let Some(failure) = &collected.cache_failure {
        warn(format!("answers could not be kept: {failure}"));
    }
    if !collected.read.is_empty() {
        let sum = |of: fn(&archive::Tally) -> u64| grouped(collected.read.iter().map(|(_, tally)| of(tally)).sum());
        let files = counted(collected.read.len(), "file", "files");
        tell!("{files}, {} lines, {} pushes", sum(|tally| tally.lines), sum(|tally| tally.pushes));
    }
    let requests = &collected.requests;
    if requests.answered > 0 {
        let left = requests.remaining.map(|left| format!(", {} left of the limit", grouped(left))).unwrap_or_default();
        let answered = counted(usize::try_from(requests.answered).unwrap_or(usize::MAX), "request", "requests");
        let unchanged = grouped(requests.unchanged);
        tell!("{answered}, {unchanged} of them for what has not changed{left}");
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::{Cli, Command};

    #[test]
    fn a_watch_keeps_what_lasts_and_what_forks_are_attached_to() {
        for (more, expected) in [
            (&[][..], &["id", "license", "language", "fork"][..]),
            (&["--forks", "skip"], &["id", "license", "language", "fork"]),
            (&["--forks", "attach"], &["id", "license", "language", "fork", "root"]),
            (&["--forks", "attach", "--columns", "stars"], &["stars"]),
        ] {
            let cli = Cli::parse_from([&["gitlode", "discover", "--org", "o"][..], more].concat());
            let Command::Discover(args) = cli.command else { unreachable!("it is what was asked for") };
            assert_eq!(args.for_watch().columns, expected, "{more:?}");
        }
    }
}
