//! The card, `README.md`: front matter for programs, and a text for people.

mod front_matter;
mod layout;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Compression, Format, Options, Shard, charts, config_name,
    facts::{Facts, day, ranked},
    figure::{FILE_WIDTH, cut, grouped, percent, visible},
    manifest::{Input, Making},
    trainer,
};
use crate::verdict::{Counts, Funnel, Masked};
use front_matter::front_matter;
use layout::fields;
pub(super) use layout::{configs, pattern};

/// What the data set is called where nobody gave it a name.
pub const TITLE: &str = "Commits mined by gitlode";

/// Lines of a table of licences.
pub const LICENSES_MAX: usize = 40;

/// More of what others wrote is not in a table.
const CELL_CHARS_MAX: usize = 200;

/// A split in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Split {
    /// The part of repositories that it was to have.
    pub fraction: f64,
    /// Its rows.
    pub rows: u64,
}

/// What a card says beside what is in the rows.
pub struct About<'a> {
    /// How the rows were written.
    pub options: &'a Options<'a>,
    /// The files.
    pub shards: &'a [Shard],
    /// What was seen.
    pub facts: &'a Facts,
    /// The splits.
    pub splits: &'a BTreeMap<&'a str, Split>,
    /// Rows of repositories that are mostly in another split.
    pub rows_of_several_splits: u64,
    /// What the rows came from.
    pub inputs: &'a [Input],
    /// The account of mining, without forks that are attached to another repository.
    pub mined: &'a Funnel,
    /// How many such forks there are.
    pub forks: usize,
    /// Name and digest of the ruleset of the export.
    pub filter: (&'a str, &'a str),
    /// Options of the assembly; none without one.
    pub assembly: Option<&'a Value>,
    /// What was masked; none without redaction.
    pub masked: Option<&'a Masked>,
    /// The account of the export.
    pub changes: &'a Counts,
    /// What a licence asks, in a word.
    pub class: &'a dyn Fn(&str) -> &'static str,
    /// How records were made; none where rows stayed rows.
    pub making: Option<&'a Making>,
}

/// The card.
pub fn card(about: &About<'_>) -> String {
    let mut card = String::new();
    // Writing to a string does not fail.
    let _written = front_matter(&mut card, about).and_then(|()| body(&mut card, about));
    card
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{}", grouped(bytes / 1_000_000), bytes % 1_000_000 / 100_000)
}

/// What others wrote, in a table: no mark-up, no end of the cell.
pub(super) fn cell(text: &str) -> String {
    let plain = visible(&cut(text, CELL_CHARS_MAX)).replace(['\\', '`', '|', '<', '>', '\n', '\r', '[', ']', '*'], " ");
    format!("`{plain}`")
}

/// What it is, in two sentences.
pub fn summary(about: &About<'_>) -> String {
    let repositories: BTreeSet<&str> = about.inputs.iter().map(|input| input.repository.as_str()).collect();
    format!(
        "{} {}, from {} {}.{}",
        grouped(about.facts.rows),
        match about.making {
            Some(_) => "records for training, each made of a change of a single file",
            None =>
                "changes of single files, each with the message of its commit, the file before, the file after and the diff",
        },
        grouped(repositories.len() as u64),
        if repositories.len() == 1 { "repository" } else { "repositories" },
        about.facts.times.map_or_else(String::new, |(from, to)| format!(
            " Commits are from {} to {}.",
            day(from),
            day(to)
        )),
    )
}

/// The figures that stand beside the card: names of their files, and what is in them.
pub fn figures(about: &About<'_>) -> Vec<(String, String)> {
    let all = charts::funnel(about.mined, FILE_WIDTH).into_iter();
    let all = all.chain(charts::rows(about.facts, about.class, FILE_WIDTH));
    all.map(|chart| (figure_file(chart.name), chart.figure.in_file())).collect()
}

fn figure_file(name: &str) -> String {
    format!("figures/{name}.svg")
}

