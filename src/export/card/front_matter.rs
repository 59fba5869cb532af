//! The front matter of the card: what tells the Hub and `datasets` what there is, in YAML.

use std::{collections::BTreeSet, fmt::Write as _};

use serde_json::json;

use super::{
    super::{
        Format,
        facts::{OTHERS, UNKNOWN},
        features,
    },
    About, TITLE,
    layout::{configs, fields, pattern, sizes},
};

/// A human language is named in the front matter if at least one in so many messages is in it; the detector errs.
const NATURAL_LANGUAGE_PARTS: u64 = 100;

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

pub(super) fn front_matter(card: &mut String, about: &About<'_>) -> std::fmt::Result {
    let facts = about.facts;
    writeln!(card, "---\npretty_name: {TITLE}\nlicense:")?;
    let mut licenses: BTreeSet<&str> = facts.license_names.keys().map(|name| on_hub(name)).collect();
    if licenses.is_empty() {
        licenses.insert(UNKNOWN);
    }
    for license in licenses {
        writeln!(card, "- {license}")?;
    }
    card.push_str("language:\n- code\n");
    let known: u64 = facts.natural_languages.iter().filter(|(name, _)| is_language(name)).map(|(_, n)| n).sum();
    for (language, rows) in &facts.natural_languages {
        if is_language(language) && rows * NATURAL_LANGUAGE_PARTS >= known {
            // Quoted, since YAML takes `no` for a truth value.
            writeln!(card, "- {}", json!(language))?;
        }
    }
    writeln!(card, "size_categories:\n- {}", size_category(facts.rows))?;
    card.push_str(
        "task_categories:\n- text-generation\ntags:\n- code\n- commits\n- git\n- gitlode\n- instruction-tuning\n",
    );
    if matches!(about.options.format, Format::Arrow | Format::Tokens | Format::Provenance) {
        // `load_dataset` reads no such files.
        card.push_str("---\n\n");
        return Ok(());
    }
    card.push_str("configs:\n");
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
        card.push_str(&features::yaml_of_records(fields(about.options, config.as_deref())));
        match about.options.format {
            Format::Dolma => card.push_str(&features::yaml_of_struct("metadata", about.options.columns)),
            _ => card.push_str(&features::yaml(about.options.columns)),
        }
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

/// What the Hub calls a licence of the column `license`.
fn on_hub(name: &str) -> &str {
    match name {
        UNKNOWN => UNKNOWN,
        name if HUB_LICENSES.contains(&name) => name,
        _ => "other",
    }
}

fn is_language(name: &str) -> bool {
    ![UNKNOWN, OTHERS].contains(&name)
}

/// By the Hub's list of its card metadata.
fn size_category(rows: u64) -> &'static str {
    match rows {
        0..1_000 => "n<1K",
        1_000..10_000 => "1K<n<10K",
        10_000..100_000 => "10K<n<100K",
        100_000..1_000_000 => "100K<n<1M",
        1_000_000..10_000_000 => "1M<n<10M",
        10_000_000..100_000_000 => "10M<n<100M",
        100_000_000..1_000_000_000 => "100M<n<1B",
        1_000_000_000..10_000_000_000 => "1B<n<10B",
        10_000_000_000..100_000_000_000 => "10B<n<100B",
        100_000_000_000..1_000_000_000_000 => "100B<n<1T",
        _ => "n>1T",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_hub() {
        let expected = ["n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B"];
        let larger = ["1B<n<10B", "10B<n<100B", "100B<n<1T", "n>1T"];
        for (power, size) in (2_u32..).zip(expected.into_iter().chain(larger)) {
            let least = if power == 2 { 0 } else { 10_u64.pow(power) };
            assert_eq!((size_category(least), size_category(10_u64.pow(power + 1) - 1)), (size, size));
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
