//! The part of the native module that knows no Python, compiled once more
//! without it, so that its unit tests run.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test uses a part of the module"
)]

#[path = "../src/record/mod.rs"]
mod record;
