//! Public benchmarks that are compiled in, as hashes of their runs of words: nobody can read a benchmark out of them, and what a
//! model is trained on has no text of one for having looked for it.

use std::{collections::BTreeMap, str::FromStr};

use serde::{Deserialize, Serialize};

use super::contamination::WORD_BITS;

/// Hexadecimal digits of a run of words, of the number of words of a whole text, and of a word of one.
const RUN_DIGITS: usize = 16;
const LEN_DIGITS: usize = 2;
const WORD_DIGITS: usize = WORD_BITS as usize / 4;

/// A benchmark that is compiled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Known {
    /// HumanEval (Chen et al., 2021).
    HumanEval,
}

impl Known {
    /// All of them.
    pub const ALL: [Known; 1] = [Known::HumanEval];

    /// The name in options and accounts.
    pub fn as_str(self) -> &'static str {
        match self {
            Known::HumanEval => "humaneval",
        }
    }

    /// The file of fingerprints.
    pub fn text(self) -> &'static str {
        match self {
            Known::HumanEval => include_str!("../../filters/benchmarks/humaneval.toml"),
        }
    }
}

impl FromStr for Known {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Known::ALL.map(Known::as_str).join(", ");
        Known::ALL
            .into_iter()
            .find(|known| known.as_str() == text)
            .ok_or_else(|| format!("`{text}` is no benchmark that is compiled in; there are {names}, and none"))
    }
}

/// A benchmark as hashes: what `scripts/fingerprint_benchmarks.py` writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprints {
    /// Its name.
    pub name: String,
    /// Words in a run.
    pub ngram_words: usize,
    /// A text of nobody's, hashed along as a task: where it is not found, nothing would be.
    pub canary: String,
    /// The first bits of the hashes of all words in runs.
    pub words: Vec<u64>,
    /// The id of each task, and the hashes of its runs.
    pub tasks: Vec<(String, Vec<u64>)>,
    /// The first bits of the hashes of all words of solutions that are looked for as a whole.
    pub whole_words: Vec<u64>,
    /// The id of the task of each of those solutions, its words and the hash of all of them.
    pub wholes: Vec<(String, usize, u64)>,
}

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: String,
    #[serde(rename = "source")]
    _source: String,
    #[serde(rename = "licence")]
    _licence: String,
    ngram_words: usize,
    canary: String,
    words: String,
    #[serde(default)]
    whole_words: String,
    tasks: BTreeMap<String, String>,
    #[serde(default)]
    wholes: BTreeMap<String, String>,
}

impl Fingerprints {
    /// Reads the file of `known`.
    ///
    /// # Errors
    /// It is not as the script writes it.
    pub fn of(known: Known) -> Result<Self, String> {
        Fingerprints::parse(known.text())
    }

    fn parse(text: &str) -> Result<Self, String> {
        let table: Table = toml::from_str(text).map_err(|e| e.to_string())?;
        let mut wholes = Vec::new();
        for (task, text) in table.wholes {
            let (len, hash) = text.split_at_checked(LEN_DIGITS).ok_or("a whole text has no number of words")?;
            let (len, hash) = (numbers(len, LEN_DIGITS)?, numbers(hash, RUN_DIGITS)?);
            let len = len.first().and_then(|len| usize::try_from(*len).ok()).filter(|len| *len > 0);
            wholes.push((
                task,
                len.ok_or("a whole text has no words")?,
                *hash.first().ok_or("a whole text has no hash")?,
            ));
        }
        let tasks = table.tasks.into_iter().map(|(task, runs)| Ok((task, numbers(&runs, RUN_DIGITS)?)));
        Ok(Fingerprints {
            name: table.name,
            ngram_words: table.ngram_words,
            canary: table.canary,
            words: numbers(&table.words, WORD_DIGITS)?,
            tasks: tasks.collect::<Result<_, String>>()?,
            whole_words: numbers(&table.whole_words, WORD_DIGITS)?,
            wholes,
        })
    }
}

/// Numbers of `digits` hexadecimal digits each, one after the other.
fn numbers(text: &str, digits: usize) -> Result<Vec<u64>, String> {
    let number = |digits: &[u8]| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    match text.as_bytes().chunks(digits).map(|part| number(part).filter(|_| part.len() == digits)).collect() {
        Some(numbers) => Ok(numbers),
        None => Err(format!("a list of numbers of {digits} digits has something else in it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dedup::contamination::{Benchmarks, Memory, NGRAM_WORDS},
        sample::Sample,
    };

    #[test]
    fn what_is_compiled_in_is_found() {
        for known in Known::ALL {
            let fingerprints = Fingerprints::of(known).expect("the script wrote it");
            assert_eq!((fingerprints.name.as_str(), fingerprints.ngram_words), (known.as_str(), NGRAM_WORDS));
            assert_eq!(known.as_str().parse(), Ok(known));
            let mut benchmarks = Benchmarks::new(7);
            benchmarks.add_fingerprints(&fingerprints).expect("its canary is found");
            let row = Sample { message: &fingerprints.canary, ..Sample::default() };
            let hit = benchmarks.find(&row, &mut Memory::default()).expect("a hit");
            assert_eq!((hit.benchmark, hit.column), (format!("{}:canary", known.as_str()), "message"));
            let other = Fingerprints {
                canary: "another text with as many words in it, of which there are no hashes".into(),
                ..fingerprints
            };
            assert!(Benchmarks::new(7).add_fingerprints(&other).is_err());
        }
        assert!("humanevil".parse::<Known>().is_err());
    }

    #[test]
    fn a_text_of_a_task_is_named_by_its_id() {
        // The start of HumanEval's second task, in words of which none is left out.
        let text =
            "Input to this function is a string containing multiple groups of nested parentheses. Your goal is to";
        let mut benchmarks = Benchmarks::new(NGRAM_WORDS);
        let fingerprints = Fingerprints::of(Known::HumanEval).expect("the script wrote it");
        assert_eq!(fingerprints.tasks.len(), 164, "one of 164 tasks has no run of its own, and the canary is one");
        benchmarks.add_fingerprints(&fingerprints).expect("its canary is found");
        // A whole solution in other layout, of which no run of ten words says something.
        let solution = "return number%1.0";
        for (text, expected) in [
            (text, Some("humaneval:HumanEval/1")),
            (solution, None),
            ("return [(e + 1)\n  for e in l]", Some("humaneval:HumanEval/42")),
        ] {
            let row = Sample { new_contents: Some(text), ..Sample::default() };
            let hit = benchmarks.find(&row, &mut Memory::default()).map(|hit| hit.benchmark);
            assert_eq!(hit.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn damage_is_an_error() {
        let text = Known::HumanEval.text();
        for (from, to) in
            [("words = \"", "words = \"x"), ("words = \"", "words = \"0"), ("licence", "license"), ("name", "nome")]
        {
            assert!(Fingerprints::parse(&text.replacen(from, to, 1)).is_err(), "{to}");
        }
    }
}
