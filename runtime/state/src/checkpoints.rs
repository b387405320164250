//! Checkpoints: where a later Read resumes. A commit is a compare-and-swap on the revision; history is kept.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::sqlite::SqliteRow;
use sqlx::{Sqlite, Transaction};
use tokio_stream::StreamExt;

use crate::connections::{Expected, get};
use crate::page::{self, Bound, Page};
use crate::storage::StorageError;
use crate::store::{Store, from_us, signed, to_us, unsigned};

/// The largest state of a stream, in bytes.
pub const MAX_STATE_BYTES: usize = 1024 * 1024;

/// So many checkpoints of a key are always kept.
pub const KEEP_ALWAYS: u64 = 100;

/// So many are kept at most, however young.
pub const KEEP_AT_MOST: u64 = 1000;

/// Between the two, those younger than this are kept.
pub const KEEP_FOR: TimeDelta = TimeDelta::days(7);

/// The key of state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateKey {
    /// The workspace.
    pub workspace: String,
    /// A stored connection's name or the state key of an inline one.
    pub state_key: String,
    /// The stream.
    pub stream: String,
    /// The partition; empty where the stream has none.
    pub partition: String,
}

/// A checkpoint that became durable at its destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCheckpoint {
    /// Unique within the call.
    pub id: String,
    /// The call that made it, or committed it.
    pub call_id: String,
    /// The version of the format of `state`, as the connector declares it.
    pub format: String,
    /// Opaque.
    pub state: Vec<u8>,
    /// Records of this stream and partition before it, in its call.
    pub records: u64,
    /// The stream is complete at it.
    pub last: bool,
}

/// A checkpoint as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// Whose it is.
    pub key: StateKey,
    /// Grows by one with every commit; never repeats for a key, also not after [`Checkpoints::clear`].
    pub revision: u64,
    /// When it was committed.
    pub committed: DateTime<Utc>,
    /// What was committed.
    pub checkpoint: NewCheckpoint,
}

/// What a commit came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commit {
    /// It is stored.
    Committed {
        /// Its revision.
        revision: u64,
    },
    /// Somebody else committed since; nothing was changed.
    Conflict {
        /// What is there; nothing where there is no checkpoint.
        current: Option<Box<StoredCheckpoint>>,
    },
}

/// A checkpoint was not read or stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// More than [`MAX_STATE_BYTES`].
    #[error(
        "the checkpoint of stream {stream:?} has {bytes} bytes, more than {MAX_STATE_BYTES}; keep a cursor in it, not data"
    )]
    TooLarge {
        /// The stream.
        stream: String,
        /// The size of its state.
        bytes: usize,
    },
    /// The states asked for have more bytes together than the limit given.
    #[error("the checkpoints have more than {limit} bytes together")]
    TooLargeTogether {
        /// What was allowed.
        limit: usize,
    },
    /// The page token is none of ours.
    #[error("the page token is not one that a page gave; begin again without a token")]
    PageToken,
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT h.workspace, h.state_key, h.stream, h.partition, c.revision, c.committed_us, c.checkpoint_id, ",
            "c.call_id, c.format, c.state, c.records, c.final FROM checkpoint_heads h JOIN checkpoints c ON c.head = h.id ",
            $rest
        )
    };
}

/// The stored checkpoints. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    store: Store,
}

impl Checkpoints {
    /// The checkpoints of a store.
    pub fn new(store: &Store) -> Checkpoints {
        Checkpoints {
            store: store.clone(),
        }
    }

