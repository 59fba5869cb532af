//! Segments: writing record batches as an Arrow IPC stream, sealing the file with a manifest, reading and checking it.

use std::{
    fs::{self, File},
    io::{BufReader, BufWriter, Cursor, Read, Seek as _, SeekFrom, Write},
    path::{Path, PathBuf},
};

use arrow_array::{RecordBatch, cast::AsArray as _};
use arrow_ipc::{
    reader::StreamReader,
    writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions, write_message},
};
use arrow_schema::ArrowError;
use serde::{Deserialize, Serialize};

use super::{
    Error, ahead::Ahead, decode::Messages, files::open, io_error, ledger::LedgerManifest, rows, seal, write_json,
};
use crate::verdict::Counts;

/// The record of a sealed segment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentManifest {
    /// File name of the Arrow stream, beside the manifest.
    pub file: String,
    /// The repository's identity.
    pub repository: String,
    /// Digest of tips, hidden tips and recipe: what batch the segment belongs to.
    pub batch_digest: String,
    /// [`crate::sample::SCHEMA_VERSION`] of the rows.
    pub schema: u32,
    /// First block of candidates in the segment.
    pub block_from: u64,
    /// The block behind its last one.
    pub block_to: u64,
    /// Number of rows.
    pub rows: u64,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// BLAKE3 of the file, hexadecimal.
    pub blake3: String,
    /// The account of the changes in its blocks.
    pub changes: Counts,
    /// What rules dropped in them; none where nothing was dropped, or no ledger was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<LedgerManifest>,
}

/// What a file has more is brought to disk while it grows.
const BEHIND_BYTES: u64 = 4 << 20;

/// An Arrow IPC stream being written, under a temporary name.
pub(super) struct StreamFile {
    path: PathBuf,
    file: BufWriter<File>,
    hasher: blake3::Hasher,
    bytes: u64,
    /// Once there is something for it to do.
    ahead: Option<Ahead>,
    /// Bytes that are on their way to disk.
    synced: u64,
}

impl StreamFile {
    /// Starts the file that will be `directory/stem.arrow`.
    pub(super) fn new(directory: &Path, stem: &str, schema: &arrow_schema::Schema) -> Result<Self, Error> {
        fs::create_dir_all(directory).map_err(io_error(directory))?;
        let path = directory.join(format!("{stem}.arrow"));
        let temporary = path.with_added_extension("tmp");
        let file = BufWriter::new(File::create(&temporary).map_err(io_error(&temporary))?);
        let hasher = blake3::Hasher::new();
        let mut stream = StreamFile { path, file, hasher, bytes: 0, ahead: None, synced: 0 };
        let options = IpcWriteOptions::default();
        let mut tracker = DictionaryTracker::new(false);
        let schema =
            IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(schema, &mut tracker, &options);
        let mut message = Vec::new();
        write_message(&mut message, schema, &options)?;
        stream.write(&message)?;
        Ok(stream)
    }

    /// Appends an encoded message.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(io_error(&self.path))?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        if self.bytes - self.synced >= BEHIND_BYTES {
            let ahead = match &mut self.ahead {
                Some(ahead) => ahead,
                none => none.insert(Ahead::start(&self.path)?),
            };
            if ahead.has_ended() {
                return self.finish_ahead();
            }
            // Where enough is on its way, this can wait.
            if !ahead.queue().is_full() {
                let file = self.file.get_ref().try_clone().map_err(io_error(&self.path))?;
                if ahead.queue().take(&self.path, file) {
                    self.synced = self.bytes;
                }
            }
        }
        Ok(())
    }

    fn finish_ahead(&mut self) -> Result<(), Error> {
        self.ahead.take().map_or(Ok(()), Ahead::finish)
    }

    /// Ends the stream and renames it into place; its file name, size in bytes and BLAKE3.
    pub(super) fn seal(mut self) -> Result<(String, u64, String), Error> {
        // The end-of-stream mark of the IPC format: a continuation and a length of zero.
        self.write(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0])?;
        let temporary = self.path.with_added_extension("tmp");
        self.finish_ahead()?;
        let file = self.file.into_inner().map_err(|e| Error::Io { path: temporary.clone(), source: e.into_error() })?;
        file.sync_all().map_err(io_error(&temporary))?;
        seal(&temporary, &self.path).map_err(io_error(&self.path))?;
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok((name, self.bytes, self.hasher.finalize().to_hex().to_string()))
    }

    /// Removes what was written.
    pub(super) fn discard(self) -> Result<(), Error> {
        let temporary = self.path.with_added_extension("tmp");
        fs::remove_file(&temporary).map_err(io_error(&temporary))
    }
}

