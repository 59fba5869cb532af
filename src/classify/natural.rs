//! The human language of a commit message: the script of its prose, then the words, letters and n-grams of the
//! languages that are written in it.
//!
//! Code is no prose: words with digits, underscores, dots or capitals inside, URLs, and everything in backticks are left
//! out before anything is counted. What then is left of many subjects is a word or two, so English has a lead.

use std::{
    collections::BTreeMap,
    sync::{LazyLock, Mutex, OnceLock, PoisonError},
};

use compact_str::CompactString;
use hashbrown::HashMap;
use serde::Deserialize;
use unicode_script::{Script, UnicodeScript as _};

use super::catalog::{self, Text};

/// More of a message says nothing new.
const CHARS_MAX: usize = 600;

/// A Han, kana or Hangul letter stands for about so many letters of an alphabet.
const LETTERS_PER_IDEOGRAPH: f64 = 2.5;

/// A script other than Latin decides from this share of all letters on: prose in it is full of Latin names.
const FOREIGN_SHARE_MIN: f64 = 0.25;

/// What speaks for English, and for Russian in its script, before anything is read. This and the weights below are in
/// words that speak for a language; they were tuned on `fixtures/message_languages.tsv`.
const LEAD: f64 = 0.7;

/// What a word of English messages counts that is no function word: other languages' messages have them, too.
const COMMON_WEIGHT: f64 = 0.7;

/// What a word counts that only one language has, and that is not English.
const OWN_WEIGHT: f64 = 1.6;

/// What a word that is in no list counts against English, of whose words most are.
const UNKNOWN_WEIGHT: f64 = 0.7;

/// What the opinion of whichlang counts. It knows ten languages in Latin letters, and no doubt.
const WHICHLANG_WEIGHT: f64 = 1.0;

/// What the opinion of whatlang counts where it is sure.
const WHATLANG_WEIGHT: f64 = 2.0;

/// Where a language has this share of the evidence, no further model is asked: whatlang takes longer than all the rest.
const ENOUGH: f64 = 0.5;

/// As [`ENOUGH`], where English leads: from 0.2 on, no label of 970 messages that had been labelled by hand is another. Rules ask
/// for 0.4.
const ENOUGH_ENGLISH: f64 = 0.4;

/// As [`ENOUGH`], where words and the first model say the same.
const ENOUGH_OF_TWO: f64 = 0.25;

/// The models look at so many bytes.
const MODEL_BYTES_MAX: usize = 120;

/// Fewer words say little to models of n-grams, and whichlang counts less then.
const MODEL_WORDS: usize = 3;

/// Of fewer words whatlang is not asked. No label of 666 messages that had been labelled by hand is another with 3; with 5, of
/// three that change one gets better.
const WHATLANG_WORDS: usize = 4;

/// Texts of which it is remembered what whatlang said.
const SAID_MAX: usize = 1 << 12;

/// What a letter counts that a language has and English does not, in words.
const LETTER_WEIGHT: f64 = 0.4;

/// What a letter counts against a language that does not have it.
const FOREIGN_LETTER_WEIGHT: f64 = 0.8;

/// Letters that simplified Chinese writes in another way, and how traditional Chinese does.
const SIMPLIFIED: &str = "这们为来时对说会过动发还问题实现错误数据类关闭删优页测试认单应该项请让从将变语义码场长间输设计读写种线级结统报给进连边带务办东乐书买云产亲价传";
const TRADITIONAL: &str = "這們為來時對說會過動發還問題實現錯誤數據類關閉刪優頁測試認單應該項請讓從將變語義碼場長間輸設計讀寫種線級結統報給進連邊帶務辦東樂書買雲產親價傳";

/// Below this share of the evidence a label would be a guess among languages of one script.
const EVIDENCE_MIN: f64 = 0.1;

/// What the opinion of lingua counts where it is sure.
const LINGUA_WEIGHT: f64 = 2.0;

/// Who judges the language of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Judge {
    /// The table and a small n-gram model.
    #[default]
    Fast,
    /// Where those are not sure, lingua's models too: slower, and only in a program that was built with them.
    Lingua,
}

/// The language of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Label {
    /// ISO 639-1 code.
    pub language: &'static str,
    /// ISO 15924 code.
    pub script: &'static str,
    /// The share of the evidence that speaks for it, 0 to 1.
    pub confidence: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    language: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    name: String,
    script: String,
    letters: String,
    words: Vec<String>,
    #[serde(default)]
    common: Vec<String>,
}

