//! Dolma's documents and attributes: a text a row, and beside it what is known of it, in files with the same names and the
//! same order. Dolma's mixer selects documents by their attributes.

use std::{collections::BTreeMap, io::Write as _};

use serde::Serialize;
use serde_json::json;

use super::{
    Record, facts,
    trainer::{Kind, write_text},
};
use crate::sample::{SCHEMA_VERSION, Sample};

/// The name of the experiment, the first part of each attribute's name, and what documents name as their source.
pub const EXPERIMENT: &str = "gitlode";

/// The configs of the two files of a shard, which are also their directories; in the order in which records are written.
pub const FILES: [&str; 2] = ["attributes/gitlode", "documents"];

/// Columns that are in the text, or too long for metadata.
pub const TEXTS: [&str; 6] = ["id", "old_contents", "new_contents", "subject", "message", "diff"];

/// Fields of a document in front of its metadata.
pub const FIELDS: [(&str, Kind); 6] = [
    ("id", Kind::Text),
    ("text", Kind::Text),
    ("source", Kind::Text),
    ("added", Kind::Text),
    ("created", Kind::Text),
    ("version", Kind::Text),
];

/// What is known of a row beside what is in it.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    /// What its licence asks, in a word.
    pub class: &'a str,
    /// The rules that would drop it; none for a row that stays.
    pub verdicts: &'a [String],
}

/// How documents were made, for the manifest and the card.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tagged {
    /// The first part of the names of attributes.
    pub experiment: &'static str,
    /// Whether rows that rules or the assembly drop are here, with the rule as an attribute.
    pub has_dropped: bool,
    /// Rows by such a rule; a row may have two.
    pub verdicts: BTreeMap<String, u64>,
}

impl Tagged {
    /// The section of the card.
    pub fn section(&self) -> String {
        let dropped = match self.has_dropped {
            true => {
                "Rows that rules or the assembly drop are here: an attribute `gitlode__verdict__RULE` says by which."
            }
            false => "Rows that rules or the assembly drop are not here.",
        };
        format!(
            "## Documents and attributes\n\n`documents/` has a document a row, whose text is the message and the diff. \
             `attributes/gitlode/` has what is known of it, in files of the same names and in the same order: \
             `gitlode__<tagger>__<label>`, a span over the whole text with a score. {dropped}\n\n"
        )
    }
}

/// The text of a row: its message, and its diff.
fn text(sample: &Sample<'_>) -> String {
    [sample.message.trim_end(), "\n\n", sample.diff].concat()
}

/// `2024-02-29T23:59:59.000Z` of a time in seconds since 1970; nothing where it is not known.
fn instant(time: Option<i64>) -> String {
    let Some(time) = time else { return String::new() };
    let second = time.rem_euclid(86_400);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{}T{hour:02}:{minute:02}:{second:02}.000Z", facts::day(time))
}

/// What a path in Dolma's filters can name: ASCII letters and digits, with single underscores between them.
fn label(name: &str) -> String {
    let spelt = name.replace('+', "plus").replace('#', "sharp");
    let words = spelt.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_")
}

/// Tagger, label and score of all that is known of a row.
fn tags(sample: &Sample<'_>, labels: Labels<'_>, characters: usize) -> Vec<(&'static str, String, f64)> {
    let mut tags = vec![
        ("lang", label(sample.lang), 1.0),
        ("kind", label(sample.kind), 1.0),
        ("author", label(sample.author_kind), 1.0),
        ("license", label(sample.license_spdx.unwrap_or(facts::UNKNOWN)), sample.license_confidence.unwrap_or(1.0)),
        ("license_class", label(labels.class), 1.0),
        ("vendored", "path".to_owned(), f64::from(u8::from(sample.vendored == Some(true)))),
        ("size", "additions".to_owned(), f64::from(sample.additions)),
        ("size", "deletions".to_owned(), f64::from(sample.deletions)),
        ("size", "files_changed".to_owned(), f64::from(sample.files_changed)),
        ("size", "characters".to_owned(), characters as f64),
    ];
    let message = sample.message_language.map(|code| (code, sample.message_language_confidence.unwrap_or(1.0)));
    let (code, confidence) = message.unwrap_or((facts::UNKNOWN, 1.0));
    tags.push(("message_language", label(code), confidence));
    let optional = [
        ("language", sample.language),
        ("author_label", sample.author_label),
        ("generated", sample.generated),
        ("license_method", sample.license_method),
    ];
    tags.extend(optional.into_iter().filter_map(|(tagger, name)| Some((tagger, label(name?), 1.0))));
    match labels.verdicts {
        [] => tags.push(("verdict", "kept".to_owned(), 1.0)),
        verdicts => tags.extend(verdicts.iter().map(|rule| ("verdict", label(rule), 1.0))),
    }
    tags
}

