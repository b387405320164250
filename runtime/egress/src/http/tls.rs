//! Both TLS sides of an inspected connection: leaves of this daemon's own CA towards the worker, real verification towards
//! the upstream.

use crate::ca::Authority;
use crate::client_certificate::{ClientCertificate, Notes};
use crate::fault::CertificateFault;
use crate::name::Name;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::sync::Arc;

/// TLS sessions with upstreams that are remembered, so that the next handshake is short.
const SESSIONS: usize = 1_024;
/// The same of those begun under a client certificate, which no other call resumes.
const OWN_SESSIONS: usize = 16;

/// The HTTP of a connection, as ALPN names it (RFC 7301). Both sides speak the same one: nothing is translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

impl Version {
    const fn alpn(self) -> &'static [u8] {
        match self {
            Self::One => b"http/1.1",
            Self::Two => b"h2",
        }
    }
}

/// What a worker offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) one: bool,
    pub(super) two: bool,
}

impl Offer {
    /// A worker that offers nothing speaks HTTP/1.1 and wants no answer to what it did not ask.
    pub(super) fn of(hello: &ClientHello<'_>) -> (Self, bool) {
        let Some(protocols) = hello.alpn() else {
            return (
                Self {
                    one: true,
                    two: false,
                },
                false,
            );
        };
        let mut offer = Self {
            one: false,
            two: false,
        };
        for protocol in protocols {
            offer.one |= protocol == Version::One.alpn();
            offer.two |= protocol == Version::Two.alpn();
        }
        (offer, true)
    }

    fn index(self) -> usize {
        usize::from(self.one) | usize::from(self.two) << 1
    }
}

/// The configurations of a daemon, made once.
#[derive(Debug)]
pub(crate) struct Tls {
    authority: Arc<Authority>,
    /// Without ALPN, with HTTP/1.1, with HTTP/2.
    servers: [Arc<ServerConfig>; 3],
    /// By offer.
    clients: [Arc<ClientConfig>; 4],
}

/// Why there is no inspection.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No certificate is trusted.
    #[error(
        "no upstream can be verified: this host has no root certificates; install ca-certificates, or name a file in egress.ca"
    )]
    NoRoots,
    /// The library refused the configuration.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
}

impl Tls {
    /// `more` are authorities that upstreams may be verified by, beside the host's.
    pub(crate) fn new(
        authority: &Arc<Authority>,
        more: &[CertificateDer<'static>],
    ) -> Result<Self, TlsError> {
        let roots = Arc::new(roots(more));
        let none: Arc<dyn ResolvesClientCert> = Arc::new(Notes);
        Ok(Self {
            authority: Arc::clone(authority),
            servers: [
                server(authority, None)?,
                server(authority, Some(Version::One))?,
                server(authority, Some(Version::Two))?,
            ],
            clients: [
                client(&roots, &none, &[])?,
                client(&roots, &none, &[Version::One])?,
                client(&roots, &none, &[Version::Two])?,
                client(&roots, &none, &[Version::Two, Version::One])?,
            ],
        })
    }

    pub(super) fn server(&self, version: Version, named: bool) -> Arc<ServerConfig> {
        let [none, one, two] = &self.servers;
        Arc::clone(match version {
            _ if !named => none,
            Version::One => one,
            Version::Two => two,
        })
    }

    /// One that shows a certificate which nobody must believe; `None` where there is none to be had.
    pub(super) fn wrong_server(
        &self,
        version: Version,
        named: bool,
        name: &Name,
        fault: CertificateFault,
    ) -> Option<Arc<ServerConfig>> {
        let key = match fault {
            CertificateFault::Expired => self.authority.expired_leaf(name),
            CertificateFault::WrongName => Name::parse("wrong.invalid")
                .ok()
                .map(|other| self.authority.leaf(&other))?,
            CertificateFault::UnknownIssuer => Authority::new().and_then(|other| other.leaf(name)),
        };
        let key = key
            .inspect_err(|error| tracing::error!(%error, "no wrong certificate could be made"))
            .ok()?;
        let mut config = ServerConfig::clone(&self.server(version, named));
        config.cert_resolver = Arc::new(SingleCertAndKey::from(key));
        Some(Arc::new(config))
    }

    /// Towards an upstream to which HTTP is spoken, with the certificate that it is shown.
    pub(super) fn client(
        &self,
        offer: Offer,
        certificate: Option<&ClientCertificate>,
    ) -> Arc<ClientConfig> {
        let shared = &self.clients[offer.index()];
        match certificate {
            None => Arc::clone(shared),
            Some(certificate) => Arc::new(self.showing(certificate, &shared.alpn_protocols)),
        }
    }

    /// Towards an upstream that speaks something else.
    pub(crate) fn plain_client(
        &self,
        certificate: Option<&ClientCertificate>,
    ) -> Arc<ClientConfig> {
        match certificate {
            None => Arc::clone(&self.clients[0]),
            Some(certificate) => Arc::new(self.showing(certificate, &[])),
        }
    }

    /// One that shows a certificate, with its own sessions and nobody else's.
    fn showing(&self, certificate: &ClientCertificate, alpn: &[Vec<u8>]) -> ClientConfig {
        let mut config = certificate.config(|shows| {
            let mut config = ClientConfig::clone(&self.clients[0]);
            config.client_auth_cert_resolver = Arc::new(shows);
            config.resumption = Resumption::in_memory_sessions(OWN_SESSIONS);
            config
        });
        config.alpn_protocols = alpn.to_vec();
        config
    }
}

/// What the upstream chose.
pub(super) fn chosen(alpn: Option<&[u8]>) -> Version {
    if alpn == Some(Version::Two.alpn()) {
        Version::Two
    } else {
        Version::One
    }
}

fn roots(more: &[CertificateDer<'static>]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors {
        tracing::warn!(%error, "some of the host's root certificates cannot be read");
    }
    roots.add_parsable_certificates(found.certs);
    roots.add_parsable_certificates(more.iter().cloned());
    if roots.is_empty() {
        tracing::warn!(
            "this host has no root certificates, so that no upstream can be verified; install ca-certificates, or name a file in egress.ca"
        );
    }
    roots
}

fn server(
    authority: &Arc<Authority>,
    alpn: Option<Version>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Leaves(Arc::clone(authority))));
    config.alpn_protocols = alpn.iter().map(|version| version.alpn().to_vec()).collect();
    config.ticketer = ring::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

fn client(
    roots: &Arc<RootCertStore>,
    none: &Arc<dyn ResolvesClientCert>,
    alpn: &[Version],
) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(Arc::clone(roots))
        .with_client_cert_resolver(Arc::clone(none));
    config.alpn_protocols = alpn.iter().map(|version| version.alpn().to_vec()).collect();
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(Arc::new(config))
}

/// A leaf for the name in the ClientHello, which was compared with the allowed one before this is asked.
#[derive(Debug)]
struct Leaves(Arc<Authority>);

impl ResolvesServerCert for Leaves {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = Name::parse(hello.server_name()?).ok()?;
        let leaf = self.0.leaf(&name);
        leaf.inspect_err(|error| tracing::error!(%error, %name, "no certificate could be made"))
            .ok()
    }
}
