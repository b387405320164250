//! Answers of an upstream that has the value: where it says it back, the worker does not see it. This is done as well as it
//! can be; an upstream that wants to tell a worker its key can spell it in ways that nobody undoes.

use super::Sealing;
use super::body::field;
use super::codings::Decoder;
use crate::http::body::{AnyBody, BodyError};
use bytes::Bytes;
use caisson_secrets::{Redactor, StreamRedactor};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use std::borrow::Cow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Bytes that are decoded at once, and that are handed on together.
const PIECE: usize = 4 << 10;
const FRAME: usize = 64 << 10;

impl Sealing {
    /// An answer without the values of the call.
    pub(in crate::http) fn scrubbed(
        &self,
        asked: &Method,
        mut response: Response<AnyBody>,
    ) -> Response<AnyBody> {
        let values = self.values();
        scrub(response.headers_mut(), &values);
        if response.body().is_end_stream() || *asked == Method::HEAD {
            return response;
        }
        // A part of a coded whole is in no coding.
        let decoder = match response.status() {
            StatusCode::PARTIAL_CONTENT => Some(Decoder::Identity),
            _ => Decoder::of(&field(response.headers(), CONTENT_ENCODING)),
        };
        let Some(decoder) = decoder else {
            return response;
        };
        let headers = response.headers_mut();
        headers.remove(CONTENT_LENGTH);
        if !decoder.is_identity() {
            headers.remove(CONTENT_ENCODING);
        }
        let stream = values.stream();
        response.map(|inner| {
            Scrubbed {
                inner,
                waiting: Bytes::new(),
                decoder,
                stream: Some(stream),
                touched: false,
                trailers: None,
                values,
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
    /// Whether there was any byte.
    touched: bool,
    /// Behind the last byte, which may be held back.
    trailers: Option<HeaderMap>,
    values: Redactor,
}

impl Scrubbed {
    /// What is left once the upstream has said all.
    fn last(&mut self) -> Result<Option<Frame<Bytes>>, BodyError> {
        let Some(mut stream) = self.stream.take() else {
            return Ok(self.trailers.take().map(Frame::trailers));
        };
        let mut shown = Vec::new();
        if self.touched {
            shown = stream.push(&self.decoder.finish().map_err(BodyError::Coding)?);
        }
        shown.extend(stream.finish());
        if shown.is_empty() {
            return Ok(self.trailers.take().map(Frame::trailers));
        }
        Ok(Some(Frame::data(shown.into())))
    }
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
                return Poll::Ready(this.last().transpose());
            };
            if this.waiting.is_empty() {
                match ready!(Pin::new(&mut this.inner).poll_frame(context)) {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => this.waiting = data,
                        Err(frame) => {
                            let mut trailers = frame.into_trailers().unwrap_or_default();
                            scrub(&mut trailers, &this.values);
                            this.trailers = Some(trailers);
                            return Poll::Ready(this.last().transpose());
                        }
                    },
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    None => return Poll::Ready(this.last().transpose()),
                }
                continue;
            }
            this.touched = true;
            let mut shown = Vec::with_capacity(this.waiting.len());
            while !this.waiting.is_empty() && shown.len() < FRAME {
                if this.decoder.is_identity() {
                    let all = std::mem::take(&mut this.waiting);
                    shown.extend(stream.push(&all));
                    break;
                }
                let piece = this.waiting.split_to(this.waiting.len().min(PIECE));
                let plain = this.decoder.push(&piece).map_err(BodyError::Coding)?;
                shown.extend(stream.push(&plain));
            }
            if !shown.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(shown.into()))));
            }
        }
    }
}

fn scrub(headers: &mut HeaderMap, values: &Redactor) {
    for value in headers.values_mut() {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        if let Cow::Owned(shown) = values.redact(&text) {
            *value = HeaderValue::from_str(&shown)
                .unwrap_or_else(|_| HeaderValue::from_static("[redacted]"));
        }
    }
}
