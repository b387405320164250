//! Client certificates (RFC 8446, 4.4.2): shown to an upstream by the gateway, under a key that the worker does not hold.
//!
//! A certificate is one call's. With it go the TLS sessions that were begun under it, so that no other call resumes one.

use caisson_secrets::SecretValue;
use rustls::client::ResolvesClientCert;
use rustls::crypto::ring;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, Error as TlsFailure, InconsistentKeys, SignatureScheme};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use zeroize::{Zeroize, Zeroizing};

/// A certificate with its key, for the places of one or more seals. Clones are the same one.
#[derive(Debug, Clone)]
pub struct ClientCertificate(Arc<Shown>);

#[derive(Debug)]
struct Shown {
    property: String,
    certificate: Option<String>,
    key: Arc<CertifiedKey>,
    /// Of this certificate alone, with its sessions.
    config: OnceLock<ClientConfig>,
}

/// Why a certificate cannot be shown. No text repeats anything of what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientCertificateError {
    /// No key in the value.
    #[error(
        "no private key in PEM; store the whole file, from -----BEGIN PRIVATE KEY----- to its end, with its line ends"
    )]
    NoKey,
    /// The key needs a passphrase.
    #[error(
        "the private key is encrypted; store it decrypted (openssl pkey -in key.pem), where who may read it is guarded"
    )]
    Encrypted,
    /// Two or more.
    #[error("there is more than one private key; store the one of the certificate")]
    SeveralKeys,
    /// Not a key that the gateway can sign with.
    #[error(
        "the private key cannot be used; store an RSA key of 2048 to 4096 bits, an ECDSA key on P-256 or P-384, or an Ed25519 key, as PKCS#8, PKCS#1 or SEC1"
    )]
    BadKey,
    /// No certificate.
    #[error(
        "no certificate in PEM; give the whole file, from -----BEGIN CERTIFICATE----- to its end, with its line ends"
    )]
    NoCertificate,
    /// Not one.
    #[error("the certificate cannot be read; give an X.509 certificate in PEM")]
    BadCertificate,
    /// Where the worker sees it.
    #[error(
        "a private key stands beside the certificate, where the worker sees it; leave the key in its own property"
    )]
    KeyBesideCertificate,
    /// Of another certificate.
    #[error(
        "the private key is not that of the first certificate; put the key's own certificate first, and those of its issuers behind it"
    )]
    Mismatch,
}

impl ClientCertificateError {
    /// Whether it is the certificate's property that has to be mended, where it has one of its own, and not the key's.
    #[must_use]
    pub fn is_of_certificate(self) -> bool {
        matches!(
            self,
            Self::NoCertificate | Self::BadCertificate | Self::KeyBesideCertificate
        )
    }
}

impl ClientCertificate {
    /// Puts together the value of the property that is sealed as a client's key, and the text of the property that the seal
    /// names for the certificate, where it names one: its pointer and PEM.
    ///
    /// # Errors
    /// Either cannot be read, or they do not belong together.
    pub fn new(
        property: &str,
        key: &SecretValue,
        certificate: Option<(&str, &str)>,
    ) -> Result<Self, ClientCertificateError> {
        let (own, beside) = sections(key.expose());
        let (chain, private) = match certificate {
            None => (own, beside?),
            Some((_, pem)) => {
                let (chain, keys) = sections(pem);
                match keys {
                    Err(ClientCertificateError::NoKey) => (chain, beside?),
                    _ => return Err(ClientCertificateError::KeyBesideCertificate),
                }
            }
        };
        if chain.is_empty() {
            return Err(ClientCertificateError::NoCertificate);
        }
        let key = CertifiedKey::from_der(chain, private, &ring::default_provider());
        let key = key.map_err(|error| match error {
            TlsFailure::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                ClientCertificateError::Mismatch
            }
            TlsFailure::InvalidCertificate(_) => ClientCertificateError::BadCertificate,
            _ => ClientCertificateError::BadKey,
        })?;
        Ok(Self(Arc::new(Shown {
            property: property.to_owned(),
            certificate: certificate.map(|(pointer, _)| pointer.to_owned()),
            key: Arc::new(key),
            config: OnceLock::new(),
        })))
    }

    /// Whether it is made of what a seal names.
    pub(crate) fn is_of(&self, property: &str, certificate: Option<&str>) -> bool {
        self.0.property == property && self.0.certificate.as_deref() == certificate
    }

    /// The configuration that shows it, made once.
    pub(crate) fn config(&self, make: impl FnOnce(Shows) -> ClientConfig) -> ClientConfig {
        let config = self
            .0
            .config
            .get_or_init(|| make(Shows(self.0.key.clone())));
        config.clone()
    }
}

