//! Rules on trial: what they say of one commit, and what they would keep of a repository or a store.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::atomic::AtomicBool,
};

use serde::Serialize;

use super::{
    candidate::{Origin, RowView},
    draw::Draw,
    extract,
    job::{Job, Refusal},
    license,
    mine::Error,
    plan::{self, Candidate},
    read::{Row, for_each},
    recipe::Recipe,
};
use crate::{
    filter::{Action, Layer, Ruleset, Texts, View},
    git::{
        repository::{Repository, Revision},
        walk::{self, Span, Window},
    },
    sample::Sample,
    store::{Store, ledger::Dropped},
    verdict::Funnel,
};

/// What one rule says of a candidate.
#[derive(Clone, Debug, Serialize)]
pub struct RuleOutcome {
    /// Where the rule runs: commit, tree, header or blob.
    pub layer: &'static str,
    /// Its id.
    pub rule: String,
    /// Whether it drops the candidate; none for a rewrite.
    pub drops: Option<bool>,
    /// The value that it saw, or the rewritten text.
    pub value: String,
    /// What it demands.
    pub bound: String,
}

/// What the rules say of a file.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedFile {
    /// The path after the change; before, where the file is gone.
    pub path: String,
    /// kept, dropped by RULE, or skipped: REASON.
    pub verdict: String,
    /// Every rule: rewrites first, then in the order in which they run.
    pub rules: Vec<RuleOutcome>,
}

/// What the rules say of a commit.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    /// Its id.
    pub commit: String,
    /// The subject as a row would have it.
    pub subject: String,
    /// Its files.
    pub files: Vec<ExplainedFile>,
    /// What is no candidate, by reason.
    pub skipped: BTreeMap<String, u64>,
}

/// Asks every rule about every file of a commit of the repository at `path`.
///
/// # Errors
/// The repository or the commit can't be read.
pub fn explain(path: &Path, commit: &str, rules: &Ruleset, recipe: &Recipe) -> Result<Explained, Error> {
    let repository = Repository::open(path)?;
    let tips = repository.tips(&Revision::Named(commit.to_owned()))?;
    let license = repository_license(&repository);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let origin = Origin { name: &name, license: license.as_deref(), scope: rules.license_scope, ..Origin::default() };
    // Nothing is dropped on the way, so that every rule can be asked.
    let all = Ruleset::new("none".into(), String::new(), rules.license_scope, Vec::new(), String::new());
    let job = Job { recipe, rules: &all, origin: &origin, opt_outs: None };
    let interrupt = AtomicBool::new(false);
    let walked = walk::only(&repository, &tips);
    let plan = plan::plan::<Error>(&repository, walked, job, 1, &interrupt, &|_, _| {}, &mut |_| Ok(()))?;
    let asked: RefCell<Option<(Vec<RuleOutcome>, String)>> = RefCell::new(None);
    let mut explained = Explained {
        commit: tips.first().map(ToString::to_string).unwrap_or_default(),
        subject: String::new(),
        files: Vec::new(),
        skipped: BTreeMap::new(),
    };
    let each = |candidate: &Candidate, outcome: Result<&Sample<'_>, Refusal>| {
        let asked = asked.borrow_mut().take();
        let verdict = match (&outcome, &asked) {
            (Err(Refusal::Skip(skip)), _) => format!("skipped: {}", skip.as_str()),
            (_, Some((rules, _))) => match rules.iter().find(|rule| rule.drops == Some(true)) {
                Some(rule) => format!("dropped by {}", rule.rule),
                None => "kept".to_owned(),
            },
            _ => "kept".to_owned(),
        };
        let (rules, subject) = asked.unwrap_or_default();
        explained.subject = subject;
        let path = String::from_utf8_lossy(&candidate.change.path).into_owned();
        explained.files.push(ExplainedFile { path, verdict, rules });
    };
    let observe = |_: &Candidate, view: &dyn View, texts: &Texts<'_>| {
        let texts = rules.texts(texts.last_subject(), texts.last_message());
        *asked.borrow_mut() = Some((ask(rules, view, &texts), texts.last_subject().to_owned()));
    };
    extract::for_each(&repository, &plan, job, each, &observe)?;
    for counts in [&plan.commits_skipped, &plan.early] {
        for (reason, n) in &counts.skipped {
            explained.skipped.insert(reason.as_str().to_owned(), *n);
        }
    }
    Ok(explained)
}

fn repository_license(repository: &Repository) -> Option<String> {
    let tips = repository.tips(&Revision::Head).unwrap_or_default();
    tips.first().and_then(|tip| license::of_repository(repository, *tip)).and_then(|found| found.expression)
}

fn ask(rules: &Ruleset, view: &dyn View, texts: &Texts<'_>) -> Vec<RuleOutcome> {
    let rewrites = rules.rules().iter().filter(|rule| matches!(rule.action, Action::Rewrite(..)));
    let all = rewrites.map(|rule| (Layer::Commit, rule)).chain(rules.planned_for(view));
    all.map(|(layer, rule)| {
        let (value, bound) = rule.observe(view, texts);
        let drops = matches!(rule.action, Action::Demand(_)).then(|| rule.objects(view, texts));
        RuleOutcome { layer: layer.as_str(), rule: rule.id.clone(), drops, value, bound }
    })
    .collect()
}

