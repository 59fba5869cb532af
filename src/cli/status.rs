//! `gitlode status`: how current a store is that is watched.

use std::path::PathBuf;

use comfy_table::Table;
use serde_json::json;

use super::{Error, print, printable, seconds_now, stats, style};
use crate::{
    daemon::event::{Relicensed, State},
    store::{Store, index::Index, schedule::Remembered},
};

#[derive(clap::Args)]
pub struct Args {
    /// The store.
    store: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Letters of a failure in the table; `--json` has all of it.
const REASON_CHARS: usize = 60;

pub fn run(args: &Args) -> Result<(), Error> {
    let store = Store::open(&args.store)?;
    let index = Index::read(&store);
    if index.is_none() {
        let what = "the index is not there or can't be read, so nothing is known of what was watched";
        tell!("{}: {what}; the next `gitlode watch` makes it again", style("warning"));
    }
    let remembered = index.map(|index| index.schedules()).transpose()?.unwrap_or_default();
    let states: Vec<(Remembered, State)> = remembered
        .into_iter()
        .map(|one| {
            // A state that a later version wrote in another way says nothing.
            let state = serde_json::from_str(&one.state).unwrap_or_default();
            (one, state)
        })
        .collect();
    if args.json {
        let all: Vec<_> = states
            .iter()
            .map(|(one, state)| {
                let condition = state.condition();
                json!({"identity": one.identity, "name": one.name, "condition": condition, "state": state})
            })
            .collect();
        let running = store.is_being_written();
        return print(&format!("{:#}\n", json!({"is_being_written": running, "repositories": all})));
    }
    if states.is_empty() {
        return print("nothing is watched into this store\n");
    }
    print(&format!("{}\n", table(&states, u64::try_from(seconds_now()).unwrap_or_default())))
}

fn table(states: &[(Remembered, State)], now: u64) -> Table {
    let mut table =
        stats::new_table(&["repository", "state", "settings", "last change", "lag", "failures", "next look", "reason"]);
    for (one, state) in states {
        let ago =
            |time: Option<u64>| time.map_or(String::new(), |time| format!("{} ago", span(now.saturating_sub(time))));
        let next = if state.due <= now { "due".to_owned() } else { format!("in {}", span(state.due - now)) };
        let reason: String = notes(state, now).chars().take(REASON_CHARS).collect();
        let lag = state.lag.map(span).unwrap_or_default();
        let failures = if state.failures == 0 { String::new() } else { state.failures.to_string() };
        let condition = state.condition().to_owned();
        let settings = match &state.settings {
            None => "",
            settings if *settings == state.wanted => "as wanted",
            Some(_) => "older",
        };
        let settings = settings.to_owned();
        table.add_row([
            printable(&one.name),
            condition,
            settings,
            ago(state.changed),
            lag,
            failures,
            next,
            printable(&reason),
        ]);
    }
    table
}

/// What went wrong; where nothing did, that it is elsewhere or under another licence than before.
fn notes(state: &State, now: u64) -> String {
    if let Some(reason) = &state.reason {
        return reason.clone();
    }
    let relicensed = state.relicensed.as_ref().map(|Relicensed { from, to, at, .. }| {
        format!("licence {to}, {from} until {} ago", span(now.saturating_sub(*at)))
    });
    let moved = state.moved_to.as_ref().map(|to| format!("is at {to}"));
    relicensed.into_iter().chain(moved).collect::<Vec<_>>().join("; ")
}

/// A time span in its largest unit.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        for (seconds, text) in [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200_000, "2 d")] {
            assert_eq!(span(seconds), text);
        }
    }
}
