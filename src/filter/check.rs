//! What a rule can demand: tests of one field, combinations of them, and a few that look at several fields at once.

use std::{borrow::Cow, collections::HashSet, fmt};

use regex::{Regex, RegexSet, RegexSetBuilder};

use super::{
    Field, Layer, LicenseScope, Texts, Value, View,
    distance::{edit_distance, is_whitespace_only},
    expression::{Expression, Failure},
    measures::{self, Alphabet},
};

/// A ledger repeats at most so many characters of what it saw.
const SHOWN_CHARS_MAX: usize = 80;

/// An inclusive range; an open end has no bound.
#[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The least value.
    #[serde(default = "lowest")]
    pub min: f64,
    /// The greatest value.
    #[serde(default = "highest")]
    pub max: f64,
}

fn lowest() -> f64 {
    f64::NEG_INFINITY
}

fn highest() -> f64 {
    f64::INFINITY
}

impl Range {
    /// Whether `number` is in it.
    pub fn has(&self, number: f64) -> bool {
        self.min <= number && number <= self.max
    }

    fn has_count(&self, count: usize) -> bool {
        self.has(count as f64)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.min.is_finite(), self.max.is_finite()) {
            (true, true) => write!(f, "{} to {}", self.min, self.max),
            (true, false) => write!(f, "at least {}", self.min),
            (false, true) => write!(f, "at most {}", self.max),
            (false, false) => write!(f, "any"),
        }
    }
}

/// Kinds of characters whose share a rule can bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Characters {
    Alphabetic,
    Digit,
    NonAscii,
    Punctuation,
    Upper,
    White,
}

impl Characters {
    fn has(self, c: char) -> bool {
        match self {
            Characters::Alphabetic => c.is_alphabetic(),
            Characters::Digit => c.is_numeric(),
            Characters::NonAscii => !c.is_ascii(),
            Characters::Punctuation => !c.is_alphanumeric() && !c.is_whitespace(),
            Characters::Upper => c.is_uppercase(),
            Characters::White => c.is_whitespace(),
        }
    }
}

/// A test of one value.
#[derive(Clone, Debug)]
pub enum Test {
    /// Number of Unicode code points.
    Chars(Range),
    /// Number of words between white space.
    Words(Range),
    /// Number of lines.
    Lines(Range),
    /// Number of bytes.
    Bytes(Range),
    /// A number.
    Number(Range),
    /// The share of characters of a kind, 0 to 1.
    Ratio(Characters, Range),
    /// The share of letters that an alphabet does not have, 0 to 1.
    Foreign(Alphabet, Range),
    /// How many words are different, of all words.
    TypeToken(Range),
    /// How often a word comes in a row at most.
    Repeats(Range),
    /// Letters of a word, on average.
    WordChars(Range),
    /// One of the expressions matches somewhere.
    Regex(AnyRegex),
    /// One of the texts is in it.
    Contains(Vec<String>),
    /// It is one of the texts.
    OneOf(HashSet<String>),
    /// It begins with one of the texts.
    StartsWith(Vec<String>),
    /// It ends with one of the texts.
    EndsWith(Vec<String>),
    /// One of the globs names it; the second is how they were written.
    Glob(Regex, Vec<String>),
    /// A flag has this value.
    Is(bool),
    /// There is a value, or there is none.
    Present(bool),
}

/// What is told apart by a draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DrawOf {
    /// All changes of a commit share a draw.
    Commit,
    /// Every change has its own.
    Change,
}

/// What a rule demands.
#[derive(Clone, Debug)]
pub enum Check {
    /// Of one field.
    Field {
        /// Which one.
        field: Field,
        /// Whether it is compared in lower case.
        lower: bool,
        /// What is tested.
        test: Test,
        /// What holds where the field has no value.
        missing: bool,
        /// Field and test in words, for ledgers.
        bound: String,
    },
    /// All of them hold.
    All(Vec<Check>),
    /// One of them holds.
    Any(Vec<Check>),
    /// It does not hold.
    Not(Box<Check>),
    /// A licence policy takes the licence.
    Policy(String),
    /// The draw of a hash is below so many in a thousand.
    Thin {
        /// How many of a thousand stay.
        per_mille: u32,
        /// What is drawn.
        of: DrawOf,
    },
    /// Whether old and new contents differ in white space alone.
    WhitespaceOnly(bool),
    /// Characters to be inserted, removed or replaced between old and new contents. Counted up to the bounds.
    EditDistance(Range),
    /// The subject begins with an instruction verb of one of these languages.
    Verbs(Vec<Verbs>),
    /// An expression of minijinja is true.
    Expr(Expression),
}