    /// Stores a checkpoint if what is there is what the caller last saw.
    ///
    /// The same commit repeated (the answer to the first was lost) is answered like the first: where the current
    /// checkpoint directly follows the expected one and has the same id, call and state, nothing is changed.
    ///
    /// # Errors
    /// A conflict is no error but [`Commit::Conflict`].
    pub async fn commit(
        &self,
        key: &StateKey,
        new: &NewCheckpoint,
        expected: Expected,
        now: DateTime<Utc>,
    ) -> Result<Commit, CheckpointError> {
        const DOING: &str = "committing a checkpoint";
        if new.state.len() > MAX_STATE_BYTES {
            return Err(CheckpointError::TooLarge {
                stream: key.stream.clone(),
                bytes: new.state.len(),
            });
        }
        let mut tx = self.store.change(DOING).await?;
        let head = head(DOING, &mut tx, key).await?;
        let current = match &head {
            Some(head) if !head.cleared => current(DOING, &mut tx, head).await?,
            _ => None,
        };
        if !expected.holds(current.as_ref().map(|current| current.revision)) {
            return Ok(match current {
                Some(current) if is_repetition(&current, new, expected, head.as_ref()) => {
                    Commit::Committed {
                        revision: current.revision,
                    }
                }
                current => Commit::Conflict {
                    current: current.map(Box::new),
                },
            });
        }
        let revision = head.as_ref().map_or(0, |head| head.revision) + 1;
        let id = set_head(DOING, &mut tx, key, revision).await?;
        insert(DOING, &mut tx, id, revision, new, now).await?;
        prune(DOING, &mut tx, id, revision, now).await?;
        tx.commit().await.map_err(StorageError::of(DOING))?;
        Ok(Commit::Committed { revision })
    }

