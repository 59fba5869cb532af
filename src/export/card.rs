//! The card, `README.md`: front matter that tells the Hub and `datasets` what there is, and a text for people.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde::Serialize;
use serde_json::{Value, json};

use super::{Compression, Format, Options, Shard, config_name, features, manifest::Input};
use crate::{
    sample::Sample,
    verdict::{Counts, Funnel},
};

/// A human language is named in the front matter if at least one in so many messages is in it; the detector errs.
const NATURAL_LANGUAGE_PARTS: u64 = 100;

/// Lines of a table of licences.
const LICENSES_MAX: usize = 40;

/// Licences that the Hub has a name for (hub-docs, `datasetcard.md`), in the spelling of the column `license`.
const HUB_LICENSES: [&str; 37] = [
    "afl-3.0",
    "agpl-3.0",
    "apache-2.0",
    "artistic-2.0",
    "bsd-2-clause",
    "bsd-3-clause",
    "bsd-3-clause-clear",
    "bsl-1.0",
    "cc-by-3.0",
    "cc-by-4.0",
    "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0",
    "cc-by-sa-3.0",
    "cc-by-sa-4.0",
    "cc0-1.0",
    "ecl-2.0",
    "epl-1.0",
    "epl-2.0",
    "eupl-1.1",
    "eupl-1.2",
    "gfdl",
    "gpl-2.0",
    "gpl-3.0",
    "isc",
    "lgpl-2.1",
    "lgpl-3.0",
    "lppl-1.3c",
    "mit",
    "mpl-2.0",
    "ms-pl",
    "ncsa",
    "odbl",
    "ofl-1.1",
    "osl-3.0",
    "postgresql",
    "unlicense",
    "zlib",
];

/// A split in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Split {
    /// The part of repositories that it was to have.
    pub fraction: f64,
    /// Its rows.
    pub rows: u64,
}

/// What was seen of the rows on their way out.
#[derive(Debug, Default)]
pub struct Facts {
    rows: u64,
    languages: BTreeMap<String, [u64; 2]>,
    licenses: BTreeMap<String, u64>,
    hub_licenses: BTreeSet<String>,
    natural_languages: BTreeMap<String, u64>,
    author_kinds: BTreeMap<String, u64>,
    years: BTreeMap<i64, u64>,
    times: Option<(i64, i64)>,
    contents_bytes: u64,
    diff_bytes: u64,
    changed_lines: u64,
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(n) => *n += 1,
        None => {
            counts.insert(name.to_owned(), 1);
        }
    }
}

impl Facts {
    /// Looks at a row.
    pub fn see(&mut self, sample: &Sample<'_>) {
        let length = |text: Option<&str>| text.map_or(0, str::len) as u64;
        let contents = length(sample.old_contents) + length(sample.new_contents);
        self.rows += 1;
        self.contents_bytes += contents;
        self.diff_bytes += sample.diff.len() as u64;
        self.changed_lines += u64::from(sample.additions) + u64::from(sample.deletions);
        if !self.languages.contains_key(sample.lang) {
            self.languages.insert(sample.lang.to_owned(), [0; 2]);
        }
        if let Some([rows, bytes]) = self.languages.get_mut(sample.lang) {
            *rows += 1;
            *bytes += contents;
        }
        count(&mut self.licenses, sample.license_spdx.unwrap_or("unknown"));
        let license = sample.license.unwrap_or("unknown");
        let on_hub = match license {
            "unknown" => "unknown",
            name if HUB_LICENSES.contains(&name) => name,
            _ => "other",
        };
        if !self.hub_licenses.contains(on_hub) {
            self.hub_licenses.insert(on_hub.to_owned());
        }
        if let Some(language) = sample.message_language {
            count(&mut self.natural_languages, language);
        }
        count(&mut self.author_kinds, sample.author_kind);
        if let Some(time) = sample.commit_time {
            let (from, to) = self.times.unwrap_or((time, time));
            self.times = Some((from.min(time), to.max(time)));
            *self.years.entry(date(time).0).or_default() += 1;
        }
    }
}

