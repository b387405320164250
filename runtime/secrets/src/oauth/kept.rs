//! A refresh token that the service replaces whenever it is used.
//!
//! Used twice, such a token counts as stolen, and all that came of it ends (RFC 9700, section 4.14.2). So daemons that
//! share one agree on who uses it: whoever writes a claim beside it, by compare-and-set, may. What came back is stored
//! in its place before anybody uses the access token, which is stored beside it, so that all daemons use the same one.
//! A claim whose daemon is gone counts no more once it stood unchanged for a while.
//!
//! What is left: a daemon that dies between the service's answer and its storing, or that is cut off from the vault
//! then for longer than its claim counts. The next one uses the token that is stored; most services take it once more
//! within a time of grace. Where not, somebody has to log in again.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::ask::Given;
use super::token::{Current, Digest};
use crate::entry::Entry;
use crate::provider::{Provider, ProviderError, Session};
use crate::reference::Reference;
use crate::value::SecretValue;

/// How long a claim may stand: longer than from [`LATE`] to the end of a request to a token endpoint.
const CLAIMED: Duration = Duration::from_secs(60);
/// A claim that took so long to write, or whose daemon slept since, is given up unused.
const LATE: Duration = Duration::from_secs(20);
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
    /// What access tokens are for: those of another recipe are not this one's.
    pub(super) recipe: Digest,
    /// Who claims: this daemon.
    pub(super) own: Arc<str>,
    /// Held by whoever of this daemon uses the refresh token.
    pub(super) place: Arc<Mutex<()>>,
}

/// The names of the fields, which stand beside the refresh token's own.
struct Names {
    token: String,
    access: String,
    until: String,
    recipe: String,
    claim: String,
}

impl Names {
    fn of(reference: &Reference) -> Result<Names, ProviderError> {
        let token = reference.key().ok_or_else(|| {
            ProviderError::malformed(
                "the reference of a refresh token names no field",
                "write #KEY behind the path",
            )
        })?;
        Ok(Names {
            token: token.to_owned(),
            access: format!("{token}_access_token"),
            until: format!("{token}_access_token_until"),
            recipe: format!("{token}_access_token_recipe"),
            claim: format!("{token}_in_use_by"),
        })
    }
}

/// The entry and a session to reach it, opened anew after a fault.
struct Desk<'a> {
    kept: &'a Kept,
    session: Option<Box<dyn Session>>,
}

impl Desk<'_> {
    async fn session(&mut self) -> Result<&mut Box<dyn Session>, ProviderError> {
        if let Some(session) = &mut self.session
            && session.due().is_some_and(|due| due <= Instant::now())
            && session.renew().await.is_err()
        {
            self.session = None;
        }
        let session = match self.session.take() {
            Some(session) => session,
            None => self.kept.provider.open("oauth2").await?,
        };
        Ok(self.session.insert(session))
    }

    async fn entry(&mut self) -> Result<Entry, ProviderError> {
        let path = self.kept.reference.path();
        let read = self.session().await?.entry(path).await;
        self.after(read)
    }

    /// Whether nobody else wrote meanwhile.
    async fn store(&mut self, entry: &Entry) -> Result<bool, ProviderError> {
        let path = self.kept.reference.path();
        let stored = self.session().await?.store(path, entry).await;
        self.after(stored)
    }

    /// A session that failed is dropped, which closes it in the background.
    fn after<T>(&mut self, outcome: Result<T, ProviderError>) -> Result<T, ProviderError> {
        if outcome.is_err() {
            self.session = None;
        }
        outcome
    }
}

impl Kept {
    /// An access token that is not `not`: the one that another daemon stored, or a new one.
    ///
    /// # Errors
    /// Nothing was used that is not stored.
    pub(super) async fn refresh<F>(
        &self,
        not: Option<&SecretValue>,
        ask: impl Fn(SecretValue) -> F,
    ) -> Result<Current, ProviderError>
    where
        F: Future<Output = Result<Given, ProviderError>>,
    {
        let _place = self.place.lock().await;
        let mut desk = Desk {
            kept: self,
            session: None,
        };
        let refreshed = self.refresh_at(&mut desk, not, ask).await;
        if let Some(mut session) = desk.session
            && let Err(error) = session.close().await
        {
            tracing::debug!(%error, "the session of a refresh could not be closed");
        }
        refreshed
    }

