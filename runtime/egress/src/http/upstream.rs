//! The upstream's side of an inspected connection: dialled, verified, spoken to in the HTTP that it chose.

use super::body::{AnyBody, BodyError};
use super::tasks::Tasks;
use super::tls::{Version, chosen};
use crate::client_certificate::{self, Notes};
use crate::reason::Reason;
use crate::relay::{Undialled, dial};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Bytes of one HTTP/2 stream, and of all streams of a connection, that the upstream may send ahead.
const WINDOWS: (u32, u32) = (1 << 20, 4 << 20);
/// The same for connections beyond the first [`super::MANY`] of a worker.
const SMALL_WINDOWS: (u32, u32) = (64 << 10, 128 << 10);

/// How to reach one upstream again and again.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) port: u16,
    pub(super) name: ServerName<'static>,
    pub(super) config: Arc<ClientConfig>,
    /// Whether it is shown a client certificate.
    pub(super) shows: bool,
    /// Whether it asked for one in vain.
    pub(super) asked: Arc<AtomicBool>,
    pub(super) timeout: Duration,
    pub(super) tasks: Tasks,
    /// Whether the worker has so many connections that each gets little memory.
    pub(super) small: bool,
}

/// A connection to the upstream, made anew where it ended.
#[derive(Debug)]
pub(super) struct Upstream {
    way: Way,
    /// Where it was dialled last.
    address: std::sync::Mutex<IpAddr>,
    pub(super) version: Version,
    sender: Mutex<Numbered>,
    /// Whether it ever answered.
    answered: AtomicBool,
}

/// A sender, and the how manieth of its connection it is.
#[derive(Debug)]
struct Numbered {
    sender: Sender,
    number: u64,
}

/// A request that was not answered.
struct Unanswered {
    error: SendError,
    /// The request, where no byte of it was sent, and the number of the sender that gave it back.
    unsent: Option<(Request<AnyBody>, u64)>,
}

#[derive(Debug)]
enum Sender {
    One(http1::SendRequest<AnyBody>),
    Two(http2::SendRequest<AnyBody>),
}

impl Sender {
    fn is_closed(&self) -> bool {
        match self {
            Self::One(sender) => sender.is_closed(),
            Self::Two(sender) => sender.is_closed(),
        }
    }
}

/// Who answers.
#[derive(Debug)]
pub(super) enum Far {
    Live(Box<Upstream>),
    /// A cassette, in the HTTP that the worker speaks.
    Cassette(Version),
}

impl Far {
    pub(super) fn version(&self) -> Version {
        match self {
            Self::Live(upstream) => upstream.version,
            Self::Cassette(version) => *version,
        }
    }

