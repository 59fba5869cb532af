//! Finds texts of benchmarks in rows: runs of words that both have.
//!
//! A run says something where at least two in five of its words are different and have three letters: counting from 0 to 9 and
//! loops over `i` are everybody's. What stands in more than a twentieth of a benchmark's rows is its frame (imports, a
//! licence), not its matter.

use hashbrown::{HashMap, HashSet};

use super::words::{hash, ngrams, words};
use crate::sample::Sample;

/// Words in a run, unless the user says otherwise.
pub const NGRAM_WORDS: usize = 10;

/// A run that more of a benchmark's rows have than this share is part of its frame,
const FRAME_SHARE: f64 = 0.05;

/// and so many rows may have it in any case.
const FRAME_ROWS_MIN: f64 = 3.0;

/// The texts of benchmarks.
pub struct Benchmarks {
    n: usize,
    names: Vec<String>,
    /// For the hash of a run of words, the benchmark and the row (from 0) that has it first.
    runs: HashMap<u64, (u32, u32)>,
}

/// Where a row meets a benchmark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The benchmark's name and the number of its row, from 1.
    pub benchmark: String,
    /// The column of our row.
    pub column: &'static str,
}

impl Benchmarks {
    /// None yet, to be found by runs of `n` words.
    pub fn new(n: usize) -> Self {
        Benchmarks { n: n.max(1), names: Vec::new(), runs: HashMap::new() }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Adds a benchmark: for each of its rows the texts that must not be learnt. A text of fewer than `n` words says too
    /// little to be looked for.
    ///
    /// # Errors
    /// It would not be found: no text is long enough, or one that was planted in a row was missed.
    pub fn add(&mut self, name: &str, rows: &[Vec<String>]) -> Result<(), String> {
        let number = self.names.len() as u32;
        self.names.push(name.to_owned());
        // For each run the first row that has it, and how many have it.
        let mut found: HashMap<u64, (u32, u32)> = HashMap::new();
        for (at, row) in rows.iter().enumerate() {
            let mut runs: Vec<u64> = row.iter().flat_map(|text| self.runs_of(text)).collect();
            runs.sort_unstable();
            runs.dedup();
            for run in runs {
                found.entry(run).or_insert((at as u32, 0)).1 += 1;
            }
        }
        let rows_max = (rows.len() as f64 * FRAME_SHARE).max(FRAME_ROWS_MIN) as u32;
        found.retain(|_, (_, count)| *count <= rows_max);
        let texts = rows.iter().flatten().filter(|text| self.runs_of(text).iter().any(|run| found.contains_key(run)));
        let Some(longest) = texts.max_by_key(|text| text.len()) else {
            return Err(format!("no text in it has {} words that tell it, so it would never be found", self.n));
        };
        for (run, (row, _)) in &found {
            self.runs.entry(*run).or_insert((number, *row));
        }
        // A search that finds nothing looks like clean data.
        let planted = format!("// Some code of our own\n{}\n", longest.to_uppercase());
        let canary = Sample { new_contents: Some(&planted), ..Sample::default() };
        match self.find(&canary) {
            Some(_) => Ok(()),
            None => Err("a row with a text of it in it was not found".into()),
        }
    }

    /// Hashes of the runs in `text` that say something.
    fn runs_of(&self, text: &str) -> Vec<u64> {
        let all: Vec<&str> = words(text).collect();
        if all.len() < self.n {
            return Vec::new();
        }
        let hashes: Vec<u64> = all.iter().map(|word| hash(word)).collect();
        let tells = |run: &[&str], hashes: &[u64]| {
            let is_word = |word: &str| word.chars().filter(|c| c.is_alphabetic()).count() >= 3;
            let different: HashSet<u64> =
                run.iter().zip(hashes).filter(|(word, _)| is_word(word)).map(|(_, hash)| *hash).collect();
            5 * different.len() >= 2 * self.n
        };
        let runs = ngrams(&hashes, self.n).into_iter().zip(all.windows(self.n).zip(hashes.windows(self.n)));
        runs.filter(|(_, (run, hashes))| tells(run, hashes)).map(|(hash, _)| hash).collect()
    }

    /// The first column of `sample` that has a text of a benchmark.
    pub fn find(&self, sample: &Sample<'_>) -> Option<Hit> {
        let columns = [
            ("new_contents", sample.new_contents.unwrap_or_default()),
            ("old_contents", sample.old_contents.unwrap_or_default()),
            ("message", sample.message),
            ("diff", sample.diff),
        ];
        columns.into_iter().find_map(|(column, text)| {
            let hashes: Vec<u64> = words(text).map(hash).collect();
            if hashes.len() < self.n {
                return None;
            }
            let (benchmark, row) = ngrams(&hashes, self.n).into_iter().find_map(|run| self.runs.get(&run))?;
            Some(Hit { benchmark: format!("{}:{}", self.names[*benchmark as usize], row + 1), column })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planted_texts_are_found_and_others_not() {
        let text = "return the largest of the numbers that divide n evenly, smaller than n itself";
        let mut benchmarks = Benchmarks::new(NGRAM_WORDS);
        assert!(benchmarks.add("short", &[vec!["too short".into()]]).is_err());
        benchmarks.add("b.jsonl", &[vec!["x".into()], vec![text.into()]]).expect("it can be found");
        let row =
            |new: &'static str, message: &'static str| Sample { new_contents: Some(new), message, ..Sample::default() };
        let other = "return the largest of the numbers, and then nothing that any benchmark ever had in it";
        assert_eq!(benchmarks.find(&row(other, "Say it in other words here")), None);
        let hit = benchmarks.find(&row(other, "Return the largest of the numbers that\n\n    divide n evenly; done"));
        assert_eq!(hit, Some(Hit { benchmark: "b.jsonl:2".into(), column: "message" }));
        assert_eq!(benchmarks.find(&Sample::default()), None);
    }
}
