//! `--retry-failed`: what failed in its last run, with the settings of that run.

use std::sync::Mutex;

use super::{
    super::{Cli, Error, style},
    Args, Recipes, Sources, identity, lock,
};
use crate::{
    classify::catalog,
    pipeline::recipe::{Recipe, Settings},
    source::{self, BadSource, RepoSpec},
    store::index::Index,
};

/// The settings of `--retry-failed` are those of the run that failed.
pub(super) fn refuse_settings(given: Option<&clap::ArgMatches>) -> Result<(), Error> {
    use clap::{CommandFactory as _, parser::ValueSource};
    let command = Cli::command();
    let args = command.find_subcommand("mine").into_iter().flat_map(clap::Command::get_arguments);
    let of_rows = args.filter(|arg| arg.get_help_heading() == Some("What to mine"));
    for arg in of_rows {
        let source = given.and_then(|given| given.value_source(arg.get_id().as_str()));
        if source == Some(ValueSource::CommandLine) {
            let reason = "--retry-failed mines with the settings of the run that failed; leave out";
            return Err(Error::Usage(format!("{reason} --{}", arg.get_long().unwrap_or_default())));
        }
    }
    Ok(())
}

/// What is tried again.
#[derive(Default)]
pub(super) struct Again {
    pub(super) sources: Sources,
    /// What the run that failed was to do, by identity.
    pub(super) recipes: Recipes,
    /// Identities that are others by now. They are to be forgotten at the end of the run, so that an interrupted one loses nothing.
    pub(super) superseded: Vec<String>,
}

/// Those of `sources` (all, where there are none) whose last run failed, and what that run was to do.
pub(super) fn failed_of(sources: Sources, index: &Mutex<Index>, args: &Args) -> Result<Again, Error> {
    let mut failed = lock(index).failed()?;
    let mut again = Again::default();
    let mut unreadable = Vec::new();
    for state in &failed {
        match serde_json::from_str::<Recipe>(&state.recipe) {
            Ok(recipe) => {
                let settings = Settings::new(Recipe { catalog: catalog::digest(), ..recipe }, state.replace)?;
                again.recipes.insert(state.identity.clone(), settings);
            }
            // Other settings would make other rows.
            Err(_) => unreadable.push(state.identity.clone()),
        }
    }
    for identity in &unreadable {
        tell!(
            "{}: {identity}: the settings of its last run can't be read; mine it without --retry-failed",
            style("warning")
        );
    }
    failed.retain(|state| !unreadable.contains(&state.identity));
    if !args.sources.is_empty() {
        let wanted = |source: &Result<RepoSpec, BadSource>| {
            let identity = identity(source);
            let failed = failed.iter().any(|state| state.identity == identity);
            if !failed && !args.quiet && !unreadable.contains(&identity) {
                tell!("{}: {identity} did not fail in its last run", style("warning"));
            }
            failed
        };
        again.sources = sources.into_iter().filter(wanted).collect();
        return Ok(again);
    }
    for state in failed {
        match serde_json::from_str::<RepoSpec>(&state.spec) {
            Ok(spec) => again.sources.push(Ok(spec)),
            // It was no repository; by now it may be one, or several, with identities of their own.
            Err(_) => {
                let found = source::one(&state.identity, &serde_json::from_str(&state.spec).unwrap_or_default());
                if let Some(recipe) = again.recipes.get(&state.identity).cloned() {
                    let specs = found.iter().filter_map(|source| source.as_ref().ok());
                    again.recipes.extend(specs.map(|spec| (spec.identity.clone(), recipe.clone())).collect::<Vec<_>>());
                }
                if !found.iter().any(|source| identity(source) == state.identity) {
                    again.superseded.push(state.identity);
                }
                again.sources.extend(found);
            }
        }
    }
    Ok(again)
}