/// Year, month and day of a time in seconds since 1970 (Howard Hinnant's `civil_from_days`).
fn date(time: i64) -> (i64, i64, i64) {
    let days = time.div_euclid(86_400) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

fn day(time: i64) -> String {
    let (year, month, day) = date(time);
    format!("{year:04}-{month:02}-{day:02}")
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
    /// Rows that repositories of different splits have.
    pub rows_of_several_splits: u64,
    /// What the rows came from.
    pub inputs: &'a [Input],
    /// The account of mining.
    pub mined: &'a Funnel,
    /// Name and digest of the ruleset of the export.
    pub filter: (&'a str, &'a str),
    /// Options of the assembly; none without one.
    pub assembly: Option<&'a Value>,
    /// The account of the export.
    pub changes: &'a Counts,
}

/// The card.
pub fn card(about: &About<'_>) -> String {
    let mut card = String::new();
    // Writing to a string does not fail.
    let _written = front_matter(&mut card, about).and_then(|()| body(&mut card, about));
    card
}

/// The configs with the pattern of their files.
fn configs(about: &About<'_>) -> Vec<(String, Option<String>)> {
    let mut configs = vec![("default".to_owned(), None)];
    if about.options.format.has_configs() {
        let names: BTreeSet<&str> = about.shards.iter().filter_map(|shard| shard.config.as_deref()).collect();
        configs.extend(names.into_iter().map(|name| (name.to_owned(), Some(name.to_owned()))));
    }
    configs
}

fn pattern(about: &About<'_>, config: Option<&str>, split: &str) -> String {
    match about.options.format {
        Format::Jsonl | Format::Arrow => format!("data/{split}-*"),
        Format::Hf => format!("data/{}/{split}-*", config.unwrap_or("*")),
        Format::Commitpack => {
            let stem = if about.options.splits.len() == 1 { "data" } else { split };
            format!("data/{}/{stem}*", config.unwrap_or("*"))
        }
    }
}

/// Rows, bytes in memory and bytes on disk of a config by split, in the user's order; splits without rows are left out.
fn sizes<'a>(about: &About<'a>, config: Option<&str>) -> Vec<(&'a str, [u64; 3])> {
    let of = |split: &&'a str| {
        let is_of = |shard: &&Shard| shard.split == **split && (config.is_none() || shard.config.as_deref() == config);
        let mut shards = about.shards.iter().filter(is_of).peekable();
        shards.peek()?;
        let sizes = shards.fold([0; 3], |[rows, memory, disk], shard| {
            [rows + shard.rows, memory + shard.bytes_in_memory, disk + shard.bytes]
        });
        Some((*split, sizes))
    };
    about.options.splits.iter().filter_map(of).collect()
}

