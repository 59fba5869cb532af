//! Compares the lines of two texts: git's own hunks (Myers, its pruning of common lines, its slider).
//!
//! Texts are mostly versions of one another, and rows come with the versions of a file one after the other. So lines have
//! numbers (tokens) that last from one comparison to the next, a text that was compared is remembered, and another one
//! takes the tokens of all that it has in common with one that is known: only what is new is hashed. Which text that is
//! decides how long it takes, and nothing else: equal lines have equal tokens in any case.

use std::{
    hash::{BuildHasher as _, Hasher as _},
    ops::Range,
    rc::Rc,
};

use gix::diff::blob::Token;
use hashbrown::{DefaultHashBuilder, HashTable, hash_table::Entry};

use super::{myers::Myers, slider::Slider};
use crate::bytes::{common_items, common_items_back, common_prefix, common_suffix};

/// Lines of context in a diff, git's default.
pub const CONTEXT: u32 = 3;

/// Texts that are remembered.
const VERSIONS: usize = 4;

/// Different lines that are remembered; for longer texts four times as many as they have.
const TOKENS_MAX: usize = 1 << 14;

/// Lines of which the memory is kept for the next text.
pub(super) const LINES_KEPT_MAX: usize = 1 << 16;

/// Lines of a known text among which the next line of another one is looked for.
const LOOK_AHEAD: usize = 128;

/// So many lines behind one that is found have to be those of the known text as well, unless they are its next ones.
const RUN_MIN: usize = 3;

/// After so many lines that are not there, all of the known text is looked through once, and after the last it is given
/// up.
const MISSES: [usize; 4] = [8, 64, 512, 4096];

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
    pub before: &'a Text,
    /// The new text.
    pub after: &'a Text,
}

/// A text taken apart into lines.
#[derive(Default)]
pub struct Text {
    text: Rc<String>,
    /// Where lines begin, and where the last one ends.
    starts: Vec<u32>,
    tokens: Vec<Token>,
}

impl Text {
    /// Number of lines.
    pub fn line_count(&self) -> u32 {
        self.tokens.len() as u32
    }

    /// The line `number`, with its end.
    pub fn line(&self, number: u32) -> &str {
        let at = number as usize;
        &self.text[self.starts[at] as usize..self.starts[at + 1] as usize]
    }

    /// The bytes of these lines, which stand one behind the other, and where each of them ends there.
    pub fn lines(&self, numbers: Range<u32>) -> (&[u8], impl Iterator<Item = usize>) {
        let starts = &self.starts[numbers.start as usize..=numbers.end as usize];
        let (first, last) = (starts[0] as usize, starts[starts.len() - 1] as usize);
        (&self.text.as_bytes()[first..last], starts[1..].iter().map(move |end| *end as usize - first))
    }

    /// The nearest line before line `number` that begins with such a byte.
    pub fn line_before(&self, number: u32, begins: impl Fn(u8) -> bool) -> Option<&str> {
        let (bytes, starts) = (self.text.as_bytes(), &self.starts[..number as usize]);
        let at = starts.iter().rposition(|start| begins(bytes[*start as usize]))?;
        Some(self.line(at as u32))
    }

    /// Takes `text` apart, with the tokens of `known` for what they have in common.
    fn fill(&mut self, text: &Rc<String>, lines: &mut Lines, known: Option<&Text>) {
        self.text = Rc::clone(text);
        self.starts.clear();
        self.starts.shrink_to(LINES_KEPT_MAX);
        self.tokens.clear();
        self.tokens.shrink_to(LINES_KEPT_MAX);
        self.starts.push(0);
        let bytes = text.as_bytes();
        let Some(known) = known else {
            self.read(bytes, bytes.len(), lines);
            return;
        };
        let (prefix, suffix) = common_ends(known.text.as_bytes(), bytes);
        let number = |at: usize| known.starts.partition_point(|start| (*start as usize) < at);
        let (mut from, to) = (number(prefix), number(known.text.len() - suffix));
        self.take(known, 0..from);
        let (stop, mut misses) = (bytes.len() - suffix, 0);
        while self.end() < stop {
            let seen = lines.len() as u32;
            let token = self.read_line(&bytes[..stop], lines);
            // A line that no text had before is not in this one.
            let look = |lines: Range<usize>| position(&known.tokens[lines], token);
            let is_seen = token.0 < seen;
            let found = is_seen.then(|| look(from..to.min(from + LOOK_AHEAD))).flatten().or_else(|| {
                misses += 1;
                (is_seen && MISSES.contains(&misses)).then(|| look(from..to)).flatten()
            });
            if let Some(found) = found {
                let next = from + found + 1;
                let len = self.common_lines(&bytes[..stop], known, next..to);
                // A few lines alone may be brackets that close something else.
                if len >= RUN_MIN || found == 0 {
                    self.take(known, next..next + len);
                    (from, misses) = (next + len, 0);
                }
            } else if misses >= MISSES[MISSES.len() - 1] {
                self.read(bytes, stop, lines);
            }
        }
        self.take(known, to..known.tokens.len());
    }