/// The same certificate of the same call, not one that is spelt alike.
impl PartialEq for ClientCertificate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// The certificates and the key of a PEM text (RFC 7468), in the order in which they stand. What else there is, is left out.
fn sections(
    pem: &str,
) -> (
    Vec<CertificateDer<'static>>,
    Result<PrivateKeyDer<'static>, ClientCertificateError>,
) {
    let mut chain = Vec::new();
    let mut key = Err(ClientCertificateError::NoKey);
    if pem.contains("ENCRYPTED") {
        key = Err(ClientCertificateError::Encrypted);
    }
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem.as_bytes()) {
        let Ok((kind, der)) = section else { break };
        let mut der = Zeroizing::new(der);
        let found = match kind {
            SectionKind::Certificate => {
                chain.push(CertificateDer::from(std::mem::take(&mut *der)));
                continue;
            }
            SectionKind::PrivateKey => PrivateKeyDer::Pkcs8(std::mem::take(&mut *der).into()),
            SectionKind::RsaPrivateKey => PrivateKeyDer::Pkcs1(std::mem::take(&mut *der).into()),
            SectionKind::EcPrivateKey => PrivateKeyDer::Sec1(std::mem::take(&mut *der).into()),
            _ => continue,
        };
        key = match key {
            Err(ClientCertificateError::NoKey) => Ok(found),
            Ok(mut first) => {
                first.zeroize();
                Err(ClientCertificateError::SeveralKeys)
            }
            Err(other) => Err(other),
        };
    }
    (chain, key)
}

