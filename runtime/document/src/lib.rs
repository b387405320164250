//! Documents that people write (policies, connector.yaml, connections, daemon
//! configuration), with the place of every value kept, so that a fault says
//! file, line and column.
//!
//! This crate turns text into plain data and data into faults. It reads files
//! where it is told to and touches nothing else: no network, no environment.
//! It never prints a value that it was given, since any value may be a secret;
//! keys, types and lengths are what a fault may show.

#![forbid(unsafe_code)]

mod build;
mod document;
mod expected;
mod fault;
mod json;
mod mark;
mod nearest;
mod scalar;
mod schema;
mod wording;
mod yaml;

pub use document::{Document, MAX_BYTES, ReadError};
pub use fault::{Fault, Faults};
pub use mark::{Mark, join, path_of};
pub use nearest::nearest;
pub use schema::{Schema, SchemaError};
pub use wording::describe;