/// The instruction verbs of a language.
#[derive(Clone, Debug)]
pub struct Verbs {
    /// The list's name.
    pub id: String,
    /// What begins a subject, in lower case.
    pub starts: Vec<String>,
    /// What ends one instead.
    pub ends: Vec<String>,
    /// Nouns that end one instead, by themselves or before one of `tails`.
    pub finals: Vec<String>,
    /// What makes a verb of such a noun.
    pub tails: Vec<String>,
    /// Whether words are set apart by spaces.
    pub spaces: bool,
}

impl Verbs {
    fn match_subject(&self, lower: &str) -> bool {
        let starts = self
            .starts
            .iter()
            .any(|verb| lower.strip_prefix(verb.as_str()).is_some_and(|rest| !self.spaces || rest.starts_with(' ')));
        let lower = lower.trim_end_matches(['.', '。']);
        if starts || self.ends.iter().any(|end| lower.ends_with(end.as_str())) {
            return true;
        }
        let is_final = |text: &str| self.finals.iter().any(|noun| text.ends_with(noun.as_str()));
        is_final(lower) || self.tails.iter().any(|tail| lower.strip_suffix(tail.as_str()).is_some_and(is_final))
    }
}

/// A candidate with the versions of its texts that hold for one rule.
pub struct At<'a> {
    /// The candidate.
    pub view: &'a dyn View,
    /// All versions of subject and message.
    pub texts: &'a Texts<'a>,
    /// Rewrites before the rule.
    pub epoch: usize,
}

impl<'a> At<'a> {
    fn value(&self, field: &Field) -> Value<'a> {
        match field {
            Field::Subject => Value::from(self.texts.subject(self.epoch)),
            Field::Message => Value::from(self.texts.message(self.epoch)),
            Field::MessageChomped => {
                let message = self.texts.message(self.epoch);
                Value::from(message.strip_suffix('\n').unwrap_or(message))
            }
            _ => self.view.value(field),
        }
    }

    fn text(&self, field: &Field) -> Cow<'a, str> {
        match self.value(field) {
            Value::Text(text) => text,
            _ => Cow::Borrowed(""),
        }
    }

    fn contents(&self) -> [Cow<'a, str>; 2] {
        [&Field::OldContents, &Field::NewContents].map(|field| self.text(field))
    }
}

impl Check {
    /// A test of a field.
    pub fn field(field: Field, lower: bool, test: Test, missing: bool) -> Self {
        let bound = format!("{} {test}", field.name());
        Check::Field { field, lower, test, missing, bound }
    }

    /// Whether the candidate is as demanded.
    ///
    /// # Errors
    /// An expression fails. Neither that it holds nor that it does not can be said then, so `not` does not turn it.
    pub fn holds(&self, at: &At<'_>) -> Result<bool, Failure> {
        Ok(match self {
            Check::Field { field: Field::Tokens, test: Test::Number(range), .. } => at.view.has_tokens_in(range),
            Check::Field { field, lower, test, missing, .. } => match at.value(field) {
                Value::Missing => match test {
                    Test::Present(wanted) => !wanted,
                    _ => *missing,
                },
                Value::Text(text) if *lower => test.holds(&Value::Text(Cow::Owned(text.to_lowercase()))),
                value => test.holds(&value),
            },
            Check::All(checks) => {
                for check in checks {
                    if !check.holds(at)? {
                        return Ok(false);
                    }
                }
                true
            }
            Check::Any(checks) => {
                for check in checks {
                    if check.holds(at)? {
                        return Ok(true);
                    }
                }
                false
            }
            Check::Not(check) => !check.holds(at)?,
            Check::Policy(policy) => at.view.policy_takes(policy),
            Check::Thin { per_mille, of } => {
                let commit = at.text(&Field::Commit);
                let drawn = match of {
                    DrawOf::Commit => format!("{commit}\0"),
                    DrawOf::Change => {
                        format!("{commit}\0{}\0{}", at.text(&Field::OldFile), at.text(&Field::NewFile))
                    }
                };
                draw(&drawn) < *per_mille
            }
            Check::WhitespaceOnly(wanted) => {
                let [old, new] = at.contents();
                *wanted == is_whitespace_only(&old, &new)
            }
            Check::EditDistance(range) => {
                let [old, new] = at.contents();
                range.has_count(edit_distance(&old, &new, bound(range)))
            }
            Check::Verbs(lists) => {
                let lower = at.text(&Field::Subject).to_lowercase();
                lists.iter().any(|verbs| verbs.match_subject(&lower))
            }
            Check::Expr(expression) => expression.holds(|field| at.value(field))?,
        })
    }

