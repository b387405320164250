//! Bodies on their way through: counted, never held.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

/// Any body of either direction.
pub(super) type AnyBody = UnsyncBoxBody<Bytes, BodyError>;

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the request's body is malformed: {0}")]
    Malformed(String),
    #[error("the worker broke off in the middle of a body")]
    Gone,
    #[error("the fault script resets the connection in the middle of a body")]
    OnPurpose,
    #[error(
        "the request's body has a sealed secret's placeholder where the policy does not have the value put in"
    )]
    Misplaced,
    #[error("a body is not in the coding that it names: {0}")]
    Coding(std::io::Error),
    #[error("the upstream broke off in the middle of a body: {0}")]
    Upstream(#[from] hyper::Error),
}

/// A text of the gateway's own.
pub(super) fn text(text: impl Into<Bytes>) -> AnyBody {
    Full::new(text.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// Bytes of one direction: of a request, of the connection that it came on, and of the session.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter(Arc<Count>);

#[derive(Debug, Default)]
struct Count {
    own: AtomicU64,
    above: Above,
}

#[derive(Debug, Default)]
enum Above {
    #[default]
    Nothing,
    Sum(Arc<AtomicU64>),
    Meter(Meter),
}

impl Meter {
    /// One whose bytes count in `sum` too.
    pub(super) fn new(sum: &Arc<AtomicU64>) -> Self {
        Self::under(Above::Sum(Arc::clone(sum)))
    }

    /// One whose bytes count here too.
    pub(super) fn part(&self) -> Self {
        Self::under(Above::Meter(self.clone()))
    }

    fn under(above: Above) -> Self {
        let own = AtomicU64::new(0);
        Self(Arc::new(Count { own, above }))
    }

    pub(super) fn add(&self, bytes: usize) {
        self.0.own.fetch_add(bytes as u64, Ordering::Relaxed);
        match &self.0.above {
            Above::Nothing => {}
            Above::Sum(sum) => {
                sum.fetch_add(bytes as u64, Ordering::Relaxed);
            }
            Above::Meter(meter) => meter.add(bytes),
        }
    }

    pub(super) fn get(&self) -> u64 {
        self.0.own.load(Ordering::Relaxed)
    }
}

/// A body whose bytes are counted, and which does something when it is gone: at its end, or broken off.
pub(super) struct Metered<B, F: FnOnce(bool)> {
    inner: B,
    meter: Meter,
    whole: bool,
    after: Option<F>,
}

impl<B: Body, F: FnOnce(bool)> Metered<B, F> {
    /// `after` hears whether the body came to its end.
    pub(super) fn new(inner: B, meter: Meter, after: F) -> Self {
        Self {
            whole: inner.is_end_stream(),
            inner,
            meter,
            after: Some(after),
        }
    }
}

impl<B, F> Body for Metered<B, F>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
    F: FnOnce(bool) + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.inner).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.meter.add(frame.data_ref().map_or(0, Bytes::len));
                this.whole = this.inner.is_end_stream();
            }
            Poll::Ready(None) => this.whole = true,
            _ => {}
        }
        polled.map(|frame| frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B, F: FnOnce(bool)> Drop for Metered<B, F> {
    fn drop(&mut self) {
        if let Some(after) = self.after.take() {
            after(self.whole);
        }
    }
}
