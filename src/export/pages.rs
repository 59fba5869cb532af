//! Columns of contents and diffs as Parquet pages, made while rows come.
//!
//! Nearly all bytes of an export are in these columns. The parquet crate copies a value four times on its way into a page, and
//! hashes its bytes to find where a page may end; that took half of an export's time. Here a value is copied once, behind the one
//! before it, and the id of its row tells whether the page ends. A page that ends is compressed at once, while the processor's cache
//! still has it. Headers, metadata and all other columns are the crate's work.

use bytes::Bytes;
use parquet::{
    basic::{Encoding, PageType},
    column::{
        page::{CompressedPage, Page, PageWriter as _},
        writer::ColumnCloseResult,
    },
    data_type::ByteArray,
    errors::ParquetError,
    file::{
        metadata::{ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats},
        statistics::{Statistics, ValueStatistics},
        writer::{SerializedPageWriter, TrackedWrite},
    },
    schema::types::ColumnDescPtr,
};
use zstd::{
    bulk::Compressor,
    zstd_safe::{CParameter, Strategy, compress_bound},
};

use super::{
    Error,
    encoders::{Encoders, Made, Pool},
    features,
    parquet::{PAGE_BYTES_MAX, ZSTD_LEVEL, compression},
};
use crate::sample::Sample;

/// The columns that are made here.
pub(super) const LONG: [&str; 3] = ["old_contents", "new_contents", "diff"];

/// How zstd looks for what was there before: over a whole page, in one table that stays in the processor's cache, for versions of a
/// text, which have long runs in common. That takes four fifths of the time of level 3's own search, and a twentieth more room.
const SEARCH: [CParameter; 4] = [
    CParameter::WindowLog(PAGE_BYTES_MAX.ilog2()),
    CParameter::Strategy(Strategy::ZSTD_fast),
    CParameter::MinMatch(7),
    CParameter::HashLog(16),
];

/// Room in front of a page for its levels. One run takes up to 10 bytes, so mostly they need no more.
const LEVELS: usize = 32;

/// What the header of a page takes, roughly.
const HEADER_BYTES: usize = 64;

/// What statistics keep of a value, in bytes: the crate's own default.
const BOUND_BYTES: usize = 64;

/// A first page with less memory than this takes four times what it needs, since many languages have few rows, and doubling copies
/// as much once more; one with more takes memory that was used before.
const SMALL: usize = 1 << 20;

/// The value that `sample` has in column `name`.
pub(super) fn value<'a>(sample: &Sample<'a>, name: &str) -> Option<&'a str> {
    match name {
        "old_contents" => sample.old_contents,
        "new_contents" => sample.new_contents,
        _ => Some(sample.diff),
    }
}

/// A page before it is compressed: values in the encoding PLAIN, behind room for levels.
#[derive(Default)]
struct Raw {
    bytes: Vec<u8>,
    /// Runs of values that are there and that are missing.
    runs: Vec<(bool, u32)>,
    rows: u32,
    nulls: u32,
    text_bytes: usize,
    /// The start of the least and of the greatest value.
    bounds: Option<(String, String)>,
}

impl Raw {
    fn new(mut bytes: Vec<u8>) -> Self {
        bytes.resize(LEVELS, 0);
        Raw { bytes, ..Raw::default() }
    }

    fn push(&mut self, text: Option<&str>, pool: &Pool) -> Result<(), Error> {
        self.rows += 1;
        match self.runs.last_mut() {
            Some((is_there, count)) if *is_there == text.is_some() => *count += 1,
            _ => self.runs.push((text.is_some(), 1)),
        }
        let Some(text) = text else {
            self.nulls += 1;
            return Ok(());
        };
        let length =
            i32::try_from(text.len()).map_err(|_| ParquetError::General("a text has over 2 GiB".to_owned()))?;
        let needed = self.bytes.len() + 4 + text.len();
        if needed > self.bytes.capacity() {
            let mut memory = if needed > SMALL { pool.take() } else { Vec::with_capacity((4 * needed).min(SMALL)) };
            memory.reserve(needed);
            memory.extend_from_slice(&self.bytes);
            pool.give(std::mem::replace(&mut self.bytes, memory));
        }
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(text.as_bytes());
        self.text_bytes += text.len();
        self.bound(text);
        Ok(())
    }

