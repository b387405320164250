//! A real HTTPS server on loopback, with an authority of its own.

use crate::harness::upstream;
use bytes::Bytes;
use caisson_egress::{Authority, Name};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::HandshakeKind;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

type Error = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Served = UnsyncBoxBody<Bytes, Error>;
type Answering = Pin<Box<dyn Future<Output = Response<Served>> + Send>>;
pub(crate) type Answer = Arc<dyn Fn(Request<Incoming>) -> Answering + Send + Sync>;

pub(crate) fn answer<F, R, B>(of: F) -> Answer
where
    F: Fn(Request<Incoming>) -> R + Send + Sync + 'static,
    R: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<Error>> + Send + 'static,
{
    Arc::new(move |request| {
        let answered = of(request);
        Box::pin(async move {
            answered
                .await
                .map(|body| body.map_err(Into::into).boxed_unsync())
        })
    })
}

/// Becomes a WebSocket, as far as HTTP goes: `of` gets the request's fields and the bytes behind them.
pub(crate) fn websocket<F, R>(of: F) -> Answer
where
    F: Fn(HeaderMap, TokioIo<Upgraded>) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let of = Arc::new(of);
    answer(move |mut request: Request<Incoming>| {
        let (of, fields) = (Arc::clone(&of), request.headers().clone());
        let upgraded = hyper::upgrade::on(&mut request);
        tokio::spawn(async move { of(fields, TokioIo::new(upgraded.await.unwrap())).await });
        let response = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .body(whole(""));
        std::future::ready(response.unwrap())
    })
}

pub(crate) fn whole(text: impl Into<Bytes>) -> Full<Bytes> {
    Full::new(text.into())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoken {
    One,
    Two,
}

impl Spoken {
    pub(crate) fn alpn(self) -> &'static str {
        match self {
            Self::One => "http/1.1",
            Self::Two => "h2",
        }
    }

    pub(crate) fn alone(self) -> &'static [Self] {
        match self {
            Self::One => &[Self::One],
            Self::Two => &[Self::Two],
        }
    }
}

/// Who sent a request; in its extensions.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The certificate that it showed.
    pub(crate) certificate: Option<Vec<u8>>,
    /// Whether it resumed a session.
    pub(crate) resumed: bool,
    /// The how manieth connection of the server it is, from 0.
    pub(crate) connection: usize,
}

pub(crate) struct Api {
    pub(crate) port: u16,
    pub(crate) authority: CertificateDer<'static>,
    requests: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    leaving: Arc<Notify>,
}

impl Api {
    /// Serves as `name`.
    pub(crate) async fn start(name: &str, spoken: &'static [Spoken], answer: Answer) -> Self {
        Self::verifying(name, spoken, answer, WebPkiClientVerifier::no_client_auth()).await
    }

    /// Serves as `name` to clients that pass the verifier.
    pub(crate) async fn verifying(
        name: &str,
        spoken: &'static [Spoken],
        answer: Answer,
        verifier: Arc<dyn ClientCertVerifier>,
    ) -> Self {
        let authority = Authority::new().unwrap();
        let key = authority.leaf(&Name::parse(name).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key)));
        config.alpn_protocols = spoken
            .iter()
            .map(|spoken| spoken.alpn().as_bytes().to_vec())
            .collect();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let (listener, port) = upstream().await;
        let (requests, connections) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (seen, accepted) = (Arc::clone(&requests), Arc::clone(&connections));
        let leaving = Arc::new(Notify::new());
        let leave = Arc::clone(&leaving);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, answer, seen, accepted, leave) = (
                    acceptor.clone(),
                    answer.clone(),
                    seen.clone(),
                    accepted.clone(),
                    leave.clone(),
                );
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let number = accepted.fetch_add(1, Ordering::Relaxed);
                    let tls = stream.get_ref().1;
                    let is_two = tls.alpn_protocol() == Some(b"h2");
                    let caller = Caller {
                        certificate: tls.peer_certificates().map(|chain| chain[0].to_vec()),
                        resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
                        connection: number,
                    };
                    let service = service_fn(move |mut request: Request<Incoming>| {
                        seen.fetch_add(1, Ordering::Relaxed);
                        request.extensions_mut().insert(caller.clone());
                        let answered = answer(request);
                        async move { Ok::<_, std::convert::Infallible>(answered.await) }
                    });
                    let io = TokioIo::new(stream);
                    // How a connection ends is the test's own business.
                    let _ = if is_two {
                        let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                            .serve_connection(io, service);
                        let mut served = std::pin::pin!(served);
                        tokio::select! {
                            served = served.as_mut() => served,
                            () = leave.notified() => {
                                served.as_mut().graceful_shutdown();
                                served.await
                            }
                        }
                    } else {
                        hyper::server::conn::http1::Builder::new()
                            .serve_connection(io, service)
                            .with_upgrades()
                            .await
                    };
                });
            }
        });
        Self {
            port,
            authority: CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes())
                .unwrap(),
            requests,
            connections,
            leaving,
        }
    }

    /// Requests so far.
    pub(crate) fn seen(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Has every connection of HTTP/2 take no further request (GOAWAY).
    pub(crate) fn leave(&self) {
        self.leaving.notify_waiters();
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}
