//! Reads record batches of segments one by one, with a decompressor and memory that stay.
//!
//! arrow-ipc's own reader makes a decompressor for each batch, and takes memory for each buffer that the kernel clears first. Here
//! all buffers of a batch are decompressed one behind the other, in memory of a batch before that nobody has any more. The
//! crate is then given the batch as if it had never been compressed, so types and lengths are checked by it as ever. Texts are
//! bytes to it, and checked here, a vector at a time.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufReader, Read as _},
    path::{Path, PathBuf},
};

use arrow_array::{ArrayRef, GenericStringArray, OffsetSizeTrait, RecordBatch, RecordBatchOptions, cast::AsArray as _};
use arrow_buffer::{Buffer, MutableBuffer};
use arrow_ipc::{
    BodyCompressionMethod, CompressionType, FieldNode, Message, MetadataVersion, RecordBatchBuilder, convert,
    reader::RecordBatchDecoder,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use encoding_rs::Encoding;
use flatbuffers::FlatBufferBuilder;
use zstd::bulk::Decompressor;

use super::{
    Error,
    files::open,
    io_error,
    message::{CONTINUATION, NOT_COMPRESSED},
};

/// The most that one byte of zstd's becomes: a block has up to 128 KiB and takes four bytes at least.
const GROWTH_MAX: usize = (128 << 10) / 4;

/// Buffers begin where the widest instructions like it.
const ALIGNMENT: usize = 64;

/// Buffers end with a whole number of any type: of what does not, the crate says nothing but panics.
const WORD: usize = 8;

/// Memory is taken in multiples of this, so that more batches fit in it.
const STEP: usize = 256 << 10;

/// Memory that nobody has and that is kept although it did not fit.
const IDLE_BYTES_MAX: usize = 48 << 20;

/// The messages of a stream.
pub(super) struct Messages {
    path: PathBuf,
    file: BufReader<File>,
    len: u64,
    /// The message moved to, with what stands before it.
    header: Vec<u8>,
    /// Where it begins and ends.
    start: u64,
    end: u64,
    /// Bytes of its body that are still to be read.
    rest: u64,
}

/// Bytes in front of a message: the mark, and its size.
const PREFIX: usize = 8;

impl Messages {
    /// Opens the stream at `path`, to be read in pieces of `piece` bytes.
    pub(super) fn open(path: &Path, piece: usize) -> Result<Self, Error> {
        let file = BufReader::with_capacity(piece, open(path)?);
        let len = file.get_ref().metadata().map_err(io_error(path))?.len();
        Ok(Messages { path: path.to_owned(), file, len, header: Vec::new(), start: 0, end: 0, rest: 0 })
    }

    fn damaged(&self, reason: impl ToString) -> Error {
        Error::Damaged { path: self.path.clone(), reason: reason.to_string() }
    }

    /// Moves to the next message; whether there is one.
    pub(super) fn advance(&mut self) -> Result<bool, Error> {
        let rest = i64::try_from(self.rest).unwrap_or(i64::MAX);
        self.file.seek_relative(rest).map_err(io_error(&self.path))?;
        (self.start, self.rest) = (self.end, 0);
        if self.start >= self.len {
            return Ok(false);
        }
        let mut prefix = [0; PREFIX];
        self.file.read_exact(&mut prefix).map_err(|e| self.damaged(e))?;
        let [_, _, _, _, size @ ..] = prefix;
        let size = u64::from(u32::from_le_bytes(size));
        if prefix[..4] != CONTINUATION {
            return Err(self.damaged("a message does not begin as one"));
        }
        if size == 0 {
            self.end = self.len;
            return Ok(false);
        }
        self.header.clear();
        // A size may be anything; what is reserved is no more than there can be.
        self.header.reserve(PREFIX + usize::try_from(size.min(self.len)).unwrap_or_default());
        self.header.extend_from_slice(&prefix);
        self.file.by_ref().take(size).read_to_end(&mut self.header).map_err(io_error(&self.path))?;
        let body = u64::try_from(self.message()?.bodyLength()).unwrap_or(u64::MAX);
        let end = [PREFIX as u64, size, body].into_iter().try_fold(self.start, u64::checked_add);
        self.end = end.filter(|end| *end <= self.len).ok_or_else(|| self.damaged("it is cut short"))?;
        self.rest = body;
        Ok(true)
    }

    /// The message that [`Messages::advance`] moved to.
    pub(super) fn message(&self) -> Result<Message<'_>, Error> {
        arrow_ipc::root_as_message(self.header.get(PREFIX..).unwrap_or_default()).map_err(|e| self.damaged(e))
    }

    /// The same as it stands in the file.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.header
    }

    /// Where it begins, and where its body ends.
    pub(super) fn place(&self) -> (u64, u64) {
        (self.start, self.end)
    }

    /// Reads its body.
    fn body(&mut self, body: &mut Vec<u8>) -> Result<(), Error> {
        body.clear();
        // That so much is in the file was seen before.
        body.reserve(usize::try_from(self.rest).unwrap_or_default());
        let read = self.file.by_ref().take(self.rest).read_to_end(body).map_err(io_error(&self.path))?;
        self.rest -= read as u64;
        if self.rest > 0 { Err(self.damaged("it is cut short")) } else { Ok(()) }
    }
}

