//! Who answers a request: a fault script, a cassette, or the upstream, whose answer may go into a cassette.

use super::body::{AnyBody, BodyError, text};
use super::exchange::Connection;
use super::upstream::{Far, SendError};
use crate::cassette::{self, Player, Recorded, Recorder};
use crate::fault::{Asked, BodyFault, Broken, RequestFault, Spoiled};
use crate::shared::Shared;
use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

impl Connection {
    /// Sends a request to whoever stands for the upstream.
    pub(super) async fn ask(
        &self,
        request: Request<AnyBody>,
    ) -> Result<Response<AnyBody>, SendError> {
        let fault = self.shared.upstream.faults.as_ref().and_then(|script| {
            script.of_request(&Asked {
                host: &self.place.name,
                method: request.method().as_str(),
                path: request
                    .uri()
                    .path_and_query()
                    .map_or("/", |target| target.as_str()),
                authorization: request
                    .headers()
                    .get(AUTHORIZATION)
                    .map(HeaderValue::as_bytes),
            })
        });
        match fault {
            None => self.answer(request).await,
            Some(RequestFault::Reset) => Err(SendError::OnPurpose),
            Some(RequestFault::Answer(answer)) => {
                let mut response = Response::new(text(answer.body));
                *response.status_mut() = answer.status;
                for (name, value) in answer.headers {
                    response.headers_mut().append(name, value);
                }
                Ok(response)
            }
            Some(RequestFault::ContentType(kind)) => {
                let mut response = self.answer(request).await?;
                response.headers_mut().insert(CONTENT_TYPE, kind);
                Ok(response)
            }
            Some(RequestFault::Body(fault)) => {
                let mut response = self.answer(request).await?;
                if fault == BodyFault::BrokenGzip {
                    response
                        .headers_mut()
                        .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                }
                Ok(response.map(|body| Spoiled::new(body, fault).map_err(spoiled).boxed_unsync()))
            }
        }
    }

    async fn answer(&self, mut request: Request<AnyBody>) -> Result<Response<AnyBody>, SendError> {
        let upstream = match &self.far {
            Far::Live(upstream) => upstream,
            Far::Cassette(_) => return self.play(request).await,
        };
        if self.shared.upstream.recorder().is_none() {
            return Ok(upstream.send(request).await?.map(upstreams));
        }
        cassette::accept_encoding(request.headers_mut());
        let copy = Copied::default();
        let mut exchange = self.begun(&request);
        let sent_whole = Arc::new(AtomicBool::new(false));
        let sent = Arc::clone(&sent_whole);
        let request = request.map(|body| {
            let sent = move |is_whole| sent_whole.store(is_whole, Ordering::Release);
            Copying::new(body, copy.clone(), sent).boxed_unsync()
        });
        let began = Instant::now();
        let response = upstream.send(request).await?;
        exchange.status = response.status().as_u16();
        exchange.response_headers = fields(response.headers());
        let (shared, answered) = (Arc::clone(&self.shared), Copied::default());
        let whole = answered.clone();
        let finish = move |is_whole: bool| {
            if is_whole {
                exchange.request_body = copy.take();
                exchange.response_body = whole.take();
                exchange.took = began.elapsed();
                exchange.whole = sent.load(Ordering::Acquire);
                keep(&shared, &exchange);
            }
        };
        Ok(response.map(|body| Copying::new(upstreams(body), answered, finish).boxed_unsync()))
    }

