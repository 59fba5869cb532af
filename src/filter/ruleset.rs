//! Rulesets: rules in the order in which they were written, planned into the order in which they run.

use std::{
    borrow::Cow,
    cell::OnceCell,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use regex::Regex;

use super::{
    Field, Layer, View,
    check::{At, Check},
    expression::Failure,
};

/// Whose licence the field `license` is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LicenseScope {
    /// The file's, at the commit.
    #[default]
    Commit,
    /// The repository's, at its tip.
    Repository,
}

/// A step of a rewrite.
#[derive(Clone, Debug)]
pub enum Step {
    /// White space at both ends goes.
    Trim,
    /// Every occurrence of a text goes.
    Delete(String),
    /// Every match of an expression is replaced.
    Replace(Regex, String),
    /// The first word goes if it is wholly in brackets.
    DropFirstBracketed,
    /// The first word goes if it ends in a colon.
    DropFirstWithColon,
    /// The last word goes if it is wholly in brackets.
    DropLastBracketed,
    /// Words are joined by single spaces.
    JoinWords,
    /// The first letter becomes a capital.
    Capitalize,
    /// Trailers that an expression matches go, see [`without_trailers`].
    DropTrailers(Regex),
}

impl Step {
    /// Borrowed where it is a part of `text`, or all of it.
    fn apply<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let words = || text.split_whitespace();
        let bracketed = |word: &str| word.starts_with('[') && word.ends_with(']');
        match self {
            Step::Trim => text.trim().into(),
            Step::Delete(part) if !text.contains(part.as_str()) => text.into(),
            Step::Delete(part) => text.replace(part.as_str(), "").into(),
            Step::Replace(expression, with) => expression.replace_all(text, with.as_str()),
            Step::DropFirstBracketed => without_first(text, bracketed),
            Step::DropFirstWithColon => without_first(text, |word| word.ends_with(':')),
            Step::DropLastBracketed => match words().last() {
                Some(last) if bracketed(last) => text.trim_end().strip_suffix(last).unwrap_or(text).trim_end().into(),
                _ => text.into(),
            },
            Step::JoinWords => words().collect::<Vec<_>>().join(" ").into(),
            Step::Capitalize => {
                let mut letters = text.chars();
                match letters.next() {
                    Some(first) if !first.is_ascii_uppercase() => {
                        (first.to_uppercase().collect::<String>() + letters.as_str()).into()
                    }
                    _ => text.into(),
                }
            }
            Step::DropTrailers(expression) => without_trailers(text, expression),
        }
    }
}

/// `text` without the trailers that `expression` matches, with the indented lines behind each. Trailers stand in the last
/// paragraphs, as far up as these are made of trailers; the first line is none, whatever it looks like. A paragraph is
/// made of trailers by git's own rule (`find_trailer_block_start` in its `trailer.c`): all of its lines are, or one that git
/// wrote is among them and at least a quarter are.
fn without_trailers<'t>(text: &'t str, expression: &Regex) -> Cow<'t, str> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let blank = |line: &str| line.trim().is_empty();
    let Some(first) = lines.iter().position(|line| !blank(line)) else { return text.into() };
    let mut end = lines.len();
    let mut dropped = vec![false; lines.len()];
    while let Some(last) = lines[..end].iter().rposition(|line| !blank(line)).filter(|last| *last > first) {
        let start = lines[first + 1..last].iter().rposition(|line| blank(line)).map_or(first + 1, |at| first + 2 + at);
        let (mut trailers, mut others, mut by_git, mut matched, mut in_trailer) = (0, 0, false, false, false);
        for at in start..=last {
            let line = lines[at].trim_end();
            if line.starts_with([' ', '\t']) && in_trailer {
                dropped[at] = matched;
                continue;
            }
            matched = expression.is_match(line);
            in_trailer = matched || has_trailer_token(line);
            dropped[at] = matched;
            by_git |= line.starts_with("Signed-off-by: ") || line.starts_with("(cherry picked from commit ");
            *(if in_trailer { &mut trailers } else { &mut others }) += 1;
        }
        if others > 0 && !(by_git && trailers * 3 >= others) {
            dropped[start..=last].fill(false);
            break;
        }
        end = start;
    }
    if !dropped.contains(&true) {
        return text.into();
    }
    lines.iter().zip(dropped).filter(|(_, dropped)| !dropped).map(|(line, _)| *line).collect::<String>().into()
}

/// Whether a line begins like `Change-Id: `.
fn has_trailer_token(line: &str) -> bool {
    line.split_once(": ").is_some_and(|(token, _)| {
        token.starts_with(|c: char| c.is_ascii_alphabetic())
            && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}

fn without_first(text: &str, is_it: impl Fn(&str) -> bool) -> Cow<'_, str> {
    match text.split_whitespace().next() {
        Some(first) if is_it(first) => text.trim_start().strip_prefix(first).unwrap_or(text).trim_start().into(),
        _ => text.into(),
    }
}

/// What the steps make of `text`, unless they leave it as it is.
fn rewritten(text: &str, steps: &[Step]) -> Option<String> {
    let mut rewritten: Option<String> = None;
    for step in steps {
        let text = rewritten.as_deref().unwrap_or(text);
        match step.apply(text) {
            same if same == text => {}
            other => rewritten = Some(other.into_owned()),
        }
    }
    rewritten
}

/// What a rule does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Candidates that are not so are dropped.
    Demand(Check),
    /// The text of a field, subject or message, is rewritten for the rules behind and for the row.
    Rewrite(Field, Vec<Step>),
}

