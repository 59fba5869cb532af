//! Counts tokens: with the tokenizer that the user gave, or else by an estimate.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use super::Range;

/// What stands between old and new contents where CommitPackFT counts.
const MARK: &str = "<|endoftext|>";

static GIVEN: OnceLock<Given> = OnceLock::new();

struct Given {
    tokenizer: tokenizers::Tokenizer,
    file: Vec<u8>,
    digest: String,
}

/// What can be wrong with a tokenizer file.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("{path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} is no tokenizer: {reason}")]
    Invalid { path: PathBuf, reason: String },
}

/// Counts with the `tokenizer.json` at `path` from now on. Only the first call counts.
///
/// # Errors
/// The file can't be read, or holds no tokenizer.
pub fn use_file(path: &Path) -> Result<(), Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let invalid = |e: tokenizers::Error| Error::Invalid { path: path.to_owned(), reason: e.to_string() };
    let mut tokenizer = tokenizers::Tokenizer::from_bytes(&bytes).map_err(invalid)?;
    // What a model's input is cut and filled up to is not how long a text is.
    tokenizer.with_truncation(None).map_err(invalid)?.with_padding(None);
    let digest = blake3::hash(&bytes).to_hex()[..16].to_owned();
    let _the_first_counts = GIVEN.set(Given { tokenizer, file: bytes, digest });
    Ok(())
}

/// A digest of the tokenizer in use; none where tokens are estimated.
pub fn digest() -> Option<&'static str> {
    GIVEN.get().map(|given| given.digest.as_str())
}

/// Tokens of old contents, `<|endoftext|>` and new contents. What the tokenizer refuses has more than anyone wants.
pub fn count(old: &str, new: &str) -> usize {
    match GIVEN.get() {
        None => estimate(old, new, usize::MAX),
        Some(given) => {
            let text = [old, MARK, new].concat();
            given.tokenizer.encode_fast(text, false).map_or(usize::MAX, |encoding| encoding.len())
        }
    }
}

/// Tokens of two texts, one right behind the other; where they are estimated, no further than a little over `enough`.
pub fn count_joined(first: &str, second: &str, enough: usize) -> usize {
    match GIVEN.get() {
        // The estimate counts one for a mark between them, which is not there.
        None => estimate(first, second, enough.saturating_add(1)) - 1,
        Some(given) => {
            let encoded = given.tokenizer.encode_fast([first, second].concat(), false);
            encoded.map_or(usize::MAX, |encoding| encoding.len())
        }
    }
}

/// The file of the tokenizer in use.
pub fn file() -> Option<&'static [u8]> {
    GIVEN.get().map(|given| given.file.as_slice())
}

/// The largest id of the tokenizer in use.
pub fn id_max() -> Option<u32> {
    GIVEN.get().and_then(|given| given.tokenizer.get_vocab(true).into_values().max())
}

/// The id of a token of the tokenizer in use.
pub fn id(token: &str) -> Option<u32> {
    GIVEN.get().and_then(|given| given.tokenizer.token_to_id(token))
}

/// Ids of two texts, one right behind the other, and how many of them the first text alone has in the same places: a token
/// that reaches over the border belongs to the second. None without a tokenizer, and where it refuses the text.
pub fn encode(first: &str, second: &str) -> Option<(Vec<u32>, usize)> {
    let tokenizer = &GIVEN.get()?.tokenizer;
    let both = tokenizer.encode_fast([first, second].concat(), false).ok()?;
    let alone = tokenizer.encode_fast(first, false).ok()?;
    let ids = both.get_ids().to_vec();
    let same = ids.iter().zip(alone.get_ids()).take_while(|(one, other)| one == other).count();
    Some((ids, same))
}

/// The tokens of the tokenizer in use that are no text to a model, such as the one that ends a document.
pub fn special() -> Vec<String> {
    let Some(given) = GIVEN.get() else { return Vec::new() };
    let added = given.tokenizer.get_added_tokens_decoder();
    let mut special: Vec<String> =
        added.into_values().filter(|token| token.special).map(|token| token.content).collect();
    special.sort_unstable();
    special
}

/// Whether that number is in `range`; no further than that is counted.
pub fn is_within(old: &str, new: &str, range: &Range) -> bool {
    if GIVEN.get().is_some() {
        return range.has(count(old, new) as f64);
    }
    // There are never more estimated tokens than bytes and the mark between them.
    let short = range.max >= (old.len() + new.len() + 1) as f64;
    let enough = if short { range.min } else { range.max };
    let enough = if enough.is_finite() { enough.max(0.0) as usize } else { usize::MAX };
    let tokens = estimate(old, new, enough) as f64;
    if short { tokens >= range.min } else { range.has(tokens) }
}

/// That number for a reader. Where it is estimated and over the range, only that is said: texts that are too long are the
/// ones that take longest.
pub fn shown(old: &str, new: &str, range: &Range) -> String {
    if GIVEN.get().is_some() || !range.max.is_finite() {
        return count(old, new).to_string();
    }
    let tokens = estimate(old, new, range.max.max(0.0) as usize);
    if tokens as f64 > range.max { format!("over {}", range.max) } else { tokens.to_string() }
}

