//! `gitlode explain`: what every rule of a ruleset says of one commit, and what an assembly decided on its rows.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Error, print, printable, stats::new_table};
use crate::{
    pipeline::{
        assemble::{
            self,
            explain::{DecidedRow, KeptRow},
        },
        recipe::{Recipe, rules},
        trial::{self, Explained, RuleOutcome},
    },
    sample::ChangeKind,
    store::Store,
};

#[derive(clap::Args)]
pub struct Args {
    /// The repository.
    repository: PathBuf,
    /// A branch, a tag or a commit id, which may be shortened; ~N for the Nth first parent.
    commit: String,
    /// Only this path.
    path: Option<String>,
    /// Ruleset: a preset or the path of a file.
    #[arg(long, default_value = "instruct", value_name = "NAME|FILE")]
    filter: String,
    /// Kinds of change.
    #[arg(long, value_delimiter = ',', default_value = "modified,added,deleted,renamed")]
    kinds: Vec<ChangeKind>,
    /// A store that was assembled: what was decided on the rows of the commit, why, and for which row that stays.
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<(), Error> {
    let rules = rules(&args.filter)?;
    let kinds = args.kinds.clone();
    let recipe = Recipe { renames: kinds.contains(&ChangeKind::Renamed), kinds, ..Recipe::default() };
    let Explained { commit, subject, files, skipped } =
        trial::explain(&args.repository, &args.commit, &rules, &recipe)?;
    let changed: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
    let files: Vec<_> =
        files.into_iter().filter(|file| args.path.as_ref().is_none_or(|path| *path == file.path)).collect();
    if let Some(path) = args.path.as_deref().filter(|_| files.is_empty()) {
        return Err(super::inspect::not_changed(path, &changed));
    }
    let decided = args.store.as_ref().map(|store| decided(args, store, &commit)).transpose()?;
    if args.json {
        let mut value =
            json!({"commit": commit, "filter": rules.id, "subject": subject, "files": files, "skipped": skipped});
        if let Some(decided) = decided {
            value["assembly"] = json!(decided);
        }
        return print(&format!("{value:#}\n"));
    }
    print(&format!("commit {commit}\n"))?;
    for file in &files {
        print(&format!("\n{}: {}\n", printable(&file.path), printable(&file.verdict)))?;
        if file.rules.is_empty() {
            continue;
        }
        let mut table = new_table(&["layer", "rule", "verdict", "value", "bound"]);
        table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
        if table.width().is_none() {
            table.set_width(140);
        }
        for RuleOutcome { layer, rule, drops, value, bound } in &file.rules {
            let verdict = match drops {
                None => "rewrites",
                Some(true) => "drop",
                Some(false) => "keep",
            };
            table.add_row(
                [layer.to_string(), rule.clone(), verdict.to_owned(), value.clone(), bound.clone()]
                    .map(|c| printable(&c)),
            );
        }
        print(&format!("{table}\n"))?;
    }
    for (reason, n) in &skipped {
        print(&format!("\n{n} skipped: {reason}\n"))?;
    }
    decided.map_or(Ok(()), |decided| print_decided(&decided))
}

/// What the assembly of the store at `path` decided on the rows of `commit`.
fn decided(args: &Args, path: &Path, commit: &str) -> Result<Vec<DecidedRow>, Error> {
    let store = Store::open(path)?;
    let Some(assembly) = assemble::read(&store)? else {
        let advice = format!("nothing was decided yet: run `gitlode assemble {}` first", path.display());
        return Err(Error::Usage(advice));
    };
    if !assemble::is_current(&store, &assembly, &assembly.options)? {
        let say = super::style("warning");
        tell!("{say}: the store changed since; `gitlode assemble` decides on what is new");
    }
    let mut decided = assemble::explain::explain(&store, &assembly, commit)?;
    decided.retain(|row| args.path.as_ref().is_none_or(|path| *path == row.path));
    Ok(decided)
}

fn print_decided(decided: &[DecidedRow]) -> Result<(), Error> {
    if decided.is_empty() {
        return print("\nno row of it was decided on\n");
    }
    for DecidedRow { id, path, rule, value, bound, keeper, masked } in decided {
        let Some(rule) = rule else {
            print(&format!("\nassembly, {}: kept (row {id})\n", printable(path)))?;
            let kinds: Vec<String> = masked.iter().map(|(kind, values)| format!("{kind} ({values})")).collect();
            if !kinds.is_empty() {
                print(&format!("  masked: {}\n", kinds.join(", ")))?;
            }
            continue;
        };
        print(&format!("\nassembly, {}: dropped by {} (row {id})\n", printable(path), printable(rule)))?;
        for (name, text) in [("value", value), ("bound", bound)].iter().filter(|(_, text)| !text.is_empty()) {
            print(&format!("  {name}: {}\n", printable(text)))?;
        }
        if let Some(KeptRow { commit, path, .. }) = keeper {
            print(&format!("  the row that stays: commit {commit}, {}\n", printable(path)))?;
        }
    }
    Ok(())
}
