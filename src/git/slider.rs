//! Moves runs of changed lines to where git shows them (`xdl_change_compact` in xdiff/xdiffi.c).
//!
//! Where the line before a run is the run's last one, the run can move up by a line, and the text is the same after it; so it can
//! move down. Runs that meet become one. A run beside which the other text changes as well stays with that change, any other
//! goes where the indentation of the lines around it is best.

use std::ops::Range;

use gix::diff::blob::{IndentHeuristic, IndentLevel, SliderHeuristic, Token};

use super::lines::Hunk;

/// Width of a tab for the indentation of lines, git's own.
const TAB_WIDTH: u8 = 8;

/// A run of changed lines of one text.
#[derive(Clone, Copy)]
struct Run {
    start: u32,
    end: u32,
    /// How many lines before it did not change. Of the two sides of a hunk, it is the same number.
    unchanged: u32,
}

/// What holds the runs of both sides of hunks, for the next ones.
#[derive(Default)]
pub(super) struct Slider {
    old: Side,
    new: Side,
}

/// The runs of one text.
#[derive(Default)]
struct Side {
    runs: Vec<Run>,
    /// Those that are not yet where they belong, the first of them last.
    rest: Vec<Run>,
}

impl Slider {
    /// Moves `hunks`, which turn `old` into `new`; `line` gives the text of a line.
    pub(super) fn slide<'t>(
        &mut self,
        hunks: &mut Vec<Hunk>,
        old: &[Token],
        new: &[Token],
        line: impl Fn(Token) -> &'t [u8],
    ) {
        let mut heuristic =
            IndentHeuristic::new(|token| IndentLevel::for_ascii_line(line(token).iter().copied(), TAB_WIDTH));
        self.old.fill(hunks.iter().map(|hunk| &hunk.before));
        self.new.fill(hunks.iter().map(|hunk| &hunk.after));
        // Those that go come first, so that those that come can stay with them.
        self.old.slide(old, &self.new.runs, &mut heuristic);
        self.new.slide(new, &self.old.runs, &mut heuristic);
        self.write(hunks);
    }

    /// Both sides as hunks.
    fn write(&self, hunks: &mut Vec<Hunk>) {
        hunks.clear();
        let (mut olds, mut news) = (self.old.runs.iter().peekable(), self.new.runs.iter().peekable());
        // How many lines changed before.
        let (mut gone, mut come) = (0, 0);
        while let Some(unchanged) = olds.peek().into_iter().chain(news.peek()).map(|run| run.unchanged).min() {
            let range = |run: Option<&Run>, changed: &mut u32| match run {
                Some(Run { start, end, .. }) => {
                    *changed += end - start;
                    *start..*end
                }
                None => unchanged + *changed..unchanged + *changed,
            };
            let is_here = |run: &&Run| run.unchanged == unchanged;
            let before = range(olds.next_if(is_here), &mut gone);
            hunks.push(Hunk { before, after: range(news.next_if(is_here), &mut come) });
        }
    }
}

impl Side {
    fn fill<'h>(&mut self, changed: impl Iterator<Item = &'h Range<u32>>) {
        self.runs.clear();
        let mut before = 0;
        for lines in changed.filter(|lines| !lines.is_empty()) {
            self.runs.push(Run { start: lines.start, end: lines.end, unchanged: lines.start - before });
            before += lines.end - lines.start;
        }
    }

    /// Moves the runs of the text with these lines. `others` are the runs of the other text.
    fn slide(&mut self, lines: &[Token], others: &[Run], heuristic: &mut impl SliderHeuristic) {
        std::mem::swap(&mut self.runs, &mut self.rest);
        self.runs.clear();
        self.rest.reverse();
        while let Some(mut run) = self.rest.pop() {
            let meets = |run: &Run| others.binary_search_by_key(&run.unchanged, |other| other.unchanged).is_ok();
            let (mut earliest_end, mut is_beside);
            loop {
                while self.up(&mut run, lines) {}
                (earliest_end, is_beside) = (run.end, meets(&run));
                let size = run.end - run.start;
                while self.down(&mut run, lines) {
                    is_beside |= meets(&run);
                }
                // One that became longer may move up again.
                if run.end - run.start == size {
                    break;
                }
            }
            if run.end > earliest_end && is_beside {
                while !meets(&run) && self.up(&mut run, lines) {}
            } else if run.end > earliest_end {
                let end = heuristic.best_slider_end(lines, run.start..run.end, earliest_end);
                while run.end > end && self.up(&mut run, lines) {}
            }
            self.runs.push(run);
        }
    }

    fn up(&mut self, run: &mut Run, lines: &[Token]) -> bool {
        if run.start == 0 || lines[run.start as usize - 1] != lines[run.end as usize - 1] {
            return false;
        }
        *run = Run { start: run.start - 1, end: run.end - 1, unchanged: run.unchanged - 1 };
        if let Some(before) = self.runs.pop_if(|before| before.end == run.start) {
            run.start = before.start;
        }
        true
    }

    fn down(&mut self, run: &mut Run, lines: &[Token]) -> bool {
        if lines.get(run.end as usize).is_none_or(|next| *next != lines[run.start as usize]) {
            return false;
        }
        *run = Run { start: run.start + 1, end: run.end + 1, unchanged: run.unchanged + 1 };
        if let Some(behind) = self.rest.pop_if(|behind| behind.start == run.end) {
            run.end = behind.end;
        }
        true
    }
}
