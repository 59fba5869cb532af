//! The SQLite index of a store: which repositories and segments there are, and how the runs went.
//!
//! The first two tables repeat what the manifests say and are made from them at will; the other two are the state of
//! runs, which no manifest holds. Only the holder of the store's lock writes. An index that is missing or damaged is
//! made again; what is lost with it is the memory of which sources failed.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, params};

use super::{Checkpoint, Error, RepositoryId, Store, io_error};

/// Version of the tables; another one is made again.
const VERSION: i64 = 4;

/// Runs that are remembered, beside those in which a source was last mined.
const RUNS_MAX: i64 = 1000;

const TABLES: &str = "
CREATE TABLE repository (
    identity TEXT PRIMARY KEY, name TEXT NOT NULL, columns TEXT NOT NULL, directory TEXT NOT NULL,
    license TEXT, generation INTEGER NOT NULL, batches INTEGER NOT NULL, tips TEXT NOT NULL, recipe TEXT NOT NULL, tool TEXT NOT NULL,
    commits INTEGER NOT NULL, changes INTEGER NOT NULL, rows INTEGER NOT NULL, bytes INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE segment (
    repository TEXT NOT NULL REFERENCES repository, file TEXT NOT NULL, schema INTEGER NOT NULL, rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL, blake3 TEXT NOT NULL, PRIMARY KEY (repository, file)
) WITHOUT ROWID;
CREATE TABLE run (
    number INTEGER PRIMARY KEY, started INTEGER NOT NULL, finished INTEGER, tool TEXT NOT NULL, arguments TEXT NOT NULL
);
CREATE TABLE source (
    identity TEXT PRIMARY KEY, spec TEXT NOT NULL, recipe TEXT NOT NULL, replaces INTEGER NOT NULL, run INTEGER NOT NULL REFERENCES run,
    rows INTEGER NOT NULL, failure TEXT, hint TEXT
) WITHOUT ROWID;
";

/// An open index.
pub struct Index {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
}

/// The last outcome of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceState {
    /// What tells sources apart.
    pub identity: String,
    /// The source in the form in which the caller can mine it again.
    pub spec: String,
    /// The settings that it was mined with, as JSON.
    pub recipe: String,
    /// Whether its earlier rows were to be replaced, and have to be again where objects were missing.
    pub replace: bool,
    /// New rows of the last run.
    pub rows: u64,
    /// Why the last run failed, and what to do about it; none where it went well.
    pub failure: Option<(String, Option<String>)>,
}

impl Index {
    /// Opens the index of `store` for writing. It is made again from the manifests where it is missing, damaged, of
    /// another version, or not about the batches that are there. The store must be locked.
    ///
    /// # Errors
    /// The index can't be written, or a manifest can't be read.
    pub fn open(store: &Store) -> Result<Self, Error> {
        let path = Self::path(store);
        let usable = Self::connect(&path, OpenFlags::default()).ok().filter(|index| index.is_current(store));
        match usable {
            Some(index) => Ok(index),
            None => Self::rebuild(store),
        }
    }

    /// Opens the index of `store` for reading; `None` where there is none that can be read.
    pub fn read(store: &Store) -> Option<Self> {
        Self::connect(&Self::path(store), OpenFlags::SQLITE_OPEN_READ_ONLY).ok()
    }

