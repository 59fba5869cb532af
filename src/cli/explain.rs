//! `gitlode explain`: what every rule of a ruleset says of one commit.

use std::path::PathBuf;

use serde_json::json;

use super::{Error, print, printable, stats::new_table};
use crate::{
    pipeline::{
        recipe::{Recipe, rules},
        trial::{self, Explained, RuleOutcome},
    },
    sample::ChangeKind,
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
    let files: Vec<_> =
        files.into_iter().filter(|file| args.path.as_ref().is_none_or(|path| *path == file.path)).collect();
    if args.json {
        let value =
            json!({"commit": commit, "filter": rules.id, "subject": subject, "files": files, "skipped": skipped});
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
    Ok(())
}
