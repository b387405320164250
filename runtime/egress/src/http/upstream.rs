//! The upstream's side of an inspected connection: dialled, verified, spoken to in the HTTP that it chose.

use super::body::{AnyBody, BodyError};
use super::tasks::Tasks;
use super::tls::{Version, chosen};
use crate::reason::Reason;
use crate::relay::{Undialled, dial};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Bytes of one HTTP/2 stream, and of all streams of a connection, that the upstream may send ahead.
const WINDOWS: (u32, u32) = (1 << 20, 4 << 20);

/// How to reach one upstream again and again.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) port: u16,
    pub(super) name: ServerName<'static>,
    pub(super) config: Arc<ClientConfig>,
    pub(super) timeout: Duration,
    pub(super) tasks: Tasks,
}

/// A connection to the upstream, made anew where it ended.
#[derive(Debug)]
pub(super) struct Upstream {
    way: Way,
    pub(super) address: IpAddr,
    pub(super) version: Version,
    sender: Mutex<Sender>,
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
    Live(Upstream),
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
            Self::Live(upstream) => Some(upstream.address),
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
            address,
            version,
            sender: Mutex::new(sender),
        })
    }

    /// Sends a request. A connection that ended since the last one is made anew.
    pub(super) async fn send(
        &self,
        request: Request<AnyBody>,
    ) -> Result<Response<Incoming>, SendError> {
        let mut held = self.sender.lock().await;
        if held.is_closed() {
            let (sender, _, version) = reach(&self.way).await.map_err(SendError::Unreached)?;
            if version != self.version {
                return Err(SendError::Unreached(Undialled {
                    address: Some(self.address),
                    reason: Reason::TlsFailed,
                    detail: "the upstream chose another HTTP than before".to_owned(),
                }));
            }
            *held = sender;
        }
        match &mut *held {
            Sender::One(sender) => {
                sender.ready().await?;
                let answer = sender.send_request(request);
                drop(held);
                Ok(answer.await?)
            }
            Sender::Two(sender) => {
                let mut sender = sender.clone();
                drop(held);
                sender.ready().await?;
                Ok(sender.send_request(request).await?)
            }
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
    let stream = match tokio::time::timeout(way.timeout, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(failed(format!("TLS with {}: {error}", way.name.to_str()))),
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
    let sender = speak(stream, version, &way.tasks)
        .await
        .map_err(|error| failed(format!("HTTP with {}: {error}", way.name.to_str())))?;
    Ok((sender, address, version))
}

async fn speak(
    stream: TlsStream<TcpStream>,
    version: Version,
    tasks: &Tasks,
) -> hyper::Result<Sender> {
    let io = TokioIo::new(stream);
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
                .initial_stream_window_size(WINDOWS.0)
                .initial_connection_window_size(WINDOWS.1)
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