/// Shows a certificate to every server that asks for one: only those that a seal names are met with it.
#[derive(Debug)]
pub(crate) struct Shows(Arc<CertifiedKey>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

tokio::task_local! {
    /// Whether the server of the handshake that the task makes asked for a certificate where there is none to show. One
    /// resolver is of all handshakes, since a session is resumed only under the resolver that it was begun with.
    static ASKED: Arc<AtomicBool>;
}

/// Has no certificate, and notes that a server asked.
#[derive(Debug)]
pub(crate) struct Notes;

impl Notes {
    /// Makes a handshake, and sets `asked` where the server asked for a certificate in vain.
    pub(crate) async fn during<T>(
        asked: &Arc<AtomicBool>,
        handshake: impl Future<Output = T>,
    ) -> T {
        ASKED.scope(Arc::clone(asked), handshake).await
    }
}

impl ResolvesClientCert for Notes {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // Outside of a handshake that wants to know, nobody does.
        let _ = ASKED.try_with(|asked| asked.store(true, Ordering::Relaxed));
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// Whether it was the other side that ended TLS, with an alert: not taking its certificate is this side's own doing.
pub(crate) fn is_alert(error: &io::Error) -> bool {
    let failure = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<TlsFailure>());
    matches!(failure, Some(TlsFailure::AlertReceived(_)))
}

/// What to write where a server asked for a certificate in vain.
pub(crate) fn wanted(host: &dyn std::fmt::Display, port: u16) -> String {
    format!(
        "{host} asked for a client certificate, and the call has none for it: seal its key in the policy, as in seal: {{ hosts: [{host}], ports: [{port}], place: client_key, certificate: client_certificate }}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    /// A certificate that signed itself, and its key.
    fn made() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
        let certificate = certificate.self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn put_together(
        key: &str,
        certificate: Option<&str>,
    ) -> Result<ClientCertificate, ClientCertificateError> {
        let certificate = certificate.map(|pem| ("/certificate", pem));
        ClientCertificate::new("/key", &SecretValue::new(key), certificate)
    }

    #[test]
    fn a_certificate_stands_beside_its_key_or_in_a_property_of_its_own() {
        let (certificate, key) = made();
        let apart = put_together(&key, Some(&certificate)).unwrap();
        assert!(apart.is_of("/key", Some("/certificate")) && !apart.is_of("/key", None));
        for both in [
            format!("{certificate}{key}"),
            format!("{key}\n{certificate}"),
        ] {
            assert!(put_together(&both, None).unwrap().is_of("/key", None));
        }
    }

    #[test]
    fn what_is_wrong_is_told_and_nothing_of_the_key_is() {
        use ClientCertificateError::*;
        let (certificate, key) = made();
        let (foreign, _) = made();
        let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let old = key.replace(
            "-----BEGIN PRIVATE KEY-----\n",
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n",
        );
        let broken = key.replace("MI", "MA");
        let one_line = key.replace('\n', " ");
        let other_der = certificate.replace("CERTIFICATE", "PRIVATE KEY");
        let no_x509 = key.replace("PRIVATE KEY", "CERTIFICATE");
        let twice = format!("{key}{key}");
        let both = format!("{certificate}{key}");
        let cases: &[(&str, Option<&str>, ClientCertificateError)] = &[
            ("hunter22", Some(&certificate), NoKey),
            (&certificate, None, NoKey),
            (&one_line, Some(&certificate), NoKey),
            (&encrypted, Some(&certificate), Encrypted),
            (&old, Some(&certificate), Encrypted),
            (&twice, Some(&certificate), SeveralKeys),
            (&broken, Some(&certificate), BadKey),
            (&other_der, Some(&certificate), BadKey),
            (&key, None, NoCertificate),
            (&key, Some("hunter22"), NoCertificate),
            (&key, Some(&no_x509), BadCertificate),
            (&key, Some(&both), KeyBesideCertificate),
            (&key, Some(&encrypted), KeyBesideCertificate),
            (&key, Some(&foreign), Mismatch),
        ];
        for (number, (key, certificate, expected)) in cases.iter().enumerate() {
            let error = put_together(key, *certificate).unwrap_err();
            assert_eq!(error, *expected, "case {number}");
            let told = error.to_string();
            let lines = key.lines().filter(|line| line.len() > 16);
            for line in lines.filter(|line| !line.starts_with("-----")) {
                assert!(!told.contains(line), "{told}");
            }
        }
    }

    #[test]
    fn keys_of_every_encoding_are_taken() {
        let openssl = |words: &str, given: &str| {
            let mut openssl = Command::new("openssl");
            openssl.args(words.split(' ')).stdin(Stdio::piped());
            openssl.stdout(Stdio::piped()).stderr(Stdio::null());
            let mut openssl = openssl.spawn().expect("openssl is installed");
            openssl
                .stdin
                .take()
                .unwrap()
                .write_all(given.as_bytes())
                .unwrap();
            let done = openssl.wait_with_output().unwrap();
            assert!(done.status.success(), "{words}");
            String::from_utf8(done.stdout).unwrap()
        };
        let own = "-nodes -subj /CN=client -days 2 -keyout /dev/stdout";
        for (kind, begins) in [
            ("-newkey rsa:2048", "-----BEGIN RSA PRIVATE KEY-----"),
            (
                "-newkey ec -pkeyopt ec_paramgen_curve:secp384r1",
                "-----BEGIN EC PRIVATE KEY-----",
            ),
        ] {
            let both = openssl(&format!("req -x509 {kind} {own}"), "");
            put_together(&both, None).unwrap();
            let old = openssl("pkey -traditional", &both);
            assert!(old.starts_with(begins), "{kind}");
            put_together(
                &old,
                Some(&both[both.find("-----BEGIN CERTIFICATE").unwrap()..]),
            )
            .unwrap();
        }
    }
}
