//! Rows as Arrow: the schema, building record batches from samples, and reading samples back.
//!
//! A segment of an older schema version may lack nullable columns; they read as null. Nothing else is guessed.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, LargeBinaryArray, LargeStringArray, ListArray,
    RecordBatch, StringArray, UInt32Array,
    builder::{BooleanBuilder, Float64Builder, Int32Builder, Int64Builder, ListBuilder, StringBuilder, UInt32Builder},
    cast::AsArray as _,
};
use arrow_buffer::{Buffer, NullBufferBuilder, OffsetBuffer};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};

use crate::sample::Sample;

/// Defines the columns once: schema, builder and reader follow from it.
macro_rules! columns {
    ($($name:ident: $kind:ident),+ $(,)?) => {
        /// The schema of a segment, in column order.
        pub fn schema() -> SchemaRef {
            Arc::new(Schema::new(vec![$($kind::field(stringify!($name))),+]))
        }

        /// Names of all columns, in order.
        pub const COLUMNS: &[&str] = &[$(stringify!($name)),+];

        /// Collects samples into a record batch.
        #[derive(Default)]
        pub struct RowsBuilder {
            $($name: <$kind as Column>::Builder,)+
            len: usize,
            bytes: usize,
        }

        impl RowsBuilder {
            /// Adds a row.
            pub fn push(&mut self, sample: &Sample<'_>) {
                $($kind::append(&mut self.$name, &sample.$name);)+
                self.len += 1;
                self.bytes += sample.diff.len() + sample.message.len()
                    + sample.old_contents.map_or(0, str::len) + sample.new_contents.map_or(0, str::len);
            }

            /// Takes the rows so far as columns for an [`Encoder`](super::message::Encoder). Long texts are plain bytes there:
            /// in a file both are the same, and to check again what came as text would be one more way through all contents.
            pub fn columns(&mut self) -> Vec<ArrayRef> {
                self.len = 0;
                self.bytes = 0;
                vec![$(Arc::new(self.$name.finish())),+]
            }
        }

        /// Appends a row to `out` for [`decode`]: a form for files that this process reads back itself.
        pub fn encode(sample: &Sample<'_>, out: &mut Vec<u8>) {
            $(sample.$name.put(out);)+
        }

        /// Takes a row from the start of `bytes`; none where [`encode`] did not write them.
        pub fn decode<'a>(bytes: &mut &'a [u8]) -> Option<Sample<'a>> {
            Some(Sample { $($name: Plain::take(bytes)?,)+ })
        }

        /// Rows of one batch, to be read in any order.
        pub struct Rows {
            $($name: Option<<$kind as Column>::Array>,)+
            len: usize,
        }

        impl Rows {
            /// Looks at `batch` as rows.
            ///
            /// # Errors
            /// A column is missing that may not be null, or has another type.
            pub fn new(batch: &RecordBatch) -> Result<Self, ArrowError> {
                Rows::of_columns(batch, COLUMNS)
            }

            /// Looks at those of the columns of `batch` that have one of these `names`. The others are empty in every row.
            ///
            /// # Errors
            /// As [`Rows::new`].
            pub fn of_columns(batch: &RecordBatch, names: &[&str]) -> Result<Self, ArrowError> {
                Ok(Rows {
                    $($name: match names.contains(&stringify!($name)) {
                        true => column::<$kind>(batch, stringify!($name))?,
                        false => None,
                    },)+
                    len: batch.num_rows(),
                })
            }

            /// Row `at`, counted from 0; `at` must be below [`Rows::len`].
            pub fn get(&self, at: usize) -> Sample<'_> {
                Sample { $($name: self.$name.as_ref().map_or_else(Default::default, |column| $kind::value(column, at)),)+ }
            }
        }
    };
}

impl RowsBuilder {
    /// With room for so many bytes of contents before and after and of diffs, each. Memory that grows step by step is copied and taken
    /// up twice; room that no row comes to need is not.
    pub fn with_room(bytes: usize) -> Self {
        let mut rows = RowsBuilder::default();
        for column in [&mut rows.old_contents, &mut rows.new_contents, &mut rows.diff] {
            column.texts.reserve_exact(bytes);
        }
        rows
    }

    /// Takes the rows so far as a batch.
    ///
    /// # Errors
    /// None that rows can cause: lengths and types follow from the schema.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let texts = |column: ArrayRef| -> Result<ArrayRef, ArrowError> {
            match column.as_binary_opt::<i64>() {
                Some(bytes) => Ok(Arc::new(LargeStringArray::try_from_binary(bytes.clone())?)),
                None => Ok(column),
            }
        };
        RecordBatch::try_new(schema(), self.columns().into_iter().map(texts).collect::<Result<_, _>>()?)
    }

    /// Number of rows so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no rows yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of contents, diffs and messages so far.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Rows {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