    fn bound(&mut self, text: &str) {
        // A character more than statistics keep, so that it shows whether they keep all.
        let start = &text[..text.floor_char_boundary(BOUND_BYTES + 4)];
        match &mut self.bounds {
            None => self.bounds = Some((start.to_owned(), start.to_owned())),
            Some((min, _)) if start < min.as_str() => start.clone_into(min),
            Some((_, max)) if start > max.as_str() => start.clone_into(max),
            Some(_) => {}
        }
    }

    /// The page with its levels in front.
    fn with_levels(&mut self, is_nullable: bool) -> &[u8] {
        let levels = if is_nullable { levels(&self.runs) } else { Vec::new() };
        let from = LEVELS.checked_sub(levels.len()).unwrap_or_else(|| {
            self.bytes.splice(..0, std::iter::repeat_n(0, levels.len() - LEVELS));
            0
        });
        self.bytes[from..from + levels.len()].copy_from_slice(&levels);
        &self.bytes[from..]
    }
}

/// Definition levels of one bit as runs of Parquet's RLE encoding, behind their length.
fn levels(runs: &[(bool, u32)]) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    for (is_there, count) in runs {
        // The last bit says that it is a run.
        let mut header = u64::from(*count) << 1;
        while header >= 0x80 {
            bytes.push((header & 0x7f) as u8 | 0x80);
            header >>= 7;
        }
        bytes.extend([header as u8, u8::from(*is_there)]);
    }
    let length = (bytes.len() - 4) as u32;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// What statistics say of the least value that starts with `start`, and whether that is all of it.
fn lower(start: &str) -> (Vec<u8>, bool) {
    let kept = &start[..start.floor_char_boundary(BOUND_BYTES)];
    (kept.into(), kept.len() == start.len())
}

/// A value not below any that starts with `start`, and whether it is one of them. None where no text is greater.
fn upper(start: &str) -> Option<(Vec<u8>, bool)> {
    if start.len() <= BOUND_BYTES {
        return Some((start.into(), true));
    }
    let kept = &start[..start.floor_char_boundary(BOUND_BYTES)];
    let greater = kept.char_indices().rev().find_map(|(at, char)| {
        let next = char::from_u32(u32::from(char) + 1)?;
        Some(format!("{}{next}", &kept[..at]))
    });
    greater.map(|text| (text.into_bytes(), false))
}

/// What compresses pages.
pub(super) fn compressor() -> Result<Compressor<'static>, Error> {
    let mut compressor = Compressor::new(ZSTD_LEVEL).map_err(ParquetError::from)?;
    for parameter in SEARCH {
        compressor.set_parameter(parameter).map_err(ParquetError::from)?;
    }
    Ok(compressor)
}

/// A page that was compressed.
struct Compressed {
    bytes: Bytes,
    /// Its size before.
    uncompressed: usize,
    rows: u32,
    nulls: u32,
    text_bytes: usize,
    bounds: Option<(String, String)>,
}

impl Compressed {
    /// Compresses `raw`. Its memory goes back to `pool`.
    fn new(mut raw: Raw, is_nullable: bool, compressor: &mut Compressor<'_>, pool: &Pool) -> Result<Self, Error> {
        let bytes = raw.with_levels(is_nullable);
        let uncompressed = bytes.len();
        let mut compressed = pool.take();
        compressed.reserve(compress_bound(uncompressed));
        compressor.compress_to_buffer(bytes, &mut compressed).map_err(ParquetError::from)?;
        let bytes = Bytes::copy_from_slice(&compressed);
        pool.give(compressed);
        pool.give(raw.bytes);
        let Raw { rows, nulls, text_bytes, bounds, .. } = raw;
        Ok(Compressed { bytes, uncompressed, rows, nulls, text_bytes, bounds })
    }
}

/// A column on its way into a row group.
pub(super) struct LongColumn {
    name: &'static str,
    is_nullable: bool,
    pages: Vec<Made<Result<Compressed, Error>>>,
    page: Raw,
}

impl LongColumn {
    pub(super) fn new(name: &'static str) -> Self {
        let is_nullable = features::field(name).is_nullable();
        LongColumn { name, is_nullable, pages: Vec::new(), page: Raw::new(Vec::new()) }
    }