/// A segment being written, under a temporary name.
pub struct SegmentWriter {
    file: StreamFile,
    rows: u64,
}

impl SegmentWriter {
    /// Starts the segment that will be `directory/stem.arrow`.
    ///
    /// # Errors
    /// The file can't be made.
    pub fn new(directory: &Path, stem: &str) -> Result<Self, Error> {
        Ok(SegmentWriter { file: StreamFile::new(directory, stem, &rows::schema())?, rows: 0 })
    }

    /// Appends a batch that [`super::message::Encoder::encode`] made of `rows` rows.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn append(&mut self, message: &[u8], rows: u64) -> Result<(), Error> {
        self.rows += rows;
        self.file.write(message)
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.file.bytes
    }

    /// Ends the stream and renames it and its manifest into place; `manifest` comes with what the writer can't know.
    ///
    /// # Errors
    /// The file can't be written; nothing is visible then.
    pub fn seal(self, mut manifest: SegmentManifest) -> Result<SegmentManifest, Error> {
        manifest.rows = self.rows;
        let path = self.file.path.with_extension("json");
        (manifest.file, manifest.bytes, manifest.blake3) = self.file.seal()?;
        write_json(&path, &manifest)?;
        Ok(manifest)
    }
}

/// Reads the batches of the segment at `path` one by one.
///
/// # Errors
/// The file can't be opened or does not begin as an Arrow stream.
pub fn read(path: &Path) -> Result<impl Iterator<Item = Result<RecordBatch, Error>> + use<>, Error> {
    read_columns(path, None)
}

/// Calls `each` with the id of every row of the segment at `path`. Nothing else is decompressed.
///
/// # Errors
/// As [`read`], or what `each` returns.
pub fn ids(path: &Path, mut each: impl FnMut(&str) -> Result<(), Error>) -> Result<(), Error> {
    for batch in read_columns(path, Some("id"))? {
        let batch = batch?;
        let ids = batch
            .column(0)
            .as_string_opt::<i32>()
            .ok_or_else(|| Error::Damaged { path: path.to_owned(), reason: "ids are no texts".to_owned() })?;
        ids.iter().flatten().try_for_each(&mut each)?;
    }
    Ok(())
}

/// Reads all columns, or one of them.
fn read_columns(
    path: &Path,
    column: Option<&str>,
) -> Result<impl Iterator<Item = Result<RecordBatch, Error>> + use<>, Error> {
    let damaged = |path: &Path, e: &ArrowError| Error::Damaged { path: path.to_owned(), reason: e.to_string() };
    let start = |columns| StreamReader::try_new(BufReader::new(open(path)?), columns).map_err(|e| damaged(path, &e));
    let mut reader = start(None)?;
    if let Some(name) = column {
        let at = reader.schema().index_of(name).map_err(|e| damaged(path, &e))?;
        reader = start(Some(vec![at]))?;
    }
    let path = path.to_owned();
    Ok(reader.map(move |batch| batch.map_err(|e| damaged(&path, &e))))
}

/// Where the batches of a segment are, so that each can be read by itself, or left alone.
pub struct Batches {
    path: PathBuf,
    /// The message that a stream begins with.
    schema: Vec<u8>,
    /// Positions of the columns that are read.
    projection: Vec<usize>,
    /// Where a batch begins, where it ends, and its rows.
    places: Vec<Place>,
}

/// Where a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Offset of its first byte.
    pub start: u64,
    /// Offset behind its last byte.
    pub end: u64,
    /// Its rows.
    pub rows: u64,
}