fn figure(card: &mut String, title: &str, name: &str) -> std::fmt::Result {
    writeln!(card, "![{title}]({})\n", figure_file(name))
}

fn body(card: &mut String, about: &About<'_>) -> std::fmt::Result {
    writeln!(card, "# {TITLE}\n\n{}\n", summary(about))?;
    loading(card, about)?;
    if let Some(making) = about.making {
        card.push_str(&making.section(about.options.format));
    }
    making(card, about)?;
    funnel(card, about)?;
    redaction(card, about)?;
    splits(card, about)?;
    tables(card, about)?;
    columns(card, about)?;
    card.push_str("## Known limits\n\n");
    for limit in LIMITS.iter().chain(&[MISSING, PERSONAL]) {
        writeln!(card, "- {limit}")?;
    }
    writeln!(card, "\n## Opting out\n\n{OPT_OUT}\n")?;
    writeln!(
        card,
        "## Citation\n\n```bibtex\n{}\n```\n\nThe shape of the rows is CommitPack's: Muennighoff et al., *OctoPack: Instruction Tuning Code Large Language Models*, arXiv 2308.07124.",
        citation(about)
    )
}

/// What tells these files from all others.
pub fn digest(shards: &[Shard]) -> String {
    let mut digest = blake3::Hasher::new();
    for shard in shards {
        digest.update(shard.blake3.as_bytes());
    }
    digest.finalize().to_hex()[..16].to_owned()
}

/// What tells these repositories, as they were, from all others.
fn digest_of_inputs(inputs: &[Input]) -> String {
    let tips: BTreeSet<&str> = last_tips(inputs).into_values().flatten().map(String::as_str).collect();
    blake3::hash(tips.into_iter().collect::<Vec<_>>().join("\n").as_bytes()).to_hex()[..16].to_owned()
}

/// The commits that each repository, by name and identity, was mined up to the last time.
pub(super) fn last_tips(inputs: &[Input]) -> BTreeMap<(&str, &str), &[String]> {
    // Batches come in their order, so the last one stays.
    inputs.iter().map(|input| ((input.repository.as_str(), input.identity.as_str()), input.tips.as_slice())).collect()
}

/// How to name exactly these files.
pub fn citation(about: &About<'_>) -> String {
    let (digest, of) = match about.shards {
        [] => (digest_of_inputs(about.inputs), "commits mined up to"),
        shards => (digest(shards), "files"),
    };
    format!(
        "@misc{{gitlode_{digest},\n  title = {{{TITLE}}},\n  note = {{gitlode {}, {} rows, digest of the {of} {digest}}}\n}}",
        env!("CARGO_PKG_VERSION"),
        grouped(about.facts.rows)
    )
}

/// Options as they were resolved, versions, digests of rules and tables.
fn making(card: &mut String, about: &About<'_>) -> std::fmt::Result {
    let options = about.options;
    card.push_str("## How it was made\n\n");
    let versions: BTreeSet<&str> = about.inputs.iter().map(|input| input.tool.as_str()).collect();
    writeln!(
        card,
        "**Mining** (gitlode {}) walked the history of every repository and made a row of each change of a file. Settings, with the \
         digests of rules (`filter_digest`) and tables of facts (`catalog`):\n",
        versions.into_iter().collect::<Vec<_>>().join(", ")
    )?;
    let recipes: BTreeSet<String> = about.inputs.iter().map(|input| input.recipe.to_string()).collect();
    for recipe in &recipes {
        writeln!(card, "```json\n{recipe}\n```\n")?;
    }
    match about.assembly {
        Some(assembly) => writeln!(
            card,
            "**Assembling** looked at all rows and decided against duplicates and whatever else its settings name:\n\n```json\n{assembly}\n```\n"
        )?,
        None => card.push_str("Duplicates were not looked for.\n\n"),
    }
    let settings = json!({
        "format": options.format, "compression": options.compression, "columns": options.columns,
        "shard_bytes_max": options.shard_bytes_max, "filter": about.filter.0, "filter_digest": about.filter.1,
        "splits": about.splits.iter().map(|(name, split)| (*name, split.fraction)).collect::<BTreeMap<_, _>>(),
    });
    writeln!(card, "**Exporting** (gitlode {}):\n\n```json\n{settings}\n```\n", env!("CARGO_PKG_VERSION"))?;
    card.push_str("`manifest.json` names every repository with the commits it was mined up to, and the BLAKE3 checksum of every file. The same inputs and options give the same bytes.\n\n");
    Ok(())
}

