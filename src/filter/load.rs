//! Reads rule files, and says what is wrong with them: file, line, and what would be right.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;
use toml::{Spanned, Table};

use super::{
    Field, LicenseScope, Rule, Ruleset,
    demand::{VERBS, demand},
    examples::example,
    pattern::regex,
    ruleset::{Action, Example, Step},
    tokens,
};

/// The presets by name, as they are compiled in.
const PRESETS: [(&str, &str); 7] = [
    ("commitpack", include_str!("../../filters/commitpack.toml")),
    ("commitpack-strict", include_str!("../../filters/commitpack-strict.toml")),
    ("commitpackft", include_str!("../../filters/commitpackft.toml")),
    ("commitpackft-multilingual", include_str!("../../filters/commitpackft-multilingual.toml")),
    ("instruct", include_str!("../../filters/instruct.toml")),
    ("multilingual", include_str!("../../filters/multilingual.toml")),
    ("none", include_str!("../../filters/none.toml")),
];

/// Deepest chain of rulesets that extend each other.
const EXTENDS_MAX: usize = 8;

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
    extends: Option<Spanned<String>>,
    #[serde(default)]
    without: Vec<Spanned<String>>,
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
            self.add(parent.get_ref(), directory.as_deref(), depth + 1).map_err(|error| match error {
                Error::Unknown { .. } | Error::Read { .. } => Error::Invalid {
                    place: format!("{place}:{}", line_of(&text, parent.span().start)),
                    reason: format!("extends: {error}"),
                },
                other => other,
            })?;
        }
        for id in &file.without {
            let before = self.rules.len();
            let known = self.rules.iter().map(|rule| rule.id.as_str()).collect::<Vec<_>>().join(", ");
            self.rules.retain(|rule| rule.id != *id.get_ref());
            if self.rules.len() == before {
                let place = format!("{place}:{}", line_of(&text, id.span().start));
                let there = if known.is_empty() { "are none".to_owned() } else { format!("are {known}") };
                let reason =
                    format!("`without` names a rule {} that is not there to be left out; there {there}", id.get_ref());
                return Err(Error::Invalid { place, reason });
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
    let has_examples = !keep.is_empty() || !drop.is_empty();
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
            if has_examples {
                return Err(bad("a rewrite keeps and drops nothing; its examples = […] are pairs of texts".into()));
            }
            if steps.is_empty() {
                return Err(bad("a rewrite without steps = […] changes nothing".into()));
            }
            if let Some((key, _)) = table.iter().next() {
                return Err(bad(format!("a rewrite has no key {key}; there are steps and examples")));
            }
            let steps: Result<Vec<Step>, String> = steps.into_iter().map(step).collect();
            Action::Rewrite(field, steps.map_err(&bad)?)
        }
        None => Action::Demand(demand(table).map_err(&bad)?),
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
    Ok(Rule {
        id: id.clone(),
        why,
        action,
        examples,
        rewrites,
        epoch: 0,
        place: place.to_owned(),
        failures: Arc::default(),
    })
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

#[cfg(test)]
mod tests {
    use super::{super::verify_examples, *};

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
            ("extends = \"./none.toml\"", "f.toml:4: extends: "),
            ("extends = \"nothing\"", "f.toml:4: extends: there is no ruleset nothing"),
            ("extends = \"commitpack\"\nwithout = [\n\"a\",\n]", "f.toml:6: `without` names a rule a"),
            (
                &format!("{rule}expr = \"subject | matches('(')\""),
                "f.toml:4: rule r: the expression \"(\" is not valid",
            ),
            (
                &format!("{rule}expr = \"kind == 'x' and subject | matches( '[' )\""),
                "the expression \"[\" is not valid",
            ),
            (&format!("{rule}not = {{ expr = \"subject | matches('(')\" }}"), "the expression \"(\" is not valid"),
            (
                &format!("{rule}expr = \"subject / 3 > 1\""),
                "f.toml:4: rule r: the expression \"subject / 3 > 1\" can't",
            ),
            (&format!("{rule}expr = \"additions | matches('a')\""), "can't be told of any row"),
            (&format!("{rule}expr = \"subject | colour\""), "unknown filter"),
            (&format!("{rule}field = \"files_changed\"\nregex = \"1\""), "f.toml:4: rule r: files_changed is a number"),
            (&format!("{rule}field = \"subject\"\nis = true"), "subject is no flag"),
            (&format!("{rule}field = \"column.stars\"\nis = true"), "column.stars is no flag"),
            (&format!("{rule}field = \"subject\"\nvalue = {{ min = 1 }}"), "subject is text"),
            (&format!("{rule}field = \"vendored\"\nequals = \"true\""), "vendored is yes or no"),
            (&format!("{rule}field = \"path\"\nglob = \"[a\""), "the glob \"[a\" has more than"),
            (&format!("{rule}field = \"subject\"\nchars = {{ min = 9, max = 3 }}"), "chars has min 9 and max 3"),
            (&format!("{rule}field = \"subject\"\nchars = {{ max = -1 }}"), "chars is at most -1, and is never"),
            (&format!("{rule}field = \"subject\"\nchars = {{ }}"), "chars has no bound"),
            (
                &format!("{rule}field = \"subject\"\nratio = {{ of = \"upper\", min = 50 }}"),
                "ratio has min 50 and max 1",
            ),
            (&format!("{rule}tokens = {{ min = 9, max = 3 }}"), "tokens has min 9 and max 3"),
            (&format!("{rule}field = \"kind\"\none_of = []"), "one_of is an empty list"),
            (&format!("{rule}any = []"), "any is an empty list"),
            (&format!("{rule}field = \"subject\"\ncontains = \"\""), "contains names an empty text"),
            (
                &format!("{rule}field = \"subject\"\nlower = true\nequals = \"Fix\""),
                "with lower = true nothing is \"Fix\"",
            ),
            (&format!("{rule}verbs = \"en\"\nlower = true"), "lower and missing belong to a test"),
            (&format!("{rule}thin = {{ per_mille = 0, of = \"commit\" }}"), "it has to be 1 to 999"),
            (&format!("{rule}rewrite = \"subject\"\nsteps = []"), "changes nothing"),
        ] {
            fs::write(&path, format!("{head}{text}\n")).expect("it can be written");
            let error = load(path.to_str().expect("UTF-8")).expect_err(text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        fs::write(&path, format!("extends = \"./f.toml\"\n{head}")).expect("it can be written");
        assert!(load(path.to_str().expect("UTF-8")).is_err_and(|e| e.to_string().contains("or itself")));
    }
}