    /// Where the lines end that were taken or read so far.
    fn end(&self) -> usize {
        self.starts[self.starts.len() - 1] as usize
    }

    /// How many of these lines of `known` come next in `bytes`.
    fn common_lines(&self, bytes: &[u8], known: &Text, lines: Range<usize>) -> usize {
        let starts = &known.starts[lines.start..=lines.end];
        let (first, last) = (starts[0] as usize, starts[starts.len() - 1] as usize);
        let rest = &bytes[self.end()..];
        let same = common_prefix(rest, &known.text.as_bytes()[first..last]);
        let len = starts.partition_point(|start| *start as usize - first <= same) - 1;
        // A last line without an end may go on here.
        let is_open = len == lines.len() && same < rest.len() && !known.text[..last].ends_with('\n');
        len - usize::from(is_open && len > 0)
    }

    /// Appends lines of `known`.
    fn take(&mut self, known: &Text, lines: Range<usize>) {
        let (from, to) = (known.starts[lines.start], self.end() as u32);
        self.starts.extend(known.starts[lines.start + 1..=lines.end].iter().map(|start| start - from + to));
        self.tokens.extend_from_slice(&known.tokens[lines]);
    }

    /// Appends all lines of `bytes` up to `stop`.
    fn read(&mut self, bytes: &[u8], stop: usize, lines: &mut Lines) {
        while self.end() < stop {
            self.read_line(&bytes[..stop], lines);
        }
    }

    fn read_line(&mut self, bytes: &[u8], lines: &mut Lines) -> Token {
        let from = self.end();
        let to = memchr::memchr(b'\n', &bytes[from..]).map_or(bytes.len(), |at| from + at + 1);
        let token = lines.token(&bytes[from..to]);
        self.starts.push(to as u32);
        self.tokens.push(token);
        token
    }
}

/// Numbers for lines, the same for equal ones.
#[derive(Default)]
struct Lines {
    /// What they hash to, with their numbers.
    by_line: HashTable<(u32, u32)>,
    hasher: DefaultHashBuilder,
    /// The different lines, one behind the other.
    bytes: Vec<u8>,
    /// Where they end.
    ends: Vec<u32>,
    /// How often each was read. What a text takes from another is there, too, so that none has a line more often.
    reads: Vec<u32>,
}

impl Lines {
    fn clear(&mut self) {
        if self.ends.len() > LINES_KEPT_MAX {
            *self = Lines::default();
        }
        self.by_line.clear();
        self.bytes.clear();
        self.ends.clear();
        self.reads.clear();
    }

    /// How many different ones there are.
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn line(ends: &[u32], number: u32) -> Range<usize> {
        let at = number as usize;
        let from = if at == 0 { 0 } else { ends[at - 1] as usize };
        from..ends[at] as usize
    }

    fn text(&self, token: Token) -> &[u8] {
        &self.bytes[Self::line(&self.ends, token.0)]
    }

    fn token(&mut self, line: &[u8]) -> Token {
        let Lines { by_line, hasher, bytes, ends, reads } = self;
        // Lines have ends, so that none needs its length to be told from another one.
        let mut hasher = hasher.build_hasher();
        hasher.write(line);
        let hash = hasher.finish() as u32;
        let is_it = |(other, number): &(u32, u32)| *other == hash && bytes[Self::line(ends, *number)] == *line;
        match by_line.entry(spread(hash), is_it, |(hash, _)| spread(*hash)) {
            Entry::Occupied(entry) => {
                let number = entry.get().1;
                reads[number as usize] += 1;
                Token(number)
            }
            Entry::Vacant(entry) => {
                let number = ends.len() as u32;
                entry.insert((hash, number));
                bytes.extend_from_slice(line);
                ends.push(bytes.len() as u32);
                reads.push(1);
                Token(number)
            }
        }
    }
}

