//! Parquet as the Hugging Face Hub has it: `data/<language>/<split>-00000-of-0000N.parquet`.
//!
//! Rows are collected in one buffer for each file. A buffer that is large enough, or the largest when all of them
//! together are too large, becomes a row group, which a thread encodes; row groups are appended to their files in the order
//! in which they were begun. So memory has a bound however many languages there are, and threads show in no byte.

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
};

use arrow_array::{Array as _, RecordBatch};
use arrow_schema::SchemaRef;
use bytes::Bytes;
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    column::writer::ColumnCloseResult,
    file::{
        metadata::{KeyValue, ParquetMetaData},
        properties::{CdcOptions, EnabledStatistics, WriterProperties},
        writer::SerializedFileWriter,
    },
    schema::types::ColumnPath,
};
use serde_json::json;

use super::{
    Error, Options, Shard, features,
    files::{Files, Part, Place},
    go_on, place,
};
use crate::{sample::Sample, store::rows::RowsBuilder};

/// Contents, diffs and messages of a row group. `datasets` writes up to 100 MB; a reader keeps one in memory.
const GROUP_BYTES_MAX: usize = 24 << 20;

/// The same of all rows that wait.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// What a row takes beside its contents, roughly.
const ROW_BYTES: usize = 512;

/// Where content-defined chunking ends a page at the latest. `datasets` has 1 MiB; versions of a file are found in one
/// another within a page only, and with 4 MiB, twice the window of zstd's level 3, files are half as large. A page is then
/// about 100 KB on disk, near the 64 KiB that the Hub stores as one piece.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// zstd's own default, as in the store.
const ZSTD_LEVEL: i32 = 3;

/// A row group is compressed to about so small a part or less.
const COMPRESSED_PARTS: usize = 8;

/// Columns in which values hardly repeat, so that a dictionary is built for nothing.
const DISTINCT: [&str; 9] =
    ["id", "commit", "old_contents", "new_contents", "subject", "message", "diff", "old_blob", "new_blob"];

/// A row group as a file of its own, to be spliced into the shard.
struct Group {
    file: Bytes,
    metadata: ParquetMetaData,
    rows: u64,
    bytes_in_memory: u64,
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
    schema: SchemaRef,
    properties: Arc<WriterProperties>,
    columns: Vec<usize>,
    waiting: BTreeMap<Place, RowsBuilder>,
    waiting_bytes: usize,
    spare: VecDeque<RowsBuilder>,
    group_bytes_max: usize,
    waiting_bytes_max: usize,
    encoding: VecDeque<(Place, JoinHandle<Result<Group, Error>>)>,
    open: BTreeMap<Place, Open>,
}

impl<'a> ParquetFiles<'a> {
    pub(super) fn new(directory: &Path, options: Options<'a>) -> Result<Self, Error> {
        let (schema, columns) = features::schema(options.columns);
        // A shard that is to be small has small row groups, too, since it ends behind one.
        let group_bytes_max = usize::try_from(options.shard_bytes_max).unwrap_or(usize::MAX).clamp(1, GROUP_BYTES_MAX);
        Ok(ParquetFiles {
            options,
            files: Files::new(directory),
            properties: Arc::new(properties(&schema, options.columns)?),
            schema,
            columns,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            spare: VecDeque::new(),
            group_bytes_max,
            waiting_bytes_max: WAITING_BYTES_MAX,
            encoding: VecDeque::new(),
            open: BTreeMap::new(),
        })
    }

    pub(super) fn push(&mut self, sample: &Sample<'_>, split: usize) -> Result<(), Error> {
        let place = place(&self.options, sample.lang, split);
        let rows = self.waiting.entry(place.clone()).or_insert_with(|| {
            // Memory that was used before is there already; that of the oldest one is no longer being encoded.
            let is_free = self.spare.len() > self.options.threads;
            if is_free { self.spare.pop_front() } else { None }.unwrap_or_default()
        });
        let before = size(rows);
        rows.push(sample);
        let after = size(rows);
        self.waiting_bytes += after - before;
        if after >= self.group_bytes_max {
            return self.encode(&place);
        }
        if self.waiting_bytes >= self.waiting_bytes_max {
            // The first of the largest, so that it is the same one every time.
            let largest = self.waiting.iter().rev().max_by_key(|(_, rows)| size(rows)).map(|(place, _)| place.clone());
            return largest.map_or(Ok(()), |place| self.encode(&place));
        }
        Ok(())
    }

