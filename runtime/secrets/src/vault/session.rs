//! What one call has open at the vault: its token, and the leases that its reads gave.

use std::sync::Arc;

use async_trait::async_trait;
use http::StatusCode;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::answer::{Auth, entry, fields};
use super::children::{Child, Children};
use super::client::{Answer, Ask, Client};
use super::fault;
use super::login::{plain, seconds};
use super::path::SecretPath;
use super::terms::Terms;
use crate::entry::Entry;
use crate::provider::{Content, ProviderError, Session};

/// A dynamic secret. <https://openbao.org/docs/concepts/lease/>
struct Lease {
    id: String,
    path: String,
    terms: Terms,
}

/// The session of one call. Dropped before it was closed, it is closed in the background.
pub(crate) struct VaultSession {
    children: Arc<Children>,
    /// Nothing once it is closed.
    child: Option<Child>,
    leases: Vec<Lease>,
    call: String,
    runtime: Handle,
}

impl VaultSession {
    pub(crate) async fn open(
        children: Arc<Children>,
        call: String,
    ) -> Result<VaultSession, ProviderError> {
        let child = children.create(&call).await?;
        let session = VaultSession {
            children,
            child: Some(child),
            leases: Vec::new(),
            call,
            runtime: Handle::current(),
        };
        session.children.note(session.child()?).await?;
        Ok(session)
    }

    fn child(&self) -> Result<&Child, ProviderError> {
        self.child.as_ref().ok_or_else(|| {
            ProviderError::denied("the call's session is closed", "start the call again")
        })
    }

    fn client(&self) -> &Client {
        &self.children.own.client
    }

    async fn ask(&self, ask: &Ask<'_>) -> Result<Answer, ProviderError> {
        self.client().send(Some(&self.child()?.token), ask).await
    }

    async fn refused(&self, path: &SecretPath<'_>, answer: &Answer) -> ProviderError {
        let token = match self.child() {
            Ok(child) => &child.token,
            Err(error) => return error,
        };
        let forbidden = answer.status == StatusCode::FORBIDDEN;
        match forbidden && self.client().gone(token).await.unwrap_or(false) {
            true => ProviderError::unavailable(
                "the call's token is gone from the vault",
                "start the call again; somebody revoked it, or the daemon's own",
            ),
            false => fault::read(self.client().address(), path, answer, &[token]),
        }
    }

    /// <https://openbao.org/api-docs/auth/token/#renew-a-token-self>
    async fn renew_token(&mut self) -> Result<(), ProviderError> {
        let since = Instant::now();
        let increment = format!("{}s", self.child()?.terms.increment());
        let ask = Ask::post(
            "auth/token/renew-self",
            plain(json!({ "increment": increment })),
        );
        let answer = self.ask(&ask).await?;
        let refused = fault::own(
            self.client().address(),
            "to prolong the call's token",
            "start the call again",
            &answer,
            &[],
        );
        let Some(child) = &mut self.child else {
            return Err(refused);
        };
        if answer.status.is_success() {
            let Auth {
                lease_duration,
                renewable,
                ..
            } = answer.auth()?;
            child.terms.prolong(since, lease_duration, renewable);
            return Ok(());
        }
        if answer.status == StatusCode::FORBIDDEN {
            child.terms.end(since);
        } else if !refused.retryable() {
            child.terms.last();
        }
        Err(refused)
    }

    /// <https://openbao.org/api-docs/system/leases/#renew-lease>
    async fn renew_lease(&mut self, index: usize) -> Result<(), ProviderError> {
        let since = Instant::now();
        let lease = &self.leases[index];
        let increment = lease.terms.increment();
        let request = json!({ "lease_id": lease.id, "increment": increment });
        let ask = Ask::post("sys/leases/renew", plain(request));
        let answer = self.ask(&ask).await?;
        if answer.status.is_success() {
            let envelope = answer.envelope()?;
            let terms = &mut self.leases[index].terms;
            terms.prolong(since, envelope.lease_duration, envelope.renewable);
            return Ok(());
        }
        let refused = fault::own(
            self.client().address(),
            &format!("to prolong the lease of {}", lease.path),
            "start the call again",
            &answer,
            &[],
        );
        let lost = |text: &String| text.contains("lease not found");
        let lost = answer.refusal().errors.iter().any(lost);
        let terms = &mut self.leases[index].terms;
        if lost {
            terms.end(since);
        } else if !refused.retryable() {
            terms.last();
        }
        Err(refused)
    }
}