columns! {
    id: Text, commit: Text, old_file: MaybeText, new_file: MaybeText, old_contents: MaybeLong, new_contents: MaybeLong,
    subject: Text, message: Text, lang: Text, license: MaybeText, repos: Text, diff: Long, parent: MaybeText, kind: Text,
    files_changed: Count, additions: Count, deletions: Count, old_blob: MaybeText, new_blob: MaybeText,
    old_encoding: MaybeText, new_encoding: MaybeText, message_encoding: Text, author_time: MaybeSeconds, author_zone: MaybeMinutes,
    commit_time: MaybeSeconds, commit_zone: MaybeMinutes, author_kind: Text, author_label: MaybeText, reverts: Texts,
    reverts_subject: MaybeText, author_name: MaybeText, author_email: MaybeText, committer_name: MaybeText,
    committer_email: MaybeText, language: MaybeText, license_spdx: MaybeText, license_path: MaybeText, license_method: MaybeText,
    license_confidence: MaybeShare, message_language: MaybeText,
    message_script: MaybeText, message_language_confidence: MaybeShare,
    vendored: MaybeFlag, generated: MaybeText, files_modified: MaybeCount,
}

/// Builds a column of long texts, in the memory of the column before it as soon as nobody else has that: fresh memory is
/// cleared by the kernel, and of megabytes that takes longer than filling it.
struct LongBuilder {
    texts: Vec<u8>,
    ends: Vec<i64>,
    present: NullBufferBuilder,
    before: Option<Buffer>,
}

impl Default for LongBuilder {
    fn default() -> Self {
        LongBuilder { texts: Vec::new(), ends: vec![0], present: NullBufferBuilder::new(0), before: None }
    }
}

impl LongBuilder {
    fn append_value(&mut self, text: &str) {
        self.append_option(Some(text));
    }

    fn append_option(&mut self, text: Option<&str>) {
        if let Some(Ok(mut texts)) = self.before.take().map(Buffer::into_vec) {
            texts.clear();
            self.texts = texts;
        }
        self.texts.extend_from_slice(text.unwrap_or_default().as_bytes());
        self.ends.push(i64::try_from(self.texts.len()).expect("memory is smaller than that"));
        self.present.append(text.is_some());
    }

    fn finish(&mut self) -> LargeBinaryArray {
        let texts = Buffer::from_vec(std::mem::take(&mut self.texts));
        self.before = Some(texts.clone());
        let ends = OffsetBuffer::new(std::mem::replace(&mut self.ends, vec![0]).into());
        LargeBinaryArray::new(ends, texts, self.present.finish())
    }
}

/// Values as bytes: numbers little-endian, texts with their length in front, a byte in front of what may be missing.
trait Plain<'a>: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(bytes: &mut &'a [u8]) -> Option<Self>;
}

macro_rules! plain_numbers {
    ($($number:ty),+) => {
        $(impl Plain<'_> for $number {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn take(bytes: &mut &[u8]) -> Option<Self> {
                let (number, rest) = bytes.split_first_chunk()?;
                *bytes = rest;
                Some(<$number>::from_le_bytes(*number))
            }
        })+
    };
}

plain_numbers!(u8, u32, u64, i32, i64, f64);

impl Plain<'_> for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        u8::take(bytes).map(|byte| byte == 1)
    }
}

impl<'a> Plain<'a> for &'a str {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u64).put(out);
        out.extend_from_slice(self.as_bytes());
    }
    fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        let length = u64::take(bytes)?;
        let (text, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
        *bytes = rest;
        std::str::from_utf8(text).ok()
    }
}

impl<'a, T: Plain<'a>> Plain<'a> for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        Some(if bool::take(bytes)? { Some(T::take(bytes)?) } else { None })
    }
}

impl<'a, T: Plain<'a>> Plain<'a> for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u64).put(out);
        self.iter().for_each(|value| value.put(out));
    }
    fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        (0..u64::take(bytes)?).map(|_| T::take(bytes)).collect()
    }
}

