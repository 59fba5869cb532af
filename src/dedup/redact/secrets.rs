//! Secrets by the rules of `filters/secrets.toml`, each of them in one line of a text.
//!
//! One automaton over the keywords of all rules goes through a text; an expression is only tried around its keywords, as far
//! as a match of it can reach, and at most once at each place. So the time is bounded by the length of the text, whatever is
//! in it.

use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use regex_automata::{
    Input, meta,
    util::syntax::{self, parse_with},
};
use serde::Deserialize;

use super::{Kind, Value};

/// The rules that are compiled in.
pub const TABLE: &str = include_str!("../../../filters/secrets.toml");

/// The longest match of an expression. The longest secrets are JSON web tokens.
const MATCH_BYTES_MAX: usize = 16_384;

/// Share of the entropy of different letters that values drawn by lot have: of twelve letters and digits 1 in 500 has less.
const DRAWN_ENTROPY: f64 = 0.85;

/// Shorter ones may be words.
const DRAWN_BYTES_MIN: usize = 8;

/// A value without digits changes between capitals and small letters so often at the least, and two times in five letters.
const CASE_CHANGES_MIN: usize = 5;

/// Memory of a compiled expression.
const EXPRESSION_BYTES_MAX: usize = 10 << 20;

/// Shorter keywords stand in every text.
const KEYWORD_BYTES_MIN: usize = 3;

/// What is wrong with a table of rules.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("it is no table of secrets: {0}")]
    Parse(#[from] toml::de::Error),
    #[error("the rule {rule} of secrets: {reason}")]
    Rule { rule: String, reason: String },
}

/// What else a secret has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Check {
    /// The last six digits are the CRC-32 of what stands between them and the prefix, in base 62.
    Crc32,
    /// Letters and digits, or letters of both cases that no name has in such an order, and none of the weak words: what a generator
    /// draws and a person does not write. What the match has before it is no harmless name. A short value needs no more entropy
    /// than nearly all of its length have that are drawn.
    Mixed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    placeholders: Vec<String>,
    harmless: Vec<String>,
    weak: Vec<String>,
    secret: Vec<toml::Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    keywords: Vec<String>,
    regex: String,
    #[serde(default)]
    entropy_min: f64,
    check: Option<Check>,
    why: String,
    find: Vec<String>,
    #[serde(default)]
    pass: Vec<String>,
}

struct Rule {
    id: String,
    regex: meta::Regex,
    /// The longest match in bytes.
    reach: usize,
    entropy_min: f64,
    check: Option<Check>,
}

/// The rules, ready to search.
pub struct Rules {
    rules: Vec<Rule>,
    keywords: AhoCorasick,
    /// For each keyword the rules that have it.
    rules_of: Vec<Vec<u16>>,
    /// Words of examples, which no secret has.
    placeholders: AhoCorasick,
    /// Parts of names of what is no secret, although its name has a word such as token in it.
    harmless: AhoCorasick,
    /// Words that a person would write, which a secret that only its name gives away does not have.
    weak: AhoCorasick,
}

fn wrong(rule: &str, reason: impl ToString) -> Error {
    Error::Rule { rule: rule.to_owned(), reason: reason.to_string() }
}

