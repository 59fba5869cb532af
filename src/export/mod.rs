//! Writes rows in the formats that other programs read: one file for each format, the card, the manifest.
//!
//! Rows come in one order, whatever the format, and are told their split. What is written is a function of rows and
//! options: threads encode, and what they encoded is appended in the order of the rows. Knows neither rules nor the
//! history of a store, and decides about no row.

mod arrow;
pub mod aya;
pub mod card;
pub mod charts;
mod croissant;
pub mod documents;
pub mod dolma;
pub mod edit;
pub mod embedding;
mod encoders;
pub mod facts;
mod features;
pub mod figure;
mod files;
mod json_lines;
pub mod manifest;
pub mod page;
mod pages;
mod parquet;
pub mod provenance;
mod short;
pub mod split;
pub mod template;
pub mod tokens;
pub mod trainer;

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use serde::Serialize;

use crate::{sample::Sample, store};
use files::Place;
pub use files::{sync, sync_all, sync_one};
pub use trainer::Shape;

/// CommitPack's ten columns, in its order.
pub const COMMITPACK_COLUMNS: [&str; 10] = [
    "commit",
    "old_file",
    "new_file",
    "old_contents",
    "new_contents",
    "subject",
    "message",
    "lang",
    "license",
    "repos",
];

/// What can go wrong with an export.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("can't encode rows: {0}")]
    Arrow(#[from] arrow_schema::ArrowError),
    #[error("can't encode rows: {0}")]
    Parquet(#[from] ::parquet::errors::ParquetError),
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// Whether the user wished it.
    pub fn is_interruption(&self) -> bool {
        matches!(self, Error::Interrupted | Error::Store(store::Error::Interrupted))
    }
}

fn io_error(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
    |source| Error::Io { path: path.to_owned(), source }
}

fn go_on(interrupt: &AtomicBool) -> Result<(), Error> {
    if interrupt.load(Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
}

/// How rows are written, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// JSON lines: data/SPLIT-00000-of-0000N.jsonl.
    Jsonl,
    /// Parquet as the Hugging Face Hub has it: a config for each language, and one for all.
    Hf,
    /// Arrow that `datasets.load_from_disk` maps into memory.
    Arrow,
    /// JSON lines as CommitPackFT has them: its ten columns, data/LANGUAGE/data.jsonl.
    Commitpack,
    /// Prompts with completions, for supervised fine-tuning (TRL's SFTTrainer).
    Sft,
    /// The same, each with a label: whether the change stayed or was reverted (TRL's KTOTrainer, HALOs).
    Kto,
    /// Prompts with a better and a worse answer, of changes that were landed again or fixed (TRL's DPOTrainer, HALOs).
    Dpo,
    /// Subjects with the change and hard negatives, and prompts with completions, one file a language (GritLM).
    Grit,
    /// Documents, and attributes with labels and verdicts, for Dolma's mixer.
    Dolma,
    /// Token ids and label masks that OLMo-core maps into memory; needs --tokenizer.
    Tokens,
    /// Templated instructions in the language of each message, in the columns of the Aya Collection.
    Aya,
    /// No rows: what the Data Provenance Initiative asks of a data set, with every repository, licence and evidence.
    Provenance,
    /// The columns anchor, positive and negative: a subject, its change and another one (sentence-transformers).
    SentenceTransformers,
}

impl Format {
    /// Whether every language has files of its own.
    fn has_configs(self) -> bool {
        matches!(self, Format::Hf | Format::Commitpack | Format::SentenceTransformers | Format::Aya)
    }

    /// Whether rows are JSON lines, and so can be compressed.
    pub fn is_json(self) -> bool {
        !matches!(self, Format::Hf | Format::Arrow | Format::Tokens | Format::Provenance)
    }

    /// Whether it has records for trainers instead of rows.
    pub fn is_of_trainer(self) -> bool {
        matches!(self, Format::Sft | Format::Kto | Format::Dpo)
    }

    /// Whether its records are made by a template.
    pub fn has_template(self) -> bool {
        self.is_of_trainer() || matches!(self, Format::Grit | Format::Tokens)
    }

    /// Whether it has records for embedding instead of rows.
    pub fn is_of_embedding(self) -> bool {
        matches!(self, Format::Grit | Format::SentenceTransformers)
    }

    /// Whether it has the columns that the user names.
    pub fn has_columns(self) -> bool {
        !self.is_of_embedding() && !matches!(self, Format::Tokens | Format::Aya | Format::Provenance)
    }
}

/// How JSON lines are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip, without name and time.
    Gzip,
    /// zstd, one frame for each file.
    Zstd,
}

/// What decides the files beside the rows.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// The format.
    pub format: Format,
    /// Of JSON lines.
    pub compression: Compression,
    /// The fields of a row, in order; of trainers' formats those behind the fields of the shape.
    pub columns: &'a [&'a str],
    /// The fields of a record, of trainers' formats.
    pub shape: Option<Shape>,
    /// The width of token ids.
    pub width: Option<tokens::Width>,
    /// What draws the order of the rows; none for that of the store.
    pub shuffle: Option<u64>,
    /// Size in bytes after which a shard ends; of JSON lines before compression.
    pub shard_bytes_max: u64,
    /// Names of the splits, in the user's order.
    pub splits: &'a [&'a str],
    /// How many threads encode. Shows in no byte.
    pub threads: usize,
    /// Set when the user wishes to stop.
    pub interrupt: &'a AtomicBool,
}

