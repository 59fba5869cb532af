//! Compares the lines of two texts: git's own hunks (Myers, its pruning of common lines, its slider) from as little of
//! the texts as decides them.
//!
//! Two versions of a file are mostly the same lines before and behind what changed. Those lines are not hashed. They
//! count for two things only: how often a changed line occurs among them (git prunes what is common), and how far a
//! hunk can slide into them. So a hidden line that equals a changed one gets that line's token, all others get a token
//! that equals nothing which changed; and a few lines next to the change stay visible for the slider. Where a hunk came
//! near to what is hidden, all is done again with nothing hidden.

use std::{cell::Cell, ops::Range};

use gix::diff::blob::{Algorithm, Diff, IndentHeuristic, IndentLevel, SliderHeuristic as _, Token};
use hashbrown::HashMap;

/// Lines that stay visible before and behind the change: more than the slider's heuristic looks at, and few to hash.
/// Hunks that slide farther have everything compared.
const MARGIN: usize = 32;

/// So many lines around a split does the slider's heuristic look at: 20 that are blank, and one that is not.
const SCORE_LINES: u32 = 21;

/// Width of a tab for the slider's heuristic, git's own.
const TAB_WIDTH: u8 = 8;

/// A run of changed lines: those that go and those that come, by number from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hunk {
    /// Lines of the old text.
    pub before: Range<u32>,
    /// Lines of the new text.
    pub after: Range<u32>,
}

/// The outcome of a comparison.
pub struct Compared<'t> {
    /// What changed, in order.
    pub hunks: Vec<Hunk>,
    /// The old text.
    pub before: Text<'t>,
    /// The new text.
    pub after: Text<'t>,
}

/// A text of which some lines in the middle are known by number.
pub struct Text<'t> {
    text: &'t str,
    /// Where the known lines begin, and where the last one ends.
    starts: Vec<usize>,
    /// Number of the first of them.
    first: u32,
    /// Number of all lines.
    len: u32,
}

impl<'t> Text<'t> {
    fn new(text: &'t str, window: Range<usize>, hidden: (u32, u32)) -> Self {
        let bytes = &text.as_bytes()[window.clone()];
        let ends = memchr::memchr_iter(b'\n', bytes).map(|at| window.start + at + 1);
        let mut starts: Vec<usize> = std::iter::once(window.start).chain(ends).collect();
        if starts.last() != Some(&window.end) {
            starts.push(window.end);
        }
        let len = hidden.0 + (starts.len() - 1) as u32 + hidden.1;
        Text { text, starts, first: hidden.0, len }
    }

    /// Number of lines.
    pub fn line_count(&self) -> u32 {
        self.len
    }

    /// The line `number`, with its end, of those around a change.
    pub fn line(&self, number: u32) -> &'t str {
        let at = (number - self.first) as usize;
        &self.text[self.starts[at]..self.starts[at + 1]]
    }

    /// The lines before line `number`, from the nearest on.
    pub fn lines_before(&self, number: u32) -> impl Iterator<Item = &'t str> {
        let mut end = self.starts[(number - self.first) as usize];
        std::iter::from_fn(move || {
            let last = end.checked_sub(1)?;
            let start = memchr::memrchr(b'\n', &self.text.as_bytes()[..last]).map_or(0, |at| at + 1);
            Some(&self.text[start..std::mem::replace(&mut end, start)])
        })
    }

    /// The known lines.
    fn window(&self) -> impl ExactSizeIterator<Item = &'t [u8]> {
        self.starts.windows(2).map(|ends| &self.text.as_bytes()[ends[0]..ends[1]])
    }
}

/// The hunks that turn `before` into `after`.
pub fn compare<'t>(before: &'t str, after: &'t str) -> Compared<'t> {
    compare_within(before, after, MARGIN)
        .or_else(|| compare_within(before, after, usize::MAX))
        .expect("nothing is hidden")
}

