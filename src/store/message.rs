//! Record batches as compressed messages of an Arrow IPC stream.
//!
//! arrow-ipc compresses all buffers with zstd's level 3, each into fresh memory. Most bytes of a store are contents, versions of a
//! file behind one another, which have long runs in common, often further back than that level looks; and most buffers are
//! short. Here each kind has its own search, memory is used again, and what was compressed a batch before is not compressed again.
//! Everything a reader sees is as the format has it: one zstd frame for each buffer.

use arrow_array::{
    Array, ArrayRef, GenericByteArray, OffsetSizeTrait,
    cast::AsArray as _,
    types::{ByteArrayType, GenericBinaryType, GenericStringType},
};
use arrow_buffer::{ArrowNativeType, NullBuffer, OffsetBuffer, ToByteSlice as _};
use arrow_ipc::{
    BodyCompressionBuilder, BodyCompressionMethod, Buffer, CompressionType, FieldNode, MessageBuilder, MessageHeader,
    MetadataVersion, RecordBatchBuilder,
};
use arrow_schema::{ArrowError, DataType};
use flatbuffers::FlatBufferBuilder;
use zstd::{
    bulk::Compressor,
    zstd_safe::{CParameter, Strategy, compress_bound},
};

/// What each message of an IPC stream begins with.
pub(super) const CONTINUATION: [u8; 4] = [0xff; 4];

/// The level for short buffers: what level 3 would find more is a hundredth of them, for a third more time.
const SHORT_LEVEL: i32 = 1;

/// How zstd looks through contents and diffs: over a whole batch, since versions of a large file are further apart than the 2 MiB
/// that a level looks back, and in one small table, since what they have in common is long.
const LONG_SEARCH: [CParameter; 4] = [
    CParameter::WindowLog(24),
    CParameter::Strategy(Strategy::ZSTD_fast),
    CParameter::MinMatch(7),
    CParameter::HashLog(15),
];

/// Buffers up to this many bytes are remembered for the next batch.
const REMEMBERED_BYTES: usize = 1 << 12;

/// In front of a compressed buffer is its length; this says that it is not compressed.
pub(super) const NOT_COMPRESSED: i64 = -1;

/// Buffers and messages begin at multiples of it.
const ALIGNMENT: usize = 8;

/// Encodes record batches, for one thread. Its memory serves all of them.
pub struct Encoder {
    long: Compressor<'static>,
    short: Compressor<'static>,
    header: FlatBufferBuilder<'static>,
    nodes: Vec<FieldNode>,
    buffers: Vec<Buffer>,
    body: Vec<u8>,
    /// The last buffer that was compressed.
    compressed: Vec<u8>,
    /// Of each buffer of a batch, by its number: what it was last, and what that was compressed to.
    before: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Default for Encoder {
    fn default() -> Self {
        let mut long = Compressor::new(SHORT_LEVEL).expect("zstd has this level");
        for parameter in LONG_SEARCH {
            long.set_parameter(parameter).expect("it is within zstd's bounds");
        }
        Encoder {
            long,
            short: Compressor::new(SHORT_LEVEL).expect("zstd has this level"),
            header: FlatBufferBuilder::new(),
            nodes: Vec::new(),
            buffers: Vec::new(),
            body: Vec::new(),
            compressed: Vec::new(),
            before: Vec::new(),
        }
    }
}

impl Encoder {
    /// A batch of `rows` rows as one message, ready to be appended to a segment.
    ///
    /// # Errors
    /// A column is of a type that no column of a store has, or a part of an array.
    pub fn encode(&mut self, rows: usize, columns: &[ArrayRef]) -> Result<Vec<u8>, ArrowError> {
        self.nodes.clear();
        self.buffers.clear();
        self.body.clear();
        columns.iter().try_for_each(|column| self.column(column))?;
        self.header.reset();
        let header = &mut self.header;
        let (nodes, buffers) = (header.create_vector(&self.nodes), header.create_vector(&self.buffers));
        let mut compression = BodyCompressionBuilder::new(header);
        compression.add_codec(CompressionType::ZSTD);
        compression.add_method(BodyCompressionMethod::BUFFER);
        let compression = compression.finish();
        let mut batch = RecordBatchBuilder::new(header);
        batch.add_length(rows as i64);
        batch.add_nodes(nodes);
        batch.add_buffers(buffers);
        batch.add_compression(compression);
        let batch = batch.finish();
        let mut message = MessageBuilder::new(header);
        message.add_version(MetadataVersion::V5);
        message.add_header_type(MessageHeader::RecordBatch);
        message.add_header(batch.as_union_value());
        message.add_bodyLength(self.body.len() as i64);
        let message = message.finish();
        header.finish(message, None);
        let header = header.finished_data();
        let padded = header.len().next_multiple_of(ALIGNMENT);
        let length = u32::try_from(padded).map_err(|_| ArrowError::IpcError("too many columns".to_owned()))?;
        let mut bytes = Vec::with_capacity(CONTINUATION.len() + 4 + padded + self.body.len());
        bytes.extend_from_slice(&CONTINUATION);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(header);
        bytes.resize(bytes.len() + padded - header.len(), 0);
        bytes.extend_from_slice(&self.body);
        Ok(bytes)
    }

