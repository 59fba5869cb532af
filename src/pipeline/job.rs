//! What is to be made of a repository, and why a candidate is no row.

use std::borrow::Cow;

use gix::ObjectId;

use super::{candidate::Origin, commit::Facts, recipe::Recipe};
use crate::{
    classify::message,
    dedup::opt_out::{self, OptOuts, Work},
    filter::{Layer, Rule, Ruleset, Texts, View},
    git::change::Change,
    sample::SampleId,
    store::ledger::Dropped,
    verdict::{Counts, Skip},
};

/// What is to be made of a repository.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The settings.
    pub recipe: &'a Recipe,
    /// The rules.
    pub rules: &'a Ruleset,
    /// What is known of the repository.
    pub origin: &'a Origin<'a>,
    /// Who does not want their work in the rows; none where nobody is to be asked.
    pub opt_outs: Option<&'a OptOuts>,
}

impl<'a> Job<'a> {
    /// Why a commit, or where there are paths one of its changes, is not wanted by those whose work it is.
    pub(super) fn opt_out(&self, commit: ObjectId, facts: &Facts<'_>, paths: Files<'_>) -> Option<Refusal> {
        let work = Work {
            repositories: self.origin.name,
            commit: &commit.to_string(),
            paths: [paths.0, paths.1],
            people: [Some(&facts.author.email), Some(&facts.committer.email)],
            message: &facts.message,
        };
        let line = self.opt_outs?.find(work)?;
        let layer = if paths == (None, None) { Layer::Commit } else { Layer::Tree };
        Some(drop_as(opt_out::RULE.to_owned(), layer, commit, paths, line, String::new()))
    }

    /// All versions of subject and message that rules see, the last of which are the row's.
    pub(super) fn texts<'t>(&self, message: &'t str) -> Texts<'t>
    where
        'a: 't,
    {
        match message::apply_trailers(message, self.recipe.trailers) {
            Cow::Borrowed(message) => self.rules.texts(message::subject(message), message),
            Cow::Owned(message) => self.rules.texts(message::subject(&message).to_owned(), message),
        }
    }
}

/// Why a candidate is no row.
#[derive(Debug)]
pub enum Refusal {
    /// It can't be one.
    Skip(Skip),
    /// A rule dropped it.
    Drop(Box<Dropped>),
}

impl From<Skip> for Refusal {
    fn from(skip: Skip) -> Self {
        Refusal::Skip(skip)
    }
}

impl Refusal {
    pub(super) fn count(&self, counts: &mut Counts) {
        match self {
            Refusal::Skip(skip) => counts.skip(*skip),
            Refusal::Drop(dropped) => counts.drop_by(&dropped.rule),
        }
    }
}

pub(super) fn dropped(
    rule: &Rule,
    layer: Layer,
    view: &dyn View,
    texts: &Texts<'_>,
    commit: ObjectId,
    files: Files<'_>,
) -> Refusal {
    let (value, bound) = rule.observe(view, texts);
    drop_as(rule.id.clone(), layer, commit, files, value, bound)
}

fn drop_as(rule: String, layer: Layer, commit: ObjectId, files: Files<'_>, value: String, bound: String) -> Refusal {
    let id = (files != (None, None))
        .then(|| SampleId::of(commit.as_bytes(), files.0.map(str::as_bytes), files.1.map(str::as_bytes)).to_hex());
    Refusal::Drop(Box::new(Dropped {
        commit: commit.to_string(),
        id,
        old_file: files.0.map(str::to_owned),
        new_file: files.1.map(str::to_owned),
        layer: layer.as_str(),
        rule,
        value,
        bound,
    }))
}

/// Old and new path.
pub(super) type Files<'p> = (Option<&'p str>, Option<&'p str>);

/// The paths of a change as text.
pub(super) fn files(change: &Change) -> Result<Files<'_>, Skip> {
    let text = |path: &'_ [u8]| std::str::from_utf8(path).map_err(|_| Skip::PathNotUtf8).map(str::len);
    text(&change.path)?;
    change.old_path.as_deref().map(text).transpose()?;
    // Checked above; the second look is free.
    let new = std::str::from_utf8(&change.path).unwrap_or_default();
    let old = change.old_path.as_deref().map_or(new, |path| std::str::from_utf8(path).unwrap_or_default());
    Ok((change.old.map(|_| old), change.new.map(|_| new)))
}
