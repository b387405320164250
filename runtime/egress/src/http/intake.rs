//! The worker's side of one request over HTTP/1.1: its body, read a little ahead, and whether the worker is still there.
//!
//! A request may wait for its turn for long. Its body is read ahead meanwhile, so that the worker's going away behind it is
//! seen: what it gave up must not be sent, since it may have been asked for again.

use super::body::{AnyBody, BodyError, Meter};
use super::head::{Framing, Malformed};
use super::inbound::{Back, DISCARDED, Inbound, InboundBody, LINGER};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncRead;
use tokio::sync::{mpsc, oneshot};

/// Pieces of a body that are read ahead, each no longer than one read.
const AHEAD: usize = 4;

/// One request, as its worker sends it.
#[derive(Debug)]
pub(super) struct Intake<R> {
    body: Option<Reading<R>>,
    back: oneshot::Receiver<Back<R>>,
    reader: Option<Inbound<R>>,
    malformed: Option<Malformed>,
}

/// Why a request comes to nothing.
#[derive(Debug)]
pub(super) enum Ended {
    /// The worker has gone away.
    Gone,
    /// Its body is none.
    Malformed(Malformed),
}

impl<R: AsyncRead + Send + Unpin + 'static> Intake<R> {
    /// The body comes as it is read by whoever waits for [`Intake::ended`] or [`Intake::gone`].
    pub(super) fn new(inbound: Inbound<R>, framing: Framing, meter: Meter) -> (AnyBody, Self) {
        let (body, back) = InboundBody::new(inbound, framing, meter);
        let mut intake = Self {
            body: None,
            back,
            reader: None,
            malformed: None,
        };
        intake.take_back();
        // Of a request without a body the reader is back at once.
        if intake.reader.is_some() {
            return (body.boxed_unsync(), intake);
        }
        let (to, from) = mpsc::channel(AHEAD);
        let ahead = Ahead {
            from,
            left: body.size_hint().exact(),
        };
        intake.body = Some(Reading { body, to });
        (ahead.boxed_unsync(), intake)
    }

    /// Returns when the request comes to nothing, as far as that can be seen.
    pub(super) async fn ended(&mut self) -> Ended {
        self.read().await;
        if let Some(error) = self.malformed.take() {
            return Ended::Malformed(error);
        }
        self.left().await;
        Ended::Gone
    }

    /// Returns when the worker has gone away, as far as that can be seen.
    pub(super) async fn gone(&mut self) {
        self.read().await;
        self.left().await;
    }

    /// Whether the whole body was read, so that it is known where the next request begins.
    pub(super) fn is_whole(&self) -> bool {
        self.reader.is_some()
    }

    /// Whether there is more of the body than was wanted.
    pub(super) fn is_cut_short(&self) -> bool {
        self.body.is_some()
    }

    /// The reader, for the next request. `Ok(None)`: the body was not read to its end.
    pub(super) fn finish(mut self) -> Result<Option<Inbound<R>>, Malformed> {
        self.take_back();
        match self.malformed {
            Some(error) => Err(error),
            None => Ok(self.reader),
        }
    }

    async fn read(&mut self) {
        if let Some(reading) = &mut self.body
            && reading.run().await
        {
            self.body = None;
            self.take_back();
        }
    }

    /// Reads what nobody wants of the body, for a while: closed with bytes unread, the connection would be reset, and the
    /// answer lost.
    pub(super) async fn discard(self) {
        let Some(mut reading) = self.body else { return };
        let discarded = async {
            let mut left = DISCARDED;
            while left > 0 {
                match reading.body.frame().await {
                    Some(Ok(frame)) => {
                        let read = frame.data_ref().map_or(0, Bytes::len);
                        left = left.saturating_sub(read);
                    }
                    _ => return,
                }
            }
        };
        // Whatever is there after it is lost with the connection.
        let _ = tokio::time::timeout(LINGER, discarded).await;
    }

    async fn left(&mut self) {
        match &mut self.reader {
            Some(reader) => reader.gone().await,
            None => std::future::pending().await,
        }
    }

    fn take_back(&mut self) {
        match self.back.try_recv() {
            Ok(Ok(reader)) => self.reader = Some(reader),
            Ok(Err(error)) => self.malformed = Some(error),
            Err(_) => {}
        }
    }
}