    fn column(&mut self, column: &ArrayRef) -> Result<(), ArrowError> {
        match column.data_type() {
            DataType::Utf8 => self.texts::<GenericStringType<i32>>(column.as_bytes()),
            DataType::LargeUtf8 => self.texts::<GenericStringType<i64>>(column.as_bytes()),
            DataType::LargeBinary => self.texts::<GenericBinaryType<i64>>(column.as_bytes()),
            DataType::List(_) => {
                let lists = column.as_list::<i32>();
                self.node(lists.len(), lists.nulls())?;
                self.offsets(lists.offsets())?;
                self.column(lists.values())
            }
            DataType::Boolean => {
                self.node(column.len(), column.nulls())?;
                self.short(&column.as_boolean().values().sliced())
            }
            kind if kind.is_primitive() => {
                self.node(column.len(), column.nulls())?;
                // An array of numbers that is part of another has only its own part of the buffer.
                self.short(&column.to_data().buffers()[0])
            }
            kind => Err(ArrowError::NotYetImplemented(format!("a store has no columns of {kind}"))),
        }
    }

    fn texts<T: ByteArrayType>(&mut self, texts: &GenericByteArray<T>) -> Result<(), ArrowError> {
        self.node(texts.len(), texts.nulls())?;
        self.offsets(texts.offsets())?;
        let used = texts.offsets().last().as_usize();
        let bytes = &texts.value_data()[..used];
        if T::Offset::IS_LARGE { self.compress(bytes, true) } else { self.short(bytes) }
    }

    fn offsets<O: OffsetSizeTrait>(&mut self, offsets: &OffsetBuffer<O>) -> Result<(), ArrowError> {
        if offsets.first().as_usize() != 0 {
            return Err(ArrowError::NotYetImplemented("a store has no parts of arrays".to_owned()));
        }
        self.short(offsets.to_byte_slice())
    }

    /// The length of an array and which of its values are missing.
    fn node(&mut self, length: usize, nulls: Option<&NullBuffer>) -> Result<(), ArrowError> {
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
        self.nodes.push(FieldNode::new(length as i64, nulls.map_or(0, NullBuffer::null_count) as i64));
        // Where none is missing, the format has an empty buffer.
        self.short(nulls.map(|nulls| nulls.inner().sliced()).as_deref().unwrap_or_default())
    }

    /// A buffer that is mostly short, and often what it was in the batch before.
    fn short(&mut self, bytes: &[u8]) -> Result<(), ArrowError> {
        let number = self.buffers.len();
        self.before.resize_with(self.before.len().max(number + 1), Default::default);
        let (of_before, compressed) = &mut self.before[number];
        if !bytes.is_empty() && of_before == bytes {
            self.buffers.push(Buffer::new(self.body.len() as i64, compressed.len() as i64));
            self.body.extend_from_slice(compressed);
            self.body.resize(self.body.len().next_multiple_of(ALIGNMENT), 0);
            return Ok(());
        }
        let start = self.body.len();
        self.compress(bytes, false)?;
        if bytes.len() <= REMEMBERED_BYTES {
            let (of_before, compressed) = &mut self.before[number];
            of_before.clear();
            of_before.extend_from_slice(bytes);
            compressed.clear();
            compressed.extend_from_slice(&self.body[start..start + self.buffers[number].length() as usize]);
        }
        Ok(())
    }