    /// The current checkpoint of a key.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn get(&self, key: &StateKey) -> Result<Option<StoredCheckpoint>, CheckpointError> {
        Ok(self.history(key, 1).await?.into_iter().next())
    }

    /// What was committed for a key, the newest first.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn history(
        &self,
        key: &StateKey,
        at_most: u32,
    ) -> Result<Vec<StoredCheckpoint>, CheckpointError> {
        const DOING: &str = "reading checkpoints";
        let sql = select!(
            "WHERE h.workspace = ?1 AND h.state_key = ?2 AND h.stream = ?3 AND h.partition = ?4
             ORDER BY c.revision DESC LIMIT ?5"
        );
        let rows = sqlx::query(sql)
            .bind(&key.workspace)
            .bind(&key.state_key)
            .bind(&key.stream)
            .bind(&key.partition)
            .bind(at_most)
            .fetch_all(&self.store.readers)
            .await
            .map_err(StorageError::of(DOING))?;
        Ok(rows
            .iter()
            .map(|row| read(DOING, row))
            .collect::<Result<_, _>>()?)
    }

    /// The current checkpoints of every stream and partition of a connection, by stream and partition.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn list(
        &self,
        workspace: &str,
        state_key: &str,
    ) -> Result<Vec<StoredCheckpoint>, CheckpointError> {
        const DOING: &str = "listing checkpoints";
        let sql = select!(
            "AND c.revision = h.revision WHERE h.workspace = ?1 AND h.state_key = ?2 ORDER BY h.stream, h.partition"
        );
        let rows = sqlx::query(sql)
            .bind(workspace)
            .bind(state_key)
            .fetch_all(&self.store.readers)
            .await
            .map_err(StorageError::of(DOING))?;
        Ok(rows
            .iter()
            .map(|row| read(DOING, row))
            .collect::<Result<_, _>>()?)
    }

    /// The current states of a connection by stream and partition, of those that `wanted` says yes to. Never more
    /// than `limit` bytes of them are held.
    ///
    /// # Errors
    /// [`CheckpointError::TooLargeTogether`], or the database.
    pub async fn states(
        &self,
        workspace: &str,
        state_key: &str,
        limit: usize,
        wanted: impl Fn(&str, &str) -> bool,
    ) -> Result<Vec<((String, String), Vec<u8>)>, CheckpointError> {
        const DOING: &str = "reading states";
        let mut rows = sqlx::query(
            "SELECT h.stream, h.partition, c.state FROM checkpoint_heads h \
             JOIN checkpoints c ON c.head = h.id AND c.revision = h.revision \
             WHERE h.workspace = ?1 AND h.state_key = ?2 ORDER BY h.stream, h.partition",
        )
        .bind(workspace)
        .bind(state_key)
        .fetch(&self.store.readers);
        let mut found = Vec::new();
        let mut bytes = 0;
        while let Some(row) = rows
            .next()
            .await
            .transpose()
            .map_err(StorageError::of(DOING))?
        {
            let (stream, partition): (String, String) =
                (get(DOING, &row, 0)?, get(DOING, &row, 1)?);
            if !wanted(&stream, &partition) {
                continue;
            }
            let state: Vec<u8> = get(DOING, &row, 2)?;
            bytes += state.len();
            if bytes > limit {
                return Err(CheckpointError::TooLargeTogether { limit });
            }
            found.push(((stream, partition), state));
        }
        Ok(found)
    }

    /// A page of them; `token` is what the page before gave.
    ///
    /// # Errors
    /// [`CheckpointError::PageToken`] for a token that no page gave.
    pub async fn page(
        &self,
        workspace: &str,
        state_key: &str,
        bound: Bound,
        token: Option<&str>,
    ) -> Result<Page<StoredCheckpoint>, CheckpointError> {
        const DOING: &str = "listing checkpoints";
        let after: Option<(String, String)> = token
            .map(serde_json::from_str)
            .transpose()
            .map_err(|_| CheckpointError::PageToken)?;
        let sql = select!(
            "AND c.revision = h.revision WHERE h.workspace = ?1 AND h.state_key = ?2
             AND (?3 IS NULL OR (h.stream, h.partition) > (?3, ?4)) ORDER BY h.stream, h.partition"
        );
        let rows = sqlx::query(sql)
            .bind(workspace)
            .bind(state_key)
            .bind(after.as_ref().map(|(stream, _)| stream))
            .bind(after.as_ref().map(|(_, partition)| partition))
            .fetch(&self.store.readers);
        let read = |row: &SqliteRow| {
            let stored = read(DOING, row)?;
            let (key, new) = (&stored.key, &stored.checkpoint);
            let names = key.stream.len() + key.partition.len() + new.id.len();
            let size = names + new.state.len() + 128;
            Ok((stored, size))
        };
        let token = |last: &StoredCheckpoint| {
            serde_json::json!([last.key.stream, last.key.partition]).to_string()
        };
        Ok(page::fill(DOING, rows, bound, read, token).await?)
    }

    /// Deletes the checkpoints of a connection with their history, and tells of how many keys.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn clear(&self, workspace: &str, state_key: &str) -> Result<u64, CheckpointError> {
        const DOING: &str = "deleting checkpoints";
        let mut tx = self.store.change(DOING).await?;
        sqlx::query("DELETE FROM checkpoints WHERE head IN (SELECT id FROM checkpoint_heads WHERE workspace = ?1 AND state_key = ?2)")
            .bind(workspace)
            .bind(state_key)
            .execute(&mut *tx)
            .await
            .map_err(StorageError::of(DOING))?;
        let done = sqlx::query("UPDATE checkpoint_heads SET cleared = 1 WHERE workspace = ?1 AND state_key = ?2 AND cleared = 0")
            .bind(workspace)
            .bind(state_key)
            .execute(&mut *tx)
            .await
            .map_err(StorageError::of(DOING))?;
        tx.commit().await.map_err(StorageError::of(DOING))?;
        Ok(done.rows_affected())
    }
}

fn is_repetition(
    current: &StoredCheckpoint,
    new: &NewCheckpoint,
    expected: Expected,
    head: Option<&Head>,
) -> bool {
    let follows = match expected {
        Expected::Any => false,
        Expected::Absent => head.is_some_and(|head| head.first == current.revision),
        Expected::Revision(revision) => current.revision == revision + 1,
    };
    follows && current.checkpoint == *new
}

struct Head {
    id: i64,
    revision: u64,
    cleared: bool,
    /// The oldest revision that is kept: the first one since the key was cleared, unless history was pruned.
    first: u64,
}

type Tx = Transaction<'static, Sqlite>;

