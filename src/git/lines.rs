//! Compares the lines of two texts: git's own hunks (Myers, its pruning of common lines, its slider) from as little of
//! the texts as decides them.
//!
//! Two versions of a file are mostly the same lines before and behind what changed. Those lines are not hashed. They
//! count for two things only: how often a changed line occurs among them (git prunes what is common), and how far a
//! hunk can slide into them. So a hidden line that equals a changed one gets that line's token, all others get a token
//! that equals nothing which changed; and a few lines next to the change stay visible for the slider. Where a hunk came
//! near to what is hidden, all is done again with nothing hidden.

use std::{cell::Cell, hash::BuildHasher as _, ops::Range};

use gix::diff::blob::{Algorithm, Diff, IndentHeuristic, IndentLevel, SliderHeuristic as _, Token};
use hashbrown::{DefaultHashBuilder, HashTable, hash_table::Entry};

/// Lines that stay visible before and behind the change: more than the slider's heuristic looks at, and few to hash.
/// Hunks that slide farther have everything compared.
const MARGIN: usize = 32;

/// So many lines around a split does the slider's heuristic look at: 20 that are blank, and one that is not.
const SCORE_LINES: u32 = 21;

/// Width of a tab for the slider's heuristic, git's own.
const TAB_WIDTH: u8 = 8;

/// Lines of which the memory is kept for the next comparison.
const LINES_KEPT_MAX: usize = 1 << 16;

/// A run of changed lines: those that go and those that come, by number from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hunk {
    /// Lines of the old text.
    pub before: Range<u32>,
    /// Lines of the new text.
    pub after: Range<u32>,
}

/// The outcome of a comparison.
pub struct Compared<'a> {
    /// What changed, in order.
    pub hunks: &'a [Hunk],
    /// The old text.
    pub before: Text<'a>,
    /// The new text.
    pub after: Text<'a>,
}

/// A text of which some lines in the middle are known by number.
pub struct Text<'a> {
    text: &'a str,
    /// Where the known lines begin, and where the last one ends.
    starts: &'a [usize],
    /// Number of the first of them.
    first: u32,
    /// Number of all lines.
    len: u32,
}

impl<'a> Text<'a> {
    fn new(text: &'a str, side: &'a Side, hidden: (u32, u32)) -> Self {
        let starts = &side.starts;
        Text { text, starts, first: hidden.0, len: hidden.0 + (starts.len() - 1) as u32 + hidden.1 }
    }

    /// Number of lines.
    pub fn line_count(&self) -> u32 {
        self.len
    }

    /// The line `number`, with its end, of those around a change.
    pub fn line(&self, number: u32) -> &'a str {
        let at = (number - self.first) as usize;
        &self.text[self.starts[at]..self.starts[at + 1]]
    }

    /// The lines before line `number`, from the nearest on.
    pub fn lines_before(&self, number: u32) -> impl Iterator<Item = &'a str> {
        let mut end = self.starts[(number - self.first) as usize];
        std::iter::from_fn(move || {
            let last = end.checked_sub(1)?;
            let start = memchr::memrchr(b'\n', &self.text.as_bytes()[..last]).map_or(0, |at| at + 1);
            Some(&self.text[start..std::mem::replace(&mut end, start)])
        })
    }
}

/// Compares texts, for one thread. Its memory serves every comparison: to get fresh memory cleared by the kernel takes
/// longer than most of them.
#[derive(Default)]
pub struct Comparer {
    old: Side,
    new: Side,
    tokens: Tokens,
    diff: Diff,
    hunks: Vec<Hunk>,
}

/// One of the two texts.
#[derive(Default)]
struct Side {
    /// As [`Text::starts`].
    starts: Vec<usize>,
    /// Of all lines.
    tokens: Vec<Token>,
    /// Of the known lines, those that are not common to both ends.
    changed: Range<usize>,
}

