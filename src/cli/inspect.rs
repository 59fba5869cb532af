//! `gitlode inspect`: what is known of one commit, before any rule.

use std::{path::PathBuf, sync::atomic::AtomicBool};

use serde_json::{Value, json};

use super::{Error, print, stats::new_table};
use crate::{
    classify::{
        author::Authors,
        language::{Languages, linguist::Method},
        natural::{Judge, NaturalLanguages},
    },
    git::{
        repository::{Repository, Revision},
        walk,
    },
    pipeline::{
        candidate::Origin,
        extract,
        job::{Job, Refusal},
        license,
        plan::{self, Candidate},
        recipe::{Recipe, rules},
    },
    sample::{ChangeKind, Sample},
};

#[derive(clap::Args)]
pub struct Args {
    /// The repository.
    repository: PathBuf,
    /// A branch, a tag or a commit id, which may be shortened; ~N for the Nth first parent.
    commit: String,
    /// Only this path.
    path: Option<String>,
    /// Take a deleted and an added file that are alike for one rename.
    #[arg(long)]
    detect_renames: bool,
    /// Largest file in bytes that becomes contents.
    #[arg(long, default_value_t = 1 << 20, value_name = "BYTES")]
    blob_bytes_max: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The columns that are about the commit.
const COMMIT_COLUMNS: [&str; 20] = [
    "commit",
    "parent",
    "subject",
    "files_changed",
    "author_time",
    "author_zone",
    "commit_time",
    "commit_zone",
    "author_kind",
    "author_label",
    "author_name",
    "author_email",
    "committer_name",
    "committer_email",
    "reverts",
    "message_encoding",
    "message_language",
    "message_script",
    "message_language_confidence",
    "files_modified",
];

/// The columns that are about the file; contents, diff and message are `git show`'s to print.
const FILE_COLUMNS: [&str; 18] = [
    "id",
    "kind",
    "old_file",
    "new_file",
    "lang",
    "language",
    "vendored",
    "generated",
    "license",
    "license_spdx",
    "license_path",
    "license_method",
    "license_confidence",
    "additions",
    "deletions",
    "old_encoding",
    "new_encoding",
    "new_blob",
];

pub fn run(args: &Args) -> Result<(), Error> {
    let repository = Repository::open(&args.repository)?;
    let tips = repository.tips(&Revision::Named(args.commit.clone()))?;
    let recipe = Recipe {
        kinds: ChangeKind::ALL.into(),
        renames: args.detect_renames,
        blob_bytes_max: args.blob_bytes_max,
        authors: true,
        ..Recipe::default()
    };
    let interrupt = AtomicBool::new(false);
    let walked = walk::only(&repository, &tips);
    let rules = rules("none")?;
    let name = args.repository.file_name().unwrap_or_default().to_string_lossy();
    let origin = Origin { name: &name, ..Origin::default() };
    let job = Job { recipe: &recipe, rules: &rules, origin: &origin, opt_outs: None };
    let plan = plan::plan::<crate::git::Error>(&repository, walked, job, 1, &interrupt, &|_, _| {}, &mut |_| Ok(()))?;
    let (mut commit, mut files, mut changed) = (Value::Null, Vec::new(), Vec::new());
    let mut each = |candidate: &Candidate, outcome: Result<&Sample<'_>, Refusal>| {
        let path = String::from_utf8_lossy(&candidate.change.path);
        changed.push(path.clone().into_owned());
        if let Ok(sample) = outcome {
            commit = columns(sample, &COMMIT_COLUMNS);
            commit["author_evidence"] = author_evidence(sample);
            commit["message_language_evidence"] = message_evidence(sample.message);
        }
        if args.path.as_deref().is_none_or(|wanted| wanted == path) {
            files.push(facts(&path, outcome));
        }
    };
    extract::for_each(&repository, &plan, job, &mut each, &|_, _, _| {})?;
    if let Some(path) = args.path.as_deref().filter(|_| files.is_empty()) {
        return Err(not_changed(path, &changed));
    }
    let at_head = repository
        .tips(&Revision::Head)
        .unwrap_or_default()
        .first()
        .and_then(|tip| license::of_repository(&repository, *tip));
    commit["repository_license"] = at_head.map_or(Value::Null, |found| {
        json!({"license_spdx": found.expression, "license_path": found.path, "license_method": found.method.as_str(),
            "license_confidence": found.confidence, "of": "HEAD"})
    });
    let skipped = json!({"commit": plan.commits_skipped.skipped, "changes": plan.early.skipped});
    if args.json {
        return print(&format!("{:#}\n", json!({"commit": commit, "files": files, "skipped": skipped})));
    }
    print_table(&commit)?;
    for file in &files {
        print("\n")?;
        print_table(file)?;
    }
    for (unit, counts) in [("the commit", &plan.commits_skipped), ("changes", &plan.early)] {
        for (reason, n) in &counts.skipped {
            print(&format!("\n{unit}: {n} skipped, {}\n", reason.as_str()))?;
        }
    }
    Ok(())
}

