//! `gitlode stats`: the account of a store.

use std::{collections::BTreeMap, path::PathBuf};

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, presets::UTF8_HORIZONTAL_ONLY};
use serde_json::json;

use super::{Error, grouped, print, printable};
use crate::{
    pipeline::run::Failure,
    store::{self, Store, index::Index},
    verdict::{Counts, Funnel},
};

/// Characters in a line of the table of failures, whose reasons can be long.
const FAILURE_TABLE_WIDTH: u16 = 110;

#[derive(clap::Args)]
pub struct Args {
    /// The store.
    store: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// All batches of a repository together.
#[derive(Default)]
struct Mined {
    funnel: Funnel,
    bytes: u64,
    segments: usize,
    license: Option<String>,
}

pub fn run(args: &Args) -> Result<(), Error> {
    let store = Store::open(&args.store)?;
    let mut total = Funnel::default();
    let mut repositories: BTreeMap<(String, String), Mined> = BTreeMap::new();
    let (batches, mut damaged) = store.batches_and_damage()?;
    for (directory, checkpoint) in batches {
        damaged.extend(store::check_presence(&directory, std::slice::from_ref(&checkpoint)).err());
        total.add(&checkpoint.funnel);
        let key = (checkpoint.repository.name, checkpoint.repository.identity);
        let mined = repositories.entry(key).or_default();
        mined.funnel.add(&checkpoint.funnel);
        mined.bytes += checkpoint.segments.iter().map(|segment| segment.bytes).sum::<u64>();
        mined.segments += checkpoint.segments.len();
        mined.license = checkpoint.license;
    }
    let failed: Vec<(String, Failure)> = match Index::read(&store) {
        Some(index) => index
            .failed()?
            .into_iter()
            .filter_map(|state| {
                let (reason, hint) = state.failure?;
                Some((state.identity, Failure { reason, hint, needs_memory: false }))
            })
            .collect(),
        None => Vec::new(),
    };
    if args.json {
        let failed: Vec<_> = failed
            .iter()
            .map(|(identity, failure)| json!({"identity": identity, "error": failure.reason, "hint": failure.hint}))
            .collect();
        let list: Vec<_> = repositories
            .iter()
            .map(|((name, identity), mined)| {
                json!({
                    "name": name, "identity": identity, "license": mined.license, "funnel": mined.funnel,
                    "bytes": mined.bytes, "segments": mined.segments,
                })
            })
            .collect();
        let damage: Vec<_> = damaged.iter().map(ToString::to_string).collect();
        let account = json!({"repositories": list, "funnel": total, "failed": failed, "damage": damage});
        print(&format!("{account:#}\n"))?;
        return report_damage(damaged);
    }
    let mut table = new_table(&["repository", "licence at its tip", "commits", "changes", "rows", "segments", "MB"]);
    for ((name, _), Mined { funnel, bytes, segments, license }) in &repositories {
        table.add_row([
            printable(name),
            license.clone().unwrap_or_default(),
            grouped(funnel.commits.candidates),
            grouped(funnel.changes.candidates),
            grouped(funnel.changes.kept),
            segments.to_string(),
            format!("{:.1}", *bytes as f64 / 1e6),
        ]);
    }
    align(&mut table, 2..7);
    print(&format!("{table}\n\n{}", funnel_table(&total)))?;
    let failures: Vec<(&str, &Failure)> =
        failed.iter().map(|(identity, failure)| (identity.as_str(), failure)).collect();
    if !failures.is_empty() {
        print(&format!(
            "\nfailed in their last run, `gitlode mine --retry-failed` tries them again:\n{}\n",
            failure_table(&failures)
        ))?;
    }
    report_damage(damaged)
}

/// The account lacks what is damaged, which is an error after all.
fn report_damage(damaged: Vec<store::Error>) -> Result<(), Error> {
    damaged.into_iter().next().map_or(Ok(()), |error| Err(error.into()))
}

/// The account as a table in two units.
pub fn funnel_table(funnel: &Funnel) -> String {
    let mut table = new_table(&["", "commits", "changes"]);
    let mut add = |name: &str, of: &dyn Fn(&Counts) -> u64| {
        let (commits, changes) = (of(&funnel.commits), of(&funnel.changes));
        if commits + changes > 0 || name == "kept" {
            table.add_row([name.to_owned(), grouped(commits), grouped(changes)]);
        }
    };
    add("candidates", &|counts| counts.candidates);
    add("kept", &|counts| counts.kept);
    let rules: std::collections::BTreeSet<_> =
        funnel.commits.dropped.keys().chain(funnel.changes.dropped.keys()).collect();
    for rule in rules {
        add(&format!("dropped: {rule}"), &|counts| counts.dropped.get(rule).copied().unwrap_or(0));
    }
    let reasons: std::collections::BTreeSet<_> =
        funnel.commits.skipped.keys().chain(funnel.changes.skipped.keys()).collect();
    for reason in reasons {
        add(&format!("skipped: {}", reason.as_str()), &|counts| counts.skipped.get(reason).copied().unwrap_or(0));
    }
    align(&mut table, 1..3);
    format!("{table}\n")
}

/// Which repositories failed, why, and what to do.
pub fn failure_table(failures: &[(&str, &Failure)]) -> Table {
    let mut table = new_table(&["repository", "why", "what to do"]);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(FAILURE_TABLE_WIDTH);
    for (name, failure) in failures {
        table.add_row([name, failure.reason.as_str(), failure.hint.as_deref().unwrap_or("")].map(printable));
    }
    table
}

/// An empty table in the style of all tables.
pub fn new_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    let mut style = UTF8_HORIZONTAL_ONLY;
    style.row_separator = LineStyle::none();
    table.load_style(style).set_header(header.to_vec());
    table
}

/// Aligns these columns to the right.
pub fn align(table: &mut Table, columns: std::ops::Range<usize>) {
    for number in columns {
        if let Some(column) = table.column_mut(number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}
