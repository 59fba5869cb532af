//! Parquet as the Hugging Face Hub has it: `data/<language>/<split>-00000-of-0000N.parquet`.
//!
//! Rows are collected in one buffer for each file; of contents and diffs a page that is full is compressed at once. A buffer that
//! is large enough, or the largest when all of them together are too large, becomes a row group, which a thread encodes; row groups
//! are appended to their files in the order in which they were begun. So memory has a bound however many languages there are, and
//! threads show in no byte.

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::Arc,
};

use arrow_array::{Array as _, RecordBatch};
use arrow_schema::{Schema, SchemaRef};
use parquet::{
    arrow::{ArrowSchemaConverter, ArrowWriter},
    basic::{Compression, ZstdLevel},
    file::{
        metadata::KeyValue,
        properties::{CdcOptions, EnabledStatistics, WriterProperties},
        writer::SerializedFileWriter,
    },
    schema::types::{ColumnPath, SchemaDescPtr},
};
use serde_json::json;

use super::{
    Error, Options, Shard,
    encoders::{Compressors, Encoders, Made},
    features,
    files::{Files, Part, Place},
    go_on,
    pages::{LONG, LongChunk, LongColumn},
    place,
    short::{self, ShortChunk},
};
use crate::{sample::Sample, store::rows::RowsBuilder};

/// Contents, diffs and messages of a row group. `datasets` writes up to 100 MB; a reader keeps one in memory.
const GROUP_BYTES_MAX: usize = 48 << 20;

/// What all rows that wait take in memory, see [`Waiting::memory`].
const WAITING_BYTES_MAX: usize = 64 << 20;

/// Of pages that are compressed, one byte in as many counts as taken: of contents, which are versions of one another, one in
/// ten or fewer is; of texts without any structure three in four are.
const COMPRESSED: usize = 4;

/// Row groups that may wait beside one for each thread, so that reading goes on while the last pages of one are compressed. Nearly
/// all of a row group is compressed by then.
const GROUPS_AHEAD: usize = 2;

/// What a row takes beside its contents, roughly.
const ROW_BYTES: usize = 512;

/// Where a page ends at the latest. `datasets` has 1 MiB; versions of a file are found in one another within a page only.
/// A page is then about 200 KB on disk, a few of the pieces of 64 KiB that the Hub stores.
pub(super) const PAGE_BYTES_MAX: usize = 8 << 20;

/// zstd's own default, as in the store.
pub(super) const ZSTD_LEVEL: i32 = 3;

/// Columns in which values hardly repeat, so that a dictionary is built for nothing.
const DISTINCT: [&str; 6] = ["id", "commit", "subject", "message", "old_blob", "new_blob"];

/// Where a column of the shard comes from.
#[derive(Clone, Copy)]
enum Source {
    /// The column of this number in [`Group::short`].
    Short(usize),
    /// The column of this number in [`Group::long`].
    Long(usize),
}

/// A row group, to be spliced into the shard.
struct Group {
    short: Vec<ShortChunk>,
    long: Vec<LongChunk>,
    rows: u64,
    bytes_in_memory: u64,
}

/// Rows of one file that wait to become a row group.
struct Waiting {
    short: RowsBuilder,
    long: Vec<LongColumn>,
    long_bytes: usize,
}

/// What all row groups have in common.
struct Layout {
    /// Of the shard.
    schema: SchemaRef,
    parquet: SchemaDescPtr,
    sources: Vec<Source>,
    /// The columns that are made of pages here, and where they are in the shard.
    long: Vec<(&'static str, usize)>,
    /// The others, and where they are in a batch of rows.
    short: SchemaRef,
    columns: Vec<usize>,
    /// Of the shard, and of a row group that is not compressed yet.
    properties: WriterProperties,
    plain: WriterProperties,
}

/// A shard that is being written.
struct Open {
    writer: SerializedFileWriter<Vec<u8>>,
    part: Part,
    rows: u64,
    bytes_in_memory: u64,
}

/// The files of an export.
pub struct ParquetFiles<'a> {
    options: Options<'a>,
    files: Files,
    layout: Arc<Layout>,
    waiting: BTreeMap<Place, Waiting>,
    waiting_bytes: usize,
    /// The language of the row before, and where that went.
    before: Option<(String, Place)>,
    encoders: Encoders,
    group_bytes_max: usize,
    waiting_bytes_max: usize,
    encoding: VecDeque<(Place, Made<Result<Group, Error>>)>,
    open: BTreeMap<Place, Open>,
    /// What row groups are put together in, one after the other.
    memory: Vec<u8>,
}

