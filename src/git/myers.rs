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
use crate::bytes::{common_prefix, common_suffix};

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

/// Up to so many lines are looked for one by one in what the texts have in common: a vector at a time, which is sooner done than
/// to count all that is there.
const OPEN_MAX: usize = 6;

/// How a line of one text stands in the other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Occurs {
    Never,
    Sometimes,
    Often,
}

/// How often a line is in the old and in the new text.
struct Count {
    token: Token,
    times: [u32; 2],
}

impl Count {
    /// Adds the lines `common` to both texts that are this one.
    fn add(&mut self, common: &[Token]) {
        let same = common.iter().map(|other| u32::from(*other == self.token)).sum::<u32>();
        self.times.iter_mut().for_each(|times| *times += same);
    }
}

/// One of the two texts.
#[derive(Default)]
struct Side {
    /// Numbers of the lines between the common ends.
    lines: Vec<u32>,
    occurs: Vec<Occurs>,
    /// Those of `lines` that are compared, and where they stand there.
    kept: Vec<u32>,
    places: Vec<u32>,
    changed: Vec<bool>,
}

impl Side {
    fn shrink(&mut self) {
        let Side { lines, occurs, kept, places, changed } = self;
        [lines, kept, places].into_iter().for_each(shrink);
        shrink(occurs);
        shrink(changed);
    }

    /// Takes the lines `tokens` and gives them the numbers that they have, or the next ones.
    fn fill(&mut self, tokens: &[Token], numbers: &mut [u32], counts: &mut Vec<Count>, side: usize) {
        self.lines.clear();
        self.lines.extend(tokens.iter().map(|token| {
            let number = &mut numbers[token.0 as usize];
            if *number == 0 {
                counts.push(Count { token: *token, times: [0; 2] });
                *number = counts.len() as u32;
            }
            counts[*number as usize - 1].times[side] += 1;
            *number - 1
        }));
        self.changed.clear();
        self.changed.resize(tokens.len(), false);
    }

    /// Sets aside what can't be in both texts, and common lines in the middle of that.
    fn prune(&mut self, counts: &[Count], other: usize, often: u32) {
        let Side { lines, occurs, kept, places, changed } = self;
        occurs.clear();
        occurs.extend(lines.iter().map(|line| match counts[*line as usize].times[other] {
            0 => Occurs::Never,
            times if times >= often => Occurs::Often,
            _ => Occurs::Sometimes,
        }));
        kept.clear();
        places.clear();
        for (at, line) in lines.iter().enumerate() {
            if match occurs[at] {
                Occurs::Never => true,
                Occurs::Sometimes => false,
                Occurs::Often => is_among_going(occurs, at),
            } {
                changed[at] = true;
            } else {
                kept.push(*line);
                places.push(at as u32);
            }
        }
    }

    /// These of the kept lines changed.
    fn mark(&mut self, kept: Range<usize>) {
        for place in &self.places[kept] {
            self.changed[*place as usize] = true;
        }
    }
}

/// Gives back what a long text needed.
fn shrink<T>(memory: &mut Vec<T>) {
    memory.clear();
    memory.shrink_to(LINES_KEPT_MAX);
}

/// Whether a common line stands among lines that go, and not beside one that may stay.
fn is_among_going(occurs: &[Occurs], at: usize) -> bool {
    let count = |lines: &mut dyn Iterator<Item = &Occurs>| {
        let near = lines.take(WINDOW).take_while(|occurs| **occurs != Occurs::Sometimes);
        near.fold((0, 0), |(going, common), occurs| match occurs {
            Occurs::Never => (going + 1, common),
            _ => (going, common + 1),
        })
    };
    let before = count(&mut occurs[..at].iter().rev());
    if before.0 == 0 {
        return false;
    }
    let behind = count(&mut occurs[at + 1..].iter());
    // git counts the line itself on both sides.
    behind.0 > 0 && before.0 + behind.0 > GOING_PER_COMMON * (before.1 + behind.1 + 2)
}

/// Adds what the texts have in `common` to the counts of lines for which that makes a difference: those that may be there and else
/// in one text only, or `often`.
fn count_common(counts: &mut [Count], numbers: &[u32], reads: &[u32], often: u32, common: [&[Token]; 2]) {
    let is_open = |count: &Count| {
        let reads = reads[count.token.0 as usize];
        reads >= often || count.times.contains(&0) && reads > count.times[0].max(count.times[1])
    };
    if counts.iter().filter(|count| is_open(count)).nth(OPEN_MAX).is_none() {
        for count in counts.iter_mut().filter(|count| is_open(count)) {
            common.into_iter().for_each(|common| count.add(common));
        }
        return;
    }
    for token in common.into_iter().flatten() {
        if let Some(number) = numbers[token.0 as usize].checked_sub(1) {
            counts[number as usize].times.iter_mut().for_each(|times| *times += 1);
        }
    }
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
    /// For each token, its number among the lines that are compared, and one more; 0 for none.
    numbers: Vec<u32>,
    /// Those, in the order of their numbers.
    counts: Vec<Count>,
    old: Side,
    new: Side,
    search: Search,
    parts: Vec<(Range<usize>, Range<usize>, bool)>,
}

