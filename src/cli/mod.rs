//! The program: one file per subcommand, errors with hints, exit codes.

/// Writes a line to standard error. What can't be said, to a log on a full disk, must not end what goes on.
macro_rules! tell {
    ($($text:tt)*) => {
        $crate::cli::tell(format_args!($($text)*))
    };
}

mod assemble;
mod config;
mod discover;
mod display;
mod explain;
mod export;
mod filters;
mod forget;
mod formats;
mod inspect;
mod languages;
mod licenses;
mod memory;
mod mine;
mod progress;
mod publish;
mod purge;
mod push;
mod records;
mod remove;
mod report;
mod show;
mod stats;
mod status;
mod verify;
mod watch;

use std::{
    ffi::OsString,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::{export::figure::grouped, pipeline, source, store};

/// Mines Git history into instruction-tuning data: commit message, diff, file before, file after.
#[derive(Parser)]
#[command(name = "gitlode", version, after_help = EXIT_CODES, arg_required_else_help = true)]
struct Cli {
    /// Configuration file; ~/.config/gitlode/config.toml by default.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global")]
    config: Option<PathBuf>,
    /// Directory with tables of facts to use instead of the compiled-in ones of the same file name.
    #[arg(long, global = true, value_name = "DIR", env = "GITLODE_TABLES", hide_env = true, help_heading = "Global")]
    tables: Option<PathBuf>,
    /// Count tokens with this tokenizer.json instead of estimating them.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "GITLODE_TOKENIZER",
        hide_env = true,
        help_heading = "Global"
    )]
    tokenizer: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 all good, 1 bug, environment, or nothing found, 2 usage, 3 done but some repositories failed, \
4 configuration, 5 store damaged, locked or not a store, 130 interrupted.\n\n\
Every long flag can also be set by a variable (--segment-bytes-max: GITLODE_SEGMENT_BYTES_MAX) and in the configuration \
file ([mine] segment-bytes-max = 1000000); `gitlode config show` prints what holds.";