/// A segment whose batches are read one by one.
pub struct Stream {
    messages: Messages,
    schema: SchemaRef,
    /// The same with bytes for texts.
    bytes: SchemaRef,
}

/// Bytes that are read of a segment at once.
const PIECE: usize = 64 << 10;

impl Stream {
    /// Opens the segment at `path`.
    ///
    /// # Errors
    /// The file can't be opened or does not begin as an Arrow stream.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mut messages = Messages::open(path, PIECE)?;
        if !messages.advance()? {
            return Err(messages.damaged("it is cut short"));
        }
        let schema = messages.message()?.header_as_schema().map(convert::try_fb_to_schema);
        let schema = schema.ok_or_else(|| messages.damaged("it does not begin with a schema"))?;
        let schema = schema.map_err(|e| messages.damaged(e))?;
        let bytes = with_bytes(&schema).into();
        Ok(Stream { messages, schema: schema.into(), bytes })
    }

    /// The next batch, and the memory that it takes.
    ///
    /// # Errors
    /// The segment is damaged, or can't be read.
    pub fn next(&mut self, decoder: &mut Decoder) -> Result<Option<(RecordBatch, usize)>, Error> {
        if !self.messages.advance()? {
            return Ok(None);
        }
        self.messages.body(&mut decoder.body)?;
        let message = self.messages.message()?;
        let batch = message.header_as_record_batch();
        let batch = batch.ok_or_else(|| self.messages.damaged("it has a message that no segment has"))?;
        let decoded = decoder.decode(&self.bytes, batch, message.version());
        let texts = |(batch, bytes)| Ok((with_texts(&self.schema, &batch)?, bytes));
        decoded.and_then(texts).map(Some).map_err(|e| self.messages.damaged(e))
    }
}

/// A buffer of a batch as it stands in the file.
enum Content<'a> {
    Plain(&'a [u8]),
    /// What becomes so many bytes.
    Compressed(&'a [u8], usize),
}

impl Content<'_> {
    fn len(&self) -> usize {
        match self {
            Content::Plain(bytes) => bytes.len(),
            Content::Compressed(_, len) => *len,
        }
    }
}

/// What decodes batches, for one thread.
pub struct Decoder {
    zstd: Decompressor<'static>,
    /// Of the batch, as it stands in the file.
    body: Vec<u8>,
    header: FlatBufferBuilder<'static>,
    /// Memory of batches, which they may still have.
    memory: Vec<Buffer>,
}

impl Decoder {
    /// A decoder without memory.
    ///
    /// # Errors
    /// There is no memory for the decompressor.
    pub fn new() -> Result<Self, Error> {
        let zstd = Decompressor::new().map_err(ArrowError::from)?;
        Ok(Decoder { zstd, body: Vec::new(), header: FlatBufferBuilder::new(), memory: Vec::new() })
    }

