//! What is sent to a token endpoint for a secret.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use form_urlencoded::{Serializer, byte_serialize};
use http::HeaderValue;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::ask::{Given, Request, ask};
use super::assertion::{Claims, assertion};
use super::kept::Kept;
use super::recipe::{ClientAuth, Grant, OAuth2, Signing};
use super::token::Current;
use crate::provider::ProviderError;
use crate::value::SecretValue;

/// A recipe with everything that a call's config and its secrets have for it.
pub(super) struct Granted {
    pub(super) recipe: OAuth2,
    pub(super) tls: TlsConnector,
    /// The secret itself; of a refresh token that is kept, the one that is stored counts.
    pub(super) secret: SecretValue,
    pub(super) client_id: Option<SecretValue>,
    pub(super) client_secret: Option<SecretValue>,
    pub(super) issuer: Option<SecretValue>,
    pub(super) subject: Option<SecretValue>,
    /// Where a refresh token that rotates is kept.
    pub(super) kept: Option<Kept>,
}

/// The parameters that no policy may set by itself.
pub const OWN: [&str; 9] = [
    "grant_type",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "refresh_token",
    "assertion",
    "scope",
    "code",
];

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const CLIENT_ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

impl Granted {
    /// A token that is not `rejected`.
    pub(super) async fn token(
        &self,
        rejected: Option<&SecretValue>,
    ) -> Result<Current, ProviderError> {
        let Some(kept) = &self.kept else {
            let given = self.ask(&self.secret).await?;
            self.warn_of_rotation(&given);
            return Current::of(given, None);
        };
        kept.refresh(rejected, |refresh_token| async move {
            self.ask(&refresh_token).await
        })
        .await
    }

    fn warn_of_rotation(&self, given: &Given) {
        let rotated = given.refresh_token.as_ref();
        if matches!(self.recipe.grant, Grant::RefreshToken { .. })
            && rotated.is_some_and(|token| token.expose() != self.secret.expose())
        {
            tracing::error!(
                token_url = self.recipe.token_url.as_str(),
                "the service gave another refresh token, which is not stored, as the policy says rotates: false; take that out, and keep the token in a vault"
            );
        }
    }

    async fn ask(&self, secret: &SecretValue) -> Result<Given, ProviderError> {
        let request = self.request(secret)?;
        let sent: Vec<_> = [Some(secret), self.client_secret.as_ref()]
            .into_iter()
            .flatten()
            .collect();
        let given = ask(&self.recipe.token_url, &self.tls, request, &sent).await;
        if let Ok(given) = &given {
            let life = given.access.as_ref().ok().and_then(|(_, life)| *life);
            tracing::info!(
                token_url = self.recipe.token_url.as_str(),
                seconds = life.map(|life| life.as_secs()),
                "the token endpoint answered"
            );
        }
        given
    }

    fn request(&self, secret: &SecretValue) -> Result<Request, ProviderError> {
        let recipe = &self.recipe;
        let mut fields: BTreeMap<&str, Zeroizing<String>> = BTreeMap::new();
        let plain = |text: &str| Zeroizing::new(text.to_owned());
        for (name, value) in &recipe.params {
            fields.insert(name, plain(value));
        }
        if let Some(scope) = &recipe.scope {
            fields.insert("scope", plain(scope));
        }
        let client_id = self.client_id.as_ref().map(SecretValue::expose);
        let mut client_secret = self.client_secret.as_ref();
        match &recipe.grant {
            Grant::ClientCredentials => {
                fields.insert("grant_type", plain("client_credentials"));
                client_secret = Some(secret);
            }
            Grant::RefreshToken { .. } => {
                fields.insert("grant_type", plain("refresh_token"));
                fields.insert("refresh_token", plain(secret.expose()));
            }
            Grant::JwtBearer { audience, .. } => {
                fields.insert("grant_type", plain(JWT_BEARER));
                let issuer = self.issuer.as_ref().map(SecretValue::expose);
                let issuer = issuer.or(client_id).ok_or_else(|| missing("issuer"))?;
                let subject = self.subject.as_ref().map_or(issuer, SecretValue::expose);
                let claims = Claims {
                    issuer,
                    subject,
                    audience: audience.as_deref().unwrap_or(recipe.token_url.as_str()),
                    scope: recipe.scope.as_deref(),
                };
                fields.insert("assertion", assertion(secret, self.signing()?, &claims)?);
            }
        }
        let mut authorization = None;
        match (recipe.client_auth, client_id) {
            (ClientAuth::None, None) => {}
            (ClientAuth::None, Some(id)) => {
                fields.insert("client_id", plain(id));
            }
            (ClientAuth::Basic, Some(id)) => {
                let secret = client_secret.ok_or_else(|| missing("client_secret"))?;
                authorization = Some(basic(id, secret.expose())?);
            }
            (ClientAuth::Body, Some(id)) => {
                let secret = client_secret.ok_or_else(|| missing("client_secret"))?;
                fields.insert("client_id", plain(id));
                fields.insert("client_secret", plain(secret.expose()));
            }
            (ClientAuth::PrivateKeyJwt, Some(id)) => {
                let key = client_secret.ok_or_else(|| missing("client_secret"))?;
                let claims = Claims {
                    issuer: id,
                    subject: id,
                    audience: recipe.token_url.as_str(),
                    scope: None,
                };
                fields.insert("client_id", plain(id));
                fields.insert("client_assertion_type", plain(CLIENT_ASSERTION));
                fields.insert(
                    "client_assertion",
                    assertion(key, self.signing()?, &claims)?,
                );
            }
            (_, None) => return Err(missing("client_id")),
        }
        Ok(Request {
            form: form(&fields),
            authorization,
        })
    }

    fn signing(&self) -> Result<&Signing, ProviderError> {
        self.recipe
            .signing
            .as_ref()
            .ok_or_else(|| missing("algorithm"))
    }
}

/// The policy's reader refuses what lacks something; a config may lack it all the same.
fn missing(what: &str) -> ProviderError {
    ProviderError::malformed(
        format!("there is no {what} for the token endpoint"),
        format!("give it in the connection's config, or as {what} in the policy's oauth2"),
    )
}

fn form(fields: &BTreeMap<&str, Zeroizing<String>>) -> Zeroizing<String> {
    // Room for all: a text that grows would leave copies behind.
    let room = fields
        .iter()
        .map(|(name, value)| 3 * (name.len() + value.len()) + 2)
        .sum();
    let mut form = Serializer::new(String::with_capacity(room));
    for (name, value) in fields {
        form.append_pair(name, value);
    }
    Zeroizing::new(form.finish())
}

/// Both parts are form-encoded first (RFC 6749, section 2.3.1).
fn basic(id: &str, secret: &str) -> Result<HeaderValue, ProviderError> {
    let coded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = Zeroizing::new(format!("{}:{}", coded(id), *Zeroizing::new(coded(secret))));
    let text = format!(
        "Basic {}",
        *Zeroizing::new(BASE64_STANDARD.encode(pair.as_bytes()))
    );
    let mut value =
        HeaderValue::from_maybe_shared(Bytes::from_owner(Zeroizing::new(text.into_bytes())))
            .map_err(|_| missing("client_secret"))?;
    value.set_sensitive(true);
    Ok(value)
}