/// Says that the commit has no file of this path to show, and which it has.
pub(super) fn not_changed(path: &str, changed: &[String]) -> Error {
    const NAMED_MAX: usize = 5;
    let mut named = changed.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    if changed.len() > NAMED_MAX {
        named = format!("{named} and {} more", changed.len() - NAMED_MAX);
    }
    let those = if changed.is_empty() { "it changes none".into() } else { format!("it changes {named}") };
    Error::Usage(format!("{path} is no regular file that the commit changes; {those}"))
}

/// What made the author a bot or an agent: where it was seen, and which fact of the table fits there.
fn author_evidence(sample: &Sample<'_>) -> Value {
    let of = Option::unwrap_or_default;
    let authors = Authors::in_use();
    let [author, email] = [sample.author_name, sample.author_email].map(of);
    let [committer, committer_email] = [sample.committer_name, sample.committer_email].map(of);
    let label = authors.classify(author, email, committer, committer_email, sample.message);
    label.evidence.map_or(Value::Null, |(evidence, fact)| json!(format!("{}: {fact}", evidence.as_str())))
}

/// How the language was found, as `gitlode languages detect` says it; by which patterns of heuristics, and by which pattern
/// the path says that the file comes from elsewhere.
fn language_evidence(sample: &Sample<'_>) -> [Value; 3] {
    let path = sample.new_file.or(sample.old_file).unwrap_or_default();
    let contents = sample.new_contents.or(sample.old_contents).unwrap_or_default();
    let languages = Languages::in_use();
    let vendored = json!(languages.linguist().vendored_by(path));
    let Some((language, method)) = languages.label(&languages.for_path(path), contents).language else {
        return [Value::Null, Value::Null, vendored];
    };
    let is_by_patterns = method == Method::Heuristics;
    let patterns = is_by_patterns.then(|| languages.linguist().heuristic_evidence(path, contents, language));
    let patterns = patterns.unwrap_or_default();
    let said = patterns.iter().map(|(pattern, line)| format!("{pattern} in line {line}"));
    let said = said.reduce(|all, one| format!("{all}; {one}"));
    [json!(method.as_str()), json!(said), vendored]
}

/// The words that the language of the message was told by, and the most likely languages with their shares.
fn message_evidence(message: &str) -> Value {
    const NAMED_MAX: usize = 3;
    let (words, shares) = NaturalLanguages::in_use().evidence(message, Judge::default());
    let named = shares.iter().take(NAMED_MAX).map(|(language, share)| format!("{language} {share:.3}"));
    json!(format!("{} of: {}", named.collect::<Vec<_>>().join(", "), words.join(" ")))
}

fn facts(path: &str, outcome: Result<&Sample<'_>, Refusal>) -> Value {
    match outcome {
        Ok(sample) => {
            let mut facts = columns(sample, &FILE_COLUMNS);
            let [method, evidence, vendored] = language_evidence(sample);
            facts["language_method"] = method;
            facts["language_evidence"] = evidence;
            facts["vendored_evidence"] = vendored;
            facts
        }
        Err(Refusal::Skip(skip)) => json!({"path": path, "skipped": skip}),
        Err(Refusal::Drop(dropped)) => json!({"path": path, "dropped": dropped.rule}),
    }
}

fn columns(sample: &Sample<'_>, names: &[&str]) -> Value {
    let all = serde_json::to_value(sample).unwrap_or_default();
    names.iter().map(|name| ((*name).to_owned(), all[*name].clone())).collect::<serde_json::Map<_, _>>().into()
}

fn print_table(facts: &Value) -> Result<(), Error> {
    let mut table = new_table(&["fact", "value"]);
    for (name, value) in facts.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        // Contents must not steer the terminal.
        let text = super::printable(&text).replace(['\t', '\n'], "\u{fffd}");
        table.add_row([name.clone(), text]);
    }
    print(&format!("{table}\n"))
}