    async fn play(&self, request: Request<AnyBody>) -> Result<Response<AnyBody>, SendError> {
        let player: &Player = match self.shared.upstream.played() {
            Some(player) => player,
            None => return Err(SendError::NotRecorded("there is no cassette".to_owned())),
        };
        let (method, url) = (request.method().as_str().to_owned(), self.url(&request));
        let codings = request.headers().get(CONTENT_ENCODING).cloned();
        let body = http_body_util::Limited::new(request.into_body(), cassette::LONGEST)
            .collect()
            .await;
        let body = body.map_err(|error| match error.downcast::<BodyError>() {
            Ok(broken) => SendError::Body(*broken),
            Err(_) => SendError::NotRecorded(format!(
                "{method} {url}: no cassette holds a body of more than 16 MiB"
            )),
        })?;
        let asked = cassette::Asked {
            method: &method,
            url: &url,
            codings: codings
                .as_ref()
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default(),
            body: &body.to_bytes(),
        };
        let played = player
            .answer(&asked)
            .map_err(|error| SendError::NotRecorded(error.to_string()))?;
        let mut response = Response::new(text(played.body));
        *response.status_mut() =
            StatusCode::from_u16(played.status).unwrap_or(StatusCode::BAD_GATEWAY);
        for (name, value) in played.headers {
            if let (Ok(name), Ok(value)) = (
                HeaderName::from_bytes(name.as_bytes()),
                HeaderValue::from_str(&value),
            ) {
                response.headers_mut().append(name, value);
            }
        }
        Ok(response)
    }

    fn begun(&self, request: &Request<AnyBody>) -> Recorded {
        Recorded {
            method: request.method().to_string(),
            url: self.url(request),
            request_headers: fields(request.headers()),
            request_body: Bytes::new(),
            whole: true,
            status: 0,
            response_headers: Vec::new(),
            response_body: Bytes::new(),
            started: SystemTime::now(),
            took: Default::default(),
        }
    }

    fn url(&self, request: &Request<AnyBody>) -> String {
        let target = request
            .uri()
            .path_and_query()
            .map_or("/", |target| target.as_str());
        format!("https://{}{target}", self.place.authority())
    }
}

/// What cannot be kept ends the call: a cassette with a gap is none.
fn keep(shared: &Shared, exchange: &Recorded) {
    let recorder: Option<&Recorder> = shared.upstream.recorder();
    let redactor = match &shared.sealing {
        Some(sealing) => sealing.all(),
        None => Arc::clone(&shared.context.redactor),
    };
    if let Some(Err(error)) = recorder.map(|recorder| recorder.record(exchange, &redactor)) {
        let to = crate::event::Endpoint::dns(None);
        shared.reporter.not_recorded(to, error.to_string());
    }
}

fn upstreams(body: hyper::body::Incoming) -> AnyBody {
    body.map_err(BodyError::Upstream).boxed_unsync()
}

fn spoiled(broken: Broken<BodyError>) -> BodyError {
    match broken {
        Broken::Reset => BodyError::OnPurpose,
        Broken::Inner(error) => error,
    }
}

fn fields(headers: &HeaderMap) -> Vec<(String, String)> {
    let field = |(name, value): (&HeaderName, &HeaderValue)| {
        (
            name.to_string(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )
    };
    headers.iter().map(field).collect()
}

/// What passed, up to a byte more than a cassette keeps: the recorder says what is too long.
#[derive(Debug, Clone, Default)]
struct Copied(Arc<Mutex<BytesMut>>);

impl Copied {
    fn add(&self, data: &Bytes) {
        let mut copied = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = (cassette::LONGEST + 1).saturating_sub(copied.len());
        copied.extend_from_slice(&data[..data.len().min(room)]);
    }

    fn take(&self) -> Bytes {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).freeze()
    }
}

/// A body that is copied as it passes. `after` hears whether it came to its end.
struct Copying<F: FnOnce(bool)> {
    inner: AnyBody,
    copied: Copied,
    whole: bool,
    after: Option<F>,
}

impl<F: FnOnce(bool)> Copying<F> {
    fn new(inner: AnyBody, copied: Copied, after: F) -> Self {
        Self {
            whole: inner.is_end_stream(),
            inner,
            copied,
            after: Some(after),
        }
    }
}

impl<F: FnOnce(bool) + Unpin> Body for Copying<F> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.copied.add(data);
                }
                self.whole = self.inner.is_end_stream();
            }
            Poll::Ready(None) => self.whole = true,
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<F: FnOnce(bool)> Drop for Copying<F> {
    fn drop(&mut self) {
        if let Some(after) = self.after.take() {
            after(self.whole);
        }
    }
}
