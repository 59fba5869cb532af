//! `gitlode inspect`: what is known of one commit, before any rule.

use std::{path::PathBuf, sync::atomic::AtomicBool};

use serde_json::{Value, json};

use super::{Error, print, stats::new_table};
use crate::{
    git::{
        repository::{Repository, Revision},
        walk,
    },
    pipeline::{
        candidate::Origin,
        extract::{self, Candidate, Job, Refusal},
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
    let plan =
        extract::plan::<crate::git::Error>(&repository, walked, job, 1, &interrupt, &|_, _| {}, &mut |_| Ok(()))?;
    let (mut commit, mut files) = (Value::Null, Vec::new());
    let mut each = |candidate: &Candidate, outcome: Result<&Sample<'_>, Refusal>| {
        let path = String::from_utf8_lossy(&candidate.change.path);
        if args.path.as_deref().is_some_and(|wanted| wanted != path) {
            return;
        }
        if let Ok(sample) = outcome {
            commit = columns(sample, &COMMIT_COLUMNS);
        }
        files.push(facts(&path, outcome));
    };
    extract::for_each(&repository, &plan, job, &mut each, &|_, _, _| {})?;
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

fn facts(path: &str, outcome: Result<&Sample<'_>, Refusal>) -> Value {
    match outcome {
        Ok(sample) => columns(sample, &FILE_COLUMNS),
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
