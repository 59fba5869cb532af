//! Where hashes of words are looked for: runs of so many words, whole texts that begin with one, and short texts as a whole.
//! What of a text is worth looking for is [`super::Benchmarks`]' to say.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
};

use hashbrown::{HashMap, HashSet, hash_map::Entry};

use super::Place;
use crate::dedup::words::ngram;

/// Bits of the filter of words: most words of code are in no benchmark, and one such word rules out all runs over it.
pub(in crate::dedup) const WORD_BITS: u32 = 20;

/// The first bits of the hash of a word, as filters have them.
pub(super) fn first_bits(word: u64) -> u64 {
    word >> (64 - WORD_BITS)
}

/// A bit for each word that there is.
struct WordFilter(Vec<u64>);

impl Default for WordFilter {
    fn default() -> Self {
        WordFilter(vec![0; 1 << (WORD_BITS - 6)])
    }
}

impl WordFilter {
    /// Adds a word by its first bits.
    fn add(&mut self, bits: u64) {
        self.0[(bits >> 6) as usize] |= 1 << (bits & 63);
    }

    fn has(&self, word: u64) -> bool {
        let bits = first_bits(word);
        self.0[(bits >> 6) as usize] >> (bits & 63) & 1 == 1
    }
}

/// Runs of so many words.
pub(super) struct Search {
    n: usize,
    /// For the hash of a run of words, who has it first.
    runs: HashMap<u64, Place>,
    /// The others who have it, in order.
    others: HashMap<u64, Vec<Place>>,
    /// For the hash of a run that says nothing, the whole texts that begin with it.
    wholes: HashMap<u64, Vec<Whole>>,
    /// The words of the longest one.
    whole_words: usize,
    /// The words of `runs` and `wholes`.
    words: WordFilter,
}

/// Short solutions, as a whole.
#[derive(Default)]
pub(super) struct Shorts {
    /// For the number of words and their hash as a run, whose solution it is.
    texts: HashMap<(usize, u64), Place>,
    /// The numbers of words that there are, rising.
    lens: BTreeSet<usize>,
    /// Their words.
    words: WordFilter,
}

/// A text of a benchmark that is looked for as a whole.
struct Whole {
    words: Vec<u64>,
    place: Place,
}

impl Search {
    /// None yet, of `n` words.
    pub(super) fn new(n: usize) -> Self {
        let (runs, others, wholes) = (HashMap::new(), HashMap::new(), HashMap::new());
        Search { n, runs, others, wholes, whole_words: 0, words: WordFilter::default() }
    }

    /// The words of a run.
    pub(super) fn n(&self) -> usize {
        self.n
    }

    /// The words of the longest of runs and whole texts.
    pub(super) fn words_max(&self) -> usize {
        self.n.max(self.whole_words)
    }

    /// Adds `runs` and the first bits of all words in them.
    pub(super) fn add(&mut self, words: Vec<u64>, runs: impl Iterator<Item = (u64, Place)>) {
        words.into_iter().for_each(|word| self.words.add(word));
        for (run, place) in runs {
            match self.runs.entry(run) {
                Entry::Vacant(entry) => _ = entry.insert(place),
                Entry::Occupied(_) => self.others.entry(run).or_default().push(place),
            }
        }
    }

    /// Adds a text, of which the bits of the words are there.
    pub(super) fn add_whole(&mut self, words: Vec<u64>, place: Place) {
        self.whole_words = self.whole_words.max(words.len());
        self.wholes.entry(ngram(&words[..self.n])).or_default().push(Whole { words, place });
    }

    /// Who has most of the different runs in `words`, a whole text counting for all of its runs; of several who have as many, the first.
    pub(super) fn most(&self, words: &[u64]) -> Option<Place> {
        let (mut known, mut seen) = (0, HashSet::new());
        let mut counts: BTreeMap<Place, usize> = BTreeMap::new();
        for (at, word) in words.iter().enumerate() {
            known = if self.words.has(*word) { known + 1 } else { 0 };
            if known < self.n {
                continue;
            }
            let start = at + 1 - self.n;
            let run = ngram(&words[start..=at]);
            if let Some(first) = self.runs.get(&run)
                && seen.insert(run)
            {
                let others = self.others.get(&run).into_iter().flatten();
                iter::once(first).chain(others).for_each(|place| *counts.entry(*place).or_default() += 1);
            }
            for Whole { words: whole, place } in self.wholes.get(&run).into_iter().flatten() {
                if words[start..].starts_with(whole) {
                    *counts.entry(*place).or_default() += whole.len() + 1 - self.n;
                }
            }
        }
        // The last of the largest counts, so from behind the first.
        counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(place, _)| place)
    }
}

impl Shorts {
    pub(super) fn add(&mut self, words: &[u64], place: Place) {
        self.add_words(words.iter().copied().map(first_bits));
        self.add_text(words.len(), ngram(words), place);
    }

    /// Adds the first bits of words.
    pub(super) fn add_words(&mut self, words: impl Iterator<Item = u64>) {
        words.for_each(|word| self.words.add(word));
    }

    /// Adds a text by the number of its words and their hash; the words have to be there.
    pub(super) fn add_text(&mut self, len: usize, hash: u64, place: Place) {
        self.texts.entry((len, hash)).or_insert(place);
        self.lens.insert(len);
    }

    pub(super) fn has(&self, words: &[u64]) -> bool {
        self.texts.contains_key(&(words.len(), ngram(words)))
    }

    /// The words of the longest one.
    pub(super) fn words_max(&self) -> Option<usize> {
        self.lens.last().copied()
    }

    /// Whose is the longest that ends first in `words`.
    pub(super) fn find(&self, words: &[u64]) -> Option<Place> {
        if self.texts.is_empty() {
            return None;
        }
        let mut known = 0;
        for (at, word) in words.iter().enumerate() {
            known = if self.words.has(*word) { known + 1 } else { 0 };
            let fitting = self.lens.range(..=known).rev();
            let found = fitting.filter_map(|len| self.texts.get(&(*len, ngram(&words[at + 1 - len..=at])))).next();
            if found.is_some() {
                return found.copied();
            }
        }
        None
    }
}
