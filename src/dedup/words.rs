//! Texts as words and n-grams of words, hashed. Hashes are fixed: they are the same in every run and on every machine.

use crate::bytes::{common_prefix, common_suffix};

/// The words of `text`: runs of ASCII letters, digits and underscores, and of all that is not ASCII.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii();
    text.split(move |c| !is_word(c)).filter(|word| !word.is_empty())
}

/// The hash of `word` in lower case where it is ASCII: eight bytes after the other, mixed so that all bits depend on all
/// bytes. Words of up to eight bytes have different hashes.
pub fn hash(word: &str) -> u64 {
    word.as_bytes().chunks(8).fold(START, |hash, chunk| add(hash, lower(short(chunk))))
}

/// Up to eight bytes as a number, zeros behind them. No word has a zero in it, so that is no other word's number.
fn short(bytes: &[u8]) -> u64 {
    let mut all = [0; 8];
    all[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(all)
}

/// Eight bytes with the bit set, where they are ASCII, that makes a letter a small one. Digits have it, `_` with it is no other
/// byte of a word, nor are the zeros behind one.
fn lower(bytes: u64) -> u64 {
    bytes | (!bytes >> 2 & 0x2020_2020_2020_2020)
}

/// Appends the hashes of the words of `text`.
pub fn hashes(text: &str, to: &mut Vec<u64>) {
    hashes_in(text, 0..text.len(), to);
}

/// Appends the hashes of the words of the part `range` of `text`, which are cut where it begins and ends.
pub fn hashes_in(text: &str, range: std::ops::Range<usize>, to: &mut Vec<u64>) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("bmi1") {
        // SAFETY: the processor has what the function was compiled for.
        unsafe { hashes_avx2(text, range, to) };
        return;
    }
    hashes_portable(text, range, to);
}

/// [`hashes_portable`], with more bytes at once.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1")]
fn hashes_avx2(text: &str, range: std::ops::Range<usize>, to: &mut Vec<u64>) {
    hashes_portable(text, range, to);
}

#[inline(always)]
fn hashes_portable(text: &str, range: std::ops::Range<usize>, to: &mut Vec<u64>) {
    let bytes = text.as_bytes();
    let (mut start, mut before) = (0, 0);
    let mut word = |range: std::ops::Range<usize>| {
        let chunks = range.clone().step_by(8);
        to.push(chunks.fold(START, |hash, at| {
            let len = (range.end - at).min(8);
            // Eight bytes are read at once where there are so many, and those of the word kept.
            let chunk = match bytes.get(at..at + 8) {
                Some(eight) => short(eight) << (64 - 8 * len) >> (64 - 8 * len),
                None => short(&bytes[at..at + len]),
            };
            add(hash, lower(chunk))
        }));
    };
    for at in range.clone().step_by(BLOCK) {
        let len = (range.end - at).min(BLOCK);
        // As with words: the block is read where it is, though not all of it is of the part.
        let mask = match bytes[at..].first_chunk::<BLOCK>() {
            Some(block) => of_words(block) << (BLOCK - len) >> (BLOCK - len),
            None => {
                let mut block = [0; BLOCK];
                block[..len].copy_from_slice(&bytes[at..at + len]);
                of_words(&block)
            }
        };
        // A bit for each byte where a word begins or ends, in turns.
        let mut edges = mask ^ (mask << 1 | before);
        let mut is_in_word = before == 1;
        while edges != 0 {
            let edge = at + edges.trailing_zeros() as usize;
            match is_in_word {
                true => word(start..edge),
                false => start = edge,
            }
            is_in_word = !is_in_word;
            edges &= edges - 1;
        }
        before = mask >> (BLOCK - 1);
    }
    // What is behind the last block ends a word only where that block was full.
    if before == 1 {
        word(start..range.end);
    }
}

/// Bytes that are looked at together: one for each bit.
const BLOCK: usize = 64;

/// A bit for each byte of a block that is a word's. What is not ASCII is of words, so characters need not be told apart.
#[inline(always)]
fn of_words(block: &[u8; BLOCK]) -> u64 {
    let mut is_of_word = [0_u8; BLOCK];
    is_of_word.iter_mut().zip(block).for_each(|(is, byte)| *is = u8::from(self::is_of_word(*byte)));
    is_of_word.chunks_exact(8).rev().fold(0, |mask, eight| {
        // The eight ones and zeros come together in the highest byte.
        mask << 8 | short(eight).wrapping_mul(0x0102_0408_1020_4080) >> 56
    })
}

