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
use self::token::{Digest, Slots};
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
            slots: Arc::new(Slots::new()),
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
        let mut granted = Granted {
            recipe: recipe.clone(),
            tls: self.tls.clone(),
            secret,
            client_id: text("client_id", recipe.client_id.as_ref())?,
            client_secret: client_secret
                .map_or(Ok(None), |pointer| of("client_secret", pointer))?,
            issuer: text("issuer", issuer)?,
            subject: text("subject", subject)?,
            kept: None,
        };
        let told: Vec<&str> = [&granted.client_id, &granted.issuer, &granted.subject]
            .into_iter()
            .map(|value| value.as_ref().map_or("", SecretValue::expose))
            .collect();
        // What is asked for, and as whom.
        let what = format!("{reference} {recipe:?}");
        let what = Digest::of(&[&what, told[0], told[1], told[2]]);
        let is_kept = matches!(recipe.grant, Grant::RefreshToken { rotates: true });
        let refresh_token = is_kept.then(|| Digest::of(&[granted.secret.expose()]));
        if is_kept {
            granted.kept = Some(Kept {
                provider: Arc::clone(provider),
                reference: reference.clone(),
                recipe: what,
                own: Arc::clone(&self.slots.own),
                place: self.slots.place(reference),
            });
        }
        // And by what that is proved: who proves it otherwise has a token and a refusal of its own. A refresh token that
        // is kept is another one each time.
        let proof = granted
            .client_secret
            .as_ref()
            .map_or("", SecretValue::expose);
        let secret = if is_kept { "" } else { granted.secret.expose() };
        let key = Digest::of(&[&what.to_string(), proof, secret]);
        Ok(self.slots.token(key, refresh_token, granted))
    }

    /// Waits until no token is got any more, so that none is lost that came and is not stored; and lets none be got.
    pub async fn settle(&self) {
        self.slots.settle().await;
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}
