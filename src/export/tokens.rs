//! Token ids in the files that OLMo-core maps into memory, as open-instruct writes them for fine-tuning: headerless arrays of ids
//! and of what is trained on, boundaries of documents, statistics, and the tokenizer. Knows no tokenizer: it is given what encodes.

use std::{collections::BTreeMap, path::Path};

use serde::Serialize;
use serde_json::json;

use super::{
    Error, Options, Record, Shard,
    files::{Files, Part, Place},
    go_on,
    trainer::{Trainer, Training},
};
use crate::sample::Sample;

/// The rules that rows are left out by, beside those of templates.
pub mod rules {
    /// The text can't be encoded.
    pub const NOT_ENCODED: &str = "not_encoded";
    /// The token that ends a document is in the midst of one.
    pub const END_INSIDE: &str = "end_inside";
}

/// Bytes that wait for a file.
const WAITING_BYTES_MAX: usize = 256 << 10;

/// The configs of the files of a part.
const KINDS: [&str; 3] = ["boundaries", "labels_mask", "token_ids"];

/// The config whose shards count the rows.
pub const COUNTED: &str = "token_ids";

/// How wide an id is on disk: the narrowest that takes all ids, as OLMo-core infers it from the size of the vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Width {
    /// One byte.
    Uint8,
    /// Two.
    Uint16,
    /// Four.
    Uint32,
}

impl Width {
    /// Of ids up to `id_max`.
    pub fn of(id_max: u32) -> Self {
        match id_max {
            0..=0xff => Width::Uint8,
            0x100..=0xffff => Width::Uint16,
            _ => Width::Uint32,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Width::Uint8 => 1,
            Width::Uint16 => 2,
            Width::Uint32 => 4,
        }
    }
}

/// Encodes two texts, one right behind the other: ids, and how many of them the first one alone has in the same places.
pub type Encode = fn(&str, &str) -> Option<(Vec<u32>, usize)>;

/// What encodes, and the vocabulary.
#[derive(Clone, Copy)]
pub struct Vocabulary<'a> {
    /// What encodes.
    pub encode: Encode,
    /// The token that ends a document, and its id.
    pub end: (&'a str, u32),
}

/// Makes ids of rows.
#[derive(Clone, Copy)]
pub struct Tokens<'a> {
    trainer: &'a Trainer<'a>,
    vocabulary: Vocabulary<'a>,
}

/// A row as ids; behind `trained_from` the model learns.
#[derive(Debug, PartialEq, Eq)]
struct Document {
    id: String,
    repository: String,
    trained_from: usize,
    ids: Vec<u32>,
}

impl Document {
    fn pack(&self) -> Vec<u8> {
        let mut bytes = [self.id.as_bytes(), b"\0", self.repository.as_bytes(), b"\0"].concat();
        bytes.extend((self.trained_from as u64).to_le_bytes());
        bytes.extend(self.ids.iter().flat_map(|id| id.to_le_bytes()));
        bytes
    }

    fn unpack(bytes: &[u8]) -> Option<Self> {
        let mut parts = bytes.splitn(3, |byte| *byte == 0);
        let mut text = || String::from_utf8(parts.next()?.to_vec()).ok();
        let (id, repository) = (text()?, text()?);
        let (trained_from, ids) = parts.next()?.split_first_chunk()?;
        let ids = ids.as_chunks().0.iter().map(|id| u32::from_le_bytes(*id)).collect();
        Some(Document { id, repository, trained_from: u64::from_le_bytes(*trained_from) as usize, ids })
    }
}

impl<'a> Tokens<'a> {
    /// `trainer` makes the texts.
    pub fn new(trainer: &'a Trainer<'a>, vocabulary: Vocabulary<'a>) -> Self {
        Tokens { trainer, vocabulary }
    }

    /// The record of a row, with its length and how much of that is trained on.
    ///
    /// # Errors
    /// The rule by which the row is left out.
    pub fn record(&self, sample: &Sample<'_>) -> Result<(Record, u64, u64), &'static str> {
        let Vocabulary { encode, end, .. } = self.vocabulary;
        let rendered = self.trainer.render(sample)?;
        // Templates may end with a line feed behind the end; documents end with the end.
        let completion = match rendered.completion.trim_end().strip_suffix(end.0) {
            Some(before) => before,
            None => &rendered.completion,
        };
        let (mut ids, trained_from) = encode(&rendered.prompt, completion).ok_or(rules::NOT_ENCODED)?;
        if ids.contains(&end.1) {
            return Err(rules::END_INSIDE);
        }
        ids.push(end.1);
        let (tokens, trained) = (ids.len() as u64, (ids.len() - trained_from) as u64);
        let repository = sample.repos.split(',').next().unwrap_or_default().to_owned();
        let document = Document { id: sample.id.to_owned(), repository, trained_from, ids };
        Ok((Record::plain(document.pack()), tokens, trained))
    }
}

/// What was counted of some documents.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Statistics {
    /// Documents.
    pub instances: u64,
    /// Tokens, ends included.
    pub tokens: u64,
    /// Tokens that are trained on.
    pub trainable_tokens: u64,
    /// The longest document.
    pub sequence_length_max: u64,
}

