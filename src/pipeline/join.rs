//! Columns from elsewhere, by sample id: a judge model's scores, say. Rules see them as `column.NAME`.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use arrow_array::{Array, RecordBatch, cast::AsArray as _};
use arrow_schema::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// What can be wrong with a file of columns.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}: {reason}")]
    Invalid { path: PathBuf, reason: String },
}

/// Columns by sample id.
pub struct Join {
    columns: Vec<String>,
    rows: HashMap<u128, Vec<Option<String>>>,
}

impl Join {
    /// Reads JSON lines with a key `id`, or Parquet (`.parquet`) or an Arrow IPC stream or file (`.arrow`) with a column
    /// `id`. All of it is kept in memory.
    ///
    /// # Errors
    /// The file can't be read, has no ids, or says two things of one.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let mut join = Join { columns: Vec::new(), rows: HashMap::new() };
        let invalid = |reason: String| Error::Invalid { path: path.to_owned(), reason };
        if path.extension().is_some_and(|end| end == "arrow") {
            join.read_arrow(file).map_err(invalid)?;
            return Ok(join);
        }
        if path.extension().is_some_and(|end| end == "parquet") {
            join.read_parquet(file).map_err(invalid)?;
            return Ok(join);
        }
        for (number, line) in BufReader::new(file).lines().enumerate() {
            let line = line.map_err(io)?;
            if line.trim().is_empty() {
                continue;
            }
            let at = |reason: String| invalid(format!("line {}: {reason}", number + 1));
            let object: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(&line).map_err(|e| at(e.to_string()))?;
            join.add_object(object).map_err(at)?;
        }
        Ok(join)
    }

    fn add_object(&mut self, object: serde_json::Map<String, serde_json::Value>) -> Result<(), String> {
        let hex = object.get("id").and_then(|id| id.as_str()).map(str::to_owned);
        let id = hex.as_deref().and_then(number).ok_or("there is no \"id\" of a sample")?;
        let mut values = vec![None; self.columns.len()];
        for (name, value) in object.into_iter().filter(|(name, _)| name != "id") {
            let text = match value {
                serde_json::Value::Null => continue,
                serde_json::Value::String(text) => text,
                other => other.to_string(),
            };
            let at = self.column(name);
            values.resize(self.columns.len(), None);
            values[at] = Some(text);
        }
        match self.rows.insert(id, values) {
            // One that came before a column was known is shorter.
            Some(before) if self.rows.get(&id).is_some_and(|now| !alike(now, &before)) => {
                Err(format!("there are other values for {} before it", hex.unwrap_or_default()))
            }
            _ => Ok(()),
        }
    }

    fn column(&mut self, name: String) -> usize {
        self.columns.iter().position(|known| *known == name).unwrap_or_else(|| {
            self.columns.push(name);
            self.columns.len() - 1
        })
    }

    fn read_arrow(&mut self, file: File) -> Result<(), String> {
        // A file begins with a mark that a stream has not.
        if let Ok(reader) = arrow_ipc::reader::FileReader::try_new(file.try_clone().map_err(|e| e.to_string())?, None) {
            return reader.into_iter().try_for_each(|batch| self.add_batch(&batch.map_err(|e| e.to_string())?));
        }
        std::io::Seek::rewind(&mut &file).map_err(|e| e.to_string())?;
        let reader = arrow_ipc::reader::StreamReader::try_new(BufReader::new(file), None).map_err(|e| e.to_string())?;
        reader.into_iter().try_for_each(|batch| self.add_batch(&batch.map_err(|e| e.to_string())?))
    }

    fn read_parquet(&mut self, file: File) -> Result<(), String> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build());
        let mut reader = reader.map_err(|e| e.to_string())?;
        reader.try_for_each(|batch| self.add_batch(&batch.map_err(|e| e.to_string())?))
    }

    fn add_batch(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let schema = batch.schema();
        let mut texts = Vec::new();
        for (field, column) in schema.fields().iter().zip(batch.columns()) {
            texts.push((
                field.name().clone(),
                cells(column)
                    .ok_or_else(|| format!("the column {} is neither text, a number nor a flag", field.name()))?,
            ));
        }
        for at in 0..batch.num_rows() {
            let value = |(name, cells): &(String, Vec<Option<String>>)| {
                Some((name.clone(), serde_json::Value::String(cells[at].clone()?)))
            };
            self.add_object(texts.iter().filter_map(value).collect())?;
        }
        Ok(())
    }

    /// The columns of the sample `id`.
    pub fn find(&self, id: &str) -> Option<BTreeMap<String, String>> {
        let values = self.rows.get(&number(id)?)?;
        let named = self.columns.iter().zip(values).filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
        Some(named.collect())
    }
}

fn alike(now: &[Option<String>], before: &[Option<String>]) -> bool {
    let length = now.len().max(before.len());
    let all = |values: &[Option<String>]| (0..length).map(|at| values.get(at).cloned().flatten()).collect::<Vec<_>>();
    all(now) == all(before)
}

fn number(id: &str) -> Option<u128> {
    if id.len() == 32 { u128::from_str_radix(id, 16).ok() } else { None }
}

fn cells(column: &dyn Array) -> Option<Vec<Option<String>>> {
    use arrow_array::types as t;
    macro_rules! numbers {
        ($kind:ty) => {
            column.as_primitive::<$kind>().iter().map(|value| value.map(|value| value.to_string())).collect()
        };
    }
    Some(match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect(),
        DataType::LargeUtf8 => column.as_string::<i64>().iter().map(|text| text.map(str::to_owned)).collect(),
        DataType::Boolean => column.as_boolean().iter().map(|flag| flag.map(|flag| flag.to_string())).collect(),
        DataType::Float64 => numbers!(t::Float64Type),
        DataType::Float32 => numbers!(t::Float32Type),
        DataType::Int64 => numbers!(t::Int64Type),
        DataType::Int32 => numbers!(t::Int32Type),
        DataType::UInt64 => numbers!(t::UInt64Type),
        DataType::UInt32 => numbers!(t::UInt32Type),
        _ => return None,
    })
}
