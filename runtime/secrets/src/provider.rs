//! What a provider of secrets is: a session for one call, in which paths are read once each.
//!
//! The traits are shaped by their hardest case, a vault: for each call there is a token of its own, a read may *create* a
//! database user whose name and password belong together, both are prolonged while the call lasts, and both end with it.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::entry::Entry;
use crate::reference::Scheme;
use crate::value::SecretValue;

/// A place where secrets are kept.
#[async_trait]
pub trait Provider: Send + Sync {
    /// The scheme of the references that it serves.
    fn scheme(&self) -> Scheme;

    /// Opens what one call reads through. Asked at most once per call, and only when the policy has granted a reference
    /// of this scheme. The future may be dropped before it ends: what it opened until then must end all the same.
    ///
    /// # Errors
    /// Never carries a value, neither in the message nor in a source.
    async fn open(&self, call: &str) -> Result<Box<dyn Session>, ProviderError>;
}

/// What one call has open at one provider. Dropped without [`Session::close`], it sees to its end by itself, as well as
/// it can.
#[async_trait]
pub trait Session: Send + Sync {
    /// Reads one path. Called once per path; the path is canonical and the policy has granted it.
    ///
    /// # Errors
    /// Never carries a value, neither in the message nor in a source.
    async fn read(&mut self, path: &str) -> Result<Content, ProviderError>;

    /// When [`Session::renew`] is to be called next; nothing where there is nothing to prolong.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// When what was read ends unless it is prolonged; nothing where it does not end by itself (environment, files).
    fn ends(&self) -> Option<Instant> {
        None
    }

    /// The shortest life of what was read, as it was granted; nothing where it does not end by itself.
    fn lease(&self) -> Option<Lease> {
        None
    }

    /// Prolongs all that was read. Afterwards [`Session::due`] and [`Session::ends`] tell the new times.
    ///
    /// # Errors
    /// What could not be prolonged ends at [`Session::ends`], which moves no further than what was prolonged.
    async fn renew(&mut self) -> Result<(), ProviderError> {
        Ok(())
    }

    /// Reads a whole entry, so that it can be written back.
    ///
    /// # Errors
    /// As [`Session::read`]; besides, what cannot be written back.
    async fn entry(&mut self, path: &str) -> Result<Entry, ProviderError> {
        Err(unstorable(path))
    }

    /// Writes an entry back, if nobody wrote it since it was read. Whether it was written.
    ///
    /// # Errors
    /// It may have been written, where the provider did not answer.
    async fn store(&mut self, path: &str, _: &Entry) -> Result<bool, ProviderError> {
        Err(unstorable(path))
    }

    /// Ends all that was read, before its time.
    ///
    /// # Errors
    /// It could not be ended now; it ends by itself, or by the provider's later attempts.
    async fn close(&mut self) -> Result<(), ProviderError> {
        Ok(())
    }
}

fn unstorable(path: &str) -> ProviderError {
    ProviderError::malformed(
        format!("nothing can be stored at {path}"),
        "keep it in a KV store of version 2 (vault:MOUNT/data/NAME#KEY); a refresh token that the service does not replace may stay, with rotates: false in the policy",
    )
}

/// How long something that was read lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// From when it was read, unless it is prolonged.
    pub life: Duration,
    /// It can be prolonged.
    pub renewable: bool,
}

/// What stands at a path.
#[derive(Debug)]
pub enum Content {
    /// One text; with a key, the text is read as a JSON object.
    Text(SecretValue),
    /// Named fields; nothing for one that is there and is no text (an object, a list, null). What is not asked for has no
    /// memory of its own.
    Fields(BTreeMap<String, Option<Zeroizing<Box<str>>>>),
    /// One text, whatever the key.
    Same(SecretValue),
}

/// What a caller can do about a failed read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderFault {
    /// Nothing is at that path.
    NotFound,
    /// The provider, or the provider's fence, does not allow it.
    Denied,
    /// What is there is no secret that can be used.
    Malformed,
    /// The provider did not answer; the same read may succeed later.
    Unavailable,
}

/// Why a read failed, in words that name no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {help}")]
pub struct ProviderError {
    /// What kind of failure it is.
    pub fault: ProviderFault,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

impl ProviderError {
    /// Nothing is at that path.
    pub fn not_found(message: impl Into<String>, help: impl Into<String>) -> ProviderError {
        ProviderError {
            fault: ProviderFault::NotFound,
            message: message.into(),
            help: help.into(),
        }
    }

    /// It is there and may not be read.
    pub fn denied(message: impl Into<String>, help: impl Into<String>) -> ProviderError {
        ProviderError {
            fault: ProviderFault::Denied,
            message: message.into(),
            help: help.into(),
        }
    }

    /// It was read and is no usable secret.
    pub fn malformed(message: impl Into<String>, help: impl Into<String>) -> ProviderError {
        ProviderError {
            fault: ProviderFault::Malformed,
            message: message.into(),
            help: help.into(),
        }
    }

    /// The provider did not answer.
    pub fn unavailable(message: impl Into<String>, help: impl Into<String>) -> ProviderError {
        ProviderError {
            fault: ProviderFault::Unavailable,
            message: message.into(),
            help: help.into(),
        }
    }

    /// Whether the same read may succeed later.
    pub fn retryable(&self) -> bool {
        self.fault == ProviderFault::Unavailable
    }
}
