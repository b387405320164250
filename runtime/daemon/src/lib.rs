//! The daemon: gRPC services, calls, admission, supervision of workers.
//!
//! [`Daemon::start`] opens the data directory, starts the launcher, binds the
//! API and serves until [`Daemon::shutdown`]. A call goes `serve` (the API's
//! shape) → `call` (what is decided before a worker exists) → `worker` (one
//! worker from its making to its death). This crate puts the others together
//! and isolates nothing by itself: the sandbox does.
#![forbid(unsafe_code)]
#![allow(
    clippy::result_large_err,
    reason = "an error is the end of a call, and tonic's Status is no smaller"
)]

mod bytecode;
mod call;
mod config;
mod core;
mod egress;
mod error;
mod identity;
mod listen;
mod roots;
mod secrets;
mod serve;
mod start;
mod usage;
mod worker;

pub use caisson_egress::{CassetteMode, RecorderConfig};
pub use config::{Config, Listen, Remembered, Slots, Tls, Traffic};
pub use error::{CallError, reason};
pub use identity::{Access, Client, ClientId, Key};
pub use start::{Daemon, StartError, find_python, find_shim};
#[doc(hidden)]
pub use worker::fuzzing;

/// The body of the hidden subcommand `launcher`.
pub use caisson_sandbox::launcher::main as launcher_main;
pub use caisson_sandbox::{Layer, doctor};

/// Lets every user id look into a directory: a root daemon's workers are
/// other users.
pub(crate) fn open_to_all(dir: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755))
}