/// The languages, ready for use.
pub struct NaturalLanguages {
    entries: Vec<Entry>,
    /// For every word, which of `owners` has it.
    words: HashMap<CompactString, u32>,
    /// Languages that have words, and what each of these counts for them.
    owners: Vec<Vec<(usize, f64)>>,
    /// For every letter that is not one of all languages of its script, the languages that have it.
    letters: HashMap<char, Vec<usize>>,
    by_id: HashMap<String, usize>,
    english: usize,
    /// The languages that lead those of their script, as most is written in them there.
    leaders: Vec<usize>,
    /// The languages that are written in a script.
    by_script: HashMap<String, Vec<usize>>,
}

impl NaturalLanguages {
    /// The table in use.
    pub fn in_use() -> &'static Self {
        static BUILTIN: OnceLock<NaturalLanguages> = OnceLock::new();
        BUILTIN
            .get_or_init(|| Self::new(catalog::table("natural.toml")).expect("tables are checked before they are used"))
    }

    /// Reads a table.
    ///
    /// # Errors
    /// It is not valid, or English is not in it.
    pub fn new(table: Text<'_>) -> Result<Self, String> {
        let Table { language: entries } = table.read()?;
        let mut owners: HashMap<&str, Vec<(usize, f64)>> = HashMap::new();
        let mut letters: HashMap<char, Vec<usize>> = HashMap::new();
        for (at, entry) in entries.iter().enumerate() {
            let weight = if entry.id == "en" { COMMON_WEIGHT } else { 1.0 };
            let common = entry.common.iter().map(|word| (word, weight));
            for (word, weight) in entry.words.iter().map(|word| (word, 1.0)).chain(common) {
                let owners = owners.entry(word).or_default();
                if owners.last().is_none_or(|(last, _)| *last != at) {
                    owners.push((at, weight));
                }
            }
            for letter in entry.letters.chars() {
                letters.entry(letter).or_default().push(at);
            }
        }
        let by_id: HashMap<String, usize> = entries.iter().map(|entry| entry.id.clone()).zip(0..).collect();
        let english = *by_id.get("en").ok_or("there is no entry en")?;
        let leaders = ["en", "ru"].iter().filter_map(|leader| by_id.get(*leader).copied()).collect();
        // Few lists of owners serve all words.
        let mut lists: HashMap<Vec<(usize, u64)>, u32> = HashMap::new();
        let (mut words, mut list) = (HashMap::with_capacity(owners.len()), Vec::new());
        for (word, mut owners) in owners {
            if let [(owner, weight)] = owners.as_mut_slice()
                && *owner != english
            {
                *weight = OWN_WEIGHT;
            }
            let exactly = owners.iter().map(|(owner, weight)| (*owner, weight.to_bits())).collect();
            let at = *lists.entry(exactly).or_insert_with(|| {
                list.push(owners);
                list.len() as u32 - 1
            });
            words.insert(CompactString::from(word), at);
        }
        let mut by_script: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, entry) in entries.iter().enumerate() {
            by_script.entry_ref(&entry.script).or_default().push(at);
        }
        Ok(NaturalLanguages { entries, words, owners: list, letters, by_id, english, leaders, by_script })
    }

    /// The languages that it knows, by ISO 639-1 code.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.id.as_str())
    }

    /// Their English names, by the same code.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|entry| (entry.id.as_str(), entry.name.as_str()))
    }

    /// The language of `message`; none where it has no prose, or too little of it to tell.
    pub fn label(&'static self, message: &str, judge: Judge) -> Option<Label> {
        let prose = Prose::of_message(message);
        let (script, share) = prose.script()?;
        let candidates = self.by_script.get(script)?.as_slice();
        let (at, confidence) = match candidates {
            [only] => (*only, share),
            _ => self.vote(&prose, candidates, judge, &mut vec![0.0; self.entries.len()]),
        };
        if confidence < EVIDENCE_MIN {
            return None;
        }
        let script = if script == "Hani" { prose.han_variant() } else { &self.entries[at].script };
        Some(Label { language: &self.entries[at].id, script, confidence })
    }

    /// What [`NaturalLanguages::label`] goes by: the words that it looks at, and the candidates by their shares of the
    /// evidence, the most likely first.
    pub fn evidence(&'static self, message: &str, judge: Judge) -> (Vec<String>, Vec<(&'static str, f64)>) {
        let prose = Prose::of_message(message);
        let script = prose.script();
        let candidates = script.and_then(|(script, _)| self.by_script.get(script)).map_or(&[][..], Vec::as_slice);
        let mut shares: Vec<(&'static str, f64)> = match (candidates, script) {
            ([only], Some((_, share))) => vec![(&self.entries[*only].id, share)],
            _ => {
                let mut scores = vec![0.0; self.entries.len()];
                self.vote(&prose, candidates, judge, &mut scores);
                let share = |at: &usize| {
                    let total: f64 = candidates.iter().map(|other| (scores[*other] - scores[*at]).exp()).sum();
                    (self.entries[*at].id.as_str(), 1.0 / total)
                };
                candidates.iter().map(share).collect()
            }
        };
        shares.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
        (prose.words().map(str::to_owned).collect(), shares)
    }

    /// The candidate with the most evidence, and its share of it. `scores` are all zero, and then hold the evidence.
    fn vote(&self, prose: &Prose, candidates: &[usize], judge: Judge, scores: &mut [f64]) -> (usize, f64) {
        let mut unknown: Vec<&str> = Vec::new();
        for word in prose.words() {
            let known = self.words.get(word);
            for (at, weight) in known.into_iter().flat_map(|at| &self.owners[*at as usize]) {
                scores[*at] += weight;
            }
            // A name that comes again says nothing new.
            if known.is_none() && word.len() > 2 && !unknown.contains(&word) {
                unknown.push(word);
                scores[self.english] -= UNKNOWN_WEIGHT;
            }
            if word.is_ascii() {
                continue;
            }
            for letter in word.chars().filter(|letter| !letter.is_ascii()) {
                let Some(owners) = self.letters.get(&letter) else { continue };
                for at in candidates {
                    scores[*at] += if owners.contains(at) { LETTER_WEIGHT } else { -FOREIGN_LETTER_WEIGHT };
                }
            }
        }
        for leader in &self.leaders {
            if candidates.contains(leader) {
                scores[*leader] += LEAD;
            }
        }
        let by_words = share(scores, candidates);
        if by_words.1 >= if by_words.0 == self.english { ENOUGH_ENGLISH } else { ENOUGH } {
            return by_words;
        }
        let weight = (prose.count as f64 / MODEL_WORDS as f64).min(1.0);
        let text = &prose.text[..prose.text.floor_char_boundary(MODEL_BYTES_MAX)];
        let mut add = |code: &str, weight: f64| {
            if let Some(at) = self.by_id.get(code).filter(|at| candidates.contains(at)) {
                scores[*at] += weight;
            }
            share(scores, candidates)
        };
        let mut with_model = add(whichlang_code(whichlang::detect_language(text)), weight * WHICHLANG_WEIGHT);
        let enough = if with_model.0 == by_words.0 { ENOUGH_OF_TWO } else { ENOUGH };
        if with_model.1 >= enough {
            return with_model;
        }
        if prose.count >= WHATLANG_WORDS
            && let Some((code, confidence)) = by_whatlang(text)
        {
            with_model = add(code, WHATLANG_WEIGHT * confidence);
        }
        if judge == Judge::Lingua && with_model.1 < ENOUGH {
            for (at, confidence) in self.second_opinion(text, candidates) {
                scores[at] += LINGUA_WEIGHT * confidence;
            }
            return share(scores, candidates);
        }
        with_model
    }

    /// How sure lingua is of each candidate.
    #[cfg(feature = "lingua")]
    fn second_opinion(&self, text: &str, candidates: &[usize]) -> Vec<(usize, f64)> {
        static DETECTOR: OnceLock<lingua::LanguageDetector> = OnceLock::new();
        let detector = DETECTOR.get_or_init(|| lingua::LanguageDetectorBuilder::from_all_languages().build());
        let values = detector.compute_language_confidence_values(text).into_iter();
        let of = |language: lingua::Language| {
            let code = language.iso_code_639_1().to_string();
            candidates.iter().copied().find(|at| self.entries[*at].id == code)
        };
        values.filter_map(|(language, confidence)| Some((of(language)?, confidence))).collect()
    }

    #[cfg(not(feature = "lingua"))]
    fn second_opinion(&self, _: &str, _: &[usize]) -> Vec<(usize, f64)> {
        Vec::new()
    }
}