    /// Decodes `batch`, whose body was read.
    fn decode(
        &mut self,
        schema: &SchemaRef,
        batch: arrow_ipc::RecordBatch<'_>,
        version: MetadataVersion,
    ) -> Result<(RecordBatch, usize), ArrowError> {
        let is_compressed = is_compressed(&batch)?;
        let mut size = 0_usize;
        let (mut contents, mut places) = (Vec::new(), Vec::new());
        for buffer in batch.buffers().into_iter().flatten() {
            let content = content(&self.body, buffer, is_compressed)?;
            let len = content.len();
            places.push(arrow_ipc::Buffer::new(size as i64, len.next_multiple_of(WORD) as i64));
            contents.push(content);
            size =
                size.checked_add(len).and_then(|end| end.checked_next_multiple_of(ALIGNMENT)).ok_or_else(too_large)?;
        }
        let mut memory = take(&mut self.memory, size)?;
        for (content, place) in contents.into_iter().zip(&places) {
            let to = &mut memory.as_slice_mut()[place.offset() as usize..][..place.length() as usize];
            let len = content.len();
            to[len..].fill(0);
            match content {
                Content::Plain(bytes) => to[..len].copy_from_slice(bytes),
                Content::Compressed(bytes, len) => {
                    let written = self.zstd.decompress_to_buffer(bytes, &mut to[..len])?;
                    if written != len {
                        return Err(ArrowError::IpcError(format!("a buffer has {written} bytes instead of {len}")));
                    }
                }
            }
        }
        let memory = Buffer::from(memory);
        self.memory.push(memory.clone());
        let nodes: Vec<FieldNode> = batch.nodes().into_iter().flatten().copied().collect();
        self.header.reset();
        let (nodes, buffers) = (self.header.create_vector(&nodes), self.header.create_vector(&places));
        let mut plain = RecordBatchBuilder::new(&mut self.header);
        plain.add_length(batch.length());
        plain.add_nodes(nodes);
        plain.add_buffers(buffers);
        let plain = plain.finish();
        self.header.finish(plain, None);
        let plain = flatbuffers::root::<arrow_ipc::RecordBatch<'_>>(self.header.finished_data());
        let plain = plain.map_err(|e| ArrowError::IpcError(e.to_string()))?;
        let dictionaries = HashMap::new();
        let decoder = RecordBatchDecoder::try_new(&memory, plain, SchemaRef::clone(schema), &dictionaries, &version)?;
        Ok((decoder.read_record_batch()?, memory.len()))
    }
}

/// `schema` with bytes for the texts of its columns.
fn with_bytes(schema: &Schema) -> Schema {
    let field = |field: &Field| match field.data_type() {
        DataType::Utf8 => field.clone().with_data_type(DataType::Binary),
        DataType::LargeUtf8 => field.clone().with_data_type(DataType::LargeBinary),
        _ => field.clone(),
    };
    Schema::new(schema.fields().iter().map(|of| field(of)).collect::<Vec<_>>())
}

/// `batch`, which is of [`with_bytes`], with the columns of `schema`.
fn with_texts(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| match field.data_type() {
        DataType::Utf8 => text::<i32>(column),
        DataType::LargeUtf8 => text::<i64>(column),
        _ => Ok(ArrayRef::clone(column)),
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns.collect::<Result<_, _>>()?, &options)
}

/// A column of bytes as one of texts.
fn text<O: OffsetSizeTrait>(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let (offsets, values, nulls) = column.as_binary::<O>().clone().into_parts();
    let bytes = &values[offsets[0].as_usize()..offsets[offsets.len() - 1].as_usize()];
    // All of it is looked at in one go, so a value might still begin within a letter.
    let begins = |offset: &O| {
        let byte = bytes.get(offset.as_usize() - offsets[0].as_usize());
        byte.is_none_or(|byte| !(0x80..0xc0).contains(byte))
    };
    if Encoding::utf8_valid_up_to(bytes) < bytes.len() || !offsets.iter().all(begins) {
        return Err(ArrowError::IpcError("a text is no UTF-8".to_owned()));
    }
    // SAFETY: all values together are UTF-8, and each begins where a letter does, so each is UTF-8.
    Ok(std::sync::Arc::new(unsafe { GenericStringArray::<O>::new_unchecked(offsets, values, nulls) }))
}