impl Side {
    /// `common` are the lines of `window` that both texts begin and end with.
    fn split(&mut self, text: &[u8], window: Range<usize>, common: (usize, usize)) {
        self.starts.clear();
        self.starts.push(window.start);
        self.starts.extend(memchr::memchr_iter(b'\n', &text[window.clone()]).map(|at| window.start + at + 1));
        if self.starts.last() != Some(&window.end) {
            self.starts.push(window.end);
        }
        self.changed = common.0..self.starts.len() - 1 - common.1;
    }

    fn line(&self, at: usize) -> Range<usize> {
        self.starts[at]..self.starts[at + 1]
    }

    /// Whether the changed lines can move up or down: the text is the same after it.
    fn can_slide(&self, text: &[u8]) -> bool {
        let (changed, lines) = (&self.changed, self.starts.len() - 1);
        let same = |a: usize, b: usize| text[self.line(a)] == text[self.line(b)];
        !changed.is_empty()
            && ((changed.start > 0 && same(changed.start - 1, changed.end - 1))
                || (changed.end < lines && same(changed.end, changed.start)))
    }

    fn shrink(&mut self) {
        self.starts.shrink_to(LINES_KEPT_MAX);
        self.tokens.shrink_to(LINES_KEPT_MAX);
    }
}

impl Comparer {
    /// The hunks that turn `before` into `after`.
    pub fn compare<'a>(&'a mut self, before: &'a str, after: &'a str) -> Compared<'a> {
        let hidden = self
            .compare_within(before, after, MARGIN)
            .or_else(|| self.compare_within(before, after, usize::MAX))
            .expect("nothing is hidden");
        self.compared(before, after, hidden)
    }

    fn compared<'a>(&'a self, before: &'a str, after: &'a str, hidden: (u32, u32)) -> Compared<'a> {
        let (before, after) = (Text::new(before, &self.old, hidden), Text::new(after, &self.new, hidden));
        Compared { hunks: &self.hunks, before, after }
    }

    /// Finds the hunks. Returns how many lines at the start and at the end are hidden, those `margin` lines away from
    /// what changed; `None` where a hunk came near to them.
    fn compare_within(&mut self, before: &str, after: &str, margin: usize) -> Option<(u32, u32)> {
        let Comparer { old, new, tokens, diff, hunks } = self;
        let texts = [before.as_bytes(), after.as_bytes()];
        let [before, after] = texts;
        let (prefix, suffix) = common_ends(before, after);
        let (head, tail) = (&before[..prefix], &before[before.len() - suffix..]);
        let head_hidden = &head[..line_from_end(head, margin)];
        let tail_hidden = &tail[line_from_start(tail, margin)..];
        let hidden = (line_count(head_hidden), line_count(tail_hidden));
        let window = |text: &[u8]| head_hidden.len()..text.len() - tail_hidden.len();
        let lead = line_count(&head[head_hidden.len()..]) as usize;
        let trail = line_count(&tail[..tail.len() - tail_hidden.len()]) as usize;
        old.shrink();
        new.shrink();
        old.split(before, window(before), (lead, trail));
        new.split(after, window(after), (lead, trail));
        hunks.clear();
        tokens.clear();

        // Where no line stays, all of them are one hunk, and it only matters whether that can move.
        let mut anything_stays = false;
        if !old.changed.is_empty() && !new.changed.is_empty() {
            for at in old.changed.clone() {
                tokens.intern(texts, 0, old.line(at));
            }
            let of_old = tokens.lines.len();
            for at in new.changed.clone() {
                anything_stays |= (tokens.intern(texts, 1, new.line(at)).0 as usize) <= of_old;
            }
        }
        if !anything_stays && !old.can_slide(before) && !new.can_slide(after) {
            let all = |side: &Side| hidden.0 + side.changed.start as u32..hidden.0 + side.changed.end as u32;
            let hunk = Hunk { before: all(old), after: all(new) };
            hunks.extend(Some(hunk).filter(|hunk| !hunk.before.is_empty() || !hunk.after.is_empty()));
            return Some(hidden);
        }

        let changed_lines = tokens.lines.len();
        for (side, number) in [(&mut *old, 0), (&mut *new, 1)] {
            side.tokens.clear();
            side.tokens.resize(hidden.0 as usize, OTHER);
            for at in 0..side.starts.len() - 1 {
                let token = tokens.intern(texts, number, side.line(at));
                side.tokens.push(token);
            }
            side.tokens.resize(side.tokens.len() + hidden.1 as usize, OTHER);
        }
        if anything_stays {
            tokens.note_changed(texts, changed_lines);
            let hide = |lines: &[u8], at: usize, of: &mut [Token]| {
                split(lines).zip(&mut of[at..]).for_each(|(line, token)| *token = tokens.find(texts, line));
            };
            hide(head_hidden, 0, &mut old.tokens);
            new.tokens[..hidden.0 as usize].copy_from_slice(&old.tokens[..hidden.0 as usize]);
            let ends = [&old, &new].map(|side| side.tokens.len() - hidden.1 as usize);
            hide(tail_hidden, ends[0], &mut old.tokens);
            new.tokens[ends[1]..].copy_from_slice(&old.tokens[ends[0]..]);
        }

        diff.compute_with(Algorithm::Myers, &old.tokens, &new.tokens, tokens.lines.len() as u32 + 1);
        let came_near = Cell::new(false);
        let mut heuristic = IndentHeuristic::new(|token: Token| {
            IndentLevel::for_ascii_line(tokens.line(texts, token).iter().copied(), TAB_WIDTH)
        });
        diff.postprocess_with(&old.tokens, &new.tokens, |tokens: &[Token], hunk: Range<u32>, earliest_end: u32| {
            let lowest = earliest_end.saturating_sub(hunk.end - hunk.start);
            let shown = hidden.0 + SCORE_LINES..=(tokens.len() as u32 - hidden.1).saturating_sub(SCORE_LINES);
            let near = (hidden.0 > 0 && lowest < *shown.start()) || (hidden.1 > 0 && hunk.end > *shown.end());
            came_near.set(came_near.get() || near);
            heuristic.best_slider_end(tokens, hunk, earliest_end)
        });
        hunks.extend(diff.hunks().map(|hunk| Hunk { before: hunk.before, after: hunk.after }));
        (!came_near.get()).then_some(hidden)
    }
}

