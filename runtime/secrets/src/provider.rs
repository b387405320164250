//! What a provider of secrets is: one read of one path gives one lease.
//!
//! The trait is shaped by its hardest case, dynamic credentials of a vault: a read *creates* a database user whose name
//! and password belong together, lives for a while, can be renewed, and is to be revoked when the call ends.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use crate::reference::Scheme;
use crate::value::SecretValue;

/// A place where secrets are kept.
#[async_trait]
pub trait Provider: Send + Sync {
    /// The scheme of the references that it serves.
    fn scheme(&self) -> Scheme;

    /// Reads one path. Called once per path and call; the path is canonical and the policy has granted it.
    ///
    /// # Errors
    /// Never carries a value, neither in the message nor in a source.
    async fn resolve(&self, path: &str) -> Result<Lease, ProviderError>;

    /// Prolongs a lease that said it is renewable, and answers the new terms.
    ///
    /// # Errors
    /// A provider whose leases do not end has nothing to renew.
    async fn renew(&self, terms: &Terms) -> Result<Terms, ProviderError> {
        Err(ProviderError::denied(
            format!("lease {} cannot be renewed", terms.id),
            "start the call again",
        ))
    }

    /// Ends a lease before its time.
    ///
    /// # Errors
    /// The lease then ends by itself after its time to live.
    async fn revoke(&self, terms: &Terms) -> Result<(), ProviderError> {
        let _ = terms;
        Ok(())
    }
}

/// What one read gave.
#[derive(Debug)]
pub struct Lease {
    /// The secret.
    pub content: Content,
    /// Nothing where the secret does not end by itself (environment, files).
    pub terms: Option<Terms>,
}

/// The end of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The provider's name of the lease.
    pub id: String,
    /// How long the secret lives from now.
    pub ttl: Duration,
    /// Whether [`Provider::renew`] may prolong it.
    pub renewable: bool,
}

/// What stands at a path.
#[derive(Debug)]
pub enum Content {
    /// One text; with a key, the text is read as a JSON object.
    Text(SecretValue),
    /// Named fields.
    Fields(BTreeMap<String, SecretValue>),
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