fn front_matter(card: &mut String, about: &About<'_>) -> std::fmt::Result {
    let facts = about.facts;
    card.push_str("---\npretty_name: Commits mined by gitlode\nlicense:\n");
    let licenses: Vec<&str> = facts.hub_licenses.iter().map(String::as_str).collect();
    for license in if licenses.is_empty() { vec!["unknown"] } else { licenses } {
        writeln!(card, "- {license}")?;
    }
    card.push_str("language:\n- code\n");
    let known: u64 = facts.natural_languages.values().sum();
    for (language, rows) in &facts.natural_languages {
        if rows * NATURAL_LANGUAGE_PARTS >= known {
            // Quoted, since YAML takes `no` for a truth value.
            writeln!(card, "- {}", json!(language))?;
        }
    }
    writeln!(card, "size_categories:\n- {}", size_category(facts.rows))?;
    card.push_str("task_categories:\n- text-generation\ntags:\n- code\n- commits\n- git\n- gitlode\n- instruction-tuning\nconfigs:\n");
    let configs = configs(about);
    for (name, config) in &configs {
        writeln!(card, "- config_name: {}\n  data_files:", name_in_yaml(name))?;
        for (split, _) in sizes(about, config.as_deref()) {
            let pattern = pattern(about, config.as_deref(), split);
            writeln!(card, "  - split: {split}\n    path: {}", name_in_yaml(&pattern))?;
        }
    }
    card.push_str("dataset_info:\n");
    for (name, config) in &configs {
        writeln!(card, "- config_name: {}\n  features:", name_in_yaml(name))?;
        card.push_str(&features::yaml(about.options.columns));
        card.push_str("  splits:\n");
        let (mut memory, mut disk) = (0, 0);
        for (split, [rows, bytes_in_memory, bytes]) in sizes(about, config.as_deref()) {
            writeln!(card, "  - name: {split}\n    num_bytes: {bytes_in_memory}\n    num_examples: {rows}")?;
            memory += bytes_in_memory;
            disk += bytes;
        }
        writeln!(card, "  download_size: {disk}\n  dataset_size: {memory}")?;
    }
    card.push_str("---\n\n");
    Ok(())
}

/// Plain where YAML takes it for the same text.
fn name_in_yaml(name: &str) -> String {
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
    let is_plain = |c: char| c.is_ascii_lowercase() || "-_/".contains(c);
    let has_meaning = ["no", "n", "y", "yes", "on", "off", "true", "false", "null"].contains(&name);
    let (plain, star) = name.strip_suffix('*').map_or((name, ""), |plain| (plain, "*"));
    if starts && plain.chars().all(is_plain) && !has_meaning {
        format!("{plain}{star}")
    } else {
        json!(name).to_string()
    }
}

fn size_category(rows: u64) -> &'static str {
    match rows {
        0..1_000 => "n<1K",
        1_000..10_000 => "1K<n<10K",
        10_000..100_000 => "10K<n<100K",
        100_000..1_000_000 => "100K<n<1M",
        1_000_000..10_000_000 => "1M<n<10M",
        10_000_000..100_000_000 => "10M<n<100M",
        100_000_000..1_000_000_000 => "100M<n<1B",
        _ => "1B<n<10B",
    }
}

fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}

/// What others wrote, in a table: no mark-up, no end of the cell.
fn cell(text: &str) -> String {
    let plain = text.replace(['\\', '`', '|', '<', '>', '\n', '\r', '[', ']', '*'], " ");
    format!("`{plain}`")
}