/// What rules would do.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Trial {
    /// The account.
    pub funnel: Funnel,
    /// Some of what is kept: subject and path.
    pub kept: Vec<String>,
    /// Some of what each rule drops: value and path.
    pub dropped: BTreeMap<String, Vec<String>>,
}

/// Samples of what is kept and of what is dropped.
struct Draws {
    n: usize,
    kept: Draw<String>,
    dropped: BTreeMap<String, Draw<String>>,
}

impl Draws {
    fn new(n: usize) -> Self {
        Draws { n, kept: Draw::new(n), dropped: BTreeMap::new() }
    }

    fn keep(&mut self, id: &str, subject: &str, path: &str) {
        self.kept.add(id, || format!("{subject}  [{path}]"));
    }

    fn drop(&mut self, dropped: &Dropped) {
        let n = self.n;
        let path = dropped.new_file.as_deref().or(dropped.old_file.as_deref()).unwrap_or("the commit");
        let id = dropped.id.as_deref().unwrap_or(&dropped.commit);
        let draw = self.dropped.entry(dropped.rule.clone()).or_insert_with(|| Draw::new(n));
        draw.add(id, || format!("{} {}  [{path}]", &dropped.commit[..10], dropped.value));
    }

    fn trial(self, funnel: Funnel) -> Trial {
        let dropped = self.dropped.into_iter().map(|(rule, draw)| (rule, draw.into_vec())).collect();
        Trial { funnel, kept: self.kept.into_vec(), dropped }
    }
}

/// Tries `rules` on all rows of a store; `n` samples of each verdict.
///
/// # Errors
/// The store is damaged.
pub fn on_store(store: &Store, rules: &Ruleset, n: usize) -> Result<Trial, Error> {
    let mut draws = Draws::new(n);
    let mut funnel = Funnel::default();
    for_each(store, &AtomicBool::new(false), |row| {
        match judge_row(rules, &row) {
            Ok(texts) => {
                funnel.changes.keep();
                let path = row.sample.new_file.or(row.sample.old_file).unwrap_or_default();
                draws.keep(row.sample.id, texts.last_subject(), path);
            }
            Err(dropped) => {
                funnel.changes.drop_by(&dropped.rule);
                draws.drop(&dropped);
            }
        }
        Ok(())
    })?;
    Ok(draws.trial(funnel))
}

/// Judges a row of a store as mining would have; the texts of the row, or why it is dropped.
///
/// # Errors
/// The rule that drops it, with value and bound.
pub fn judge_row<'t, 'r: 't>(rules: &'t Ruleset, row: &Row<'r>) -> Result<Texts<'t>, Box<Dropped>> {
    let origin = Origin {
        name: &row.checkpoint.repository.name,
        columns: row.columns.clone(),
        license: row.checkpoint.license.as_deref(),
        scope: rules.license_scope,
    };
    let sample = row.sample;
    let view = RowView::new(&origin, sample);
    let texts = rules.texts(sample.subject, sample.message);
    for layer in Layer::ALL {
        if let Some(rule) = rules.judge(layer, &view, &texts) {
            let (value, bound) = rule.observe(&view, &texts);
            return Err(Box::new(Dropped {
                commit: sample.commit.to_owned(),
                id: Some(sample.id.to_owned()),
                old_file: sample.old_file.map(str::to_owned),
                new_file: sample.new_file.map(str::to_owned),
                layer: layer.as_str(),
                rule: rule.id.clone(),
                value,
                bound,
            }));
        }
    }
    Ok(texts)
}

/// Tries `trial` on what HEAD of the repository at `path` reaches; `n` samples of each verdict.
///
/// # Errors
/// The repository can't be read.
pub fn on_repository(path: &Path, trial: &Ruleset, recipe: &Recipe, n: usize) -> Result<Trial, Error> {
    let repository = Repository::open(path)?;
    let tips = repository.tips(&recipe.revision)?;
    let license = repository_license(&repository);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let origin = Origin { name: &name, license: license.as_deref(), scope: trial.license_scope, ..Origin::default() };
    let job = Job { recipe, rules: trial, origin: &origin, opt_outs: None };
    let interrupt = AtomicBool::new(false);
    let span = Span { tips: &tips, hidden: &[], others: &HashSet::new(), window: Window::default() };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (walked, ()) = walk::walk(&repository, span, threads, &interrupt, ())?;
    let mut draws = Draws::new(n);
    let plan = plan::plan::<Error>(&repository, walked, job, threads, &interrupt, &|_, _| {}, &mut |dropped| {
        draws.drop(&dropped);
        Ok(())
    })?;
    let mut funnel = Funnel { commits: plan.commits_skipped.clone(), changes: plan.early.clone() };
    let mut commits = HashSet::new();
    let each = |candidate: &Candidate, outcome: Result<&Sample<'_>, Refusal>| match outcome {
        Ok(sample) => {
            funnel.changes.keep();
            commits.insert(candidate.commit);
            draws.keep(sample.id, sample.subject, sample.new_file.or(sample.old_file).unwrap_or_default());
        }
        Err(Refusal::Skip(skip)) => funnel.changes.skip(skip),
        Err(Refusal::Drop(dropped)) => {
            funnel.changes.drop_by(&dropped.rule);
            draws.drop(&dropped);
        }
    };
    extract::for_each(&repository, &plan, job, each, &|_, _, _| {})?;
    plan.count_commits(&commits, &mut funnel.commits);
    Ok(draws.trial(funnel))
}
