//! What the lines of web texts are told from noise by, after FinGPT (Luukkonen et al., 2023, arXiv 2311.05640), which keeps a line
//! with at most a tenth of digits, of punctuation and of capitals, at least half as many different words as words, at most one
//! in a hundred letters of another alphabet, words of five letters on average, and no word more than five times in a row.

use std::fmt;

use regex::Regex;

/// Letters of an alphabet, as the inside of a character class.
#[derive(Clone, Debug)]
pub struct Alphabet {
    written: String,
    foreign: Regex,
}

impl Alphabet {
    /// Of letters like `a-zåäö`, in either case.
    ///
    /// # Errors
    /// It is no class of letters, in words.
    pub fn new(letters: &str) -> Result<Self, String> {
        let is_plain = |c: char| c.is_alphabetic() || c == '-';
        if letters.is_empty() || !letters.chars().all(is_plain) {
            return Err(format!("{letters:?} are no letters: write them like a-zåäö"));
        }
        // Of what is a letter, all that is not of these.
        let foreign = Regex::new(&format!("(?i)[\\p{{L}}--[{letters}]]")).map_err(|_| {
            format!("{letters:?} are no letters: a hyphen stands between the first and the last of a range")
        })?;
        Ok(Alphabet { written: letters.to_owned(), foreign })
    }

    /// The share of letters that it does not have; 0 where there are none.
    pub fn foreign(&self, text: &str) -> f64 {
        // As the expression counts them: numbers and marks are no letters.
        let all = text.chars().filter(|c| c.is_alphabetic()).count();
        if all == 0 { 0.0 } else { (self.foreign.find_iter(text).count() as f64 / all as f64).min(1.0) }
    }
}

impl fmt::Display for Alphabet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// How many words are different, of all words between white space, in any case of letters; 1 where there are none.
pub fn type_token(text: &str) -> f64 {
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    let different: std::collections::HashSet<&String> = words.iter().collect();
    if words.is_empty() { 1.0 } else { different.len() as f64 / words.len() as f64 }
}

/// How often a word comes in a row at most.
pub fn repeats(text: &str) -> usize {
    let (mut longest, mut run, mut last) = (0, 0, "");
    for word in text.split_whitespace() {
        run = if word == last { run + 1 } else { 1 };
        (longest, last) = (longest.max(run), word);
    }
    longest
}

/// Letters and digits of a word between white space, on average; 0 where there are none.
pub fn word_chars(text: &str) -> f64 {
    let words = text.split_whitespace().count();
    let letters = text.chars().filter(|c| c.is_alphanumeric()).count();
    if words == 0 { 0.0 } else { letters as f64 / words as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_of_lines() {
        for (text, expected) in [
            ("", (1.0, 0, 0.0)),
            ("Korjaa virhe", (1.0, 1, 5.5)),
            ("ja ja Ja talo", (0.5, 2, 2.5)),
            ("no no no no no no", (1.0 / 6.0, 6, 2.0)),
            ("a-b, (c)", (1.0, 1, 1.5)),
            ("修复错误", (1.0, 1, 4.0)),
        ] {
            assert_eq!((type_token(text), repeats(text), word_chars(text)), expected, "{text}");
        }
    }

    #[test]
    fn letters_of_other_alphabets_are_foreign() {
        let finnish = Alphabet::new("a-zåäö").expect("letters");
        for (text, expected) in [
            ("", 0.0),
            ("12 !", 0.0),
            ("Älä käytä ÅÄÖ", 0.0),
            ("ñandu", 0.2),
            ("ошибка", 1.0),
            ("aж", 0.5),
            ("a\u{301}", 0.0),
        ] {
            assert_eq!(finnish.foreign(text), expected, "{text}");
        }
        for bad in ["", "a]", "z-a", "[a", "\\w", "a z", "^a"] {
            assert!(Alphabet::new(bad).is_err(), "{bad}");
        }
    }
}