/// A body on its way from the worker to the queue.
#[derive(Debug)]
struct Reading<R> {
    body: InboundBody<R>,
    /// `None`: its end.
    to: mpsc::Sender<Result<Option<Bytes>, BodyError>>,
}

impl<R: AsyncRead + Unpin> Reading<R> {
    /// Returns whether it was the body's end, or where it breaks off; if not, nobody wants the rest.
    async fn run(&mut self) -> bool {
        // Nothing is lost where this is dropped in between: a place that is not used is given back.
        while let Ok(place) = self.to.reserve().await {
            match self.body.frame().await {
                None => {
                    place.send(Ok(None));
                    return true;
                }
                Some(Err(error)) => {
                    place.send(Err(error));
                    return true;
                }
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        place.send(Ok(Some(data)));
                    }
                }
            }
            if self.body.size_hint().exact() == Some(0) {
                return true;
            }
        }
        false
    }
}

/// The body as the upstream gets it.
#[derive(Debug)]
struct Ahead {
    from: mpsc::Receiver<Result<Option<Bytes>, BodyError>>,
    /// Bytes to come, where the worker said how many.
    left: Option<u64>,
}

impl Body for Ahead {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.left == Some(0) {
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(self.from.poll_recv(context)) {
            Some(Ok(Some(data))) => {
                self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                Some(Ok(Frame::data(data)))
            }
            Some(Ok(None)) => None,
            Some(Err(error)) => Some(Err(error)),
            // Whoever read it is gone: half a body is not a whole one.
            None => Some(Err(BodyError::Gone)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    fn intake(
        framing: Framing,
    ) -> (
        tokio::io::DuplexStream,
        AnyBody,
        Intake<tokio::io::DuplexStream>,
    ) {
        let (worker, gateway) = tokio::io::duplex(1 << 20);
        let (body, intake) = Intake::new(Inbound::new(gateway), framing, Meter::default());
        (worker, body, intake)
    }

    #[tokio::test]
    async fn a_worker_that_leaves_behind_a_whole_body_is_seen_before_anybody_reads_it() {
        let (mut worker, body, mut intake) = intake(Framing::Length(5));
        worker.write_all(b"hello").await.unwrap();
        drop(worker);
        assert!(matches!(intake.ended().await, Ended::Gone));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
    }

    #[tokio::test]
    async fn a_body_is_read_ahead_only_a_little_and_comes_whole() {
        let (mut worker, body, mut intake) = intake(Framing::Length(900_000));
        worker.write_all(&vec![b'x'; 900_000]).await.unwrap();
        let early = tokio::time::timeout(std::time::Duration::from_millis(50), intake.ended());
        assert!(early.await.is_err());
        let read = tokio::select! {
            read = body.collect() => read,
            _ = intake.ended() => unreachable!("the worker is there"),
        };
        assert_eq!(read.unwrap().to_bytes().len(), 900_000);
        let whole = tokio::time::timeout(std::time::Duration::from_millis(50), intake.gone());
        assert!(whole.await.is_err());
        assert!(intake.is_whole() && intake.finish().unwrap().is_some());
    }

    #[tokio::test]
    async fn what_is_malformed_or_cut_is_no_whole_body() {
        let (mut worker, body, mut intake) = self::intake(Framing::Chunked);
        worker.write_all(b"2\r\nhi\r\nx\r\n").await.unwrap();
        assert!(matches!(intake.ended().await, Ended::Malformed(_)));
        assert!(body.collect().await.is_err());
        let (mut worker, body, mut intake) = self::intake(Framing::Chunked);
        worker.write_all(b"2\r\nhi\r\n").await.unwrap();
        drop(worker);
        let early = tokio::time::timeout(std::time::Duration::from_millis(50), intake.ended());
        assert!(early.await.is_err(), "the upstream sees it end");
        drop(intake);
        assert!(body.collect().await.is_err());
    }
}
