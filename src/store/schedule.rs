//! The state of schedules in the index: what a daemon remembers of each repository. No manifest holds it; when it is
//! lost, everything is due, and nothing else is lost.

use rusqlite::params;

use super::{
    Error,
    index::{Index, sql},
};

/// Made when it is first needed: an index without it is as good as one where nothing is scheduled.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS schedule (identity TEXT PRIMARY KEY, name TEXT NOT NULL, state TEXT NOT NULL) WITHOUT ROWID";

/// What is remembered of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// What tells it apart.
    pub identity: String,
    /// What it is called.
    pub name: String,
    /// The state, as JSON.
    pub state: String,
}

impl Index {
    /// What is remembered of all repositories, by identity.
    ///
    /// # Errors
    /// The index can't be read.
    pub fn schedules(&self) -> Result<Vec<Remembered>, Error> {
        let there = "SELECT count(*) FROM sqlite_schema WHERE name = 'schedule'";
        let read = || -> rusqlite::Result<Vec<Remembered>> {
            if self.connection.query_row(there, [], |row| row.get::<_, i64>(0))? == 0 {
                return Ok(Vec::new());
            }
            let mut query = self.connection.prepare("SELECT identity, name, state FROM schedule ORDER BY identity")?;
            let rows = query
                .query_map([], |row| Ok(Remembered { identity: row.get(0)?, name: row.get(1)?, state: row.get(2)? }))?;
            rows.collect()
        };
        read().map_err(sql(&self.path))
    }

    /// Remembers `states`, all of them or none.
    ///
    /// # Errors
    /// The index can't be written.
    pub fn remember_schedules(&mut self, states: &[Remembered]) -> Result<(), Error> {
        let path = self.path.clone();
        let mut write = || -> rusqlite::Result<()> {
            let transaction = self.connection.transaction()?;
            transaction.execute(TABLE, [])?;
            {
                let mut insert = transaction.prepare_cached("INSERT OR REPLACE INTO schedule VALUES (?1, ?2, ?3)")?;
                for Remembered { identity, name, state } in states {
                    insert.execute(params![identity, name, state])?;
                }
            }
            transaction.commit()
        };
        write().map_err(sql(&path))
    }

    /// Forgets repositories that are no sources any more.
    ///
    /// # Errors
    /// The index can't be written.
    pub fn forget_schedules(&mut self, identities: &[String]) -> Result<(), Error> {
        let path = self.path.clone();
        let mut write = || -> rusqlite::Result<()> {
            let transaction = self.connection.transaction()?;
            transaction.execute(TABLE, [])?;
            for identity in identities {
                transaction.execute("DELETE FROM schedule WHERE identity = ?1", [identity])?;
            }
            transaction.commit()
        };
        write().map_err(sql(&path))
    }

    /// Takes a repository out of which no batch is left, and its source.
    ///
    /// # Errors
    /// The index can't be written.
    pub fn remove(&mut self, identity: &str) -> Result<(), Error> {
        let path = self.path.clone();
        let mut write = || -> rusqlite::Result<()> {
            let transaction = self.connection.transaction()?;
            for table in [
                "DELETE FROM segment WHERE repository",
                "DELETE FROM repository WHERE identity",
                "DELETE FROM source WHERE identity",
            ] {
                transaction.execute(&format!("{table} = ?1"), [identity])?;
            }
            transaction.commit()
        };
        write().map_err(sql(&path))
    }
}
