//! What a long run shows: bars on a terminal, plain lines elsewhere, nothing when quiet.

use std::{
    io::{IsTerminal as _, Write as _},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{counted, grouped, printable};
use crate::{
    git::mirror,
    pipeline::{
        mine::{Progress, Report},
        run::{Event, Failure},
    },
};

/// How often a plain log says how far things are.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// How much is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// Nothing.
    Quiet,
    /// Progress, and a line for every repository that is done.
    Normal,
    /// A line for every step as well.
    Verbose,
}

/// Shows the progress of a run.
pub struct Display {
    level: Level,
    terminal: bool,
    bars: MultiProgress,
    names: Vec<String>,
    active: Mutex<Vec<Active>>,
    done: AtomicUsize,
    total: usize,
}

struct Active {
    number: usize,
    bar: ProgressBar,
    started: Instant,
    said: Instant,
}

impl Display {
    /// A display for sources of these names, beside so many that are settled before any is mined.
    pub fn new(level: Level, names: Vec<String>, settled: usize) -> Arc<Self> {
        let terminal = std::io::stderr().is_terminal();
        let bars = MultiProgress::new();
        if level == Level::Quiet || !terminal {
            bars.set_draw_target(ProgressDrawTarget::hidden());
        }
        let (active, done, total) = (Mutex::new(Vec::new()), AtomicUsize::new(0), names.len() + settled);
        let names = names.iter().map(|name| printable(name)).collect();
        Arc::new(Display { level, terminal, bars, names, active, done, total })
    }

    /// Shows a source that is settled before any is mined: it is none, or not wanted.
    pub fn settled(&self, name: &str, outcome: &Result<Report, Failure>) {
        let what = match outcome {
            Ok(report) if report.opted_out => "left out since its owner opted out".to_owned(),
            Ok(_) => "left out by its declared licence".to_owned(),
            Err(failure) => format!("failed: {}", printable(&failure.reason)),
        };
        self.count(&format!("{}: {what}", printable(name)));
    }

    /// Prints `what` became of a source, with how many are done.
    fn count(&self, what: &str) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        self.line(&format!("[{done}/{}] {what}", self.total));
    }

    /// Shows an event of source `number`.
    pub fn event(&self, number: usize, event: &Event<'_>) {
        if self.level == Level::Quiet {
            return;
        }
        match event {
            Event::Fetching(bytes) => {
                let message = format!("fetching, {:.1} MB", *bytes as f64 / 1e6);
                self.update(number, |bar| bar.set_message(message));
            }
            Event::Fetched(outcome) => {
                let what = match outcome {
                    mirror::Outcome::Cloned => "cloned".to_owned(),
                    mirror::Outcome::Replaced => "its mirror was damaged; cloned anew".to_owned(),
                    mirror::Outcome::Fetched { updated_refs } => format!("fetched, {updated_refs} refs changed"),
                    mirror::Outcome::Unchanged => "fetched, nothing new".to_owned(),
                };
                self.detail(number, &what);
                self.update(number, |bar| bar.set_message("waits to be mined"));
            }
            Event::Mining(Progress::Walking) => {
                self.detail(number, "listing commits");
                self.update(number, |bar| bar.set_message("listing commits"));
            }
            Event::Mining(Progress::Comparing { done, total }) => self.update(number, |bar| {
                bar.set_length(*total);
                bar.set_position(*done);
                bar.set_message("comparing commits");
            }),
            Event::Mining(Progress::Extracting { done, total, rows }) => self.update(number, |bar| {
                bar.set_length(*total);
                bar.set_position(*done);
                bar.set_message(format!("extracting changes, {} rows", grouped(*rows)));
            }),
            Event::Finished(result) => self.finished(number, result),
        }
    }

    fn active(&self) -> MutexGuard<'_, Vec<Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, number: usize, change: impl FnOnce(&ProgressBar)) {
        let mut active = self.active();
        let at = active.iter().position(|active| active.number == number).unwrap_or_else(|| {
            active.push(Active { number, bar: self.bar(number), started: Instant::now(), said: Instant::now() });
            active.len() - 1
        });
        let entry = &mut active[at];
        change(&entry.bar);
        if !self.terminal && entry.said.elapsed() >= LINE_INTERVAL {
            entry.said = Instant::now();
            let (bar, name) = (&entry.bar, &self.names[number]);
            let far = match bar.length() {
                Some(length) if length > 0 => format!(" {} of {}", grouped(bar.position()), grouped(length)),
                _ => String::new(),
            };
            say(&format!("{name}: {}{far}", bar.message()));
        }
    }

    fn bar(&self, number: usize) -> ProgressBar {
        let bar = self.bars.add(ProgressBar::new(0));
        let template = "{prefix:.bold} [{bar:30}] {human_pos}/{human_len} {per_sec:0} {msg}";
        bar.set_style(ProgressStyle::with_template(template).expect("the template is valid").progress_chars("=> "));
        bar.set_prefix(self.names[number].clone());
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    fn detail(&self, number: usize, what: &str) {
        if self.level == Level::Verbose {
            self.line(&format!("{}: {what}", self.names[number]));
        }
    }

    fn finished(&self, number: usize, result: &Result<Report, Failure>) {
        let mut seconds = 0.0;
        self.active().retain(|active| {
            if active.number == number {
                seconds = active.started.elapsed().as_secs_f64();
                active.bar.finish_and_clear();
            }
            active.number != number
        });
        let what = match result {
            Ok(report) if report.unchanged => "nothing new".to_owned(),
            Ok(report) => {
                let commits = counted(report.funnel.commits.candidates, "commit", "commits");
                let rows = counted(report.rows, "row", "rows");
                format!("{rows} from {commits} in {seconds:.1} s")
            }
            Err(failure) => format!("failed: {}", printable(&failure.reason)),
        };
        self.count(&format!("{}: {what}", self.names[number]));
        if let Ok(report) = result
            && !report.unchanged
        {
            let again = if report.replaced { ", in place of all earlier rows" } else { "" };
            let resumed = match report.segments_resumed {
                0 => String::new(),
                n => format!(", {n} of them left by an interrupted run"),
            };
            let (segments, megabytes) = (report.segments, report.bytes as f64 / 1e6);
            self.detail(number, &format!("{segments} segments, {megabytes:.1} MB{resumed}{again}"));
        }
    }

    /// Prints a line that stays.
    pub fn line(&self, line: &str) {
        if self.level == Level::Quiet {
        } else if self.terminal {
            let _a_lost_progress_line_is_no_error = self.bars.println(line);
        } else {
            say(line);
        }
    }

    /// Removes the bars.
    pub fn clear(&self) {
        let _a_lost_progress_line_is_no_error = self.bars.clear();
    }
}

/// A log that nobody reads any more is no reason to stop mining.
fn say(line: &str) {
    let _nobody_listens = writeln!(std::io::stderr(), "{line}");
}