fn loading(card: &mut String, about: &About<'_>) -> std::fmt::Result {
    let example = match about.options.format {
        Format::Hf => {
            let biggest =
                about.facts.languages.iter().max_by_key(|(_, [rows, _])| rows).map(|(name, _)| config_name(name));
            let one = json!(biggest.unwrap_or_else(|| "unknown".into()));
            let columns = about.options.columns;
            // Those that there are: a column that is not is an error.
            let two = ["subject", "diff"].into_iter().filter(|name| columns.contains(name));
            let two: Vec<_> = two.chain(columns.iter().copied()).take(2).collect();
            let mut example = format!(
                "load_dataset(\"DIR\")                  # all languages\nload_dataset(\"DIR\", {one})\n\
                 load_dataset(\"DIR\", streaming=True)  # without loading everything\n\
                 load_dataset(\"DIR\", columns={})",
                json!(two)
            );
            if columns.contains(&"kind") {
                example.push_str(
                    "\n# Fewer rows than this card counts are an error unless the check is off:\n\
                     load_dataset(\"DIR\", filters=[(\"kind\", \"==\", \"modified\")], verification_mode=\"no_checks\")",
                );
            }
            example
        }
        Format::Tokens => {
            "numpy.memmap(\"DIR/train/token_ids_part_0000.npy\", dtype=\"DTYPE\")  # the manifest says which".into()
        }
        Format::Provenance => "pandas.read_csv(\"DIR/data_attribution.csv\")".into(),
        Format::Grit => "load_dataset(\"DIR\", \"embedding\")\nload_dataset(\"DIR\", \"generative\")".into(),
        Format::Dolma
        | Format::Commitpack
        | Format::Jsonl
        | Format::Sft
        | Format::Kto
        | Format::Dpo
        | Format::SentenceTransformers
        | Format::Aya => "load_dataset(\"DIR\")".into(),
        Format::Arrow => "load_from_disk(\"DIR\")".into(),
    };
    writeln!(card, "```python\n{example}\n```\n")?;
    match about.options.shuffle {
        Some(seed) => writeln!(card, "Rows are shuffled: their order is drawn by the seed {seed} and their ids.")?,
        None => card.push_str("Rows are sorted by repository, path, commit time and commit id, so that versions of a file are neighbours: shuffle before training.\n"),
    }
    if about.options.compression != Compression::None {
        card.push_str("Files are compressed.\n");
    }
    card.push('\n');
    Ok(())
}

