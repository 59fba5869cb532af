//! The settings that decide which rows a repository gives. Two runs with equal recipes and tips give equal rows.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use crate::{
    classify::{
        author::AuthorKind,
        language::{commitpack::CommitPackLanguages, generated::Generated, linguist::Linguist},
        license::policy::Policy,
        message::TrailerPolicy,
        natural::{Judge, NaturalLanguages},
    },
    dedup::opt_out::OptOuts,
    filter::{Check, Field, Test},
    git::{repository::Revision, walk::Window},
    sample::ChangeKind,
    store::Checkpoint,
};

/// An error names all values that there are, up to so many.
const NAMES_MAX: usize = 60;

/// What to mine and how to write it down. A setting that an older manifest does not know has its default there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recipe {
    /// Where to start.
    pub revision: Revision,
    /// Which commits, by commit time.
    pub window: Window,
    /// Which kinds of change become rows.
    pub kinds: Vec<ChangeKind>,
    /// Whether a deleted and an added file that are alike count as one rename.
    pub renames: bool,
    /// Name of the ruleset.
    pub filter: String,
    /// Digest of its rules.
    pub filter_digest: String,
    /// Largest blob in bytes that becomes contents.
    pub blob_bytes_max: u64,
    /// Most paths that a commit may change.
    pub commit_changes_max: usize,
    /// What happens to trailers that name people.
    pub trailers: TrailerPolicy,
    /// Whether names and addresses of authors stand in the row.
    pub authors: bool,
    /// The licence that the source list declares, as it goes into the row.
    pub license: Option<String>,
    /// Who judges the language of messages.
    pub message_language: Judge,
    /// Digest of the tables of facts.
    pub catalog: String,
}

impl Default for Recipe {
    fn default() -> Self {
        Recipe {
            revision: Revision::Head,
            window: Window::default(),
            kinds: vec![ChangeKind::Modified],
            renames: false,
            filter: "none".into(),
            filter_digest: String::new(),
            blob_bytes_max: 1 << 20,
            commit_changes_max: 1_000_000,
            trailers: TrailerPolicy::Keep,
            authors: false,
            license: None,
            message_language: Judge::Fast,
            catalog: String::new(),
        }
    }
}

impl Recipe {
    /// Reads the recipe in a manifest.
    ///
    /// # Errors
    /// It holds a value that this version does not know.
    pub fn read(manifest: &serde_json::Value) -> Result<Self, serde_json::Error> {
        Self::deserialize(manifest)
    }

    /// The names of the settings in which `self` differs from `older`, as they are spelled in manifests. Tables and
    /// rules that changed under the same name are left out: they make a repository due, not the user's choice different.
    pub fn differences(&self, older: &Self) -> Vec<String> {
        let value = |recipe: &Self| serde_json::to_value(recipe).unwrap_or_default();
        let (mine, older) = (value(self), value(older));
        let names = mine.as_object().into_iter().flatten();
        names
            .filter(|(name, value)| {
                !["catalog", "filter_digest"].contains(&name.as_str()) && older.get(name) != Some(value)
            })
            .map(|(name, _)| name.clone())
            .collect()
    }
}

/// A repository that was mined with other settings than most.
#[derive(Debug, PartialEq, Eq)]
pub struct Other {
    /// Its name.
    pub repository: String,
    /// Names of the settings that differ.
    pub settings: Vec<String>,
}

/// The repositories that were not mined with the settings that most were, by identity. What a list declares of one is no setting
/// of the run, and does not count; where two recipes have as many repositories, the first by its text is the one for most.
pub fn others(batches: &[(PathBuf, Checkpoint)]) -> Vec<Other> {
    let mut found: BTreeMap<&str, (&str, BTreeSet<String>)> = BTreeMap::new();
    for (_, checkpoint) in batches {
        // One that this version can't read still differs from the others by its text.
        let recipe = match Recipe::read(&checkpoint.recipe) {
            Ok(recipe) => serde_json::json!(Recipe { license: None, ..recipe }),
            Err(_) => checkpoint.recipe.clone(),
        };
        let repository = &checkpoint.repository;
        let of = found.entry(&repository.identity).or_insert_with(|| (&repository.name, BTreeSet::new()));
        of.1.insert(recipe.to_string());
    }
    let mut repositories: BTreeMap<&str, usize> = BTreeMap::new();
    found.values().flat_map(|(_, recipes)| recipes).for_each(|recipe| *repositories.entry(recipe).or_default() += 1);
    let most = repositories.iter().max_by_key(|(recipe, count)| (**count, std::cmp::Reverse(**recipe)));
    let Some(most) = most.map(|(recipe, _)| (*recipe).to_owned()) else { return Vec::new() };
    let differing = |recipe: &String| {
        let values =
            |text: &str| serde_json::from_str::<serde_json::Map<_, serde_json::Value>>(text).unwrap_or_default();
        let (most, other) = (values(&most), values(recipe));
        let names: BTreeSet<&String> = most.keys().chain(other.keys()).collect();
        let differ = names.into_iter().filter(|name| most.get(*name) != other.get(*name));
        differ.cloned().collect::<BTreeSet<String>>()
    };
    let others = found.values().filter(|(_, recipes)| recipes.iter().any(|recipe| *recipe != most));
    let other = |(name, recipes): &(&str, BTreeSet<String>)| Other {
        repository: (*name).to_owned(),
        settings: recipes.iter().flat_map(differing).collect::<BTreeSet<String>>().into_iter().collect(),
    };
    others.map(other).collect()
}

