//! Reads what a rule demands: the keys of a rule, and why they can't mean anything together.

use std::sync::OnceLock;

use serde::Deserialize;
use toml::Table;

use super::{
    Field, Type,
    check::{AnyRegex, Characters, Check, DrawOf, Range, Test, Verbs},
    expression::Expression,
    measures::Alphabet,
    pattern::{glob, regex},
    tokens,
};

/// The lists of verbs, which `verbs` names.
pub(super) const VERBS: &str = include_str!("../../filters/verbs.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    field: Option<String>,
    #[serde(default)]
    lower: bool,
    missing: Option<Missing>,
    chars: Option<Range>,
    words: Option<Range>,
    lines: Option<Range>,
    bytes: Option<Range>,
    value: Option<Range>,
    tokens: Option<RawTokens>,
    ratio: Option<RawRatio>,
    foreign: Option<RawForeign>,
    type_token: Option<Range>,
    repeats: Option<Range>,
    word_chars: Option<Range>,
    regex: Option<OneOrMany>,
    contains: Option<OneOrMany>,
    equals: Option<OneOrMany>,
    one_of: Option<OneOrMany>,
    starts_with: Option<OneOrMany>,
    ends_with: Option<OneOrMany>,
    glob: Option<OneOrMany>,
    is: Option<bool>,
    present: Option<bool>,
    license: Option<String>,
    thin: Option<RawThin>,
    whitespace_only: Option<bool>,
    edit_distance: Option<Range>,
    verbs: Option<OneOrMany>,
    expr: Option<String>,
    all: Option<Vec<Table>>,
    any: Option<Vec<Table>>,
    not: Option<Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTokens {
    min: Option<f64>,
    max: Option<f64>,
    #[serde(default)]
    exact: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Missing {
    Keep,
    Drop,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRatio {
    of: Characters,
    #[serde(default)]
    min: f64,
    #[serde(default = "one")]
    max: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawForeign {
    letters: String,
    #[serde(default)]
    min: f64,
    #[serde(default = "one")]
    max: f64,
}

fn one() -> f64 {
    1.0
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawThin {
    per_mille: u32,
    of: DrawOf,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn all(self) -> Vec<String> {
        match self {
            OneOrMany::One(text) => vec![text],
            OneOrMany::Many(texts) => texts,
        }
    }
}

const KINDS: &str = "chars, words, lines, bytes, value, tokens, ratio, foreign, type_token, \
                     repeats, word_chars, regex, contains, equals, one_of, starts_with, \
                     ends_with, glob, is, present, license, thin, whitespace_only, edit_distance, verbs, expr, all, any, not";

/// Reads what a rule of these keys demands.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn demand(table: Table) -> Result<Check, String> {
    let raw = Raw::deserialize(toml::Value::Table(table)).map_err(|e| e.message().to_owned())?;
    let Raw { field, lower, missing, .. } = &raw;
    let (field_name, lower) = (field.clone(), *lower);
    let (has_missing, missing) = (missing.is_some(), matches!(missing, Some(Missing::Keep)));
    let count = |range: Option<Range>, key| range.map(|range| bounds(range, key, 0.0, f64::INFINITY)).transpose();
    let texts = |texts: Option<OneOrMany>, key| texts.map(|texts| not_empty(texts.all(), key)).transpose();
    let parts = |list: Option<OneOrMany>, key| match texts(list, key)? {
        Some(texts) if texts.iter().any(String::is_empty) => {
            Err(format!("{key} names an empty text, which is in every one"))
        }
        other => Ok(other),
    };
    let mut tests = Vec::new();
    tests.extend(count(raw.chars, "chars")?.map(Test::Chars));
    tests.extend(count(raw.words, "words")?.map(Test::Words));
    tests.extend(count(raw.lines, "lines")?.map(Test::Lines));
    tests.extend(count(raw.bytes, "bytes")?.map(Test::Bytes));
    let value = raw.value.map(|range| bounds(range, "value", f64::NEG_INFINITY, f64::INFINITY)).transpose()?;
    tests.extend(value.map(Test::Number));
    if let Some(RawRatio { of, min, max }) = raw.ratio {
        tests.push(Test::Ratio(of, bounds(Range { min, max }, "ratio", 0.0, 1.0)?));
    }
    if let Some(RawForeign { letters, min, max }) = raw.foreign {
        tests.push(Test::Foreign(Alphabet::new(&letters)?, bounds(Range { min, max }, "foreign", 0.0, 1.0)?));
    }
    let type_token = raw.type_token.map(|range| bounds(range, "type_token", 0.0, 1.0)).transpose()?;
    tests.extend(type_token.map(Test::TypeToken));
    tests.extend(count(raw.repeats, "repeats")?.map(Test::Repeats));
    tests.extend(count(raw.word_chars, "word_chars")?.map(Test::WordChars));
    if let Some(patterns) = texts(raw.regex, "regex")? {
        let each = patterns.iter().map(|pattern| regex(pattern)).collect::<Result<_, _>>()?;
        tests.push(Test::Regex(AnyRegex::new(each).map_err(|e| format!("the expressions together: {e}"))?));
    }
    tests.extend(parts(raw.contains, "contains")?.map(Test::Contains));
    tests.extend(texts(raw.equals, "equals")?.map(|texts| Test::OneOf(texts.into_iter().collect())));
    tests.extend(texts(raw.one_of, "one_of")?.map(|texts| Test::OneOf(texts.into_iter().collect())));
    tests.extend(parts(raw.starts_with, "starts_with")?.map(Test::StartsWith));
    tests.extend(parts(raw.ends_with, "ends_with")?.map(Test::EndsWith));
    if let Some(globs) = texts(raw.glob, "glob")? {
        if let Some(other) = globs.iter().find(|glob| glob.contains(['[', ']', '{', '}'])) {
            return Err(format!(
                "the glob {other:?} has more than *, ** and ?, which is all that globs know; try regex"
            ));
        }
        tests.push(Test::Glob(glob(&globs)?, globs));
    }
    tests.extend(raw.is.map(Test::Is));
    tests.extend(raw.present.map(Test::Present));
    let mut checks: Vec<Check> = Vec::new();
    let tested = !tests.is_empty();
    if tested {
        let name = field_name.as_deref().ok_or("it has no field = \"…\" to test")?;
        let field = Field::named(name)?;
        tests.iter().try_for_each(|test| fits(test, &field, lower))?;
        checks.extend(tests.into_iter().map(|test| Check::field(field.clone(), lower, test, missing)));
    } else if field_name.is_some() {
        return Err(format!("it has a field and no test of it; there are {KINDS}"));
    } else if lower || has_missing && raw.tokens.is_none() {
        return Err("lower and missing belong to a test of a field".into());
    }
    if let Some(RawTokens { min, max, exact }) = raw.tokens {
        if exact && tokens::digest().is_none() {
            return Err("it counts tokens exactly: give --tokenizer FILE, the tokenizer.json of a model".into());
        }
        let range = Range { min: min.unwrap_or(f64::NEG_INFINITY), max: max.unwrap_or(f64::INFINITY) };
        let range = bounds(range, "tokens", 0.0, f64::INFINITY)?;
        checks.push(Check::field(Field::Tokens, false, Test::Number(range), missing));
    }
    checks.extend(raw.license.map(Check::Policy));
    if let Some(RawThin { per_mille, of }) = raw.thin {
        if !(1..1000).contains(&per_mille) {
            return Err(format!("thin keeps {per_mille} in 1000; it has to be 1 to 999"));
        }
        checks.push(Check::Thin { per_mille, of });
    }
    checks.extend(raw.whitespace_only.map(Check::WhitespaceOnly));
    checks.extend(count(raw.edit_distance, "edit_distance")?.map(Check::EditDistance));
    if let Some(names) = texts(raw.verbs, "verbs")? {
        checks.push(Check::Verbs(verbs(&names)?));
    }
    if let Some(text) = raw.expr {
        checks.push(Check::Expr(Expression::new(text)?));
    }
    let inner = |tables, key| not_empty(tables, key)?.into_iter().map(demand).collect::<Result<Vec<_>, _>>();
    if let Some(tables) = raw.all {
        checks.push(Check::All(inner(tables, "all")?));
    }
    if let Some(tables) = raw.any {
        checks.push(Check::Any(inner(tables, "any")?));
    }
    if let Some(table) = raw.not {
        checks.push(Check::Not(Box::new(demand(table)?)));
    }
    match checks.len() {
        0 => Err(format!("it demands nothing; there are {KINDS}")),
        1 => Ok(checks.swap_remove(0)),
        _ => Ok(Check::All(checks)),
    }
}

fn not_empty<T>(list: Vec<T>, key: &str) -> Result<Vec<T>, String> {
    if list.is_empty() { Err(format!("{key} is an empty list, which decides the same for all")) } else { Ok(list) }
}

/// A range that some values between `lowest` and `highest` are in, and some are not.
fn bounds(range: Range, key: &str, lowest: f64, highest: f64) -> Result<Range, String> {
    let Range { min, max } = range;
    if min.is_nan() || max.is_nan() || min > max {
        return Err(format!("{key} has min {min} and max {max}: nothing lies between"));
    }
    if max < lowest || min > highest {
        return Err(format!("{key} is {range}, and is never: it lies between {lowest} and {highest}"));
    }
    if min <= lowest && max >= highest {
        return Err(format!("{key} has no bound that anything is beyond: give min, max or both"));
    }
    Ok(range)
}

/// Whether `test` says something of values like those of `field`.
fn fits(test: &Test, field: &Field, lower: bool) -> Result<(), String> {
    let (name, kind) = (field.name(), field.value_type());
    let right = match (kind, test) {
        (_, Test::Present(_)) | (Type::Number, Test::Number(_)) | (Type::Flag, Test::Is(_)) => None,
        (Type::Number, _) => Some("is a number: its tests are value = { min, max } and present"),
        (Type::Flag, _) => Some("is yes or no: its tests are is = true, is = false and present"),
        (Type::Text | Type::Column, Test::Is(_)) => Some("is no flag: is = true never holds; try equals or present"),
        (Type::Text, Test::Number(_)) => {
            Some("is text: its tests are regex, contains, equals, one_of, chars and others, but not value")
        }
        (Type::Text | Type::Column, _) => None,
    };
    if let Some(right) = right {
        return Err(format!("{name} {right}"));
    }
    let capital = |text: &&String| **text != text.to_lowercase();
    let never = match test {
        Test::OneOf(texts) => texts.iter().filter(capital).min(),
        Test::Contains(texts) | Test::StartsWith(texts) | Test::EndsWith(texts) => texts.iter().find(capital),
        _ => None,
    };
    match never.filter(|_| lower) {
        Some(text) => Err(format!("with lower = true nothing is {text:?}; write it in lower case")),
        None => Ok(()),
    }
}

fn verbs(names: &[String]) -> Result<Vec<Verbs>, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct RawVerbs {
        id: String,
        spaces: bool,
        starts: Vec<String>,
        #[serde(default)]
        ends: Vec<String>,
        #[serde(default)]
        finals: Vec<String>,
        #[serde(default)]
        tails: Vec<String>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct All {
        verbs: Vec<RawVerbs>,
    }
    static ALL: OnceLock<Vec<Verbs>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let All { verbs } = toml::from_str(VERBS).expect("a test reads the compiled-in lists");
        verbs
            .into_iter()
            .map(|RawVerbs { id, spaces, starts, ends, finals, tails }| Verbs {
                id,
                starts,
                ends,
                finals,
                tails,
                spaces,
            })
            .collect()
    });
    let find = |name: &String| {
        let known = || all.iter().map(|list| list.id.as_str()).collect::<Vec<_>>().join(", ");
        all.iter()
            .find(|list| list.id == *name)
            .cloned()
            .ok_or_else(|| format!("no verbs of {name}; there are {}", known()))
    };
    names.iter().map(find).collect()
}
