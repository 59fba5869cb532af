//! A directory that `datasets.load_from_disk` maps into memory: `<split>/data-00000-of-0000N.arrow`, Arrow IPC streams
//! without compression, since what is compressed is read into memory instead.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use arrow_array::{Array as _, RecordBatch};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::SchemaRef;
use serde_json::json;

use super::{
    Error, Options, Shard, features,
    files::{Files, Finished, Part, Place},
    go_on, io_error, place,
};
use crate::{sample::Sample, store::rows::RowsBuilder};

/// Rows of a record batch, as `datasets` writes them.
const BATCH_ROWS_MAX: usize = 1000;

/// Contents, diffs and messages of a record batch.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// A shard that is being written.
struct Open {
    writer: StreamWriter<Vec<u8>>,
    part: Part,
    rows: u64,
    bytes_in_memory: u64,
}

/// The files of an export.
pub struct ArrowFiles<'a> {
    options: Options<'a>,
    directory: std::path::PathBuf,
    files: Files,
    schema: SchemaRef,
    columns: Vec<usize>,
    waiting: BTreeMap<Place, RowsBuilder>,
    open: BTreeMap<Place, Open>,
}

impl<'a> ArrowFiles<'a> {
    pub(super) fn new(directory: &Path, options: Options<'a>) -> Self {
        let (schema, columns) = features::schema(options.columns);
        let files = Files::new(directory);
        let directory = directory.to_owned();
        ArrowFiles { options, directory, files, schema, columns, waiting: BTreeMap::new(), open: BTreeMap::new() }
    }

    pub(super) fn push(&mut self, sample: &Sample<'_>, split: usize) -> Result<(), Error> {
        let place = place(&self.options, sample.lang, split);
        let rows = self.waiting.entry(place.clone()).or_default();
        rows.push(sample);
        if rows.len() >= BATCH_ROWS_MAX || rows.bytes() >= BATCH_BYTES_MAX {
            self.write(&place)?;
        }
        Ok(())
    }

    fn write(&mut self, place: &Place) -> Result<(), Error> {
        go_on(self.options.interrupt)?;
        let Some(rows) = self.waiting.get_mut(place) else { return Ok(()) };
        let batch = rows.finish()?.project(&self.columns)?;
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), batch.columns().to_vec())?;
        let mut open = match self.open.remove(place) {
            Some(open) => open,
            None => self.start()?,
        };
        for column in batch.columns() {
            open.bytes_in_memory += column.to_data().get_slice_memory_size()? as u64;
        }
        open.rows += batch.num_rows() as u64;
        open.writer.write(&batch)?;
        open.drain()?;
        if open.part.bytes >= self.options.shard_bytes_max {
            self.files.add(place.clone(), open.finish()?);
        } else {
            self.open.insert(place.clone(), open);
        }
        Ok(())
    }

    fn start(&mut self) -> Result<Open, Error> {
        let writer = StreamWriter::try_new(Vec::new(), &self.schema)?;
        Ok(Open { writer, part: self.files.start()?, rows: 0, bytes_in_memory: 0 })
    }

    pub(super) fn finish(mut self) -> Result<Vec<Shard>, Error> {
        let waiting: Vec<Place> =
            self.waiting.iter().filter(|(_, rows)| !rows.is_empty()).map(|(place, _)| place.clone()).collect();
        for place in waiting {
            self.write(&place)?;
        }
        for (place, open) in std::mem::take(&mut self.open) {
            self.files.add(place, open.finish()?);
        }
        if self.files.is_empty() {
            // `datasets` wants a batch, and be it empty.
            let mut empty = self.start()?;
            empty.writer.write(&RecordBatch::new_empty(Arc::clone(&self.schema)))?;
            let empty = empty.finish()?;
            self.files.add(place(&self.options, "unknown", 0), empty);
        }
        let splits = self.options.splits;
        let shards = self.files.name(splits, |place, number, count| {
            format!("{}/data-{number:05}-of-{count:05}.arrow", splits[place.split])
        })?;
        describe(&self.directory, &self.options, &shards)?;
        Ok(shards)
    }
}

impl Open {
    fn drain(&mut self) -> Result<(), Error> {
        let bytes = std::mem::take(self.writer.get_mut());
        self.part.append(&bytes)
    }

    fn finish(mut self) -> Result<Finished, Error> {
        self.writer.finish()?;
        self.drain()?;
        Ok(self.part.finish(self.rows, self.bytes_in_memory))
    }
}

/// Writes the JSON files that make directories of Arrow a `DatasetDict`.
fn describe(directory: &Path, options: &Options<'_>, shards: &[Shard]) -> Result<(), Error> {
    let write =
        |path: &Path, value: &serde_json::Value| fs::write(path, format!("{value:#}\n")).map_err(io_error(path));
    let mut splits = Vec::new();
    for name in options.splits {
        let shards: Vec<&Shard> = shards.iter().filter(|shard| shard.split == *name).collect();
        if shards.is_empty() {
            continue;
        }
        splits.push(*name);
        let directory = directory.join(name);
        let (rows, bytes) = shards.iter().fold((0, 0), |(rows, bytes), s| (rows + s.rows, bytes + s.bytes_in_memory));
        let files = shards.iter().map(|s| json!({"filename": s.file.rsplit('/').next().unwrap_or_default()}));
        let digests: String = shards.iter().map(|shard| shard.blake3.as_str()).collect();
        let state = json!({
            "_data_files": files.collect::<Vec<_>>(),
            // What `datasets` keys its cache by: other contents, another fingerprint.
            "_fingerprint": &blake3::hash(digests.as_bytes()).to_hex()[..16],
            "_format_columns": null, "_format_kwargs": {}, "_format_type": null, "_output_all_columns": false,
            "_split": name,
        });
        write(&directory.join("state.json"), &state)?;
        let about = json!({
            "description": "Made by gitlode.", "features": features::json(options.columns), "homepage": "", "license": "",
            "citation": "", "dataset_size": bytes,
            "splits": {(*name): {"name": name, "num_bytes": bytes, "num_examples": rows}},
        });
        write(&directory.join("dataset_info.json"), &about)?;
    }
    write(&directory.join("dataset_dict.json"), &json!({"splits": splits}))
}
