//! How a policy has access tokens made of a secret. The policy file is read by the egress crate, which owns its format.
//! This file performs no IO.

use std::collections::BTreeMap;

use http::Uri;
use serde::Serialize;

use crate::web::{Address, AddressFault};

/// How access tokens are got with a secret: `oauth2` of an entry of a policy's `secrets`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OAuth2 {
    /// What the secret is, and what is sent for it.
    pub grant: Grant,
    /// The token endpoint (RFC 6749, section 3.2).
    pub token_url: TokenUrl,
    /// The client's identifier (RFC 6749, section 2.2); none where an assertion says enough.
    pub client_id: Option<Told>,
    /// The secret of the client itself, where the entry's own is another. JSON pointer of a property of the config.
    pub client_secret: Option<String>,
    /// How the client proves itself.
    pub client_auth: ClientAuth,
    /// What is asked for (RFC 6749, section 3.3).
    pub scope: Option<String>,
    /// Further parameters of the request, such as `audience` and `resource`.
    pub params: BTreeMap<String, String>,
    /// How assertions are signed, where there are any.
    pub signing: Option<Signing>,
}

/// The kinds of grants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// The secret is the client's (RFC 6749, section 4.4).
    ClientCredentials,
    /// The secret is a refresh token (RFC 6749, section 6).
    RefreshToken {
        /// Whether an answer may bring another one, which then has to be stored in place of the one that was used.
        rotates: bool,
    },
    /// The secret is a private key in PEM, which signs an assertion (RFC 7523, section 2.1).
    JwtBearer {
        /// `iss`: the client's identifier where nothing is said.
        issuer: Option<Told>,
        /// `sub`: the issuer where nothing is said.
        subject: Option<Told>,
        /// `aud`: the token endpoint where nothing is said.
        audience: Option<String>,
    },
}

/// How a client proves itself at the token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// By HTTP Basic (RFC 6749, section 2.3.1).
    Basic,
    /// In the body of the request (RFC 6749, section 2.3.1).
    Body,
    /// By an assertion that its private key signs (RFC 7523, section 2.2).
    PrivateKeyJwt,
    /// Not at all: a public client.
    None,
}

/// How an assertion is signed (RFC 7515).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signing {
    /// `alg`.
    pub algorithm: Algorithm,
    /// `kid`.
    pub key_id: Option<String>,
}

/// Signature algorithms (RFC 7518, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// ECDSA with P-256 and SHA-256.
    ES256,
}

/// A text that the policy has, or a property of the connection's config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// As it is.
    Text(String),
    /// JSON pointer of the property.
    Property(String),
}

/// The address of a token endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct TokenUrl(String);

/// Why a text is no address of a token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenUrlError {
    /// No URL of HTTP, or one with a user or a fragment.
    #[error(
        "not a URL; write https://HOST/PATH, as the service's documentation names its token endpoint"
    )]
    NoUrl,
    /// Secrets would cross a network in the clear.
    #[error(
        "http:// would send the secret in the clear; write https://, or http:// with a loopback address"
    )]
    InTheClear,
}

impl TokenUrl {
    /// Checks an address.
    ///
    /// # Errors
    /// It is none, or one that secrets may not go to.
    pub fn parse(text: &str) -> Result<TokenUrl, TokenUrlError> {
        let uri: Uri = text.parse().map_err(|_| TokenUrlError::NoUrl)?;
        if text.contains('#') {
            return Err(TokenUrlError::NoUrl);
        }
        Address::of_uri(&uri).map_err(|fault| match fault {
            AddressFault::NoAddress => TokenUrlError::NoUrl,
            AddressFault::InTheClear => TokenUrlError::InTheClear,
        })?;
        Ok(TokenUrl(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where it is, and what is asked for there.
    pub(super) fn parts(&self) -> (Address, String) {
        let uri: Uri = self.0.parse().unwrap_or_default();
        let address = Address::of(&uri).expect("checked when it was read");
        let target = uri.path_and_query().map_or("/", |all| all.as_str());
        (address, target.to_owned())
    }
}

impl OAuth2 {
    /// The properties of the config that are used beside the entry's own.
    pub fn properties(&self) -> impl Iterator<Item = &str> {
        let (issuer, subject) = match &self.grant {
            Grant::JwtBearer {
                issuer, subject, ..
            } => (issuer.as_ref(), subject.as_ref()),
            _ => (None, None),
        };
        let told = [self.client_id.as_ref(), issuer, subject];
        let told = told.into_iter().flatten().filter_map(Told::property);
        told.chain(self.client_secret.as_deref())
    }
}

impl Told {
    fn property(&self) -> Option<&str> {
        match self {
            Told::Text(_) => None,
            Told::Property(pointer) => Some(pointer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_endpoint_is_where_secrets_may_go() {
        for (text, expected) in [
            ("https://login.example/oauth2/token", Ok(())),
            ("https://login.example:8443/token?tenant=1", Ok(())),
            ("http://127.0.0.1:9000/token", Ok(())),
            ("http://login.example/token", Err(TokenUrlError::InTheClear)),
            ("https://me@login.example/token", Err(TokenUrlError::NoUrl)),
            ("https://login.example/token#x", Err(TokenUrlError::NoUrl)),
            ("login.example/token", Err(TokenUrlError::NoUrl)),
            ("ftp://login.example/token", Err(TokenUrlError::NoUrl)),
        ] {
            assert_eq!(TokenUrl::parse(text).map(|_| ()), expected, "{text}");
        }
    }
}
