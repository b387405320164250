//! What the embedded database answers when it cannot do what it was asked, sorted by what a person can do about it.

/// The database failed. Every message says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The file is damaged or is no database.
    #[error(
        "{doing}: the state file is damaged ({detail}); stop the daemon, then restore the file from a backup, or rescue what can be read with `sqlite3 state.db .recover`, or move it and its -wal and -shm away to start without state"
    )]
    Damaged {
        /// What was being done.
        doing: &'static str,
        /// SQLite's words.
        detail: String,
    },
    /// No space is left.
    #[error("{doing}: no space is left for the state file; free space on its disk and try again")]
    Full {
        /// What was being done.
        doing: &'static str,
    },
    /// Another process holds the file, or the daemon is overloaded.
    #[error("{doing}: the state file is busy; end other programs that have it open, and try again")]
    Busy {
        /// What was being done.
        doing: &'static str,
    },
    /// The file cannot be read or written.
    #[error("{doing}: the state file cannot be used ({detail}); look at its owner, mode and disk")]
    Unusable {
        /// What was being done.
        doing: &'static str,
        /// SQLite's or the system's words.
        detail: String,
    },
    /// Anything else: a fault of this program.
    #[error("{doing}: {source}; this is a fault of Caisson, please report it")]
    Unexpected {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        source: sqlx::Error,
    },
}

impl StorageError {
    /// Sorts an error of the database library. `doing` is a phrase: "reading a checkpoint".
    pub(crate) fn of(doing: &'static str) -> impl Fn(sqlx::Error) -> StorageError {
        move |source| match &source {
            sqlx::Error::Database(error) => {
                // The low byte is the primary result code (https://sqlite.org/rescode.html).
                let code = error
                    .code()
                    .and_then(|code| code.parse::<i32>().ok())
                    .map(|code| code & 0xff);
                let detail = error.message().to_owned();
                match code {
                    Some(11 | 26) => StorageError::Damaged { doing, detail },
                    Some(13) => StorageError::Full { doing },
                    Some(5 | 6) => StorageError::Busy { doing },
                    Some(3 | 8 | 10 | 14) => StorageError::Unusable { doing, detail },
                    _ => StorageError::Unexpected { doing, source },
                }
            }
            sqlx::Error::Io(error) => StorageError::Unusable {
                doing,
                detail: error.to_string(),
            },
            sqlx::Error::PoolTimedOut => StorageError::Busy { doing },
            sqlx::Error::ColumnDecode { index, .. } => StorageError::Damaged {
                doing,
                detail: format!("column {index} holds what it never should"),
            },
            _ => StorageError::Unexpected { doing, source },
        }
    }

    /// A stored text that is not what this program wrote.
    pub(crate) fn damaged(doing: &'static str, detail: impl Into<String>) -> StorageError {
        StorageError::Damaged {
            doing,
            detail: detail.into(),
        }
    }

    /// Whether the same request may succeed later without anybody mending anything.
    pub fn retryable(&self) -> bool {
        matches!(self, StorageError::Busy { .. })
    }
}