/// A recipe, the rules that it names, and whether it replaces what is there.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is written down.
    pub recipe: Recipe,
    /// The rules.
    pub rules: std::sync::Arc<crate::filter::Ruleset>,
    /// Who does not want their work in the rows.
    pub opt_outs: std::sync::Arc<OptOuts>,
    /// Whether to mine from the start and replace all earlier rows.
    pub replace: bool,
    /// Whether a run that was interrupted has replaced them already.
    pub is_replaced: bool,
    /// Whether rows that were mined with other settings are replaced as well, instead of being an error.
    pub renews: bool,
}

impl Settings {
    /// Loads the rules that `recipe` names.
    ///
    /// # Errors
    /// They can't be loaded, or name a licence policy that is not there.
    pub fn new(recipe: Recipe, replace: bool) -> Result<Settings, crate::filter::Error> {
        let rules = std::sync::Arc::new(rules(&recipe.filter)?);
        let recipe = Recipe { filter_digest: rules.digest().to_owned(), ..recipe };
        let opt_outs = std::sync::Arc::default();
        Ok(Settings { recipe, rules, opt_outs, replace, is_replaced: false, renews: false })
    }

    /// Whether earlier rows are still to be replaced.
    pub fn is_to_replace(&self) -> bool {
        self.replace && !self.is_replaced
    }
}

/// Loads the ruleset `name`.
///
/// # Errors
/// It can't be loaded, or names a licence policy, or a value of a column with fixed values, that is not there.
pub fn rules(name: &str) -> Result<crate::filter::Ruleset, crate::filter::Error> {
    let rules = crate::filter::load(name)?;
    for rule in rules.rules() {
        if let Some(reason) = rule.checks().into_iter().find_map(unknown_value) {
            return Err(crate::filter::Error::Rule { place: rule.place.clone(), rule: rule.id.clone(), reason });
        }
    }
    Ok(rules)
}

/// Which value that `check` compares with no row can have.
fn unknown_value(check: &Check) -> Option<String> {
    let commitpack;
    let is_lower = matches!(check, Check::Field { lower: true, .. });
    let (what, known, asked): (_, Vec<&str>, Vec<&str>) = match check {
        Check::Policy(policy) => {
            ("licence policy".into(), Policy::all().iter().map(|policy| policy.id.as_str()).collect(), vec![policy])
        }
        Check::Field { field, test: Test::OneOf(texts), .. } => {
            let known = match field {
                Field::AuthorKind => {
                    [AuthorKind::Human, AuthorKind::Bot, AuthorKind::Agent].map(AuthorKind::as_str).into()
                }
                Field::Kind => ChangeKind::ALL.map(ChangeKind::as_str).into(),
                Field::Lang => {
                    commitpack = CommitPackLanguages::in_use();
                    commitpack.all()
                }
                Field::Language => {
                    Linguist::in_use().languages().iter().map(|language| language.name.as_str()).collect()
                }
                Field::Generated => Generated::in_use().ids().collect(),
                Field::MessageLanguage => NaturalLanguages::in_use().ids().collect(),
                _ => return None,
            };
            (field.name(), known, texts.iter().map(String::as_str).collect())
        }
        _ => return None,
    };
    let is_known =
        |value: &str| known.iter().any(|known| if is_lower { known.to_lowercase() == value } else { *known == value });
    let unknown = asked.into_iter().filter(|value| !is_known(value)).min()?;
    // Of hundreds, those that begin like it.
    let near = |name: &&&str| known.len() <= NAMES_MAX || name.chars().next() == unknown.chars().next();
    let near: Vec<&str> = known.iter().filter(near).copied().collect();
    Some(format!("there is no {what} {unknown:?}; there are {}", near.join(", ")))
}