fn too_large() -> ArrowError {
    ArrowError::IpcError("a batch is larger than memory can be".to_owned())
}

fn is_compressed(batch: &arrow_ipc::RecordBatch<'_>) -> Result<bool, ArrowError> {
    match batch.compression() {
        None => Ok(false),
        Some(how) if (how.codec(), how.method()) == (CompressionType::ZSTD, BodyCompressionMethod::BUFFER) => Ok(true),
        Some(how) => Err(ArrowError::IpcError(format!("it is compressed by {:?}, which no segment is", how.codec()))),
    }
}

/// What `body` has of `buffer`.
fn content<'a>(body: &'a [u8], buffer: &arrow_ipc::Buffer, is_compressed: bool) -> Result<Content<'a>, ArrowError> {
    let wrong = |what: &str| ArrowError::IpcError(format!("a buffer {what}"));
    let (start, len) = (usize::try_from(buffer.offset()), usize::try_from(buffer.length()));
    let bytes = start.ok().zip(len.ok()).and_then(|(start, len)| body.get(start..)?.get(..len));
    let bytes = bytes.ok_or_else(|| wrong("is not within its batch"))?;
    if !is_compressed || bytes.is_empty() {
        return Ok(Content::Plain(bytes));
    }
    let (len, bytes) = bytes.split_first_chunk().ok_or_else(|| wrong("is cut short"))?;
    match i64::from_le_bytes(*len) {
        NOT_COMPRESSED => Ok(Content::Plain(bytes)),
        0 => Ok(Content::Plain(&[])),
        // A length may be anything; memory is taken for no more than the bytes can become.
        len => match usize::try_from(len) {
            Ok(len) if len / GROWTH_MAX <= bytes.len() => Ok(Content::Compressed(bytes, len)),
            _ => Err(wrong("has a length that it can't have")),
        },
    }
}

/// Memory of at least `size` bytes: that of a batch which nobody has any more, where it is not much too large.
fn take(memory: &mut Vec<Buffer>, size: usize) -> Result<MutableBuffer, ArrowError> {
    let is_idle = |memory: &Buffer| memory.strong_count() == 1;
    let largest = size.max(STEP).saturating_mul(8);
    let fits = |at: &usize| is_idle(&memory[*at]) && (size..=largest).contains(&memory[*at].len());
    if let Some(at) = (0..memory.len()).filter(fits).min_by_key(|at| memory[*at].len())
        && let Ok(memory) = memory.swap_remove(at).into_mutable()
    {
        return Ok(memory);
    }
    let mut idle = 0;
    memory.retain(|memory| {
        idle += if is_idle(memory) { memory.len() } else { 0 };
        !is_idle(memory) || idle <= IDLE_BYTES_MAX
    });
    let size = size.checked_next_multiple_of(STEP).ok_or_else(too_large)?;
    MutableBuffer::try_from_len_zeroed(size).map_err(|e| ArrowError::MemoryError(e.to_string()))
}

#[cfg(test)]
mod tests {
    use std::{fs, panic::catch_unwind, sync::Arc};