fn body(card: &mut String, about: &About<'_>) -> std::fmt::Result {
    let (facts, options) = (about.facts, about.options);
    let repositories: BTreeSet<&str> = about.inputs.iter().map(|input| input.repository.as_str()).collect();
    writeln!(
        card,
        "# Commits mined by gitlode\n\n{} changes of single files, each with the message of its commit, the file before, the file \
         after and the diff, from {} {}.{}\n",
        grouped(facts.rows),
        grouped(repositories.len() as u64),
        if repositories.len() == 1 { "repository" } else { "repositories" },
        facts.times.map_or_else(String::new, |(from, to)| format!(" Commits are from {} to {}.", day(from), day(to))),
    )?;
    loading(card, about)?;
    card.push_str("## How it was made\n\n");
    writeln!(card, "By gitlode {}, in two steps.\n", env!("CARGO_PKG_VERSION"))?;
    card.push_str("**Mining** walked the history of every repository and made a row of each change of a file. Settings, with the digests of rules (`filter_digest`) and tables of facts (`catalog`):\n\n");
    let recipes: BTreeSet<String> = about.inputs.iter().map(|input| input.recipe.to_string()).collect();
    for recipe in &recipes {
        writeln!(card, "```json\n{recipe}\n```\n")?;
    }
    write!(card, "**Exporting** asked the ruleset `{}`", about.filter.0.replace('`', " "))?;
    writeln!(
        card,
        " (digest `{}`).{}",
        about.filter.1,
        if about.assembly.is_none() { " Duplicates were not looked for." } else { "" }
    )?;
    if let Some(assembly) = about.assembly {
        writeln!(
            card,
            "Before that, duplicates and whatever else `gitlode assemble` decided against were left out:\n\n```json\n{assembly}\n```"
        )?;
    }
    card.push_str("\n`manifest.json` names every repository with the commits it was mined up to, and the BLAKE3 checksum of every file. The same inputs and options give the same bytes.\n\n");
    funnel(card, about)?;
    splits(card, about)?;
    tables(card, about)?;
    columns(card, options.columns)?;
    card.push_str(TAIL);
    let mut digest = blake3::Hasher::new();
    for shard in about.shards {
        digest.update(shard.blake3.as_bytes());
    }
    let digest = &digest.finalize().to_hex()[..16];
    writeln!(
        card,
        "## Citation\n\n```bibtex\n@misc{{gitlode_{digest},\n  title = {{Commits mined by gitlode}},\n  note = {{gitlode {}, {} rows, digest of the files {digest}}}\n}}\n```\n\nThe shape of the rows is CommitPack's: Muennighoff et al., *OctoPack: Instruction Tuning Code Large Language Models*, arXiv 2308.07124.",
        env!("CARGO_PKG_VERSION"),
        grouped(facts.rows)
    )
}

fn loading(card: &mut String, about: &About<'_>) -> std::fmt::Result {
    let example = match about.options.format {
        Format::Hf => {
            let biggest =
                about.facts.languages.iter().max_by_key(|(_, [rows, _])| rows).map(|(name, _)| config_name(name));
            let one = json!(biggest.unwrap_or_else(|| "unknown".into()));
            format!(
                "load_dataset(\"DIR\")                  # all languages\nload_dataset(\"DIR\", {one})\n\
                 load_dataset(\"DIR\", streaming=True)  # without loading everything\n\
                 load_dataset(\"DIR\", columns=[\"subject\", \"diff\"])\n\
                 # Fewer rows than this card counts are an error unless the check is off:\n\
                 load_dataset(\"DIR\", filters=[(\"kind\", \"==\", \"modified\")], verification_mode=\"no_checks\")"
            )
        }
        Format::Commitpack | Format::Jsonl => "load_dataset(\"DIR\")".into(),
        Format::Arrow => "load_from_disk(\"DIR\")".into(),
    };
    writeln!(card, "```python\n{example}\n```\n")?;
    card.push_str("Rows are sorted by repository, path, commit time and commit id, so that versions of a file are neighbours: shuffle before training.\n");
    if about.options.compression != Compression::None {
        card.push_str("Files are compressed.\n");
    }
    card.push('\n');
    Ok(())
}

fn funnel(card: &mut String, about: &About<'_>) -> std::fmt::Result {
    card.push_str("## What was kept and what was not\n\nMining, over all repositories (a change that several have counts in each):\n\n| | commits | changes |\n|---|---:|---:|\n");
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
    card.push_str("\nExporting:\n\n| | rows |\n|---|---:|\n");
    writeln!(card, "| candidates | {} |", grouped(about.changes.candidates))?;
    for (rule, rows) in &about.changes.dropped {
        writeln!(card, "| dropped: {} | {} |", cell(rule), grouped(*rows))?;
    }
    writeln!(card, "| kept | {} |\n", grouped(about.changes.kept))
}