fn funnel(card: &mut String, about: &About<'_>) -> std::fmt::Result {
    card.push_str("## What was kept and what was not\n\nMining, over all repositories (a change that several have counts in each):\n\n");
    if about.forks > 0 {
        let (are, forks) = (if about.forks == 1 { "is" } else { "are" }, about.forks);
        let what = "they leave out what was mined of their root, or what was when they were mined";
        writeln!(card, "Of attached forks there {are} {forks}, which this does not count: {what}.\n")?;
    }
    for chart in charts::funnel(about.mined, FILE_WIDTH) {
        figure(card, chart.title, chart.name)?;
        writeln!(card, "{}: {}\n", chart.title, chart.note)?;
    }
    card.push_str("| | commits | changes |\n|---|---:|---:|\n");
    let Funnel { commits, changes } = about.mined;
    let mut row = |name: &str, commits: u64, changes: u64| {
        writeln!(card, "| {name} | {} | {} |", grouped(commits), grouped(changes))
    };
    row("candidates", commits.candidates, changes.candidates)?;
    row("kept", commits.kept, changes.kept)?;
    for rule in commits.dropped.keys().chain(changes.dropped.keys()).collect::<BTreeSet<_>>() {
        let of = |counts: &Counts| counts.dropped.get(rule).copied().unwrap_or(0);
        row(&format!("dropped: {}", cell(rule)), of(commits), of(changes))?;
    }
    for reason in commits.skipped.keys().chain(changes.skipped.keys()).collect::<BTreeSet<_>>() {
        let of = |counts: &Counts| counts.skipped.get(reason).copied().unwrap_or(0);
        row(&format!("skipped: {}", reason.as_str()), of(commits), of(changes))?;
    }
    writeln!(card, "\nExporting: {}\n\n| | rows |\n|---|---:|", charts::sum(about.changes))?;
    writeln!(card, "| candidates | {} |", grouped(about.changes.candidates))?;
    for (rule, rows) in &about.changes.dropped {
        writeln!(card, "| dropped: {} | {} |", cell(rule), grouped(*rows))?;
    }
    writeln!(card, "| kept | {} |\n", grouped(about.changes.kept))
}

fn redaction(card: &mut String, about: &About<'_>) -> std::fmt::Result {
    let Some(Masked { rows, kinds, secrets }) = about.masked else { return Ok(()) };
    writeln!(
        card,
        "## Redaction\n\nSecrets, private keys, e-mail addresses and IP addresses were looked for in contents, messages and diffs, as far as \
         the options of the assembly say. In {} rows placeholders such as `<SECRET_1>` and `<EMAIL_1>` stand for them, numbered within a \
         row: the same value has the same placeholder in all of its texts, and the diff still applies. `old_blob` and `new_blob` name the \
         files as they were.\n",
        grouped(*rows)
    )?;
    if *rows > 0 {
        card.push_str("| masked | rows | different values |\n|---|---:|---:|\n");
    }
    let secrets = secrets.iter().map(|(rule, masked)| (format!("secrets: {rule}"), masked));
    for (name, masked) in kinds.iter().map(|(kind, masked)| (kind.clone(), masked)).chain(secrets) {
        writeln!(card, "| {} | {} | {} |", cell(&name), grouped(masked.rows), grouped(masked.values))?;
    }
    card.push('\n');
    Ok(())
}

fn splits(card: &mut String, about: &About<'_>) -> std::fmt::Result {
    card.push_str("## Splits\n\n| split | part of the histories | rows |\n|---|---:|---:|\n");
    for name in about.options.splits {
        let split = about.splits.get(name).copied().unwrap_or_default();
        writeln!(card, "| {name} | {} | {} |", split.fraction, grouped(split.rows))?;
    }
    writeln!(
        card,
        "\nA history goes to one split whole, with all of its forks, by a hash of its root commit (by a hash of the last part of \
         the repository's name where that is not known); {} rows are in a repository that is mostly in another split.\n",
        grouped(about.rows_of_several_splits)
    )
}

