//! Which configs and splits an export has, where their files are, and how large they are.

use std::collections::BTreeSet;

use super::{
    super::{Format, Options, Shard, aya, dolma, embedding, tokens, trainer::Kind},
    About,
};

/// The configs with the pattern of their files.
pub(in crate::export) fn configs(about: &About<'_>) -> Vec<(String, Option<String>)> {
    if about.options.format == Format::Grit {
        let kinds = embedding::Kind::ALL.map(|kind| (kind.name().to_owned(), Some(kind.name().to_owned())));
        return kinds.into_iter().filter(|(_, config)| !sizes(about, config.as_deref()).is_empty()).collect();
    }
    let mut configs = vec![("default".to_owned(), None)];
    if about.options.format.has_configs() {
        let names: BTreeSet<&str> = about.shards.iter().filter_map(|shard| shard.config.as_deref()).collect();
        configs.extend(names.into_iter().map(|name| (name.to_owned(), Some(name.to_owned()))));
    }
    configs
}

/// The fields of records, which stand in front of the columns.
pub(super) fn fields(options: &Options<'_>, config: Option<&str>) -> &'static [(&'static str, Kind)] {
    match options.format {
        Format::SentenceTransformers => &embedding::COLUMNS,
        Format::Dolma => &dolma::FIELDS,
        Format::Aya => &aya::FIELDS,
        Format::Grit => {
            let kind = embedding::Kind::ALL.into_iter().find(|kind| Some(kind.name()) == config);
            kind.unwrap_or(embedding::Kind::Embedding).fields()
        }
        _ => options.shape.and_then(|shape| shape.fields(options.format).ok()).unwrap_or_default(),
    }
}

/// Where the files of a split are; of all splits for `*`.
pub(in crate::export) fn pattern(about: &About<'_>, config: Option<&str>, split: &str) -> String {
    match about.options.format {
        Format::Jsonl | Format::Arrow | Format::Sft | Format::Kto | Format::Dpo => format!("data/{split}-*"),
        Format::Hf | Format::SentenceTransformers | Format::Aya => format!("data/{}/{split}-*", config.unwrap_or("*")),
        Format::Provenance => String::new(),
        Format::Tokens => format!("{split}/token_ids_part_*"),
        Format::Dolma => format!("documents/{split}-*"),
        Format::Grit => format!("{split}/*-{}*", config.unwrap_or("*")),
        Format::Commitpack => {
            let stem = if about.options.splits.len() == 1 { "data" } else { split };
            format!("data/{}/{stem}*", config.unwrap_or("*"))
        }
    }
}

/// Rows, bytes in memory and bytes on disk of a config by split, in the user's order; splits without rows are left out.
pub(super) fn sizes<'a>(about: &About<'a>, config: Option<&str>) -> Vec<(&'a str, [u64; 3])> {
    let of = |split: &&'a str| {
        let is_of_config = |shard: &Shard| match (config, about.options.format) {
            // Attributes are the same rows again.
            (None, Format::Tokens) => shard.config.as_deref() == Some(tokens::COUNTED),
            (None, Format::Dolma) => shard.config.as_deref() == Some(dolma::FILES[1]),
            (None, _) => true,
            (Some(kind), Format::Grit) => shard.config.as_ref().is_some_and(|name| name.ends_with(&format!("-{kind}"))),
            _ => shard.config.as_deref() == config,
        };
        let is_of = |shard: &&Shard| shard.split == **split && is_of_config(shard);
        let mut shards = about.shards.iter().filter(is_of).peekable();
        shards.peek()?;
        let sizes = shards.fold([0; 3], |[rows, memory, disk], shard| {
            [rows + shard.rows, memory + shard.bytes_in_memory, disk + shard.bytes]
        });
        Some((*split, sizes))
    };
    about.options.splits.iter().filter_map(of).collect()
}
