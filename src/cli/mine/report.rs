//! What is said when all is mined.

use std::time::Instant;

use serde_json::json;

use super::{
    super::{Error, grouped, print, printable, repositories, stats, style},
    Args, Outcome,
};
use crate::{
    pipeline::{mine::Report, run::Failure},
    verdict::Funnel,
};

/// So many repositories with holes are named in the summary; `--json` names all.
const HOLES_NAMED_MAX: usize = 5;

/// Tells failures, holes and the account, as far as it is wanted.
pub(super) fn report(args: &Args, outcomes: &[Outcome], unfinished: usize, started: Instant) -> Result<(), Error> {
    let mut funnel = Funnel::default();
    let reports: Vec<&Report> = outcomes.iter().filter_map(|outcome| outcome.result.as_ref().ok()).collect();
    for report in &reports {
        funnel.add(&report.funnel);
    }
    let failures: Vec<(&str, &Failure)> =
        outcomes.iter().filter_map(|outcome| Some((outcome.name.as_str(), outcome.result.as_ref().err()?))).collect();
    if !failures.is_empty() {
        tell!("{}: {} of {} failed", style("error"), failures.len(), repositories(outcomes.len()));
        tell!("{}", stats::failure_table(&failures));
    }
    let has_holes = |outcome: &&Outcome| outcome.result.as_ref().is_ok_and(|report| report.has_holes);
    let holes: Vec<_> = outcomes.iter().filter(has_holes).map(|outcome| printable(&outcome.name)).collect();
    if !holes.is_empty() && !args.quiet {
        let more = if holes.len() > HOLES_NAMED_MAX { ", …" } else { "" };
        let again = if args.dry_run { "" } else { ", and is not tried again without --replace" };
        tell!(
            "{}: the history of {} has missing or corrupt objects; what they hold was skipped{again}: {}{more}",
            style("warning"),
            repositories(holes.len()),
            holes[..holes.len().min(HOLES_NAMED_MAX)].join(", ")
        );
    }
    if args.json {
        let all: Vec<_> = outcomes
            .iter()
            .map(|Outcome { name, identity, result }| match result {
                Ok(report) => json!({"name": name, "identity": identity, "report": report}),
                Err(Failure { reason, hint, .. }) => {
                    json!({"name": name, "identity": identity, "error": reason, "hint": hint})
                }
            })
            .collect();
        let interrupted = unfinished > 0;
        let summary = json!({
            "repositories": all, "funnel": funnel, "interrupted": interrupted, "unfinished": unfinished,
        });
        return print(&format!("{summary:#}\n"));
    }
    if args.quiet {
        return Ok(());
    }
    print(&stats::funnel_table(&funnel))?;
    let skipped = reports.iter().filter(|report| report.skipped_by_license).count();
    if skipped > 0 {
        print(&format!("{} left out by the declared licence\n", repositories(skipped)))?;
    }
    let opted_out = reports.iter().filter(|report| report.opted_out).count();
    if opted_out > 0 {
        print(&format!("{} left out since their owners opted out\n", repositories(opted_out)))?;
    }
    let replaced = reports.iter().filter(|report| report.replaced).count();
    if replaced > 0 {
        let rows = grouped(reports.iter().map(|report| report.rows_replaced).sum());
        print(&format!(
            "mined from the start: {}, in place of {rows} earlier rows, since history, rules, tables or settings \
             changed\n",
            repositories(replaced)
        ))?;
    }
    if unfinished > 0 {
        print(&format!("not finished, and not in these counts: {}\n", repositories(unfinished)))?;
    }
    let rows = grouped(funnel.changes.kept);
    let seconds = started.elapsed().as_secs_f64();
    let what = if args.dry_run { "rows would be made" } else { "rows" };
    let failed = failures.len();
    print(&format!("{rows} {what} from {} in {seconds:.1} s, {failed} failed\n", repositories(outcomes.len())))
}
