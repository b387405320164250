//! A request on its way to the upstream, which may have to take it twice.

use super::body::{AnyBody, BodyError, text};
use crate::policy::OnThrottle;
use bytes::Bytes;
use http::header::UPGRADE;
use http::{Request, request};
use http_body::Body;
use http_body_util::BodyExt;

/// Longest body of a request that is held so that it can be sent again, bytes.
const REPEATED: u64 = 1 << 20;

/// A request that is sent once, or as often as the upstream says that it came too soon.
pub(super) enum Sending {
    Once(Option<Request<AnyBody>>),
    Again(request::Parts, Bytes),
}

impl Sending {
    /// Whatever is to be repeated is held, up to [`REPEATED`] bytes.
    pub(super) async fn of(
        request: Request<AnyBody>,
        on_429: OnThrottle,
    ) -> Result<Self, BodyError> {
        let length = request.body().size_hint().exact();
        let fits = length.is_some_and(|length| length <= REPEATED);
        let upgrades = request.headers().contains_key(UPGRADE);
        if on_429 != OnThrottle::Retry || !request.method().is_idempotent() || !fits || upgrades {
            return Ok(Self::Once(Some(request)));
        }
        let (parts, body) = request.into_parts();
        Ok(Self::Again(parts, body.collect().await?.to_bytes()))
    }

    pub(super) fn is_repeatable(&self) -> bool {
        matches!(self, Self::Again(..))
    }

    pub(super) fn next(&mut self) -> Request<AnyBody> {
        match self {
            // Asked for a second time by nobody: what is not repeatable leaves the loop.
            Self::Once(request) => request.take().unwrap_or_else(|| Request::new(text(""))),
            Self::Again(parts, body) => Request::from_parts(parts.clone(), text(body.clone())),
        }
    }
}