/// The attributes and the document of a row; `columns` become its metadata.
pub fn records(sample: &Sample<'_>, labels: Labels<'_>, columns: &[&str]) -> [Record; 2] {
    let text = text(sample);
    let characters = text.chars().count();
    let mut document = Vec::with_capacity(text.len() + 1024);
    let _infallible = write!(document, "{{\"id\":{},\"text\":", json!(sample.id));
    write_text(&mut document, &text);
    let created = instant(sample.commit_time);
    let _infallible = write!(
        document,
        ",\"source\":\"{EXPERIMENT}\",\"added\":\"\",\"created\":\"{created}\",\"version\":\"{SCHEMA_VERSION}\",\"metadata\":{{"
    );
    let all = serde_json::to_value(sample).unwrap_or_default();
    for (at, name) in columns.iter().enumerate() {
        let _infallible = write!(document, "{}{}:{}", if at == 0 { "" } else { "," }, json!(name), all[*name]);
    }
    document.extend_from_slice(b"}}");
    let mut attributes = Vec::with_capacity(1024);
    let _infallible = write!(attributes, "{{\"id\":{},\"source\":\"{EXPERIMENT}\",\"attributes\":{{", json!(sample.id));
    for (at, (tagger, label, score)) in tags(sample, labels, characters).into_iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        // With a point, since the mixer compares floats with floats only.
        let _infallible = write!(attributes, "{comma}\"{EXPERIMENT}__{tagger}__{label}\":[[0,{characters},{score:?}]]");
    }
    attributes.extend_from_slice(b"}}");
    let [of_attributes, of_documents] = FILES.map(str::to_owned);
    [Record { config: of_attributes, bytes: attributes }, Record { config: of_documents, bytes: document }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_names_in_filters() {
        for (name, expected) in [
            ("rust", "rust"),
            ("c++", "cplusplus"),
            ("c#", "csharp"),
            ("Apache-2.0 OR MIT", "Apache_2_0_OR_MIT"),
            ("a__b-", "a_b"),
            ("jupyter-notebook", "jupyter_notebook"),
        ] {
            assert_eq!(label(name), expected);
        }
    }

    #[test]
    fn times_have_a_zone_and_names_are_once() {
        assert_eq!(instant(Some(1_709_251_199)), "2024-02-29T23:59:59.000Z");
        assert_eq!((instant(Some(-1)), instant(None)), ("1969-12-31T23:59:59.000Z".into(), String::new()));
        let rules = ["one".to_owned(), "two".to_owned()];
        let labels = Labels { class: "permissive", verdicts: &rules };
        let sample = Sample { lang: "c", kind: "modified", author_kind: "human", ..Sample::default() };
        let [attributes, _] = records(&sample, labels, &["commit"]);
        let text = String::from_utf8(attributes.bytes).expect("text");
        let parsed: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let names = parsed["attributes"].as_object().expect("attributes");
        assert_eq!(text.matches("\"gitlode__").count(), names.len(), "{text}");
        assert!(names.contains_key("gitlode__verdict__two") && !names.contains_key("gitlode__verdict__kept"));
    }
}
