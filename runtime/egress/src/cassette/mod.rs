//! Cassettes: recorded HTTP traffic as HAR 1.2 files, and playing them in place of the network.
//!
//! The CDK's client writes and reads the same files (`caisson.testing`), so that a recording by whatever library serves the
//! tests of a connector. `har` is the file, `request` what makes two requests the same, `decoded` undoes codings,
//! `recorder` and `player` are the two ways. Nothing here knows of sockets.

mod decoded;
mod har;
mod hide;
mod player;
mod recorder;
mod request;
#[cfg(test)]
mod tests;

pub(crate) use decoded::{Undecoded, accept_encoding, decoded};
pub(crate) use player::Asked;
pub use player::{Mode, Player};
pub(crate) use recorder::Recorded;
pub use recorder::{Recorder, RecorderConfig};

use std::io;
use std::path::PathBuf;

/// In place of what is not kept.
const HIDDEN: &str = "[secret]";
/// Longest body of either direction, bytes.
pub(crate) const LONGEST: usize = 16 << 20;

/// Why a cassette is not written or read.
#[derive(Debug, thiserror::Error)]
pub enum CassetteError {
    /// The file cannot be read or written.
    #[error("the cassette {path} cannot be {what}: {source}", path = .path.display())]
    Io {
        /// `read` or `written`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// It is no HAR file.
    #[error("{path} is no cassette ({message}); record one with --record {path}", path = .path.display())]
    NoHar {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A pointer that names no value.
    #[error("{0:?} is no place in a JSON body; write a JSON pointer such as /data/*/email")]
    Pointer(String),
    /// A body that is not kept, since a part of it would be no recording.
    #[error("{method} {url}: a body of more than 16 MiB is not recorded; record a smaller request")]
    TooLong {
        /// The request's method.
        method: String,
        /// The request's address, without its query.
        url: String,
    },
    /// A coding that is not undone.
    #[error(
        "{method} {url}: a body in the coding {coding:?} cannot be recorded; use gzip, deflate or identity"
    )]
    Coding {
        /// The request's method.
        method: String,
        /// The request's address, without its query.
        url: String,
        /// The coding.
        coding: String,
    },
    /// A secret in a body that is no text, where nothing can be put in its place.
    #[error(
        "{method} {url}: a body that is no text holds a secret of the call, so it is not recorded"
    )]
    Secret {
        /// The request's method.
        method: String,
        /// The request's address, without its query.
        url: String,
    },
    /// A body that says it is JSON and is none, where values of JSON are to be hidden.
    #[error(
        "{method} {url}: a body that is named JSON cannot be read as such and may hold what is to be hidden, so it is not recorded"
    )]
    Unreadable {
        /// The request's method.
        method: String,
        /// The request's address, without its query.
        url: String,
    },
    /// An answer that came before the request was whole.
    #[error("{method} {url}: it was answered before it was whole, so it is not recorded")]
    Cut {
        /// The request's method.
        method: String,
        /// The request's address, without its query.
        url: String,
    },
}