/// The candidate with the highest score, and its share of the evidence: each word of difference makes a language about
/// three times as likely.
fn share(scores: &[f64], candidates: &[usize]) -> (usize, f64) {
    let best = candidates.iter().copied().reduce(|a, b| if scores[b] > scores[a] { b } else { a }).unwrap_or(0);
    // Most candidates have the same score: none.
    let of_none = (0.0 - scores[best]).exp();
    let likelihood = |at: &usize| match scores[*at] {
        0.0 => of_none,
        score => (score - scores[best]).exp(),
    };
    let total: f64 = candidates.iter().map(likelihood).sum();
    (best, 1.0 / total)
}

/// What is left of a message without code: words in lower case.
#[derive(Default)]
struct Prose {
    /// The words, with a blank between two.
    text: String,
    count: usize,
}

impl Prose {
    /// The subject is what a row asks for; a body in another language (squashed commits) is not heard beside it.
    fn of_message(message: &str) -> Self {
        let subject = Prose::of(super::message::subject(message));
        if subject.is_enough() { subject } else { Prose::of(message) }
    }

    fn of(message: &str) -> Self {
        let end = match message.len() <= CHARS_MAX {
            true => message.len(),
            false => message.char_indices().nth(CHARS_MAX).map_or(message.len(), |(at, _)| at),
        };
        let mut prose = Prose { text: String::with_capacity(end), count: 0 };
        let mut quoted = false;
        let mut is_subject = true;
        for line in message[..end].lines() {
            // `redis-cli: remove …` is no trailer where it is the subject.
            if !is_subject && is_trailer(line) {
                continue;
            }
            is_subject &= line.trim().is_empty();
            for (at, token) in line.split_whitespace().enumerate() {
                // `fix: …`, `parser: …`: a kind or a place, in English whatever follows.
                if at == 0 && token.ends_with(':') {
                    continue;
                }
                if is_plain(token) {
                    if !quoted {
                        prose.push(token);
                    }
                    continue;
                }
                let ticks = token.bytes().filter(|byte| *byte == b'`').count();
                let was_quoted = quoted;
                quoted ^= ticks % 2 == 1;
                if !was_quoted && ticks == 0 && !is_code(token) {
                    let parts = token.split(|c: char| !c.is_alphabetic() && !is_mark(c));
                    parts.filter(|part| !part.is_empty()).for_each(|part| prose.push(part));
                }
            }
            quoted = false;
        }
        prose
    }

