//! Which lines of two texts changed, by Myers' algorithm ("An O(ND) Difference Algorithm and Its Variations", 1986, linear
//! space) with git's shortcuts: lines that the other text does not have, and common ones among them, are set aside first, and
//! a search that takes too long settles for a good place. The bounds and the order of choices are those of git's xdiff
//! (`xprepare.c`, `xdiffi.c`), as another choice among equally short answers gives other hunks.
//!
//! Counts and memory last from one comparison to the next, and of what texts have in common at both ends lines are only
//! counted, once for both texts: this is what the library's own search spends most time on.

use std::ops::Range;

use gix::diff::blob::Token;

use super::lines::LINES_KEPT_MAX;
use crate::bytes::{common_items, common_items_back};

/// From so many occurrences in the other text on, a line is common at most (`XDL_MAX_EQLIMIT`).
const COMMON_MAX: u32 = 1024;

/// So many lines to each side are looked at to see whether a common line stands among others that go (`XDL_SIMSCAN_WINDOW`).
const WINDOW: usize = 100;

/// A common line goes where more than so many times as many lines around it go as are common (`XDL_KPDIS_RUN`, less one).
const GOING_PER_COMMON: usize = 3;

/// Up to this many steps no shortcut is taken (`XDL_HEUR_MIN_COST`),
const SHORTCUT_COST_MIN: i32 = 256;

/// and at least so many are tried (`XDL_MAX_COST_MIN`).
const COST_MIN: i32 = 256;

/// A run of equal lines of this length is a good place to split at (`XDL_SNAKE_CNT`),
const SNAKE_LINES: i32 = 20;

/// if it is farther than so many times the steps that were taken (`XDL_K_HEUR`).
const FAR: i32 = 4;

/// Where so many lines are equal, more mostly are, and many are compared at once.
const LONG_SNAKE: i32 = 8;

/// Where a text has more lines of its own than this among the changed ones, git may prune one that both texts have:
/// `xdl_clean_mmatch` counts the line itself twice and wants more than three times as many around it.
const UNPRUNED_MAX: usize = 6;

/// Up to so many lines are looked for one by one in what the texts have in common: a vector at a time, which is sooner done than
/// to count all that is there.
const OPEN_MAX: usize = 6;

/// How often a line is in the old and in the new text.
type Times = [u32; 2];

/// How a line of one text stands in the other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Occurs {
    Never,
    Sometimes,
    Often,
}

impl Occurs {
    /// From `often` times on, a line is common.
    fn of(times: u32, often: u32) -> Self {
        match times {
            0 => Occurs::Never,
            times if times >= often => Occurs::Often,
            _ => Occurs::Sometimes,
        }
    }
}

/// One of the two texts, between the common ends.
#[derive(Default)]
struct Side {
    /// Whether all of its lines are compared.
    is_whole: bool,
    /// Otherwise those that are, and where they stand.
    kept: Vec<Token>,
    places: Vec<u32>,
    /// For each line, whether it changed: 1, or 0.
    changed: Vec<u8>,
}

impl Side {
    /// Begins with a text of so many lines.
    fn start(&mut self, len: usize) {
        let Side { is_whole, kept, places, changed } = self;
        *is_whole = true;
        shrink(kept);
        shrink(places);
        shrink(changed);
        changed.resize(len, 0);
    }

    /// Sets aside of `lines` what can't be in both texts, and common lines in the middle of that.
    fn prune(&mut self, lines: &[Token], times: &[Times], other: usize, often: u32) {
        let times = |line: &Token| times[line.0 as usize][other];
        let occurs = |line: &Token| Occurs::of(times(line), often);
        // By far the most: what occurs, and not often.
        let stays = |line: &Token| times(line).wrapping_sub(1) < often - 1;
        let (mut from, mut at) = (0, 0);
        while let Some(next) = lines[at..].iter().position(|line| !stays(line)) {
            at += next;
            if occurs(&lines[at]) == Occurs::Never || is_among_going(lines, at, occurs) {
                self.changed[at] = 1;
                self.keep(lines, from..at);
                from = at + 1;
            }
            at += 1;
        }
        if from > 0 {
            self.is_whole = false;
            self.keep(lines, from..lines.len());
        }
    }

