//! What a report is made of: the account of a store, what its rows are, samples of what stays and of what goes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use serde_json::Value;

use super::{
    assemble::{self, Assembly},
    draw::Draw,
    progress::{Counter, Progress, Step, rows_in},
    purge,
    read::for_each,
    recipe::{self, Recipe},
};
use crate::{
    classify::license::Licenses,
    dedup::opt_out::{self, OptOuts, Work},
    export::{
        facts::Facts,
        page::{Example, Mention, Report, RuleDrops},
    },
    sample::Sample,
    store::{
        self, Checkpoint, Store,
        ledger::{self, Dropped},
    },
    verdict::{Counts, Funnel},
};

/// What the rules say that no ruleset has.
const WHYS: [(&str, &str); 7] = [
    (opt_out::RULE, "Somebody does not want this work in the rows."),
    ("contamination", "It shares a run of words with a text of a benchmark."),
    ("exact_duplicate", "Another row has the same contents before and after and the same subject."),
    ("near_duplicate", "Another row that stays is alike."),
    ("cap_per_file", "So many rows of one path in one repository stay, drawn by the hash of their ids."),
    ("cap_per_repository", "So many rows of one repository stay, drawn by the hash of their ids."),
    ("cap_per_language", "So many rows of one language stay, drawn by the hash of their ids."),
];

/// What a report is to be.
pub struct Options<'a> {
    /// Its heading.
    pub title: &'a str,
    /// How many samples it has of the rows that stay, and of what each rule dropped.
    pub examples: usize,
    /// Set when the user wishes to stop.
    pub interrupt: &'a AtomicBool,
    /// Hears how far it is.
    pub progress: Progress<'a>,
}

/// What an assembly decided against.
#[derive(Default)]
struct Removed {
    options: Option<Value>,
    /// Why there are no decisions.
    note: String,
    /// Names of rules.
    rules: Vec<String>,
    /// By the number that the id is, the place of the rule in `rules`.
    rows: HashMap<u128, usize>,
    /// The ones to be shown.
    drawn: HashMap<String, Dropped>,
}

/// What was seen of the rows.
#[derive(Default)]
struct Seen {
    rows: Counts,
    facts: Facts,
    examples: BTreeMap<String, Vec<Example>>,
}

/// The page about `store`.
///
/// # Errors
/// The store is damaged, or an interruption.
pub fn report(store: &Store, options: &Options<'_>) -> Result<String, store::Error> {
    let removed = removed(store, options)?;
    let opt_outs = purge::opt_outs(store)?;
    let mut kept = Draw::new(options.examples);
    let mut seen = Seen::default();
    let mut counter = Counter::new(options.progress, Step::Reading, rows_in(store)?);
    let checkpoints = for_each(store, options.interrupt, |row| {
        counter.row();
        let sample = row.sample;
        if opt_outs.find(sample.into()).is_some() {
            seen.rows.drop_by(opt_out::RULE);
        } else if let Some(at) = number(sample.id).and_then(|id| removed.rows.get(&id)) {
            seen.remove(sample, &removed.rules[*at], removed.drawn.get(sample.id));
        } else {
            seen.rows.keep();
            seen.facts.see(sample);
            kept.add(sample.id, || Example::new(sample, None));
        }
        Ok(())
    })?;
    counter.end();
    let mentions = mentions(store, &checkpoints, &opt_outs, options)?;
    let (mut mined, mut recipes, mut versions) = (Funnel::default(), BTreeSet::new(), BTreeSet::new());
    for checkpoint in &checkpoints {
        mined.add(&checkpoint.funnel);
        recipes.insert(checkpoint.recipe.to_string());
        versions.insert(checkpoint.tool.clone());
    }
    let whys = whys(&checkpoints, removed.options.as_ref());
    let rules = rules(&mined, &mut seen, mentions, &whys);
    let licenses = Licenses::in_use();
    let report = Report {
        title: options.title,
        repositories: checkpoints.iter().map(|c| &c.repository.identity).collect::<HashSet<_>>().len() as u64,
        mined: &mined,
        shared: mined.changes.kept - seen.rows.candidates,
        rows: &seen.rows,
        assembly: removed.options.as_ref(),
        assembly_note: &removed.note,
        facts: &seen.facts,
        class: &|license| licenses.class(license).name(),
        recipes: &recipes.into_iter().collect::<Vec<_>>(),
        versions: &versions.into_iter().collect::<Vec<_>>(),
        kept: kept.into_vec(),
        rules,
    };
    Ok(report.html())
}

impl Seen {
    fn remove(&mut self, sample: &Sample<'_>, rule: &str, drawn: Option<&Dropped>) {
        self.rows.drop_by(rule);
        // Who opted out is not shown.
        if let Some(dropped) = drawn.filter(|_| rule != opt_out::RULE) {
            self.examples.entry(rule.to_owned()).or_default().push(Example::new(sample, Some(dropped)));
        }
    }
}

/// The number that an id is.
fn number(id: &str) -> Option<u128> {
    u128::from_str_radix(id, 16).ok()
}

