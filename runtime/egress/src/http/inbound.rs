//! Requests as they come from a worker over HTTP/1.1: heads, and bodies that are never held whole.

use super::body::{BodyError, Meter};
use super::chunks::{Chunks, Step};
use super::head::{self, Framing, Head, Malformed};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::sync::oneshot;
use tokio_util::io::poll_read_buf;

/// Longest that a head may take from its first byte to its last.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that are read, and how long, behind a request that was refused.
pub(super) const DISCARDED: usize = 4 << 20;
pub(super) const LINGER: Duration = Duration::from_secs(2);
/// Bytes that are read at once.
const ROOM: usize = 32 << 10;

/// The worker's side of a connection, to be read from.
#[derive(Debug)]
pub(super) struct Inbound<R> {
    io: R,
    buffer: BytesMut,
}

/// Why no further request is read.
#[derive(Debug)]
pub(super) enum HeadError {
    Malformed(Malformed),
    Gone,
}

impl<R: AsyncRead + Unpin> Inbound<R> {
    pub(super) fn new(io: R) -> Self {
        Self {
            io,
            buffer: BytesMut::new(),
        }
    }

    /// The next head; `None` where the worker ended the connection between two requests.
    pub(super) async fn head(&mut self) -> Result<Option<Head>, HeadError> {
        if self.buffer.is_empty() && self.more().await.map_err(|_| HeadError::Gone)? == 0 {
            return Ok(None);
        }
        let late = || {
            HeadError::Malformed(Malformed(format!(
                "no whole head within {} s",
                PATIENCE.as_secs()
            )))
        };
        tokio::time::timeout(PATIENCE, self.rest_of_head())
            .await
            .unwrap_or_else(|_| Err(late()))
            .map(Some)
    }

    async fn rest_of_head(&mut self) -> Result<Head, HeadError> {
        loop {
            // A line's end left over from the request before is no part of this one (RFC 9112, 2.2).
            if let Some((head, length)) = head::read(&self.buffer).map_err(HeadError::Malformed)? {
                let _ = self.buffer.split_to(length);
                return Ok(head);
            }
            if self.more().await.map_err(|_| HeadError::Gone)? == 0 {
                return Err(HeadError::Gone);
            }
        }
    }

    /// Returns when the worker has ended its side, or the connection: as other servers do, the gateway takes that for its going
    /// away. What it sent ahead is kept, up to a head's length.
    pub(super) async fn gone(&mut self) {
        loop {
            if self.buffer.len() > head::LONGEST {
                std::future::pending::<()>().await;
            }
            if !matches!(self.more().await, Ok(1..)) {
                return;
            }
        }
    }

    /// Reads what nobody wants, for a while.
    pub(super) async fn discard(&mut self) {
        let discarded = async {
            let mut left = DISCARDED;
            while left > 0 {
                self.buffer.clear();
                match self.more().await {
                    Ok(read @ 1..) => left = left.saturating_sub(read),
                    _ => return,
                }
            }
        };
        // Whatever is there after it is lost with the connection.
        let _ = tokio::time::timeout(LINGER, discarded).await;
    }

    async fn more(&mut self) -> io::Result<usize> {
        self.buffer.reserve(ROOM);
        self.io.read_buf(&mut self.buffer).await
    }

    /// What was read and belongs to no request, and the rest.
    pub(super) fn into_parts(self) -> (Bytes, R) {
        (self.buffer.freeze(), self.io)
    }
}

/// The body of one request. It has the reader, and gives it back when it was read to its end.
#[derive(Debug)]
pub(super) struct InboundBody<R> {
    inbound: Option<Inbound<R>>,
    state: State,
    back: Option<oneshot::Sender<Back<R>>>,
    meter: Meter,
}

/// What comes of a body: the reader for the next request, or why there is none.
pub(super) type Back<R> = Result<Inbound<R>, Malformed>;

#[derive(Debug)]
enum State {
    Length(u64),
    Chunked(Chunks),
}