impl Rules {
    /// Reads a table, and tries its examples.
    ///
    /// # Errors
    /// It is no table of rules, or a rule is not as it should be.
    pub fn parse(text: &str) -> Result<Rules, Error> {
        let table: Table = toml::from_str(text)?;
        let (mut rules, mut examples) = (Vec::new(), Vec::new());
        let (mut keywords, mut rules_of): (Vec<String>, Vec<Vec<u16>>) = (Vec::new(), Vec::new());
        for (number, entry) in table.secret.into_iter().enumerate() {
            let id = entry.get("id").and_then(|id| id.as_str()).map_or(format!("no. {}", number + 1), str::to_owned);
            let entry: Entry = entry.try_into().map_err(|e: toml::de::Error| wrong(&id, e.message()))?;
            for keyword in entry.keywords.iter().map(|keyword| keyword.to_ascii_lowercase()) {
                let at = keywords.iter().position(|known| *known == keyword).unwrap_or_else(|| {
                    keywords.push(keyword);
                    rules_of.push(Vec::new());
                    keywords.len() - 1
                });
                rules_of[at].push(u16::try_from(number).map_err(|_| wrong(&id, "there are too many rules"))?);
            }
            let (rule, of_rule) = compile(entry)?;
            rules.push(rule);
            examples.push(of_rule);
        }
        if let Some(pair) = rules.windows(2).find(|pair| pair[0].id >= pair[1].id) {
            return Err(wrong(&pair[1].id, "rules are sorted by id, and each id is there once"));
        }
        let automaton = |words: &[String]| {
            let mut builder = AhoCorasick::builder();
            builder.ascii_case_insensitive(true).kind(Some(AhoCorasickKind::DFA));
            builder.build(words).map_err(|e| wrong("(all)", e))
        };
        let rules = Rules {
            keywords: automaton(&keywords)?,
            rules_of,
            placeholders: automaton(&table.placeholders)?,
            harmless: automaton(&table.harmless)?,
            weak: automaton(&table.weak)?,
            rules,
        };
        for (number, (find, pass)) in examples.iter().enumerate() {
            rules.try_examples(number as u16, find, pass)?;
        }
        Ok(rules)
    }

    fn try_examples(&self, number: u16, find: &[String], pass: &[String]) -> Result<(), Error> {
        for (example, is_secret) in find.iter().map(|e| (e, true)).chain(pass.iter().map(|e| (e, false))) {
            // The mark keeps scanners of others from taking an example for real.
            let text = example.replace('|', "");
            let mut found = Vec::new();
            self.find(&text, 0..text.len(), &mut found);
            if found.iter().any(|value| value.rule == Some(number)) != is_secret {
                let does = if is_secret { "is not found" } else { "is found, and should pass" };
                return Err(wrong(self.id(number), format!("the example {example} {does}")));
            }
        }
        Ok(())
    }

    /// The id of a rule.
    pub fn id(&self, number: u16) -> &str {
        &self.rules[usize::from(number)].id
    }

    /// Whether the rule goes by the name that something has, and yields to one that knows the secret's form.
    pub fn is_generic(&self, number: u16) -> bool {
        self.rules[usize::from(number)].check == Some(Check::Mixed)
    }

    /// Adds the secrets in `range`, which is whole lines of `text`.
    pub fn find(&self, text: &str, range: Range<usize>, found: &mut Vec<Value>) {
        let mut windows: Vec<Range<usize>> = vec![0..0; self.rules.len()];
        // Every occurrence counts, also one in another keyword.
        for hit in self.keywords.find_overlapping_iter(aho_corasick::Input::new(text).range(range.clone())) {
            for number in &self.rules_of[hit.pattern().as_usize()] {
                let reach = self.rules[usize::from(*number)].reach;
                let window = line_around(text.as_bytes(), hit.range(), reach, &range);
                let waiting = &mut windows[usize::from(*number)];
                if window.start <= waiting.end && waiting.start < waiting.end {
                    waiting.start = waiting.start.min(window.start);
                    waiting.end = waiting.end.max(window.end);
                } else {
                    let waiting = std::mem::replace(waiting, window);
                    self.search(*number, text, waiting, found);
                }
            }
        }
        for (number, window) in windows.into_iter().enumerate() {
            self.search(number as u16, text, window, found);
        }
    }

    fn search(&self, number: u16, text: &str, window: Range<usize>, found: &mut Vec<Value>) {
        let rule = &self.rules[usize::from(number)];
        let mut captures = rule.regex.create_captures();
        let mut at = window.start;
        while at < window.end {
            rule.regex.search_captures(&Input::new(text).range(at..window.end), &mut captures);
            let Some(span) = captures.get_group(1) else { return };
            // An expression of bytes may cut a letter; what is masked is whole letters.
            let (start, end) = (text.floor_char_boundary(span.start), text.ceil_char_boundary(span.end));
            let name_start = captures.get_match().map_or(start, |whole| text.ceil_char_boundary(whole.start()));
            if self.is_secret(rule, &text[name_start.min(start)..start], &text[start..end]) {
                found.push(Value { range: start..end, kind: Kind::Secrets, rule: Some(number) });
            }
            at = end.max(at + 1);
        }
    }

