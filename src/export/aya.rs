//! Templated instructions in the language of each message, in the columns of the Aya Collection. Templates are data
//! (`filters/templates/aya.toml`); how they are read back is a matter of [`super::trainer`].

use std::{collections::BTreeMap, fs, io::Write as _, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Format, Record, Shape,
    template::{Error, RawTemplate, Template},
    trainer::{Budget, Kind, Trainer, write_text},
};
use crate::sample::Sample;

/// The rules that rows are left out by, beside those of templates.
pub mod rules {
    /// Nobody knows the language of the message.
    pub const NO_LANGUAGE: &str = "message_language_unknown";
    /// The language of the message is a guess.
    pub const UNSURE: &str = "message_language_unsure";
    /// There is no template in the language of the message.
    pub const NO_TEMPLATE: &str = "no_template_in_language";
}

/// The templates that are compiled in.
pub const TABLE: &str = include_str!("../../filters/templates/aya.toml");

/// What records name as their data set.
const DATASET: &str = "gitlode";

/// The columns of the Aya Collection, in its order.
pub const FIELDS: [(&str, Kind); 10] = [
    ("id", Kind::Text),
    ("inputs", Kind::Text),
    ("targets", Kind::Text),
    ("dataset_name", Kind::Text),
    ("sub_dataset_name", Kind::Text),
    ("task_type", Kind::Text),
    ("template_id", Kind::Number),
    ("language", Kind::Text),
    ("split", Kind::Text),
    ("script", Kind::Text),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSet {
    language: Vec<RawLanguage>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLanguage {
    message_language: String,
    script: String,
    code: String,
    name: String,
    confidence_min: f64,
    template: Vec<RawTemplate>,
}

/// A human language with its templates.
pub struct Language {
    /// ISO 639-1, as rows have it.
    pub message_language: String,
    /// ISO 15924.
    pub script: String,
    /// ISO 639-3.
    pub code: String,
    /// Its name in English.
    pub name: String,
    /// How sure the language of the message has to be.
    pub confidence_min: f64,
    /// The templates.
    pub templates: Vec<Template>,
}

/// All templates, with a digest of their text.
pub struct Set {
    /// The languages, sorted.
    pub languages: Vec<Language>,
    /// BLAKE3, 16 digits.
    pub digest: String,
}

impl Set {
    /// Those in the file at `path`, or those that are compiled in.
    ///
    /// # Errors
    /// The file can't be read, is not as it has to be, or an example is wrong.
    pub fn find(path: Option<&str>) -> Result<Self, Error> {
        let Some(path) = path.map(Path::new) else { return Set::parse(Path::new("filters/templates/aya.toml"), TABLE) };
        let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Set::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let invalid = |reason: String| Error::Invalid { path: path.to_owned(), reason };
        let raw: RawSet = toml::from_str(text).map_err(|e| invalid(e.to_string().trim_end().to_owned()))?;
        let mut languages = Vec::new();
        for RawLanguage { message_language, script, code, name, confidence_min, template } in raw.language {
            if template.is_empty() {
                return Err(invalid(format!("{name} has no template")));
            }
            let templates = template.into_iter().map(|raw| Template::of(path, text, raw));
            let templates = templates.collect::<Result<_, _>>()?;
            languages.push(Language { message_language, script, code, name, confidence_min, templates });
        }
        let keys: Vec<_> = languages.iter().map(|of| (&of.message_language, &of.script)).collect();
        if !keys.is_sorted_by(|one, next| one < next) {
            return Err(invalid("languages have to be sorted by message_language and script, each once".into()));
        }
        Ok(Set { digest: blake3::hash(text.as_bytes()).to_hex()[..16].to_owned(), languages })
    }
}

/// A language with what makes records in it, and the number of its first template.
type Trainers<'a> = (&'a Language, Vec<Trainer<'a>>, usize);

/// Makes records of rows.
pub struct Aya<'a> {
    languages: Vec<Trainers<'a>>,
    splits: &'a [&'a str],
}