#[async_trait]
impl Session for VaultSession {
    async fn read(&mut self, path: &str) -> Result<Content, ProviderError> {
        let asked = SecretPath::parse(path)?;
        let since = Instant::now();
        let answer = self.ask(&Ask::get(&asked.url())).await?;
        if !answer.status.is_success() {
            return Err(self.refused(&asked, &answer).await);
        }
        let envelope = answer.envelope()?;
        if !envelope.lease_id.is_empty() {
            let life = seconds(envelope.lease_duration);
            self.leases.push(Lease {
                id: envelope.lease_id,
                path: asked.path.to_owned(),
                terms: Terms::new(since, life, envelope.renewable),
            });
        }
        let data = envelope.data.ok_or_else(|| {
            ProviderError::malformed(
                format!("{} holds no fields", asked.path),
                "refer to a secret",
            )
        })?;
        let content = fields(&asked, data)?;
        // Some path of the vault may tell a token about itself: no secret for a connector.
        let child = self.child()?;
        if let Content::Fields(fields) = &content {
            let held = fields.values().flatten();
            if held.clone().any(|value| ***value == *child.token.expose()) {
                return Err(ProviderError::denied(
                    format!("{} holds the call's own token", asked.path),
                    "refer to a secret",
                ));
            }
        }
        Ok(content)
    }

    async fn entry(&mut self, path: &str) -> Result<Entry, ProviderError> {
        let asked = SecretPath::parse(path)?;
        if asked.version.is_some() {
            return Err(ProviderError::malformed(
                format!("{path} names a version, and what is stored is a new one"),
                "leave @VERSION out",
            ));
        }
        let answer = self.ask(&Ask::get(asked.path)).await?;
        if !answer.status.is_success() {
            return Err(self.refused(&asked, &answer).await);
        }
        let data = answer.envelope()?.data.ok_or_else(|| {
            ProviderError::malformed(
                format!("{} holds no fields", asked.path),
                "refer to a secret",
            )
        })?;
        entry(&asked, data)
    }

    /// <https://openbao.org/api-docs/secret/kv/kv-v2/#create-update-secret>
    async fn store(&mut self, path: &str, entry: &Entry) -> Result<bool, ProviderError> {
        let fields = entry.to_json();
        let request = Zeroizing::new(format!(
            "{{\"options\":{{\"cas\":{}}},\"data\":{}}}",
            entry.version(),
            *fields
        ));
        let body = Zeroizing::new(request.as_bytes().to_vec());
        let answer = self.ask(&Ask::post(path, body)).await?;
        if answer.status.is_success() {
            return Ok(true);
        }
        let lost = |text: &String| text.contains("check-and-set");
        if answer.status == StatusCode::BAD_REQUEST && answer.refusal().errors.iter().any(lost) {
            return Ok(false);
        }
        let help = format!(
            "write into the daemon's policy in the vault: path \"{path}\" {{ capabilities = [\"read\", \"update\"] }}"
        );
        let (address, doing) = (self.client().address(), format!("to store {path}"));
        // A refusal of a write may quote what was written.
        let mut refused = fault::own(address, &doing, &help, &answer, &[]);
        if answer.status.is_client_error() && !refused.retryable() {
            refused.message = format!("the vault refused {doing} ({})", answer.status);
        }
        Err(refused)
    }

    fn due(&self) -> Option<Instant> {
        let child = self.child.as_ref()?;
        let leases = self.leases.iter().filter_map(|lease| lease.terms.due());
        leases.chain(child.terms.due()).min()
    }

    /// What is no lease was copied and does not end: the token is needed for leases only.
    fn ends(&self) -> Option<Instant> {
        let child = self.child.as_ref()?;
        if self.leases.is_empty() {
            return None;
        }
        let leases = self.leases.iter().filter_map(|lease| lease.terms.ends());
        leases
            .chain(child.terms.ends())
            .chain(child.parent.ends())
            .min()
    }

    fn lease(&self) -> Option<crate::provider::Lease> {
        let granted = self.leases.iter().filter_map(|lease| lease.terms.granted());
        granted.min_by_key(|lease| lease.life)
    }

    async fn renew(&mut self) -> Result<(), ProviderError> {
        let is_due = |terms: &Terms| terms.due().is_some_and(|due| due <= Instant::now());
        let mut outcome = Ok(());
        if is_due(&self.child()?.terms) {
            outcome = self.renew_token().await;
        }
        for index in 0..self.leases.len() {
            if is_due(&self.leases[index].terms) {
                let renewed = self.renew_lease(index).await;
                outcome = outcome.and(renewed);
            }
        }
        outcome
    }

    async fn close(&mut self) -> Result<(), ProviderError> {
        let Some(child) = &self.child else {
            return Ok(());
        };
        // Kept until then: a close that is given up is done again by Drop.
        let ended = self.children.end(child).await;
        self.child = None;
        ended
    }
}

impl Drop for VaultSession {
    fn drop(&mut self) {
        let Some(child) = self.child.take() else {
            return;
        };
        let (children, call) = (self.children.clone(), std::mem::take(&mut self.call));
        self.runtime.spawn(async move {
            if let Err(error) = children.end(&child).await {
                tracing::warn!(call, %error, "the call's token could not be revoked yet");
            }
        });
    }
}
