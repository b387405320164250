//! One connection: TCP, and TLS for `https`.

use std::io;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use super::address::Address;
use crate::provider::ProviderError;

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Whom a connection is to, in messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whom {
    /// `the vault`.
    pub(crate) name: &'static str,
    /// What to do where its certificate is not believed.
    pub(crate) trust: &'static str,
}

/// Opens a connection, with TLS for `https`. An `http` address is connected to only where it truly leads to this host.
pub(crate) async fn connect(
    whom: Whom,
    address: &Address,
    tls: Option<&TlsConnector>,
) -> Result<Box<dyn Stream>, ProviderError> {
    let away = |error: &io::Error| away(whom, address, error);
    let found = lookup_host((address.host.as_str(), address.port)).await;
    let found = found.map_err(|error| away(&error))?;
    let allowed: Vec<_> = found
        .filter(|found| address.secure || found.ip().is_loopback())
        .collect();
    let tcp = TcpStream::connect(&allowed[..]).await;
    let tcp = tcp.map_err(|error| away(&error))?;
    tcp.set_nodelay(true).map_err(|error| away(&error))?;
    let Some(tls) = tls else {
        return Ok(Box::new(tcp));
    };
    let name = ServerName::try_from(address.host.clone())
        .map_err(|error| untrusted(whom, address, &rustls::Error::General(error.to_string())))?;
    match tls.connect(name, tcp).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(broken(whom, address, &error)),
    }
}

/// A failure below HTTP: TLS if there is TLS at the root of it, else the network.
pub(crate) fn broken(
    whom: Whom,
    address: &Address,
    error: &(dyn std::error::Error + 'static),
) -> ProviderError {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return untrusted(whom, address, error);
        }
        // An io::Error shows what it wraps by get_ref only.
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if let Some(error) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return untrusted(whom, address, error);
        }
        cause = error.source();
    }
    away(whom, address, &error)
}

fn untrusted(whom: Whom, address: &Address, error: &rustls::Error) -> ProviderError {
    ProviderError::denied(
        format!("TLS with {} at {address} failed ({error})", whom.name),
        whom.trust,
    )
}

fn away(whom: Whom, address: &Address, error: &dyn std::fmt::Display) -> ProviderError {
    ProviderError::unavailable(
        format!("{} at {address} cannot be reached ({error})", whom.name),
        "look whether it runs, and try again",
    )
}