impl<'a> ParquetFiles<'a> {
    pub(super) fn new(directory: &Path, options: Options<'a>) -> Result<Self, Error> {
        // A shard that is to be small has small row groups, too, since it ends behind one.
        let group_bytes_max = usize::try_from(options.shard_bytes_max).unwrap_or(usize::MAX).clamp(1, GROUP_BYTES_MAX);
        Ok(ParquetFiles {
            options,
            files: Files::new(directory),
            layout: Arc::new(Layout::new(options.columns)?),
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            before: None,
            encoders: Encoders::new(options.threads)?,
            group_bytes_max,
            waiting_bytes_max: WAITING_BYTES_MAX,
            encoding: VecDeque::new(),
            open: BTreeMap::new(),
            memory: Vec::new(),
        })
    }

    pub(super) fn push(&mut self, sample: &Sample<'_>, split: usize) -> Result<(), Error> {
        let place = self.place(sample.lang, split);
        let rows = self.waiting.entry(place.clone()).or_insert_with(|| self.layout.waiting());
        let before = rows.memory();
        rows.push(sample, &self.encoders)?;
        self.waiting_bytes = self.waiting_bytes + rows.memory() - before;
        if rows.size() >= self.group_bytes_max {
            return self.encode(&place);
        }
        if self.waiting_bytes >= self.waiting_bytes_max {
            // The first of the largest, so that it is the same one every time.
            let largest =
                self.waiting.iter().rev().max_by_key(|(_, rows)| rows.memory()).map(|(place, _)| place.clone());
            return largest.map_or(Ok(()), |place| self.encode(&place));
        }
        Ok(())
    }

    /// Where rows of `lang` go, which is mostly where the row before went.
    fn place(&mut self, lang: &str, split: usize) -> Place {
        match &self.before {
            Some((before, place)) if before == lang && place.split == split => place.clone(),
            _ => {
                let place = place(&self.options, lang, split);
                self.before = Some((lang.to_owned(), place.clone()));
                place
            }
        }
    }

    /// Makes a row group of the rows that wait for `place`.
    fn encode(&mut self, place: &Place) -> Result<(), Error> {
        let Some(rows) = self.waiting.remove(place) else { return Ok(()) };
        self.waiting_bytes -= rows.memory();
        while self.encoding.len() >= self.options.threads.max(1) + GROUPS_AHEAD {
            self.append_oldest()?;
        }
        self.begin(place.clone(), rows);
        Ok(())
    }

    fn begin(&mut self, place: Place, mut rows: Waiting) {
        rows.long.iter_mut().for_each(|column| column.end(&self.encoders));
        let layout = Arc::clone(&self.layout);
        self.encoding.push_back((place, self.encoders.give(move |with| layout.group(rows, with))));
    }

    /// Waits for the row group that was begun first, and appends it to its file.
    fn append_oldest(&mut self) -> Result<(), Error> {
        let Some((place, group)) = self.encoding.pop_front() else { return Ok(()) };
        let group = group.wait()?;
        go_on(self.options.interrupt)?;
        let mut open = match self.open.remove(&place) {
            Some(open) => open,
            None => self.start()?,
        };
        // What the shard has so far is in its file, but for the first bytes.
        let mut memory = std::mem::take(&mut self.memory);
        memory.append(open.writer.inner_mut());
        *open.writer.inner_mut() = memory;
        splice(&mut open.writer, &group, &self.layout.sources)?;
        open.rows += group.rows;
        open.bytes_in_memory += group.bytes_in_memory;
        self.memory = open.drain()?;
        if open.part.bytes >= self.options.shard_bytes_max {
            self.files.add(place, open.finish()?);
        } else {
            self.open.insert(place, open);
        }
        Ok(())
    }

    fn start(&mut self) -> Result<Open, Error> {
        let properties = self.layout.properties.clone();
        let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&self.layout.schema), Some(properties))?;
        let (writer, _) = writer.into_serialized_writer()?;
        Ok(Open { writer, part: self.files.start()?, rows: 0, bytes_in_memory: 0 })
    }

    pub(super) fn finish(mut self) -> Result<Vec<Shard>, Error> {
        // All rows are in memory already, so nothing has to be waited for.
        while let Some((place, rows)) = self.waiting.pop_first() {
            go_on(self.options.interrupt)?;
            self.begin(place, rows);
        }
        while !self.encoding.is_empty() {
            self.append_oldest()?;
        }
        for (place, open) in std::mem::take(&mut self.open) {
            self.files.add(place, open.finish()?);
        }
        if self.files.is_empty() {
            let empty = self.start()?.finish()?;
            self.files.add(place(&self.options, "unknown", 0), empty);
        }
        let splits = self.options.splits;
        self.files.name(splits, |place, number, count| {
            let (config, split) = (place.config.as_deref().unwrap_or_default(), splits[place.split]);
            format!("data/{config}/{split}-{number:05}-of-{count:05}.parquet")
        })
    }
}