/// The decisions of the assembly of `store`, where they are about what is in it.
fn removed(store: &Store, options: &Options<'_>) -> Result<Removed, store::Error> {
    let none = |note: &str| Ok(Removed { note: note.to_owned(), ..Removed::default() });
    let Some(assembly) = assemble::read(store)? else {
        return none("Nothing looked for duplicates yet; gitlode assemble does.");
    };
    match assemble::is_current(store, &assembly, &assembly.options) {
        Ok(true) => {}
        Ok(false) => {
            return none(
                "The store changed since it was assembled, so those decisions are left out; gitlode assemble decides again.",
            );
        }
        Err(assemble::Error::Store(error)) => return Err(error),
        // A ruleset or a benchmark that is elsewhere by now.
        Err(error) => {
            return none(&format!(
                "What was assembled is left out, since nothing tells whether it is about these rows: {error}."
            ));
        }
    }
    let mut removed = Removed { options: Some(serde_json::json!(assembly.options)), ..Removed::default() };
    let mut draws: BTreeMap<String, Draw<Dropped>> = BTreeMap::new();
    if let Assembly { ledger: Some(manifest), .. } = &assembly {
        ledger::for_each(&assemble::ledger_file(store, manifest), |dropped| {
            go_on(options.interrupt)?;
            let Some((id, key)) = dropped.id.as_deref().and_then(|id| Some((id.to_owned(), number(id)?))) else {
                return Ok(());
            };
            let at = removed.rules.iter().position(|rule| *rule == dropped.rule).unwrap_or_else(|| {
                removed.rules.push(dropped.rule.clone());
                removed.rules.len() - 1
            });
            removed.rows.insert(key, at);
            let draw = draws.entry(dropped.rule.clone()).or_insert_with(|| Draw::new(options.examples));
            draw.add(&id, || dropped);
            Ok(())
        })?;
    }
    let drawn = draws.into_values().flat_map(Draw::into_vec);
    removed.drawn = drawn.filter_map(|dropped| Some((dropped.id.clone()?, dropped))).collect();
    Ok(removed)
}

fn go_on(interrupt: &AtomicBool) -> Result<(), store::Error> {
    if interrupt.load(Relaxed) { Err(store::Error::Interrupted) } else { Ok(()) }
}

/// Some of what each rule dropped while mining, without the work of who opted out.
fn mentions(
    store: &Store,
    checkpoints: &[Checkpoint],
    opt_outs: &OptOuts,
    options: &Options<'_>,
) -> Result<BTreeMap<String, Vec<Mention>>, store::Error> {
    let mut draws: BTreeMap<String, Draw<Mention>> = BTreeMap::new();
    for checkpoint in checkpoints {
        let directory = store.directory(&checkpoint.repository.identity);
        let ledgers = checkpoint.segments.iter().filter_map(|segment| segment.ledger.as_ref());
        for manifest in ledgers.chain(&checkpoint.ledger) {
            ledger::for_each(&directory.join(&manifest.file), |dropped| {
                go_on(options.interrupt)?;
                let work = Work {
                    repositories: &checkpoint.repository.name,
                    commit: &dropped.commit,
                    paths: [dropped.old_file.as_deref(), dropped.new_file.as_deref()],
                    people: [None; 2],
                    message: "",
                };
                if dropped.rule == opt_out::RULE || opt_outs.find(work).is_some() {
                    return Ok(());
                }
                if !draws.contains_key(&dropped.rule) {
                    draws.insert(dropped.rule.clone(), Draw::new(options.examples));
                }
                if let Some(draw) = draws.get_mut(&dropped.rule) {
                    draw.add(dropped.id.as_deref().unwrap_or(&dropped.commit), || Mention::new(&dropped));
                }
                Ok(())
            })?;
        }
    }
    Ok(draws.into_iter().map(|(rule, draw)| (rule, draw.into_vec())).collect())
}

/// Why rules are there, as far as the rulesets that were used are at hand and the same.
fn whys(checkpoints: &[Checkpoint], assembly: Option<&Value>) -> BTreeMap<String, String> {
    let mut used: BTreeSet<(String, Option<String>)> = BTreeSet::new();
    for recipe in checkpoints.iter().filter_map(|checkpoint| Recipe::read(&checkpoint.recipe).ok()) {
        used.insert((recipe.filter, Some(recipe.filter_digest)));
    }
    // An assembly is current only with the same rules.
    used.extend(assembly.and_then(|options| options["filter"].as_str()).map(|filter| (filter.to_owned(), None)));
    let mut whys: BTreeMap<String, String> =
        WHYS.iter().map(|(rule, why)| ((*rule).to_owned(), (*why).to_owned())).collect();
    for (filter, digest) in used {
        let Ok(ruleset) = recipe::rules(&filter) else { continue };
        if digest.is_none_or(|digest| digest == ruleset.digest()) {
            for rule in ruleset.rules() {
                whys.entry(rule.id.clone()).or_insert_with(|| rule.why.clone());
            }
        }
    }
    whys
}

/// Every rule that dropped something, by name.
fn rules(
    mined: &Funnel,
    seen: &mut Seen,
    mut mentions: BTreeMap<String, Vec<Mention>>,
    whys: &BTreeMap<String, String>,
) -> Vec<RuleDrops> {
    let counts = [&mined.commits, &mined.changes, &seen.rows].map(|counts| &counts.dropped);
    let names: BTreeSet<&String> = counts.iter().flat_map(|dropped| dropped.keys()).collect();
    let drops = names.into_iter().map(|name| {
        let [commits, changes, rows] = counts.map(|dropped| dropped.get(name).copied().unwrap_or(0));
        let mentions = mentions.remove(name).unwrap_or_default();
        let note = match (name.as_str(), commits + changes) {
            (opt_out::RULE, _) => "No examples: who opted out is not to be named.",
            (_, 1..) if mentions.is_empty() => {
                "No examples: the ledger of what mining dropped was not kept, or names only work of who opted out."
            }
            _ => "",
        };
        RuleDrops {
            rule: name.clone(),
            why: whys.get(name).cloned().unwrap_or_default(),
            note: note.to_owned(),
            mined: [commits, changes],
            rows,
            mentions,
            examples: seen.examples.remove(name).unwrap_or_default(),
        }
    });
    drops.collect()
}