    fn push(&mut self, word: &str) {
        if self.count > 0 {
            self.text.push(' ');
        }
        self.count += 1;
        if word.is_ascii() {
            let start = self.text.len();
            self.text.push_str(word);
            self.text[start..].make_ascii_lowercase();
        } else {
            self.text.push_str(&word.to_lowercase());
        }
    }

    fn words(&self) -> impl Iterator<Item = &str> {
        self.text.split(' ').take(self.count)
    }

    /// Whether its language can be told from it alone.
    fn is_enough(&self) -> bool {
        let letters = || self.text.chars().filter(|c| *c != ' ').count();
        let without_blanks = |c: char| {
            !c.is_ascii() && matches!(c.script(), Script::Han | Script::Hiragana | Script::Katakana | Script::Hangul)
        };
        self.count >= 4 || (self.text.contains(without_blanks) && letters() >= 4)
    }

    /// The ISO 15924 code of the script of the prose, `Hani` for Chinese of either kind, and its share of all letters.
    fn script(&self) -> Option<(&'static str, f64)> {
        let ascii = self.text.bytes().filter(u8::is_ascii_alphabetic).count();
        if self.text.is_ascii() {
            return (ascii > 0).then_some(("Latn", 1.0));
        }
        let mut letters: BTreeMap<&'static str, f64> = BTreeMap::new();
        if ascii > 0 {
            letters.insert("Latn", ascii as f64);
        }
        for letter in self.text.chars().filter(|letter| !letter.is_ascii()) {
            let (code, weight) = match letter.script() {
                Script::Common | Script::Inherited | Script::Unknown => continue,
                Script::Hiragana | Script::Katakana => ("Jpan", LETTERS_PER_IDEOGRAPH),
                Script::Hangul => ("Kore", LETTERS_PER_IDEOGRAPH),
                Script::Han => ("Hani", LETTERS_PER_IDEOGRAPH),
                script => (script.short_name(), 1.0),
            };
            *letters.entry(code).or_default() += weight;
        }
        // Japanese and Korean are written with Han letters as well.
        let han = letters.get("Hani").copied().unwrap_or_default();
        let with_han = letters.iter_mut().find(|(code, sum)| ["Jpan", "Kore"].contains(code) && **sum >= 0.1 * han);
        if let Some((_, sum)) = with_han {
            *sum += han;
            letters.remove("Hani");
        }
        let total: f64 = letters.values().sum();
        let foreign = letters.iter().filter(|(code, _)| **code != "Latn").max_by(|a, b| a.1.total_cmp(b.1));
        let found = foreign.filter(|(_, sum)| **sum >= FOREIGN_SHARE_MIN * total);
        found.or_else(|| letters.get_key_value("Latn")).map(|(code, sum)| (*code, sum / total))
    }

