//! The record of calls: what ran, how it ended, and which request it was, so that a repeated request finds its call.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{Sqlite, Transaction};

use crate::connections::get;
use crate::page::{self, Bound, Page};
use crate::record::{Begun, CallFilter, CallRecord, CallState, Ending, NewCall, Retention};
use crate::storage::StorageError;
use crate::store::{Store, from_us, to_us};

/// A call was not recorded or found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// There is no record of it.
    #[error("there is no call {0:?}; list the calls (old ones are forgotten)")]
    Unknown(String),
    /// It has ended already; the first ending stands.
    #[error("call {call_id} has ended already: {state}")]
    Ended {
        /// The call.
        call_id: String,
        /// How it ended.
        state: CallState,
    },
    /// A call cannot end as running.
    #[error("call {0} cannot end as running; write succeeded, failed or cancelled")]
    NotAnEnding(String),
    /// No such state.
    #[error("no state of a call is called {0:?}; write running, succeeded, failed or cancelled")]
    UnknownState(String),
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
            "SELECT call_id, request_id, fingerprint, tenant, workspace, kind, connection, connector, started_us, ",
            "state, ended_us, summary, failure FROM calls ",
            $rest
        )
    };
}

/// The record of calls. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Calls {
    store: Store,
}

impl Calls {
    /// The calls of a store.
    pub fn new(store: &Store) -> Calls {
        Calls {
            store: store.clone(),
        }
    }

    /// Records a call as running, unless its request was made before and something of that call ran. A request id is
    /// free again where that call ended before `requests_since`.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn begin(
        &self,
        call: &NewCall,
        requests_since: DateTime<Utc>,
    ) -> Result<Begun, CallError> {
        const DOING: &str = "recording a call";
        let mut tx = self.begin_note(call.request_id.is_some(), DOING).await?;
        if let Some(request_id) = &call.request_id {
            sqlx::query(
                "UPDATE calls SET released = 1 WHERE tenant = ?1 AND workspace = ?2 AND request_id = ?3 AND released = 0
                 AND state <> 'running' AND ended_us < ?4",
            )
            .bind(&call.tenant)
            .bind(&call.workspace)
            .bind(request_id)
            .bind(to_us(requests_since))
            .execute(&mut *tx)
            .await
            .map_err(StorageError::of(DOING))?;
            let row = sqlx::query(select!(
                "WHERE tenant = ?1 AND workspace = ?2 AND request_id = ?3 AND released = 0"
            ))
            .bind(&call.tenant)
            .bind(&call.workspace)
            .bind(request_id)
            .fetch_optional(&mut *tx)
            .await
            .map_err(StorageError::of(DOING))?;
            if let Some(row) = row {
                let record = Box::new(read(DOING, &row)?);
                let same =
                    record.call.kind == call.kind && record.call.fingerprint == call.fingerprint;
                return Ok(if same {
                    Begun::Existing(record)
                } else {
                    Begun::Reused(record)
                });
            }
        }
        sqlx::query(
            "INSERT INTO calls (call_id, request_id, fingerprint, tenant, workspace, kind, connection, connector, state, started_us)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'running', ?9)",
        )
        .bind(&call.call_id)
        .bind(&call.request_id)
        .bind(&call.fingerprint)
        .bind(&call.tenant)
        .bind(&call.workspace)
        .bind(&call.kind)
        .bind(&call.connection)
        .bind(&call.connector)
        .bind(to_us(call.started))
        .execute(&mut *tx)
        .await
        .map_err(StorageError::of(DOING))?;
        tx.commit().await.map_err(StorageError::of(DOING))?;
        Ok(Begun::New)
    }

    /// Records how a call ended. The first ending stands.
    ///
    /// # Errors
    /// [`CallError::Ended`] where it had ended, [`CallError::Unknown`] where it never began.
    pub async fn finish(&self, call_id: &str, ending: &Ending) -> Result<(), CallError> {
        const DOING: &str = "recording the end of a call";
        if ending.state == CallState::Running {
            return Err(CallError::NotAnEnding(call_id.to_owned()));
        }
        let mut tx = self.begin_note(ending.requested, DOING).await?;
        let done = sqlx::query(
            "UPDATE calls SET state = ?2, ended_us = ?3, summary = ?4, failure = ?5, released = ?6, connector = ?7 WHERE call_id = ?1 AND state = 'running'",
        )
        .bind(call_id)
        .bind(ending.state.as_str())
        .bind(to_us(ending.ended))
        .bind(ending.summary.as_ref().map(Value::to_string))
        .bind(ending.failure.as_ref().map(Value::to_string))
        .bind(ending.released)
        .bind(&ending.connector)
        .execute(&mut *tx)
        .await
        .map_err(StorageError::of(DOING))?;
        tx.commit().await.map_err(StorageError::of(DOING))?;
        if done.rows_affected() == 1 {
            return Ok(());
        }
        let state = self.get(call_id).await?.state;
        Err(CallError::Ended {
            call_id: call_id.to_owned(),
            state,
        })
    }

    /// A request id is held to after a power cut too. Of other calls only the record would be lost, which nobody is
    /// answered with.
    async fn begin_note(
        &self,
        requested: bool,
        doing: &'static str,
    ) -> Result<Transaction<'static, Sqlite>, StorageError> {
        if requested {
            self.store.change(doing).await
        } else {
            self.store.note(doing).await
        }
    }

    /// One call.
    ///
    /// # Errors
    /// [`CallError::Unknown`].
    pub async fn get(&self, call_id: &str) -> Result<CallRecord, CallError> {
        const DOING: &str = "reading a call";
        let row = sqlx::query(select!("WHERE call_id = ?1"))
            .bind(call_id)
            .fetch_optional(&self.store.readers)
            .await
            .map_err(StorageError::of(DOING))?;
        match row {
            Some(row) => Ok(read(DOING, &row)?),
            None => Err(CallError::Unknown(call_id.to_owned())),
        }
    }

    /// A page of calls, the newest first; `token` is what the page before gave.
    ///
    /// # Errors
    /// [`CallError::PageToken`] for a token that no page gave.
    pub async fn list(
        &self,
        filter: &CallFilter,
        bound: Bound,
        token: Option<&str>,
    ) -> Result<Page<CallRecord>, CallError> {
        const DOING: &str = "listing calls";
        let after = token.map(parse_token).transpose()?;
        let workspaces = filter.workspaces.as_ref();
        let rows = sqlx::query(select!(
            "WHERE (?1 IS NULL OR tenant = ?1) AND (?2 IS NULL OR workspace IN (SELECT value FROM json_each(?2)))
             AND (?3 IS NULL OR state = ?3) AND (?4 IS NULL OR (started_us, call_id) < (?4, ?5))
             ORDER BY started_us DESC, call_id DESC"
        ))
        .bind(&filter.tenant)
        .bind(workspaces.map(|names| Value::from(names.clone()).to_string()))
        .bind(filter.state.map(CallState::as_str))
        .bind(after.as_ref().map(|(started, _)| *started))
        .bind(after.as_ref().map(|(_, call_id)| call_id))
        .fetch(&self.store.readers);
        let token =
            |last: &CallRecord| format!("{}.{}", to_us(last.call.started), last.call.call_id);
        let read = |row: &SqliteRow| Ok((read(DOING, row)?, size(DOING, row)?));
        Ok(page::fill(DOING, rows, bound, read, token).await?)
    }

    /// Ends the calls that a daemon left running when it died, and names them. To be called once, before the first call.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn fail_abandoned(
        &self,
        failure: &Value,
        now: DateTime<Utc>,
    ) -> Result<Vec<String>, CallError> {
        const DOING: &str = "ending abandoned calls";
        let mut tx = self.store.change(DOING).await?;
        let rows = sqlx::query("UPDATE calls SET state = 'failed', ended_us = ?1, failure = ?2 WHERE state = 'running' RETURNING call_id")
            .bind(to_us(now))
            .bind(failure.to_string())
            .fetch_all(&mut *tx)
            .await
            .map_err(StorageError::of(DOING))?;
        tx.commit().await.map_err(StorageError::of(DOING))?;
        Ok(rows
            .iter()
            .map(|row| get(DOING, row, 0))
            .collect::<Result<_, _>>()?)
    }

    /// Forgets what [`Retention`] does not keep; running calls stay. Tells how many.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn prune(&self, retention: &Retention) -> Result<u64, CallError> {
        const DOING: &str = "forgetting old calls";
        let mut tx = self.store.change(DOING).await?;
        let done = sqlx::query(
            "DELETE FROM calls WHERE state <> 'running' AND NOT (request_id IS NOT NULL AND released = 0 AND ended_us >= ?3)
             AND (ended_us < ?1
              OR call_id IN (SELECT call_id FROM calls ORDER BY started_us DESC, call_id DESC LIMIT -1 OFFSET ?2))",
        )
        .bind(to_us(retention.ended_since))
        .bind(retention.newest)
        .bind(to_us(retention.requests_since))
        .execute(&mut *tx)
        .await
        .map_err(StorageError::of(DOING))?;
        tx.commit().await.map_err(StorageError::of(DOING))?;
        Ok(done.rows_affected())
    }
}