impl Statistics {
    /// Counts a document.
    pub fn see(&mut self, tokens: u64, trainable: u64) {
        self.instances += 1;
        self.tokens += tokens;
        self.trainable_tokens += trainable;
        self.sequence_length_max = self.sequence_length_max.max(tokens);
    }

    fn shares(&self) -> (f64, f64) {
        let round = |share: f64| (share * 100.0).round() / 100.0;
        let (instances, tokens) = (self.instances.max(1) as f64, self.tokens.max(1) as f64);
        (round(self.tokens as f64 / instances), round(100.0 * self.trainable_tokens as f64 / tokens))
    }

    fn json(&self) -> serde_json::Value {
        let (average, percentage) = self.shares();
        json!({
            "num_instances": self.instances, "num_tokens": self.tokens, "trainable_tokens": self.trainable_tokens,
            "trainable_percentage": percentage, "average_sequence_length": average,
            "max_sequence_length": self.sequence_length_max,
        })
    }

    fn line(&self, name: &str) -> String {
        let (average, percentage) = self.shares();
        format!(
            "{name}: {} instances, {} tokens, {} trainable ({percentage} %), average length {average}, longest {}\n",
            self.instances, self.tokens, self.trainable_tokens, self.sequence_length_max
        )
    }
}

/// How ids were made, for the manifest and the card.
#[derive(Clone, Debug, Serialize)]
pub struct Tokenized {
    /// The template.
    #[serde(flatten)]
    pub training: Training,
    /// The width of an id.
    pub dtype: Width,
    /// The largest id and one.
    pub vocabulary: u64,
    /// The token that ends a document.
    pub end_token: String,
    /// Its id.
    pub end_token_id: u32,
    /// What was counted.
    pub statistics: Statistics,
    /// The same by repository.
    #[serde(skip)]
    pub repositories: BTreeMap<String, Statistics>,
    /// Files of the tokenizer, by name.
    #[serde(skip)]
    pub tokenizer_files: Vec<(String, Vec<u8>)>,
}

impl Tokenized {
    /// Statistics and tokenizer, as files; `dropped` are rows that were left out.
    pub fn documents(&self, dropped: &BTreeMap<String, u64>) -> Vec<(String, Vec<u8>)> {
        let mut overall = self.statistics.json();
        overall["instances_filtered"] = json!(dropped.values().sum::<u64>());
        overall["instances_filtered_by_rule"] = json!(dropped);
        overall["num_datasets"] = json!(self.repositories.len());
        let of = |(name, statistics): (&String, &Statistics)| {
            let mut of = statistics.json();
            of["dataset_name"] = json!(name);
            of
        };
        let configuration = json!({
            "dtype": self.dtype, "vocab_size": self.vocabulary, "eos_token": self.end_token, "eos_token_id": self.end_token_id,
            "template": self.training.template, "chat_template": self.training.chat_template_digest,
            "tokenizer": self.training.tokenizer,
        });
        let per_dataset: Vec<_> = self.repositories.iter().map(of).collect();
        let all = json!({
            "configuration": configuration, "overall_statistics": overall, "per_dataset_statistics": per_dataset,
        });
        let mut lines = self.statistics.line("all");
        lines.extend(dropped.iter().map(|(rule, rows)| format!("left out by {rule}: {rows}\n")));
        lines.extend(self.repositories.iter().map(|(name, statistics)| statistics.line(name)));
        let mut files = vec![
            ("dataset_statistics.json".to_owned(), format!("{all:#}\n").into_bytes()),
            ("dataset_statistics.txt".to_owned(), lines.into_bytes()),
        ];
        files.extend(self.tokenizer_files.iter().map(|(name, bytes)| (format!("tokenizer/{name}"), bytes.clone())));
        files
    }

    /// The section of the card.
    pub fn section(&self) -> String {
        let (average, percentage) = self.statistics.shares();
        format!(
            "## Tokens\n\n`<split>/token_ids_part_*.npy` are ids as {} without a header, `labels_mask_part_*.npy` a byte for each, 1 where the \
             model learns: from the first token of the completion on. Documents end with `{}` ({}), which is nowhere else; \
             `token_ids_part_*.csv.gz` has start, end, id, repository and number of each.\n\n{} documents of {} tokens, {} ({percentage} %) of \
             them trained on; {average} tokens a document.\n\n",
            json!(self.dtype).as_str().unwrap_or_default(),
            self.end_token.replace('`', " "),
            self.end_token_id,
            self.statistics.instances,
            self.statistics.tokens,
            self.statistics.trainable_tokens,
        )
    }
}