    fn compress(&mut self, bytes: &[u8], is_long: bool) -> Result<(), ArrowError> {
        let start = self.body.len();
        if !bytes.is_empty() {
            let bound = compress_bound(bytes.len());
            if self.compressed.capacity() < bound {
                // Memory that grows is copied, and so taken up, as far as it goes.
                self.compressed = Vec::with_capacity(bound);
            }
            let compressor = if is_long { &mut self.long } else { &mut self.short };
            compressor.compress_to_buffer(bytes, &mut self.compressed)?;
            let is_shorter = self.compressed.len() < bytes.len();
            let length = if is_shorter { bytes.len() as i64 } else { NOT_COMPRESSED };
            self.body.extend_from_slice(&length.to_le_bytes());
            self.body.extend_from_slice(if is_shorter { &self.compressed } else { bytes });
        }
        self.buffers.push(Buffer::new(start as i64, (self.body.len() - start) as i64));
        self.body.resize(self.body.len().next_multiple_of(ALIGNMENT), 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{LargeStringArray, RecordBatch, StringArray};
    use arrow_ipc::{reader::StreamReader, writer::StreamWriter};
    use arrow_schema::Schema;

    use super::*;
    use crate::{
        sample::Sample,
        store::rows::{self, RowsBuilder},
    };

    /// What arrow-ipc's own reader makes of messages behind `schema`.
    fn read(schema: &Schema, messages: &[Vec<u8>]) -> Vec<RecordBatch> {
        let mut stream = StreamWriter::try_new(Vec::new(), schema).expect("a schema can be written").get_ref().clone();
        messages.iter().for_each(|message| stream.extend_from_slice(message));
        let reader = StreamReader::try_new(&stream[..], None).expect("it begins as a stream");
        reader.map(|batch| batch.expect("it is a batch")).collect()
    }

    fn columns(rows: &[Sample<'_>]) -> (RecordBatch, Vec<ArrayRef>) {
        let (mut of_batch, mut of_columns) = (RowsBuilder::default(), RowsBuilder::default());
        for row in rows {
            of_batch.push(row);
            of_columns.push(row);
        }
        (of_batch.finish().expect("rows make a batch"), of_columns.columns())
    }

    #[test]
    fn batches_come_back() {
        // Bytes in which nothing comes twice, so that no search makes them shorter, and texts over several of zstd's blocks.
        let digests: String = (0..9000u32).map(|n| blake3::hash(&n.to_le_bytes()).to_hex().to_string()).collect();
        let (mut before, mut after) = (digests.repeat(5), digests.repeat(5));
        before.push_str("ünï\n");
        after.insert(digests.len(), '\n');
        let whole = Sample {
            id: "0123456789abcdef",
            old_file: Some("a"),
            old_contents: Some(&before),
            new_contents: Some(&after),
            message: &digests,
            diff: "+\n",
            files_changed: 1,
            author_time: Some(-1),
            author_zone: Some(i32::MIN),
            reverts: vec!["a", "", "bc"],
            license_confidence: Some(0.95),
            vendored: Some(true),
            files_modified: Some(u32::MAX),
            ..Sample::default()
        };
        let empty = Sample { old_contents: Some(""), reverts: vec![""], vendored: Some(false), ..Sample::default() };
        let none = Sample::default();
        let cases = [
            ("no rows", vec![]),
            ("a row of defaults", vec![none.clone()]),
            ("everything", vec![whole.clone(), none.clone(), empty.clone(), whole.clone()]),
            ("the same again", vec![whole.clone(), none.clone(), empty.clone(), whole.clone()]),
            ("nothing is null but what was before", vec![whole.clone(); 3]),
            ("more than a byte of bits", [vec![none; 30], vec![whole, empty]].concat()),
        ];
        let mut encoder = Encoder::default();
        for (name, rows) in cases {
            let (batch, columns) = columns(&rows);
            let message = encoder.encode(rows.len(), &columns).expect("it can be encoded");
            assert_eq!(message.len() % ALIGNMENT, 0, "{name}");
            assert_eq!(read(&rows::schema(), std::slice::from_ref(&message)), std::slice::from_ref(&batch), "{name}");
            // What an encoder had before makes no difference, nor whether contents are called bytes or texts.
            let alone = Encoder::default().encode(rows.len(), batch.columns()).expect("it can be encoded");
            assert!(alone == message, "{name}");
        }
    }

    #[test]
    fn what_no_store_has_is_refused() {
        let texts = StringArray::from(vec!["a", "b", "c"]);
        let long = LargeStringArray::from(vec!["a", "b", "c"]);
        let cases: [(&str, ArrayRef, Option<&str>); 4] = [
            ("the first texts of an array", Arc::new(texts.slice(0, 2)), None),
            ("the last texts of an array", Arc::new(texts.slice(1, 2)), Some("parts of arrays")),
            ("the last long texts of an array", Arc::new(long.slice(1, 2)), Some("parts of arrays")),
            ("an array of nothing", arrow_array::new_null_array(&DataType::Null, 2), Some("columns of Null")),
        ];
        for (name, column, reason) in cases {
            match Encoder::default().encode(2, &[Arc::clone(&column)]) {
                Ok(message) => {
                    assert_eq!(reason, None, "{name}");
                    let field = arrow_schema::Field::new("column", column.data_type().clone(), true);
                    assert_eq!(read(&Schema::new(vec![field]), &[message])[0].column(0), &column, "{name}");
                }
                Err(error) => {
                    assert!(error.to_string().contains(reason.expect("it is refused")), "{name}: {error}");
                }
            }
        }
    }
}
