//! Texts as words and n-grams of words, hashed. Hashes are fixed: they are the same in every run and on every machine.

/// The words of `text`: runs of ASCII letters, digits and underscores, and of all that is not ASCII.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii();
    text.split(move |c| !is_word(c)).filter(|word| !word.is_empty())
}

/// FNV-1a of `word` in lower case where it is ASCII, mixed as in SplitMix64 so that all bits depend on all bytes.
pub fn hash(word: &str) -> u64 {
    let hash = word.bytes().fold(START, |hash, byte| add(hash, byte.to_ascii_lowercase()));
    mix(hash)
}

/// Bytes of words in lower case; 0 for all others. What is not ASCII is of words, so characters need not be told apart.
const OF_WORDS: [u8; 256] = {
    let (mut table, mut byte) = ([0; 256], 0);
    while byte < 256 {
        let this = byte as u8;
        if this.is_ascii_alphanumeric() || this == b'_' || !this.is_ascii() {
            table[byte] = this.to_ascii_lowercase();
        }
        byte += 1;
    }
    table
};

/// Appends the hashes of the words of `text`.
pub fn hashes(text: &str, to: &mut Vec<u64>) {
    let mut state = None;
    for byte in text.bytes() {
        match (OF_WORDS[usize::from(byte)], state) {
            (0, None) => {}
            (0, Some(word)) => {
                to.push(mix(word));
                state = None;
            }
            (byte, word) => state = Some(add(word.unwrap_or(START), byte)),
        }
    }
    to.extend(state.map(mix));
}

/// Where FNV-1a begins.
const START: u64 = 0xcbf2_9ce4_8422_2325;

/// A step of FNV-1a.
fn add(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
}

/// SplitMix64's last steps (Steele et al., 2014).
pub fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// Hashes of all runs of `n` words; of all words together where they are fewer, and none of no words.
pub fn ngrams(hashes: &[u64], n: usize) -> Vec<u64> {
    if hashes.is_empty() {
        return Vec::new();
    }
    hashes.windows(n.min(hashes.len())).map(ngram).collect()
}

/// The hash of one run of words.
pub fn ngram(run: &[u64]) -> u64 {
    run.iter().fold(0x9e37_79b9_7f4a_7c15, |all: u64, word| mix(all.rotate_left(5) ^ word))
}

/// As [`ngrams`], each once and sorted.
pub fn ngram_set(hashes: &[u64], n: usize) -> Vec<u64> {
    let mut set = ngrams(hashes, n);
    set.sort_unstable();
    set.dedup();
    set
}

/// How many of all members two sorted sets share, from 0 to 1; 1 for two empty sets.
pub fn jaccard(a: &[u64], b: &[u64]) -> f64 {
    let (mut i, mut j, mut both) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        match a[i].cmp(&b[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => (i, j, both) = (i + 1, j + 1, both + 1),
        }
    }
    let all = a.len() + b.len() - both;
    if all == 0 { 1.0 } else { both as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str, n: usize) -> Vec<u64> {
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
        for text in ["", " ", "a", "Fn a_1(é: Ü) -> x;\n", "no end", "  two  ", "日本 語\u{a0}x\0y", "ÄB..cD"] {
            let mut all = Vec::new();
            hashes(text, &mut all);
            assert_eq!(all, words(text).map(hash).collect::<Vec<_>>(), "{text:?}");
        }
    }

    #[test]
    fn jaccard_counts_members() {
        assert_eq!(jaccard(&set("a b c d", 1), &set("c d e f", 1)), 2.0 / 6.0);
        assert_eq!((jaccard(&[], &[]), jaccard(&[], &[1]), jaccard(&[1], &[1])), (1.0, 0.0, 1.0));
    }

    #[test]
    fn hashes_are_fixed() {
        assert_eq!(hash("gitlode"), 4_566_830_736_239_115_846);
    }
}
