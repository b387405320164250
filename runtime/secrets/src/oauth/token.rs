//! Access tokens: one for each credential and way of getting it, for all calls of the daemon.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedMutexGuard, RwLock};
use tokio::time::{Instant, timeout};

use super::ask::Given;
use super::grant::Granted;
use crate::provider::ProviderError;
use crate::reference::Reference;
use crate::value::SecretValue;

/// A token is replaced so long before its end, or when so little of its life is left, whichever is later.
const MARGIN: Duration = Duration::from_secs(60);
const PART: u32 = 10;
/// A token that is rejected so soon after it was given is not at fault: another would be no better. Twice as long for
/// each that was given for one which no upstream ever took.
const YOUNG: Duration = Duration::from_secs(1);
const OLDEST: Duration = Duration::from_secs(300);
/// How long a request waits for a token. A refresh goes on without it.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a refusal holds before the token endpoint is asked again, and how long another failure does.
const REFUSED: Duration = Duration::from_secs(10);
const FAILED: Duration = Duration::from_millis(500);
/// Credentials that are remembered while no call uses them.
const IDLE: usize = 1_024;

/// What stands for texts that are told apart and not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    pub(super) fn of(parts: &[&str]) -> Digest {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        Digest(hash.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A token that is in use.
#[derive(Debug, Clone)]
pub(super) struct Current {
    pub(super) value: SecretValue,
    got: Instant,
    /// How long it is young.
    young: Duration,
    /// Nothing where nobody said how long it lives.
    replace: Option<Instant>,
    /// The refresh token that stands beside it, where there is one.
    beside: Option<Digest>,
}

impl Current {
    /// # Errors
    /// What was given cannot be used.
    pub(super) fn of(given: Given, beside: Option<Digest>) -> Result<Current, ProviderError> {
        let (value, life) = given.access?;
        Ok(Current {
            value,
            got: Instant::now(),
            young: YOUNG,
            replace: Current::replace(given.since, life),
            beside,
        })
    }

    /// One that was stored, to be replaced in so long.
    pub(super) fn stored(value: SecretValue, left: Option<Duration>, beside: Digest) -> Current {
        let now = Instant::now();
        Current {
            value,
            got: now,
            // Nobody knows how old it is.
            young: Duration::ZERO,
            replace: left.map(|left| now + left),
            beside: Some(beside),
        }
    }

    /// When a token of this life is to be replaced.
    pub(super) fn replace(since: Instant, life: Option<Duration>) -> Option<Instant> {
        life.map(|life| since + (life - MARGIN.min(life / PART)))
    }

    fn is_fresh(&self) -> bool {
        self.replace.is_none_or(|at| Instant::now() < at)
    }
}

/// One credential's token.
#[derive(Default)]
struct Slot {
    current: Mutex<Option<Current>>,
    /// Whether an upstream took the current one.
    taken: AtomicBool,
    /// Held by who gets a new one; the last failure.
    turn: Arc<tokio::sync::Mutex<Option<(Instant, ProviderError)>>>,
}

impl Slot {
    fn current(&self) -> MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing that anybody would miss.
    fn is_idle(&self) -> bool {
        self.current()
            .as_ref()
            .is_none_or(|current| !current.is_fresh())
    }
}

/// The access tokens of a daemon.
pub(super) struct Slots {
    known: Mutex<HashMap<Digest, Arc<Slot>>>,
    places: Mutex<HashMap<Reference, Arc<tokio::sync::Mutex<()>>>>,
    /// Read while a token is got, written by who waits until none is.
    at_work: Arc<RwLock<()>>,
    /// This daemon, as claims name it.
    pub(super) own: Arc<str>,
}

impl Slots {
    pub(super) fn new() -> Slots {
        Slots {
            known: Mutex::default(),
            places: Mutex::default(),
            at_work: Arc::default(),
            own: uuid::Uuid::new_v4().to_string().into(),
        }
    }

    fn slot(&self, key: Digest) -> Arc<Slot> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_used = |slot: &Arc<Slot>| Arc::strong_count(slot) > 1;
        known.retain(|own, slot| *own == key || is_used(slot) || !slot.is_idle());
        if known.len() >= IDLE {
            known.retain(|own, slot| *own == key || is_used(slot));
        }
        Arc::clone(known.entry(key).or_default())
    }

    /// What is held by whoever uses the refresh token at a reference.
    pub(super) fn place(&self, reference: &Reference) -> Arc<tokio::sync::Mutex<()>> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|own, place| own == reference || Arc::strong_count(place) > 1);
        Arc::clone(places.entry(reference.clone()).or_default())
    }

    /// The token of a credential. `refresh_token` is the one that the config's reference holds now, where there is one:
    /// a token that came with another is not used any more.
    pub(super) fn token(
        &self,
        key: Digest,
        refresh_token: Option<Digest>,
        granted: Granted,
    ) -> AccessToken {
        let slot = self.slot(key);
        {
            let mut current = slot.current();
            let of_another = |current: &Current| {
                refresh_token.is_some_and(|own| current.beside.is_some_and(|beside| beside != own))
            };
            if current.as_ref().is_some_and(of_another) {
                *current = None;
            }
        }
        AccessToken {
            slot,
            granted: Arc::new(granted),
            at_work: Arc::clone(&self.at_work),
        }
    }

    /// Waits until no token is got any more, and lets no other be got.
    pub(super) async fn settle(&self) {
        std::mem::forget(Arc::clone(&self.at_work).write_owned().await);
    }
}

/// The access token of a secret, as one call uses it: always one that is valid, as far as that can be told. Cheap to clone.
#[derive(Clone)]
pub struct AccessToken {
    slot: Arc<Slot>,
    granted: Arc<Granted>,
    at_work: Arc<RwLock<()>>,
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

    /// An upstream took this token.
    pub fn taken(&self, token: &SecretValue) {
        let current = self.slot.current();
        let is_it = |current: &Current| current.value.expose() == token.expose();
        if current.as_ref().is_some_and(is_it) {
            self.slot.taken.store(true, Ordering::Relaxed);
        }
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
                && at.elapsed() < if error.retryable() { FAILED } else { REFUSED }
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
        let _at_work = self.at_work.read().await;
        // One that is to be replaced is not found good because it is stored somewhere.
        let before = self.slot.current().clone();
        let stale = before.as_ref().map(|before| before.value.clone());
        match self
            .granted
            .token(rejected.as_ref().or(stale.as_ref()))
            .await
        {
            Ok(mut current) => {
                *turn = None;
                let value = current.value.clone();
                let was_taken = self.slot.taken.swap(false, Ordering::Relaxed);
                if let Some(before) = before.filter(|_| rejected.is_some() && !was_taken) {
                    current.young = (before.young * 2).clamp(YOUNG, OLDEST);
                }
                *self.slot.current() = Some(current);
                Ok(value)
            }
            Err(error) => {
                *turn = Some((Instant::now(), error.clone()));
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
