//! Secrets: references in configs, what policies grant, providers that resolve, and the redactor that keeps values out of
//! everything that leaves a worker.
//!
//! The crate decides and reads; it never writes a value anywhere but into zeroizing memory that it hands to the caller.
#![forbid(unsafe_code)]

mod command;
mod config;
mod entry;
mod env;
mod error;
mod field;
mod file;
mod glob;
mod lasting;
mod leases;
mod memory;
mod oauth;
mod provider;
mod redact;
mod reference;
mod resolver;
mod rule;
mod stand_in;
mod value;
mod vault;
mod web;

pub use command::{CommandConfig, CommandConfigFault, CommandProvider};
pub use config::{MARKER, Misplaced, Placed, references, references_as_text, replace};
pub use entry::Entry;
pub use env::{EnvProvider, PREFIX as ENV_PREFIX};
pub use error::{SecretError, SecretFaults};
pub use file::{FileProvider, FileProviderError, MAX_FILE_BYTES};
pub use glob::Glob;
pub use leases::{Ended, Leases};
pub use oauth::{
    AccessToken, Algorithm, ClientAuth, Grant, Held, OAuth2, OWN_PARAMS, Signing, TokenUrl,
    TokenUrlError, Tokens, Told,
};
pub use provider::{Content, Lease, Provider, ProviderError, ProviderFault, Session};
pub use redact::{
    Gap, MARKER as REDACTED, MAX_BYTES as MAX_REDACTED_BYTES, MIN_BYTES as MIN_REDACTED_BYTES,
    Redactor, StreamRedactor,
};
pub use reference::{MAX_REFERENCE_BYTES, Reference, ReferenceError, Scheme};
pub use resolver::{Checked, Had, Resolved, Resolver};
pub use rule::{RuleFault, SecretRule, pointer_of, property};
pub use value::SecretValue;
pub use vault::{
    RevocationDir, Revocations, VaultAuth, VaultConfig, VaultConfigFault, VaultProvider,
};