async fn head(
    doing: &'static str,
    tx: &mut Tx,
    key: &StateKey,
) -> Result<Option<Head>, StorageError> {
    let row = sqlx::query(
        "SELECT id, revision, cleared, (SELECT coalesce(min(revision), 0) FROM checkpoints WHERE head = id) FROM checkpoint_heads
         WHERE workspace = ?1 AND state_key = ?2 AND stream = ?3 AND partition = ?4",
    )
    .bind(&key.workspace)
    .bind(&key.state_key)
    .bind(&key.stream)
    .bind(&key.partition)
    .fetch_optional(&mut **tx)
    .await
    .map_err(StorageError::of(doing))?;
    row.map(|row| {
        Ok(Head {
            id: get(doing, &row, 0)?,
            revision: unsigned(doing, get(doing, &row, 1)?)?,
            cleared: get(doing, &row, 2)?,
            first: unsigned(doing, get(doing, &row, 3)?)?,
        })
    })
    .transpose()
}

async fn current(
    doing: &'static str,
    tx: &mut Tx,
    head: &Head,
) -> Result<Option<StoredCheckpoint>, StorageError> {
    let row = sqlx::query(select!("WHERE h.id = ?1 AND c.revision = h.revision"))
        .bind(head.id)
        .fetch_optional(&mut **tx)
        .await
        .map_err(StorageError::of(doing))?;
    match row {
        Some(row) => Ok(Some(read(doing, &row)?)),
        None => Err(StorageError::damaged(
            doing,
            format!("revision {} of a checkpoint is missing", head.revision),
        )),
    }
}

async fn set_head(
    doing: &'static str,
    tx: &mut Tx,
    key: &StateKey,
    revision: u64,
) -> Result<i64, StorageError> {
    let row = sqlx::query(
        "INSERT INTO checkpoint_heads (workspace, state_key, stream, partition, revision) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (workspace, state_key, stream, partition) DO UPDATE SET revision = ?5, cleared = 0 RETURNING id",
    )
    .bind(&key.workspace)
    .bind(&key.state_key)
    .bind(&key.stream)
    .bind(&key.partition)
    .bind(signed(revision))
    .fetch_one(&mut **tx)
    .await
    .map_err(StorageError::of(doing))?;
    get(doing, &row, 0)
}

async fn insert(
    doing: &'static str,
    tx: &mut Tx,
    head: i64,
    revision: u64,
    new: &NewCheckpoint,
    now: DateTime<Utc>,
) -> Result<(), StorageError> {
    sqlx::query(
        "INSERT INTO checkpoints (head, revision, checkpoint_id, call_id, format, state, records, final, committed_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )
    .bind(head)
    .bind(signed(revision))
    .bind(&new.id)
    .bind(&new.call_id)
    .bind(&new.format)
    .bind(&new.state)
    .bind(signed(new.records))
    .bind(new.last)
    .bind(to_us(now))
    .execute(&mut **tx)
    .await
    .map_err(StorageError::of(doing))?;
    Ok(())
}

async fn prune(
    doing: &'static str,
    tx: &mut Tx,
    head: i64,
    revision: u64,
    now: DateTime<Utc>,
) -> Result<(), StorageError> {
    sqlx::query("DELETE FROM checkpoints WHERE head = ?1 AND (revision <= ?2 OR (revision <= ?3 AND committed_us < ?4))")
        .bind(head)
        .bind(signed(revision.saturating_sub(KEEP_AT_MOST)))
        .bind(signed(revision.saturating_sub(KEEP_ALWAYS)))
        .bind(to_us(now - KEEP_FOR))
        .execute(&mut **tx)
        .await
        .map_err(StorageError::of(doing))?;
    Ok(())
}

fn read(doing: &'static str, row: &SqliteRow) -> Result<StoredCheckpoint, StorageError> {
    Ok(StoredCheckpoint {
        key: StateKey {
            workspace: get(doing, row, 0)?,
            state_key: get(doing, row, 1)?,
            stream: get(doing, row, 2)?,
            partition: get(doing, row, 3)?,
        },
        revision: unsigned(doing, get(doing, row, 4)?)?,
        committed: from_us(doing, get(doing, row, 5)?)?,
        checkpoint: NewCheckpoint {
            id: get(doing, row, 6)?,
            call_id: get(doing, row, 7)?,
            format: get(doing, row, 8)?,
            state: get(doing, row, 9)?,
            records: unsigned(doing, get(doing, row, 10)?)?,
            last: get(doing, row, 11)?,
        },
    })
}