/// The token of hidden lines that are none of those which changed. The others count from 1.
const OTHER: Token = Token(0);

/// Numbers for lines, the same for equal ones.
struct Tokens {
    by_line: HashTable<Token>,
    hasher: DefaultHashBuilder,
    /// For each token, the text that has it, and where.
    lines: Vec<(usize, Range<usize>)>,
    /// A bit for the fingerprint of each line that changed: most hidden lines are told apart by it.
    seen: [u64; FINGERPRINTS / 64],
}

/// Number of fingerprints of lines.
const FINGERPRINTS: usize = 4096;

/// The old text and the new one.
type Texts<'t> = [&'t [u8]; 2];

impl Default for Tokens {
    fn default() -> Self {
        let (by_line, hasher) = (HashTable::new(), DefaultHashBuilder::default());
        Tokens { by_line, hasher, lines: Vec::new(), seen: [0; FINGERPRINTS / 64] }
    }
}

fn line_of<'t>(texts: Texts<'t>, lines: &[(usize, Range<usize>)], token: Token) -> &'t [u8] {
    let line = (token.0 as usize).checked_sub(1).and_then(|at| lines.get(at));
    line.map_or(&[], |(text, range)| &texts[*text][range.clone()])
}

impl Tokens {
    fn clear(&mut self) {
        self.lines.clear();
        self.lines.shrink_to(LINES_KEPT_MAX);
        if self.by_line.capacity() > LINES_KEPT_MAX {
            self.by_line = HashTable::new();
        }
        self.by_line.clear();
    }