    /// Makes the index from the manifests. What the old one knows about runs is kept where it can be read. The store
    /// must be locked.
    ///
    /// # Errors
    /// As [`Index::open`].
    pub fn rebuild(store: &Store) -> Result<Self, Error> {
        let path = Self::path(store);
        let usable = Self::connect(&path, OpenFlags::default()).ok();
        let is_new = usable.is_none();
        if is_new {
            for suffix in ["", "-journal", "-wal", "-shm"] {
                let mut file = path.clone().into_os_string();
                file.push(suffix);
                match fs::remove_file(&file) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io_error(Path::new(&file))(e)),
                    _ => {}
                }
            }
        }
        let mut index = match usable {
            Some(index) => index,
            None => Self::at(&path, OpenFlags::default()).map_err(sql(&path))?,
        };
        // A repository with damaged manifests is missing here, and fails by itself when it is read or mined.
        let (batches, _) = store.batches_and_damage()?;
        // All at once: each transaction waits for the disk four times.
        let transaction = index.connection.transaction().map_err(sql(&path))?;
        if is_new {
            let tables = format!("{TABLES} PRAGMA user_version = {VERSION};");
            transaction.execute_batch(&tables).map_err(sql(&path))?;
        }
        transaction.execute_batch("DELETE FROM segment; DELETE FROM repository;").map_err(sql(&path))?;
        for group in batches.chunk_by(|(a, _), (b, _)| a == b) {
            let checkpoints: Vec<&Checkpoint> = group.iter().map(|(_, checkpoint)| checkpoint).collect();
            insert(&transaction, &group[0].0, &checkpoints).map_err(sql(&path))?;
        }
        transaction.commit().map_err(sql(&path))?;
        Ok(index)
    }

    fn path(store: &Store) -> PathBuf {
        store.root().join("index.sqlite")
    }

    /// What is at `path`, whatever it is.
    fn at(path: &Path, flags: OpenFlags) -> rusqlite::Result<Self> {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        Ok(Index { path: path.to_owned(), connection })
    }

    fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Self> {
        let index = Self::at(path, flags & !OpenFlags::SQLITE_OPEN_CREATE)?;
        let connection = &index.connection;
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let tables: i64 = connection.query_row(
            "SELECT count(*) FROM sqlite_schema WHERE name IN ('repository', 'segment', 'run', 'source')",
            [],
            |row| row.get(0),
        )?;
        if version != VERSION || tables != 4 {
            return Err(rusqlite::Error::InvalidQuery);
        }
        Ok(index)
    }

    /// Whether it lists as many batches of each repository as there are. A run that was killed between a checkpoint
    /// and its entry leaves one fewer.
    fn is_current(&self, store: &Store) -> bool {
        let listed = || -> rusqlite::Result<Vec<(String, u32, u32)>> {
            let mut query =
                self.connection.prepare("SELECT directory, generation, batches FROM repository ORDER BY directory")?;
            query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
        };
        match (listed(), store.newest_batches()) {
            (Ok(listed), Ok(present)) => listed == present,
            _ => false,
        }
    }

    /// Batches that it lists and that are not there any more, in words.
    ///
    /// # Errors
    /// The index or the store can't be read.
    pub fn lost_batches(&self, store: &Store) -> Result<Vec<String>, Error> {
        let read = || -> rusqlite::Result<Vec<(String, String, u32, u32)>> {
            let mut query = self
                .connection
                .prepare("SELECT identity, directory, generation, batches FROM repository ORDER BY identity")?;
            query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?.collect()
        };
        let present = store.newest_batches()?;
        let mut lost = Vec::new();
        for (identity, directory, generation, batches) in read().map_err(sql(&self.path))? {
            let found = present.iter().find(|(name, ..)| *name == directory).map_or((0, 0), |found| (found.1, found.2));
            if found < (generation, batches) {
                let left = if found.0 == generation { found.1 } else { 0 };
                lost.push(format!("of {batches} batches of {identity} {left} are left"));
            }
        }
        Ok(lost)
    }

    /// Enters the batches of a repository, which are all that `directory` shows.
    ///
    /// # Errors
    /// The index can't be written.
    pub fn enter(&mut self, directory: &Path) -> Result<(), Error> {
        let checkpoints = super::visible(directory)?;
        let path = self.path.clone();
        let mut write = || -> rusqlite::Result<()> {
            let transaction = self.connection.transaction()?;
            insert(&transaction, directory, &checkpoints.iter().collect::<Vec<_>>())?;
            transaction.commit()
        };
        write().map_err(sql(&path))
    }

    /// Notes that a run began at `started` (seconds since 1970), and gives its number.
    ///
    /// # Errors
    /// The index can't be written.
    pub fn begin_run(&mut self, started: i64, arguments: &[String]) -> Result<i64, Error> {
        let arguments = serde_json::json!(arguments).to_string();
        let insert = "INSERT INTO run (started, tool, arguments) VALUES (?1, ?2, ?3)";
        let written = self.connection.execute(insert, params![started, env!("CARGO_PKG_VERSION"), arguments]);
        written.map_err(sql(&self.path))?;
        let run = self.connection.last_insert_rowid();
        // Whoever is started every few minutes for years must not grow the index.
        let old = "DELETE FROM run WHERE number <= ?1 AND number NOT IN (SELECT run FROM source)";
        self.connection.execute(old, [run - RUNS_MAX]).map_err(sql(&self.path))?;
        Ok(run)
    }

    /// Notes that a run came to its end at `finished` (seconds since 1970).
    ///
    /// # Errors
    /// The index can't be written.
    pub fn finish_run(&mut self, run: i64, finished: i64) -> Result<(), Error> {
        let update = "UPDATE run SET finished = ?2 WHERE number = ?1";
        self.connection.execute(update, params![run, finished]).map_err(sql(&self.path)).map(|_| ())
    }

    /// Notes the outcome of a source in a run, in place of the one before.
    ///
    /// # Errors
    /// The index can't be written.
    pub fn set_source(&mut self, run: i64, state: &SourceState) -> Result<(), Error> {
        let (failure, hint) = match &state.failure {
            Some((failure, hint)) => (Some(failure), hint.as_ref()),
            None => (None, None),
        };
        let rows = i64::try_from(state.rows).unwrap_or(i64::MAX);
        let insert = "INSERT OR REPLACE INTO source VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let values = params![state.identity, state.spec, state.recipe, state.replace, run, rows, failure, hint];
        let written = self.connection.execute(insert, values);
        written.map_err(sql(&self.path)).map(|_| ())
    }

    /// The source `identity` as it was given last, in the form of [`SourceState::spec`]; none where it is not known.
    ///
    /// # Errors
    /// The index can't be read.
    pub fn spec(&self, identity: &str) -> Result<Option<String>, Error> {
        let query = "SELECT spec FROM source WHERE identity = ?1";
        let row = self.connection.query_row(query, [identity], |row| row.get(0));
        row.optional().map_err(sql(&self.path))
    }

    /// The repository `identity` as it was called last; none where nothing of it is mined.
    ///
    /// # Errors
    /// The index can't be read.
    pub fn repository(&self, identity: &str) -> Result<Option<RepositoryId>, Error> {
        let query = "SELECT name, columns FROM repository WHERE identity = ?1";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, String>(1)?));
        let row = self.connection.query_row(query, [identity], read).optional().map_err(sql(&self.path))?;
        Ok(row.map(|(name, columns)| RepositoryId {
            identity: identity.to_owned(),
            name,
            columns: serde_json::from_str(&columns).unwrap_or_default(),
            root: None,
        }))
    }

    /// Identity and recipe of the sources whose rows were replaced since the last run that came to its end: what an
    /// interrupted `--replace` need not do again.
    ///
    /// # Errors
    /// The index can't be read.
    pub fn replaced_by_interrupted_runs(&self) -> Result<HashSet<(String, String)>, Error> {
        let read = || -> rusqlite::Result<HashSet<(String, String)>> {
            let query = "SELECT identity, recipe FROM source WHERE failure IS NULL AND replaces \
                         AND run > (SELECT coalesce(max(number), 0) FROM run WHERE finished IS NOT NULL)";
            self.connection.prepare(query)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        read().map_err(sql(&self.path))
    }

    /// Forgets the outcome of a source.
    ///
    /// # Errors
    /// The index can't be written.
    pub fn forget_source(&mut self, identity: &str) -> Result<(), Error> {
        let deleted = self.connection.execute("DELETE FROM source WHERE identity = ?1", [identity]);
        deleted.map_err(sql(&self.path)).map(|_| ())
    }

    /// Forgets the sources with a name that `is_named`, and puts `TOMBSTONE` in the place of arguments of runs that `names` one.
    ///
    /// # Errors
    /// The index can't be read or written.
    pub fn forget(&mut self, is_named: &dyn Fn(&str) -> bool, names: &dyn Fn(&str) -> bool) -> Result<(), Error> {
        let path = self.path.clone();
        let mut write = || -> rusqlite::Result<()> {
            let transaction = self.connection.transaction()?;
            for (number, text) in texts(&transaction, "SELECT CAST(number AS TEXT), arguments FROM run")? {
                let mut arguments = list(&text);
                arguments
                    .iter_mut()
                    .filter(|argument| names(argument))
                    .for_each(|argument| *argument = TOMBSTONE.to_owned());
                let update = "UPDATE run SET arguments = ?2 WHERE number = ?1";
                transaction.execute(update, params![number, serde_json::json!(arguments).to_string()])?;
            }
            for (identity, spec) in texts(&transaction, "SELECT identity, spec FROM source")? {
                let spec: serde_json::Value = serde_json::from_str(&spec).unwrap_or_default();
                if spec["name"].as_str().is_some_and(is_named) {
                    transaction.execute("DELETE FROM source WHERE identity = ?1", [identity])?;
                }
            }
            transaction.commit()
        };
        write().map_err(sql(&path))
    }

    /// The arguments of all runs that began before `time`.
    ///
    /// # Errors
    /// The index can't be read.
    pub fn arguments_before(&self, time: i64) -> Result<Vec<String>, Error> {
        let query = format!("SELECT CAST(number AS TEXT), arguments FROM run WHERE started < {time}");
        let found = texts(&self.connection, &query).map_err(sql(&self.path))?;
        Ok(found.iter().flat_map(|(_, text)| list(text)).collect())
    }

    /// Writes the file anew: what was deleted stays in it until then.
    ///
    /// # Errors
    /// The index can't be written.
    pub fn vacuum(&self) -> Result<(), Error> {
        self.connection.execute_batch("VACUUM").map_err(sql(&self.path))
    }

    /// The sources whose last run failed, by identity.
    ///
    /// # Errors
    /// The index can't be read.
    pub fn failed(&self) -> Result<Vec<SourceState>, Error> {
        let read = || -> rusqlite::Result<Vec<SourceState>> {
            let query = "SELECT identity, spec, recipe, failure, hint, replaces FROM source \
                         WHERE failure IS NOT NULL ORDER BY identity";
            let mut query = self.connection.prepare(query)?;
            let rows = query.query_map([], |row| {
                let failure = Some((row.get(3)?, row.get(4)?));
                let (identity, spec, recipe, replace) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(5)?);
                Ok(SourceState { identity, spec, recipe, replace, rows: 0, failure })
            })?;
            rows.collect()
        };
        read().map_err(sql(&self.path))
    }

    /// When the last run began and ended (seconds since 1970; no end: it was killed or runs still).
    ///
    /// # Errors
    /// The index can't be read.
    pub fn last_run(&self) -> Result<Option<(i64, Option<i64>)>, Error> {
        let query = "SELECT started, finished FROM run ORDER BY number DESC LIMIT 1";
        let row = self.connection.query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?)));
        row.optional().map_err(sql(&self.path))
    }
}

