//! Frames between the daemon and a worker.
//!
//! A frame is a header of two little-endian 32-bit lengths, a protobuf message
//! of that first length, and a body of the second:
//!
//! ```text
//! 0        4        8               8+meta            8+meta+body
//! | meta   | body   | message       | body            |
//! ```
//!
//! This crate does no IO: [`encode()`] makes the bytes that precede a body, and
//! a [`Decoder`] is fed whatever a socket gave. Both ends link it. The decoder
//! believes no length: one above the [limits](MAX_META) is an error before a
//! byte of it is stored.
#![forbid(unsafe_code)]

mod decode;
mod encode;
mod opening;

pub use caisson_proto::worker::v1 as message;
pub use decode::{DecodeError, Decoder};
pub use encode::{EncodeError, encode};
pub use opening::{Opening, OpeningError, OpeningReader};

/// The version that Hello and Start carry; both ends must agree on it.
pub const PROTOCOL_VERSION: u32 = 2;

/// Length of a frame's header in bytes.
pub const HEADER: usize = 8;

/// The largest message in bytes, body excluded. A checkpoint of 1 MiB fits.
pub const MAX_META: usize = 1 << 21;

/// The largest body in bytes: 3.5 MiB of batch, as the public API promises.
pub const MAX_BODY: usize = 3_670_016;

/// The largest state of one checkpoint in bytes, as the public API promises.
pub const MAX_STATE: usize = 1 << 20;

/// The states of all streams and partitions of one call together, in bytes:
/// those that it goes on from, and those of its last checkpoints.
pub const MAX_STATES: usize = 64 << 20;

/// Streams and partitions of one call.
pub const MAX_STREAMS: usize = 10_000;