fn tables(card: &mut String, about: &About<'_>) -> std::fmt::Result {
    let facts = about.facts;
    let disk: u64 = about.shards.iter().map(|shard| shard.bytes).sum();
    let memory: u64 = about.shards.iter().map(|shard| shard.bytes_in_memory).sum();
    writeln!(
        card,
        "## Sizes\n\n{} rows in {} files: {} MB on disk, {} MB in memory; {} MB of contents before and after, {} MB of diffs, {} changed \
         lines.\n",
        grouped(facts.rows),
        grouped(about.shards.len() as u64),
        megabytes(disk),
        megabytes(memory),
        megabytes(facts.contents_bytes),
        megabytes(facts.diff_bytes),
        grouped(facts.changed_lines)
    )?;
    for (what, unit, lengths) in [
        ("Subjects", "characters", &facts.subject_lengths),
        ("Contents before and after", "bytes", &facts.contents_lengths),
        ("Changed lines", "lines", &facts.change_lengths),
    ] {
        writeln!(card, "- {what}: {}", charts::spread(lengths, unit))?;
    }
    card.push('\n');
    for (title, name) in [("Length of subjects", "subjects"), ("Contents", "contents"), ("Changed lines", "lines")] {
        figure(card, title, name)?;
    }
    card.push_str("## Languages\n\n");
    figure(card, "Languages", "languages")?;
    card.push_str("By the column `lang` (CommitPack's names). MB of contents before and after.\n\n| language | rows | MB |\n|---|---:|---:|\n");
    let mut languages: Vec<_> = facts.languages.iter().collect();
    languages.sort_by_key(|(name, [rows, _])| (std::cmp::Reverse(*rows), name.as_str()));
    for (name, [rows, bytes]) in languages {
        writeln!(card, "| {} | {} | {} |", cell(name), grouped(*rows), megabytes(*bytes))?;
    }
    licenses(card, about)?;
    card.push_str("\n## Years, repositories, languages of messages, authors\n\n");
    figure(card, "Years of commits", "years")?;
    counted(card, "year of the commit", &facts.years.iter().map(|(y, n)| (y.to_string(), *n)).collect(), usize::MAX)?;
    card.push('\n');
    for (title, what, counts, name) in [
        ("Repositories", "repository", &facts.repositories, "repositories"),
        ("Languages of messages", "language of the message", &facts.natural_languages, "messages"),
        ("People, bots and agents", "kind of author", &facts.author_kinds, "authors"),
        ("Kinds of change", "kind of change", &facts.kinds, "kinds"),
    ] {
        figure(card, title, name)?;
        counted(card, what, counts, LICENSES_MAX)?;
        card.push('\n');
    }
    if !facts.author_labels.is_empty() {
        counted(card, "bot or agent", &facts.author_labels, LICENSES_MAX)?;
        card.push('\n');
    }
    Ok(())
}

fn licenses(card: &mut String, about: &About<'_>) -> std::fmt::Result {
    let facts = about.facts;
    card.push_str("\n## Licences\n\n");
    figure(card, "Licences", "licences")?;
    figure(card, "What licences ask", "classes")?;
    card.push_str(
        "Each row names the licence of its file at its commit (`license_spdx`), as far as it is known. What it asks is the most \
         that any part of it asks; of a choice, the least.\n\n| licence | asks | rows | |\n|---|---|---:|---:|\n",
    );
    let ranked = ranked(&facts.licenses);
    for (name, n) in ranked.iter().take(LICENSES_MAX) {
        writeln!(card, "| {} | {} | {} | {} |", cell(name), (about.class)(name), grouped(*n), percent(*n, facts.rows))?;
    }
    let others: u64 = ranked.iter().skip(LICENSES_MAX).map(|(_, n)| n).sum();
    if others > 0 {
        let names = grouped((ranked.len() - LICENSES_MAX) as u64);
        writeln!(card, "| {names} others | | {} | {} |", grouped(others), percent(others, facts.rows))?;
    }
    Ok(())
}

/// A table of the most frequent, in order of their names where all have room.
fn counted(card: &mut String, what: &str, counts: &BTreeMap<String, u64>, rows_max: usize) -> std::fmt::Result {
    writeln!(card, "| {what} | rows |\n|---|---:|")?;
    let mut rows: Vec<_> = counts.iter().collect();
    if rows_max < usize::MAX {
        rows.sort_by_key(|(name, n)| (std::cmp::Reverse(**n), name.as_str()));
    }
    for (name, n) in rows.iter().take(rows_max) {
        writeln!(card, "| {} | {} |", cell(name), grouped(**n))?;
    }
    let others: u64 = rows.iter().skip(rows_max).map(|(_, n)| **n).sum();
    if others > 0 {
        writeln!(card, "| {} others | {} |", grouped((rows.len() - rows_max) as u64), grouped(others))?;
    }
    Ok(())
}

