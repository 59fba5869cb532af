//! Shows how many rows of how many are done: a bar on a terminal, a line now and then elsewhere.

use std::{
    cell::Cell,
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use super::grouped;
use crate::pipeline::progress::Step;

/// How often a plain log says how far things are.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// What shows it; nothing where `quiet`.
pub(super) fn of_rows(quiet: bool) -> Box<dyn Fn(Step, u64, u64)> {
    if quiet {
        return Box::new(|_, _, _| {});
    }
    if !std::io::stderr().is_terminal() {
        let said = Cell::new(Instant::now());
        return Box::new(move |step, done, total| {
            if said.get().elapsed() >= LINE_INTERVAL {
                said.set(Instant::now());
                tell!("{}: {} of {} rows", step.as_str(), grouped(done), grouped(total));
            }
        });
    }
    let bar = ProgressBar::new(0);
    let template = "{msg} [{bar:30}] {human_pos}/{human_len} rows, {eta} left";
    bar.set_style(ProgressStyle::with_template(template).expect("the template is valid").progress_chars("=> "));
    Box::new(move |step, done, total| {
        if done == 0 {
            bar.set_message(step.as_str());
            bar.set_length(total);
            bar.reset();
        }
        bar.set_position(done);
        if done == total {
            bar.finish_and_clear();
        }
    })
}