    fn keep(&mut self, lines: &[Token], places: Range<usize>) {
        self.kept.extend_from_slice(&lines[places.clone()]);
        self.places.extend(places.start as u32..places.end as u32);
    }

    /// What of `lines` is compared.
    fn compared<'a>(&'a self, lines: &'a [Token]) -> &'a [Token] {
        if self.is_whole { lines } else { &self.kept }
    }

    /// These of the compared lines changed.
    fn mark(&mut self, compared: Range<usize>) {
        if self.is_whole {
            self.changed[compared].fill(1);
            return;
        }
        for place in &self.places[compared] {
            self.changed[*place as usize] = 1;
        }
    }
}

/// Gives back what a long text needed.
fn shrink<T>(memory: &mut Vec<T>) {
    memory.clear();
    memory.shrink_to(LINES_KEPT_MAX);
}

/// Whether the common line at a place stands among lines that go, and not beside one that may stay.
fn is_among_going(lines: &[Token], at: usize, occurs: impl Fn(&Token) -> Occurs) -> bool {
    let count = |lines: &mut dyn Iterator<Item = &Token>| {
        let near = lines.take(WINDOW).map(&occurs).take_while(|occurs| *occurs != Occurs::Sometimes);
        near.fold((0, 0), |(going, common), occurs| match occurs {
            Occurs::Never => (going + 1, common),
            _ => (going, common + 1),
        })
    };
    let before = count(&mut lines[..at].iter().rev());
    if before.0 == 0 {
        return false;
    }
    let behind = count(&mut lines[at + 1..].iter());
    // git counts the line itself on both sides.
    behind.0 > 0 && before.0 + behind.0 > GOING_PER_COMMON * (before.1 + behind.1 + 2)
}

/// Adds what the texts have in `common` to the times of `lines` for which that makes a difference.
fn count_common(lines: [&[Token]; 2], times: &mut [Times], reads: &[u32], often: u32, common: [&[Token]; 2]) {
    let len = |texts: [&[Token]; 2]| texts[0].len() + texts[1].len();
    // Few are sooner counted than it is found out which of them matter.
    let open = if len(common) < len(lines) { None } else { open_lines(lines, times, reads, often) };
    if let Some(open) = open {
        for line in open {
            let same = |lines: &[Token]| lines.iter().map(|other| u32::from(*other == line)).sum::<u32>();
            let more: u32 = common.into_iter().map(same).sum();
            times[line.0 as usize].iter_mut().for_each(|times| *times += more);
        }
        return;
    }
    for line in common.into_iter().flatten() {
        let times = &mut times[line.0 as usize];
        // Others are not asked for.
        let is_asked = u32::from(*times != [0; 2]);
        times.iter_mut().for_each(|times| *times += is_asked);
    }
}

/// Those of `lines` that may be elsewhere in the texts as well, and else are in one text only or may be there `often`; none where
/// they are many.
fn open_lines(lines: [&[Token]; 2], times: &[Times], reads: &[u32], often: u32) -> Option<Vec<Token>> {
    let mut open: Vec<Token> = Vec::new();
    for line in lines.into_iter().flatten() {
        let (reads, times) = (reads[line.0 as usize], times[line.0 as usize]);
        let is_open = reads >= often || times.contains(&0) && reads > times[0].max(times[1]);
        if is_open && !open.contains(line) {
            if open.len() == OPEN_MAX {
                return None;
            }
            open.push(*line);
        }
    }
    Some(open)
}

/// git's idea of a square root: a power of two.
fn root(number: usize) -> u32 {
    1 << (usize::BITS - number.leading_zeros()).div_ceil(2)
}

/// Where a problem is cut in two, and whether each half is to be solved without shortcuts.
struct Split {
    at: (usize, usize),
    exact: [bool; 2],
}