/// How a kind of column is stored. `Value` is what a [`Sample`] holds.
trait Column {
    type Builder: Default;
    type Array: Array + Clone + 'static;
    type Value<'a>;
    fn field(name: &str) -> Field;
    fn append(builder: &mut Self::Builder, value: &Self::Value<'_>);
    fn value(array: &Self::Array, at: usize) -> Self::Value<'_>;
}

fn column<C: Column>(batch: &RecordBatch, name: &str) -> Result<Option<C::Array>, ArrowError> {
    let Some(array) = batch.column_by_name(name) else {
        let nullable = C::field(name).is_nullable();
        return if nullable { Ok(None) } else { Err(ArrowError::SchemaError(format!("column {name} is missing"))) };
    };
    match array.as_any().downcast_ref::<C::Array>() {
        Some(array) => Ok(Some(array.clone())),
        None => Err(ArrowError::SchemaError(format!("column {name} is {}", array.data_type()))),
    }
}

macro_rules! maybe_column {
    ($kind:ident, $value:ty, $array:ty, $builder:ty, $data:expr) => {
        struct $kind;
        impl Column for $kind {
            type Builder = $builder;
            type Array = $array;
            type Value<'a> = Option<$value>;
            fn field(name: &str) -> Field {
                Field::new(name, $data, true)
            }
            fn append(builder: &mut Self::Builder, value: &Option<$value>) {
                builder.append_option(*value);
            }
            fn value(array: &Self::Array, at: usize) -> Option<$value> {
                array.is_valid(at).then(|| array.value(at))
            }
        }
    };
}

macro_rules! text_column {
    ($kind:ident, $maybe:ident, $array:ty, $builder:ty, $data:expr) => {
        struct $kind;
        impl Column for $kind {
            type Builder = $builder;
            type Array = $array;
            type Value<'a> = &'a str;
            fn field(name: &str) -> Field {
                Field::new(name, $data, false)
            }
            fn append(builder: &mut Self::Builder, value: &Self::Value<'_>) {
                builder.append_value(value);
            }
            fn value(array: &Self::Array, at: usize) -> Self::Value<'_> {
                array.value(at)
            }
        }

        struct $maybe;
        impl Column for $maybe {
            type Builder = $builder;
            type Array = $array;
            type Value<'a> = Option<&'a str>;
            fn field(name: &str) -> Field {
                Field::new(name, $data, true)
            }
            fn append(builder: &mut Self::Builder, value: &Self::Value<'_>) {
                builder.append_option(*value);
            }
            fn value(array: &Self::Array, at: usize) -> Self::Value<'_> {
                array.is_valid(at).then(|| array.value(at))
            }
        }
    };
}

text_column!(Text, MaybeText, StringArray, StringBuilder, DataType::Utf8);
// Contents of one batch may add up to more than the 2 GiB that 32-bit offsets reach.
text_column!(Long, MaybeLong, LargeStringArray, LongBuilder, DataType::LargeUtf8);
maybe_column!(MaybeCount, u32, UInt32Array, UInt32Builder, DataType::UInt32);
maybe_column!(MaybeSeconds, i64, Int64Array, Int64Builder, DataType::Int64);
maybe_column!(MaybeMinutes, i32, Int32Array, Int32Builder, DataType::Int32);
maybe_column!(MaybeFlag, bool, BooleanArray, BooleanBuilder, DataType::Boolean);
maybe_column!(MaybeShare, f64, Float64Array, Float64Builder, DataType::Float64);

struct Count;
impl Column for Count {
    type Builder = UInt32Builder;
    type Array = UInt32Array;
    type Value<'a> = u32;
    fn field(name: &str) -> Field {
        Field::new(name, DataType::UInt32, false)
    }
    fn append(builder: &mut Self::Builder, value: &u32) {
        builder.append_value(*value);
    }
    fn value(array: &Self::Array, at: usize) -> u32 {
        array.value(at)
    }
}

struct Texts;
impl Column for Texts {
    type Builder = ListBuilder<StringBuilder>;
    type Array = ListArray;
    type Value<'a> = Vec<&'a str>;
    fn field(name: &str) -> Field {
        Field::new(name, DataType::List(Arc::new(Field::new("item", DataType::Utf8, true))), false)
    }
    fn append(builder: &mut Self::Builder, value: &Vec<&str>) {
        for text in value {
            builder.values().append_value(text);
        }
        builder.append(true);
    }
    fn value(array: &Self::Array, at: usize) -> Vec<&str> {
        let (from, to) = (array.value_offsets()[at] as usize, array.value_offsets()[at + 1] as usize);
        let texts = array.values().as_any().downcast_ref::<StringArray>();
        texts.map_or_else(Vec::new, |texts| (from..to).map(|i| texts.value(i)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back_from_bytes() {
        let rows = [
            Sample::default(),
            Sample {
                id: "0123",
                old_contents: Some(""),
                new_contents: Some("ünï\n"),
                reverts: vec!["a", ""],
                author_time: Some(-1),
                license_confidence: Some(0.95),
                vendored: Some(true),
                files_modified: Some(u32::MAX),
                ..Sample::default()
            },
        ];
        let mut bytes = Vec::new();
        rows.iter().for_each(|row| encode(row, &mut bytes));
        let mut rest = &bytes[..];
        for row in &rows {
            assert_eq!(decode(&mut rest).as_ref(), Some(row));
        }
        assert!(rest.is_empty() && decode(&mut rest).is_none());
        assert_eq!(decode(&mut &bytes[..bytes.len() / 3]), None, "cut short");
    }
}
