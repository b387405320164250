//! `caisson._native`: what a worker does that Python is too slow or too late
//! for.
//!
//! The lock (the final seccomp filter), the channel to the daemon, the encoder
//! of records, the decoder for destinations, the HTTP transport, and pages of
//! JSON records that go from it to the encoder.
//! `record` is the larger part and knows no Python. `unsafe` stands where a
//! descriptor is received, where Arrow's C structures change hands, in the walk
//! over dicts, where an answer's text is borrowed and where its strings are
//! scanned, and around the forks of a zygote; nowhere else.

mod batch;
mod capsule;
mod channel;
mod emit;
mod http;
mod lock;
mod page;
mod python;
mod record;
mod schema;
mod trail;
mod zygote;

/// The module; its stub is `_native.pyi`.
#[pyo3::pymodule]
mod _native {
    #[pymodule_export]
    use crate::{
        batch::RecordBatch,
        channel::Channel,
        emit::Emitter,
        http::{HttpTransport, TransportError},
        lock::lock,
        page::{Json, Page},
        schema::ArrowSchema,
        trail::{Track, Trail},
        zygote::serve_forks,
    };

    #[pymodule_export]
    const PROTOCOL_VERSION: u32 = caisson_wire::PROTOCOL_VERSION;

    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
}
