//! Decides between languages that share an ending, where no rule did: the words of the contents against the words that
//! each language's sample files have (multinomial naive Bayes, as Linguist's own classifier was for years).
//!
//! `languages/tie_break.tsv` holds what `scripts/train_tie_break.py` counted.

use std::sync::OnceLock;

use hashbrown::HashMap;

use super::linguist::{LanguageId, Linguist};
use crate::classify::catalog;

/// Of the contents, so many bytes are looked at.
const CONTENT_BYTES_MAX: usize = 8 * 1024;

/// The table, ready to be asked. Few languages are asked about, and a line is read when its language is.
pub struct TieBreak<'t> {
    languages: HashMap<&'t str, (&'t str, OnceLock<Option<Words<'t>>>)>,
}

/// What a word costs a language: the higher, the less likely it is there.
struct Words<'t> {
    unknown: u16,
    costs: HashMap<&'t str, u16>,
}

impl<'t> Words<'t> {
    fn read(fields: &'t str) -> Option<Self> {
        let mut fields = fields.split('\t');
        let unknown = fields.next()?.parse().ok()?;
        let mut costs = HashMap::new();
        for group in fields {
            let mut words = group.split(' ');
            let cost = words.next()?.parse().ok()?;
            costs.extend(words.map(|word| (word, cost)));
        }
        Some(Words { unknown, costs })
    }
}

impl TieBreak<'static> {
    /// The table in use.
    pub fn in_use() -> &'static Self {
        static BUILTIN: OnceLock<TieBreak<'static>> = OnceLock::new();
        BUILTIN.get_or_init(|| TieBreak::new(catalog::file("tie_break.tsv")))
    }
}

impl<'t> TieBreak<'t> {
    /// Takes a table apart: a line for each language, its name, the cost of a word that is not listed, and groups of a
    /// cost and the words that have it, all separated by tabs; within a group, by spaces. Of a language whose line is no
    /// such line nothing is known; tables are [checked](Self::check) before they are used.
    pub fn new(table: &'t str) -> Self {
        let lines = table.lines().filter(|line| !line.starts_with('#'));
        let languages = lines.map(|line| line.split_once('\t').unwrap_or((line, "")));
        TieBreak { languages: languages.map(|(name, fields)| (name, (fields, OnceLock::new()))).collect() }
    }

    /// Reads all of a table.
    ///
    /// # Errors
    /// The number of the first line that is not as [`TieBreak::new`] has it.
    pub fn check(table: &str) -> Result<(), usize> {
        let mut lines = table.lines().enumerate().filter(|(_, line)| !line.starts_with('#'));
        let is_good = |line: &str| line.split_once('\t').and_then(|(_, fields)| Words::read(fields)).is_some();
        lines.find(|(_, line)| !is_good(line)).map_or(Ok(()), |(number, _)| Err(number + 1))
    }

    fn words_of(&self, language: &str) -> Option<&Words<'t>> {
        let (fields, words) = self.languages.get(language)?;
        words.get_or_init(|| Words::read(fields)).as_ref()
    }

    /// The likeliest of `candidates`, which must not be empty. Languages without words in the table come last; of
    /// equally likely ones the first is taken.
    pub fn decide(&self, linguist: &Linguist, candidates: &[LanguageId], contents: &str) -> LanguageId {
        let words = words(contents);
        let cost = |id: LanguageId| -> u64 {
            match self.words_of(&linguist.language(id).name) {
                None => u64::MAX,
                Some(known) => {
                    words.iter().map(|word| u64::from(known.costs.get(*word).copied().unwrap_or(known.unknown))).sum()
                }
            }
        };
        candidates.iter().copied().min_by_key(|id| cost(*id)).unwrap_or(candidates[0])
    }
}

/// Names, and runs of other signs of up to three; numbers and white space separate. The trainer cuts the same way.
fn words(contents: &str) -> Vec<&str> {
    let bytes = &contents.as_bytes()[..contents.len().min(CONTENT_BYTES_MAX)];
    let is_name = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80;
    let mut words = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        let byte = bytes[at];
        at += 1;
        if is_name(byte) {
            while at < bytes.len() && is_name(bytes[at]) {
                at += 1;
            }
        } else if byte.is_ascii_punctuation() {
            while at < bytes.len() && at - start < 3 && bytes[at].is_ascii_punctuation() && bytes[at] != b'_' {
                at += 1;
            }
        } else {
            continue;
        }
        // A name may be cut in the middle of a letter by the end of what is looked at.
        words.extend(contents.get(start..at).filter(|word| word.len() <= 32));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_names_and_signs() {
        assert_eq!(words("int main_é(){\n  return 42==x;\n}"), ["int", "main_é", "(){", "return", "==", "x", ";", "}"]);
    }

    #[test]
    fn the_likelier_language_wins() {
        let table = "# words\nC\t90\t10 int printf ;\nC++\t90\t10 int class ::\nRuby\t90\t10 end def\n";
        assert_eq!(TieBreak::check(table), Ok(()));
        let tie_break = TieBreak::new(table);
        let linguist = Linguist::in_use();
        let id = |name: &str| linguist.find(name).expect("a language");
        let decide = |names: &[&str], contents: &str| {
            let ids: Vec<LanguageId> = names.iter().map(|name| id(name)).collect();
            linguist.language(tie_break.decide(linguist, &ids, contents)).name.as_str()
        };
        assert_eq!(decide(&["C", "C++", "Ruby"], "int x; printf;"), "C");
        assert_eq!(decide(&["C", "C++", "Ruby"], "class X { int y }"), "C++");
        assert_eq!(decide(&["Zig", "Ruby"], "nothing"), "Ruby");
        assert_eq!(decide(&["C++", "C"], ""), "C++");
        for (table, wrong) in [("C\tx\n", 1), ("# words\nC\t90\nRuby\n", 3), ("C\t90\tx end\n", 1)] {
            assert_eq!(TieBreak::check(table), Err(wrong), "{table}");
        }
    }

    #[test]
    fn the_table_names_languages() {
        let tie_break = TieBreak::in_use();
        assert!(tie_break.languages.len() > 100);
        assert!(tie_break.languages.keys().all(|name| Linguist::in_use().find(name).is_some()));
        let all = tie_break.languages.keys().map(|name| tie_break.words_of(name).expect("a good line"));
        let costs = all.flat_map(|words| words.costs.values().map(|cost| (*cost, words.unknown)));
        assert!(costs.into_iter().all(|(cost, unknown)| cost <= unknown && unknown < 300));
    }
}