    /// Adds the value of `sample`; the bytes that it takes.
    ///
    /// A page ends behind rows that their ids choose, so that it does not matter what came before, and the pages of two
    /// exports with mostly the same rows are mostly the same. The longer the value, the likelier it is chosen.
    pub(super) fn push(&mut self, sample: &Sample<'_>, encoders: &Encoders) -> Result<usize, Error> {
        let text = value(sample, self.name);
        self.page.push(text, &encoders.pool)?;
        let (size, length) = (self.page.bytes.len(), text.map_or(0, str::len));
        let is_end = size >= PAGE_BYTES_MAX || (size >= PAGE_BYTES_MAX / 4 && is_chosen(sample.id, length));
        if is_end {
            // Before memory is taken for the next one, so that it may be that of the page before.
            self.end_page(encoders);
            self.page = Raw::new(encoders.pool.take());
        }
        Ok(length)
    }

    /// Bytes of the page that is not compressed yet.
    pub(super) fn page_bytes(&self) -> usize {
        self.page.text_bytes
    }

    fn end_page(&mut self, encoders: &Encoders) {
        let page = std::mem::take(&mut self.page);
        let (is_nullable, pool) = (self.is_nullable, encoders.pool.clone());
        self.pages.push(encoders.give(move |with| Compressed::new(page, is_nullable, &mut with.long, &pool)));
    }

    /// Ends the last page. None may be pushed any more.
    pub(super) fn end(&mut self, encoders: &Encoders) {
        if self.page.rows > 0 || self.pages.is_empty() {
            self.end_page(encoders);
        } else {
            encoders.pool.give(std::mem::take(&mut self.page.bytes));
        }
    }

    /// Waits for all pages and puts them behind one another.
    pub(super) fn finish(self, column: &ColumnDescPtr) -> Result<LongChunk, Error> {
        let pages = self.pages.into_iter().map(Made::wait).collect::<Result<Vec<_>, _>>()?;
        let size: usize = pages.iter().map(|page| page.bytes.len() + HEADER_BYTES).sum();
        let mut sink = TrackedWrite::new(Vec::with_capacity(size));
        let mut chunk = Described::new(column, pages.len());
        for compressed in pages {
            let page = Page::DataPage {
                buf: compressed.bytes.clone(),
                num_values: compressed.rows,
                encoding: Encoding::PLAIN,
                def_level_encoding: Encoding::RLE,
                rep_level_encoding: Encoding::RLE,
                statistics: None,
            };
            let page = CompressedPage::new(page, compressed.uncompressed);
            let spec = SerializedPageWriter::new(&mut sink).write_page(page)?;
            chunk.add(compressed, spec.offset, spec.compressed_size, spec.uncompressed_size);
        }
        let bytes_in_memory = chunk.bytes_in_memory();
        Ok(LongChunk { close: chunk.close(column)?, pages: sink.into_inner()?.into(), bytes_in_memory })
    }
}

/// Whether a page ends behind the row `id`, with a value of `length` bytes: once in half of the largest page, on average.
fn is_chosen(id: &str, length: usize) -> bool {
    let digits = id.get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(u64::MAX);
    let drawn = (u128::from(digits) * (PAGE_BYTES_MAX as u128 / 2)) >> 64;
    drawn < length as u128
}

/// A column of a row group.
pub(super) struct LongChunk {
    /// Its pages, as they are in the file.
    pub(super) pages: Bytes,
    /// What the file's metadata say of it.
    pub(super) close: ColumnCloseResult,
    /// What it would take as Arrow.
    pub(super) bytes_in_memory: usize,
}

/// What is known of the pages so far.
struct Described {
    index: ColumnIndexBuilder,
    offsets: OffsetIndexBuilder,
    pages: usize,
    rows: u64,
    nulls: u64,
    text_bytes: usize,
    compressed: usize,
    uncompressed: usize,
    bounds: Option<(String, String)>,
}

impl Described {
    fn new(column: &ColumnDescPtr, pages: usize) -> Self {
        Described {
            index: ColumnIndexBuilder::new(column.physical_type()),
            offsets: OffsetIndexBuilder::new(),
            pages,
            rows: 0,
            nulls: 0,
            text_bytes: 0,
            compressed: 0,
            uncompressed: 0,
            bounds: None,
        }
    }