/// Finds changed lines, for one thread.
#[derive(Default)]
pub struct Myers {
    /// For each token, how often it is between the common ends.
    times: Vec<Times>,
    old: Side,
    new: Side,
    search: Search,
    parts: Vec<(Range<usize>, Range<usize>, bool)>,
}

impl Myers {
    /// Calls `hunk` with each run of changed lines of `old` and of `new`, in order. They have so many lines in `common` at their
    /// start and at their end. No text has a token more often than its number of `reads`.
    pub fn compare(
        &mut self,
        old: &[Token],
        new: &[Token],
        common: (usize, usize),
        reads: &[u32],
        mut hunk: impl FnMut(Range<usize>, Range<usize>),
    ) {
        let lines = inner(old, new, common);
        let mut hunk = |before: Range<usize>, after: Range<usize>| {
            let at = |lines: Range<usize>| common.0 + lines.start..common.0 + lines.end;
            hunk(at(before), at(after));
        };
        if lines.iter().any(|lines| lines.is_empty()) {
            let [before, after] = lines.map(|lines| 0..lines.len());
            if before != after {
                hunk(before, after);
            }
            return;
        }
        let alone = self.count(lines, reads.len());
        let times = &mut self.times;
        if is_one_way(lines, times, alone) {
            one_way(lines, times, hunk);
        } else {
            let often = [old, new].map(|tokens| root(tokens.len()).min(COMMON_MAX));
            self.old.start(lines[0].len());
            self.new.start(lines[1].len());
            // Where all is in both, nothing goes for sure, and how often a line occurs says nothing.
            if alone != [0; 2] {
                let ends = [&old[..common.0], &old[old.len() - common.1..]];
                count_common(lines, times, reads, often[0].min(often[1]), ends);
                // Nothing goes among lines that all stay.
                for (number, side) in [&mut self.old, &mut self.new].into_iter().enumerate() {
                    if alone[number] > 0 {
                        side.prune(lines[number], times, 1 - number, often[number]);
                    }
                }
            }
            self.run(lines);
            runs([&self.old.changed, &self.new.changed], hunk);
        }
        self.forget(lines);
    }

    /// Counts `lines`, which have tokens below `tokens`; how many of each text are not in the other.
    fn count(&mut self, lines: [&[Token]; 2], tokens: usize) -> [usize; 2] {
        let Myers { times, .. } = self;
        // All of them are 0 in between.
        times.resize(tokens, [0; 2]);
        times.shrink_to(LINES_KEPT_MAX);
        let [old, new] = lines;
        old.iter().for_each(|line| times[line.0 as usize][0] += 1);
        let count = |line: &Token| {
            let times = &mut times[line.0 as usize];
            times[1] += 1;
            usize::from(times[0] == 0)
        };
        let of_new = new.iter().map(count).sum();
        [old.iter().filter(|line| times[line.0 as usize][1] == 0).count(), of_new]
    }

    fn forget(&mut self, lines: [&[Token]; 2]) {
        lines.into_iter().flatten().for_each(|line| self.times[line.0 as usize] = [0; 2]);
    }

    /// Whether [`Myers::compare`] has one answer only.
    #[cfg(test)]
    pub(super) fn has_one_way(&mut self, old: &[Token], new: &[Token], common: (usize, usize), tokens: usize) -> bool {
        assert!(self.times.iter().all(|times| *times == [0; 2]), "nothing is left of what was compared before");
        let lines = inner(old, new, common);
        let alone = self.count(lines, tokens);
        let is_one_way = is_one_way(lines, &self.times, alone);
        self.forget(lines);
        is_one_way
    }

