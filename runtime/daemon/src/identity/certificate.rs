//! Callers that show a client certificate. That its authority signed it, TLS
//! has checked (RFC 8446, section 4.4); here it only gets a name and rights.

use sha2::{Digest, Sha256};
use tonic::Request;
use tonic::transport::CertificateDer;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use webpki::EndEntityCert;

use super::{Access, Caller, Known};

/// What holders of some client certificates may do.
#[derive(Debug, Clone)]
pub struct Client {
    /// The tenant that holds them.
    pub name: String,
    /// Which certificates.
    pub id: ClientId,
    /// What their holder may do.
    pub access: Access,
}

/// Which client certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientId {
    /// The one with this SHA-256 of its DER form.
    Sha256([u8; 32]),
    /// Those with this DNS name or URI as a subject alternative name (RFC
    /// 5280, section 4.2.1.6), compared as a whole. The common name of the
    /// subject is not looked at.
    Name(String),
}

impl ClientId {
    fn is(&self, sha256: &[u8; 32], certificate: Option<&EndEntityCert<'_>>) -> bool {
        match self {
            Self::Sha256(known) => known == sha256,
            Self::Name(name) => certificate.is_some_and(|certificate| {
                certificate.valid_uri_names().any(|uri| uri == name)
                    || certificate
                        .valid_dns_names()
                        .any(|dns| dns.eq_ignore_ascii_case(name))
            }),
        }
    }
}

/// The holder of the certificate that the connection was opened with: the
/// first entry that fits, or an unnamed caller with the rights of one for whom
/// nothing is written.
pub(super) fn caller(request: &Request<()>, clients: &[Client]) -> Option<Caller> {
    let chain = request
        .extensions()
        .get::<TlsConnectInfo<TcpConnectInfo>>()
        .and_then(TlsConnectInfo::peer_certs)?;
    Some(holder(chain.first()?, clients))
}

fn holder(leaf: &CertificateDer<'_>, clients: &[Client]) -> Caller {
    let sha256: [u8; 32] = Sha256::digest(leaf).into();
    let certificate = EndEntityCert::try_from(leaf).ok();
    let named = clients
        .iter()
        .find(|client| client.id.is(&sha256, certificate.as_ref()));
    match named {
        Some(client) => {
            let known = Known::Client(client.name.as_str().into());
            Caller::new(known, client.access.clone())
        }
        None => {
            let hex: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
            Caller::new(Known::Certificate(hex.into()), Access::default())
        }
    }
}

/// A SHA-256 as 64 hexadecimal digits, or as `openssl x509 -fingerprint
/// -sha256` prints it.
pub(crate) fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = if text.contains(':') {
        let pairs: Vec<&str> = text.split(':').collect();
        if pairs.iter().any(|pair| pair.len() != 2) {
            return None;
        }
        pairs.concat().into_bytes()
    } else {
        text.as_bytes().to_vec()
    };
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut sha256 = [0; 32];
    for (byte, pair) in sha256.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(sha256)
}
