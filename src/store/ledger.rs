//! The ledger: one row for each commit or change that a rule dropped, with the value that the rule saw and its bound.

use std::{path::Path, sync::Arc};

use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use super::{
    Error,
    message::Encoder,
    segment::{self, StreamFile},
};

/// Rows in a record batch.
const BATCH_ROWS: usize = 4096;

/// A commit or change that a rule dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Dropped {
    pub commit: String,
    /// The sample id that the row would have; none for a commit.
    pub id: Option<String>,
    pub old_file: Option<String>,
    pub new_file: Option<String>,
    /// Where the rule ran: commit, tree, header, blob, assembly or purge.
    #[serde(skip_deserializing)]
    pub layer: &'static str,
    pub rule: String,
    pub value: String,
    pub bound: String,
}

/// The record of a sealed ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerManifest {
    /// File name of the Arrow stream.
    pub file: String,
    /// Number of rows.
    pub rows: u64,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// BLAKE3 of the file, hexadecimal.
    pub blake3: String,
}

/// The layer of what was removed after mining, by a look at all rows.
pub const ASSEMBLY: &str = "assembly";

/// The layer of what was purged later, for those whose work it is.
pub const PURGE: &str = "purge";

/// Names of the columns, in order.
pub const COLUMNS: [&str; 8] = ["commit", "id", "old_file", "new_file", "layer", "rule", "value", "bound"];

fn schema() -> SchemaRef {
    let nullable = ["id", "old_file", "new_file"];
    let fields = COLUMNS.map(|name| Field::new(name, DataType::Utf8, nullable.contains(&name)));
    Arc::new(Schema::new(fields.to_vec()))
}

/// A ledger being written, under a temporary name.
pub struct LedgerWriter {
    file: StreamFile,
    waiting: Vec<Dropped>,
    rows: u64,
}

impl LedgerWriter {
    /// Starts the ledger that will be `directory/stem.ledger.arrow`.
    ///
    /// # Errors
    /// The file can't be made.
    pub fn new(directory: &Path, stem: &str) -> Result<Self, Error> {
        let file = StreamFile::new(directory, &format!("{stem}.ledger"), &schema())?;
        Ok(LedgerWriter { file, waiting: Vec::new(), rows: 0 })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn add(&mut self, dropped: Dropped) -> Result<(), Error> {
        self.waiting.push(dropped);
        if self.waiting.len() >= BATCH_ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let rows = &self.waiting;
        let text = |of: &dyn Fn(&Dropped) -> Option<&str>| -> ArrayRef {
            Arc::new(rows.iter().map(of).collect::<StringArray>())
        };
        let batch = RecordBatch::try_new(
            schema(),
            vec![
                text(&|row| Some(&row.commit)),
                text(&|row| row.id.as_deref()),
                text(&|row| row.old_file.as_deref()),
                text(&|row| row.new_file.as_deref()),
                text(&|row| Some(row.layer)),
                text(&|row| Some(&row.rule)),
                text(&|row| Some(&row.value)),
                text(&|row| Some(&row.bound)),
            ],
        )?;
        self.rows += rows.len() as u64;
        self.file.write(&Encoder::default().encode(batch.num_rows(), batch.columns())?)?;
        self.waiting.clear();
        Ok(())
    }

    /// Ends the ledger and renames it into place; nothing is written for an empty one.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn seal(mut self) -> Result<Option<LedgerManifest>, Error> {
        self.flush()?;
        if self.rows == 0 {
            self.file.discard()?;
            return Ok(None);
        }
        let rows = self.rows;
        let (file, bytes, blake3) = self.file.seal()?;
        Ok(Some(LedgerManifest { file, rows, bytes, blake3 }))
    }
}

/// Reads the rows of the ledger at `path`.
///
/// # Errors
/// The file can't be read, or is none.
pub fn read(path: &Path) -> Result<Vec<Dropped>, Error> {
    let mut rows = Vec::new();
    for_each(path, |row| {
        rows.push(row);
        Ok(())
    })?;
    Ok(rows)
}

/// Calls `each` with every row of the ledger at `path`; one record batch at a time is in memory.
///
/// # Errors
/// The file can't be read, or is none; what `each` returns.
pub fn for_each(path: &Path, mut each: impl FnMut(Dropped) -> Result<(), Error>) -> Result<(), Error> {
    for batch in segment::read(path)? {
        let batch = batch?;
        let damaged = || Error::Damaged { path: path.to_owned(), reason: "it is no ledger".into() };
        let mut columns = Vec::new();
        for name in COLUMNS {
            let column = batch.column_by_name(name).and_then(|column| column.as_any().downcast_ref::<StringArray>());
            columns.push(column.ok_or_else(damaged)?);
        }
        for at in 0..batch.num_rows() {
            let text = |number: usize| columns[number].value(at).to_owned();
            let maybe = |number: usize| columns[number].is_valid(at).then(|| text(number));
            let layers = ["commit", "tree", "header", "blob", ASSEMBLY, PURGE];
            each(Dropped {
                commit: text(0),
                id: maybe(1),
                old_file: maybe(2),
                new_file: maybe(3),
                layer: layers.into_iter().find(|layer| *layer == columns[4].value(at)).unwrap_or(""),
                rule: text(5),
                value: text(6),
                bound: text(7),
            })?;
        }
    }
    Ok(())
}