    /// The text of a token; empty for [`OTHER`].
    fn line<'t>(&self, texts: Texts<'t>, token: Token) -> &'t [u8] {
        line_of(texts, &self.lines, token)
    }

    fn intern(&mut self, texts: Texts<'_>, text: usize, range: Range<usize>) -> Token {
        let Tokens { by_line, hasher, lines, .. } = self;
        let line = &texts[text][range.clone()];
        let hash = |line: &[u8]| hasher.hash_one(line);
        let known = |token: &Token| line_of(texts, lines, *token) == line;
        match by_line.entry(hash(line), known, |token| hash(line_of(texts, lines, *token))) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                lines.push((text, range));
                let token = Token(lines.len() as u32);
                entry.insert(token);
                token
            }
        }
    }

    /// Makes the lines with the first `count` tokens those that [`Tokens::find`] looks for.
    fn note_changed(&mut self, texts: Texts<'_>, count: usize) {
        self.seen.fill(0);
        for (text, range) in &self.lines[..count] {
            let at = fingerprint(&texts[*text][range.clone()]);
            self.seen[at / 64] |= 1 << (at % 64);
        }
    }

    fn find(&self, texts: Texts<'_>, line: &[u8]) -> Token {
        let at = fingerprint(line);
        if self.seen[at / 64] >> (at % 64) & 1 == 0 {
            return OTHER;
        }
        let known = |token: &Token| self.line(texts, *token) == line;
        self.by_line.find(self.hasher.hash_one(line), known).copied().unwrap_or(OTHER)
    }
}

/// A number below [`FINGERPRINTS`] from the length of a line and its last eight bytes: code is indented, so its first
/// ones say less.
fn fingerprint(line: &[u8]) -> usize {
    let mut last = [0; 8];
    let from = line.len().saturating_sub(8);
    last[..line.len() - from].copy_from_slice(&line[from..]);
    let mixed = (u64::from_le_bytes(last) ^ line.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (64 - FINGERPRINTS.trailing_zeros())) as usize
}

fn split(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut from = 0;
    let ends = memchr::memchr_iter(b'\n', text).map(|at| at + 1);
    let rest = (!text.is_empty() && !text.ends_with(b"\n")).then_some(text.len());
    ends.chain(rest).map(move |to| &text[std::mem::replace(&mut from, to)..to])
}

fn line_count(text: &[u8]) -> u32 {
    let open = !text.is_empty() && !text.ends_with(b"\n");
    (memchr::memchr_iter(b'\n', text).count() + usize::from(open)) as u32
}

/// Where the last `n` lines of `text` begin, which ends at the end of a line.
fn line_from_end(text: &[u8], n: usize) -> usize {
    memchr::memrchr_iter(b'\n', text).nth(n).map_or(0, |at| at + 1)
}

/// Where the first `n` lines of `text` end.
fn line_from_start(text: &[u8], n: usize) -> usize {
    if n == 0 { 0 } else { memchr::memchr_iter(b'\n', text).nth(n - 1).map_or(text.len(), |at| at + 1) }
}

/// The lengths in bytes of the whole lines that two texts have in common at the start, and of those at the end.
fn common_ends(a: &[u8], b: &[u8]) -> (usize, usize) {
    const BLOCK: usize = 64;
    let blocks = a.chunks_exact(BLOCK).zip(b.chunks_exact(BLOCK)).take_while(|(a, b)| a == b).count() * BLOCK;
    let same = blocks + a[blocks..].iter().zip(&b[blocks..]).take_while(|(a, b)| a == b).count();
    // What differs at its very end is the end of a line in one text and not in the other.
    let prefix = if same == a.len() && same == b.len() {
        same
    } else {
        memchr::memrchr(b'\n', &a[..same]).map_or(0, |at| at + 1)
    };
    let (a, b) = (&a[prefix..], &b[prefix..]);
    let blocks = a.rchunks_exact(BLOCK).zip(b.rchunks_exact(BLOCK)).take_while(|(a, b)| a == b).count() * BLOCK;
    let (left_a, left_b) = (&a[..a.len() - blocks], &b[..b.len() - blocks]);
    let same = blocks + left_a.iter().rev().zip(left_b.iter().rev()).take_while(|(a, b)| a == b).count();
    let begins_line = |text: &[u8]| text.len() == same || text[text.len() - same - 1] == b'\n';
    let suffix = if begins_line(a) && begins_line(b) {
        same
    } else {
        let common = &a[a.len() - same..];
        memchr::memchr(b'\n', common).map_or(0, |at| same - at - 1)
    };
    (prefix, suffix)
}