    /// The value that decides, and the bound, for a ledger.
    pub fn observe(&self, at: &At<'_>) -> (String, String) {
        match self {
            Check::Field { field: Field::Tokens, test: Test::Number(range), bound, .. } => {
                (at.view.tokens_shown(range), bound.clone())
            }
            Check::Field { field, test, bound, .. } => (test.observed(&at.value(field)), bound.clone()),
            Check::All(checks) => checks
                .iter()
                .find(|check| !check.holds(at).unwrap_or(false))
                .or(checks.first())
                .map_or_else(Default::default, |check| check.observe(at)),
            Check::Any(checks) => {
                let seen: Vec<(String, String)> = checks.iter().map(|check| check.observe(at)).collect();
                let join = |texts: Vec<&str>, word: &str| texts.join(word);
                (
                    join(seen.iter().map(|(value, _)| value.as_str()).collect(), "; "),
                    join(seen.iter().map(|(_, bound)| bound.as_str()).collect(), ", or "),
                )
            }
            Check::Not(check) => {
                let (value, bound) = check.observe(at);
                (value, format!("not: {bound}"))
            }
            Check::Policy(policy) => (shown(&at.text(&Field::LicenseSpdx)), format!("licence policy {policy}")),
            Check::Thin { per_mille, .. } => (String::new(), format!("{per_mille} of 1000 by hash")),
            Check::WhitespaceOnly(wanted) => {
                let [old, new] = at.contents();
                let is_only = is_whitespace_only(&old, &new);
                let word = if is_only { "only white space differs" } else { "more than white space differs" };
                (word.into(), format!("whitespace_only {wanted}"))
            }
            Check::EditDistance(range) => {
                let [old, new] = at.contents();
                // Counted up to where the range is decided, and no further.
                let (distance, most) = (edit_distance(&old, &new, bound(range)), bound(range));
                let seen = if distance < most { distance.to_string() } else { format!("{most} or more") };
                (seen, format!("edit distance {range}"))
            }
            Check::Verbs(lists) => {
                let names: Vec<&str> = lists.iter().map(|list| list.id.as_str()).collect();
                let subject = at.text(&Field::Subject);
                let first = subject.split_whitespace().next().unwrap_or_default();
                // Where verbs come last, the subject has to be seen.
                let seen = if lists.iter().any(|list| !list.finals.is_empty()) { subject.as_ref() } else { first };
                (shown(seen), format!("an instruction verb ({})", names.join(", ")))
            }
            Check::Expr(expression) => {
                let values: Vec<String> = expression
                    .fields
                    .iter()
                    .map(|(name, field)| format!("{name} = {}", shown(&plain(&at.value(field)))))
                    .collect();
                let values = values.join(", ");
                match expression.holds(|field| at.value(field)) {
                    Ok(_) => (values, expression.text.clone()),
                    Err(failure) => (format!("the expression fails: {failure}; {values}"), expression.text.clone()),
                }
            }
        }
    }

    /// Every field that it looks at.
    pub fn fields(&self) -> Vec<Field> {
        match self {
            Check::Field { field, .. } => vec![field.clone()],
            Check::All(checks) | Check::Any(checks) => checks.iter().flat_map(Check::fields).collect(),
            Check::Not(check) => check.fields(),
            Check::Policy(_) => vec![Field::LicenseSpdx],
            Check::Thin { of: DrawOf::Commit, .. } => vec![Field::Commit],
            Check::Thin { of: DrawOf::Change, .. } => vec![Field::Commit, Field::OldFile, Field::NewFile],
            Check::WhitespaceOnly(_) | Check::EditDistance(_) => vec![Field::OldContents, Field::NewContents],
            Check::Verbs(_) => vec![Field::Subject],
            Check::Expr(expression) => expression.fields.iter().map(|(_, field)| field.clone()).collect(),
        }
    }

    /// The earliest layer at which it can be checked.
    pub fn layer(&self, scope: LicenseScope) -> Layer {
        self.fields().iter().map(|field| field.layer(scope)).max().unwrap_or(Layer::Commit)
    }