fn is_of_word(byte: u8) -> bool {
    let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    let digit = byte.wrapping_sub(b'0') < 10;
    letter | digit | (byte == b'_') | (byte >= 0x80)
}

/// Where a hash begins.
const START: u64 = 0xcbf2_9ce4_8422_2325;

/// A step of a hash.
fn add(hash: u64, bytes: u64) -> u64 {
    mix(hash ^ bytes)
}

/// SplitMix64's last steps (Steele et al., 2014).
pub fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// Hashes of all runs of `n` words; of all words together where they are fewer, and none of no words.
pub fn ngrams(hashes: &[u64], n: usize) -> Vec<u64> {
    let n = n.min(hashes.len());
    if n == 0 {
        return Vec::new();
    }
    // What a word has become when the next run leaves it behind.
    let last = (0..n).fold(1_u64, |all, _| all.wrapping_mul(FACTOR));
    let mut sum = summed(&hashes[..n]);
    let mut runs = Vec::with_capacity(hashes.len() - n + 1);
    runs.push(mix(sum));
    for (word, gone) in hashes[n..].iter().zip(hashes) {
        sum = sum.wrapping_mul(FACTOR).wrapping_add(*word).wrapping_sub(gone.wrapping_mul(last));
        runs.push(mix(sum));
    }
    runs
}

/// The hash of one run of words.
pub fn ngram(run: &[u64]) -> u64 {
    mix(summed(run))
}

/// Words as the digits of a number, which the next run's follows from.
fn summed(run: &[u64]) -> u64 {
    run.iter().fold(0_u64, |all, word| all.wrapping_mul(FACTOR).wrapping_add(*word))
}

/// Odd, with as many ones as zeros: the golden ratio's.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// As [`ngrams`], each once and sorted, as the upper halves of their hashes: in one of a hundred sets of 10,000, two n-grams have the
/// same.
pub fn ngram_set(hashes: &[u64], n: usize) -> Vec<u32> {
    let mut set = sorted(&ngrams(hashes, n));
    set.dedup();
    set
}

/// Members that come to one bucket, about so many.
const BUCKET: usize = 2;

/// The upper halves of `hashes`, sorted: they are spread evenly, so first into buckets by their first bits. Where somebody made them
/// come to one bucket, it is sorted like any other.
fn sorted(hashes: &[u64]) -> Vec<u32> {
    let bits = (hashes.len() / BUCKET).checked_ilog2().unwrap_or_default();
    if bits == 0 {
        let mut all: Vec<u32> = hashes.iter().map(|hash| (hash >> 32) as u32).collect();
        all.sort_unstable();
        return all;
    }
    let bucket = |hash: u64| (hash >> (u64::BITS - bits)) as usize;
    let mut ends = vec![0_u32; (1 << bits) + 1];
    hashes.iter().for_each(|hash| ends[bucket(*hash) + 1] += 1);
    (1..ends.len()).for_each(|at| ends[at] += ends[at - 1]);
    let mut all = vec![0; hashes.len()];
    for hash in hashes {
        // The start of each bucket moves on to its end.
        let at = &mut ends[bucket(*hash)];
        all[*at as usize] = (hash >> 32) as u32;
        *at += 1;
    }
    let mut start = 0;
    for end in ends[..1 << bits].iter().map(|end| *end as usize) {
        all[start..end].sort_unstable();
        start = end;
    }
    all
}

/// How many of all members two sorted sets share, from 0 to 1; 1 for two empty sets.
pub fn jaccard(a: &[u32], b: &[u32]) -> f64 {
    let (mut merge, len) = (Merge::default(), (a.len(), b.len()));
    while merge.steps(len, usize::MAX, |i, j| (a[i], b[j])) {}
    merge.most(len)
}

/// [`jaccard`] of sets whose members are the little-endian bytes of numbers.
///
/// # Errors
/// It is below `least`; then it is at most what is returned, which is below `least` as well.
pub fn jaccard_from(a: &[u8], b: &[u8], least: f64) -> Result<f64, f64> {
    let (a, b): (&[[u8; 4]], &[[u8; 4]]) = (a.as_chunks().0, b.as_chunks().0);
    let (mut merge, len) = (Merge::default(), (a.len(), b.len()));
    // Dividing and rounding keep order, so a share that can't reach `least` here would not have reached it in the end.
    while merge.most(len) >= least {
        if !merge.steps(len, STEPS, |i, j| (u32::from_le_bytes(a[i]), u32::from_le_bytes(b[j]))) {
            return Ok(merge.most(len));
        }
    }
    Err(merge.most(len))
}

