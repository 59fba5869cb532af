//! Reads rule files, and says what is wrong with them: file, line, and what would be right.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use toml::{Spanned, Table};

use super::{
    FIELDS, Field, LicenseScope, Rule, Ruleset, Value, View,
    check::{Characters, Check, DrawOf, Expression, Range, Test, Verbs},
    ruleset::{Action, Example, Step},
    tokens,
};

/// The presets by name, as they are compiled in.
const PRESETS: [(&str, &str); 6] = [
    ("commitpack", include_str!("../../filters/commitpack.toml")),
    ("commitpack-strict", include_str!("../../filters/commitpack-strict.toml")),
    ("commitpackft", include_str!("../../filters/commitpackft.toml")),
    ("commitpackft-multilingual", include_str!("../../filters/commitpackft-multilingual.toml")),
    ("instruct", include_str!("../../filters/instruct.toml")),
    ("none", include_str!("../../filters/none.toml")),
];

const VERBS: &str = include_str!("../../filters/verbs.toml");

/// Deepest chain of rulesets that extend each other.
const EXTENDS_MAX: usize = 8;

/// Steps that an expression may take.
const FUEL: u64 = 10_000;

/// Names and texts of the presets.
pub fn presets() -> &'static [(&'static str, &'static str)] {
    &PRESETS
}

/// What can be wrong with a rule file.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("there is no ruleset {name}: there are {}, or the path of a file", PRESETS.map(|(name, _)| name).join(", "))]
    Unknown { name: String },
    #[error("{path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{place}: {reason}")]
    Invalid { place: String, reason: String },
    #[error("{place}: rule {rule}: {reason}")]
    Rule { place: String, rule: String, reason: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    id: String,
    why: String,
    extends: Option<String>,
    #[serde(default)]
    without: Vec<String>,
    license_scope: Option<LicenseScope>,
    #[serde(default)]
    rule: Vec<Spanned<Table>>,
}

/// Loads the ruleset `name`: a preset, or the path of a file (with a slash or ending in `.toml`).
///
/// # Errors
/// There is none, or it is not valid; the message says where and what would be right.
pub fn load(name: &str) -> Result<Ruleset, Error> {
    let mut loaded = Loaded::default();
    loaded.add(name, None, 0)?;
    let Loaded { id, why, license_scope, rules, texts } = loaded;
    let counts = |rule: &Rule| matches!(&rule.action, Action::Demand(check) if check.fields().contains(&Field::Tokens));
    let tokenizer = tokens::digest().filter(|_| rules.iter().any(counts)).unwrap_or_default();
    let digest = blake3::hash((texts.join("\0") + VERBS + tokenizer).as_bytes()).to_hex()[..16].to_owned();
    Ok(Ruleset::new(id, why, license_scope.unwrap_or_default(), rules, digest))
}

#[derive(Default)]
struct Loaded {
    id: String,
    why: String,
    license_scope: Option<LicenseScope>,
    rules: Vec<Rule>,
    texts: Vec<String>,
}

impl Loaded {
    fn add(&mut self, name: &str, from: Option<&Path>, depth: usize) -> Result<(), Error> {
        let (place, text, directory) = find(name, from)?;
        if depth > EXTENDS_MAX {
            let reason = format!("extends more than {EXTENDS_MAX} rulesets, or itself");
            return Err(Error::Invalid { place, reason });
        }
        let file: File = toml::from_str(&text).map_err(|e| {
            let line = e.span().map_or(1, |span| line_of(&text, span.start));
            Error::Invalid { place: format!("{place}:{line}"), reason: e.message().to_owned() }
        })?;
        if let Some(parent) = &file.extends {
            self.add(parent, directory.as_deref(), depth + 1)?;
        }
        for id in &file.without {
            let before = self.rules.len();
            self.rules.retain(|rule| rule.id != *id);
            if self.rules.len() == before {
                let reason = format!("`without` names a rule {id} that is not there to be left out");
                return Err(Error::Invalid { place: place.clone(), reason });
            }
        }
        for raw in file.rule {
            let at = format!("{place}:{}", line_of(&text, raw.span().start));
            let rule = rule(raw.into_inner(), &at)?;
            match self.rules.iter_mut().find(|known| known.id == rule.id) {
                Some(known) if file.extends.is_some() && !known.place.starts_with(&format!("{place}:")) => {
                    *known = rule
                }
                Some(known) => {
                    let reason = format!("{} has a rule of this id already", known.place);
                    return Err(Error::Rule { place: at, rule: rule.id, reason });
                }
                None => self.rules.push(rule),
            }
        }
        self.id = file.id;
        self.why = file.why;
        self.license_scope = file.license_scope.or(self.license_scope);
        self.texts.push(text);
        Ok(())
    }
}