/// What stands for an argument that named what was purged.
const TOMBSTONE: &str = "(purged)";

/// The two columns of the rows of a query.
fn texts(connection: &Connection, query: &str) -> rusqlite::Result<Vec<(String, String)>> {
    connection.prepare(query)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// The texts of a list that was written as JSON.
fn list(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap_or_default()
}

fn insert(transaction: &Transaction<'_>, directory: &Path, checkpoints: &[&Checkpoint]) -> rusqlite::Result<()> {
    let Some(last) = checkpoints.last() else { return Ok(()) };
    let identity = &last.repository.identity;
    let sum = |of: &dyn Fn(&Checkpoint) -> u64| -> i64 {
        i64::try_from(checkpoints.iter().map(|checkpoint| of(checkpoint)).sum::<u64>()).unwrap_or(i64::MAX)
    };
    transaction.execute("DELETE FROM segment WHERE repository = ?1", [identity])?;
    transaction.execute(
        "INSERT OR REPLACE INTO repository VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        params![
            identity,
            last.repository.name,
            serde_json::json!(last.repository.columns).to_string(),
            directory.file_name().unwrap_or_default().to_string_lossy(),
            last.license,
            last.generation,
            last.batch + 1,
            serde_json::json!(last.tips).to_string(),
            last.recipe.to_string(),
            last.tool,
            sum(&|c| c.funnel.commits.candidates),
            sum(&|c| c.funnel.changes.candidates),
            sum(&|c| c.funnel.changes.kept),
            sum(&|c| c.segments.iter().map(|segment| segment.bytes).sum()),
        ],
    )?;
    let mut segment = transaction.prepare_cached("INSERT INTO segment VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for manifest in checkpoints.iter().flat_map(|checkpoint| &checkpoint.segments) {
        let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let (rows, bytes) = (count(manifest.rows), count(manifest.bytes));
        segment.execute(params![identity, manifest.file, manifest.schema, rows, bytes, manifest.blake3])?;
    }
    Ok(())
}

pub(super) fn sql(path: &Path) -> impl FnOnce(rusqlite::Error) -> Error + '_ {
    |e| {
        let full = e.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull);
        let kind = if full { std::io::ErrorKind::StorageFull } else { std::io::ErrorKind::Other };
        Error::Io { path: path.to_owned(), source: std::io::Error::new(kind, e.to_string()) }
    }
}
