//! Rows as programs read them that train embeddings: a subject, the change that it asks for, and a change that it does not
//! ask for. GritLM's files hold prompts with completions beside that. Which change is the negative is not decided here.

use std::{collections::BTreeMap, fmt::Write as _, io::Write as _};

use serde::Serialize;

use super::{
    Format, Record, Shard, config_name, edit,
    figure::grouped,
    trainer::{self, Trainer, Training, write_text},
};
use crate::sample::Sample;

/// The rules that rows are left out by.
pub mod rules {
    /// The subject is empty.
    pub const NO_SUBJECT: &str = "no_subject";
    /// The diff has no hunk.
    pub const NO_HUNK: &str = "no_hunk";
    /// No other row of the language and split has a change that differs enough.
    pub const NO_NEGATIVE: &str = "no_negative";
}

/// What GritLM's queries ask for, unless the user says otherwise.
pub const INSTRUCTION: &str = "Given the subject of a commit, retrieve the change that it makes";

/// Where a negative was found, the nearest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Near {
    /// Among other changes of the same file.
    SameFile,
    /// Among changes of other files of the repository.
    SameRepository,
    /// Among changes in other repositories.
    SameLanguage,
}

/// The kinds of GritLM's files: one file has one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Queries with positives and negatives.
    Embedding,
    /// Conversations.
    Generative,
}

impl Kind {
    /// Both.
    pub const ALL: [Kind; 2] = [Kind::Embedding, Kind::Generative];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Embedding => "embedding",
            Kind::Generative => "generative",
        }
    }

    /// The name of a language's files of the kind.
    pub fn config(self, lang: &str) -> String {
        format!("{}-{}", config_name(lang), self.name())
    }

    /// Fields of a record.
    pub fn fields(self) -> &'static [(&'static str, trainer::Kind)] {
        use trainer::Kind::{TextLists, Texts};
        match self {
            Kind::Embedding => &[("query", Texts), ("pos", TextLists), ("neg", TextLists)],
            Kind::Generative => &[("text", Texts)],
        }
    }
}

/// The columns of sentence-transformers, whose order it goes by.
pub const COLUMNS: [(&str, trainer::Kind); 3] =
    [("anchor", trainer::Kind::Text), ("positive", trainer::Kind::Text), ("negative", trainer::Kind::Text)];

/// Makes records of rows.
#[derive(Clone, Copy)]
pub struct Embedding<'a> {
    format: Format,
    instruction: &'a str,
    generative: Option<&'a Trainer<'a>>,
}

/// Subject and change of a row, both with something in them.
///
/// # Errors
/// The rule by which the row is left out.
pub fn pair<'a>(sample: &Sample<'a>) -> Result<(&'a str, &'a str), &'static str> {
    let (subject, change) = (sample.subject, edit::hunks(sample.diff));
    match (subject.trim().is_empty(), change.is_empty()) {
        (true, _) => Err(rules::NO_SUBJECT),
        (_, true) => Err(rules::NO_HUNK),
        _ => Ok((subject, change)),
    }
}

impl<'a> Embedding<'a> {
    /// Of `format`, whose queries ask for `instruction`; `generative` makes GritLM's conversations.
    pub fn new(format: Format, instruction: &'a str, generative: Option<&'a Trainer<'a>>) -> Self {
        Embedding { format, instruction, generative }
    }

    /// The records of a row with its negative; within the conversation's, the rule by which there is none.
    pub fn records(
        &self,
        sample: &Sample<'_>,
        (subject, change): (&str, &str),
        negative: &str,
    ) -> (Record, Option<Result<Record, &'static str>>) {
        let mut bytes = Vec::with_capacity(change.len() + negative.len() + 256);
        match self.format {
            Format::Grit => {
                let lists = [
                    ("{\"query\":[", self.instruction, subject, "]"),
                    (",\"pos\":[[", "", change, "]]"),
                    (",\"neg\":[[", "", negative, "]]}"),
                ];
                for (begin, instruction, text, end) in lists {
                    bytes.extend_from_slice(begin.as_bytes());
                    write_text(&mut bytes, instruction);
                    bytes.push(b',');
                    write_text(&mut bytes, text);
                    bytes.extend_from_slice(end.as_bytes());
                }
                let generative = self.generative.map(|trainer| {
                    let rendered = trainer.render(sample)?;
                    let mut bytes = b"{\"text\":[".to_vec();
                    write_text(&mut bytes, &rendered.prompt);
                    bytes.push(b',');
                    write_text(&mut bytes, &rendered.completion);
                    bytes.extend_from_slice(b"]}");
                    Ok(Record { config: Kind::Generative.config(sample.lang), bytes })
                });
                (Record { config: Kind::Embedding.config(sample.lang), bytes }, generative)
            }
            _ => {
                for (at, ((name, _), text)) in COLUMNS.iter().zip([subject, change, negative]).enumerate() {
                    let _infallible = write!(bytes, "{}\"{name}\":", if at == 0 { '{' } else { ',' });
                    write_text(&mut bytes, text);
                }
                bytes.push(b'}');
                (Record { config: config_name(sample.lang), bytes }, None)
            }
        }
    }
}

/// How records were made, for the manifest and the card.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Embedded {
    /// What queries ask for; GritLM's only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instruction: Option<String>,
    /// From which similarity on two changes are too much alike.
    pub similarity_max: f64,
    /// Rows by where their negative was found.
    pub negatives: BTreeMap<Near, u64>,
    /// Of GritLM's conversations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generative: Option<Generative>,
}

/// How conversations were made.
#[derive(Clone, Debug, Serialize)]
pub struct Generative {
    /// The template and the budget.
    #[serde(flatten)]
    pub training: Training,
    /// How many there are.
    pub rows: u64,
    /// Rows with an embedding record that have no conversation, by rule.
    pub dropped: BTreeMap<&'static str, u64>,
}

impl Embedded {
    /// Where negatives were found, in words.
    pub fn sentence(&self) -> String {
        let of = |near| self.negatives.get(&near).copied().unwrap_or(0);
        format!(
            "negatives: {} of the same file, {} of the same repository, {} of the same language",
            grouped(of(Near::SameFile)),
            grouped(of(Near::SameRepository)),
            grouped(of(Near::SameLanguage))
        )
    }

    /// The section of the card.
    pub fn section(&self) -> String {
        let mut text = format!(
            "## For training\n\nA record has the subject of a commit, the hunks of its change, and as a hard negative the hunks of another \
             one in the same language and split, never with the same subject, and never as similar as {} to the positive (Jaccard \
             over the 5-grams of words: of the hunks as they are and without their places, line by line, and of the changed lines with \
             and without their signs). {}.\n\n",
            self.similarity_max,
            self.sentence()
        );
        if let Some(generative) = &self.generative {
            let dropped: u64 = generative.dropped.values().sum();
            let _infallible = writeln!(
                text,
                "Files called `generative` hold {} conversations by the template `{}`; {dropped} rows have none.\n",
                generative.rows,
                generative.training.template.replace('`', " ")
            );
        }
        text
    }
}

/// GritLM's `--num_samples` of a split: how many records of each file may be used, here all.
pub fn num_samples(shards: &[Shard], split: &str) -> BTreeMap<String, u64> {
    let of_split = shards.iter().filter(|shard| shard.split == split);
    of_split.map(|shard| (shard.file.rsplit('/').next().unwrap_or_default().to_owned(), shard.rows)).collect()
}
