//! Answers of an upstream that has the value: where it says it back, the worker does not see it. This is done as well as it
//! can be; an upstream that wants to tell a worker its key can spell it in ways that nobody undoes.

use super::Sealing;
use super::body::field;
use super::codings::Decoder;
use crate::http::body::{AnyBody, BodyError};
use bytes::{Buf, Bytes};
use caisson_secrets::StreamRedactor;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderValue, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use std::borrow::Cow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Bytes that are decoded at once.
const PIECE: usize = 4 << 10;

impl Sealing {
    /// An answer without the values of the call.
    pub(in crate::http) fn scrubbed(&self, mut response: Response<AnyBody>) -> Response<AnyBody> {
        let headers = response.headers_mut();
        for value in headers.values_mut() {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            if let Cow::Owned(shown) = self.values.redact(&text) {
                *value = HeaderValue::from_str(&shown)
                    .unwrap_or_else(|_| HeaderValue::from_static("[redacted]"));
            }
        }
        if response.body().is_end_stream() {
            return response;
        }
        let Some(decoder) = Decoder::of(&field(response.headers(), CONTENT_ENCODING)) else {
            return response;
        };
        let headers = response.headers_mut();
        headers.remove(CONTENT_LENGTH);
        if !decoder.is_identity() {
            headers.remove(CONTENT_ENCODING);
        }
        let stream = self.values.stream();
        response.map(|inner| {
            Scrubbed {
                inner,
                waiting: Bytes::new(),
                decoder,
                stream: Some(stream),
            }
            .boxed_unsync()
        })
    }
}

/// A body without its coding and without the values.
struct Scrubbed {
    inner: AnyBody,
    /// Not decoded yet.
    waiting: Bytes,
    decoder: Decoder,
    stream: Option<StreamRedactor>,
}

impl Body for Scrubbed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        loop {
            let Some(stream) = &mut this.stream else {
                return Poll::Ready(None);
            };
            if this.waiting.is_empty() {
                match ready!(Pin::new(&mut this.inner).poll_frame(context)) {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => this.waiting = data,
                        // Trailers come behind the last byte, which may be held back.
                        Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                    },
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    None => {
                        let plain = this.decoder.finish();
                        let mut shown = stream.push(&plain.map_err(BodyError::Coding)?);
                        if let Some(stream) = this.stream.take() {
                            shown.extend(stream.finish());
                        }
                        let last = (!shown.is_empty()).then(|| Ok(Frame::data(shown.into())));
                        return Poll::Ready(last);
                    }
                }
                continue;
            }
            let piece = this.waiting.len().min(PIECE);
            let plain = this.decoder.push(&this.waiting[..piece]);
            this.waiting.advance(piece);
            let shown = stream.push(&plain.map_err(BodyError::Coding)?);
            if !shown.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(shown.into()))));
            }
        }
    }
}
