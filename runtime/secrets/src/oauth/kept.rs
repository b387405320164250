//! A refresh token that the service replaces whenever it is used.
//!
//! Used twice, such a token counts as stolen, and all that came of it ends (RFC 9700, section 4.14.2). So daemons that
//! share one agree on who uses it: whoever writes a claim beside it, by compare-and-set, may. What came back is stored
//! in its place before anybody uses the access token, which is stored beside it, so that all daemons use the same one.
//! A claim whose daemon is gone counts no more once it stood unchanged for a while.
//!
//! One case is left: a daemon that dies between the service's answer and its storing. The next one uses the token that
//! is stored; most services take it once more within a time of grace. Where not, it has to be logged in again.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, sleep};

use super::ask::Given;
use super::token::Current;
use crate::entry::Entry;
use crate::provider::{Provider, ProviderError, Session};
use crate::reference::Reference;
use crate::value::SecretValue;

/// How long a claim may stand. Longer than a request to a token endpoint may take, and what follows it.
const CLAIMED: Duration = Duration::from_secs(60);
/// Between two looks at somebody else's claim.
const LOOK: Duration = Duration::from_millis(250);
/// Between attempts to store; it doubles up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long it is tried to store a token that nobody else has.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Where a refresh token is kept.
pub(super) struct Kept {
    pub(super) provider: Arc<dyn Provider>,
    pub(super) reference: Reference,
}

/// The names of the fields, which stand beside the refresh token's own.
struct Names {
    token: String,
    access: String,
    ends: String,
    claim: String,
}

impl Kept {
    fn names(&self) -> Result<Names, ProviderError> {
        let token = self.reference.key().ok_or_else(|| {
            ProviderError::malformed(
                "the reference of a refresh token names no field",
                "write #KEY behind the path",
            )
        })?;
        Ok(Names {
            token: token.to_owned(),
            access: format!("{token}_access_token"),
            ends: format!("{token}_access_token_expires"),
            claim: format!("{token}_in_use_by"),
        })
    }

    /// An access token that is not `rejected`: the one that another daemon stored, or a new one.
    ///
    /// # Errors
    /// Nothing was used that is not stored.
    pub(super) async fn refresh<F>(
        &self,
        rejected: Option<&SecretValue>,
        ask: impl Fn(SecretValue) -> F,
    ) -> Result<Current, ProviderError>
    where
        F: Future<Output = Result<Given, ProviderError>>,
    {
        let mut session = self.provider.open("oauth2").await?;
        let refreshed = self.refresh_in(&mut *session, rejected, ask).await;
        if let Err(error) = session.close().await {
            tracing::debug!(%error, "the session of a refresh could not be closed");
        }
        refreshed
    }

    async fn refresh_in<F>(
        &self,
        session: &mut dyn Session,
        rejected: Option<&SecretValue>,
        ask: impl Fn(SecretValue) -> F,
    ) -> Result<Current, ProviderError>
    where
        F: Future<Output = Result<Given, ProviderError>>,
    {
        let own = uuid::Uuid::new_v4().to_string();
        let path = self.reference.path();
        let mut others: Option<(SecretValue, Instant)> = None;
        loop {
            let mut entry = session.entry(path).await?;
            let names = self.names()?;
            if let Some(stored) = stored(&entry, &names, rejected) {
                return Ok(stored);
            }
            let refresh_token = entry.text(&names.token).ok_or_else(|| {
                ProviderError::not_found(
                    format!("{} is gone", self.reference),
                    "log in again and store the refresh token",
                )
            })?;
            if let Some(claim) = entry.text(&names.claim) {
                let since = match &others {
                    Some((known, since)) if known.expose() == claim.expose() => *since,
                    _ => Instant::now(),
                };
                if since.elapsed() < CLAIMED {
                    others = Some((claim, since));
                    sleep(LOOK).await;
                    continue;
                }
                tracing::warn!(
                    reference = %self.reference,
                    "a daemon began to use a refresh token and did not end; it is used once more"
                );
            }
            entry.set(&names.claim, &own);
            if !session.store(path, &entry).await? {
                continue;
            }
            let given = match ask(refresh_token.clone()).await {
                Ok(given) => given,
                Err(error) => {
                    self.release(session, &names, &own).await;
                    return Err(error);
                }
            };
            if self
                .keep(session, &names, &own, &refresh_token, &given)
                .await?
            {
                return Ok(Current::of(given));
            }
            tracing::warn!(
                reference = %self.reference,
                "somebody stored another refresh token meanwhile; what was just given is not used"
            );
        }
    }

