//! State: checkpoints, connections, calls and the registry, on the disk of one daemon.
//!
//! The crate stores and compares; it never interprets a checkpoint or a manifest, and it holds no value of a secret.
//! Times are passed in, so that what is stored can be tested.
#![forbid(unsafe_code)]

mod calls;
mod checkpoints;
mod connections;
mod nearest;
mod page;
mod record;
mod registry;
mod storage;
mod store;
mod writers;

pub use calls::{CallError, Calls};
pub use checkpoints::{
    CheckpointError, Checkpoints, Commit, KEEP_ALWAYS, KEEP_AT_MOST, KEEP_FOR, MAX_STATE_BYTES,
    NewCheckpoint, StateKey, StoredCheckpoint,
};
pub use connections::{
    ConnectionError, Connections, Expected, MAX_CONNECTION_BYTES, StoredConnection,
};
pub use page::{Bound, Page};
pub use record::{Begun, CallFilter, CallRecord, CallState, Ending, NewCall, Retention};
pub use registry::{Digest, Entry, Pin, Publication, Published, Registry, RegistryError, Yanked};
pub use storage::StorageError;
pub use store::{OpenError, Store};
pub use writers::{Held, Scope, WriterGuard, Writers};
