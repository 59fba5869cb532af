//! Columns of short values: their pages are made by the parquet crate and compressed here.
//!
//! The crate makes a compressor and a decompressor for each column of each row group, thousands in an export, and zstd asks the
//! processor for each what it can do. On virtual machines that leaves the machine, and takes as long as compressing does.

use std::sync::Arc;

use bytes::Bytes;
use parquet::{
    column::{
        page::{CompressedPage, Page, PageWriter as _},
        writer::ColumnCloseResult,
    },
    errors::ParquetError,
    file::{
        metadata::ParquetMetaData,
        serialized_reader::SerializedPageReader,
        writer::{SerializedPageWriter, TrackedWrite},
    },
};
use zstd::{bulk::Compressor, zstd_safe::compress_bound};

use super::{Error, parquet::compression};

/// Half the time of level 3, and 0.3 % more room: names and ids are hardly found in one another.
const LEVEL: i32 = 1;

/// A column of a row group.
pub(super) struct ShortChunk {
    /// Its pages, as they are in the file.
    pub(super) pages: Bytes,
    /// What the file's metadata say of it.
    pub(super) close: ColumnCloseResult,
}

/// What compresses pages.
pub(super) fn compressor() -> Result<Compressor<'static>, Error> {
    Ok(Compressor::new(LEVEL).map_err(ParquetError::from)?)
}

/// Compresses the columns of `file`, which has one row group that is not compressed, and these `metadata`.
pub(super) fn compress(
    file: &Bytes,
    metadata: &ParquetMetaData,
    compressor: &mut Compressor<'_>,
) -> Result<Vec<ShortChunk>, Error> {
    (0..metadata.row_group(0).num_columns()).map(|at| compress_column(file, metadata, at, compressor)).collect()
}

fn compress_column(
    file: &Bytes,
    metadata: &ParquetMetaData,
    at: usize,
    compressor: &mut Compressor<'_>,
) -> Result<ShortChunk, Error> {
    let (group, index) = (metadata.row_group(0), metadata.page_index());
    let column = group.column(at);
    let rows = group.num_rows();
    let pages = SerializedPageReader::new(Arc::new(file.clone()), column, usize::try_from(rows).unwrap_or(0), None)?;
    let mut sink = TrackedWrite::new(Vec::new());
    let (mut uncompressed, mut dictionary, mut places) = (0, None, Vec::new());
    for page in pages {
        let page = page?;
        let is_dictionary = matches!(page, Page::DictionaryPage { .. });
        let page = CompressedPage::new(compress_page(&page, compressor)?, page.buffer().len());
        let spec = SerializedPageWriter::new(&mut sink).write_page(page)?;
        uncompressed += spec.uncompressed_size as i64;
        match is_dictionary {
            true => dictionary = Some(spec.offset as i64),
            false => places.push((spec.offset as i64, spec.compressed_size as i32)),
        }
    }
    let pages: Bytes = sink.into_inner()?.into();
    let metadata = column.clone().into_builder();
    let metadata = metadata
        .set_compression(compression()?)
        .set_total_compressed_size(pages.len() as i64)
        .set_total_uncompressed_size(uncompressed)
        .set_dictionary_page_offset(dictionary)
        .set_data_page_offset(places.first().map_or(0, |(offset, _)| *offset))
        .build()?;
    let mut offsets = index.and_then(|index| index.offset_index(0, at)).cloned();
    for (location, (offset, size)) in offsets.iter_mut().flat_map(|index| &mut index.page_locations).zip(&places) {
        (location.offset, location.compressed_page_size) = (*offset, *size);
    }
    let close = ColumnCloseResult {
        bytes_written: pages.len() as u64,
        rows_written: rows as u64,
        metadata,
        bloom_filter: None,
        column_index: index.and_then(|index| index.column_index(0, at)).cloned(),
        offset_index: offsets,
    };
    Ok(ShortChunk { pages, close })
}

