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

/// Those of `sources` (all, where there are none) whose last run failed, and what that run was to do.
pub(super) fn failed_of(sources: Sources, index: &Mutex<Index>, args: &Args) -> Result<(Sources, Recipes), Error> {
    let failed = lock(index).failed()?;
    let mut recipes = Recipes::new();
    for state in &failed {
        if let Ok(recipe) = serde_json::from_str::<Recipe>(&state.recipe) {
            let settings = Settings::new(Recipe { catalog: catalog::digest(), ..recipe }, state.replace)?;
            recipes.insert(state.identity.clone(), settings);
        }
    }
    if !args.sources.is_empty() {
        let wanted = |source: &Result<RepoSpec, BadSource>| {
            let identity = identity(source);
            let failed = failed.iter().any(|state| state.identity == identity);
            if !failed && !args.quiet {
                tell!("{}: {identity} did not fail in its last run", style("warning"));
            }
            failed
        };
        return Ok((sources.into_iter().filter(wanted).collect(), recipes));
    }
    let mut again = Sources::new();
    for state in failed {
        match serde_json::from_str::<RepoSpec>(&state.spec) {
            Ok(spec) => again.push(Ok(spec)),
            // It was no repository; by now it may be one, or several, with identities of their own.
            Err(_) => {
                lock(index).forget_source(&state.identity)?;
                let found = source::one(&state.identity, &serde_json::from_str(&state.spec).unwrap_or_default());
                if let Some(recipe) = recipes.get(&state.identity).cloned() {
                    let specs = found.iter().filter_map(|source| source.as_ref().ok());
                    recipes.extend(specs.map(|spec| (spec.identity.clone(), recipe.clone())).collect::<Vec<_>>());
                }
                again.extend(found);
            }
        }
    }
    Ok((again, recipes))
}