fn splits(card: &mut String, about: &About<'_>) -> std::fmt::Result {
    card.push_str("## Splits\n\n| split | part of the repositories | rows |\n|---|---:|---:|\n");
    for name in about.options.splits {
        let split = about.splits.get(name).copied().unwrap_or_default();
        writeln!(card, "| {name} | {} | {} |", split.fraction, grouped(split.rows))?;
    }
    writeln!(
        card,
        "\nA repository goes to one split whole, by a hash of the last part of its name, so that most forks go along. A row that \
         several repositories have goes with the first by name; {} rows are also in a repository of another split.\n",
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
    card.push_str("## Languages\n\nBy the column `lang` (CommitPack's names). MB of contents before and after.\n\n| language | rows | MB |\n|---|---:|---:|\n");
    let mut languages: Vec<_> = facts.languages.iter().collect();
    languages.sort_by_key(|(name, [rows, _])| (std::cmp::Reverse(*rows), name.as_str()));
    for (name, [rows, bytes]) in languages {
        writeln!(card, "| {} | {} | {} |", cell(name), grouped(*rows), megabytes(*bytes))?;
    }
    card.push_str("\n## Licences\n\nEach row names the licence of its file at its commit (`license_spdx`), as far as it is known.\n\n");
    counted(card, "licence", &facts.licenses, LICENSES_MAX)?;
    card.push_str("\n## Years, languages of messages, authors\n\n");
    counted(card, "year of the commit", &facts.years.iter().map(|(y, n)| (y.to_string(), *n)).collect(), usize::MAX)?;
    card.push('\n');
    counted(card, "language of the message", &facts.natural_languages, LICENSES_MAX)?;
    card.push('\n');
    counted(card, "kind of author", &facts.author_kinds, LICENSES_MAX)?;
    card.push('\n');
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
fn columns(card: &mut String, columns: &[&str]) -> std::fmt::Result {
    card.push_str("## Columns\n\n");
    for name in columns {
        writeln!(card, "- `{name}`: {}", meaning(name))?;
    }
    card.push('\n');
    Ok(())
}

fn meaning(column: &str) -> &'static str {
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
        "license_method" => "how it was found: tag, header, text, metadata or declared",
        "license_confidence" => "from 0 to 1",
        "message_language" => "human language of the message, ISO 639-1",
        "message_script" => "its script, ISO 15924",
        "message_language_confidence" => "from 0 to 1",
        "vendored" => "whether the path says that the file comes from elsewhere",
        "generated" => "the rule by which a program made the file; null for others",
        _ => "see the documentation of gitlode",
    }
}

const TAIL: &str = "\
## Known limits

- Merges are left out, and what can't be given without loss as text: binaries, text in no known encoding, missing objects.
- `lang` goes by the ending of the path alone; `language` looks at contents.
- Licences are found by their texts and notices. What is not known is `unknown`, not free; check what you rely on.
- Languages of messages are a guess where a message is short.
- Messages and files are as people published them: they may hold names, addresses, secrets, errors and offence.
- Files by one author, or copied between repositories, are in both splits unless the repositories are named alike.

## Opting out

Who does not want their work in this data set tells whoever publishes it, naming the owner, the repository or the commits. \
The publisher adds a line such as `owner:NAME` or `repository:OWNER/NAME` to a list, runs `gitlode assemble STORE --opt-out LIST` and \
`gitlode export STORE DIR --assembled`, and publishes the result in place of this one.

";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (time, expected) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_709_164_800, "2024-02-29"),
            (1_735_689_599, "2024-12-31"),
            (-1, "1969-12-31"),
            (4_102_444_800, "2100-01-01"),
        ] {
            assert_eq!(day(time), expected, "{time}");
        }
    }

    #[test]
    fn yaml_keeps_names_as_they_are() {
        for (name, expected) in
            [("rust", "rust"), ("c#", "\"c#\""), ("no", "\"no\""), ("data/train-*", "data/train-*"), ("1c", "\"1c\"")]
        {
            assert_eq!(name_in_yaml(name), expected);
        }
        assert_eq!(name_in_yaml("data/*/train-*"), "\"data/*/train-*\"");
        assert!(HUB_LICENSES.is_sorted());
    }
}