    /// Makes a row group of the rows that wait for `place`.
    fn encode(&mut self, place: &Place) -> Result<(), Error> {
        let Some(mut rows) = self.waiting.remove(place) else { return Ok(()) };
        self.waiting_bytes -= size(&rows);
        let batch = rows.finish()?.project(&self.columns)?;
        if self.spare.len() <= self.options.threads {
            self.spare.push_back(rows);
        }
        let (schema, properties) = (Arc::clone(&self.schema), Arc::clone(&self.properties));
        // The batch has the schema's columns but not its metadata.
        let batch = RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec())?;
        while self.encoding.len() >= self.options.threads.max(1) {
            self.append_oldest()?;
        }
        let thread = thread::spawn(move || group(&batch, &schema, &properties));
        self.encoding.push_back((place.clone(), thread));
        Ok(())
    }

    /// Waits for the row group that was begun first, and appends it to its file.
    fn append_oldest(&mut self) -> Result<(), Error> {
        let Some((place, thread)) = self.encoding.pop_front() else { return Ok(()) };
        let group = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        go_on(self.options.interrupt)?;
        let mut open = match self.open.remove(&place) {
            Some(open) => open,
            None => self.start()?,
        };
        open.writer.inner_mut().reserve(group.file.len());
        splice(&mut open.writer, &group)?;
        open.rows += group.rows;
        open.bytes_in_memory += group.bytes_in_memory;
        open.drain()?;
        if open.part.bytes >= self.options.shard_bytes_max {
            self.files.add(place, open.finish()?);
        } else {
            self.open.insert(place, open);
        }
        Ok(())
    }

    fn start(&mut self) -> Result<Open, Error> {
        let properties = WriterProperties::clone(&self.properties);
        let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&self.schema), Some(properties))?;
        let (writer, _) = writer.into_serialized_writer()?;
        Ok(Open { writer, part: self.files.start()?, rows: 0, bytes_in_memory: 0 })
    }

    pub(super) fn finish(mut self) -> Result<Vec<Shard>, Error> {
        while let Some(place) = self.waiting.keys().next().cloned() {
            go_on(self.options.interrupt)?;
            self.encode(&place)?;
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
    /// Moves what was written from memory to the file.
    fn drain(&mut self) -> Result<(), Error> {
        self.writer.flush().map_err(parquet::errors::ParquetError::from)?;
        let bytes = std::mem::take(self.writer.inner_mut());
        self.part.append(&bytes)
    }

    fn finish(mut self) -> Result<super::files::Finished, Error> {
        self.writer.finish()?;
        self.drain()?;
        Ok(self.part.finish(self.rows, self.bytes_in_memory))
    }
}

fn size(rows: &RowsBuilder) -> usize {
    rows.bytes() + rows.len() * ROW_BYTES
}

fn properties(schema: &SchemaRef, columns: &[&str]) -> Result<WriterProperties, Error> {
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
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
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
    Ok(properties.build())
}

/// Encodes `batch` as a file with one row group.
fn group(batch: &RecordBatch, schema: &SchemaRef, properties: &WriterProperties) -> Result<Group, Error> {
    let sizes: Result<Vec<usize>, _> =
        batch.columns().iter().map(|column| column.to_data().get_slice_memory_size()).collect();
    let bytes_in_memory = sizes?.into_iter().sum::<usize>();
    let file = Vec::with_capacity(bytes_in_memory / COMPRESSED_PARTS);
    let mut writer = ArrowWriter::try_new(file, Arc::clone(schema), Some(properties.clone()))?;
    writer.write(batch)?;
    let metadata = writer.finish()?;
    Ok(Group {
        file: std::mem::take(writer.inner_mut()).into(),
        metadata,
        rows: batch.num_rows() as u64,
        bytes_in_memory: bytes_in_memory as u64,
    })
}

/// Appends the row groups of `group` as they are, with their page indexes.
fn splice(writer: &mut SerializedFileWriter<Vec<u8>>, group: &Group) -> Result<(), Error> {
    let page_index = group.metadata.page_index();
    for (number, row_group) in group.metadata.row_groups().iter().enumerate() {
        let mut out = writer.next_row_group()?;
        for (at, column) in row_group.columns().iter().enumerate() {
            let close = ColumnCloseResult {
                bytes_written: column.compressed_size() as u64,
                rows_written: row_group.num_rows() as u64,
                metadata: column.clone(),
                bloom_filter: None,
                column_index: page_index.and_then(|index| index.column_index(number, at)).cloned(),
                offset_index: page_index.and_then(|index| index.offset_index(number, at)).cloned(),
            };
            out.append_column(&group.file, close)?;
        }
        out.close()?;
    }
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
}