    /// Whether `value`, before which the match has `name`, is a secret.
    fn is_secret(&self, rule: &Rule, name: &str, value: &str) -> bool {
        let of_drawn = match rule.check {
            Some(Check::Mixed) if value.len() >= DRAWN_BYTES_MIN => DRAWN_ENTROPY * (value.len() as f64).log2(),
            _ => f64::INFINITY,
        };
        if entropy(value) < rule.entropy_min.min(of_drawn) || self.placeholders.is_match(value) {
            return false;
        }
        match rule.check {
            None => true,
            Some(Check::Crc32) => has_checksum(value),
            Some(Check::Mixed) => {
                let has = |is: fn(&u8) -> bool| value.as_bytes().iter().any(is);
                has(u8::is_ascii_alphabetic)
                    && (has(u8::is_ascii_digit) || has_drawn_letters(value))
                    && !self.weak.is_match(value)
                    && !self.harmless.is_match(name)
            }
        }
    }
}

/// What a rule finds, and what it lets pass.
type Examples = (Vec<String>, Vec<String>);

/// A rule with its examples.
fn compile(entry: Entry) -> Result<(Rule, Examples), Error> {
    let Entry { id, keywords, regex, entropy_min, check, why, find, pass } = entry;
    let is_keyword = |word: &String| {
        word.len() >= KEYWORD_BYTES_MIN && word.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
    };
    if keywords.is_empty() || !keywords.iter().all(is_keyword) {
        return Err(wrong(&id, "it needs keywords, each of three characters of ASCII or more"));
    }
    if why.trim().is_empty() || find.is_empty() {
        return Err(wrong(&id, "it says why it is there, and has an example in `find`"));
    }
    let syntax = syntax::Config::new().unicode(false).utf8(false).multi_line(true);
    let parsed = parse_with(&regex, &syntax).map_err(|e| wrong(&id, e))?;
    let Some(reach) = parsed.properties().maximum_len().filter(|most| *most <= MATCH_BYTES_MAX) else {
        return Err(wrong(&id, format!("its expression has to end after {MATCH_BYTES_MAX} bytes: bound what repeats")));
    };
    if parsed.properties().explicit_captures_len() != 1 {
        return Err(wrong(&id, "its expression needs one group, which is the secret"));
    }
    let config = meta::Config::new().utf8_empty(false).nfa_size_limit(Some(EXPRESSION_BYTES_MAX));
    let regex = meta::Regex::builder().configure(config).build_from_hir(&parsed).map_err(|e| wrong(&id, e))?;
    Ok((Rule { id, regex, reach, entropy_min, check }, (find, pass)))
}

/// The part of the line of `hit` that is at most `reach` from it, within `range`.
fn line_around(text: &[u8], hit: Range<usize>, reach: usize, range: &Range<usize>) -> Range<usize> {
    let from = hit.end.saturating_sub(reach).max(range.start).min(hit.start);
    let to = (hit.start + reach).min(range.end).max(hit.end);
    let start = memchr::memrchr(b'\n', &text[from..hit.start]).map_or(from, |at| from + at + 1);
    let end = memchr::memchr(b'\n', &text[hit.end..to]).map_or(to, |at| hit.end + at);
    start..end
}

/// Shannon entropy in bits a character.
fn entropy(value: &str) -> f64 {
    let mut counts = [0_u32; 256];
    value.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    let len = value.len() as f64;
    let of = |count: &u32| f64::from(*count) / len * (len / f64::from(*count)).log2();
    counts.iter().filter(|count| **count > 0).map(of).sum()
}

