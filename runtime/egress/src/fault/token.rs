//! A token that expires in the middle: what was seen first is refused later, what replaces it passes.

use super::{Answer, RequestFault};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

/// The credential that was seen first, as a keyed hash: a value is a secret, and nobody needs it back.
#[derive(Debug, Default)]
pub(super) struct FirstSeen {
    keys: RandomState,
    first: OnceLock<u64>,
}

impl FirstSeen {
    /// Whether `authorization` is the first that was ever shown here.
    pub(super) fn is(&self, authorization: &[u8]) -> bool {
        let hash = self.keys.hash_one(authorization);
        *self.first.get_or_init(|| hash) == hash
    }
}

/// What a server says of an expired bearer token (RFC 6750, 3.1).
pub(super) fn expired() -> RequestFault {
    let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
    RequestFault::Answer(Answer {
        status: StatusCode::UNAUTHORIZED,
        headers: vec![
            (WWW_AUTHENTICATE, challenge),
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        ],
        body: Bytes::from_static(b"{\"error\":\"invalid_token\"}"),
    })
}