fn find(name: &str, from: Option<&Path>) -> Result<(String, String, Option<PathBuf>), Error> {
    let is_path = name.contains('/') || name.ends_with(".toml");
    if !is_path {
        let preset = PRESETS.iter().find(|(known, _)| *known == name);
        let (_, text) = preset.ok_or_else(|| Error::Unknown { name: name.to_owned() })?;
        return Ok((format!("filters/{name}.toml"), (*text).to_owned(), None));
    }
    let path = from.map_or_else(|| PathBuf::from(name), |from| from.join(name));
    let text = fs::read_to_string(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
    Ok((path.display().to_string(), text, path.parent().map(Path::to_owned)))
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

fn rule(mut table: Table, place: &str) -> Result<Rule, Error> {
    let id = match table.remove("id") {
        Some(toml::Value::String(id)) if !id.is_empty() => id,
        _ => return Err(Error::Invalid { place: place.to_owned(), reason: "the rule has no id = \"…\"".into() }),
    };
    let bad = |reason: String| Error::Rule { place: place.to_owned(), rule: id.clone(), reason };
    let why = match table.remove("why") {
        Some(toml::Value::String(why)) if !why.is_empty() => why,
        _ => return Err(bad("it has no why = \"…\": say why it is there and where it comes from".into())),
    };
    let list = |value: Option<toml::Value>, key: &str| match value {
        None => Ok(Vec::new()),
        Some(toml::Value::Array(values)) => Ok(values),
        Some(_) => Err(bad(format!("{key} has to be a list"))),
    };
    let (keep, drop) = (list(table.remove("keep"), "keep")?, list(table.remove("drop"), "drop")?);
    let mut rewrites = Vec::new();
    let action = match table.remove("rewrite") {
        Some(field) => {
            let field = field.as_str().and_then(Field::find).filter(|f| matches!(f, Field::Subject | Field::Message));
            let field = field.ok_or_else(|| bad("rewrite has to be \"subject\" or \"message\"".into()))?;
            let steps = list(table.remove("steps"), "steps")?;
            for pair in list(table.remove("examples"), "examples")? {
                match pair.as_array().map(Vec::as_slice) {
                    Some([toml::Value::String(from), toml::Value::String(to)]) => {
                        rewrites.push((from.clone(), to.clone()))
                    }
                    _ => return Err(bad("examples of a rewrite are pairs of texts: before and after".into())),
                }
            }
            if let Some((key, _)) = table.iter().next() {
                return Err(bad(format!("a rewrite has no key {key}; there are steps and examples")));
            }
            let steps: Result<Vec<Step>, String> = steps.into_iter().map(step).collect();
            Action::Rewrite(field, steps.map_err(&bad)?)
        }
        None => Action::Demand(check(table).map_err(&bad)?),
    };
    let fields = match &action {
        Action::Demand(check) => check.fields(),
        Action::Rewrite(..) => Vec::new(),
    };
    let mut examples = Vec::new();
    for (values, keep) in [(keep, true), (drop, false)] {
        for value in values {
            examples.push(Example { values: example(value, &fields).map_err(&bad)?, keep });
        }
    }
    Ok(Rule { id: id.clone(), why, action, examples, rewrites, epoch: 0, place: place.to_owned() })
}

fn example(value: toml::Value, fields: &[Field]) -> Result<Vec<(Field, toml::Value)>, String> {
    match value {
        toml::Value::Table(mut table) => {
            // `times` repeats all texts, for bounds that nobody would write out.
            if let Some(times) = table.remove("times").and_then(|times| usize::try_from(times.as_integer()?).ok()) {
                for (_, value) in table.iter_mut() {
                    if let toml::Value::String(text) = value {
                        *text = text.repeat(times.min(1_000_000));
                    }
                }
            }
            let find = |name: &str| Field::find(name).ok_or_else(|| no_field(name));
            table.into_iter().map(|(name, value)| Ok((find(&name)?, value))).collect()
        }
        value => {
            let mut distinct = fields.to_vec();
            distinct.sort();
            distinct.dedup();
            match &distinct[..] {
                [field] => Ok(vec![(field.clone(), value)]),
                _ => Err("the rule looks at several fields, so its examples are tables: { subject = \"…\", … }".into()),
            }
        }
    }
}

const STEPS: &str = "{ delete = \"…\" }, { replace = \"…\", with = \"…\" } and { drop_trailers = \"…\" } (lines that match, in the last paragraphs)";

fn step(value: toml::Value) -> Result<Step, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Raw {
        delete: Option<String>,
        replace: Option<String>,
        with: Option<String>,
        drop_trailers: Option<String>,
    }
    if let Some(word) = value.as_str() {
        return Ok(match word {
            "trim" => Step::Trim,
            "drop-first-bracketed" => Step::DropFirstBracketed,
            "drop-first-with-colon" => Step::DropFirstWithColon,
            "drop-last-bracketed" => Step::DropLastBracketed,
            "join-words" => Step::JoinWords,
            "capitalize" => Step::Capitalize,
            other => {
                return Err(format!(
                    "there is no step {other}; there are trim, drop-first-bracketed, drop-first-with-colon, \
                     drop-last-bracketed, join-words, capitalize, {STEPS}"
                ));
            }
        });
    }
    match Raw::deserialize(value).map_err(|e| e.message().to_owned())? {
        Raw { delete: Some(part), replace: None, with: None, drop_trailers: None } => Ok(Step::Delete(part)),
        Raw { delete: None, replace: Some(pattern), with, drop_trailers: None } => {
            Ok(Step::Replace(regex(&pattern)?, with.unwrap_or_default()))
        }
        Raw { delete: None, replace: None, with: None, drop_trailers: Some(pattern) } => {
            Ok(Step::DropTrailers(regex(&pattern)?))
        }
        _ => Err(format!("a step is one of {STEPS}")),
    }
}

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

const KINDS: &str = "chars, words, lines, bytes, value, tokens, ratio, regex, contains, equals, one_of, starts_with, \
                     ends_with, glob, is, present, license, thin, whitespace_only, edit_distance, verbs, expr, all, any, not";

fn check(table: Table) -> Result<Check, String> {
    let raw = Raw::deserialize(toml::Value::Table(table)).map_err(|e| e.message().to_owned())?;
    let Raw { field, lower, missing, .. } = &raw;
    let (field_name, lower, missing) = (field.clone(), *lower, matches!(missing, Some(Missing::Keep)));
    let mut tests = Vec::new();
    tests.extend(raw.chars.map(Test::Chars));
    tests.extend(raw.words.map(Test::Words));
    tests.extend(raw.lines.map(Test::Lines));
    tests.extend(raw.bytes.map(Test::Bytes));
    tests.extend(raw.value.map(Test::Number));
    tests.extend(raw.ratio.map(|ratio| Test::Ratio(ratio.of, Range { min: ratio.min, max: ratio.max })));
    if let Some(patterns) = raw.regex {
        tests.push(Test::Regex(patterns.all().iter().map(|pattern| regex(pattern)).collect::<Result<_, _>>()?));
    }
    tests.extend(raw.contains.map(|texts| Test::Contains(texts.all())));
    tests.extend(raw.equals.map(|texts| Test::OneOf(texts.all().into_iter().collect())));
    tests.extend(raw.one_of.map(|texts| Test::OneOf(texts.all().into_iter().collect())));
    tests.extend(raw.starts_with.map(|texts| Test::StartsWith(texts.all())));
    tests.extend(raw.ends_with.map(|texts| Test::EndsWith(texts.all())));
    if let Some(globs) = raw.glob {
        let globs = globs.all();
        tests.push(Test::Glob(glob(&globs)?, globs));
    }
    tests.extend(raw.is.map(Test::Is));
    tests.extend(raw.present.map(Test::Present));
    let mut checks: Vec<Check> = Vec::new();
    let tested = !tests.is_empty();
    if tested {
        let name = field_name.as_deref().ok_or("it has no field = \"…\" to test")?;
        let field = Field::find(name).ok_or_else(|| no_field(name))?;
        checks.extend(tests.into_iter().map(|test| Check::Field { field: field.clone(), lower, test, missing }));
    } else if field_name.is_some() {
        return Err(format!("it has a field and no test of it; there are {KINDS}"));
    }
    if let Some(RawTokens { min, max, exact }) = raw.tokens {
        if exact && tokens::digest().is_none() {
            return Err("it counts tokens exactly: give --tokenizer FILE, the tokenizer.json of a model".into());
        }
        let range = Range { min: min.unwrap_or(f64::NEG_INFINITY), max: max.unwrap_or(f64::INFINITY) };
        checks.push(Check::Field { field: Field::Tokens, lower: false, test: Test::Number(range), missing });
    }
    checks.extend(raw.license.map(Check::Policy));
    checks.extend(raw.thin.map(|thin| Check::Thin { per_mille: thin.per_mille, of: thin.of }));
    checks.extend(raw.whitespace_only.map(Check::WhitespaceOnly));
    checks.extend(raw.edit_distance.map(Check::EditDistance));
    if let Some(names) = raw.verbs {
        checks.push(Check::Verbs(verbs(&names.all())?));
    }
    if let Some(text) = raw.expr {
        checks.push(Check::Expr(expression(text)?));
    }
    let inner = |tables: Vec<Table>| tables.into_iter().map(check).collect::<Result<Vec<_>, _>>();
    if let Some(tables) = raw.all {
        checks.push(Check::All(inner(tables)?));
    }
    if let Some(tables) = raw.any {
        checks.push(Check::Any(inner(tables)?));
    }
    if let Some(table) = raw.not {
        checks.push(Check::Not(Box::new(check(table)?)));
    }
    match checks.len() {
        0 => Err(format!("it demands nothing; there are {KINDS}")),
        1 => Ok(checks.swap_remove(0)),
        _ => Ok(Check::All(checks)),
    }
}

fn no_field(name: &str) -> String {
    let names: Vec<&str> = FIELDS.iter().map(|(name, ..)| *name).collect();
    format!("there is no field {name}; there are {}, and column.NAME", names.join(", "))
}

fn regex(pattern: &str) -> Result<Regex, String> {
    let compiled = RegexBuilder::new(pattern).size_limit(1 << 20).build();
    compiled.map_err(|e| format!("the expression {pattern:?} is not valid: {}", e.to_string().replace('\n', " ")))
}

/// Globs over paths, as in `.gitattributes`: `*` and `?` stay within a directory, `**` does not, and a glob without a
/// slash names files in any directory.
/// A pattern that matches the paths that one of `globs` names; a glob without a slash names files in any directory.
///
/// # Errors
/// The pattern can't be compiled.
pub fn glob(globs: &[String]) -> Result<Regex, String> {
    let mut all = Vec::new();
    for glob in globs {
        let mut pattern = String::from(if glob.contains('/') { "^" } else { "^(?:.*/)?" });
        let mut letters = glob.trim_start_matches('/').chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '*' if letters.next_if_eq(&'*').is_some() => {
                    // `a/**/b` names `a/b` as well.
                    pattern.push_str(if letters.next_if_eq(&'/').is_some() { "(?:.*/)?" } else { ".*" });
                }
                '*' => pattern.push_str("[^/]*"),
                '?' => pattern.push_str("[^/]"),
                other => pattern.push_str(&regex::escape(&other.to_string())),
            }
        }
        all.push(pattern + "$");
    }
    regex(&all.join("|"))
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
            .map(|raw| Verbs { id: raw.id, starts: raw.starts, ends: raw.ends, spaces: raw.spaces })
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