/// Whether letters change their case as often as drawn ones do; words that begin with a capital each change twice a word.
fn has_drawn_letters(value: &str) -> bool {
    let letters: Vec<u8> = value.bytes().filter(u8::is_ascii_alphabetic).collect();
    let changes =
        letters.windows(2).filter(|pair| pair[0].is_ascii_uppercase() != pair[1].is_ascii_uppercase()).count();
    changes >= CASE_CHANGES_MIN && 5 * changes >= 2 * letters.len()
}

/// Whether the last six digits are the CRC-32 of those behind the first `_`, in base 62 (GitHub's post on its token formats).
fn has_checksum(value: &str) -> bool {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let Some((_, body)) = value.split_once('_') else { return false };
    let Some((drawn, checksum)) = body.split_at_checked(body.len().saturating_sub(6)) else { return false };
    let mut crc = flate2::Crc::new();
    crc.update(drawn.as_bytes());
    let mut rest = crc.sum();
    checksum.bytes().rev().all(|byte| {
        let digit = DIGITS[(rest % 62) as usize];
        rest /= 62;
        byte == digit
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = "placeholders = ['example']\nharmless = ['next']\nweak = ['test']\n[[secret]]\nid = 'a-token'\nkeywords = ['tok_']\n\
                        regex = '\\b(tok_[a-z]{8})\\b'\nwhy = 'A form.'\nfind = ['tok|_abcdefgh']\n";

    #[test]
    fn compiled_in_rules_find_their_examples() {
        let rules = Rules::parse(TABLE).expect("a table with examples that hold");
        assert!(rules.rules.len() >= 40);
    }

    #[test]
    fn wrong_rules_are_named() {
        assert!(Rules::parse(RULE).is_ok());
        for (from, to, reason) in [
            ("why =", "because = 'x'\nwhy =", "a-token of secrets: unknown field `because`"),
            ("[a-z]{8}", "[a-z]{8", "a-token of secrets: "),
            ("[a-z]{8}", "[a-z]+", "bound what repeats"),
            ("(tok_", "(?:tok_", "one group"),
            ("find = ['tok|_abcdefgh']", "", "missing field `find`"),
            ("find = ['tok|_abcdefgh']", "find = []", "has an example"),
            ("tok|_abcdefgh", "tok|_abcdefg", "is not found"),
            ("why = 'A form.'", "why = ' '", "says why"),
            ("'tok_'", "'to'", "three characters"),
            ("id = 'a-token'\n", "", "the rule no. 1 of secrets: missing field `id`"),
            ("why = 'A form.'", "check = 'sha1'\nwhy = 'A form.'", "unknown variant `sha1`"),
            ("tok|_abcdefgh']", "tok|_abcdefgh']\npass = ['tok_hgfedcba']", "should pass"),
        ] {
            let text = RULE.replace(from, to);
            assert_ne!(text, RULE, "{from}");
            let error = Rules::parse(&text).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(reason), "{from}: {error}");
        }
        let twice = format!("{RULE}{}", &RULE[RULE.find("[[").unwrap_or(0)..]);
        assert!(Rules::parse(&twice).err().is_some_and(|error| error.to_string().contains("sorted")));
    }

    #[test]
    fn a_secret_is_found_wherever_its_line_is() {
        let rules = Rules::parse(RULE).expect("rules");
        let count = |text: &str| {
            let mut found = Vec::new();
            rules.find(text, 0..text.len(), &mut found);
            found.len()
        };
        let long = "x ".repeat(1 << 19);
        for (text, expected) in [
            ("tok_abcdefgh", 1),
            ("TOK_ tok_abcdefgh\ntok_hgfedcba", 2),
            ("tok_abcd\nefgh", 0),
            ("tok_abcdefghi", 0),
            ("é tok_abcdefgh é", 1),
            ("tok_ tok_ tok_tok_abcdefgh", 0),
            (&format!("{long}tok_abcdefgh {long}tok_abcdefgh{long}"), 1),
            (&"tok_abcdefgh ".repeat(10_000), 10_000),
        ] {
            assert_eq!(count(text), expected, "{}", &text[..text.len().min(40)]);
        }
    }
}