    pub(super) fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Live(upstream) => Some(upstream.address()),
            Self::Cassette(_) => None,
        }
    }

    /// What to write where it hung up for want of a client certificate.
    pub(super) fn wants_certificate(&self) -> Option<String> {
        match self {
            Self::Live(upstream) => upstream.wants_certificate(),
            Self::Cassette(_) => None,
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error("{}", .0.detail)]
    Unreached(Undialled),
    #[error("{0}")]
    Broken(#[from] hyper::Error),
    #[error("the request's body broke off: {0}")]
    Body(#[from] BodyError),
    #[error("the fault script resets the connection")]
    OnPurpose,
    #[error("{0}")]
    NotRecorded(String),
}

impl Upstream {
    pub(super) async fn connect(way: Way) -> Result<Self, Undialled> {
        let (sender, address, version) = reach(&way).await?;
        Ok(Self {
            way,
            address: std::sync::Mutex::new(address),
            version,
            sender: Mutex::new(Numbered { sender, number: 0 }),
            answered: AtomicBool::new(false),
        })
    }

    fn address(&self) -> IpAddr {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to write where the upstream asks for a client certificate, is shown none, and so hangs up: in TLS 1.3 it does
    /// that when the gateway's side of the handshake is over, so that it shows in the first request.
    fn wants_certificate(&self) -> Option<String> {
        let answered = self.answered.load(Ordering::Relaxed);
        (!answered).then(|| self.way.wants_certificate()).flatten()
    }

    /// Sends a request. A connection that ended since the last one is made anew, and one that ended under the request before
    /// any of it was sent too: servers end connections after so many requests, or a time.
    pub(super) async fn send(
        &self,
        request: Request<AnyBody>,
    ) -> Result<Response<Incoming>, SendError> {
        let sent = match self.try_send(request, None).await {
            Err(Unanswered {
                unsent: Some((request, number)),
                ..
            }) => self.try_send(request, Some(number)).await,
            sent => sent,
        };
        if sent.is_ok() {
            self.answered.store(true, Ordering::Relaxed);
        }
        sent.map_err(|unanswered| unanswered.error)
    }

    /// Sends a request by another sender than number `not`.
    async fn try_send(
        &self,
        request: Request<AnyBody>,
        not: Option<u64>,
    ) -> Result<Response<Incoming>, Unanswered> {
        let mut held = self.sender.lock().await;
        if held.sender.is_closed() || Some(held.number) == not {
            let sender = self.again().await;
            held.sender = sender.map_err(SendError::Unreached)?;
            held.number += 1;
        }
        let number = held.number;
        let back = |mut error: TrySendError<Request<AnyBody>>| Unanswered {
            unsent: error.take_message().map(|request| (request, number)),
            error: SendError::Broken(error.into_error()),
        };
        match &mut held.sender {
            Sender::One(sender) => {
                if let Err(error) = sender.ready().await {
                    return Err(Unanswered {
                        error: SendError::Broken(error),
                        unsent: Some((request, number)),
                    });
                }
                let answer = sender.try_send_request(request);
                drop(held);
                answer.await.map_err(back)
            }
            Sender::Two(sender) => {
                let mut sender = sender.clone();
                drop(held);
                if let Err(error) = sender.ready().await {
                    return Err(Unanswered {
                        error: SendError::Broken(error),
                        unsent: Some((request, number)),
                    });
                }
                sender.try_send_request(request).await.map_err(back)
            }
        }
    }

    async fn again(&self) -> Result<Sender, Undialled> {
        let (sender, address, version) = reach(&self.way).await?;
        if version != self.version {
            return Err(Undialled {
                address: Some(address),
                reason: Reason::TlsFailed,
                detail: "the upstream chose another HTTP than before".to_owned(),
            });
        }
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = address;
        Ok(sender)
    }
}

impl Way {
    fn wants_certificate(&self) -> Option<String> {
        let wants = !self.shows && self.asked.load(Ordering::Relaxed);
        wants.then(|| client_certificate::wanted(&self.name.to_str(), self.port))
    }
}

impl From<SendError> for Unanswered {
    fn from(error: SendError) -> Self {
        Self {
            error,
            unsent: None,
        }
    }
}

/// Dials, verifies, and agrees on HTTP.
async fn reach(way: &Way) -> Result<(Sender, IpAddr, Version), Undialled> {
    let (stream, address) = dial(&way.addresses, way.port, way.timeout).await?;
    let failed = |detail: String| Undialled {
        address: Some(address),
        reason: Reason::TlsFailed,
        detail,
    };
    let _ = stream.set_nodelay(true);
    let handshake = TlsConnector::from(Arc::clone(&way.config)).connect(way.name.clone(), stream);
    let handshake = Notes::during(&way.asked, handshake);
    let stream = match tokio::time::timeout(way.timeout, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            let detail = format!("TLS with {}: {error}", way.name.to_str());
            let wanted = way.wants_certificate();
            return Err(
                match wanted.filter(|_| client_certificate::is_alert(&error)) {
                    None => failed(detail),
                    Some(wanted) => Undialled {
                        reason: Reason::ClientCertificateWanted,
                        ..failed(format!("{detail}; {wanted}"))
                    },
                },
            );
        }
        Err(_) => {
            let detail = format!(
                "TLS with {}: no answer within {} s",
                way.name.to_str(),
                way.timeout.as_secs()
            );
            return Err(failed(detail));
        }
    };
    let version = chosen(stream.get_ref().1.alpn_protocol());
    let sender = speak(stream, version, way)
        .await
        .map_err(|error| failed(format!("HTTP with {}: {error}", way.name.to_str())))?;
    Ok((sender, address, version))
}

async fn speak(stream: TlsStream<TcpStream>, version: Version, way: &Way) -> hyper::Result<Sender> {
    let io = TokioIo::new(stream);
    let tasks = &way.tasks;
    let windows = if way.small { SMALL_WINDOWS } else { WINDOWS };
    match version {
        Version::One => {
            let (sender, connection) = http1::Builder::new()
                .title_case_headers(true)
                .handshake(io)
                .await?;
            tasks.execute(async move {
                if let Err(error) = connection.with_upgrades().await {
                    tracing::debug!(%error, "a connection to an upstream broke off");
                }
            });
            Ok(Sender::One(sender))
        }
        Version::Two => {
            let (sender, connection) = http2::Builder::new(tasks.clone())
                .timer(TokioTimer::new())
                .initial_stream_window_size(windows.0)
                .initial_connection_window_size(windows.1)
                .handshake(io)
                .await?;
            tasks.execute(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection to an upstream broke off");
                }
            });
            Ok(Sender::Two(sender))
        }
    }
}