impl Batches {
    /// Looks for the batches of the segment at `path`, of which `columns` are to be read.
    ///
    /// # Errors
    /// The file can't be read, or is no Arrow stream of a schema and batches.
    pub fn find(path: &Path, columns: &[&str]) -> Result<Batches, Error> {
        let damaged = |reason: &str| Error::Damaged { path: path.to_owned(), reason: reason.to_owned() };
        let (mut schema, mut places) = (Vec::new(), Vec::new());
        let mut messages = Messages::open(path, MESSAGE_READ)?;
        while messages.advance()? {
            let (start, end) = messages.place();
            let message = messages.message()?;
            match (message.header_as_schema(), message.header_as_record_batch()) {
                (Some(_), None) if schema.is_empty() && message.bodyLength() == 0 => schema = messages.bytes().to_vec(),
                (None, Some(batch)) if !schema.is_empty() => {
                    places.push(Place { start, end, rows: u64::try_from(batch.length()).unwrap_or_default() });
                }
                _ => return Err(damaged("it has a message that no segment has")),
            }
        }
        let all = StreamReader::try_new(&schema[..], None).map_err(|e| damaged(&e.to_string()))?.schema();
        let projection = columns.iter().filter_map(|name| all.index_of(name).ok()).collect();
        Ok(Batches { path: path.to_owned(), schema, projection, places })
    }

    /// Where they are.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Reads the batches at `range` of [`Batches::places`] one by one.
    ///
    /// # Errors
    /// The file can't be opened.
    pub fn read(
        &self,
        range: std::ops::Range<usize>,
    ) -> Result<impl Iterator<Item = Result<RecordBatch, Error>> + use<>, Error> {
        let places = self.places.get(range).unwrap_or_default();
        let (start, end) = places.first().zip(places.last()).map_or((0, 0), |(first, last)| (first.start, last.end));
        let mut file = open(&self.path)?;
        file.seek(SeekFrom::Start(start)).map_err(io_error(&self.path))?;
        let stream = Cursor::new(self.schema.clone()).chain(BufReader::new(file.take(end - start)));
        let path = self.path.clone();
        let damaged = move |e: ArrowError| Error::Damaged { path: path.clone(), reason: e.to_string() };
        let reader = StreamReader::try_new(stream, Some(self.projection.clone())).map_err(&damaged)?;
        Ok(reader.map(move |batch| batch.map_err(&damaged)))
    }
}

/// Bytes that are read to find a message: its header is shorter, mostly, and its body is skipped.
const MESSAGE_READ: usize = 1 << 14;

/// Checks size, checksum and number of rows of the segment that `manifest` describes, and adds the commits of its rows
/// to `commits`.
///
/// # Errors
/// Whatever does not agree.
pub fn verify(
    directory: &Path,
    manifest: &SegmentManifest,
    commits: &mut std::collections::HashSet<String>,
) -> Result<(), Error> {
    let path = directory.join(&manifest.file);
    let damaged = |reason: String| Error::Damaged { path: path.clone(), reason };
    verify_file(&path, manifest.bytes, &manifest.blake3)?;
    let mut rows = 0;
    for batch in read(&path)? {
        let batch = batch?;
        rows += batch.num_rows() as u64;
        let of_rows = rows::Rows::new(&batch).map_err(|e| damaged(e.to_string()))?;
        for at in 0..of_rows.len() {
            let commit = of_rows.get(at).commit;
            if !commits.contains(commit) {
                commits.insert(commit.to_owned());
            }
        }
    }
    if rows != manifest.rows || rows != manifest.changes.kept {
        return Err(damaged(format!("its manifest says {} rows, it has {rows}", manifest.rows)));
    }
    if !manifest.changes.adds_up() {
        return Err(damaged("its counts do not add up".into()));
    }
    match &manifest.ledger {
        Some(ledger) => verify_ledger(directory, ledger, manifest.changes.dropped.values().sum()),
        None => Ok(()),
    }
}