    async fn refresh_at<F>(
        &self,
        desk: &mut Desk<'_>,
        not: Option<&SecretValue>,
        ask: impl Fn(SecretValue) -> F,
    ) -> Result<Current, ProviderError>
    where
        F: Future<Output = Result<Given, ProviderError>>,
    {
        let mut others: Option<(SecretValue, Instant)> = None;
        loop {
            let mut entry = desk.entry().await?;
            let names = Names::of(&self.reference)?;
            if let Some(stored) = self.stored(&entry, &names, not) {
                return Ok(stored);
            }
            let refresh_token = entry.text(&names.token).ok_or_else(|| {
                ProviderError::not_found(
                    format!("{} is gone", self.reference),
                    "log in again and store the refresh token",
                )
            })?;
            // One of this daemon's own was left by an attempt that is over.
            let claim = entry.text(&names.claim);
            if let Some(claim) = claim.filter(|claim| claim.expose() != &*self.own) {
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
            let begun = Instant::now();
            entry.set(&names.claim, &self.own);
            match desk.store(&entry).await {
                Ok(true) if begun.elapsed() < LATE => {}
                Ok(true) => {
                    self.release(desk, &names).await;
                    continue;
                }
                Ok(false) => continue,
                Err(error) => {
                    // It may have been written all the same.
                    self.release(desk, &names).await;
                    return Err(error);
                }
            }
            let given = match ask(refresh_token.clone()).await {
                Ok(given) => given,
                Err(error) => {
                    self.release(desk, &names).await;
                    return Err(error);
                }
            };
            if self.keep(desk, &names, &refresh_token, &given).await? {
                let beside = given.refresh_token.clone().unwrap_or(refresh_token);
                return Current::of(given, Some(Digest::of(&[beside.expose()])));
            }
            tracing::warn!(
                reference = %self.reference,
                "somebody stored another refresh token meanwhile; what was just given is not used"
            );
        }
    }

    /// Stores what was given, if only a refresh token came with it. Whether it counts: not where somebody else wrote
    /// another refresh token meanwhile.
    async fn keep(
        &self,
        desk: &mut Desk<'_>,
        names: &Names,
        used: &SecretValue,
        given: &Given,
    ) -> Result<bool, ProviderError> {
        let (begun, mut pause) = (Instant::now(), PAUSE);
        let next = given.refresh_token.as_ref().unwrap_or(used);
        let access = given.access.as_ref().ok();
        loop {
            let stored = async {
                let mut entry = desk.entry().await?;
                let is = |name: &str, text: &str| {
                    entry.text(name).is_some_and(|found| found.expose() == text)
                };
                let claimed = is(&names.claim, &self.own);
                // The answer to an earlier attempt was lost.
                let has = |(token, _): &(SecretValue, _)| is(&names.access, token.expose());
                if is(&names.token, next.expose()) && access.is_none_or(has) && !claimed {
                    return Ok(Some(true));
                }
                // Never dropped while the one that is used up stands there, whoever claims it by now.
                if !is(&names.token, used.expose()) {
                    return Ok(Some(false));
                }
                entry.set(&names.token, next.expose());
                entry.remove(&names.access);
                entry.remove(&names.until);
                entry.remove(&names.recipe);
                if let Some((token, life)) = access {
                    entry.set(&names.access, token.expose());
                    entry.set(&names.recipe, &self.recipe.to_string());
                    if let Some(replace) = Current::replace(given.since, *life) {
                        let left = replace.saturating_duration_since(Instant::now());
                        entry.set(&names.until, &(unix() + left).as_secs().to_string());
                    }
                }
                if claimed {
                    entry.remove(&names.claim);
                }
                // Somebody changed another field: once more.
                let written = desk.store(&entry).await?;
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
    async fn release(&self, desk: &mut Desk<'_>, names: &Names) {
        let released = async {
            loop {
                let mut entry = desk.entry().await?;
                let claim = entry.text(&names.claim);
                if claim.is_none_or(|claim| claim.expose() != &*self.own) {
                    return Ok::<_, ProviderError>(());
                }
                entry.remove(&names.claim);
                if desk.store(&entry).await? {
                    return Ok(());
                }
            }
        };
        if let Err(error) = released.await {
            tracing::warn!(reference = %self.reference, %error, "a claim could not be taken back; it counts no more in a minute");
        }
    }

    /// The access token that is stored, if it is for this recipe and can be used.
    fn stored(&self, entry: &Entry, names: &Names, not: Option<&SecretValue>) -> Option<Current> {
        let is_this = |text: SecretValue| text.expose() == self.recipe.to_string();
        let token = entry.text(&names.access)?;
        if !entry.text(&names.recipe).is_some_and(is_this)
            || not.is_some_and(|not| not.expose() == token.expose())
        {
            return None;
        }
        let left = match entry.text(&names.until) {
            None => None,
            Some(until) => {
                let until = Duration::from_secs(until.expose().parse().ok()?);
                Some(until.checked_sub(unix())?)
            }
        };
        let beside = Digest::of(&[entry.text(&names.token)?.expose()]);
        Some(Current::stored(token, left, beside))
    }
}

/// Since 1970.
fn unix() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