    fn add(&mut self, page: Compressed, offset: u64, compressed: usize, uncompressed: usize) {
        let nulls = i64::from(page.nulls);
        match &page.bounds {
            None => self.index.append(true, Vec::new(), Vec::new(), nulls, None),
            Some((min, max)) => match upper(max) {
                Some((upper, _)) => self.index.append(false, lower(min).0, upper, nulls, None),
                None => self.index.to_invalid(),
            },
        }
        self.offsets.append_row_count(i64::from(page.rows));
        self.offsets.append_offset_and_size(offset as i64, compressed as i32);
        self.offsets.append_unencoded_byte_array_data_bytes(Some(page.text_bytes as i64));
        self.rows += u64::from(page.rows);
        self.nulls += u64::from(page.nulls);
        self.text_bytes += page.text_bytes;
        self.compressed += compressed;
        self.uncompressed += uncompressed;
        self.bounds = match (self.bounds.take(), page.bounds) {
            (Some((min, max)), Some((low, high))) => Some((min.min(low), max.max(high))),
            (bounds, more) => bounds.or(more),
        };
    }

    /// Offsets of 64 bits, texts, and bits for what is missing where anything is.
    fn bytes_in_memory(&self) -> usize {
        let rows = self.rows as usize;
        8 * (rows + 1) + self.text_bytes + if self.nulls > 0 { rows.div_ceil(8) } else { 0 }
    }

    fn close(self, column: &ColumnDescPtr) -> Result<ColumnCloseResult, Error> {
        let (min, max) = self.bounds.map_or((None, None), |(min, max)| (Some(lower(&min)), upper(&max)));
        let (is_min, is_max) = (min.as_ref().is_some_and(|(_, is)| *is), max.as_ref().is_some_and(|(_, is)| *is));
        let bytes = |bound: Option<(Vec<u8>, bool)>| bound.map(|(bytes, _)| ByteArray::from(bytes));
        let statistics = ValueStatistics::new(bytes(min), bytes(max), None, Some(self.nulls), false)
            .with_min_is_exact(is_min)
            .with_max_is_exact(is_max);
        let count = i32::try_from(self.pages).map_err(ParquetError::from)?;
        let metadata = ColumnChunkMetaData::builder(column.clone())
            .set_compression(compression()?)
            .set_encodings(vec![Encoding::PLAIN, Encoding::RLE])
            .set_page_encoding_stats(vec![PageEncodingStats {
                page_type: PageType::DATA_PAGE,
                encoding: Encoding::PLAIN,
                count,
            }])
            .set_total_compressed_size(self.compressed as i64)
            .set_total_uncompressed_size(self.uncompressed as i64)
            .set_num_values(self.rows as i64)
            .set_data_page_offset(0)
            .set_statistics(Statistics::ByteArray(statistics))
            .set_unencoded_byte_array_data_bytes(Some(self.text_bytes as i64))
            .build()?;
        Ok(ColumnCloseResult {
            bytes_written: self.compressed as u64,
            rows_written: self.rows,
            metadata,
            bloom_filter: None,
            column_index: if self.index.valid() { Some(self.index.build()?) } else { None },
            offset_index: Some(self.offsets.build()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Array as _, LargeStringArray};
    use parquet::{
        arrow::{ArrowSchemaConverter, ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
        file::{metadata::PageIndexPolicy, page_index::column_index::ColumnIndexMetaData},
    };

    use super::*;
    use crate::export::features;

    /// A column of `texts`, and the file that has only it.
    fn file(name: &'static str, texts: &[Option<String>]) -> Bytes {
        let (schema, _) = features::schema(&[name]);
        let described = ArrowSchemaConverter::new().convert(&schema).expect("a schema");
        let (mut column, encoders) = (LongColumn::new(name), Encoders::new(2).expect("a compressor"));
        for text in texts {
            let text = text.as_deref();
            let id = blake3::hash(text.unwrap_or_default().as_bytes()).to_hex();
            let sample = Sample { id: &id, old_contents: text, diff: text.unwrap_or_default(), ..Sample::default() };
            column.push(&sample, &encoders).expect("it is short enough");
        }
        column.end(&encoders);
        let chunk = column.finish(&described.column(0)).expect("it can be compressed");
        let (mut writer, _) = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), None)
            .and_then(ArrowWriter::into_serialized_writer)
            .expect("a file");
        let mut group = writer.next_row_group().expect("a row group");
        group.append_column(&chunk.pages, chunk.close).expect("it fits the schema");
        group.close().expect("all columns are there");
        writer.into_inner().expect("a footer").into()
    }

    fn read(file: &Bytes) -> Vec<Option<String>> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).and_then(|file| file.build());
        let texts = reader.expect("Parquet").flat_map(|batch| {
            let batch = batch.expect("rows");
            let column = batch.column(0).as_any().downcast_ref::<LargeStringArray>().expect("texts");
            column.iter().map(|text| text.map(str::to_owned)).collect::<Vec<_>>()
        });
        texts.collect()
    }

