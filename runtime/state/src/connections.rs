//! Stored connections, with revisions. The body is the caller's JSON; it holds references to secrets, never values.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::nearest;
use crate::page::{self, Bound, Page};
use crate::storage::StorageError;
use crate::store::{Store, from_us, signed, to_us, unsigned};

/// The largest stored connection, in bytes of JSON.
pub const MAX_CONNECTION_BYTES: usize = 1024 * 1024;

/// A connection as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredConnection {
    /// Its workspace.
    pub workspace: String,
    /// Its name, unique in the workspace.
    pub name: String,
    /// Grows by one with every change; never repeats for a name, also not after a deletion.
    pub revision: u64,
    /// The connection.
    pub body: Value,
    /// When it was last put.
    pub updated: DateTime<Utc>,
}

/// What must be there for a change to take place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Whatever is there, or nothing.
    Any,
    /// Nothing.
    Absent,
    /// Exactly this revision.
    Revision(u64),
}

impl Expected {
    /// Whether what is there is what was expected.
    pub(crate) fn holds(self, current: Option<u64>) -> bool {
        match self {
            Expected::Any => true,
            Expected::Absent => current.is_none(),
            Expected::Revision(revision) => current == Some(revision),
        }
    }
}

/// A connection was not read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// There is none of that name.
    #[error("workspace {workspace} has no connection {name:?}; {}", there_is(.names))]
    Unknown {
        /// The workspace.
        workspace: String,
        /// The name that was asked for.
        name: String,
        /// The names that there are, the nearest first.
        names: Vec<String>,
    },
    /// Somebody else changed it.
    #[error("connection {name:?} is {}, not what you last saw; read it again, then put your change", at_revision(.current))]
    Conflict {
        /// The name.
        name: String,
        /// The current revision; nothing where there is no such connection.
        current: Option<u64>,
    },
    /// More than [`MAX_CONNECTION_BYTES`].
    #[error(
        "connection {name:?} has {bytes} bytes, more than {MAX_CONNECTION_BYTES}; keep data out of the configuration"
    )]
    TooLarge {
        /// The name.
        name: String,
        /// Its size.
        bytes: usize,
    },
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

fn at_revision(current: &Option<u64>) -> String {
    current.map_or("not there".into(), |revision| {
        format!("at revision {revision}")
    })
}

fn there_is(names: &[String]) -> String {
    match names {
        [] => "put one first".into(),
        names => format!("there is {}", nearest::listed(names)),
    }
}

/// The stored connections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connections {
    store: Store,
}

impl Connections {
    /// The connections of a store.
    pub fn new(store: &Store) -> Connections {
        Connections {
            store: store.clone(),
        }
    }

    /// Stores a connection and gives its new revision.
    ///
    /// # Errors
    /// [`ConnectionError::Conflict`] where `expected` does not hold.
    pub async fn put(
        &self,
        workspace: &str,
        name: &str,
        body: &Value,
        expected: Expected,
        now: DateTime<Utc>,
    ) -> Result<StoredConnection, ConnectionError> {
        const DOING: &str = "storing a connection";
        let text = body.to_string();
        if text.len() > MAX_CONNECTION_BYTES {
            return Err(ConnectionError::TooLarge {
                name: name.to_owned(),
                bytes: text.len(),
            });
        }
        let mut tx = self.store.change(DOING).await?;
        let row = sqlx::query(
            "SELECT revision, body IS NOT NULL FROM connections WHERE workspace = ?1 AND name = ?2",
        )
        .bind(workspace)
        .bind(name)
        .fetch_optional(&mut *tx)
        .await
        .map_err(StorageError::of(DOING))?;
        let (last, present) = match row {
            None => (0, false),
            Some(row) => (
                unsigned(DOING, get(DOING, &row, 0)?)?,
                get::<bool>(DOING, &row, 1)?,
            ),
        };
        let current = present.then_some(last);
        if !expected.holds(current) {
            return Err(ConnectionError::Conflict {
                name: name.to_owned(),
                current,
            });
        }
        let revision = last + 1;
        sqlx::query(
            "INSERT INTO connections (workspace, name, revision, body, updated_us) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (workspace, name) DO UPDATE SET revision = ?3, body = ?4, updated_us = ?5",
        )
        .bind(workspace)
        .bind(name)
        .bind(signed(revision))
        .bind(text)
        .bind(to_us(now))
        .execute(&mut *tx)
        .await
        .map_err(StorageError::of(DOING))?;
        tx.commit().await.map_err(StorageError::of(DOING))?;
        let updated = from_us(DOING, to_us(now))?;
        Ok(StoredConnection {
            workspace: workspace.to_owned(),
            name: name.to_owned(),
            revision,
            body: body.clone(),
            updated,
        })
    }