    /// What it costs, in comparisons of short texts.
    pub fn cost(&self) -> u32 {
        let own = match self {
            Check::Field { test, .. } => match test {
                Test::Regex(_) | Test::Foreign(..) | Test::TypeToken(_) => 8,
                Test::Ratio(..) | Test::Glob(..) | Test::Contains(_) => 4,
                _ => 1,
            },
            Check::All(checks) | Check::Any(checks) => checks.iter().map(Check::cost).sum(),
            Check::Not(check) => check.cost(),
            Check::Policy(_) => 10,
            Check::Thin { .. } => 3,
            Check::WhitespaceOnly(_) => 20,
            Check::EditDistance(_) => 400,
            Check::Verbs(_) => 6,
            Check::Expr(_) => 30,
        };
        own + self.fields().iter().map(Field::cost).max().unwrap_or(0)
    }

    /// Its parts, itself the first.
    pub fn parts(&self) -> Vec<&Check> {
        let mut parts = vec![self];
        match self {
            Check::All(checks) | Check::Any(checks) => parts.extend(checks.iter().flat_map(Check::parts)),
            Check::Not(check) => parts.extend(check.parts()),
            _ => {}
        }
        parts
    }
}

/// Expressions of which one has to match. Several are looked for at once; one alone is faster by itself.
#[derive(Clone, Debug)]
pub struct AnyRegex {
    any: RegexSet,
    each: Vec<Regex>,
}

impl AnyRegex {
    /// Of `each`.
    ///
    /// # Errors
    /// Together they are larger than an automaton may be.
    pub fn new(each: Vec<Regex>) -> Result<Self, regex::Error> {
        let several = each.iter().filter(|_| each.len() > 1).map(Regex::as_str);
        Ok(AnyRegex { any: RegexSetBuilder::new(several).build()?, each })
    }

    fn is_match(&self, text: &str) -> bool {
        match &self.each[..] {
            [only] => only.is_match(text),
            _ => self.any.is_match(text),
        }
    }
}

impl Test {
    fn holds(&self, value: &Value<'_>) -> bool {
        match (self, value) {
            (Test::Present(wanted), _) => *wanted,
            (Test::Is(wanted), Value::Flag(flag)) => wanted == flag,
            (Test::Number(range), Value::Number(number)) => range.has(*number),
            // Columns of lists are text.
            (Test::Number(range), Value::Text(text)) => text.trim().parse().is_ok_and(|number| range.has(number)),
            (test, Value::Text(text)) => test.holds_text(text),
            (test, Value::Number(_) | Value::Flag(_)) => test.holds_text(&plain(value)),
            (_, Value::Missing) => false,
        }
    }

    fn holds_text(&self, text: &str) -> bool {
        match self {
            Test::Chars(range) => range.has_count(text.chars().count()),
            Test::Words(range) => range.has_count(text.split_whitespace().count()),
            Test::Lines(range) => range.has_count(text.lines().count()),
            Test::Bytes(range) => range.has_count(text.len()),
            Test::Ratio(characters, range) => range.has(ratio(text, *characters)),
            Test::Foreign(alphabet, range) => range.has(alphabet.foreign(text)),
            Test::TypeToken(range) => range.has(measures::type_token(text)),
            Test::Repeats(range) => range.has_count(measures::repeats(text)),
            Test::WordChars(range) => range.has(measures::word_chars(text)),
            Test::Regex(expressions) => expressions.is_match(text),
            Test::Contains(parts) => parts.iter().any(|part| text.contains(part.as_str())),
            Test::OneOf(texts) => texts.contains(text),
            Test::StartsWith(starts) => starts.iter().any(|start| text.starts_with(start.as_str())),
            Test::EndsWith(ends) => ends.iter().any(|end| text.ends_with(end.as_str())),
            Test::Glob(glob, _) => glob.is_match(text),
            Test::Number(_) | Test::Is(_) | Test::Present(_) => false,
        }
    }