    use arrow_array::{Array as _, BinaryArray, Float64Array, LargeBinaryArray, LargeStringArray, StringArray};
    use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};

    use super::*;
    use crate::{
        sample::Sample,
        store::rows::{Rows, RowsBuilder},
    };

    /// A batch of `rows`, with texts up to `length` bytes.
    fn batch(rows: usize, length: usize) -> RecordBatch {
        let mut builder = RowsBuilder::default();
        for row in 0..rows {
            let text = |n: usize| format!("{row} ünï\n").repeat((row * n) % 7 * length / 70);
            let (old, new, id) = (text(1), text(2), format!("{row:032x}"));
            builder.push(&Sample {
                id: &id,
                old_contents: (row % 3 > 0).then_some(&old),
                new_contents: Some(&new),
                reverts: vec!["a commit"; row % 4],
                vendored: (row % 2 == 0).then_some(row % 5 == 0),
                author_time: Some(row as i64 - 3),
                license_confidence: (row % 9 == 0).then_some(0.5),
                ..Sample::default()
            });
        }
        builder.finish().expect("rows make a batch")
    }

    fn file(directory: &Path, batches: &[RecordBatch], compression: Option<CompressionType>) -> PathBuf {
        let path = directory.join("s.arrow");
        let options = IpcWriteOptions::default().try_with_compression(compression).expect("zstd is there");
        let (file, schema) = (File::create(&path).expect("it can be made"), batches[0].schema());
        let mut writer = StreamWriter::try_new_with_options(file, &schema, options).expect("a schema");
        batches.iter().for_each(|batch| writer.write(batch).expect("it can be written"));
        writer.finish().expect("it can be written");
        path
    }

    fn read(path: &Path, decoder: &mut Decoder) -> Result<Vec<RecordBatch>, Error> {
        let mut stream = Stream::open(path)?;
        std::iter::from_fn(|| stream.next(decoder).map(|next| next.map(|(batch, _)| batch)).transpose()).collect()
    }

    #[test]
    fn batches_are_those_that_were_written() {
        let directory = tempfile::TempDir::new().expect("a directory");
        let mut decoder = Decoder::new().expect("a decompressor");
        let other: Vec<(&str, ArrayRef)> = vec![
            ("none", Arc::new(StringArray::new_null(4))),
            ("numbers", Arc::new(Float64Array::from(vec![1.0, f64::NEG_INFINITY, 0.0, 0.5]))),
            ("random", Arc::new(LargeStringArray::from(vec!["", "q8Zr1", "x", "\u{10ffff}"]))),
        ];
        let other = RecordBatch::try_from_iter(other).expect("columns of four rows");
        for compression in [Some(CompressionType::ZSTD), None] {
            for batches in [
                vec![batch(0, 0), batch(1, 10), batch(128, 9_000), batch(3, 200_000), batch(40, 500)],
                vec![other.clone()],
            ] {
                let path = file(directory.path(), &batches, compression);
                assert!(read(&path, &mut decoder).expect("it is whole") == batches, "{compression:?}");
                let by_crate = super::super::segment::read(&path).expect("it is whole");
                assert!(by_crate.map(|batch| batch.expect("whole")).collect::<Vec<_>>() == batches);
            }
        }
    }

    #[test]
    fn memory_serves_again_when_nobody_has_it() {
        let directory = tempfile::TempDir::new().expect("a directory");
        let batches: Vec<RecordBatch> = (0..20).map(|n| batch(128, 4_000 + n % 3 * 10)).collect();
        let path = file(directory.path(), &batches, Some(CompressionType::ZSTD));
        let mut decoder = Decoder::new().expect("a decompressor");
        let mut stream = Stream::open(&path).expect("it is whole");
        let mut held = Vec::new();
        for expected in &batches {
            let (batch, bytes) = stream.next(&mut decoder).expect("it is whole").expect("it is there");
            assert!(bytes >= batch.column_by_name("new_contents").expect("a column").get_buffer_memory_size() / 20);
            held.push(batch);
            if held.len() > 3 {
                held.remove(0);
            }
            assert!(held.last() == Some(expected));
        }
        assert!(held == batches[17..], "what is held is left alone");
        assert!(decoder.memory.len() <= 4, "{}", decoder.memory.len());
        drop(held);
        // Memory for what is small is not what was for something large, and what lies idle has a bound.
        let size = decoder.memory[0].len();
        assert!(size > STEP && take(&mut decoder.memory, 10).expect("memory").len() <= 8 * STEP);
        decoder.memory = (0..10).map(|_| MutableBuffer::from_len_zeroed(IDLE_BYTES_MAX / 4).into()).collect();
        assert_eq!(take(&mut decoder.memory, IDLE_BYTES_MAX).expect("memory").len(), IDLE_BYTES_MAX);
        assert_eq!(decoder.memory.len(), 4);
    }

    #[test]
    fn damage_is_told_whatever_it_is() {
        let directory = tempfile::TempDir::new().expect("a directory");
        let path = file(directory.path(), &[batch(5, 500), batch(2, 100)], Some(CompressionType::ZSTD));
        let whole = fs::read(&path).expect("it can be read");
        let rows = |path: &Path| -> Result<usize, Error> {
            let batches = read(path, &mut Decoder::new()?)?;
            let rows = batches.iter().map(Rows::new).collect::<Result<Vec<_>, _>>()?;
            Ok(rows.iter().map(|rows| (0..rows.len()).map(|at| rows.get(at).diff.len()).sum::<usize>() + 1).sum())
        };
        let mut told = 0;
        for at in (0..whole.len()).step_by(31) {
            for byte in [0, 0x41, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = byte;
                fs::write(&path, &bytes).expect("it can be written");
                let outcome = catch_unwind(|| rows(&path));
                told += usize::from(outcome.expect("damage is an error").is_err());
            }
            fs::write(&path, &whole[..at]).expect("it can be written");
            let _is_whole_up_to_there = catch_unwind(|| rows(&path)).expect("damage is an error");
        }
        assert!(told > whole.len() / 62, "{told} of {}", whole.len());
    }

    #[test]
    fn a_text_is_one_value_by_value() {
        let long = "ünï ".repeat(40);
        for (values, is_text) in [
            (vec![], true),
            (vec![&b""[..], b"", b""], true),
            (vec![b"a", "ü".as_bytes(), long.as_bytes(), b""], true),
            // Whole, it would be one.
            (vec![b"a\xc3", b"\xbc"], false),
            (vec![long.as_bytes(), b"\xc3", b"", b"\xbc"], false),
            (vec![long.as_bytes(), b"\xc3"], false),
            (vec![b"\xed\xa0\x80"], false),
            (vec![b"a", b"\xff", b"a"], false),
        ] {
            let small: ArrayRef = Arc::new(BinaryArray::from(values.clone()));
            let large: ArrayRef = Arc::new(LargeBinaryArray::from(values.clone()));
            let of = |column: &ArrayRef, from, len| {
                [text::<i32>, text::<i64>][usize::from(column.as_binary_opt::<i32>().is_none())](
                    &column.slice(from, len),
                )
            };
            for column in [&small, &large] {
                assert_eq!(of(column, 0, values.len()).is_ok(), is_text, "{values:?}");
                for at in 0..values.len() {
                    let one = of(column, at, 1);
                    assert_eq!(one.is_ok(), std::str::from_utf8(values[at]).is_ok(), "{values:?} {at}");
                    if let Ok(one) = one {
                        let texts = one.as_string_opt::<i64>().map(|one| one.value(0).as_bytes().to_vec());
                        assert_eq!(
                            texts.unwrap_or_else(|| one.as_string::<i32>().value(0).as_bytes().to_vec()),
                            values[at]
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_buffer_has_no_length_that_it_cannot_have() {
        let zstd = zstd::bulk::compress(&[7; 1 << 20], 3).expect("it can be compressed");
        let buffer = |len: i64, bytes: &[u8]| [&len.to_le_bytes()[..], bytes].concat();
        for (what, body, place, is_right) in [
            ("as it is", buffer(1 << 20, &zstd), None, true),
            ("not compressed", buffer(NOT_COMPRESSED, b"text"), None, true),
            ("empty", Vec::new(), None, true),
            ("of nothing", buffer(0, b""), None, true),
            ("absurd", buffer(i64::MAX, &zstd), None, false),
            (
                "more than the bytes can become",
                buffer((zstd.len() * GROWTH_MAX + GROWTH_MAX) as i64, &zstd),
                None,
                false,
            ),
            ("negative", buffer(-2, &zstd), None, false),
            ("cut", vec![0; 7], None, false),
            ("behind the body", buffer(0, b""), Some((9, 1)), false),
            ("over the end", buffer(0, b""), Some((4, 5)), false),
            ("before the body", buffer(0, b""), Some((-1, 4)), false),
            ("of negative length", buffer(0, b""), Some((0, -4)), false),
        ] {
            let (offset, len) = place.unwrap_or((0, body.len() as i64));
            assert_eq!(content(&body, &arrow_ipc::Buffer::new(offset, len), true).is_ok(), is_right, "{what}");
        }
    }
}