impl Myers {
    /// Calls `hunk` with each run of changed lines of `old` and of `new`, in order. They have lines in `common` at their
    /// start and end, and in between one at least of each is another. No text has a token more often than its number of `reads`.
    pub fn compare(
        &mut self,
        old: &[Token],
        new: &[Token],
        common: (usize, usize),
        reads: &[u32],
        mut hunk: impl FnMut(Range<usize>, Range<usize>),
    ) {
        let Myers { numbers, counts, .. } = self;
        // All of them are 0 in between.
        numbers.resize(reads.len(), 0);
        numbers.shrink_to(LINES_KEPT_MAX);
        shrink(counts);
        self.old.shrink();
        self.new.shrink();
        let inner = |tokens: &[Token]| common.0..tokens.len() - common.1;
        let (olds, news) = (&old[inner(old)], &new[inner(new)]);
        self.old.fill(olds, numbers, counts, 0);
        self.new.fill(news, numbers, counts, 1);
        let often = [old, new].map(|tokens| root(tokens.len()).min(COMMON_MAX));
        // Where all is in both, nothing goes for sure, and how often a line occurs says nothing.
        if counts.iter().any(|count| count.times.contains(&0)) {
            count_common(
                counts,
                numbers,
                reads,
                often[0].min(often[1]),
                [&old[..common.0], &old[old.len() - common.1..]],
            );
        }
        counts.iter().for_each(|count| numbers[count.token.0 as usize] = 0);
        self.old.prune(counts, 1, often[0]);
        self.new.prune(counts, 0, often[1]);
        self.run();
        let mut at = (0, 0);
        let run = |changed: &[bool], from: usize| from + changed[from..].iter().take_while(|changed| **changed).count();
        loop {
            let to = (run(&self.old.changed, at.0), run(&self.new.changed, at.1));
            if to != at {
                hunk(common.0 + at.0..common.0 + to.0, common.0 + at.1..common.0 + to.1);
            }
            if to == (olds.len(), news.len()) {
                return;
            }
            at = (to.0 + 1, to.1 + 1);
        }
    }

    fn run(&mut self) {
        let Myers { old, new, search, parts, .. } = self;
        search.prepare(old.kept.len(), new.kept.len());
        parts.clear();
        parts.push((0..old.kept.len(), 0..new.kept.len(), false));
        while let Some((mut a, mut b, exact)) = parts.pop() {
            let (olds, news) = (&old.kept[a.clone()], &new.kept[b.clone()]);
            let same = common_prefix(olds, news);
            (a.start, b.start) = (a.start + same, b.start + same);
            let same = common_suffix(&olds[same..], &news[same..]);
            (a.end, b.end) = (a.end - same, b.end - same);
            if a.is_empty() || b.is_empty() {
                old.mark(a);
                new.mark(b);
                continue;
            }
            let Split { at, exact } = search.split(&old.kept[a.clone()], &new.kept[b.clone()], exact);
            let at = (a.start + at.0, b.start + at.1);
            parts.push((at.0..a.end, at.1..b.end, exact[1]));
            parts.push((a.start..at.0, b.start..at.1, exact[0]));
        }
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
    fn split(&mut self, a: &[u32], b: &[u32], exact: bool) -> Split {
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
            let mut diagonal = forward.max;
            while diagonal >= forward.min {
                let [left, here, right] = around(&mut forward.places, at(diagonal));
                let from = if *left >= *right { *left + 1 } else { *right };
                let row = end_of_equal(a, b, from, from - diagonal);
                *here = row;
                has_snake |= row - from > SNAKE_LINES;
                let reached = is_odd && diagonal >= backward.min && diagonal <= backward.max;
                if reached && backward.places[at(diagonal)] <= row {
                    return met(row, diagonal);
                }
                diagonal -= 2;
            }
            backward.widen(ends, i32::MAX, at);
            let mut diagonal = backward.max;
            while diagonal >= backward.min {
                let [left, here, right] = around(&mut backward.places, at(diagonal));
                let from = if *left < *right { *left } else { *right - 1 };
                let row = start_of_equal(a, b, from, from - diagonal);
                *here = row;
                has_snake |= from - row > SNAKE_LINES;
                let reached = !is_odd && diagonal >= forward.min && diagonal <= forward.max;
                if reached && row <= forward.places[at(diagonal)] {
                    return met(row, diagonal);
                }
                diagonal -= 2;
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
    a: &[u32],
    b: &[u32],
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

/// What stands at a place, and beside it.
fn around(places: &mut [i32], at: usize) -> &mut [i32; 3] {
    let near = &mut places[at - 1..at + 2];
    near.try_into().expect("three of them")
}

/// Where in `a` the lines end that are equal from these places on.
fn end_of_equal(a: &[u32], b: &[u32], row: i32, column: i32) -> i32 {
    let (mut at, mut other) = (row as usize, column as usize);
    while let (Some(x), Some(y)) = (a.get(at), b.get(other)) {
        if x != y {
            break;
        }
        (at, other) = (at + 1, other + 1);
    }
    at as i32
}

/// Where in `a` the lines begin that are equal right before these places, one of which may be before the start.
fn start_of_equal(a: &[u32], b: &[u32], row: i32, column: i32) -> i32 {
    let (mut at, mut other) = (row as usize, column as usize);
    while let (Some(x), Some(y)) = (a.get(at.wrapping_sub(1)), b.get(other.wrapping_sub(1))) {
        if x != y {
            break;
        }
        (at, other) = (at - 1, other - 1);
    }
    at as i32
}