/// Every run of ASCII letters or digits counts one for each five begun, every other character but a blank counts one,
/// and so does every line. Counts no further than a little over `enough`.
fn estimate(old: &str, new: &str, enough: usize) -> usize {
    let mut all = 1;
    for text in [old, new] {
        // Of the 64 bytes before: which belonged to a run, and which of those were counted.
        let (mut before, mut counted_before) = (0u64, 0u64);
        for block in text.as_bytes().chunks(BLOCK) {
            let (alone, in_run) = match block.try_into() {
                Ok(block) => classes(block),
                Err(_) => {
                    let mut filled = [b' '; BLOCK];
                    filled[..block.len()].copy_from_slice(block);
                    classes(&filled)
                }
            };
            // In a run, its first byte counts, and the fifth behind every byte that counts.
            let shifted = |bits: u64, before: u64, by: u32| bits << by | before >> (64 - by);
            let mut counted = in_run & !shifted(in_run, before, 1);
            let unbroken = (1..=5).fold(in_run, |bits, by| bits & shifted(in_run, before, by));
            let mut next = shifted(counted, counted_before, 5) & unbroken;
            while next != 0 {
                counted |= next;
                next = (next << 5) & unbroken;
            }
            all += (alone | counted).count_ones() as usize;
            if all > enough {
                return all;
            }
            (before, counted_before) = (in_run, counted);
        }
    }
    all
}

/// Bytes that are looked at together, one for each bit of a word.
const BLOCK: usize = 64;

/// Which bytes are a token by themselves, and which belong to a run of letters and digits. Written without tables and
/// branches, so that compilers do it for many bytes at once.
fn classes(block: &[u8; BLOCK]) -> (u64, u64) {
    let (mut alone, mut in_run) = ([0u8; BLOCK], [0u8; BLOCK]);
    for at in 0..BLOCK {
        let byte = block[at];
        let run = ((byte | 0x20).wrapping_sub(b'a') < 26) | (byte.wrapping_sub(b'0') < 10);
        // Letters beyond ASCII are a token of their own in nearly all vocabularies; their first byte counts.
        let silent =
            (byte == b' ') | (byte == b'\t') | (byte == b'\r') | (byte == b'\x0c') | (byte.wrapping_sub(0x80) < 0x40);
        in_run[at] = u8::from(run);
        alone[at] = u8::from(!(run | silent));
    }
    (bits(&alone), bits(&in_run))
}

/// The lowest bits of all bytes. The product has the lowest bit of byte `n` of a word as its bit `56 + n`.
fn bits(flags: &[u8; BLOCK]) -> u64 {
    flags
        .as_chunks::<8>()
        .0
        .iter()
        .rev()
        .fold(0, |bits, flags| bits << 8 | u64::from_le_bytes(*flags).wrapping_mul(0x0102_0408_1020_4080) >> 56)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_estimates() {
        assert_eq!(count("", ""), 1);
        assert_eq!(count("fn main() {}\n", ""), 1 + 1 + 1 + 4 + 1);
        assert_eq!(count("abcdefghij", "é"), 2 + 1 + 1);
        assert_eq!(count_joined("abcdefghij", "é", usize::MAX), 2 + 1);
        assert!(count_joined(&"a b ".repeat(1000), "", 10) > 10);
        assert_eq!(count_joined("", "", 0), 0);
        // Every byte, in every place of a block.
        for byte in 0..=u8::MAX {
            let silent = (byte.is_ascii_whitespace() && byte != b'\n') || (0x80..0xc0).contains(&byte);
            let is_run = byte.is_ascii_alphanumeric();
            for at in 0..BLOCK {
                let mut block = [b' '; BLOCK];
                block[at] = byte;
                let expected = (u64::from(!is_run && !silent) << at, u64::from(is_run) << at);
                assert_eq!(classes(&block), expected, "{byte:#x} at {at}");
            }
        }
        // Runs of every length, across the blocks that are looked at at once.
        for (run, gap) in [(1, 1), (4, 1), (5, 2), (6, 1), (63, 1), (64, 3), (65, 1), (320, 7)] {
            let text = ("a".repeat(run) + &" ".repeat(gap)).repeat(30);
            assert_eq!(count(&text, ""), 1 + 30 * run.div_ceil(5), "{run}");
        }
        // Stopping early decides the same.
        let text = "let value = 12345678; // é\n".repeat(200);
        for length in [0, 1, 26, 999, 1000, 1001, 5000] {
            let text = &text[..text.floor_char_boundary(length)];
            for range in
                [(0.0, 10.0), (50.0, 768.0), (3.0, f64::INFINITY), (f64::NEG_INFINITY, 1400.0), (1500.0, 1501.0)]
            {
                let range = Range { min: range.0, max: range.1 };
                assert_eq!(is_within(text, text, &range), range.has(count(text, text) as f64), "{length} {range}");
            }
        }
    }
}
