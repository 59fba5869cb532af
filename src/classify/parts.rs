//! Whether a text has any of a few short parts, which most have not: asked before anything that takes longer.

use aho_corasick::{AhoCorasick, packed::Searcher};

/// Looks for a few short parts.
pub enum Parts {
    /// Many bytes at a time.
    Packed(Searcher),
    /// Where the processor has no such way.
    Plain(AhoCorasick),
}

impl Parts {
    /// Looks for these; none of them is empty.
    pub fn new(parts: &[&str]) -> Self {
        match Searcher::new(parts) {
            Some(searcher) => Parts::Packed(searcher),
            None => Self::plain(parts),
        }
    }

    fn plain(parts: &[&str]) -> Self {
        Parts::Plain(AhoCorasick::new(parts).expect("they are few and short"))
    }

    /// Whether `text` has one of them.
    pub fn are_in(&self, text: &[u8]) -> bool {
        match self {
            Parts::Packed(searcher) => searcher.find(text).is_some(),
            Parts::Plain(automaton) => automaton.is_match(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_find_the_same() {
        let parts = ["evert", "GPL", "c domain"];
        let long = "x".repeat(100);
        for (text, has) in
            [("", false), ("ever", false), ("Reverts", true), ("public domain", true), ("gpl", false), ("LGPL", true)]
        {
            for text in [text.to_owned(), format!("{long}{text}"), format!("{text}{long}")] {
                for ways in [Parts::new(&parts), Parts::plain(&parts)] {
                    assert_eq!(ways.are_in(text.as_bytes()), has, "{text}");
                }
            }
        }
    }
}