/// The three files of a part.
struct Open {
    ids: (Part, Vec<u8>),
    labels: (Part, Vec<u8>),
    boundaries: (Part, csv::Writer<flate2::write::GzEncoder<Vec<u8>>>),
    documents: u64,
    tokens: u64,
}

/// The files of an export.
pub struct TokenFiles<'a> {
    options: Options<'a>,
    files: Files,
    open: BTreeMap<usize, Open>,
    /// Documents of each split so far.
    seen: BTreeMap<usize, u64>,
    width: Width,
}

impl<'a> TokenFiles<'a> {
    pub(super) fn new(directory: &Path, options: Options<'a>, width: Width) -> Self {
        let (open, seen) = (BTreeMap::new(), BTreeMap::new());
        TokenFiles { options, files: Files::new(directory), open, seen, width }
    }

    fn start(&mut self) -> Result<Open, Error> {
        // Without a name and a time in the header, so that the same rows are the same bytes.
        let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        Ok(Open {
            ids: (self.files.start()?, Vec::new()),
            labels: (self.files.start()?, Vec::new()),
            boundaries: (self.files.start()?, csv::WriterBuilder::new().from_writer(encoder)),
            documents: 0,
            tokens: 0,
        })
    }

    pub(super) fn push_record(&mut self, record: &Record, split: usize) -> Result<(), Error> {
        let document = Document::unpack(&record.bytes).expect("what is pushed was packed");
        let width = self.width.bytes();
        if self.open.get(&split).is_some_and(|open| open.tokens * width as u64 >= self.options.shard_bytes_max) {
            self.close(split)?;
        }
        if !self.open.contains_key(&split) {
            let open = self.start()?;
            self.open.insert(split, open);
        }
        let number = self.seen.entry(split).or_default();
        *number += 1;
        let open = self.open.get_mut(&split).expect("it was opened above");
        let (start, end) = (open.tokens, open.tokens + document.ids.len() as u64);
        let line = [&start.to_string(), &end.to_string(), &document.id, &document.repository, &number.to_string()];
        // It is written to memory.
        open.boundaries.1.write_record(line.map(String::as_str)).expect("memory can be written to");
        open.ids.1.extend(document.ids.iter().flat_map(|id| id.to_le_bytes().into_iter().take(width)));
        open.labels.1.extend((0..document.ids.len()).map(|at| u8::from(at >= document.trained_from)));
        (open.tokens, open.documents) = (end, open.documents + 1);
        for (part, waiting) in [&mut open.ids, &mut open.labels] {
            if waiting.len() >= WAITING_BYTES_MAX {
                part.append(waiting)?;
                waiting.clear();
            }
        }
        Ok(())
    }

    fn close(&mut self, split: usize) -> Result<(), Error> {
        let Some(open) = self.open.remove(&split) else { return Ok(()) };
        let Open { ids, labels, boundaries: (mut part, writer), documents, .. } = open;
        let whole = |(mut part, waiting): (Part, Vec<u8>)| part.append(&waiting).map(|()| part);
        let (ids, labels) = (whole(ids)?, whole(labels)?);
        let encoder = writer.into_inner().expect("memory can be written to");
        part.append(&encoder.finish().expect("memory can be written to"))?;
        for (config, part) in KINDS.into_iter().zip([part, labels, ids]) {
            let bytes = part.bytes;
            self.files.add(Place { config: Some(config.to_owned()), split }, part.finish(documents, bytes));
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Vec<Shard>, Error> {
        if self.open.is_empty() && self.files.is_empty() {
            let open = self.start()?;
            self.open.insert(0, open);
        }
        for split in self.open.keys().copied().collect::<Vec<_>>() {
            go_on(self.options.interrupt)?;
            self.close(split)?;
        }
        let splits = self.options.splits;
        self.files.name(splits, |place, number, _| {
            let split = splits[place.split];
            match place.config.as_deref() {
                Some("boundaries") => format!("{split}/token_ids_part_{number:04}.csv.gz"),
                config => format!("{split}/{}_part_{number:04}.npy", config.unwrap_or(COUNTED)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vocabulary_decides_the_width() {
        for (id_max, expected) in [
            (0, Width::Uint8),
            (255, Width::Uint8),
            (256, Width::Uint16),
            (65_535, Width::Uint16),
            (65_536, Width::Uint32),
            (100_277, Width::Uint32),
        ] {
            assert_eq!(Width::of(id_max), expected, "{id_max}");
        }
    }

    #[test]
    fn documents_come_back_as_they_were() {
        for ids in [vec![], vec![0], vec![1, 0, u32::MAX, 256]] {
            let document = Document { id: "00".into(), repository: "a/b".into(), trained_from: 1, ids };
            assert_eq!(Document::unpack(&document.pack()), Some(document));
        }
        assert_eq!(Document::unpack(b"00\0r\0abc"), None);
    }
}