/// `None` where a hunk came near to the lines that are hidden, those `margin` lines away from what changed.
fn compare_within<'t>(before: &'t str, after: &'t str, margin: usize) -> Option<Compared<'t>> {
    let (prefix, suffix) = common_ends(before.as_bytes(), after.as_bytes());
    let (head, tail) = (&before.as_bytes()[..prefix], &before.as_bytes()[before.len() - suffix..]);
    let head_hidden = &head[..line_from_end(head, margin)];
    let tail_hidden = &tail[line_from_start(tail, margin)..];
    let hidden = (line_count(head_hidden), line_count(tail_hidden));
    let window = |text: &str| head_hidden.len()..text.len() - tail_hidden.len();
    let (old, new) = (Text::new(before, window(before), hidden), Text::new(after, window(after), hidden));
    // Of the known lines, those that are not common to both ends.
    let lead = line_count(&head[head_hidden.len()..]) as usize;
    let trail = line_count(&tail[..tail.len() - tail_hidden.len()]) as usize;
    let changed = |text: &Text<'_>| lead..text.starts.len() - 1 - trail;

    let mut tokens = Tokens::default();
    let known = |tokens: &mut Tokens<'t>, text: &Text<'t>| -> Vec<Token> {
        let changed = changed(text);
        let all = text.window().enumerate();
        all.map(|(at, line)| tokens.intern(line, changed.contains(&at))).collect()
    };
    let (old_known, new_known) = (known(&mut tokens, &old), known(&mut tokens, &new));
    let nothing_to_match = changed(&old).is_empty() || changed(&new).is_empty();
    let hide = |lines: &[u8], count: u32| -> Vec<Token> {
        if nothing_to_match || count == 0 {
            return vec![OTHER; count as usize];
        }
        split(lines).map(|line| tokens.find(line)).collect()
    };
    let (head_tokens, tail_tokens) = (hide(head_hidden, hidden.0), hide(tail_hidden, hidden.1));
    let all = |known: &[Token]| [&head_tokens[..], known, &tail_tokens[..]].concat();
    let (old_tokens, new_tokens) = (all(&old_known), all(&new_known));

    let mut diff = Diff::default();
    diff.compute_with(Algorithm::Myers, &old_tokens, &new_tokens, tokens.indents.len() as u32);
    let came_near = Cell::new(false);
    let mut heuristic = IndentHeuristic::new(|token: Token| tokens.indents[token.0 as usize]);
    diff.postprocess_with(&old_tokens, &new_tokens, |tokens: &[Token], hunk: Range<u32>, earliest_end: u32| {
        let lowest = earliest_end.saturating_sub(hunk.end - hunk.start);
        let shown = hidden.0 + SCORE_LINES..=(tokens.len() as u32 - hidden.1).saturating_sub(SCORE_LINES);
        let near = (hidden.0 > 0 && lowest < *shown.start()) || (hidden.1 > 0 && hunk.end > *shown.end());
        came_near.set(came_near.get() || near);
        heuristic.best_slider_end(tokens, hunk, earliest_end)
    });
    let hunks: Vec<Hunk> = diff.hunks().map(|hunk| Hunk { before: hunk.before, after: hunk.after }).collect();
    (!came_near.get()).then_some(Compared { hunks, before: old, after: new })
}

/// The token of hidden lines that are none of those which changed.
const OTHER: Token = Token(0);

struct Tokens<'t> {
    by_line: HashMap<&'t [u8], Token>,
    indents: Vec<IndentLevel>,
    /// A bit for the fingerprint of each line that changed: most hidden lines are told apart by it.
    seen: [u64; FINGERPRINTS / 64],
}

/// Number of fingerprints of lines.
const FINGERPRINTS: usize = 4096;

impl Default for Tokens<'_> {
    fn default() -> Self {
        let other = IndentLevel::for_ascii_line([], TAB_WIDTH);
        Tokens { by_line: HashMap::new(), indents: vec![other], seen: [0; FINGERPRINTS / 64] }
    }
}

impl<'t> Tokens<'t> {
    fn intern(&mut self, line: &'t [u8], changed: bool) -> Token {
        if changed {
            let at = fingerprint(line);
            self.seen[at / 64] |= 1 << (at % 64);
        }
        *self.by_line.entry(line).or_insert_with(|| {
            self.indents.push(IndentLevel::for_ascii_line(line.iter().copied(), TAB_WIDTH));
            Token((self.indents.len() - 1) as u32)
        })
    }

    fn find(&self, line: &[u8]) -> Token {
        let at = fingerprint(line);
        if self.seen[at / 64] >> (at % 64) & 1 == 0 {
            return OTHER;
        }
        self.by_line.get(line).copied().unwrap_or(OTHER)
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
        let mut fell_back = 0;
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
                match compare_within(&old, &new, margin) {
                    Some(compared) => assert_eq!(compared.hunks, plain(&old, &new), "{margin}: {old:?} {new:?}"),
                    None => fell_back += 1,
                }
            }
            let compared = compare(&old, &new);
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