fn expression(text: String) -> Result<Expression, String> {
    static ENVIRONMENT: OnceLock<minijinja::Environment<'static>> = OnceLock::new();
    let environment = ENVIRONMENT.get_or_init(|| {
        let mut environment = minijinja::Environment::new();
        environment.set_fuel(Some(FUEL));
        environment.add_filter("matches", matches);
        environment
    });
    let compiled =
        environment.compile_expression_owned(text.clone()).map_err(|e| format!("the expression {text:?}: {e}"))?;
    let mut fields = Vec::new();
    for name in compiled.undeclared_variables(true) {
        let field = Field::find(&name).ok_or_else(|| no_field(&name))?;
        fields.push((name, field));
    }
    fields.sort();
    Ok(Expression { text, fields, compiled: Arc::new(compiled) })
}

/// The filter `text | matches("expression")`; each expression is compiled once.
fn matches(text: &str, pattern: &str) -> Result<bool, minijinja::Error> {
    use std::sync::Mutex;
    static KNOWN: Mutex<BTreeMap<String, Regex>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !known.contains_key(pattern) {
        let compiled = regex(pattern).map_err(|e| minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, e))?;
        known.insert(pattern.to_owned(), compiled);
    }
    let found = known.get(pattern).cloned();
    drop(known);
    Ok(found.is_some_and(|expression| expression.is_match(text)))
}

