//! The TLS of connections to the vault: the configured authorities, and the daemon's certificate where it logs in by one.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::config::{VaultAuth, VaultConfig};
use crate::provider::ProviderError;

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