    /// Sizes of the pages, and what the index says of the least and greatest value of each.
    fn pages(file: &Bytes) -> Vec<(i64, Option<(String, String)>)> {
        use parquet::file::metadata::ParquetMetaDataReader;
        let metadata = ParquetMetaDataReader::new()
            .with_page_index_policy(PageIndexPolicy::Required)
            .parse_and_finish(file)
            .expect("an index");
        let index = metadata.page_index().expect("an index");
        let Some(ColumnIndexMetaData::BYTE_ARRAY(bounds)) = index.column_index(0, 0) else { panic!("no bounds") };
        let offsets = index.offset_index(0, 0).expect("offsets");
        let sizes = offsets.unencoded_byte_array_data_bytes.clone().expect("sizes");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("a text");
        let bounds = (0..sizes.len()).map(|at| bounds.min_value(at).zip(bounds.max_value(at)));
        sizes.into_iter().zip(bounds.map(|of| of.map(|(min, max)| (text(min), text(max))))).collect()
    }

    #[test]
    fn texts_come_back() {
        let long = |n: usize| Some(format!("{n} ").repeat(n));
        let none_or = |n: usize, every: usize| if n.is_multiple_of(every) { None } else { long(n) };
        let cases: [(&str, Vec<Option<String>>); 6] = [
            ("none", vec![]),
            ("all missing", vec![None; 300]),
            ("none missing", (0..300).map(long).collect()),
            ("one run of each", (0..300).map(|n| if n < 140 { None } else { long(n) }).collect()),
            ("more runs than there is room for", (0..900).map(|n| none_or(n, 2)).collect()),
            ("empty and large", [0, 1, 3_000_000, 0, 2_000_000].map(|n| Some("ü".repeat(n))).to_vec()),
        ];
        for (what, texts) in cases {
            assert!(read(&file("old_contents", &texts)) == texts, "{what}");
            let diffs: Vec<_> = texts.iter().map(|text| Some(text.clone().unwrap_or_default())).collect();
            assert!(read(&file("diff", &diffs)) == diffs, "{what}, without nulls");
        }
    }

    #[test]
    fn bounds_hold_all_values() {
        let wide = |char: &str| char.repeat(40);
        for (texts, min, max) in [
            (vec!["b", "", "a"], String::new(), "b".to_owned()),
            (vec!["ab"], "ab".to_owned(), "ab".to_owned()),
            // 64 bytes are kept whole, the 65th makes the last character greater.
            (vec![&*"x".repeat(64)], "x".repeat(64), "x".repeat(64)),
            (vec![&*"x".repeat(65)], "x".repeat(64), format!("{}y", "x".repeat(63))),
            (vec![&*wide("ü")], "ü".repeat(32), format!("{}ý", "ü".repeat(31))),
            // No character comes behind the last one, and no character between these two.
            (vec![&*format!("a{}", wide("\u{10ffff}"))], format!("a{}", "\u{10ffff}".repeat(15)), "b".to_owned()),
            (vec![&*format!("a{}", wide("\u{d7ff}"))], format!("a{}", "\u{d7ff}".repeat(21)), "b".to_owned()),
        ] {
            let texts: Vec<_> = texts.iter().map(|text| Some((*text).to_owned())).collect();
            assert_eq!(pages(&file("old_contents", &texts))[0].1, Some((min, max)));
        }
        assert_eq!(upper(&wide("\u{10ffff}")), None, "nothing is greater");
    }

    #[test]
    fn pages_are_the_same_behind_rows_that_are_new() {
        let texts = |from: usize| (from..6_000).map(|n| Some(format!("{n:09} ").repeat(1_000 + n % 7 * 100)));
        let sizes = |from: usize| -> Vec<i64> {
            pages(&file("old_contents", &texts(from).collect::<Vec<_>>())).into_iter().map(|page| page.0).collect()
        };
        let whole = sizes(0);
        assert!(whole.len() > 8 && whole.iter().all(|size| *size <= PAGE_BYTES_MAX as i64 + 16_000), "{whole:?}");
        for from in [1, 50, 600] {
            let less = sizes(from);
            let same = whole.iter().rev().zip(less.iter().rev()).take_while(|(a, b)| a == b).count();
            assert!(2 * same > whole.len(), "{from}: {whole:?}, {less:?}");
        }
    }
}
