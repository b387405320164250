//! The embedded store: one SQLite file, write-ahead log, one connection that writes and a few that read.
//!
//! Migrations are SQL files compiled into the program and carried out by sqlx's `Migrator`, which is given them directly:
//! its `migrate!` macro would bring sqlx's whole macro machinery for a list of one.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Row, SqlSafeStr, Sqlite, Transaction};

use crate::storage::StorageError;

const MIGRATIONS: [(i64, &str, &str); 2] = [
    (1, "state", include_str!("../migrations/0001_state.sql")),
    (
        2,
        "released",
        include_str!("../migrations/0002_released.sql"),
    ),
];

const READERS: u32 = 4;

/// How long a statement waits for its connection or for another process.
const PATIENCE: Duration = Duration::from_secs(10);

/// The embedded store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) readers: SqlitePool,
    writer: SqlitePool,
}

/// The store cannot be opened. Every message says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file cannot be created or its mode cannot be set.
    #[error("the state file {} cannot be created ({source}); create its directory, owned by the daemon's user", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A newer Caisson wrote the file.
    #[error("the state file {} was written by a newer Caisson (format {found}, this one knows {known}); start that one, or restore a backup of before", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The file's format.
        found: i64,
        /// The newest format that this program knows.
        known: i64,
    },
    /// The file is a database, but not this one.
    #[error("the state file {} is a database of something else ({detail}); name another data directory, or move the file away", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What differs.
        detail: String,
    },
    /// The database failed.
    #[error("{}: {source}", path.display())]
    Storage {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: StorageError,
    },
}

impl Store {
    /// Opens the file, creates it where there is none (mode 0600), checks it and brings it to this program's format.
    ///
    /// Whoever opens it must hold the data directory's lock: there is one writer, and it is in this process.
    ///
    /// # Errors
    /// Says what is wrong with the file and what to do.
    pub async fn open(path: &Path) -> Result<Store, OpenError> {
        let storage = |source| OpenError::Storage {
            path: path.to_owned(),
            source,
        };
        create(path).map_err(|source| OpenError::Create {
            path: path.to_owned(),
            source,
        })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(PATIENCE);
        let pool = || {
            SqlitePoolOptions::new()
                .acquire_timeout(PATIENCE)
                .idle_timeout(None)
                .max_lifetime(None)
        };
        let writer = pool()
            .max_connections(1)
            .connect_with(options.clone())
            .await
            .map_err(|error| storage(StorageError::of("opening the state")(error)))?;
        check(&writer).await.map_err(storage)?;
        migrate(path, &writer).await?;
        let readers = pool()
            .max_connections(READERS)
            .connect_with(options.pragma("query_only", "1"))
            .await
            .map_err(|error| storage(StorageError::of("opening the state")(error)))?;
        Ok(Store { readers, writer })
    }

    /// Writes what is in the log into the file and closes it.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Begins a change, whose commit survives a power cut. Taking the write lock at once means that a change never fails
    /// halfway for another's.
    pub(crate) async fn change(
        &self,
        doing: &'static str,
    ) -> Result<Transaction<'static, Sqlite>, StorageError> {
        self.begin("PRAGMA synchronous = FULL; BEGIN IMMEDIATE", doing)
            .await
    }

    /// Begins a change that may be lost if the host's power is cut within seconds; never if this process ends. It does
    /// not wait for the disk.
    pub(crate) async fn note(
        &self,
        doing: &'static str,
    ) -> Result<Transaction<'static, Sqlite>, StorageError> {
        self.begin("PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE", doing)
            .await
    }

    async fn begin(
        &self,
        statements: &'static str,
        doing: &'static str,
    ) -> Result<Transaction<'static, Sqlite>, StorageError> {
        self.writer
            .begin_with(statements)
            .await
            .map_err(StorageError::of(doing))
    }
}

fn create(path: &Path) -> std::io::Result<()> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))
}

async fn check(writer: &SqlitePool) -> Result<(), StorageError> {
    const DOING: &str = "checking the state";
    let row = sqlx::query("PRAGMA quick_check(1)")
        .fetch_one(writer)
        .await
        .map_err(StorageError::of(DOING))?;
    let verdict: String = row.try_get(0).map_err(StorageError::of(DOING))?;
    if verdict == "ok" {
        Ok(())
    } else {
        Err(StorageError::damaged(DOING, verdict))
    }
}

async fn migrate(path: &Path, writer: &SqlitePool) -> Result<(), OpenError> {
    let migrations = MIGRATIONS.map(|(version, name, sql)| {
        Migration::new(
            version,
            name.into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    });
    let known = MIGRATIONS[MIGRATIONS.len() - 1].0;
    let path = path.to_owned();
    Migrator::with_migrations(migrations.into())
        .run(writer)
        .await
        .map_err(|error| match error {
            MigrateError::VersionMissing(found) => OpenError::Newer { path, found, known },
            MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => {
                match StorageError::of("bringing the state to this format")(source) {
                    StorageError::Unexpected { source, .. } => OpenError::Foreign {
                        path,
                        detail: source.to_string(),
                    },
                    source => OpenError::Storage { path, source },
                }
            }
            other => OpenError::Foreign {
                path,
                detail: other.to_string(),
            },
        })
}

/// A time as it is stored.
pub(crate) fn to_us(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}

/// A stored time.
pub(crate) fn from_us(doing: &'static str, us: i64) -> Result<DateTime<Utc>, StorageError> {
    DateTime::from_timestamp_micros(us)
        .ok_or_else(|| StorageError::damaged(doing, format!("{us} is no time")))
}

/// A stored number that is never negative.
pub(crate) fn unsigned(doing: &'static str, number: i64) -> Result<u64, StorageError> {
    u64::try_from(number).map_err(|_| StorageError::damaged(doing, format!("{number} is negative")))
}

/// A number on its way into the database, whose integers are signed.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_waits_for_the_disk_also_after_a_note_that_was_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("state.db")).await.unwrap();
        for _ in 0..2 {
            let note = store.note("noting").await.unwrap();
            assert_eq!(synchronous(note).await, 1);
            let change = store.change("changing").await.unwrap();
            assert_eq!(synchronous(change).await, 2);
        }
    }

    async fn synchronous(mut tx: Transaction<'static, Sqlite>) -> i64 {
        sqlx::query_scalar("PRAGMA synchronous")
            .fetch_one(&mut *tx)
            .await
            .unwrap()
    }
}
