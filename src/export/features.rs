//! The types of columns as Hugging Face's `datasets` spells them. Without them it guesses from the first rows, and stops
//! at the first value in a column that was null until then.

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use serde_json::{Map, Value, json};

use super::trainer::Kind;
use crate::store::rows;

/// The column of this name.
pub(super) fn field(name: &str) -> Field {
    rows::schema().field_with_name(name).map_or_else(|_| Field::new(name, DataType::Utf8, true), Clone::clone)
}

fn dtype(kind: &DataType) -> &'static str {
    match kind {
        DataType::LargeUtf8 => "large_string",
        DataType::UInt32 => "uint32",
        DataType::Int32 => "int32",
        DataType::Int64 => "int64",
        DataType::Float64 => "float64",
        DataType::Boolean => "bool",
        _ => "string",
    }
}

/// As a card has them, indented by two.
pub fn yaml(columns: &[&str]) -> String {
    let lines = columns.iter().map(|name| match field(name).data_type() {
        DataType::List(_) => format!("  - name: {name}\n    sequence: string\n"),
        kind => format!("  - name: {name}\n    dtype: {}\n", dtype(kind)),
    });
    lines.collect()
}

/// The same as the fields of one column.
pub fn yaml_of_struct(name: &str, columns: &[&str]) -> String {
    let fields = yaml(columns);
    let fields: String = fields.lines().map(|line| format!("  {line}\n")).collect();
    format!("  - name: {name}\n    struct:\n{fields}")
}

/// The same of the records that trainers read.
pub fn yaml_of_records(fields: &[(&str, Kind)]) -> String {
    let lines = fields.iter().map(|(name, kind)| match kind {
        Kind::Text => format!("  - name: {name}\n    dtype: large_string\n"),
        Kind::Flag => format!("  - name: {name}\n    dtype: bool\n"),
        Kind::Number => format!("  - name: {name}\n    dtype: int64\n"),
        Kind::Texts => format!("  - name: {name}\n    sequence: large_string\n"),
        Kind::TextLists => format!("  - name: {name}\n    sequence:\n      sequence: large_string\n"),
        Kind::Messages => format!(
            "  - name: {name}\n    list:\n    - name: role\n      dtype: string\n    - name: content\n      dtype: large_string\n"
        ),
    });
    lines.collect()
}

/// As `dataset_info.json` and the metadata of a schema have them. `Sequence` is read by old and new versions.
pub fn json(columns: &[&str]) -> Value {
    let of = |name: &str| match field(name).data_type() {
        DataType::List(_) => json!({"feature": {"dtype": "string", "_type": "Value"}, "_type": "Sequence"}),
        kind => json!({"dtype": dtype(kind), "_type": "Value"}),
    };
    Value::Object(columns.iter().map(|name| ((*name).to_owned(), of(name))).collect::<Map<_, _>>())
}

/// The value of the key `huggingface` in the metadata of a file.
pub fn metadata(columns: &[&str]) -> String {
    json!({"info": {"features": json(columns)}}).to_string()
}

/// The schema of `columns`, and where they are in a batch of rows.
pub fn schema(columns: &[&str]) -> (SchemaRef, Vec<usize>) {
    let all = rows::schema();
    let at: Vec<usize> = columns.iter().filter_map(|name| all.index_of(name).ok()).collect();
    let fields: Vec<Field> = at.iter().map(|at| all.field(*at).clone()).collect();
    let metadata = std::collections::HashMap::from([("huggingface".to_owned(), metadata(columns))]);
    (Schema::new_with_metadata(fields, metadata).into(), at)
}
