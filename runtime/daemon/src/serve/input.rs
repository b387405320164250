//! A caller's stream, whose breaking off never looks like its end.

use http_body_util::BodyExt;
use tonic::body::Body;
use tonic::{Code, Status};

/// Fails a request's body where its caller cancelled the call.
///
/// `tonic::Streaming` ends a request as if the caller had half-closed when
/// its body fails with CANCELLED, which is what RST_STREAM with CANCEL (RFC
/// 9113, section 7) comes to: the input of a Write would look complete.
pub(crate) fn input(request: http::Request<Body>) -> http::Request<Body> {
    request.map(|body| Body::new(body.map_err(broken_off)))
}

fn broken_off(status: Status) -> Status {
    match status.code() {
        Code::Cancelled => Status::aborted("the caller cancelled its call"),
        _ => status,
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

    #[tokio::test]
    async fn a_call_that_was_cancelled_did_not_end() {
        let cancelled = Status::cancelled("h2 protocol error: stream was reset");
        assert_eq!(read(cancelled).await, (true, Some(Code::Aborted)));
        let lost = Status::unavailable("connection lost");
        assert_eq!(read(lost).await, (true, Some(Code::Unavailable)));
    }
}
