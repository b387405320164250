//! Access tokens: one for each secret and way of getting it, for all calls of the daemon.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, timeout};

use super::ask::Given;
use super::grant::Granted;
use crate::provider::ProviderError;
use crate::value::SecretValue;

/// A token is replaced so long before its end, or when so little of its life is left, whichever is later.
const MARGIN: Duration = Duration::from_secs(60);
const PART: u32 = 10;
/// A token that is rejected so soon after it was given is not at fault: another would be no better. Twice as long for
/// each that was given for one which was rejected when it was hardly older than that.
const YOUNG: Duration = Duration::from_secs(1);
const OLDEST: Duration = Duration::from_secs(300);
/// How long a request waits for a token. A refresh goes on without it.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a refusal holds before the token endpoint is asked again.
const REFUSED: Duration = Duration::from_secs(10);
/// Tokens that are remembered while no call uses them.
const IDLE: usize = 1_024;

/// A token that is in use.
#[derive(Clone)]
pub(super) struct Current {
    pub(super) value: SecretValue,
    got: Instant,
    /// How long it is young.
    young: Duration,
    /// Nothing where nobody said how long it lives.
    replace: Option<Instant>,
}

impl Current {
    pub(super) fn of(given: Given) -> Current {
        Current::new(given.access_token, given.since, given.life)
    }

    /// One that was stored, and has so long to live.
    pub(super) fn stored(value: SecretValue, left: Duration) -> Current {
        Current {
            // Nobody knows how old it is.
            young: Duration::ZERO,
            ..Current::new(value, Instant::now(), Some(left))
        }
    }

    fn new(value: SecretValue, since: Instant, life: Option<Duration>) -> Current {
        let replace = life.map(|life| since + (life - MARGIN.min(life / PART)));
        Current {
            value,
            got: Instant::now(),
            young: YOUNG,
            replace,
        }
    }

    pub(super) fn is_fresh(&self) -> bool {
        self.replace.is_none_or(|at| Instant::now() < at)
    }
}

/// What tells tokens apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key(pub(super) String);

/// One credential's token.
#[derive(Default)]
struct Slot {
    current: Mutex<Option<Current>>,
    /// Held by who gets a new one; the last refusal.
    turn: Arc<tokio::sync::Mutex<Option<(Instant, ProviderError)>>>,
}

impl Slot {
    fn current(&self) -> MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The access tokens of a daemon.
#[derive(Default)]
pub(super) struct Slots {
    known: Mutex<HashMap<Key, Arc<Slot>>>,
}

impl Slots {
    fn slot(&self, key: &Key) -> Arc<Slot> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= IDLE {
            known.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        Arc::clone(known.entry(key.clone()).or_default())
    }

    pub(super) fn token(&self, key: &Key, granted: Granted) -> AccessToken {
        AccessToken {
            slot: self.slot(key),
            granted: Arc::new(granted),
        }
    }
}

/// The access token of a secret, as one call uses it: always one that is valid, as far as that can be told. Cheap to clone.
#[derive(Clone)]
pub struct AccessToken {
    slot: Arc<Slot>,
    granted: Arc<Granted>,
}

impl AccessToken {
    /// The token. It is replaced before it ends, once for all who ask.
    ///
    /// # Errors
    /// There is none to be had.
    pub async fn get(&self) -> Result<SecretValue, ProviderError> {
        if let Some(current) = self.usable(None) {
            return Ok(current);
        }
        self.another(None).await
    }

    /// Another token in place of one that the upstream did not take; nothing where that one was just given, so that
    /// another would be no better.
    ///
    /// # Errors
    /// There is none to be had.
    pub async fn renewed(
        &self,
        rejected: &SecretValue,
    ) -> Result<Option<SecretValue>, ProviderError> {
        if let Some(current) = self.usable(Some(rejected)) {
            return Ok(Some(current));
        }
        let is_young = self
            .slot
            .current()
            .as_ref()
            .is_some_and(|current| current.got.elapsed() < current.young);
        if is_young {
            return Ok(None);
        }
        self.another(Some(rejected)).await.map(Some)
    }

    /// The one at hand, if it can be used.
    fn usable(&self, rejected: Option<&SecretValue>) -> Option<SecretValue> {
        let current = self.slot.current();
        let current = current.as_ref().filter(|current| current.is_fresh())?;
        let is_rejected = rejected.is_some_and(|token| token.expose() == current.value.expose());
        (!is_rejected).then(|| current.value.clone())
    }

    async fn another(&self, rejected: Option<&SecretValue>) -> Result<SecretValue, ProviderError> {
        let late = |_| {
            ProviderError::unavailable(
                format!("there was no access token within {} s", PATIENCE.as_secs()),
                "look at the token endpoint and the vault, and try again",
            )
        };
        let found = async {
            let turn = Arc::clone(&self.slot.turn).lock_owned().await;
            if let Some(current) = self.usable(rejected) {
                return Ok(current);
            }
            if let Some((at, error)) = &*turn
                && at.elapsed() < REFUSED
            {
                return Err(error.clone());
            }
            // On its own: a call that ends meanwhile must not cut off what is half done.
            let replacing = tokio::spawn(self.clone().replace(turn, rejected.cloned()));
            let cut =
                |_| ProviderError::unavailable("getting a token was interrupted", "try again");
            replacing.await.map_err(cut)?
        };
        timeout(PATIENCE, found).await.map_err(late)?
    }

    async fn replace(
        self,
        mut turn: OwnedMutexGuard<Option<(Instant, ProviderError)>>,
        rejected: Option<SecretValue>,
    ) -> Result<SecretValue, ProviderError> {
        match self.granted.token(rejected.as_ref()).await {
            Ok(mut current) => {
                *turn = None;
                let value = current.value.clone();
                let mut slot = self.slot.current();
                let before = slot.as_ref().filter(|_| rejected.is_some());
                let was_hardly_older = |before: &&Current| before.got.elapsed() < before.young * 2;
                if let Some(before) = before.filter(was_hardly_older) {
                    current.young = (before.young * 2).clamp(YOUNG, OLDEST);
                }
                *slot = Some(current);
                Ok(value)
            }
            Err(error) => {
                *turn = (!error.retryable()).then(|| (Instant::now(), error.clone()));
                Err(error)
            }
        }
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken")
    }
}