impl<R: AsyncRead + Unpin> InboundBody<R> {
    pub(super) fn new(
        inbound: Inbound<R>,
        framing: Framing,
        meter: Meter,
    ) -> (Self, oneshot::Receiver<Back<R>>) {
        let (back, returned) = oneshot::channel();
        let mut body = Self {
            inbound: Some(inbound),
            state: match framing {
                Framing::Length(length) => State::Length(length),
                Framing::Chunked => State::Chunked(Chunks::Size),
            },
            back: Some(back),
            meter,
        };
        if body.is_over() {
            body.finish();
        }
        (body, returned)
    }

    fn is_over(&self) -> bool {
        matches!(self.state, State::Length(0) | State::Chunked(Chunks::End))
    }

    fn finish(&mut self) {
        if let (Some(inbound), Some(back)) = (self.inbound.take(), self.back.take()) {
            // Nobody waits for it where the connection is ending.
            let _ = back.send(Ok(inbound));
        }
    }

    /// What can be told from what was read so far.
    fn step(&mut self) -> Result<Step, Malformed> {
        let Some(inbound) = &mut self.inbound else {
            return Ok(Step::End);
        };
        match &mut self.state {
            State::Length(0) => Ok(Step::End),
            State::Length(_) if inbound.buffer.is_empty() => Ok(Step::More),
            State::Length(left) => {
                let take = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(inbound.buffer.len());
                *left -= take as u64;
                Ok(Step::Data(inbound.buffer.split_to(take).freeze()))
            }
            State::Chunked(chunks) => chunks.step(&mut inbound.buffer),
        }
    }
}

impl<R: AsyncRead + Unpin> Body for InboundBody<R> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        loop {
            match this.step() {
                Ok(Step::Data(data)) => {
                    this.meter.add(data.len());
                    if this.is_over() {
                        this.finish();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(Step::End) => {
                    this.finish();
                    return Poll::Ready(None);
                }
                Ok(Step::More) => {}
                Err(malformed) => {
                    this.inbound = None;
                    let error = BodyError::Malformed(malformed.to_string());
                    if let Some(back) = this.back.take() {
                        let _ = back.send(Err(malformed));
                    }
                    return Poll::Ready(Some(Err(error)));
                }
            }
            let Some(inbound) = &mut this.inbound else {
                return Poll::Ready(None);
            };
            inbound.buffer.reserve(ROOM);
            match ready!(poll_read_buf(
                Pin::new(&mut inbound.io),
                context,
                &mut inbound.buffer
            )) {
                Ok(0) => return Poll::Ready(Some(Err(BodyError::Gone))),
                Ok(_) => {}
                Err(_) => return Poll::Ready(Some(Err(BodyError::Gone))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        match self.state {
            State::Length(left) => SizeHint::with_exact(left),
            State::Chunked(_) => SizeHint::default(),
        }
    }
}

/// A connection whose first bytes were read already.
#[derive(Debug)]
pub(super) struct Replayed<R> {
    pub(super) first: Bytes,
    pub(super) io: R,
}

impl<R: AsyncRead + Unpin> AsyncRead for Replayed<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.io).poll_read(context, room);
        }
        let take = self.first.len().min(room.remaining());
        room.put_slice(&self.first.split_to(take));
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn bodies(text: &'static [u8]) -> (Vec<String>, bool) {
        let mut inbound = Inbound::new(text);
        let mut read = Vec::new();
        loop {
            let head = match inbound.head().await {
                Ok(Some(head)) => head,
                Ok(None) => return (read, true),
                Err(_) => return (read, false),
            };
            let (body, back) = InboundBody::new(inbound, head.framing, Meter::default());
            let Ok(all) = body.collect().await else {
                return (read, false);
            };
            read.push(String::from_utf8(all.to_bytes().to_vec()).unwrap());
            inbound = back.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn requests_on_one_connection_are_cut_where_they_end() {
        let text = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: a\r\n\r\n\
                     POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
        assert_eq!(
            bodies(text).await,
            (vec!["hello".into(), String::new(), "hi".into()], true)
        );
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_an_error_and_never_a_shorter_body() {
        for text in [
            &b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell"[..],
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n",
        ] {
            assert_eq!(bodies(text).await, (vec![], false));
        }
    }
}