    /// Simplified or traditional Chinese, by letters of which the other has another form.
    fn han_variant(&self) -> &'static str {
        let count = |letters: &str| self.text.chars().filter(|letter| letters.contains(*letter)).count();
        if count(TRADITIONAL) > count(SIMPLIFIED) { "Hant" } else { "Hans" }
    }
}

/// Vowel signs and the like, which belong to the word that they are in.
fn is_mark(c: char) -> bool {
    !c.is_ascii() && (matches!(c.script(), Script::Inherited) || (!c.is_alphanumeric() && is_letter_script(c)))
}

fn is_letter_script(c: char) -> bool {
    !matches!(c.script(), Script::Common | Script::Inherited | Script::Unknown)
}

/// `Signed-off-by: …`, `Change-Id: …`: the token is no prose, and what follows is a name.
fn is_trailer(line: &str) -> bool {
    let Some((token, value)) = line.split_once(':') else { return false };
    token.contains('-')
        && value.len() > 1
        && value.starts_with(' ')
        && token.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-')
}

/// Whether a token is a word as most are.
fn is_plain(token: &str) -> bool {
    let (first, rest) = token.as_bytes().split_first().unwrap_or((&0, &[]));
    first.is_ascii_alphabetic() && rest.iter().all(u8::is_ascii_lowercase)
}

/// Whether a token between blanks that is not [`is_plain`] is rather code than prose.
fn is_code(token: &str) -> bool {
    let word = token.trim_matches(|c: char| !c.is_alphanumeric());
    if !word.is_ascii() {
        // Prose in scripts without blanks comes with code in one token, and the script tells.
        return word.contains("://");
    }
    let letters = word.bytes().filter(u8::is_ascii_alphabetic).count();
    let inner_capital = word.bytes().skip(1).any(|byte| byte.is_ascii_uppercase());
    let code = |byte: u8| {
        matches!(byte, b'0'..=b'9' | b'_' | b'/' | b'\\' | b'.' | b':' | b'=' | b'<' | b'>' | b'(' | b')' | b'[' | b']')
            || matches!(byte, b'{' | b'}' | b'@' | b'#' | b'$' | b'*' | b'+' | b'&' | b'|' | b'~' | b'^' | b'%')
    };
    // `feat(parser):` and `l10n:` are prefixes, `<jane@example.org>` an address.
    letters == 0
        || inner_capital
        || word.bytes().any(code)
        || token.contains(['@', '\\', '$', '='])
        || token.starts_with("--")
}

/// What whatlang takes a text for, as ISO 639-1 code, and how sure it is. Texts come again: releases and translations are
/// announced with the same words, and the model is slow.
fn by_whatlang(text: &str) -> Option<(&'static str, f64)> {
    type Said = Option<(&'static str, f64)>;
    static SAID: LazyLock<Mutex<HashMap<CompactString, Said>>> = LazyLock::new(Mutex::default);
    static DETECTOR: LazyLock<whatlang::Detector> = LazyLock::new(|| {
        let known = whatlang::Lang::all().iter().copied().filter(|language| !whatlang_code(*language).is_empty());
        whatlang::Detector::with_allowlist(known.collect())
    });
    let known = || SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(said) = known().get(text) {
        return *said;
    }
    let said = DETECTOR.detect(text).map(|found| (whatlang_code(found.lang()), found.confidence()));
    let mut all = known();
    if all.len() >= SAID_MAX {
        all.clear();
    }
    all.insert(text.into(), said);
    said
}

/// The ISO 639-1 code of what whatlang says, of the languages in the table.
fn whatlang_code(language: whatlang::Lang) -> &'static str {
    use whatlang::Lang;
    match language {
        Lang::Bel => "be",
        Lang::Bul => "bg",
        Lang::Cat => "ca",
        Lang::Ces => "cs",
        Lang::Dan => "da",
        Lang::Deu => "de",
        Lang::Eng => "en",
        Lang::Est => "et",
        Lang::Fin => "fi",
        Lang::Fra => "fr",
        Lang::Hun => "hu",
        Lang::Ind => "id",
        Lang::Ita => "it",
        Lang::Lav => "lv",
        Lang::Lit => "lt",
        Lang::Nld => "nl",
        Lang::Nob => "nb",
        Lang::Pes => "fa",
        Lang::Pol => "pl",
        Lang::Por => "pt",
        Lang::Ron => "ro",
        Lang::Rus => "ru",
        Lang::Slk => "sk",
        Lang::Slv => "sl",
        Lang::Spa => "es",
        Lang::Srp => "sr",
        Lang::Swe => "sv",
        Lang::Tur => "tr",
        Lang::Ukr => "uk",
        Lang::Urd => "ur",
        Lang::Vie => "vi",
        _ => "",
    }
}

