//! A caller's stream, whose breaking off never looks like its end.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;
use tonic::body::Body;
use tonic::{Code, Status};

/// Fails a request's body where its caller reset the stream (RST_STREAM, RFC 9113, section 6.4).
///
/// Two layers would end it as if the caller had half-closed, and the input of a Write would look complete: `tonic::Streaming`
/// where the body fails with CANCELLED, which a reset with CANCEL comes to, and hyper where a stream is reset with NO_ERROR,
/// as proxies do.
pub(crate) fn input(request: http::Request<Body>) -> http::Request<Body> {
    request.map(|body| Body::new(Whole(body)))
}

struct Whole(Body);

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let broken_off = || Status::aborted("the caller broke its call off");
        Poll::Ready(match ready!(Pin::new(&mut self.0).poll_frame(cx)) {
            Some(Err(status)) if status.code() == Code::Cancelled => Some(Err(broken_off())),
            None if !self.0.is_end_stream() => Some(Err(broken_off())),
            frame => frame,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use caisson_proto::v1::WriteRequest;
    use http_body_util::StreamBody;
    use tonic::Streaming;
    use tonic::codec::Codec;
    use tonic_prost::ProstCodec;

    use super::*;

    /// What is read of a Write whose body fails so behind one empty message.
    async fn read(failure: Status) -> (bool, Option<Code>) {
        let message = Bytes::from_static(&[0; 5]);
        let frames = [Ok(http_body::Frame::data(message)), Err(failure)];
        let body = Body::new(StreamBody::new(tokio_stream::iter(frames)));
        let body = input(http::Request::new(body)).into_body();
        let decoder = ProstCodec::<WriteRequest, WriteRequest>::default().decoder();
        let mut requests = Streaming::new_request(decoder, body, None, None);
        let first = requests.message().await.is_ok_and(|one| one.is_some());
        let end = requests.message().await;
        (first, end.err().map(|status| status.code()))
    }

    /// Resets a stream whose one message was heard, and says what was read then.
    async fn reset(reason: h2::Reason) -> (bool, Option<Code>) {
        let (near, far) = tokio::io::duplex(1 << 16);
        let (heard, was_heard) = tokio::sync::oneshot::channel();
        let (told, outcome) = tokio::sync::oneshot::channel();
        let both = std::sync::Mutex::new(Some((heard, told)));
        let service = hyper::service::service_fn(move |request: http::Request<_>| {
            let (heard, told) = both.lock().unwrap().take().unwrap();
            async move {
                let body = input(request.map(|body: hyper::body::Incoming| Body::new(body)));
                let decoder = ProstCodec::<WriteRequest, WriteRequest>::default().decoder();
                let mut requests = Streaming::new_request(decoder, body.into_body(), None, None);
                // In a task: hyper drops what answers a stream that was reset.
                tokio::spawn(async move {
                    let first = requests.message().await.is_ok_and(|one| one.is_some());
                    let _ = heard.send(());
                    let end = requests.message().await;
                    let _ = told.send((first, end.err().map(|status| status.code())));
                });
                std::future::pending::<Result<http::Response<Body>, Status>>().await
            }
        });
        let executor = hyper_util::rt::TokioExecutor::new();
        let server = hyper::server::conn::http2::Builder::new(executor);
        tokio::spawn(server.serve_connection(hyper_util::rt::TokioIo::new(far), service));
        let (sender, connection) = h2::client::handshake(near).await.unwrap();
        tokio::spawn(connection);
        let mut sender = sender.ready().await.unwrap();
        let request = http::Request::post("http://caisson/").body(()).unwrap();
        let (_answer, mut stream) = sender.send_request(request, false).unwrap();
        stream
            .send_data(Bytes::from_static(&[0; 5]), false)
            .unwrap();
        was_heard.await.unwrap();
        stream.send_reset(reason);
        outcome.await.unwrap()
    }

    #[tokio::test]
    async fn a_stream_that_was_reset_did_not_end_whatever_the_reason() {
        for reason in [
            h2::Reason::CANCEL,
            h2::Reason::NO_ERROR,
            h2::Reason::INTERNAL_ERROR,
        ] {
            let (first, end) = reset(reason).await;
            assert!(first && end.is_some(), "{reason:?}");
        }
    }

    #[tokio::test]
    async fn a_call_that_was_cancelled_did_not_end() {
        let cancelled = Status::cancelled("h2 protocol error: stream was reset");
        assert_eq!(read(cancelled).await, (true, Some(Code::Aborted)));
        let lost = Status::unavailable("connection lost");
        assert_eq!(read(lost).await, (true, Some(Code::Unavailable)));
    }
}