/// Members that are gone through before it is asked whether the rest can matter.
const STEPS: usize = 64;

/// How far two sorted sets were gone through, and what both have up to there.
#[derive(Default)]
struct Merge {
    i: usize,
    j: usize,
    both: usize,
}

impl Merge {
    /// Goes on by at most so many members; whether there was anything left.
    #[inline(always)]
    fn steps(&mut self, (a, b): (usize, usize), most: usize, members: impl Fn(usize, usize) -> (u32, u32)) -> bool {
        // So many steps leave neither set behind.
        let steps = (a - self.i).min(b - self.j).min(most);
        // Without branches, since nothing tells which set has the next member.
        for _ in 0..steps {
            let (of_a, of_b) = members(self.i, self.j);
            self.both += usize::from(of_a == of_b);
            self.i += usize::from(of_a <= of_b);
            self.j += usize::from(of_b <= of_a);
        }
        steps > 0
    }

    /// The share that they have in common if all that is left is in both; in the end, the share.
    fn most(&self, (a, b): (usize, usize)) -> f64 {
        let both = self.both + (a - self.i).min(b - self.j);
        let all = a + b - both;
        if all == 0 { 1.0 } else { both as f64 / all as f64 }
    }
}

/// Bytes of the lines at the start and at the end that both texts have.
pub fn common_lines(old: &[u8], new: &[u8]) -> (usize, usize) {
    let head = memchr::memrchr(b'\n', &new[..common_prefix(old, new)]).map_or(0, |at| at + 1);
    let (old, new) = (&old[head..], &new[head..]);
    let mut tail = common_suffix(old, new);
    // The line in which the tail begins is only whole if it is whole in both.
    let starts_line = old.len() == new.len() && tail == new.len();
    if !starts_line {
        let start = new.len() - tail;
        tail = memchr::memchr(b'\n', &new[start..]).map_or(0, |at| new.len() - start - at - 1);
    }
    (head, tail)
}

/// Where the `count` words of `text` before `at` begin, which is between words.
pub fn words_before(text: &[u8], at: usize, count: usize) -> usize {
    let mut left = count;
    let mut is_in_word = false;
    for (at, byte) in text[..at].iter().enumerate().rev() {
        let was_in_word = std::mem::replace(&mut is_in_word, is_of_word(*byte));
        left -= usize::from(is_in_word && !was_in_word && left > 0);
        if was_in_word && !is_in_word && left == 0 {
            return at + 1;
        }
    }
    0
}