/// Half of a hash, over all bits of a whole one. Half of it takes half of the memory, and lines are compared in any case.
fn spread(hash: u32) -> u64 {
    /// The golden ratio's digits (Knuth, The Art of Computer Programming, 6.4).
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    u64::from(hash).wrapping_mul(SPREAD)
}

/// The first position of a token.
fn position(tokens: &[Token], token: Token) -> Option<usize> {
    const BLOCK: usize = 16;
    let has = |block: &&[Token]| block.iter().fold(false, |found, other| found | (*other == token));
    let (number, block) = tokens.chunks(BLOCK).enumerate().find(|(_, block)| has(block))?;
    block.iter().position(|other| *other == token).map(|at| number * BLOCK + at)
}

/// Compares texts, for one thread. Its memory serves every comparison: to get fresh memory cleared by the kernel takes
/// longer than most of them.
#[derive(Default)]
pub struct Comparer {
    lines: Lines,
    /// Texts that were compared, the latest last.
    known: Vec<Text>,
    myers: Myers,
    slider: Slider,
    hunks: Vec<Hunk>,
}

impl Comparer {
    /// The hunks that turn `before` into `after`.
    pub fn compare(&mut self, before: &Rc<String>, after: &Rc<String>) -> Compared<'_> {
        let lines_max = self.known.iter().map(|text| 4 * text.tokens.len()).max().unwrap_or(0);
        if self.lines.len() > TOKENS_MAX.max(lines_max) {
            self.lines.clear();
            self.known.clear();
        }
        self.know(before);
        self.know(after);
        let (old, new) = (&self.known[self.known.len() - 2], &self.known[self.known.len() - 1]);
        let Comparer { lines, myers, slider, hunks, .. } = self;
        hunks.clear();
        let common = common_tokens(&old.tokens, &new.tokens);
        myers.compare(&old.tokens, &new.tokens, common, &lines.reads, |before, after| {
            let number = |lines: Range<usize>| lines.start as u32..lines.end as u32;
            hunks.push(Hunk { before: number(before), after: number(after) });
        });
        let can_slide = |hunk: &Hunk| is_movable(&old.tokens, &hunk.before) || is_movable(&new.tokens, &hunk.after);
        if hunks.iter().any(can_slide) {
            slider.slide(hunks, &old.tokens, &new.tokens, |token| lines.text(token));
        }
        Compared { hunks, before: old, after: new }
    }

    /// Makes `text` the latest of the known ones.
    fn know(&mut self, text: &Rc<String>) {
        let at = self.known.iter().position(|known| Rc::ptr_eq(&known.text, text));
        let known = match at {
            Some(at) => self.known.remove(at),
            None => {
                let mut new = if self.known.len() < VERSIONS { Text::default() } else { self.known.remove(0) };
                new.fill(text, &mut self.lines, self.known.last());
                new
            }
        };
        self.known.push(known);
    }
}

/// Whether changed lines can move up or down: the text is the same after it.
fn is_movable(tokens: &[Token], lines: &Range<u32>) -> bool {
    let lines = lines.start as usize..lines.end as usize;
    !lines.is_empty()
        && ((lines.start > 0 && tokens[lines.start - 1] == tokens[lines.end - 1])
            || (lines.end < tokens.len() && tokens[lines.end] == tokens[lines.start]))
}

/// How many tokens `a` and `b` have in common at the start, and how many of the others at the end.
fn common_tokens(a: &[Token], b: &[Token]) -> (usize, usize) {
    let prefix = common_items(a, b);
    (prefix, common_items_back(&a[prefix..], &b[prefix..]))
}