/// A file of rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shard {
    /// Its path, relative to the export.
    pub file: String,
    /// The language that it is of, where every language has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// Its split.
    pub split: String,
    /// Number of rows.
    pub rows: u64,
    /// Size of the file.
    pub bytes: u64,
    /// Size of the rows in memory: as Arrow, or as JSON lines before compression.
    pub bytes_in_memory: u64,
    /// BLAKE3 of the file, hexadecimal.
    pub blake3: String,
}

/// A writer of one format.
pub enum Writer<'a> {
    /// [`Format::Hf`].
    Parquet(parquet::ParquetFiles<'a>),
    /// [`Format::Arrow`].
    Arrow(arrow::ArrowFiles<'a>),
    /// [`Format::Tokens`].
    Tokens(tokens::TokenFiles<'a>),
    /// [`Format::Provenance`], which has no rows.
    Nothing,
    /// All others.
    JsonLines(json_lines::JsonLinesFiles<'a>),
}

impl<'a> Writer<'a> {
    /// A writer into `directory`, which is there and empty.
    ///
    /// # Errors
    /// None yet.
    pub fn new(directory: &Path, options: Options<'a>) -> Result<Self, Error> {
        Ok(match options.format {
            Format::Hf => Writer::Parquet(parquet::ParquetFiles::new(directory, options)?),
            Format::Arrow => Writer::Arrow(arrow::ArrowFiles::new(directory, options)),
            Format::Provenance => Writer::Nothing,
            Format::Tokens => {
                let width = options.width.unwrap_or(tokens::Width::Uint32);
                Writer::Tokens(tokens::TokenFiles::new(directory, options, width))
            }
            _ => Writer::JsonLines(json_lines::JsonLinesFiles::new(directory, options)),
        })
    }

    /// Writes a row to the split of this number.
    ///
    /// # Errors
    /// A file can't be written.
    pub fn push(&mut self, sample: &Sample<'_>, split: usize) -> Result<(), Error> {
        match self {
            Writer::Parquet(files) => files.push(sample, split),
            Writer::Arrow(files) => files.push(sample, split),
            Writer::JsonLines(files) => files.push(sample, split),
            Writer::Tokens(_) | Writer::Nothing => unreachable!("these have records"),
        }
    }

    /// Writes a record that was made of a row to the split of this number.
    ///
    /// # Errors
    /// A file can't be written.
    pub fn push_record(&mut self, record: &Record, split: usize) -> Result<(), Error> {
        match self {
            Writer::JsonLines(files) => files.push_record(record, split),
            Writer::Tokens(files) => files.push_record(record, split),
            Writer::Nothing => Ok(()),
            Writer::Parquet(_) | Writer::Arrow(_) => unreachable!("rows stay rows there"),
        }
    }

    /// Ends all files and gives them their names. A split without rows has no file; an export without rows has an
    /// empty one, in the first split.
    ///
    /// # Errors
    /// A file can't be written; the user wishes to stop.
    pub fn finish(self) -> Result<Vec<Shard>, Error> {
        match self {
            Writer::Parquet(files) => files.finish(),
            Writer::Arrow(files) => files.finish(),
            Writer::JsonLines(files) => files.finish(),
            Writer::Tokens(files) => files.finish(),
            Writer::Nothing => Ok(Vec::new()),
        }
    }
}

/// What was made of a row for one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The config whose file it goes to; empty where all records are in one.
    pub config: String,
    /// The record.
    pub bytes: Vec<u8>,
}

impl Record {
    /// A record of a format without configs.
    pub fn plain(bytes: Vec<u8>) -> Self {
        Record { config: String::new(), bytes }
    }

    /// As bytes, which [`Record::unpack`] reads.
    pub fn pack(&self) -> Vec<u8> {
        [self.config.as_bytes(), b"\0", &self.bytes].concat()
    }

    /// What [`Record::pack`] wrote.
    pub fn unpack(packed: &[u8]) -> Option<Self> {
        let end = memchr::memchr(0, packed)?;
        let config = String::from_utf8(packed[..end].to_vec()).ok()?;
        Some(Record { config, bytes: packed[end + 1..].to_vec() })
    }
}

/// Where rows of `lang` go.
fn place(options: &Options<'_>, lang: &str, split: usize) -> Place {
    Place { config: options.format.has_configs().then(|| config_name(lang)), split }
}

/// The name of a language as the name of a directory and of a config. CommitPack's own names stay as they are; those of
/// a user's table may hold what no file name or pattern may.
fn config_name(lang: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "+#-_.".contains(c);
    let name: String = lang.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    match name.as_str() {
        "" | "default" => format!("{name}_"),
        _ if name.starts_with('.') => format!("_{name}"),
        _ => name,
    }
}
