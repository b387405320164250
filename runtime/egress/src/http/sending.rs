//! A request on its way to the upstream, which may have to take it twice.

use super::body::{AnyBody, BodyError, text};
use crate::shared::Shared;
use bytes::Bytes;
use http::header::UPGRADE;
use http::{Request, request};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::sync::OwnedSemaphorePermit;

/// Longest body of a request that is held so that it can be sent again, bytes.
const REPEATED: u64 = 1 << 20;

/// A request that is sent once, or as often as the upstream says that it came too soon, or with a token that has ended.
/// It holds placeholders, and no secret.
pub(super) enum Sending {
    /// Not sent yet; whether it may be repeated.
    Fresh(Request<AnyBody>, bool),
    /// Sent, and not to be repeated.
    Gone,
    Again {
        parts: request::Parts,
        body: Bytes,
        _room: Option<[OwnedSemaphorePermit; 2]>,
    },
}

impl Sending {
    /// `repeats`: whether there may be a reason to send it again.
    pub(super) fn of(request: Request<AnyBody>, repeats: bool) -> Self {
        let length = request.body().size_hint().exact();
        let fits = length.is_some_and(|length| length <= REPEATED);
        let upgrades = request.headers().contains_key(UPGRADE);
        Self::Fresh(request, repeats && fits && !upgrades)
    }

    pub(super) fn is_repeatable(&self) -> bool {
        matches!(self, Self::Again { .. })
    }

    /// The request, to be sent now. What is to be repeated is held, as far as the worker's and the daemon's room for such
    /// bodies goes; beyond it is sent once.
    ///
    /// # Errors
    /// Its body broke off.
    pub(super) async fn next(&mut self, shared: &Shared) -> Result<Request<AnyBody>, BodyError> {
        match std::mem::replace(self, Self::Gone) {
            Self::Fresh(request, repeats) => {
                let length = request.body().size_hint().exact().unwrap_or_default();
                let room = match length {
                    0 => Some(None),
                    length => shared.held(length).map(Some),
                };
                let Some(room) = room.filter(|_| repeats) else {
                    return Ok(request);
                };
                let (parts, body) = request.into_parts();
                *self = Self::Again {
                    parts,
                    body: body.collect().await?.to_bytes(),
                    _room: room,
                };
            }
            // Asked for a second time by nobody: what is not repeatable leaves the loop.
            Self::Gone => return Ok(Request::new(text(""))),
            again @ Self::Again { .. } => *self = again,
        }
        let Self::Again { parts, body, .. } = self else {
            return Ok(Request::new(text("")));
        };
        Ok(Request::from_parts(parts.clone(), text(body.clone())))
    }
}