/// An example that a rule carries.
#[derive(Clone, Debug)]
pub struct Example {
    /// Values by field; text unless they are numbers or flags.
    pub values: Vec<(Field, toml::Value)>,
    /// Whether the rule must keep it.
    pub keep: bool,
}

/// A rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name in funnels and ledgers.
    pub id: String,
    /// Why it is there, and where it comes from.
    pub why: String,
    /// What it does.
    pub action: Action,
    /// What it must keep and drop.
    pub examples: Vec<Example>,
    /// Of a rewrite: texts and what becomes of them.
    pub rewrites: Vec<(String, String)>,
    /// Number of rewrites before it.
    pub epoch: usize,
    /// File and line where it stands.
    pub place: String,
    /// Candidates that it dropped because an expression failed.
    pub failures: Arc<AtomicU64>,
}

/// Versions of subject and message: the original, and one behind each rewrite, made when it is first asked for. Most
/// candidates are dropped before that.
#[derive(Debug)]
pub struct Texts<'a> {
    subject: Cow<'a, str>,
    message: Cow<'a, str>,
    rewrites: Vec<Version<'a>>,
}

/// What a rewrite makes of a text.
#[derive(Debug)]
struct Version<'a> {
    field: &'a Field,
    steps: &'a [Step],
    /// None where it leaves the text as it is.
    rewritten: OnceCell<Option<Box<str>>>,
}

impl Texts<'_> {
    /// The subject behind so many rewrites.
    pub fn subject(&self, epoch: usize) -> &str {
        self.behind(epoch, &Field::Subject, &self.subject)
    }

    /// The message behind so many rewrites.
    pub fn message(&self, epoch: usize) -> &str {
        self.behind(epoch, &Field::Message, &self.message)
    }

    /// The subject of the row.
    pub fn last_subject(&self) -> &str {
        self.subject(usize::MAX)
    }

    /// The message of the row.
    pub fn last_message(&self) -> &str {
        self.message(usize::MAX)
    }

    fn behind<'t>(&'t self, epoch: usize, field: &Field, original: &'t str) -> &'t str {
        let rewrites = self.rewrites.iter().take(epoch).filter(|version| version.field == field);
        rewrites.fold(original, |text, Version { steps, rewritten: cell, .. }| {
            let rewritten = cell.get_or_init(|| rewritten(text, steps).map(Into::into));
            rewritten.as_deref().unwrap_or(text)
        })
    }
}

/// Rules, and the order in which they run.
#[derive(Clone, Debug)]
pub struct Ruleset {
    /// Its name.
    pub id: String,
    /// What it is for.
    pub why: String,
    /// Whose licence rules look at.
    pub license_scope: LicenseScope,
    rules: Vec<Rule>,
    /// For each layer, the rules that run there, cheapest first.
    plan: [Vec<usize>; 4],
    /// Of the rules at the blob layer those that wait for `generated` alone: they run behind those of the tree layer where
    /// the path tells it.
    early: Vec<usize>,
    digest: String,
}

impl Ruleset {
    /// Plans `rules`, which are in the order in which they were written. `digest` tells rulesets apart.
    pub fn new(id: String, why: String, license_scope: LicenseScope, mut rules: Vec<Rule>, digest: String) -> Self {
        let mut epoch = 0;
        for rule in &mut rules {
            rule.epoch = epoch;
            epoch += usize::from(matches!(rule.action, Action::Rewrite(..)));
        }
        let (mut plan, mut early): ([Vec<usize>; 4], Vec<usize>) = Default::default();
        for (at, rule) in rules.iter().enumerate() {
            if let Action::Demand(check) = &rule.action {
                let layer = check.layer(license_scope);
                plan[layer as usize].push(at);
                let known = |field: &Field| *field == Field::Generated || field.layer(license_scope) <= Layer::Tree;
                if layer == Layer::Blob && check.fields().iter().all(known) {
                    early.push(at);
                }
            }
        }
        for layer in plan.iter_mut().chain([&mut early]) {
            layer.sort_by_key(|at| match &rules[*at].action {
                Action::Demand(check) => (check.cost(), *at),
                Action::Rewrite(..) => (0, *at),
            });
        }
        Ruleset { id, why, license_scope, rules, plan, early, digest }
    }

    /// The rules as they were written.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Tells rulesets apart that may judge in another way.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Whether a rule looks at a column of the source list.
    pub fn read_columns(&self) -> bool {
        self.rules.iter().any(Rule::reads_columns)
    }

    /// Whether a rule asks what the repository is called.
    pub fn read_repository(&self) -> bool {
        self.rules.iter().any(|rule| rule.reads(&Field::Repository))
    }

