//! The daemon's own token: logged in when it is first needed, prolonged at two thirds of its life, replaced when that is
//! no longer possible.
//!
//! The tokens of calls are its children and end with it. So it is replaced while a third of its life is left, and the
//! calls that began under the old one have that long.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, sleep, sleep_until};

use super::answer::Auth;
use super::client::{Answer, Ask, Client};
use super::config::VaultAuth;
use super::fault;
use super::login::{body, login};
use super::terms::Terms;
use crate::provider::ProviderError;
use crate::value::SecretValue;

/// Between attempts to prolong or replace the token; it doubles up to a minute.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Between two renewals of a life that is so short that it is always due.
const SHORTEST: Duration = Duration::from_millis(500);

/// One token of the daemon.
pub(crate) struct Token {
    value: SecretValue,
    terms: Mutex<Terms>,
}

impl Token {
    fn terms(&self) -> MutexGuard<'_, Terms> {
        self.terms
            .lock()
            .unwrap_or_else(|locked| locked.into_inner())
    }

    /// When its children end, unless it is prolonged.
    pub(crate) fn ends(&self) -> Option<Instant> {
        self.terms().ends()
    }
}

#[derive(Default)]
struct State {
    token: Option<Arc<Token>>,
    /// For those who waited while somebody else tried.
    failed: Option<(Instant, ProviderError)>,
}

/// The daemon at the vault.
pub(crate) struct Own {
    pub(crate) client: Client,
    // Held while logging in, so that there is one login at a time.
    state: tokio::sync::Mutex<State>,
}

impl Own {
    pub(crate) fn new(client: Client) -> Own {
        Own {
            client,
            state: tokio::sync::Mutex::default(),
        }
    }

    /// Asks as the daemon. A token that is gone is replaced, once.
    ///
    /// # Errors
    /// There is no token, or no answer. A refusal is an answer.
    pub(crate) async fn send(
        self: &Arc<Self>,
        ask: &Ask<'_>,
    ) -> Result<(Answer, Arc<Token>), ProviderError> {
        let token = self.token().await?;
        let answer = self.client.send(Some(&token.value), ask).await?;
        if answer.status != StatusCode::FORBIDDEN || !self.client.gone(&token.value).await? {
            return Ok((answer, token));
        }
        let token = self.replace(&token).await?;
        let answer = self.client.send(Some(&token.value), ask).await?;
        Ok((answer, token))
    }

    /// Revokes the token, and with it every child, unless somebody else made it. The next need logs in anew.
    ///
    /// # Errors
    /// The token ends by itself.
    pub(crate) async fn log_out(&self) -> Result<(), ProviderError> {
        let token = self.state.lock().await.token.take();
        let Some(token) = token else { return Ok(()) };
        if matches!(self.client.config().auth, VaultAuth::Token { .. }) {
            return Ok(());
        }
        let ask = Ask::post("auth/token/revoke-self", body(&[]));
        let answer = self.client.send(Some(&token.value), &ask).await?;
        // Forbidden to one that is gone.
        if answer.status.is_success() || answer.status == StatusCode::FORBIDDEN {
            return Ok(());
        }
        let (doing, help) = ("to revoke the daemon's own token", "it ends by itself");
        Err(fault::own(
            self.client.address(),
            doing,
            help,
            &answer,
            &[&token.value],
        ))
    }

    async fn token(self: &Arc<Self>) -> Result<Arc<Token>, ProviderError> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        let now = Instant::now();
        let lives = |token: &&Arc<Token>| token.ends().is_none_or(|ends| ends > now);
        match state.token.as_ref().filter(lives) {
            Some(token) => Ok(token.clone()),
            None => self.login(&mut state, asked).await,
        }
    }

    /// A token in place of `old`, unless somebody else has replaced it.
    async fn replace(self: &Arc<Self>, old: &Arc<Token>) -> Result<Arc<Token>, ProviderError> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        match &state.token {
            Some(token) if !Arc::ptr_eq(token, old) => Ok(token.clone()),
            _ => self.login(&mut state, asked).await,
        }
    }

    async fn login(
        self: &Arc<Self>,
        state: &mut State,
        asked: Instant,
    ) -> Result<Arc<Token>, ProviderError> {
        if let Some((at, error)) = &state.failed
            && *at >= asked
        {
            return Err(error.clone());
        }
        let since = Instant::now();
        let login = login(&self.client).await.inspect_err(|error| {
            state.failed = Some((Instant::now(), error.clone()));
        })?;
        tracing::debug!(address = %self.client.address(), ttl = ?login.ttl, "logged in at the vault");
        let token = Arc::new(Token {
            value: login.token,
            terms: Mutex::new(Terms::new(since, login.ttl, login.renewable)),
        });
        state.token = Some(token.clone());
        state.failed = None;
        tokio::spawn(tended(Arc::downgrade(self), Arc::downgrade(&token)));
        Ok(token)
    }

    /// Prolongs the token; or replaces it, which answers false.
    /// <https://openbao.org/api-docs/auth/token/#renew-a-token-self>
    async fn prolong(self: &Arc<Self>, token: &Arc<Token>) -> Result<bool, ProviderError> {
        let since = Instant::now();
        if token.terms().renewable() {
            let ask = Ask::post("auth/token/renew-self", body(&[]));
            let answer = self.client.send(Some(&token.value), &ask).await?;
            if let Some(error) = fault::away(self.client.address(), &answer, &[&token.value]) {
                return Err(error);
            }
            if answer.status.is_success() {
                let Auth {
                    lease_duration,
                    renewable,
                    ..
                } = answer.auth()?;
                let mut terms = token.terms();
                terms.prolong(since, lease_duration, renewable);
                if terms.renewable() {
                    return Ok(true);
                }
            }
        }
        self.replace(token).await?;
        Ok(false)
    }
}

/// [`tend`], boxed: it logs in itself, and starts its successor then.
fn tended(own: Weak<Own>, token: Weak<Token>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(tend(own, token))
}

/// Keeps a token alive as long as somebody holds it.
async fn tend(own: Weak<Own>, token: Weak<Token>) {
    let mut pause = PAUSE;
    loop {
        let due = token.upgrade().and_then(|token| token.terms().two_thirds());
        let Some(due) = due else { return };
        sleep_until(due.max(Instant::now() + SHORTEST)).await;
        let (Some(own), Some(token)) = (own.upgrade(), token.upgrade()) else {
            return;
        };
        match own.prolong(&token).await {
            Ok(true) => pause = PAUSE,
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(%error, "the daemon's token at the vault could not be prolonged");
                if token.ends().is_some_and(|ends| ends <= Instant::now()) {
                    return;
                }
                drop((own, token));
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

impl Client {
    /// Whether a token is no longer one. Every token may look at itself, as long as it has the default policy.
    pub(crate) async fn gone(&self, token: &SecretValue) -> Result<bool, ProviderError> {
        let ask = Ask::get("auth/token/lookup-self");
        let answer = self.send(Some(token), &ask).await?;
        Ok(answer.status == StatusCode::FORBIDDEN)
    }
}