/// Runs the examples of every rule, each rule by itself; what fails, in words.
pub fn verify_examples(ruleset: &Ruleset) -> Vec<String> {
    let mut failed = Vec::new();
    for rule in ruleset.rules() {
        for example in &rule.examples {
            let view = ExampleView(&example.values);
            let text = |field| match view.value(field) {
                Value::Text(text) => text.into_owned(),
                _ => String::new(),
            };
            let (subject, message) = (text(&Field::Subject), text(&Field::Message));
            let message = if message.is_empty() { text(&Field::MessageChomped) } else { message };
            let texts = Ruleset::new(String::new(), String::new(), LicenseScope::Commit, Vec::new(), String::new())
                .texts(&subject, &message);
            if rule.objects(&view, &texts) == example.keep {
                let word = if example.keep { "drops what it must keep" } else { "keeps what it must drop" };
                failed.push(format!("{}: rule {}: {word}: {:?}", rule.place, rule.id, example.values));
            }
        }
        if let Action::Rewrite(..) = &rule.action {
            for (from, to) in &rule.rewrites {
                let one =
                    Ruleset::new(String::new(), String::new(), LicenseScope::Commit, vec![rule.clone()], String::new());
                let texts = one.texts(from, from);
                let got = match &rule.action {
                    Action::Rewrite(Field::Subject, _) => texts.last_subject(),
                    _ => texts.last_message(),
                };
                if got != to {
                    failed.push(format!("{}: rule {}: {from:?} becomes {got:?}, not {to:?}", rule.place, rule.id));
                }
            }
        }
    }
    failed
}