    /// Stores what was given. Whether it counts: not where somebody else wrote another token meanwhile.
    async fn keep(
        &self,
        session: &mut dyn Session,
        names: &Names,
        own: &str,
        used: &SecretValue,
        given: &Given,
    ) -> Result<bool, ProviderError> {
        let path = self.reference.path();
        let (begun, mut pause) = (Instant::now(), PAUSE);
        loop {
            if session.due().is_some_and(|due| due <= Instant::now())
                && let Err(error) = session.renew().await
            {
                tracing::debug!(%error, "the session of a refresh could not be prolonged");
            }
            let stored = async {
                let mut entry = session.entry(path).await?;
                let is = |name: &str, text: &str| {
                    entry.text(name).is_some_and(|found| found.expose() == text)
                };
                // An answer to an earlier attempt may have been lost.
                if is(&names.access, given.access_token.expose()) {
                    return Ok(Some(true));
                }
                if !is(&names.token, used.expose()) || !is(&names.claim, own) {
                    return Ok(Some(false));
                }
                if let Some(rotated) = &given.refresh_token {
                    entry.set(&names.token, rotated.expose());
                }
                entry.set(&names.access, given.access_token.expose());
                match given.life {
                    Some(life) => entry.set(&names.ends, &unix(life).to_string()),
                    None => entry.remove(&names.ends),
                }
                entry.remove(&names.claim);
                // Somebody changed another field: once more.
                let written = session.store(path, &entry).await?;
                Ok::<_, ProviderError>(written.then_some(true))
            };
            match stored.await {
                Ok(Some(counts)) => return Ok(counts),
                Ok(None) => continue,
                Err(error) if begun.elapsed() < PATIENCE => {
                    tracing::error!(
                        reference = %self.reference, %error,
                        "a new refresh token could not be stored yet; its access token is not used before"
                    );
                }
                Err(error) => return Err(error),
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Takes the claim back.
    async fn release(&self, session: &mut dyn Session, names: &Names, own: &str) {
        let path = self.reference.path();
        let released = async {
            loop {
                let mut entry = session.entry(path).await?;
                let claim = entry.text(&names.claim);
                if claim.is_none_or(|claim| claim.expose() != own) {
                    return Ok::<_, ProviderError>(());
                }
                entry.remove(&names.claim);
                if session.store(path, &entry).await? {
                    return Ok(());
                }
            }
        };
        if let Err(error) = released.await {
            tracing::warn!(reference = %self.reference, %error, "a claim could not be taken back; it counts no more in a minute");
        }
    }
}

/// The access token that is stored, if it can be used.
fn stored(entry: &Entry, names: &Names, rejected: Option<&SecretValue>) -> Option<Current> {
    let token = entry.text(&names.access)?;
    let ends: u64 = entry.text(&names.ends)?.expose().parse().ok()?;
    let left = Duration::from_secs(ends.checked_sub(unix(Duration::ZERO))?);
    let current = Current::stored(token, left);
    let is_rejected = rejected.is_some_and(|token| token.expose() == current.value.expose());
    (!is_rejected && current.is_fresh()).then_some(current)
}

fn unix(after: Duration) -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    (now + after).as_secs()
}
