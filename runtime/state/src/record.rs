//! What is recorded of a call.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::CallError;

/// Where a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallState {
    /// It has not ended.
    Running,
    /// It ended well.
    Succeeded,
    /// It ended with a failure.
    Failed,
    /// Somebody ended it.
    Cancelled,
}

impl CallState {
    /// The word in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            CallState::Running => "running",
            CallState::Succeeded => "succeeded",
            CallState::Failed => "failed",
            CallState::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for CallState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CallState {
    type Err = CallError;

    fn from_str(text: &str) -> Result<CallState, CallError> {
        [
            CallState::Running,
            CallState::Succeeded,
            CallState::Failed,
            CallState::Cancelled,
        ]
        .into_iter()
        .find(|state| state.as_str() == text)
        .ok_or_else(|| CallError::UnknownState(text.to_owned()))
    }
}

/// A call that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCall {
    /// Its id, unique for ever.
    pub call_id: String,
    /// The caller's id of the request; nothing where the caller named none.
    pub request_id: Option<String>,
    /// A digest of the request, to tell a repetition from a request id that is used twice.
    pub fingerprint: String,
    /// Who called.
    pub tenant: String,
    /// The workspace.
    pub workspace: String,
    /// `spec`, `test`, `list`, `read`, `write` or `sync`.
    pub kind: String,
    /// The connection's name or state key; empty where there is none.
    pub connection: String,
    /// The connector as it is pinned.
    pub connector: String,
    /// When it began.
    pub started: DateTime<Utc>,
}

/// A call as it is recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct CallRecord {
    /// What began.
    pub call: NewCall,
    /// Where it is.
    pub state: CallState,
    /// When it ended.
    pub ended: Option<DateTime<Utc>>,
    /// What it did.
    pub summary: Option<Value>,
    /// Why it failed.
    pub failure: Option<Value>,
}

/// Whether a call is new.
#[derive(Debug, Clone, PartialEq)]
pub enum Begun {
    /// It is; it is recorded as running.
    New,
    /// The same request was made before: attach to that call or answer its result.
    Existing(Box<CallRecord>),
    /// The request id was used before for another request: refuse it.
    Reused(Box<CallRecord>),
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    /// Not [`CallState::Running`].
    pub state: CallState,
    /// When.
    pub ended: DateTime<Utc>,
    /// What it did.
    pub summary: Option<Value>,
    /// Why it failed.
    pub failure: Option<Value>,
    /// It has a request id.
    pub requested: bool,
    /// Nothing of it ran: its request id is free for the same request, or another.
    pub released: bool,
    /// `name@version` of what ran; empty where that was never known.
    pub connector: String,
}

/// Which calls to list; nothing means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallFilter {
    /// Of one tenant.
    pub tenant: Option<String>,
    /// Of these workspaces.
    pub workspaces: Option<Vec<String>>,
    /// In one state.
    pub state: Option<CallState>,
}

/// Which calls are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Those that ended since then, as far as they are among the newest.
    pub ended_since: DateTime<Utc>,
    /// So many of the newest.
    pub newest: u32,
    /// Whose request id is taken and that ended since then, however many they are: a request id is held to for some time.
    pub requests_since: DateTime<Utc>,
}
