//! Settings: built-in defaults, then the configuration file, then the environment, then flags; the later wins.
//!
//! The file is TOML with a table for each subcommand, and the long names of its flags as keys. The same flags can be
//! set by variables: `--blob-bytes-max` of any subcommand is `GITLODE_BLOB_BYTES_MAX`.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, Command, builder::BoolishValueParser};
use serde_json::json;
use toml::{Table, Value};

use super::{Error, print, stats::new_table};
use crate::git::mirror::redact_url;

/// Flags that say what one run is to do, and so have no place in a file.
const NOT_IN_FILE: [&str; 9] =
    ["config", "dry-run", "export", "once", "repair", "replace", "retry-failed", "rev", "verbose"];

/// Variables that are no flag of a subcommand; with a last underscore, the start of many.
const OTHER_VARIABLES: [&str; 4] = ["GITLODE_CONFIG", "GITLODE_TABLES", "GITLODE_TOKEN", "GITLODE_TOKENIZER"];
const OTHER_VARIABLES_START: &str = "GITLODE_TOKEN_";

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(clap::Subcommand)]
enum ConfigCommand {
    /// Print every setting, its value and where that comes from.
    Show {
        /// The subcommand whose settings to show.
        #[arg(default_value = "mine")]
        subcommand: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// The configuration file, read.
#[derive(Debug, Default)]
pub struct File {
    path: Option<PathBuf>,
    table: Table,
}

impl File {
    /// Reads the file that `--config` in `arguments` or GITLODE_CONFIG names, or else the user's own, which may be
    /// missing: `gitlode/config.toml` in $XDG_CONFIG_HOME or ~/.config.
    pub fn read(arguments: &[OsString]) -> Result<File, Error> {
        let named = named(arguments).or_else(|| std::env::var_os("GITLODE_CONFIG").map(PathBuf::from));
        let (path, required) = match named {
            Some(path) => (path, true),
            None => match own_path() {
                Some(path) => (path, false),
                None => return Ok(File::default()),
            },
        };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !required => return Ok(File::default()),
            Err(source) => return Err(Error::ConfigFile { path, source }),
        };
        match text.parse() {
            Ok(table) => Ok(File { path: Some(path), table }),
            Err(e) => Err(Error::Config { path, reason: e.to_string().trim_end().to_owned() }),
        }
    }

    fn error(&self, reason: String) -> Error {
        Error::Config { path: self.path.clone().unwrap_or_default(), reason }
    }

    /// The error to report where clap found a bad value that this file or the environment gave.
    pub fn blame(&self, error: &clap::Error, arguments: &[OsString]) -> Option<Error> {
        use clap::error::{ContextKind, ContextValue};
        let text = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => Some(text.as_str()),
            _ => None,
        };
        let (arg, bad) = (text(ContextKind::InvalidArg)?, text(ContextKind::InvalidValue)?);
        let long = arg.split_whitespace().next()?.trim_end_matches("[=<BOOL>]").strip_prefix("--")?;
        let bad = masked(bad);
        let flag = format!("--{long}");
        let given = arguments.iter().filter_map(|argument| argument.to_str());
        if given.clone().any(|argument| argument.split('=').next() == Some(&flag)) {
            return None;
        }
        let expected = match error.get(ContextKind::ValidValue) {
            Some(ContextValue::Strings(values)) => format!("; it may be {}", values.join(", ")),
            _ => std::error::Error::source(error).map(|e| format!(": {e}")).unwrap_or_default(),
        };
        let variable = format!("GITLODE_{}", long.replace('-', "_").to_ascii_uppercase());
        if std::env::var_os(&variable).is_some() {
            return Some(Error::Config {
                path: variable.into(),
                reason: format!("{bad} is no value of {flag}{expected}"),
            });
        }
        let section = given.skip(1).find(|argument| self.table.contains_key(*argument))?;
        Some(self.error(format!("{section}.{long} can't be {bad}{expected}")))
    }

    /// Makes the settings of this file and of the environment part of `command`.
    pub fn apply(&self, mut command: Command) -> Result<Command, Error> {
        for (section, settings) in &self.table {
            let Some(subcommand) = command.find_subcommand(section) else {
                return Err(self.error(format!("there is no subcommand {section}")));
            };
            let Value::Table(settings) = settings else {
                return Err(self.error(format!("{section} must be a table, [{section}]")));
            };
            for key in settings.keys() {
                let name = key.replace('_', "-");
                if NOT_IN_FILE.contains(&name.as_str()) {
                    return Err(self.error(format!("{section}.{key} is for one run only and can't be set here")));
                }
                if !subcommand.get_arguments().any(|arg| arg.get_long() == Some(&name)) {
                    return Err(self.error(format!("there is no setting {section}.{key}")));
                }
            }
        }
        self.refuse_unknown_variables(&command)?;
        for name in command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect::<Vec<_>>() {
            command = command.mut_subcommand(&name, |sub| sub.mut_args(|arg| self.with_sources(&name, arg)));
        }
        Ok(command)
    }