    /// Reads a connection.
    ///
    /// # Errors
    /// [`ConnectionError::Unknown`] names those that there are.
    pub async fn get(
        &self,
        workspace: &str,
        name: &str,
    ) -> Result<StoredConnection, ConnectionError> {
        const DOING: &str = "reading a connection";
        let row = sqlx::query("SELECT workspace, name, revision, body, updated_us FROM connections WHERE workspace = ?1 AND name = ?2 AND body IS NOT NULL")
            .bind(workspace)
            .bind(name)
            .fetch_optional(&self.store.readers)
            .await
            .map_err(StorageError::of(DOING))?;
        match row {
            Some(row) => Ok(read(DOING, &row)?),
            None => Err(self.unknown(workspace, name).await?),
        }
    }

    /// A page of a workspace's connections, by name; `token` is what the page before gave.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn list(
        &self,
        workspace: &str,
        bound: Bound,
        token: Option<&str>,
    ) -> Result<Page<StoredConnection>, ConnectionError> {
        const DOING: &str = "listing connections";
        // A name is its own token: one that is gone still has its place in the order.
        let rows = sqlx::query(
            "SELECT workspace, name, revision, body, updated_us FROM connections
             WHERE workspace = ?1 AND body IS NOT NULL AND (?2 IS NULL OR name > ?2) ORDER BY name",
        )
        .bind(workspace)
        .bind(token)
        .fetch(&self.store.readers);
        let read = |row: &SqliteRow| {
            let body: &str = get(DOING, row, 3)?;
            Ok((read(DOING, row)?, body.len() + 256))
        };
        let token = |last: &StoredConnection| last.name.clone();
        Ok(page::fill(DOING, rows, bound, read, token).await?)
    }

    /// Deletes a connection. Its checkpoints stay; `Checkpoints::clear` removes them.
    ///
    /// # Errors
    /// [`ConnectionError::Unknown`] where there is none.
    pub async fn delete(
        &self,
        workspace: &str,
        name: &str,
        now: DateTime<Utc>,
    ) -> Result<(), ConnectionError> {
        const DOING: &str = "deleting a connection";
        let mut tx = self.store.change(DOING).await?;
        let done = sqlx::query(
            "UPDATE connections SET body = NULL, revision = revision + 1, updated_us = ?3
             WHERE workspace = ?1 AND name = ?2 AND body IS NOT NULL",
        )
        .bind(workspace)
        .bind(name)
        .bind(to_us(now))
        .execute(&mut *tx)
        .await
        .map_err(StorageError::of(DOING))?;
        tx.commit().await.map_err(StorageError::of(DOING))?;
        if done.rows_affected() == 0 {
            Err(self.unknown(workspace, name).await?)
        } else {
            Ok(())
        }
    }

    async fn unknown(
        &self,
        workspace: &str,
        name: &str,
    ) -> Result<ConnectionError, ConnectionError> {
        const DOING: &str = "looking for a connection";
        let rows =
            sqlx::query("SELECT name FROM connections WHERE workspace = ?1 AND body IS NOT NULL")
                .bind(workspace)
                .fetch_all(&self.store.readers)
                .await
                .map_err(StorageError::of(DOING))?;
        let mut names = rows
            .iter()
            .map(|row| get(DOING, row, 0))
            .collect::<Result<Vec<String>, _>>()?;
        nearest::sort(&mut names, name);
        Ok(ConnectionError::Unknown {
            workspace: workspace.to_owned(),
            name: name.to_owned(),
            names,
        })
    }
}

fn read(doing: &'static str, row: &SqliteRow) -> Result<StoredConnection, StorageError> {
    let name: String = get(doing, row, 1)?;
    let body: String = get(doing, row, 3)?;
    let body = serde_json::from_str(&body).map_err(|error| {
        StorageError::damaged(doing, format!("connection {name:?} is not JSON: {error}"))
    })?;
    Ok(StoredConnection {
        workspace: get(doing, row, 0)?,
        name,
        revision: unsigned(doing, get(doing, row, 2)?)?,
        body,
        updated: from_us(doing, get(doing, row, 4)?)?,
    })
}

/// One column of a row.
pub(crate) fn get<'r, T>(
    doing: &'static str,
    row: &'r SqliteRow,
    index: usize,
) -> Result<T, StorageError>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(index).map_err(StorageError::of(doing))
}