    fn run(&mut self, lines: [&[Token]; 2]) {
        let Myers { old, new, search, parts, .. } = self;
        let (olds, news) = (old.compared(lines[0]).len(), new.compared(lines[1]).len());
        search.prepare(olds, news);
        parts.clear();
        parts.push((0..olds, 0..news, false));
        while let Some((mut a, mut b, exact)) = parts.pop() {
            let (olds, news) = (&old.compared(lines[0])[a.clone()], &new.compared(lines[1])[b.clone()]);
            let same = common_items(olds, news);
            let same = (same, common_items_back(&olds[same..], &news[same..]));
            (a.start, b.start) = (a.start + same.0, b.start + same.0);
            (a.end, b.end) = (a.end - same.1, b.end - same.1);
            if a.is_empty() || b.is_empty() {
                old.mark(a);
                new.mark(b);
                continue;
            }
            let inner = |lines: &[Token]| same.0..lines.len() - same.1;
            let Split { at, exact } = search.split(&olds[inner(olds)], &news[inner(news)], exact);
            let at = (a.start + at.0, b.start + at.1);
            parts.push((at.0..a.end, at.1..b.end, exact[1]));
            parts.push((a.start..at.0, b.start..at.1, exact[0]));
        }
    }
}

/// The lines between what the texts have in common at their ends.
fn inner<'a>(old: &'a [Token], new: &'a [Token], common: (usize, usize)) -> [&'a [Token]; 2] {
    [old, new].map(|tokens| &tokens[common.0..tokens.len() - common.1])
}

/// Whether there is one way to see what changed: the lines that both texts have are the same ones in the same order, and so few
/// are in one text `alone` that git prunes none. Every shortest way to turn one text into the other then leaves all of those.
fn is_one_way([old, new]: [&[Token]; 2], times: &[Times], alone: [usize; 2]) -> bool {
    let stays = |line: &&Token| !times[line.0 as usize].contains(&0);
    alone[0] == old.len()
        || old.len() - alone[0] == new.len() - alone[1]
            && alone.iter().all(|alone| *alone <= UNPRUNED_MAX)
            && old.iter().filter(stays).eq(new.iter().filter(stays))
}

/// Calls `hunk` with the runs of lines that are not in both texts.
fn one_way(lines: [&[Token]; 2], times: &[Times], mut hunk: impl FnMut(Range<usize>, Range<usize>)) {
    let goes = |line: &&Token| times[line.0 as usize].contains(&0);
    let run = |side: usize, from: usize| from + lines[side][from..].iter().take_while(goes).count();
    let mut from = (0, 0);
    loop {
        let to = (run(0, from.0), run(1, from.1));
        if from != to {
            hunk(from.0..to.0, from.1..to.1);
        }
        if to == (lines[0].len(), lines[1].len()) {
            return;
        }
        from = (to.0 + 1, to.1 + 1);
    }
}

/// Calls `hunk` with the runs of lines that changed: as many others stand between two runs in both texts.
fn runs(changed: [&[u8]; 2], mut hunk: impl FnMut(Range<usize>, Range<usize>)) {
    let length = |side: usize, of: u8, from: usize| {
        let rest = &changed[side][from..];
        memchr::memchr(1 - of, rest).unwrap_or(rest.len())
    };
    let mut from = (0, 0);
    while from != (changed[0].len(), changed[1].len()) {
        let same = length(0, 0, from.0).min(length(1, 0, from.1));
        from = (from.0 + same, from.1 + same);
        let to = (from.0 + length(0, 1, from.0), from.1 + length(1, 1, from.1));
        if from != to {
            hunk(from.0..to.0, from.1..to.1);
        }
        from = to;
    }
}

/// How far one search, from the start or from the end, has come on each diagonal (a line's place in the old text less that
/// in the new one).
#[derive(Default)]
struct Front {
    /// Places in the old text.
    places: Vec<i32>,
    min: i32,
    max: i32,
}

impl Front {
    fn start(&mut self, diagonal: i32, place: i32, at: impl Fn(i32) -> usize) {
        (self.min, self.max) = (diagonal, diagonal);
        self.places[at(diagonal)] = place;
    }

    /// Adds a diagonal on each side, or leaves one out where the texts end. `none` is no place that is reached.
    fn widen(&mut self, (low, high): (i32, i32), none: i32, at: impl Fn(i32) -> usize) {
        if self.min > low {
            self.min -= 1;
            self.places[at(self.min - 1)] = none;
        } else {
            self.min += 1;
        }
        if self.max < high {
            self.max += 1;
            self.places[at(self.max + 1)] = none;
        } else {
            self.max -= 1;
        }
    }

