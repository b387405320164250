//! One connection to the vault: TCP, and TLS with the configured authorities. No proxy, whatever the environment says.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use super::config::{Address, VaultAuth, VaultConfig};
use crate::provider::ProviderError;

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Reads the files that TLS needs. They are small and read at logins only, so this blocks.
pub(crate) fn tls(config: &VaultConfig) -> Result<TlsConnector, ProviderError> {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable("TLS", &error))?
        .with_root_certificates(roots(config.ca.as_deref())?);
    let client = match &config.auth {
        VaultAuth::Cert {
            certificate, key, ..
        } => {
            let chain = certificates(certificate, "certificate")?;
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| unusable(&format!("the key in {}", key.display()), &error))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| unusable("the daemon's certificate and key", &error))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(client)))
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, ProviderError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(ca) => {
            for certificate in certificates(ca, "ca")? {
                let added = roots.add(certificate);
                added.map_err(|error| unusable(&format!("ca {}", ca.display()), &error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

fn certificates(path: &Path, option: &str) -> Result<Vec<CertificateDer<'static>>, ProviderError> {
    let what = || format!("{option} {}", path.display());
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(&what(), &error));
    match read {
        Ok(read) if read.is_empty() => Err(unusable(&what(), &"it holds no PEM certificate")),
        other => other,
    }
}

fn unusable(what: &str, error: &dyn std::fmt::Display) -> ProviderError {
    ProviderError::denied(
        format!("{what} cannot be used for the vault: {error}"),
        "name a readable PEM file in the vault's configuration",
    )
}

/// Opens a connection, with TLS for `https`. An `http` address is connected to only where it truly leads to this host.
pub(crate) async fn connect(
    address: &Address,
    tls: Option<&TlsConnector>,
) -> Result<Box<dyn Stream>, ProviderError> {
    let away = |error: &io::Error| away(address, error);
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
        .map_err(|error| untrusted(address, &rustls::Error::General(error.to_string())))?;
    match tls.connect(name, tcp).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(broken(address, &error)),
    }
}

/// A failure below HTTP: TLS if there is TLS at the root of it, else the network.
pub(crate) fn broken(
    address: &Address,
    error: &(dyn std::error::Error + 'static),
) -> ProviderError {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return untrusted(address, error);
        }
        // An io::Error shows what it wraps by get_ref only.
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if let Some(error) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return untrusted(address, error);
        }
        cause = error.source();
    }
    away(address, &error)
}

fn untrusted(address: &Address, error: &rustls::Error) -> ProviderError {
    ProviderError::denied(
        format!("TLS with the vault at {address} failed ({error})"),
        "name the authority that signed the vault's certificate as ca in the vault's configuration, and the host as the certificate has it in address",
    )
}

fn away(address: &Address, error: &dyn std::fmt::Display) -> ProviderError {
    ProviderError::unavailable(
        format!("the vault at {address} cannot be reached ({error})"),
        "look whether it runs, and try again",
    )
}