#[derive(Subcommand)]
enum Command {
    /// Mine repositories into a store.
    Mine(mine::Args),
    /// Write a list of sources: what organisations, users, searches and topics have on GitHub, or what had pushes.
    Discover(discover::Args),
    /// Keep a store current: look at repositories now and then, fetch and mine what is new.
    Watch(watch::Args),
    /// Show how current each repository of a store is that is watched.
    Status(status::Args),
    /// Show the account of a store: what was kept, dropped and skipped.
    Stats(stats::Args),
    /// Print rows with their diff.
    Show(show::Args),
    /// Check every checksum and every count of a store.
    Verify(verify::Args),
    /// Forget sources that failed and are not wanted any more; rows that were mined stay.
    Forget(forget::Args),
    /// Decide which rows of a store go: duplicates, near-duplicates, texts of benchmarks.
    Assemble(assemble::Args),
    /// Take repositories out of a store; mined again, they are back.
    Remove(remove::Args),
    /// Take the rows of those who opted out of a store for good.
    Purge(purge::Args),
    /// Write the rows of a store for other programs.
    Export(export::Args),
    /// Upload an export to the Hugging Face Hub.
    Push(push::Args),
    /// Write a page about a store: its account, what its rows are, and samples of what stays and of what goes.
    Report(report::Args),
    /// List rulesets, show when their rules run, and try them.
    Filters(filters::Args),
    /// Show what every rule says of one commit of a repository.
    Explain(explain::Args),
    /// Show every fact about one commit of a repository, with its evidence.
    Inspect(inspect::Args),
    /// List languages, or say which one a file is in.
    Languages(languages::Args),
    /// List licences, or say which ones files are under.
    Licenses(licenses::Args),
    /// Make the index of a store again from its manifests.
    Reindex {
        /// The store.
        store: PathBuf,
        /// Print the summary as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show settings and where they come from.
    Config(config::Args),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages to a directory.
    Man {
        /// The directory.
        directory: PathBuf,
    },
}

/// What ends the program early.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Export(#[from] crate::export::Error),
    #[error(transparent)]
    Template(#[from] crate::export::template::Error),
    #[error(transparent)]
    Mine(#[from] pipeline::mine::Error),
    #[error(transparent)]
    Git(#[from] crate::git::Error),
    #[error(transparent)]
    Source(#[from] source::Error),
    #[error(transparent)]
    Discover(#[from] source::collect::Error),
    #[error(transparent)]
    Assemble(#[from] pipeline::assemble::Error),
    #[error(transparent)]
    Purge(#[from] pipeline::purge::Error),
    /// Of a command that can wait.
    #[error(transparent)]
    Locked(store::Error),
    #[error(transparent)]
    Join(#[from] pipeline::join::Error),
    #[error(transparent)]
    Filter(#[from] crate::filter::Error),
    #[error(transparent)]
    Tables(#[from] crate::classify::catalog::Error),
    #[error(transparent)]
    Tokenizer(#[from] crate::filter::tokens::Error),
    #[cfg(feature = "push")]
    #[error(transparent)]
    Hub(#[from] crate::hub::Error),
    #[error("{0}")]
    Usage(String),
    #[error("{path}: {reason}")]
    Config { path: PathBuf, reason: String },
    #[error("can't read the configuration file {path}: {source}")]
    ConfigFile { path: PathBuf, source: std::io::Error },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    /// Already reported; only the code is left.
    #[error("")]
    Reported(u8),
}

impl Error {
    fn code(&self) -> u8 {
        match self {
            Error::Io { .. } | Error::Export(_) | Error::Store(store::Error::Io { .. } | store::Error::Encode(_)) => 1,
            Error::Mine(pipeline::mine::Error::Store(_)) | Error::Store(_) => 5,
            #[cfg(feature = "push")]
            Error::Hub(crate::hub::Error::Name(_)) => 2,
            #[cfg(feature = "push")]
            Error::Hub(_) => 1,
            Error::Mine(_) | Error::Git(_) => 3,
            Error::Source(_) | Error::Usage(_) => 2,
            Error::Discover(error) if error.is_usage() => 2,
            Error::Discover(_) => 1,
            Error::Assemble(
                pipeline::assemble::Error::Store(_)
                | pipeline::assemble::Error::OptOut(pipeline::purge::Error::Store(_)),
            )
            | Error::Locked(_)
            | Error::Purge(pipeline::purge::Error::Store(_)) => 5,
            Error::Purge(_) => 4,
            Error::Assemble(_) => 4,
            Error::Config { .. }
            | Error::ConfigFile { .. }
            | Error::Tables(_)
            | Error::Filter(_)
            | Error::Template(_)
            | Error::Join(_)
            | Error::Tokenizer(_) => 4,
            Error::Reported(code) => *code,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::Locked(error) => error.hint().map(|hint| format!("{hint}; with --wait, this command waits")),
            Error::Store(error) => error.hint(),
            Error::Mine(error) => error.hint(),
            Error::Git(error) => error.hint(),
            #[cfg(feature = "push")]
            Error::Hub(error) => error.hint(),
            Error::Discover(error) => error.hint().map(str::to_owned),
            Error::Config { .. } => {
                Some("`gitlode help SUBCOMMAND` lists the settings of its section, and `gitlode config show SUBCOMMAND` those that hold".into())
            }
            Error::ConfigFile { .. } => Some(
                "--config and GITLODE_CONFIG name a TOML file; without them ~/.config/gitlode/config.toml is read"
                    .into(),
            ),
            Error::Filter(_) => Some(
                "filters/README.md in the source tree says what rules can be; `gitlode filters` lists the presets"
                    .into(),
            ),
            Error::Template(_) => Some(
                "`gitlode export --list` lists the templates; filters/README.md in the source tree says what one can be"
                    .into(),
            ),
            Error::Tables(_) => Some("languages/README.md in the source tree says what the tables are".into()),
            Error::Join(_) => Some(
                "JSON lines like {\"id\": \"…\", \"score\": 0.5}, or an .arrow or .parquet file with a column id"
                    .into(),
            ),
            Error::Tokenizer(_) => Some("it is the tokenizer.json that models on the Hugging Face Hub have".into()),
            Error::Assemble(pipeline::assemble::Error::Store(error)) => error.hint(),
            Error::Assemble(pipeline::assemble::Error::OptOut(_) | pipeline::assemble::Error::Filter(_)) => None,
            Error::Purge(pipeline::purge::Error::Store(error)) => error.hint(),
            Error::Purge(_) => None,
            Error::Assemble(pipeline::assemble::Error::Redact(_)) => {
                Some("filters/README.md in the source tree says what rules for secrets are".into())
            }
            Error::Assemble(_) => Some("a benchmark is JSON lines; its strings are looked for, at any depth".into()),
            Error::Export(crate::export::Error::Io { source, .. })
                if source.kind() == std::io::ErrorKind::StorageFull =>
            {
                Some("free some space and run the same command again; nothing is left of the export".into())
            }
            Error::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                Some("free some space and run the same command again".into())
            }
            Error::Usage(_) | Error::Export(_) | Error::Source(_) | Error::Io { .. } | Error::Reported(_) => None,
        }
    }
}

/// Runs the program with the arguments of the process.
pub fn run() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    match run_with(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !matches!(error, Error::Reported(_)) {
                tell!("{}: {}", style("error"), printable(&error.to_string()));
            }
            let hint = match error {
                Error::Usage(_) => Some(format!("see `gitlode {}`", help_of(&arguments))),
                _ => error.hint(),
            };
            if let Some(hint) = hint {
                tell!("{}: {hint}", style("hint"));
            }
            ExitCode::from(error.code())
        }
    }
}

/// How to ask for help about what was asked for.
fn help_of(arguments: &[OsString]) -> String {
    let command = Cli::command();
    let names = arguments.iter().skip(1).filter_map(|argument| argument.to_str());
    let mut asked = names.filter(|name| command.find_subcommand(name).is_some());
    asked.next().map_or_else(|| "help".to_owned(), |name| format!("help {name}"))
}

fn run_with(arguments: &[OsString]) -> Result<(), Error> {
    if arguments.get(1).is_some_and(|argument| argument == "mirror-child") {
        std::process::exit(crate::git::supervise::child_main());
    }
    let file = config::File::read(arguments)?;
    let command = file.apply(Cli::command())?;
    let matches = match command.clone().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => match file.blame(&error, arguments) {
            Some(error) => return Err(error),
            None => error.exit(),
        },
    };
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|e| e.exit());
    if let Some(directory) = &cli.tables {
        crate::classify::catalog::use_directory(directory)?;
    }
    if let Some(file) = &cli.tokenizer {
        crate::filter::tokens::use_file(file)?;
    }
    match cli.command {
        Command::Mine(args) => mine::run(&args, matches.subcommand_matches("mine"), &command),
        Command::Watch(args) => watch::run(&args, &command),
        Command::Status(args) => status::run(&args),
        Command::Discover(args) => discover::run(&args),
        Command::Stats(args) => stats::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Forget(args) => forget::run(&args),
        Command::Assemble(args) => assemble::run(&args),
        Command::Remove(args) => remove::run(&args),
        Command::Purge(args) => purge::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Push(args) => push::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Filters(args) => filters::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Languages(args) => languages::run(&args),
        Command::Licenses(args) => licenses::run(&args),
        Command::Config(args) => config::run(&args, &file, &command),
        Command::Reindex { store, json } => {
            store::Store::open(&store)?;
            let store = store::Store::create(&store, &|| false)?;
            store::index::Index::rebuild(&store)?;
            let (batches, damaged) = store.batches_and_damage()?;
            let count = batches.chunk_by(|(a, _), (b, _)| a == b).count();
            let damage: Vec<_> = damaged.iter().map(ToString::to_string).collect();
            if json {
                print(&format!("{:#}\n", serde_json::json!({"repositories": count, "damage": damage})))?;
            } else {
                print(&format!("{} in the index\n", repositories(count)))?;
            }
            match damaged.into_iter().next() {
                Some(error) => Err(error.into()),
                None => Ok(()),
            }
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "gitlode", &mut script);
            print_raw(&String::from_utf8_lossy(&script))
        }
        Command::Man { directory } => {
            let made =
                std::fs::create_dir_all(&directory).and_then(|()| clap_mangen::generate_to(Cli::command(), &directory));
            made.map_err(|source| Error::Io { path: directory, source })
        }
    }
}

/// The arguments of a subcommand as they would be with `arguments`, the configuration file and the environment.
fn of_configuration<T: clap::FromArgMatches>(
    command: &clap::Command,
    arguments: &[&std::ffi::OsStr],
) -> Result<T, Error> {
    let all = std::iter::once("gitlode".as_ref()).chain(arguments.iter().copied());
    let args = command.clone().try_get_matches_from(all).and_then(|matches| match matches.subcommand() {
        Some((_, matches)) => T::from_arg_matches(matches),
        None => Err(clap::Error::new(clap::error::ErrorKind::MissingSubcommand)),
    });
    let name = arguments.first().map(|name| name.to_string_lossy()).unwrap_or_default();
    args.map_err(|error| Error::Usage(format!("settings of {name}: {error}")))
}

/// A number of things of which there has to be one.
fn at_least_one<T: std::str::FromStr<Err: std::fmt::Display> + Default + PartialEq>(text: &str) -> Result<T, String> {
    match text.parse() {
        Ok(number) if number == T::default() => {
            Err("it has to be 1 at least; leave the option out for its default".into())
        }
        Ok(number) => Ok(number),
        Err(error) => Err(error.to_string()),
    }
}

/// Most threads: more than any machine has cores.
const THREADS_MAX: usize = 1024;

/// A number of threads.
fn threads(text: &str) -> Result<usize, String> {
    match at_least_one(text)? {
        threads if threads > THREADS_MAX => {
            Err(format!("it can be {THREADS_MAX} at most; more threads than cores are no faster"))
        }
        threads => Ok(threads),
    }
}

/// So many opt-outs that name nothing are told one by one: lists of them are written for many stores.
const UNMATCHED_TOLD: usize = 20;

/// Warns of opt-outs that name nothing in what `place` says.
fn warn_of_unmatched(lines: &[String], place: &str) {
    for line in lines.iter().take(UNMATCHED_TOLD) {
        tell!("{}: the opt-out {} names nothing {place}", style("warning"), printable(line));
    }
    if let Some(more) = lines.len().checked_sub(UNMATCHED_TOLD + 1) {
        tell!("{}: {} more opt-outs name nothing {place}", style("warning"), grouped(more as u64 + 1));
    }
}

/// Text from repositories and lists must not steer the terminal: controls and marks that turn the direction of writing
/// are replaced.
fn printable(text: &str) -> String {
    let steers = |c: char| {
        (c.is_control() && !matches!(c, '\t' | '\n')) || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

fn style(word: &str) -> String {
    let colour = if word == "error" { anstyle::AnsiColor::Red } else { anstyle::AnsiColor::Cyan };
    let style = anstyle::Style::new().bold().fg_color(Some(colour.into()));
    format!("{style}{word}{style:#}")
}

/// A flag that Ctrl-C and SIGTERM set; the second one ends the process at once.
fn interrupt_flag() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let second = signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag));
        let first = second.and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)));
        first.expect("SIGINT and SIGTERM may be caught");
    }
    flag
}

/// The time, in seconds since 1970.
fn seconds_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// `1 repository`, `2 repositories`: what is counted is given in its singular and plural.
fn counted(n: impl TryInto<u64>, one: &str, many: &str) -> String {
    let n = n.try_into().unwrap_or(u64::MAX);
    format!("{} {}", grouped(n), if n == 1 { one } else { many })
}

/// [`counted`] for repositories.
fn repositories(n: usize) -> String {
    counted(n, "repository", "repositories")
}

/// See the macro of this name.
fn tell(text: std::fmt::Arguments<'_>) {
    let mut to = anstream::stderr().lock();
    _ = std::io::Write::write_fmt(&mut to, format_args!("{text}\n"));
}

/// Writes to standard output, without colours where it is no terminal; for text that people read.
fn print(text: &str) -> Result<(), Error> {
    write(&mut anstream::stdout(), text)
}

/// Writes to standard output as it is; for what programs read.
fn print_raw(text: &str) -> Result<(), Error> {
    write(&mut std::io::stdout(), text)
}

/// A closed pipe is the reader's wish to see no more; what the run came to is told by the exit code all the same.
fn write(to: &mut dyn std::io::Write, text: &str) -> Result<(), Error> {
    match to.write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::Io { path: "standard output".into(), source: e })
        }
        Err(_) | Ok(()) => Ok(()),
    }
}
