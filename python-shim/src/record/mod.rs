//! Records as data: kinds, values, conversion, inference, builders, readers.
//!
//! Nothing in here knows Python, sockets or threads, so it is unit-tested
//! without an interpreter (`tests/pure.rs` compiles it a second time).

pub(crate) mod columns;
pub(crate) mod copy_text;
pub(crate) mod decimal;
pub(crate) mod fit;
pub(crate) mod infer;
pub(crate) mod ipc;
pub(crate) mod json;
pub(crate) mod json_schema;
pub(crate) mod json_text;
pub(crate) mod kind;
pub(crate) mod lines;
pub(crate) mod nested;
pub(crate) mod notation;
pub(crate) mod parse;
pub(crate) mod plain;
pub(crate) mod read;
pub(crate) mod time;
pub(crate) mod value;