impl Open {
    /// Moves what was written from memory to the file; the memory, which is empty.
    fn drain(&mut self) -> Result<Vec<u8>, Error> {
        self.writer.flush().map_err(parquet::errors::ParquetError::from)?;
        let mut bytes = std::mem::take(self.writer.inner_mut());
        self.part.append(&bytes)?;
        bytes.clear();
        Ok(bytes)
    }

    fn finish(mut self) -> Result<super::files::Finished, Error> {
        self.writer.finish()?;
        self.drain()?;
        Ok(self.part.finish(self.rows, self.bytes_in_memory))
    }
}

impl Waiting {
    fn push(&mut self, sample: &Sample<'_>, encoders: &Encoders) -> Result<(), Error> {
        for column in &mut self.long {
            self.long_bytes += column.push(sample, encoders)?;
        }
        self.short.push(&Sample { old_contents: None, new_contents: None, diff: "", ..sample.clone() });
        Ok(())
    }

    fn size(&self) -> usize {
        self.long_bytes + self.short.bytes() + self.short.len() * ROW_BYTES
    }

    /// What they take in memory, roughly, and the same whatever threads have done so far.
    fn memory(&self) -> usize {
        let in_pages: usize = self.long.iter().map(LongColumn::page_bytes).sum();
        let compressed = self.long_bytes - in_pages;
        self.size() - compressed + compressed / COMPRESSED
    }
}

impl Layout {
    fn new(columns: &[&str]) -> Result<Self, Error> {
        let (schema, at) = features::schema(columns);
        let (mut sources, mut long, mut short, mut batch) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (number, (field, at)) in schema.fields().iter().zip(at).enumerate() {
            if let Some(name) = LONG.iter().find(|name| *name == field.name()) {
                sources.push(Source::Long(long.len()));
                long.push((*name, number));
            } else {
                sources.push(Source::Short(short.len()));
                short.push(Arc::clone(field));
                batch.push(at);
            }
        }
        Ok(Layout {
            parquet: Arc::new(ArrowSchemaConverter::new().convert(&schema)?),
            properties: properties(&schema, columns, compression()?),
            plain: properties(&schema, columns, Compression::UNCOMPRESSED),
            schema,
            sources,
            long,
            short: Arc::new(Schema::new(short)),
            columns: batch,
        })
    }

    fn waiting(&self) -> Waiting {
        let long = self.long.iter().map(|(name, _)| LongColumn::new(name)).collect();
        Waiting { short: RowsBuilder::default(), long, long_bytes: 0 }
    }

    /// Encodes `rows`.
    fn group(&self, mut rows: Waiting, with: &mut Compressors) -> Result<Group, Error> {
        let count = rows.short.len() as u64;
        let batch = rows.short.finish()?.project(&self.columns)?;
        // The batch has the schema's columns but not its metadata.
        let batch = RecordBatch::try_new(Arc::clone(&self.short), batch.columns().to_vec())?;
        let mut bytes_in_memory = 0;
        for column in batch.columns() {
            bytes_in_memory += column.to_data().get_slice_memory_size()?;
        }
        let short = if self.columns.is_empty() { Vec::new() } else { self.short(&batch, with)? };
        let mut long = Vec::new();
        for (column, (_, at)) in rows.long.into_iter().zip(&self.long) {
            let chunk = column.finish(&self.parquet.column(*at))?;
            bytes_in_memory += chunk.bytes_in_memory;
            long.push(chunk);
        }
        Ok(Group { short, long, rows: count, bytes_in_memory: bytes_in_memory as u64 })
    }

    fn short(&self, batch: &RecordBatch, with: &mut Compressors) -> Result<Vec<ShortChunk>, Error> {
        let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&self.short), Some(self.plain.clone()))?;
        writer.write(batch)?;
        let metadata = writer.finish()?;
        short::compress(&std::mem::take(writer.inner_mut()).into(), &metadata, &mut with.short)
    }
}

