//! The body of an answer, spoiled on its way to the worker.
//!
//! A body that ends before the bytes that `after` names is reset or stalled at its end, unless a length in its head has
//! told the worker already that it was whole. Of one that is truncated nothing is then left to cut.

use super::BodyFault;
use super::trickle::Trickle;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// Why a spoiled body broke off.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken<E> {
    /// The script says so: the connection is to be reset.
    #[error("the fault script resets the connection here")]
    Reset,
    /// The body broke off by itself.
    #[error(transparent)]
    Inner(E),
}

/// A body with a fault in it. Its size hint is that of what it wraps, so that a head keeps the length that it promised.
pub struct Spoiled<B> {
    inner: B,
    state: State,
}

enum State {
    /// So many bytes still pass.
    Until {
        left: u64,
        then: Then,
    },
    /// Nothing passes, for ever where there is no end to it.
    Stalled {
        rest: Bytes,
        until: Option<Pin<Box<Sleep>>>,
        whole: bool,
    },
    /// What was held back passes, and everything after it.
    Rest(Bytes),
    Slow(Trickle),
    /// The first byte is still to come.
    Gzip,
    /// Nothing more comes.
    Over,
}

#[derive(Clone, Copy)]
enum Then {
    Reset,
    End,
    Stall(Option<Duration>),
}

impl<B> Spoiled<B> {
    /// `inner` with `fault` in it. A stall and a slow body are read inside a tokio runtime that has time.
    pub fn new(inner: B, fault: BodyFault) -> Self {
        let state = match fault {
            BodyFault::ResetAfter(left) => State::Until {
                left,
                then: Then::Reset,
            },
            BodyFault::TruncateAfter(left) => State::Until {
                left,
                then: Then::End,
            },
            BodyFault::StallAfter(left, lasting) => State::Until {
                left,
                then: Then::Stall(lasting),
            },
            BodyFault::Slow(rate) => State::Slow(Trickle::new(rate)),
            BodyFault::BrokenGzip => State::Gzip,
        };
        Self { inner, state }
    }
}

impl Then {
    /// The state that comes now, with what was read beyond the place; `whole` if the body has ended there.
    fn strike(self, rest: Bytes, whole: bool) -> State {
        match self {
            Self::Reset | Self::End => State::Over,
            Self::Stall(lasting) => {
                let until = lasting.map(|lasting| Box::pin(sleep(lasting)));
                State::Stalled { rest, until, whole }
            }
        }
    }
}

type Polled<E> = Poll<Option<Result<Frame<Bytes>, Broken<E>>>>;

impl<B: Body<Data = Bytes> + Unpin> Spoiled<B> {
    fn poll_inner(&mut self, context: &mut Context<'_>) -> Polled<B::Error> {
        Pin::new(&mut self.inner)
            .poll_frame(context)
            .map(|frame| frame.map(|frame| frame.map_err(Broken::Inner)))
    }

    fn poll_until(&mut self, context: &mut Context<'_>, left: u64, then: Then) -> Polled<B::Error> {
        let reset = || Poll::Ready(Some(Err(Broken::Reset)));
        if left == 0 {
            self.state = then.strike(Bytes::new(), false);
            return if matches!(then, Then::Reset) {
                reset()
            } else {
                self.poll(context)
            };
        }
        match ready!(self.poll_inner(context)) {
            None => {
                self.state = then.strike(Bytes::new(), true);
                if matches!(then, Then::Reset) {
                    reset()
                } else {
                    self.poll(context)
                }
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(mut data) => {
                    let passes = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
                    let now = data.split_to(passes);
                    let left = left - passes as u64;
                    self.state = match then {
                        Then::Stall(_) if left == 0 && !data.is_empty() => then.strike(data, false),
                        _ => State::Until { left, then },
                    };
                    Poll::Ready(Some(Ok(Frame::data(now))))
                }
                Err(trailers) => Poll::Ready(Some(Ok(trailers))),
            },
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Polled<B::Error> {
        match &mut self.state {
            State::Until { left, then } => {
                let (left, then) = (*left, *then);
                self.poll_until(context, left, then)
            }
            State::Stalled { rest, until, whole } => {
                let Some(until) = until else {
                    return Poll::Pending;
                };
                ready!(until.as_mut().poll(context));
                self.state = if *whole {
                    State::Over
                } else {
                    State::Rest(std::mem::take(rest))
                };
                self.poll(context)
            }
            State::Rest(rest) if !rest.is_empty() => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(rest)))))
            }
            State::Rest(_) => self.poll_inner(context),
            State::Slow(trickle) => {
                if trickle.is_empty() {
                    match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                        Some(Ok(frame)) => match frame.into_data() {
                            Ok(data) => trickle.hold(data),
                            Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                        },
                        other => {
                            return Poll::Ready(other.map(|frame| frame.map_err(Broken::Inner)));
                        }
                    }
                }
                trickle
                    .poll_piece(context)
                    .map(|piece| Some(Ok(Frame::data(piece))))
            }
            State::Gzip => match ready!(self.poll_inner(context)) {
                Some(Ok(frame)) => Poll::Ready(Some(Ok(frame.map_data(|data| {
                    if !data.is_empty() {
                        self.state = State::Rest(Bytes::new());
                    }
                    without_magic(&data)
                })))),
                other => Poll::Ready(other),
            },
            State::Over => Poll::Ready(None),
        }
    }
}

/// The same bytes but for the first, with which every gzip begins (RFC 1952, 2.3.1): as many, so that a length stays true.
fn without_magic(data: &[u8]) -> Bytes {
    let mut data = data.to_vec();
    if let Some(first) = data.first_mut() {
        *first = 0;
    }
    data.into()
}

impl<B: Body<Data = Bytes> + Unpin> Body for Spoiled<B> {
    type Data = Bytes;
    type Error = Broken<B::Error>;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled<B::Error> {
        self.poll(context)
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Until {
                then: Then::Reset | Then::Stall(_),
                ..
            }
            | State::Stalled { .. } => false,
            State::Until { .. } | State::Gzip => self.inner.is_end_stream(),
            State::Rest(rest) => rest.is_empty() && self.inner.is_end_stream(),
            State::Slow(trickle) => trickle.is_empty() && self.inner.is_end_stream(),
            State::Over => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        let held = match &self.state {
            State::Stalled { rest, .. } | State::Rest(rest) => rest.len(),
            State::Slow(trickle) => trickle.len(),
            State::Until { .. } | State::Gzip | State::Over => 0,
        } as u64;
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + held);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + held);
        }
        hint
    }
}

impl<B: fmt::Debug> fmt::Debug for Spoiled<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spoiled")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