    /// Whether every candidate stays as it is.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether rules run at `layer`.
    pub fn has(&self, layer: Layer) -> bool {
        !self.plan[layer as usize].is_empty() || (layer == Layer::Tree && !self.early.is_empty())
    }

    /// Whether subjects or messages are rewritten.
    pub fn rewrites(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule.action, Action::Rewrite(..)))
    }

    /// The rules that demand something, in the order in which they run.
    pub fn planned(&self) -> impl Iterator<Item = (Layer, &Rule)> {
        Layer::ALL
            .into_iter()
            .flat_map(move |layer| self.plan[layer as usize].iter().map(move |at| (layer, &self.rules[*at])))
    }

    /// All versions of subject and message.
    pub fn texts<'a>(&'a self, subject: impl Into<Cow<'a, str>>, message: impl Into<Cow<'a, str>>) -> Texts<'a> {
        let rewrites = self.rules.iter().filter_map(|rule| match &rule.action {
            Action::Rewrite(field, steps) => Some(Version { field, steps, rewritten: OnceCell::new() }),
            Action::Demand(_) => None,
        });
        Texts { subject: subject.into(), message: message.into(), rewrites: rewrites.collect() }
    }

    /// As [`Ruleset::planned`], for what `view` shows: where the path tells that a program made the file, the rules that
    /// ask for that run earlier.
    pub fn planned_for(&self, view: &dyn View) -> Vec<(Layer, &Rule)> {
        let mut planned: Vec<_> = self.planned().collect();
        if !self.early.is_empty() && view.is_generated_by_path() {
            for (layer, rule) in &mut planned {
                if self.early.iter().any(|at| std::ptr::eq(&self.rules[*at], *rule)) {
                    *layer = Layer::Tree;
                }
            }
            planned.sort_by_key(|(layer, _)| *layer);
        }
        planned
    }

    /// The first rule of `layer`, in planned order, that objects.
    pub fn judge(&self, layer: Layer, view: &dyn View, texts: &Texts<'_>) -> Option<&Rule> {
        let first =
            |numbers: &[usize]| numbers.iter().map(|at| &self.rules[*at]).find(|rule| rule.objects(view, texts));
        first(&self.plan[layer as usize]).or_else(|| {
            let early = layer == Layer::Tree && !self.early.is_empty() && view.is_generated_by_path();
            if early { first(&self.early) } else { None }
        })
    }

    /// As [`Ruleset::judge`] over all layers, but in the order in which rules were written: for tests of the plan.
    pub fn judge_unplanned(&self, view: &dyn View, texts: &Texts<'_>) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.objects(view, texts))
    }

    /// The rules of which an expression failed since they were read, and for how many candidates.
    pub fn failures(&self) -> Vec<(&Rule, u64)> {
        let counts = self.rules.iter().map(|rule| (rule, rule.failures.load(Ordering::Relaxed)));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}

impl Rule {
    /// Whether it drops the candidate. Where an expression fails it does, and that is counted.
    pub fn objects(&self, view: &dyn View, texts: &Texts<'_>) -> bool {
        let holds = self.holds(view, texts);
        if holds.is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        !holds.unwrap_or(false)
    }

    /// Whether the candidate is as it demands.
    ///
    /// # Errors
    /// An expression fails.
    pub fn holds(&self, view: &dyn View, texts: &Texts<'_>) -> Result<bool, Failure> {
        match &self.action {
            Action::Demand(check) => check.holds(&At { view, texts, epoch: self.epoch }),
            Action::Rewrite(..) => Ok(true),
        }
    }

    /// What it demands, and every part of that; nothing of a rewrite.
    pub fn checks(&self) -> Vec<&Check> {
        match &self.action {
            Action::Demand(check) => check.parts(),
            Action::Rewrite(..) => Vec::new(),
        }
    }

    /// Whether it looks at a column of the source list.
    pub fn reads_columns(&self) -> bool {
        matches!(&self.action, Action::Demand(check) if check.fields().iter().any(|f| matches!(f, Field::Column(_))))
    }

    fn reads(&self, field: &Field) -> bool {
        matches!(&self.action, Action::Demand(check) if check.fields().contains(field))
    }

    /// Whether it looks at subject or message.
    pub fn reads_texts(&self) -> bool {
        match &self.action {
            Action::Demand(check) => {
                check.fields().iter().any(|f| matches!(f, Field::Subject | Field::Message | Field::MessageChomped))
            }
            Action::Rewrite(..) => true,
        }
    }

    /// The value that it sees, and what it demands.
    pub fn observe(&self, view: &dyn View, texts: &Texts<'_>) -> (String, String) {
        match &self.action {
            Action::Demand(check) => check.observe(&At { view, texts, epoch: self.epoch }),
            Action::Rewrite(field, _) => {
                let of = |epoch| if *field == Field::Subject { texts.subject(epoch) } else { texts.message(epoch) };
                (of(self.epoch + 1).to_owned(), format!("rewrites {}", field.name()))
            }
        }
    }
}