impl<'a> Aya<'a> {
    /// By the templates of `set`; `special` are tokens that are no text to the model.
    ///
    /// # Errors
    /// What does not fit together, in words.
    pub fn new(
        set: &'a Set,
        splits: &'a [&'a str],
        special: &[String],
        budget: Option<Budget>,
    ) -> Result<Self, String> {
        let (mut languages, mut first) = (Vec::new(), 1);
        for language in &set.languages {
            let trainer = |template| {
                let shape = (Format::Sft, Shape::PromptCompletion);
                Trainer::new(shape, &[], template, None, special.to_vec(), budget)
            };
            let trainers = language.templates.iter().map(trainer).collect::<Result<Vec<_>, _>>()?;
            let next = first + trainers.len();
            languages.push((language, trainers, first));
            first = next;
        }
        Ok(Aya { languages, splits })
    }

    /// The record of a row, and the template that made it: the one that the id draws, or where that one leaves the row out,
    /// the next that does not.
    ///
    /// # Errors
    /// The rule by which the drawn template leaves the row out.
    pub fn record(&self, sample: &Sample<'_>, split: usize) -> Result<(Record, &str), &'static str> {
        let language = sample.message_language.ok_or(rules::NO_LANGUAGE)?;
        let script = sample.message_script.unwrap_or_default();
        let is_of = |of: &&Trainers<'_>| of.0.message_language == language && of.0.script == script;
        let (language, trainers, first) = self.languages.iter().find(is_of).ok_or(rules::NO_TEMPLATE)?;
        if sample.message_language_confidence.unwrap_or(0.0) < language.confidence_min {
            return Err(rules::UNSURE);
        }
        let drawn = draw(sample.id, trainers.len());
        let mut why = rules::NO_TEMPLATE;
        for turn in 0..trainers.len() {
            let at = (drawn + turn) % trainers.len();
            match trainers[at].render(sample) {
                Ok(rendered) => {
                    let template = trainers[at].template();
                    let texts = [sample.id, &rendered.prompt, &rendered.completion, DATASET, sample.lang];
                    let mut bytes = Vec::with_capacity(rendered.prompt.len() + rendered.completion.len() + 256);
                    for ((name, _), text) in FIELDS.iter().zip(texts) {
                        let _infallible = write!(bytes, "{}\"{name}\":", if bytes.is_empty() { '{' } else { ',' });
                        write_text(&mut bytes, text);
                    }
                    let _infallible = write!(
                        bytes,
                        ",\"task_type\":{},\"template_id\":{},\"language\":{},\"split\":{},\"script\":{}}}",
                        json!(template.task_type),
                        first + at,
                        json!(language.code),
                        json!(self.splits[split]),
                        json!(language.script)
                    );
                    return Ok((Record { config: language.code.clone(), bytes }, &template.id));
                }
                Err(rule) if turn == 0 => why = rule,
                Err(_the_drawn_one_says_why) => {}
            }
        }
        Err(why)
    }
}

fn draw(id: &str, count: usize) -> usize {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&blake3::hash(format!("gitlode aya 1\0{id}").as_bytes()).as_bytes()[..8]);
    (u64::from_le_bytes(bytes) % count as u64) as usize
}

/// How records were made, for the manifest and the card.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Templated {
    /// BLAKE3 of the templates.
    pub templates_digest: String,
    /// The most tokens of a record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_max: Option<usize>,
    /// Records by template.
    pub templates: BTreeMap<String, u64>,
}

impl Templated {
    /// The section of the card.
    pub fn section(&self) -> String {
        let mut text = format!(
            "## Instructions\n\nEach record is in the language of the commit's message, by one of that language's templates, which the row's id \
             draws (digest `{}`). Of every record it was checked that it can be read back.\n\n| template | records |\n|---|---:|\n",
            self.templates_digest
        );
        for (template, records) in &self.templates {
            text.push_str(&format!("| `{}` | {records} |\n", template.replace(['`', '|'], " ")));
        }
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_templates_in_ten_languages_with_tasks_of_their_own() {
        let set = Set::find(None).expect("templates");
        let mut ids = std::collections::BTreeSet::new();
        for of in &set.languages {
            assert_eq!((of.message_language.len(), of.code.len(), of.script.len()), (2, 3, 4), "{}", of.name);
            assert!(of.templates.len() >= 3, "{}", of.name);
            for template in &of.templates {
                assert!(ids.insert(&template.id) && !template.task_type.is_empty(), "{}", template.id);
                assert!(template.id.starts_with(&of.code), "{}", template.id);
            }
        }
        for language in ["de", "en", "es", "fi", "fr", "ja", "ko", "pt", "ru", "zh"] {
            assert!(set.languages.iter().any(|of| of.message_language == language), "{language}");
        }
    }

    #[test]
    fn the_message_decides_the_language() {
        let set = Set::find(None).expect("templates");
        let aya = Aya::new(&set, &["train"], &[], None).expect("it fits");
        let unsure = Sample {
            message_language: Some("fi"),
            message_script: Some("Latn"),
            message_language_confidence: Some(0.2),
            ..Sample::default()
        };
        assert_eq!(aya.record(&unsure, 0).err(), Some(rules::UNSURE));
        let (old, new, diff) = (Some("a\n"), Some("b\n"), "@@ -1 +1 @@\n-a\n+b\n");
        for (language, script, old_contents, expected) in [
            (Some("fi"), Some("Latn"), old, Ok("fin")),
            (Some("zh"), Some("Hant"), old, Ok("zho")),
            (Some("fi"), Some("Latn"), None, Ok("fin")),
            (Some("zh"), Some("Latn"), old, Err(rules::NO_TEMPLATE)),
            (Some("la"), Some("Latn"), old, Err(rules::NO_TEMPLATE)),
            (None, Some("Latn"), old, Err(rules::NO_LANGUAGE)),
        ] {
            for id in ["1", "2", "3", "4", "5"] {
                let row = Sample {
                    id,
                    subject: "x",
                    message: "x",
                    old_contents,
                    new_contents: new,
                    diff,
                    new_file: Some("f"),
                    message_language: language,
                    message_script: script,
                    message_language_confidence: Some(0.9),
                    ..Sample::default()
                };
                let found = aya.record(&row, 0).map(|(record, _)| record.config);
                assert_eq!(found.as_deref().map_err(|rule| *rule), expected, "{language:?} {script:?}");
            }
        }
    }
}