#[cfg(test)]
mod tests {
    use gix::diff::blob::InternedInput;

    use super::*;

    /// The hunks of all lines, with nothing left out.
    fn plain(before: &str, after: &str) -> Vec<Hunk> {
        let input = InternedInput::new(before.as_bytes(), after.as_bytes());
        let mut diff = Diff::compute(Algorithm::Myers, &input);
        diff.postprocess_lines(&input);
        diff.hunks().map(|hunk| Hunk { before: hunk.before, after: hunk.after }).collect()
    }

    /// Numbers that look random, and are the same every time (Knuth's MMIX generator).
    fn numbers(mut seed: u64) -> impl FnMut(usize) -> usize {
        move |below| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % below
        }
    }

    #[test]
    fn hunks_are_those_of_all_lines() {
        let mut next = numbers(1);
        let lines = ["\n", "}\n", "    }\n", "a\n", "\tb\n", "    c\n", "x", "\n\n", "    if (x) {\n", "    \n"];
        let (mut comparer, mut fell_back) = (Comparer::default(), 0);
        for round in 0..6000 {
            // Of few kinds of lines, so that hunks can slide; many, so that much is hidden.
            let kinds = 1 + next(lines.len());
            let length = next(if round % 3 == 0 { 900 } else { 40 });
            let mut old: Vec<String> = (0..length)
                .map(|at| if next(4) == 0 { format!("line {at}\n") } else { lines[next(kinds)].to_owned() })
                .collect();
            if round % 5 == 0 {
                old = old.iter().map(|_| lines[next(kinds.min(2))].to_owned()).collect();
            }
            let mut new = old.clone();
            for _ in 0..1 + next(4) {
                let at = next(new.len() + 1);
                let to = (at + next(5)).min(new.len());
                let put: Vec<String> = (0..next(6)).map(|_| lines[next(kinds)].to_owned()).collect();
                new.splice(at..to, put);
            }
            let (old, new) = (old.concat(), new.concat());
            for margin in [22, 30, MARGIN] {
                match comparer.compare_within(&old, &new, margin) {
                    Some(_) => assert_eq!(comparer.hunks, plain(&old, &new), "{margin}: {old:?} {new:?}"),
                    None => fell_back += 1,
                }
            }
            let compared = comparer.compare(&old, &new);
            assert_eq!(compared.hunks, plain(&old, &new), "{old:?} {new:?}");
            let (first, last) = (compared.hunks.first(), compared.hunks.last());
            if let (Some(first), Some(last)) = (first, last) {
                let all: Vec<&[u8]> = split(old.as_bytes()).collect();
                assert_eq!(compared.before.line_count() as usize, all.len());
                for number in
                    first.before.start.saturating_sub(3)..last.before.end.saturating_add(3).min(all.len() as u32)
                {
                    assert_eq!(compared.before.line(number).as_bytes(), all[number as usize]);
                }
                let before: Vec<&[u8]> = compared.before.lines_before(first.before.start).map(str::as_bytes).collect();
                let expected: Vec<&[u8]> = all[..first.before.start as usize].iter().rev().copied().collect();
                assert_eq!(before, expected);
            }
        }
        assert!(fell_back > 0, "no hunk ever came near to what is hidden");
    }

    #[test]
    fn ends_are_whole_lines() {
        let ends = |a: &str, b: &str| common_ends(a.as_bytes(), b.as_bytes());
        assert_eq!(ends("", ""), (0, 0));
        assert_eq!(ends("a\nb\n", "a\nb\n"), (4, 0));
        assert_eq!(ends("a\nb", "a\nb\n"), (2, 0));
        assert_eq!(ends("a\nb\nc\n", "a\nx\nc\n"), (2, 2));
        assert_eq!(ends("xa\nc\n", "ya\nc\n"), (0, 2));
        assert_eq!(ends("a\n", "a\na\n"), (2, 0));
        assert_eq!(ends("b\na\n", "a\n"), (0, 2));
        assert_eq!(ends("ba\n", "a\n"), (0, 0));
    }
}
