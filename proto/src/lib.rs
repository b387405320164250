//! Caisson's protocol, generated from the `.proto` files beside this crate.
//!
//! [`v1`] is the public API (services under the `grpc` feature); [`worker::v1`]
//! is what the daemon and a worker say to each other. Nothing here is written
//! by hand: the `.proto` files are the manual.
#![forbid(unsafe_code)]
#![allow(missing_docs, clippy::all, unreachable_pub, rustdoc::all)]

/// The public API, `caisson.v1`.
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/caisson.v1.rs"));
}

/// Between the daemon and a worker.
pub mod worker {
    /// Version 1, `caisson.worker.v1`.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/caisson.worker.v1.rs"));
    }
}

/// Every file above as an encoded `google.protobuf.FileDescriptorSet`, for
/// gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