/// What each column means, where it takes few words.
fn columns(card: &mut String, about: &About<'_>) -> std::fmt::Result {
    card.push_str("## Columns\n\n");
    let mut seen = BTreeSet::new();
    for (_, config) in configs(about) {
        for (name, _) in fields(about.options, config.as_deref()) {
            if seen.insert(name) {
                writeln!(card, "- `{name}`: {}", trainer::meaning(name))?;
            }
        }
    }
    for name in about.options.columns {
        writeln!(card, "- `{name}`: {}", meaning(name))?;
    }
    card.push('\n');
    Ok(())
}

pub(super) fn meaning(column: &str) -> &'static str {
    match column {
        "id" => "the row's name, a hash of commit and paths",
        "commit" => "id of the commit",
        "old_file" => "path before the change; null for an added file",
        "new_file" => "path after the change; null for a deleted file",
        "old_contents" => "the file before",
        "new_contents" => "the file after",
        "subject" => "first line of the commit's message",
        "message" => "the whole message",
        "lang" => "CommitPack's name of the language, by the path's ending",
        "license" => "the licence in CommitPack's spelling",
        "repos" => "the repositories that have the row, separated by commas",
        "diff" => "unified diff; `git apply` of it to the old contents gives the new ones",
        "parent" => "id of the commit's first parent",
        "kind" => "modified, added, deleted or renamed",
        "files_changed" => "paths that the commit changes",
        "files_modified" => "of those, the paths that are there before and after",
        "additions" | "deletions" => "lines in the diff",
        "old_blob" | "new_blob" => "git's id of the contents",
        "old_encoding" | "new_encoding" | "message_encoding" => "encoding in the repository; contents here are UTF-8",
        "author_time" | "commit_time" => "seconds since 1970",
        "author_zone" | "commit_zone" => "minutes east of UTC",
        "author_kind" => "human, bot or agent",
        "author_label" => "which bot or agent",
        "reverts" => "ids of commits that the message says it reverts",
        "reverts_subject" => "the subject that it says it reverts",
        "author_name" | "author_email" | "committer_name" | "committer_email" => "null unless asked for when mining",
        "language" => "GitHub Linguist's name of the language, by path and contents",
        "license_spdx" => "licence of the file at the commit, an SPDX expression",
        "license_path" => "the file that says so",
        "license_method" => "how it was found: tag, header, text, reuse, metadata or declared",
        "license_confidence" => "from 0 to 1",
        "message_language" => "human language of the message, ISO 639-1",
        "message_script" => "its script, ISO 15924",
        "message_language_confidence" => "from 0 to 1",
        "vendored" => "whether the path says that the file comes from elsewhere",
        "generated" => "the rule by which a program made the file; null for others",
        _ => "see the documentation of gitlode",
    }
}

/// What is not in the rows.
pub const MISSING: &str = "Merges are left out, and what can't be given without loss as text: binaries, text in no known encoding, missing objects.";

/// What is in the rows and may concern somebody.
pub const PERSONAL: &str = "Messages and files are as people published them, where nothing was masked: they may hold names, addresses, secrets, errors and offence.";

/// What to know before relying on the rows.
pub const LIMITS: [&str; 4] = [
    "`lang` goes by the ending of the path alone; `language` looks at contents.",
    "Licences are found by their texts and notices. What is not known is `unknown`, not free; check what you rely on.",
    "Languages of messages are a guess where a message is short.",
    "Files by one author, or copied between repositories, are in several splits unless the repositories share their history.",
];

/// What somebody does who wants no part in it.
pub const OPT_OUT: &str = "Who does not want their work in this data set tells whoever publishes it, naming the owner, the repository, \
the commits or the e-mail address. The publisher takes the rows out for good with `gitlode purge STORE` (`--owner NAME`, \
`--repo OWNER/NAME` …), which every later run and export remembers, runs `gitlode export STORE DIR` again, and publishes the result in place \
of this one.";