    /// A variable that sets nothing is misspelt.
    fn refuse_unknown_variables(&self, command: &Command) -> Result<(), Error> {
        let known: HashSet<String> =
            command.get_subcommands().flat_map(Command::get_arguments).filter_map(variable).collect();
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let mut unknown: Vec<String> = names
            .filter(|name| name.starts_with("GITLODE_") && !known.contains(name))
            .filter(|name| !OTHER_VARIABLES.contains(&name.as_str()) && !name.starts_with(OTHER_VARIABLES_START))
            .collect();
        unknown.sort();
        match unknown.into_iter().next() {
            Some(name) => Err(Error::Config { path: name.into(), reason: "there is no such setting".into() }),
            None => Ok(()),
        }
    }

    fn with_sources(&self, section: &str, arg: Arg) -> Arg {
        let Some(variable) = variable(&arg) else { return arg };
        let arg = match arg.get_action() {
            // `--flag=false` turns off what the file or the environment turned on.
            ArgAction::SetTrue => arg
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .value_name("BOOL")
                .default_missing_value("true")
                .default_value("false")
                .hide_default_value(true)
                .hide_possible_values(true)
                .value_parser(BoolishValueParser::new()),
            _ => arg,
        };
        let arg = arg.env(variable).hide_env(true);
        match self.value(section, &arg) {
            Some(value) => arg.default_value(value),
            None => arg,
        }
    }

    fn value(&self, section: &str, arg: &Arg) -> Option<String> {
        let settings = self.table.get(section)?.as_table()?;
        let long = arg.get_long()?;
        let (_, value) = settings.iter().find(|(key, _)| key.replace('_', "-") == long)?;
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Some(match value {
            Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(","),
            other => text(other),
        })
    }
}

/// `--config FILE` or `--config=FILE`; needed before clap knows the defaults.
fn named(arguments: &[OsString]) -> Option<PathBuf> {
    let mut arguments = arguments.iter().skip(1).take_while(|argument| *argument != "--");
    while let Some(argument) = arguments.next() {
        if argument == "--config" {
            return arguments.next().map(PathBuf::from);
        }
        if let Some(path) = argument.to_str().and_then(|text| text.strip_prefix("--config=")) {
            return Some(PathBuf::from(path));
        }
    }
    None
}

fn own_path() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let directory = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))?;
    Some(directory.join("gitlode/config.toml"))
}

fn variable(arg: &Arg) -> Option<String> {
    let long = arg.get_long().filter(|long| !matches!(*long, "help" | "version" | "config"))?;
    Some(format!("GITLODE_{}", long.replace('-', "_").to_ascii_uppercase()))
}

/// What an argument is without a flag: what its variable says, or else the file, or else the program. The command that it is of
/// has had all settings applied.
fn value_of(arg: &Arg) -> Option<String> {
    let of_variable = variable(arg).and_then(std::env::var_os).map(|value| value.to_string_lossy().into_owned());
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    of_variable.or_else(|| (!defaults.is_empty()).then(|| defaults.join(",")))
}

/// All values that hold for a subcommand where no flags are given, by the names of the flags.
pub(super) fn values(command: &Command) -> Vec<(String, Option<String>)> {
    let arguments = command.get_arguments();
    arguments.filter_map(|arg| Some((arg.get_long()?.to_owned(), value_of(arg)))).collect()
}

/// A value in which URLs have neither users nor passwords nor queries.
fn masked(value: &str) -> String {
    let is_url = |part: &str| part.contains("://");
    let parts = value.split(',').map(|part| if is_url(part) { redact_url(part) } else { part.to_owned() });
    parts.collect::<Vec<_>>().join(",")
}

/// Runs `gitlode config`; `command` is the program's, with all settings applied.
pub fn run(args: &Args, file: &File, command: &Command) -> Result<(), Error> {
    let ConfigCommand::Show { subcommand, json } = &args.command;
    let Some(shown) = command.find_subcommand(subcommand) else {
        return Err(Error::Usage(format!("there is no subcommand {subcommand}")));
    };
    let mut settings = Vec::new();
    for arg in shown.get_arguments() {
        let (Some(long), Some(variable)) = (arg.get_long(), variable(arg)) else { continue };
        let is_set = std::env::var_os(&variable).is_some();
        if NOT_IN_FILE.contains(&long) && !is_set {
            continue;
        }
        let origin = match file.value(subcommand, arg) {
            _ if is_set => variable,
            Some(_) => file.path.as_deref().unwrap_or(Path::new("")).display().to_string(),
            None => "default".to_owned(),
        };
        settings.push((long.to_owned(), value_of(arg).map(|value| masked(&value)), origin));
    }
    if *json {
        let settings: Vec<_> = settings
            .iter()
            .map(|(name, value, origin)| json!({"name": name, "value": value, "origin": origin}))
            .collect();
        return print(&format!("{:#}\n", json!({"file": file.path, "subcommand": subcommand, "settings": settings})));
    }
    let mut table = new_table(&["setting", "value", "from"]);
    for (name, value, origin) in settings {
        table.add_row([name, value.unwrap_or_default(), origin]);
    }
    print(&format!("{table}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_has_no_passwords() {
        for (value, expected) in [
            ("https://u:p@h/a.git,b,@list", "https://h/a.git,b,@list"),
            ("http://token@h:8080/@names", "http://h:8080/@names"),
            ("https://h/a?key=secret", "https://h/a"),
            ("https://u:p@q@h/a", "https://h/a"),
            ("plain,1e-3", "plain,1e-3"),
        ] {
            assert_eq!(masked(value), expected, "{value}");
        }
    }
}
