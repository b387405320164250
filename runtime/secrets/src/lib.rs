//! Secrets: references in configs, what policies grant, providers that resolve, and the redactor that keeps values out of
//! everything that leaves a worker.
//!
//! The crate decides and reads; it never writes a value anywhere but into zeroizing memory that it hands to the caller.
#![forbid(unsafe_code)]

mod env;
mod glob;
mod reference;
mod rule;

pub use env::PREFIX as ENV_PREFIX;
pub use glob::Glob;
pub use reference::{MAX_REFERENCE_BYTES, Reference, ReferenceError, Scheme};
pub use rule::{RuleFault, SecretRule};
