//! Assertions that a private key signs (RFC 7523), as JSON Web Tokens (RFC 7519) in compact form. This file performs no IO.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use zeroize::Zeroizing;

use super::recipe::{Algorithm, Signing};
use crate::provider::ProviderError;
use crate::value::SecretValue;

/// How long an assertion is valid, seconds. What it is used for is done at once.
const LIFE: u64 = 300;
/// Bytes of each of the two numbers of an ECDSA signature over P-256 (RFC 7518, section 3.4).
const NUMBER: usize = 32;

/// What an assertion says (RFC 7523, section 3).
pub(super) struct Claims<'a> {
    pub(super) issuer: &'a str,
    pub(super) subject: &'a str,
    pub(super) audience: &'a str,
    /// Only where an assertion is a grant.
    pub(super) scope: Option<&'a str>,
}

/// Signs an assertion.
///
/// # Errors
/// The secret is no private key for the algorithm. Nothing of it is told.
pub(super) fn assertion(
    key: &SecretValue,
    signing: &Signing,
    claims: &Claims<'_>,
) -> Result<Zeroizing<String>, ProviderError> {
    let signer = signer(key, signing.algorithm)?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let mut header = json!({ "alg": signing.algorithm, "typ": "JWT" });
    if let Some(id) = &signing.key_id {
        header["kid"] = json!(id);
    }
    let mut said = json!({
        "iss": claims.issuer,
        "sub": claims.subject,
        "aud": claims.audience,
        "iat": now,
        "exp": now + LIFE,
        "jti": uuid::Uuid::new_v4().to_string(),
    });
    if let Some(scope) = claims.scope {
        said["scope"] = json!(scope);
    }
    let coded = |part: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(part);
    let mut token = Zeroizing::new(format!(
        "{}.{}",
        coded(header.to_string().as_bytes()),
        coded(said.to_string().as_bytes())
    ));
    let signature = signer
        .sign(token.as_bytes())
        .map_err(|_| unusable(signing.algorithm))?;
    let signature = match signing.algorithm {
        Algorithm::RS256 => signature,
        Algorithm::ES256 => numbers(&signature).ok_or_else(|| unusable(signing.algorithm))?,
    };
    token.push('.');
    token.push_str(&coded(&signature));
    Ok(token)
}

fn signer(
    key: &SecretValue,
    algorithm: Algorithm,
) -> Result<Box<dyn rustls::sign::Signer>, ProviderError> {
    let der =
        PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).map_err(|_| unusable(algorithm))?;
    let key = any_supported_type(&der).map_err(|_| unusable(algorithm))?;
    let scheme = match algorithm {
        Algorithm::RS256 => SignatureScheme::RSA_PKCS1_SHA256,
        Algorithm::ES256 => SignatureScheme::ECDSA_NISTP256_SHA256,
    };
    key.choose_scheme(&[scheme])
        .ok_or_else(|| unusable(algorithm))
}

fn unusable(algorithm: Algorithm) -> ProviderError {
    let kind = match algorithm {
        Algorithm::RS256 => "an RSA key of at least 2048 bits",
        Algorithm::ES256 => "a key on the curve P-256",
    };
    ProviderError::malformed(
        format!("the secret is no private key that signs {algorithm:?}"),
        format!("store {kind} in PEM (BEGIN PRIVATE KEY), without a passphrase"),
    )
}

/// The two numbers of an ECDSA signature side by side, as JWS has them (RFC 7518, section 3.4), from the DER form that
/// TLS has (RFC 3279, section 2.2.3): SEQUENCE { INTEGER, INTEGER }.
fn numbers(der: &[u8]) -> Option<Vec<u8>> {
    let (body, rest) = element(der, 0x30)?;
    let (first, body) = element(body, 0x02)?;
    let (second, body) = element(body, 0x02)?;
    if !rest.is_empty() || !body.is_empty() {
        return None;
    }
    let mut side_by_side = Vec::with_capacity(2 * NUMBER);
    for number in [first, second] {
        // A leading zero keeps a number positive, and leading zeros of a small one are left out.
        let number = number.strip_prefix(&[0]).unwrap_or(number);
        let missing = NUMBER.checked_sub(number.len())?;
        side_by_side.resize(side_by_side.len() + missing, 0);
        side_by_side.extend_from_slice(number);
    }
    Some(side_by_side)
}

/// One element of fewer than 128 bytes, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, length], rest) = der.split_first_chunk::<2>()?;
    let is_short = found == tag && length < 128;
    is_short.then(|| rest.split_at_checked(length.into()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_signature_are_side_by_side_whatever_their_length() {
        let long = [&[0x80; 32][..], &[0x7f; 32]].concat();
        let der = [
            &[0x30, 69, 0x02, 33, 0][..],
            &long[..32],
            &[0x02, 32],
            &long[32..],
        ]
        .concat();
        assert_eq!(numbers(&der).unwrap(), long);
        let small = numbers(&[0x30, 6, 0x02, 1, 5, 0x02, 1, 9]).unwrap();
        assert_eq!((small.len(), small[31], small[63]), (64, 5, 9));
        for broken in [
            &der[..40],
            &[0x30, 0][..],
            &[],
            &[0x31, 6, 2, 1, 5, 2, 1, 9],
        ] {
            assert_eq!(numbers(broken), None);
        }
    }

    #[test]
    fn what_is_no_key_is_told_without_a_word_of_it() {
        let signing = Signing {
            algorithm: Algorithm::RS256,
            key_id: None,
        };
        let claims = Claims {
            issuer: "i",
            subject: "s",
            audience: "a",
            scope: None,
        };
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        for secret in ["hunter22", &key] {
            let error = assertion(&SecretValue::new(secret), &signing, &claims).unwrap_err();
            assert!(error.to_string().contains("RSA key"), "{error}");
            assert!(!error.to_string().contains("hunter22"));
        }
        let signing = Signing {
            algorithm: Algorithm::ES256,
            key_id: Some("k1".into()),
        };
        let signed = assertion(&SecretValue::new(key), &signing, &claims).unwrap();
        let parts: Vec<_> = signed.split('.').collect();
        assert_eq!((parts.len(), parts[2].len()), (3, 86));
    }
}