/// A candidate of which only an example's values are known.
struct ExampleView<'a>(&'a [(Field, toml::Value)]);

impl View for ExampleView<'_> {
    fn value(&self, field: &Field) -> Value<'_> {
        match self.0.iter().find(|(known, _)| known == field).map(|(_, value)| value) {
            Some(toml::Value::String(text)) => Value::from(text.as_str()),
            Some(toml::Value::Integer(number)) => Value::Number(*number as f64),
            Some(toml::Value::Float(number)) => Value::Number(*number),
            Some(toml::Value::Boolean(flag)) => Value::Flag(*flag),
            _ => Value::Missing,
        }
    }

    /// Examples of a policy name the licences of which the policy's own tests are about; here MIT stands for all that
    /// pass and the GPL for all that do not.
    fn policy_takes(&self, _: &str) -> bool {
        matches!(self.value(&Field::LicenseSpdx), Value::Text(text) if text == "MIT")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_loads_and_its_examples_hold() {
        for (name, _) in PRESETS {
            let ruleset = load(name).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(ruleset.id, name);
            assert_eq!(verify_examples(&ruleset), Vec::<String>::new());
            for rule in ruleset.rules() {
                let (kept, dropped) = rule.examples.iter().partition::<Vec<_>, _>(|example| example.keep);
                let whole = !rule.rewrites.is_empty() || (!kept.is_empty() && !dropped.is_empty());
                assert!(whole, "{}: rule {} needs examples that it keeps and drops", rule.place, rule.id);
            }
        }
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("f.toml");
        let head = "id = \"x\"\nwhy = \"y\"\n\n";
        let rule = "[[rule]]\nid = \"r\"\nwhy = \"z\"\n";
        for (text, reason) in [
            ("colour = 1", "f.toml:4: unknown field `colour`"),
            ("extends = \"nothing\"", "there is no ruleset nothing: there are commitpack,"),
            ("without = [\"a\"]", "`without` names a rule a"),
            ("[[rule]]\nwhy = \"z\"", "f.toml:4: the rule has no id"),
            ("[[rule]]\nid = \"r\"", "f.toml:4: rule r: it has no why"),
            (
                &format!("{rule}field = \"subjekt\"\nchars = {{ min = 1 }}"),
                "there is no field subjekt; there are additions,",
            ),
            (&format!("{rule}field = \"subject\"\nchar = {{ min = 1 }}"), "unknown field `char`, expected one of"),
            (
                &format!("{rule}field = \"subject\"\nregex = \"(\""),
                "f.toml:4: rule r: the expression \"(\" is not valid",
            ),
            (&format!("{rule}field = \"subject\""), "it has a field and no test of it"),
            (&format!("{rule}chars = {{ min = 1 }}"), "it has no field"),
            (rule, "it demands nothing"),
            (&format!("{rule}verbs = \"klingon\""), "no verbs of klingon; there are"),
            (&format!("{rule}expr = \"subject ==\""), "the expression"),
            (&format!("{rule}expr = \"colour == 1\""), "there is no field colour"),
            (&format!("{rule}rewrite = \"path\""), "rewrite has to be"),
            (&format!("{rule}rewrite = \"subject\"\nsteps = [\"shout\"]"), "there is no step shout"),
            (&format!("{rule}expr = \"subject == kind\"\nkeep = [\"a\"]"), "looks at several fields"),
            (&format!("{rule}expr = \"true\"\n{rule}expr = \"true\""), "has a rule of this id already"),
        ] {
            fs::write(&path, format!("{head}{text}\n")).expect("it can be written");
            let error = load(path.to_str().expect("UTF-8")).expect_err(text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        fs::write(&path, format!("extends = \"./f.toml\"\n{head}")).expect("it can be written");
        assert!(load(path.to_str().expect("UTF-8")).is_err_and(|e| e.to_string().contains("or itself")));
    }

    #[test]
    fn globs_name_paths() {
        for (pattern, path, expected) in [
            ("*.min.js", "a/b.min.js", true),
            ("src/*.c", "src/a.c", true),
            ("src/*.c", "src/a/b.c", false),
            ("src/**/b.c", "src/b.c", true),
            ("src/**", "src/a/b.c", true),
            ("docs/?.md", "docs/a.md", true),
            ("a+b", "a+b", true),
        ] {
            assert_eq!(glob(&[pattern.to_owned()]).map(|glob| glob.is_match(path)), Ok(expected), "{pattern} {path}");
        }
    }
}