/// Where the `count` words of `text` behind `at` end, which is between words.
pub fn words_behind(text: &[u8], at: usize, count: usize) -> usize {
    let mut left = count;
    let mut is_in_word = false;
    for (at, byte) in text.iter().enumerate().skip(at) {
        let was_in_word = std::mem::replace(&mut is_in_word, is_of_word(*byte));
        left -= usize::from(is_in_word && !was_in_word && left > 0);
        if was_in_word && !is_in_word && left == 0 {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str, n: usize) -> Vec<u32> {
        ngram_set(&words(text).map(hash).collect::<Vec<_>>(), n)
    }

    #[test]
    fn words_and_ngrams() {
        assert_eq!(words("fn a_1(é: Ü) -> x;\n").collect::<Vec<_>>(), ["fn", "a_1", "é", "Ü", "x"]);
        assert_eq!(words(" .,; ").count(), 0);
        assert_eq!(hash("Word"), hash("word"));
        assert_eq!((set("a b c", 2).len(), set("a b", 5).len(), set("", 5).len()), (2, 1, 0));
        assert_ne!(set("a b", 2), set("b a", 2));
    }

    #[test]
    fn words_at_once_have_the_same_hashes() {
        let long = "word Long_word_of_28_characters_ ".repeat(9);
        let cut: Vec<&str> = (0..=long.len()).flat_map(|at| [&long[at..], &long[..at]]).collect();
        let few = [
            "",
            " ",
            "a",
            "Fn a_1(é: Ü) -> x;\n",
            "no end",
            "  two  ",
            "日本 語\u{a0}x\0y",
            "ÄB..cD",
            "12345678",
            "123456789 a",
        ];
        for text in few.into_iter().chain(cut) {
            let mut all = Vec::new();
            hashes(text, &mut all);
            assert_eq!(all, words(text).map(hash).collect::<Vec<_>>(), "{text:?}");
            let inner = format!("x{text}y{text}");
            all.clear();
            hashes_in(&inner, 1..1 + text.len(), &mut all);
            assert_eq!(all, words(text).map(hash).collect::<Vec<_>>(), "{text:?} within more");
        }
    }

    #[test]
    fn every_byte_is_of_words_or_not() {
        let ascii: String = (0..128_u8).map(char::from).collect();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let expected: Vec<u64> = ascii.split(|c| !is_word(c)).filter(|word| !word.is_empty()).map(hash).collect();
        let mut all = Vec::new();
        hashes(&ascii, &mut all);
        assert_eq!((all.len(), all), (4, expected));
        let bytes: std::collections::HashSet<u64> =
            ascii.chars().filter(|c| is_word(*c)).map(|c| hash(c.encode_utf8(&mut [0; 4]))).collect();
        assert_eq!(bytes.len(), 37, "26 letters, 10 digits and an underscore");
        assert_ne!(hash("é"), hash("É"), "only ASCII is put into lower case");
    }

    #[test]
    fn words_are_counted_from_a_place() {
        let text = b"one two, three\nfour five six";
        for (at, count, before, behind) in [
            (14, 1, 9, 19),
            (14, 2, 4, 24),
            (14, 9, 0, 28),
            (0, 1, 0, 3),
            (28, 1, 25, 28),
            (15, 2, 4, 24),
            (14, 3, 0, 28),
        ] {
            assert_eq!(
                (words_before(text, at, count), words_behind(text, at, count)),
                (before, behind),
                "{at} {count}"
            );
        }
    }

    #[test]
    fn runs_follow_from_one_another() {
        let words: Vec<u64> = (0..40).map(mix).collect();
        for n in [1, 2, 5, 10, 40] {
            assert_eq!(ngrams(&words, n), words.windows(n).map(ngram).collect::<Vec<_>>(), "{n}");
        }
        assert_eq!(ngrams(&words[..3], 5), [ngram(&words[..3])]);
        assert_ne!(ngram(&[1, 2]), ngram(&[2, 1]));
    }

    #[test]
    fn members_are_sorted_however_they_are_spread() {
        for len in [0, 1, 7, 15, 16, 17, 100, 5000] {
            for spread in [u64::MAX, 0xffff_ffff, 0xf << 60, 0] {
                let hashes: Vec<u64> = (0..len).map(|n| mix(n) & spread).collect();
                let mut expected: Vec<u32> = hashes.iter().map(|hash| (hash >> 32) as u32).collect();
                expected.sort();
                assert_eq!(sorted(&hashes), expected, "{len} {spread:x}");
            }
        }
    }

    #[test]
    fn jaccard_counts_members() {
        assert_eq!(jaccard(&set("a b c d", 1), &set("c d e f", 1)), 2.0 / 6.0);
        assert_eq!((jaccard(&[], &[]), jaccard(&[], &[1]), jaccard(&[1], &[1])), (1.0, 0.0, 1.0));
        let bytes = |set: Vec<u32>| set.iter().flat_map(|member| member.to_le_bytes()).collect::<Vec<u8>>();
        assert_eq!(jaccard_from(&bytes(set("a b c d", 1)), &bytes(set("c d e f", 1)), 0.0), Ok(2.0 / 6.0));
        // Sets of up to 600 members, of which shares of all sizes are the same.
        for seed in 0..400 {
            let drawn = |own: u64, len: u64| {
                let member = |n| (mix(seed << 32 | if n % 16 < seed % 17 { n } else { n + (own << 16) }) >> 32) as u32;
                let mut set: Vec<u32> = (0..len).map(member).collect();
                set.sort_unstable();
                set.dedup();
                set
            };
            let (a, b) = (drawn(1, mix(seed) % 600), drawn(2, mix(seed) % 600 * (seed % 3 + 1) / 3));
            let share = jaccard(&a, &b);
            let (a, b) = (bytes(a), bytes(b));
            for least in [0.0, 0.3, share, 0.7, 1.0] {
                match jaccard_from(&a, &b, least) {
                    Ok(found) => assert!(found == share && share >= least, "{seed}, {least}: {found}"),
                    Err(most) => assert!(share <= most && most < least, "{seed}, {least}: {most}"),
                }
            }
        }
    }

    #[test]
    fn hashes_are_fixed() {
        assert_eq!(hash("gitlode"), 8_674_569_843_853_722_081);
    }
}