pub(super) fn compression() -> Result<Compression, Error> {
    Ok(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
}

fn properties(schema: &SchemaRef, columns: &[&str], compression: Compression) -> WriterProperties {
    let chunking =
        CdcOptions { min_chunk_size: PAGE_BYTES_MAX / 4, max_chunk_size: PAGE_BYTES_MAX, ..CdcOptions::default() };
    let described = json!({
        "min_chunk_size": chunking.min_chunk_size, "max_chunk_size": chunking.max_chunk_size,
        "norm_level": chunking.norm_level,
    });
    let metadata = vec![
        KeyValue::new("huggingface".to_owned(), features::metadata(columns)),
        // Where `datasets` notes it.
        KeyValue::new("content_defined_chunking".to_owned(), described.to_string()),
    ];
    let mut properties = WriterProperties::builder()
        .set_compression(compression)
        // For the page index.
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_content_defined_chunking(Some(chunking))
        .set_max_row_group_row_count(None)
        // So that nothing but contents decides where a page ends.
        .set_data_page_size_limit(2 * PAGE_BYTES_MAX)
        .set_key_value_metadata(Some(metadata));
    for name in DISTINCT.iter().filter(|name| schema.index_of(name).is_ok()) {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(*name), false);
    }
    properties.build()
}

/// Appends the columns of `group` as they are, with their page indexes.
fn splice(writer: &mut SerializedFileWriter<Vec<u8>>, group: &Group, sources: &[Source]) -> Result<(), Error> {
    let mut out = writer.next_row_group()?;
    for source in sources {
        match *source {
            Source::Long(at) => out.append_column(&group.long[at].pages, group.long[at].close.clone())?,
            Source::Short(at) => out.append_column(&group.short[at].pages, group.short[at].close.clone())?,
        }
    }
    out.close()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs::File, sync::atomic::AtomicBool};

    use parquet::file::reader::{FileReader as _, SerializedFileReader};

    use super::*;
    use crate::export::{Compression, Format};

    /// Writes 400 rows of four languages with as many threads; the files, and how many row groups each has.
    fn written(threads: usize, waiting_bytes_max: usize) -> Vec<(String, String, usize)> {
        let directory = tempfile::TempDir::new().expect("a directory");
        let interrupt = AtomicBool::new(false);
        let options = Options {
            format: Format::Hf,
            compression: Compression::None,
            columns: &["id", "lang", "new_contents", "reverts"],
            shape: None,
            width: None,
            shuffle: None,
            shard_bytes_max: 1 << 30,
            splits: &["train", "test"],
            threads,
            interrupt: &interrupt,
        };
        let mut files = ParquetFiles::new(directory.path(), options).expect("files");
        files.waiting_bytes_max = waiting_bytes_max;
        for n in 0..400 {
            let id = format!("{n:032x}");
            let contents = format!("{n} ").repeat(100);
            let lang = ["c", "c#", "c++", "rust"][n * n % 7 % 4];
            let sample = Sample { id: &id, lang, new_contents: Some(&contents), ..Sample::default() };
            files.push(&sample, usize::from(n % 5 == 0)).expect("it can be written");
            assert!(files.waiting_bytes < waiting_bytes_max, "what waits has a bound");
            assert_eq!(files.waiting_bytes, files.waiting.values().map(Waiting::memory).sum::<usize>());
        }
        let shards = files.finish().expect("they can be ended");
        assert_eq!(shards.iter().map(|shard| shard.rows).sum::<u64>(), 400);
        let described = shards.into_iter().map(|shard| {
            let file = File::open(directory.path().join(&shard.file)).expect("it is there");
            let reader = SerializedFileReader::new(file).expect("Parquet");
            assert_eq!(reader.metadata().file_metadata().num_rows() as u64, shard.rows);
            (shard.file, shard.blake3, reader.num_row_groups())
        });
        described.collect()
    }

    #[test]
    fn what_waits_has_a_bound_and_threads_show_nowhere() {
        let whole = written(1, 1 << 30);
        assert!(whole.iter().all(|(_, _, groups)| *groups == 1), "{whole:?}");
        let bounded = written(1, 30_000);
        assert!(bounded.iter().map(|(_, _, groups)| groups).sum::<usize>() > whole.len(), "{bounded:?}");
        for threads in [2, 7] {
            assert_eq!(written(threads, 30_000), bounded);
        }
    }

    #[test]
    fn pages_that_ended_count_for_a_part() {
        let layout = Layout::new(&["id", "new_contents"]).expect("a schema");
        let (mut rows, encoders) = (layout.waiting(), Encoders::new(1).expect("a compressor"));
        let contents = "a line\n".repeat(PAGE_BYTES_MAX / 7 + 1);
        for ended in 1..=3 {
            rows.push(&Sample { new_contents: Some(&contents), ..Sample::default() }, &encoders).expect("it is short");
            // Each is a page of its own, and what is in none is short.
            let short = rows.size() - ended * contents.len();
            assert_eq!(rows.memory(), short + ended * contents.len() / COMPRESSED);
        }
        let text = "and more";
        let before = rows.memory();
        rows.push(&Sample { new_contents: Some(text), ..Sample::default() }, &encoders).expect("it is short");
        assert_eq!(rows.memory(), before + text.len() + ROW_BYTES, "of a page that goes on all counts");
    }
}
