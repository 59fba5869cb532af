//! `gitlode filters`: what rulesets say, when their rules run, and what they would keep.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Error, grouped, print, printable, stats::new_table};
use crate::{
    filter::{self, FIELDS, Ruleset},
    pipeline::{
        recipe::{Recipe, rules},
        trial::{self, Trial},
    },
    sample::ChangeKind,
    store::Store,
};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Option<FiltersCommand>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(clap::Subcommand)]
enum FiltersCommand {
    /// List the presets (the default).
    List,
    /// List the fields that rules can look at.
    Fields,
    /// Show every rule of a ruleset, with its reason.
    Show {
        /// A preset, or the path of a file.
        filter: String,
    },
    /// Show in which order the rules run, and what has to be read before each.
    Plan {
        /// A preset, or the path of a file.
        filter: String,
    },
    /// Read a ruleset and run its examples.
    Check {
        /// A preset, or the path of a file.
        filter: String,
    },
    /// Show what a ruleset would keep and drop of a store's rows or of a repository, with samples of each.
    Try {
        /// A preset, or the path of a file.
        filter: String,
        /// A store, or a repository on this machine.
        on: PathBuf,
        /// So many samples of what is kept, and of what each rule drops.
        #[arg(long, default_value_t = 3, value_name = "N")]
        sample: usize,
        /// Kinds of change of a repository.
        #[arg(long, value_delimiter = ',', default_value = "modified")]
        kinds: Vec<ChangeKind>,
    },
}

pub fn run(args: &Args) -> Result<(), Error> {
    match &args.command {
        None | Some(FiltersCommand::List) => list(args.json),
        Some(FiltersCommand::Fields) => fields(args.json),
        Some(FiltersCommand::Show { filter }) => show(&rules(filter)?, args.json),
        Some(FiltersCommand::Plan { filter }) => plan(&rules(filter)?, args.json),
        Some(FiltersCommand::Check { filter }) => check(&rules(filter)?, args.json),
        Some(FiltersCommand::Try { filter, on, sample, kinds }) => {
            let recipe = Recipe { kinds: kinds.clone(), ..Recipe::default() };
            attempt(&rules(filter)?, on, recipe, *sample, args.json)
        }
    }
}

/// Says of which rules an expression failed; what they dropped for that is in the ledger, with the error as value.
pub(super) fn warn_of_failures(rules: &Ruleset) {
    for (rule, count) in rules.failures() {
        tell!(
            "{}: {}: rule {}: the expression failed {} times, and what it failed on was dropped; \
             `gitlode explain` says why of a commit",
            super::style("warning"),
            printable(&rule.place),
            printable(&rule.id),
            grouped(count)
        );
    }
}

fn list(as_json: bool) -> Result<(), Error> {
    let mut table = new_table(&["ruleset", "rules", "what for"]);
    let mut all = Vec::new();
    for (name, _) in filter::presets() {
        let rules = rules(name)?;
        table.add_row([rules.id.clone(), rules.rules().len().to_string(), rules.why.clone()]);
        all.push(json!({"id": rules.id, "rules": rules.rules().len(), "why": rules.why, "digest": rules.digest()}));
    }
    if as_json { print(&format!("{:#}\n", json!(all))) } else { print(&format!("{}\n", wrapped(table))) }
}

fn wrapped(mut table: comfy_table::Table) -> comfy_table::Table {
    table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
    if table.width().is_none() {
        table.set_width(120);
    }
    table
}

fn fields(as_json: bool) -> Result<(), Error> {
    if as_json {
        let all: Vec<_> =
            FIELDS.iter().map(|(name, layer, what)| json!({"field": name, "layer": layer, "what": what})).collect();
        return print(&format!("{:#}\n", json!(all)));
    }
    let mut table = new_table(&["field", "known from", "what"]);
    for (name, layer, what) in FIELDS {
        table.add_row([*name, layer.as_str(), *what]);
    }
    table.add_row(["column.NAME", "commit", "A column of the source list, or of a file that was joined."]);
    print(&format!("{}\n", wrapped(table)))
}

fn show(rules: &Ruleset, as_json: bool) -> Result<(), Error> {
    if as_json {
        let all: Vec<_> =
            rules.rules().iter().map(|rule| json!({"id": rule.id, "why": rule.why, "place": rule.place})).collect();
        return print(&format!("{:#}\n", json!({"id": rules.id, "why": rules.why, "rules": all})));
    }
    let mut table = new_table(&["rule", "why", "where"]);
    for rule in rules.rules() {
        table.add_row([printable(&rule.id), printable(&rule.why), rule.place.clone()]);
    }
    print(&format!("{}\n\n{}\n", printable(&rules.why), wrapped(table)))
}

fn plan(rules: &Ruleset, as_json: bool) -> Result<(), Error> {
    let planned: Vec<_> = rules.planned().collect();
    if as_json {
        let all: Vec<_> = planned
            .iter()
            .map(|(layer, rule)| json!({"layer": layer, "rule": rule.id, "rewrites_before": rule.epoch}))
            .collect();
        return print(&format!("{:#}\n", json!(all)));
    }
    let mut table = new_table(&["", "reads", "rule", "sees texts behind"]);
    for (number, (layer, rule)) in planned.iter().enumerate() {
        let rewrites: Vec<&str> = rules
            .rules()
            .iter()
            .filter(|one| matches!(one.action, filter::Action::Rewrite(..)) && one.epoch < rule.epoch)
            .map(|one| one.id.as_str())
            .collect();
        let behind = match rewrites.last() {
            Some(last) if rule.reads_texts() => format!("rewrite {last}"),
            _ => String::new(),
        };
        table.add_row([(number + 1).to_string(), layer.as_str().to_owned(), printable(&rule.id), behind]);
    }
    print(&format!("{table}\n"))
}

fn check(rules: &Ruleset, as_json: bool) -> Result<(), Error> {
    let failed = filter::verify_examples(rules);
    let examples: usize = rules.rules().iter().map(|rule| rule.examples.len() + rule.rewrites.len()).sum();
    if as_json {
        print(&format!("{:#}\n", json!({"rules": rules.rules().len(), "examples": examples, "failed": failed})))?;
    } else {
        for failure in &failed {
            tell!("{}: {}", super::style("error"), printable(failure));
        }
        let count = rules.rules().len();
        print(&format!("{count} rules, {examples} examples, {} of them fail\n", failed.len()))?;
    }
    if failed.is_empty() { Ok(()) } else { Err(Error::Reported(4)) }
}

fn attempt(rules: &Ruleset, on: &Path, recipe: Recipe, sample: usize, as_json: bool) -> Result<(), Error> {
    let trial = if on.join("store.json").is_file() {
        trial::on_store(&Store::open(on)?, rules, sample)?
    } else {
        trial::on_repository(on, rules, &recipe, sample)?
    };
    warn_of_failures(rules);
    let Trial { funnel, kept, dropped } = trial;
    if as_json {
        return print(&format!("{:#}\n", json!({"funnel": funnel, "kept": kept, "dropped": dropped})));
    }
    print(&super::stats::funnel_table(&funnel))?;
    print(&format!("\nkept ({} changes)\n", grouped(funnel.changes.kept)))?;
    for line in &kept {
        print(&format!("  {}\n", printable(line)))?;
    }
    for (rule, lines) in &dropped {
        print(&format!("\ndropped by {}\n", printable(rule)))?;
        for line in lines {
            print(&format!("  {}\n", printable(line)))?;
        }
    }
    Ok(())
}
