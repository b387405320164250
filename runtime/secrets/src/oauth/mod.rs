//! OAuth 2.0 (RFC 6749) by the daemon: a secret that the worker never has is turned into access tokens that it never has
//! either.

mod ask;
mod assertion;
mod grant;
mod kept;
mod recipe;
mod token;

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use self::grant::Granted;
use self::kept::Kept;
use self::token::{Key, Slots};
use crate::provider::{Provider, ProviderError};
use crate::reference::Reference;
use crate::value::SecretValue;

pub use self::grant::OWN as OWN_PARAMS;
pub use self::recipe::{
    Algorithm, ClientAuth, Grant, OAuth2, Signing, TokenUrl, TokenUrlError, Told,
};
pub use self::token::AccessToken;

/// What the gateway puts in for a placeholder.
#[derive(Debug, Clone)]
pub enum Held {
    /// The secret itself.
    Value(SecretValue),
    /// The access token that it is worth at the moment.
    Token(AccessToken),
}

impl Held {
    /// What to put in now.
    ///
    /// # Errors
    /// There is no access token to be had.
    pub async fn now(&self) -> Result<SecretValue, ProviderError> {
        match self {
            Held::Value(value) => Ok(value.clone()),
            Held::Token(token) => token.get().await,
        }
    }
}

impl From<SecretValue> for Held {
    fn from(value: SecretValue) -> Held {
        Held::Value(value)
    }
}

/// The access tokens of a daemon. Cheap to clone.
#[derive(Clone)]
pub struct Tokens {
    tls: TlsConnector,
    slots: Arc<Slots>,
}

impl Tokens {
    /// `more` are authorities that token endpoints may be verified by, beside the host's.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(more: &[CertificateDer<'static>]) -> Result<Tokens, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots.add_parsable_certificates(more.iter().cloned());
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Tokens {
            tls: TlsConnector::from(Arc::new(config)),
            slots: Arc::default(),
        })
    }

    /// The access token of a secret. `told` gives what the recipe names of the config.
    ///
    /// # Errors
    /// The recipe names what the config does not have, or the secret cannot be kept.
    pub(crate) fn of(
        &self,
        recipe: &OAuth2,
        reference: &Reference,
        secret: SecretValue,
        provider: &Arc<dyn Provider>,
        told: impl Fn(&str) -> Option<SecretValue>,
    ) -> Result<AccessToken, ProviderError> {
        let of = |name: &str, pointer: &str| {
            told(pointer).map(Some).ok_or_else(|| {
                ProviderError::malformed(
                    format!("the config has no text at {pointer}, which is the policy's {name}"),
                    "give the property in the connection's config",
                )
            })
        };
        let text = |name: &str, told: Option<&Told>| match told {
            None => Ok(None),
            Some(Told::Text(text)) => Ok(Some(SecretValue::new(text.as_str()))),
            Some(Told::Property(pointer)) => of(name, pointer),
        };
        let (issuer, subject) = match &recipe.grant {
            Grant::JwtBearer {
                issuer, subject, ..
            } => (issuer.as_ref(), subject.as_ref()),
            _ => (None, None),
        };
        let client_secret = recipe.client_secret.as_deref();
        let granted = Granted {
            recipe: recipe.clone(),
            tls: self.tls.clone(),
            secret,
            client_id: text("client_id", recipe.client_id.as_ref())?,
            client_secret: client_secret
                .map_or(Ok(None), |pointer| of("client_secret", pointer))?,
            issuer: text("issuer", issuer)?,
            subject: text("subject", subject)?,
            kept: matches!(recipe.grant, Grant::RefreshToken { rotates: true }).then(|| Kept {
                provider: Arc::clone(provider),
                reference: reference.clone(),
            }),
        };
        let hidden =
            |value: &Option<SecretValue>| value.as_ref().map(|value| value.expose().to_owned());
        // What is asked for, and as whom. A client's secret may change and the token is the same.
        let key = format!(
            "{reference} {recipe:?} {:?} {:?} {:?}",
            hidden(&granted.client_id),
            hidden(&granted.issuer),
            hidden(&granted.subject)
        );
        Ok(self.slots.token(&Key(key), granted))
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}
