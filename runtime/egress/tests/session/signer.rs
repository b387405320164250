//! An authority that signs for clients, and a server's demand for what it signed.

use caisson_egress::ClientCertificate;
use caisson_secrets::SecretValue;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use std::sync::Arc;

pub(crate) struct Signer(CertifiedIssuer<'static, KeyPair>);

/// A client's certificate and key, as PEM, and the certificate as a server sees it.
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
    pub(crate) der: Vec<u8>,
}

impl Signer {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn issue(&self, name: &str) -> Issued {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().to_vec(),
        }
    }

    /// What a server asks clients with.
    pub(crate) fn demand(&self, also_nobody: bool) -> Arc<dyn ClientCertVerifier> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
        let verifier = if also_nobody {
            verifier.allow_unauthenticated()
        } else {
            verifier
        };
        verifier.build().unwrap()
    }
}

impl Issued {
    /// As the daemon puts it together: the key of one property, the certificate of another.
    pub(crate) fn shown(&self) -> ClientCertificate {
        let key = SecretValue::new(self.key.as_str());
        let certificate = Some(("/client_certificate", self.certificate.as_str()));
        ClientCertificate::new("/client_key", &key, certificate).unwrap()
    }
}

/// `secrets` of a policy that seals the key for one host and port.
pub(crate) fn sealed(host: &str, port: u16) -> String {
    format!(
        "secrets:\n  client_key:\n    from: ['env:CAISSON_SECRET_KEY']\n    \
         seal: {{ hosts: [{host}], ports: [{port}], place: client_key, certificate: client_certificate }}\n"
    )
}