/// The lengths in bytes of the whole lines that two texts have in common at the start, and of those at the end.
fn common_ends(a: &[u8], b: &[u8]) -> (usize, usize) {
    let same = common_prefix(a, b);
    // What differs at its very end is the end of a line in one text and not in the other.
    let prefix = if same == a.len() && same == b.len() {
        same
    } else {
        memchr::memrchr(b'\n', &a[..same]).map_or(0, |at| at + 1)
    };
    let (a, b) = (&a[prefix..], &b[prefix..]);
    let same = common_suffix(a, b);
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
    use gix::diff::blob::{Algorithm, Diff, InternedInput};

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

    /// Another version of a text.
    fn edited(old: &[String], next: &mut impl FnMut(usize) -> usize) -> Vec<String> {
        const LINES: [&str; 10] =
            ["\n", "}\n", "    }\n", "a\n", "\tb\n", "    c\n", "x", "\n\n", "    if (x) {\n", "    \n"];
        // Of few kinds of lines, so that hunks can slide.
        let kinds = 1 + next(LINES.len());
        let mut new = old.to_vec();
        for _ in 0..1 + next(4) {
            let at = next(new.len() + 1);
            let long = if next(9) == 0 { 300 } else { 5 };
            let to = (at + next(long)).min(new.len());
            let put: Vec<String> = (0..next(long + 1))
                .map(|_| if next(4) == 0 { format!("new {}\n", next(1000)) } else { LINES[next(kinds)].to_owned() })
                .collect();
            new.splice(at..to, put);
        }
        new
    }

    #[test]
    fn hunks_are_those_of_all_lines() {
        let mut next = numbers(1);
        let (mut comparer, mut outcomes) = (Comparer::default(), [0; 2]);
        for round in 0..400 {
            let length = next(if round % 3 == 0 { 900 } else { 40 });
            let first: Vec<String> = (0..length).map(|at| format!("line {}\n", at / (1 + round % 4))).collect();
            let mut versions = vec![first];
            for _ in 0..14 {
                let old = versions[versions.len() - 1 - next(versions.len().min(3))].clone();
                let new = edited(&old, &mut next);
                versions.push(new.clone());
                let [old, new] = [old, new].map(|lines| Rc::new(lines.concat()));
                let expected = plain(&old, &new);
                let compared = comparer.compare(&old, &new);
                assert_eq!(compared.hunks, expected, "{old:?} {new:?}");
                for (text, side) in [(&old, compared.before), (&new, compared.after)] {
                    let lines: Vec<&str> = text.split_inclusive('\n').collect();
                    let found: Vec<&str> = (0..side.line_count()).map(|number| side.line(number)).collect();
                    assert_eq!(found, lines);
                    for (number, byte) in [(lines.len(), b'a'), (lines.len() / 2, b'}'), (lines.len() / 3, b'l')] {
                        let before = lines[..number].iter().rfind(|line| line.as_bytes()[0] == byte);
                        assert_eq!(side.line_before(number as u32, |first| first == byte), before.copied());
                    }
                }
                // A comparer that knows nothing finds the same, and every token is that of its line.
                let mut other = Comparer::default();
                assert_eq!(other.compare(&old, &new).hunks, expected);
                let known = &comparer.known[comparer.known.len() - 1];
                let mut counts = vec![0; comparer.lines.len()];
                for (number, token) in (0..).zip(&known.tokens) {
                    assert_eq!(comparer.lines.text(*token), known.line(number).as_bytes());
                    counts[token.0 as usize] += 1;
                }
                assert!(counts.iter().zip(&comparer.lines.reads).all(|(count, reads)| count <= reads));
                let tokens = [0, 1].map(|at| &comparer.known[comparer.known.len() - 2 + at].tokens);
                let (common, all) = (common_tokens(tokens[0], tokens[1]), comparer.lines.len());
                outcomes[usize::from(comparer.myers.has_one_way(tokens[0], tokens[1], common, all))] += 1;
            }
        }
        assert!(outcomes.iter().all(|count| *count > 300), "{outcomes:?}");
    }

    #[test]
    fn a_slide_to_what_was_skipped_is_seen() {
        let text = |lines: usize| Rc::new("a\n".repeat(lines));
        let mut comparer = Comparer::default();
        for (old, new) in [(100, 101), (101, 100), (200, 130)] {
            let (old, new) = (text(old), text(new));
            assert_eq!(comparer.compare(&old, &new).hunks, plain(&old, &new));
        }
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