/// Checks a ledger, which has to have `dropped` rows.
///
/// # Errors
/// Whatever does not agree.
pub fn verify_ledger(directory: &Path, manifest: &LedgerManifest, dropped: u64) -> Result<(), Error> {
    let path = directory.join(&manifest.file);
    verify_file(&path, manifest.bytes, &manifest.blake3)?;
    let mut rows = 0;
    for batch in read(&path)? {
        rows += batch?.num_rows() as u64;
    }
    if rows != manifest.rows || rows != dropped {
        let reason = format!("it has {rows} rows, its manifest says {}, and {dropped} were dropped", manifest.rows);
        return Err(Error::Damaged { path, reason });
    }
    Ok(())
}

/// Whether the file at `path` has so many bytes and this checksum, as its manifest says.
///
/// # Errors
/// It has not, or can't be read.
pub fn verify_file(path: &Path, bytes: u64, blake3: &str) -> Result<(), Error> {
    let damaged = |reason: String| Error::Damaged { path: path.to_owned(), reason };
    let mut file = open(path)?;
    let size = file.metadata().map_err(io_error(path))?.len();
    if size != bytes {
        return Err(damaged(format!("wanted {bytes} bytes, found {size}")));
    }
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = file.read(&mut buffer).map_err(io_error(path))?;
        if n == 0 {
            break;
        }
        hasher.update(&buffer[..n]);
    }
    if hasher.finalize().to_hex().as_str() != blake3 {
        return Err(damaged("its checksum is wrong".into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sample::Sample,
        store::{message::Encoder, rows::RowsBuilder},
    };

    fn ids(batches: impl Iterator<Item = Result<RecordBatch, Error>>) -> Result<Vec<String>, Error> {
        let mut ids = Vec::new();
        for batch in batches {
            let rows = rows::Rows::of_columns(&batch?, &["id", "diff"]).expect("the columns are there");
            ids.extend((0..rows.len()).map(|at| {
                let Sample { id, diff, subject, .. } = rows.get(at);
                assert_eq!(subject, "", "a column that was not asked for");
                format!("{id} {diff}")
            }));
        }
        Ok(ids)
    }

    #[test]
    fn batches_are_read_one_by_one() {
        let directory = tempfile::TempDir::new().expect("a directory");
        let (mut writer, mut encoder) =
            (SegmentWriter::new(directory.path(), "s").expect("it can be made"), Encoder::default());
        let mut number = 0;
        for rows in [3, 1, 4] {
            let mut builder = RowsBuilder::default();
            for _ in 0..rows {
                let (id, diff) = (format!("{number:032x}"), "+a line\n".repeat(number % 5 * 40));
                builder.push(&Sample { id: &id, diff: &diff, subject: "a subject", ..Sample::default() });
                number += 1;
            }
            let message = encoder.encode(builder.len(), &builder.columns()).expect("it can be encoded");
            writer.append(&message, rows).expect("it can be written");
        }
        let (name, ..) = writer.file.seal().expect("it can be written");
        let path = directory.path().join(name);
        let columns = ["id", "diff", "no such column"];
        let batches = Batches::find(&path, &columns).expect("it is whole");
        let all = ids(read(&path).expect("it is whole")).expect("it is whole");
        assert_eq!(batches.places().iter().map(|place| place.rows).collect::<Vec<_>>(), [3, 1, 4]);
        for (range, expected) in [(0..3, &all[..]), (1..2, &all[3..4]), (1..3, &all[3..]), (2..2, &[]), (3..9, &[])] {
            assert_eq!(
                ids(batches.read(range.clone()).expect("it can be read")).expect("whole"),
                expected,
                "{range:?}"
            );
        }
        // Whatever is done to the file (every thirteenth byte, to be quick), it is found to be damaged, or batches are found where there is room for them.
        let whole = fs::read(&path).expect("it can be read");
        for at in (0..whole.len()).step_by(13) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x41;
            for bytes in [&bytes[..], &whole[..at]] {
                fs::write(&path, bytes).expect("it can be written");
                let Ok(found) = Batches::find(&path, &columns) else { continue };
                assert!(found.places().iter().all(|place| place.end <= bytes.len() as u64), "byte {at}");
                // What was cut is whole up to there.
                if bytes.len() < whole.len() {
                    let rows = ids(found.read(0..found.places().len()).expect("it can be read")).expect("whole");
                    assert_eq!(rows, all[..rows.len()]);
                }
            }
        }
    }
}