/// The ISO 639-1 code of what whichlang says.
fn whichlang_code(language: whichlang::Lang) -> &'static str {
    use whichlang::Lang;
    match language {
        Lang::Ara => "ar",
        Lang::Cmn => "zh",
        Lang::Deu => "de",
        Lang::Eng => "en",
        Lang::Fra => "fr",
        Lang::Hin => "hi",
        Lang::Ita => "it",
        Lang::Jpn => "ja",
        Lang::Kor => "ko",
        Lang::Nld => "nl",
        Lang::Por => "pt",
        Lang::Rus => "ru",
        Lang::Spa => "es",
        Lang::Swe => "sv",
        Lang::Tur => "tr",
        Lang::Vie => "vi",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_whole() {
        let table: Table = catalog::table("natural.toml").read().expect("the table is valid");
        assert!(table.language.is_sorted_by(|a, b| a.id < b.id));
        for entry in &table.language {
            assert!(entry.id.len() == 2 && entry.script.len() == 4 && !entry.name.is_empty(), "{}", entry.id);
            let shared = table.language.iter().filter(|other| other.script == entry.script).count() > 1;
            assert_eq!(shared, !entry.words.is_empty(), "{}: words tell languages of one script apart", entry.id);
            assert!(entry.words.iter().all(|word| word.to_lowercase() == *word), "{}", entry.id);
        }
    }

    #[test]
    fn the_kinds_of_chinese_share_no_letter() {
        assert_eq!(SIMPLIFIED.chars().count(), TRADITIONAL.chars().count());
        assert!(!SIMPLIFIED.contains(|letter| TRADITIONAL.contains(letter)));
    }

    #[test]
    fn what_comes_again_gets_the_same_label() {
        let texts = ["prepare tokio util", "udp socket readiness methods", "socket metodi tokio"];
        let of = |text| by_whatlang(text).expect("it takes any text for something");
        let first = texts.map(of);
        assert_eq!(texts.map(of), first);
    }

    #[test]
    fn languages_of_messages() {
        let label = |message: &str| {
            NaturalLanguages::in_use().label(message, Judge::Fast).map(|label| (label.language, label.script))
        };
        for (message, expected) in [
            ("Fix typo in parse_args", Some(("en", "Latn"))),
            ("Bump serde from 1.0.1 to 1.0.2", Some(("en", "Latn"))),
            ("rustfmt", None),
            ("", None),
            ("1.0.2", None),
            ("`foo bar` x_y()", None),
            ("Fehler beim Laden der Daten behoben", Some(("de", "Latn"))),
            ("Corrige le calcul de l'impôt sur les sociétés", Some(("fr", "Latn"))),
            ("Corrige el cálculo de los datos", Some(("es", "Latn"))),
            ("Corrige o cálculo dos dados da página", Some(("pt", "Latn"))),
            ("Aggiornamento dei dati della regione", Some(("it", "Latn"))),
            ("Korjattu virhe joka esti haun", Some(("fi", "Latn"))),
            ("Исправлена ошибка в README.md", Some(("ru", "Cyrl"))),
            ("Виправлено помилку під час завантаження", Some(("uk", "Cyrl"))),
            ("修复 Windows 下 README 的错误", Some(("zh", "Hans"))),
            ("修復 Windows 的問題", Some(("zh", "Hant"))),
            ("ドキュメントを更新", Some(("ja", "Jpan"))),
            ("문서 수정", Some(("ko", "Kore"))),
            ("הוספת תיעוד", Some(("he", "Hebr"))),
            ("Mention Müller in the list of authors", Some(("en", "Latn"))),
            ("redis-cli: remove debugging message.", Some(("en", "Latn"))),
            ("Fix build\n\nSigned-off-by: Jürgen Größe <j@g>", Some(("en", "Latn"))),
        ] {
            assert_eq!(label(message), expected, "{message}");
        }
    }
}