    /// Goes on from the highest diagonal to the lowest: `reach` is told each, and the places on those beside it, and says which
    /// place is reached there, and whether the other search has come to it as well: that is the last one, and is returned.
    fn step(
        &mut self,
        at: impl Fn(i32) -> usize,
        mut reach: impl FnMut(i32, [i32; 2]) -> (i32, bool),
    ) -> Option<(i32, i32)> {
        if self.min > self.max {
            return None;
        }
        let [below @ .., above] = &mut self.places[at(self.min) - 1..at(self.max) + 2] else { return None };
        let (mut diagonal, mut right) = (self.max, *above);
        for [left, here] in below.as_rchunks_mut().1.iter_mut().rev() {
            let (place, is_last) = reach(diagonal, [*left, right]);
            *here = place;
            if is_last {
                return Some((place, diagonal));
            }
            (diagonal, right) = (diagonal - 2, *left);
        }
        None
    }

    /// The diagonals that a step looks at, from the highest on.
    fn diagonals(&self) -> impl Iterator<Item = i32> + use<> {
        let (min, max) = (self.min, self.max);
        std::iter::successors(Some(max), |diagonal| Some(diagonal - 2)).take_while(move |diagonal| *diagonal >= min)
    }
}

/// Looks for the place where the shortest way from the start meets that from the end.
#[derive(Default)]
struct Search {
    forward: Front,
    backward: Front,
    cost_max: i32,
}

impl Search {
    fn prepare(&mut self, olds: usize, news: usize) {
        let diagonals = olds + news + 3;
        self.cost_max = i32::try_from(root(diagonals)).unwrap_or(i32::MAX).max(COST_MIN);
        for Front { places, .. } in [&mut self.forward, &mut self.backward] {
            if places.len() > LINES_KEPT_MAX {
                shrink(places);
            }
            // A step reads nothing but what one before it wrote.
            places.resize(diagonals.max(places.len()), 0);
        }
    }

    /// Neither text is empty, and they differ in their first and in their last lines. Unless `exact`, shortcuts are taken.
    fn split(&mut self, a: &[Token], b: &[Token], exact: bool) -> Split {
        let (rows, columns) = (a.len() as i32, b.len() as i32);
        let ends = (-columns, rows);
        let at = |diagonal: i32| (diagonal + columns + 1) as usize;
        let Search { forward, backward, cost_max } = self;
        forward.start(0, 0, at);
        backward.start(rows - columns, rows, at);
        let is_odd = (rows - columns) & 1 != 0;
        let met = |row: i32, diagonal: i32| Split { at: (row as usize, (row - diagonal) as usize), exact: [true; 2] };
        let mut cost = 0;
        loop {
            cost += 1;
            let mut has_snake = false;
            forward.widen(ends, i32::MIN, at);
            // The two can meet in every second step only.
            let others = if is_odd { backward.min..backward.max + 1 } else { 0..0 };
            let last = forward.step(at, |diagonal, [left, right]| {
                let from = right.max(left + 1);
                let row = end_of_equal(a, b, from, from - diagonal);
                has_snake |= row - from > SNAKE_LINES;
                (row, others.contains(&diagonal) && backward.places[at(diagonal)] <= row)
            });
            if let Some((row, diagonal)) = last {
                return met(row, diagonal);
            }
            backward.widen(ends, i32::MAX, at);
            let others = if is_odd { 0..0 } else { forward.min..forward.max + 1 };
            let last = backward.step(at, |diagonal, [left, right]| {
                let from = left.min(right - 1);
                let row = start_of_equal(a, b, from, from - diagonal);
                has_snake |= from - row > SNAKE_LINES;
                (row, others.contains(&diagonal) && row <= forward.places[at(diagonal)])
            });
            if let Some((row, diagonal)) = last {
                return met(row, diagonal);
            }
            if exact {
                continue;
            }
            if has_snake && cost > SHORTCUT_COST_MIN {
                if let Some(at) = far_snake(a, b, forward, cost, at, false) {
                    return Split { at, exact: [true, false] };
                }
                if let Some(at) = far_snake(a, b, backward, cost, at, true) {
                    return Split { at, exact: [false, true] };
                }
            }
            if cost >= *cost_max {
                return farthest([forward, backward], rows, columns, at);
            }
        }
    }
}