    fn observed(&self, value: &Value<'_>) -> String {
        let text = plain(value);
        match self {
            _ if *value == Value::Missing => "none".into(),
            Test::Chars(_) => text.chars().count().to_string(),
            Test::Words(_) => text.split_whitespace().count().to_string(),
            Test::Lines(_) => text.lines().count().to_string(),
            Test::Bytes(_) => text.len().to_string(),
            Test::Ratio(characters, _) => format!("{:.3}", ratio(&text, *characters)),
            Test::Foreign(alphabet, _) => format!("{:.3}", alphabet.foreign(&text)),
            Test::TypeToken(_) => format!("{:.3}", measures::type_token(&text)),
            Test::Repeats(_) => measures::repeats(&text).to_string(),
            Test::WordChars(_) => format!("{:.3}", measures::word_chars(&text)),
            Test::Regex(expressions) => match expressions.each.iter().find_map(|expression| expression.find(&text)) {
                Some(found) => shown(found.as_str()),
                None => shown(&text),
            },
            Test::Contains(parts) => match parts.iter().find(|part| text.contains(part.as_str())) {
                Some(part) => shown(part),
                None => shown(&text),
            },
            _ => shown(&text),
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |texts: &mut dyn Iterator<Item = &str>| {
            let all: Vec<&str> = texts.collect();
            let more = if all.len() > 8 { format!(" and {} more", all.len() - 8) } else { String::new() };
            format!("{}{more}", all.iter().take(8).map(|text| format!("{text:?}")).collect::<Vec<_>>().join(", "))
        };
        match self {
            Test::Chars(range) => write!(f, "{range} chars"),
            Test::Words(range) => write!(f, "{range} words"),
            Test::Lines(range) => write!(f, "{range} lines"),
            Test::Bytes(range) => write!(f, "{range} bytes"),
            Test::Number(range) => write!(f, "{range}"),
            Test::Ratio(characters, range) => write!(f, "share of {characters:?} {range}"),
            Test::Foreign(alphabet, range) => write!(f, "share of letters other than {alphabet} {range}"),
            Test::TypeToken(range) => write!(f, "share of different words {range}"),
            Test::Repeats(range) => write!(f, "{range} times the same word in a row"),
            Test::WordChars(range) => write!(f, "{range} letters a word"),
            Test::Regex(expressions) => {
                write!(f, "matches {}", list(&mut expressions.each.iter().map(Regex::as_str)))
            }
            Test::Contains(parts) => write!(f, "contains {}", list(&mut parts.iter().map(String::as_str))),
            Test::OneOf(texts) => {
                let mut sorted: Vec<&str> = texts.iter().map(String::as_str).collect();
                sorted.sort_unstable();
                write!(f, "is {}", list(&mut sorted.into_iter()))
            }
            Test::StartsWith(starts) => write!(f, "starts with {}", list(&mut starts.iter().map(String::as_str))),
            Test::EndsWith(ends) => write!(f, "ends with {}", list(&mut ends.iter().map(String::as_str))),
            Test::Glob(_, globs) => write!(f, "is named by {}", list(&mut globs.iter().map(String::as_str))),
            Test::Is(wanted) => write!(f, "is {wanted}"),
            Test::Present(wanted) => write!(f, "is {}", if *wanted { "there" } else { "not there" }),
        }
    }
}

fn ratio(text: &str, characters: Characters) -> f64 {
    let (mut all, mut of_kind) = (0u64, 0u64);
    for c in text.chars() {
        all += 1;
        of_kind += u64::from(characters.has(c));
    }
    if all == 0 { 0.0 } else { of_kind as f64 / all as f64 }
}

pub(super) fn plain<'v>(value: &'v Value<'_>) -> Cow<'v, str> {
    match value {
        Value::Missing => Cow::Borrowed(""),
        Value::Text(text) => Cow::Borrowed(text),
        Value::Number(number) => Cow::Owned(number.to_string()),
        Value::Flag(flag) => Cow::Owned(flag.to_string()),
    }
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}…", &text[..at]),
    }
}

/// A number below 1000 that depends on `text` alone: the first 8 bytes of its BLAKE3 hash, little-endian, modulo 1000.
pub fn draw(text: &str) -> u32 {
    let hash = blake3::hash(text.as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.as_bytes()[..8]);
    u32::try_from(u64::from_le_bytes(bytes) % 1000).unwrap_or(0)
}

/// How far a distance has to be counted for a range to be decided.
fn bound(range: &Range) -> usize {
    let bound = |number: f64| if number.is_finite() && number >= 0.0 { number as usize } else { 0 };
    bound(range.min).max(bound(range.max)) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_fixed_and_even() {
        assert_eq!(draw("4b825dc642cb6eb9a060e54bf8d69288fbee4904\0"), 507);
        let below = (0..10_000).filter(|n| draw(&n.to_string()) < 100).count();
        assert!((900..1100).contains(&below), "{below}");
    }
}