fn parse_token(token: &str) -> Result<(i64, String), CallError> {
    let (started, call_id) = token.split_once('.').ok_or(CallError::PageToken)?;
    Ok((
        started.parse().map_err(|_| CallError::PageToken)?,
        call_id.to_owned(),
    ))
}

/// Bytes of what of a call may be large.
fn size(doing: &'static str, row: &SqliteRow) -> Result<usize, StorageError> {
    let mut bytes = 0;
    for index in [1, 6, 7, 11, 12] {
        let text: Option<String> = get(doing, row, index)?;
        bytes += text.map_or(0, |text| text.len());
    }
    Ok(bytes + 256)
}

fn read(doing: &'static str, row: &SqliteRow) -> Result<CallRecord, StorageError> {
    let call_id: String = get(doing, row, 0)?;
    let json = |index| -> Result<Option<Value>, StorageError> {
        let text: Option<String> = get(doing, row, index)?;
        let parse = |text: String| {
            serde_json::from_str(&text)
                .map_err(|error| StorageError::damaged(doing, format!("call {call_id}: {error}")))
        };
        text.map(parse).transpose()
    };
    let state: String = get(doing, row, 9)?;
    let state = state
        .parse()
        .map_err(|error: CallError| StorageError::damaged(doing, error.to_string()))?;
    let ended: Option<i64> = get(doing, row, 10)?;
    Ok(CallRecord {
        state,
        ended: ended.map(|us| from_us(doing, us)).transpose()?,
        summary: json(11)?,
        failure: json(12)?,
        call: NewCall {
            request_id: get(doing, row, 1)?,
            fingerprint: get(doing, row, 2)?,
            tenant: get(doing, row, 3)?,
            workspace: get(doing, row, 4)?,
            kind: get(doing, row, 5)?,
            connection: get(doing, row, 6)?,
            connector: get(doing, row, 7)?,
            started: from_us(doing, get(doing, row, 8)?)?,
            call_id,
        },
    })
}