/// Of the places that a search has reached, the farthest that has equal lines where it came from: right before it for the
/// search from the start, right behind it for that from the end (`is_back`).
fn far_snake(
    a: &[Token],
    b: &[Token],
    front: &Front,
    cost: i32,
    at: impl Fn(i32) -> usize,
    is_back: bool,
) -> Option<(usize, usize)> {
    let (rows, columns) = (a.len() as i32, b.len() as i32);
    let (mut most, mut best) = (FAR * cost, None);
    for diagonal in front.diagonals() {
        let row = front.places[at(diagonal)];
        let column = row.saturating_sub(diagonal);
        // How far it is from where the search began, in either text, and from the diagonal of that.
        let (down, across, aside) = match is_back {
            true => (rows.saturating_sub(row), columns.saturating_sub(column), diagonal - (rows - columns)),
            false => (row, column, diagonal),
        };
        if !(SNAKE_LINES..rows).contains(&down) || !(SNAKE_LINES..columns).contains(&across) {
            continue;
        }
        let distance = down + across - aside.abs();
        let place = (row as usize, column as usize);
        let snake = |place: usize| {
            let from = if is_back { place } else { place - SNAKE_LINES as usize };
            from..from + SNAKE_LINES as usize
        };
        if distance > most && a[snake(place.0)] == b[snake(place.1)] {
            (most, best) = (distance, Some(place));
        }
    }
    best
}

/// The place that is farthest from where its search began, when the search has taken long enough.
fn farthest([forward, backward]: [&Front; 2], rows: i32, columns: i32, at: impl Fn(i32) -> usize) -> Split {
    let (mut ahead, mut ahead_row) = (-1, -1);
    for diagonal in forward.diagonals() {
        let row = forward.places[at(diagonal)].min(rows);
        let (row, column) =
            if row - diagonal > columns { (columns + diagonal, columns) } else { (row, row - diagonal) };
        if row + column > ahead {
            (ahead, ahead_row) = (row + column, row);
        }
    }
    let (mut back, mut back_row) = (i32::MAX, i32::MAX);
    for diagonal in backward.diagonals() {
        let row = backward.places[at(diagonal)].max(0);
        let (row, column) = if row < diagonal { (diagonal, 0) } else { (row, row - diagonal) };
        if row + column < back {
            (back, back_row) = (row + column, row);
        }
    }
    if rows + columns - back < ahead {
        Split { at: (ahead_row as usize, (ahead - ahead_row) as usize), exact: [true, false] }
    } else {
        Split { at: (back_row as usize, (back - back_row) as usize), exact: [false, true] }
    }
}

/// Where in `a` the lines end that are equal from these places on.
fn end_of_equal(a: &[Token], b: &[Token], row: i32, column: i32) -> i32 {
    let (mut at, mut other) = (row as usize, column as usize);
    while let (Some(x), Some(y)) = (a.get(at), b.get(other)) {
        if x != y {
            return at as i32;
        }
        (at, other) = (at + 1, other + 1);
        if at as i32 - row == LONG_SNAKE {
            return (at + common_items(&a[at..], &b[other..])) as i32;
        }
    }
    at as i32
}

/// Where in `a` the lines begin that are equal right before these places, one of which may be before the start.
fn start_of_equal(a: &[Token], b: &[Token], row: i32, column: i32) -> i32 {
    let (mut at, mut other) = (row as usize, column as usize);
    while let (Some(x), Some(y)) = (a.get(at.wrapping_sub(1)), b.get(other.wrapping_sub(1))) {
        if x != y {
            return at as i32;
        }
        (at, other) = (at - 1, other - 1);
        if row - at as i32 == LONG_SNAKE {
            return (at - common_items_back(&a[..at], &b[..other])) as i32;
        }
    }
    at as i32
}
