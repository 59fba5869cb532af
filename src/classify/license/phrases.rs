//! Texts by their words alone, and phrases that are looked for in them.

use aho_corasick::{
    Anchored,
    automaton::{Automaton as _, StateID},
    nfa::contiguous::NFA,
};

/// Lower case, with everything but letters and digits as one space, and a space at either end.
pub(super) fn normalized(text: &str) -> String {
    if text.is_ascii() {
        return normalized_ascii(text.as_bytes());
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push(' ');
    for c in text.chars() {
        if c.is_ascii() {
            let letter = char::from(NORMALIZED[c as usize]);
            if letter != ' ' || !out.ends_with(' ') {
                out.push(letter);
            }
        } else if c.is_alphanumeric() {
            out.extend(c.to_lowercase());
        } else if !out.ends_with(' ') {
            out.push(' ');
        }
    }
    if !out.ends_with(' ') {
        out.push(' ');
    }
    out
}

/// As [`normalized`], three times as fast.
fn normalized_ascii(text: &[u8]) -> String {
    let mut out = vec![b' '; text.len() + 2];
    let (mut len, mut last) = (1, b' ');
    for byte in text {
        let letter = NORMALIZED[usize::from(*byte)];
        out[len] = letter;
        // A space behind a space is written over.
        len += usize::from(letter != b' ' || last != b' ');
        last = letter;
    }
    out.truncate(if last == b' ' { len } else { len + 1 });
    out[len..].fill(b' ');
    String::from_utf8(out).expect("it is ASCII")
}

/// What is made of a byte: itself in lower case where it is a letter or a digit, else a space.
const NORMALIZED: [u8; 256] = {
    let mut table = [b' '; 256];
    let mut byte = 0;
    while byte < 128 {
        if (byte as u8).is_ascii_alphanumeric() {
            table[byte] = (byte as u8).to_ascii_lowercase();
        }
        byte += 1;
    }
    table
};

/// Finds phrases in normalized texts, which they begin and end in between two words.
pub(super) struct Phrases {
    automaton: NFA,
    /// Where the automaton is behind the space that every phrase begins with and this byte; none where it is at its end.
    begun: Box<[Option<StateID>; 256]>,
}

/// A phrase in a text, without the spaces around it.
pub(super) struct Hit {
    pub(super) phrase: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Phrases {
    /// Looks for these, which are normalized.
    pub(super) fn new(phrases: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<Self, String> {
        let automaton = NFA::new(phrases).map_err(|e| e.to_string())?;
        let start = automaton.start_state(Anchored::Yes).map_err(|e| e.to_string())?;
        let space = automaton.next_state(Anchored::Yes, start, b' ');
        let mut begun = Box::new([None; 256]);
        for (byte, state) in (0..=u8::MAX).zip(begun.iter_mut()) {
            *state = Some(automaton.next_state(Anchored::Yes, space, byte)).filter(|state| !automaton.is_dead(*state));
        }
        Ok(Phrases { automaton, begun })
    }

    /// All places of all phrases, also those within others. From most words on the automaton ends at the first letters.
    pub(super) fn hits(&self, text: &str) -> Vec<Hit> {
        let automaton = &self.automaton;
        let text = text.as_bytes();
        let mut hits = Vec::new();
        for start in memchr::memchr_iter(b' ', text).map(|space| space + 1) {
            let Some(mut state) = text.get(start).and_then(|first| self.begun[usize::from(*first)]) else { continue };
            for (end, byte) in (start + 1..).zip(&text[start + 1..]) {
                state = automaton.next_state(Anchored::Yes, state, *byte);
                if automaton.is_dead(state) {
                    break;
                }
                if automaton.is_match(state) {
                    // Phrases that began further on end here as well.
                    let ends = (0..automaton.match_len(state)).map(|index| automaton.match_pattern(state, index));
                    let ends = ends.filter(|phrase| automaton.pattern_len(*phrase) == end - start + 2);
                    hits.extend(ends.map(|phrase| Hit { phrase: phrase.as_usize(), start, end }));
                }
            }
        }
        hits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_found_where_they_stand() {
        let phrases = [" a ", " a b ", " b ", " b c ", " ab ", " a b c d ", " c d a ", " é "];
        let finder = Phrases::new(phrases).expect("they are valid");
        let words = ["a", "b", "c", "d", "ab", "é", "bé"];
        let mut found = 0;
        for drawn in 0..4000_usize {
            let text = (0..drawn % 9).map(|at| words[drawn / (at * 7 + 1) % words.len()]).collect::<Vec<_>>().join(" ");
            let text = normalized(&text);
            let mut hits: Vec<(usize, usize, usize)> =
                finder.hits(&text).iter().map(|hit| (hit.start, hit.end, hit.phrase)).collect();
            let starts = || (0..text.len()).filter(|at| text.is_char_boundary(*at));
            let all =
                starts().flat_map(|at| phrases.iter().enumerate().map(move |(number, phrase)| (at, number, phrase)));
            let all = all.filter(|(at, _, phrase)| text[*at..].starts_with(**phrase));
            let mut all: Vec<_> = all.map(|(at, number, phrase)| (at + 1, at + phrase.len() - 1, number)).collect();
            hits.sort_unstable();
            all.sort_unstable();
            assert_eq!(hits, all, "{text:?}");
            found += hits.len();
        }
        assert!(found > 5000, "{found}");
    }

    #[test]
    fn only_letters_and_digits_are_left_of_a_text() {
        for (text, expected) in [
            ("", " "),
            (" — ", " "),
            ("a", " a "),
            ("// The MIT Licence (MIT)\n", " the mit licence mit "),
            ("Größe © 2020, ÀÉ: “AS IS”…", " größe 2020 àé as is "),
        ] {
            assert_eq!(normalized(text), expected, "{text:?}");
        }
    }
}