/// `page` with its bytes compressed.
fn compress_page(page: &Page, compressor: &mut Compressor<'_>) -> Result<Page, Error> {
    let bytes = page.buffer();
    let mut compressed = Vec::with_capacity(compress_bound(bytes.len()));
    compressor.compress_to_buffer(&bytes[..], &mut compressed).map_err(ParquetError::from)?;
    let compressed = compressed.into();
    match page.clone() {
        Page::DataPage { num_values, encoding, def_level_encoding, rep_level_encoding, statistics, .. } => {
            Ok(Page::DataPage {
                buf: compressed,
                num_values,
                encoding,
                def_level_encoding,
                rep_level_encoding,
                statistics,
            })
        }
        Page::DictionaryPage { num_values, encoding, is_sorted, .. } => {
            Ok(Page::DictionaryPage { buf: compressed, num_values, encoding, is_sorted })
        }
        Page::DataPageV2 { .. } => Err(ParquetError::General("a page of version 2".to_owned()).into()),
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
    use parquet::{
        arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
        basic::{Compression, ZstdLevel},
        file::{
            properties::{EnabledStatistics, WriterProperties},
            reader::FileReader as _,
            serialized_reader::{ReadOptionsBuilder, SerializedFileReader},
        },
    };

    use super::*;

    /// A file of `batch` by the crate.
    fn by_crate(batch: &RecordBatch, compression: Compression) -> (Bytes, ParquetMetaData) {
        let properties = WriterProperties::builder()
            .set_compression(compression)
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_data_page_row_count_limit(100)
            .set_write_batch_size(50)
            .set_dictionary_page_size_limit(600)
            .build();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).expect("a schema");
        writer.write(batch).expect("it can be written");
        let metadata = writer.finish().expect("a footer");
        (std::mem::take(writer.inner_mut()).into(), metadata)
    }

    #[test]
    fn columns_are_as_if_the_crate_had_compressed_them() {
        let (few, many) = (|n: i64| (n % 3 > 0).then(|| format!("kind {}", n % 5)), |n: i64| format!("{n:040}"));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("few", Arc::new((0..1_000).map(few).collect::<StringArray>())),
            // Too many for a dictionary, so that pages of both kinds stand behind it.
            ("many", Arc::new((0..1_000).map(|n| Some(many(n))).collect::<StringArray>())),
            ("none", Arc::new(StringArray::new_null(1_000))),
            ("numbers", Arc::new((0..1_000_i64).map(|n| Some(n * n)).collect::<Int64Array>())),
            ("flags", Arc::new((0..1_000).map(|n| (n % 7 > 0).then_some(n % 2 == 0)).collect::<BooleanArray>())),
        ];
        let batch = RecordBatch::try_from_iter(columns).expect("columns of as many rows");
        let (file, metadata) = by_crate(&batch, Compression::UNCOMPRESSED);
        let chunks = compress(&file, &metadata, &mut compressor().expect("a compressor")).expect("pages");
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None)
            .and_then(ArrowWriter::into_serialized_writer)
            .expect("a file")
            .0;
        let mut group = writer.next_row_group().expect("a row group");
        for chunk in chunks {
            group.append_column(&chunk.pages, chunk.close).expect("it fits the schema");
        }
        group.close().expect("all columns are there");
        let spliced: Bytes = writer.into_inner().expect("a footer").into();
        let level = ZstdLevel::try_new(LEVEL).expect("a level");
        let (expected, _) = by_crate(&batch, Compression::ZSTD(level));
        let described = |file: &Bytes| {
            let options = ReadOptionsBuilder::new().with_page_index().build();
            let reader = SerializedFileReader::new_with_options(file.clone(), options).expect("Parquet");
            let (metadata, index) = (reader.metadata(), reader.metadata().page_index().expect("an index"));
            let of = |at: usize| {
                let (column, offsets) = (metadata.row_group(0).column(at), index.offset_index(0, at));
                let bytes = file.slice(column.byte_range().0 as usize..).slice(..column.byte_range().1 as usize);
                let sizes = (column.compressed_size(), column.uncompressed_size(), column.byte_range());
                format!("{sizes:?} {:?} {offsets:?} {:?} {bytes:?}", column.statistics(), index.column_index(0, at))
            };
            (0..metadata.row_group(0).num_columns()).map(of).collect::<Vec<_>>()
        };
        assert_eq!(described(&spliced), described(&expected));
        let mut read =
            ParquetRecordBatchReaderBuilder::try_new(spliced).and_then(|file| file.build()).expect("Parquet");
        assert!(read.next().expect("a batch").expect("rows") == batch && read.next().is_none());
    }
}
