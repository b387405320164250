//! What is told of each kind of attempt, so that a flood of one kind hides nothing of another.
//!
//! Pure but for the clock of its rate: the reporter says what came, this says whether it is told on its own, told with a
//! count, or only counted.

use crate::event::Endpoint;
use crate::reason::Reason;
use governor::clock::DefaultClock;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Equal refusals and failures within this time are told once on their own: equal are those of one far end for one reason,
/// in the same words.
const SAME: Duration = Duration::from_secs(1);
/// Different refusals and failures of one class told on their own per second, in the long run and at once: a worker that
/// tries every port must not rotate what others did out of the audit log.
const TOLD: (NonZeroU32, NonZeroU32) =
    (NonZeroU32::new(20).unwrap(), NonZeroU32::new(300).unwrap());
/// Attempts remembered for that, in each class.
const REMEMBERED: usize = 1_024;
/// Far ends of one class that are told with a count, each second.
const GROUPS: usize = 128;

/// Kinds of attempts that share a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Dns,
    Tcp,
    /// Requests: a flood of packets must hide none of them.
    Https,
    Other,
}

impl Class {
    pub(super) fn of(to: &Endpoint) -> Self {
        match &*to.protocol {
            "dns" => Self::Dns,
            "tcp" | "tls" | "postgres" => Self::Tcp,
            "https" => Self::Https,
            _ => Self::Other,
        }
    }
}

/// One thing that a worker tried, as it would be told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) to: &'a Endpoint,
    /// As the audit log calls it.
    pub(super) event: &'static str,
    pub(super) reason: Option<Reason>,
    /// The worker's own words may be in it.
    pub(super) detail: &'a str,
}

/// A far end under which attempts are counted together: ports and details differ.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Far {
    to: Endpoint,
    event: &'static str,
    reason: Option<Reason>,
}

/// Attempts that are told together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// Without a port where several were tried.
    pub(super) to: Endpoint,
    pub(super) event: &'static str,
    pub(super) reason: Option<Reason>,
    /// Of the first one, fit to be told.
    pub(super) detail: String,
    pub(super) times: u64,
}

/// What is told once a second: the detail is known by its hash, since a worker chooses how long it is.
type Told = (Endpoint, &'static str, Option<Reason>, u64);

#[derive(Debug, Default)]
struct Seen {
    told: HashMap<Told, Instant>,
    groups: HashMap<Far, Group>,
    uncounted: u64,
}

/// The budget of one class.
#[derive(Debug)]
pub(super) struct Budget {
    rate: RateLimiter<NotKeyed, InMemoryState, DefaultClock>,
    seen: Mutex<Seen>,
    /// Keyed, so that no worker can make two details look the same.
    hasher: RandomState,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self {
            rate: RateLimiter::direct(Quota::per_second(TOLD.0).allow_burst(TOLD.1)),
            seen: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this attempt is told on its own. Where not, it is counted with others of its far end, or at the least;
    /// `fit` then makes of its detail what may be kept and told.
    pub(super) fn admits(&self, attempt: Attempt<'_>, fit: impl FnOnce(&str) -> String) -> bool {
        let Attempt {
            to,
            event,
            reason,
            detail,
        } = attempt;
        let now = Instant::now();
        let key = (to.clone(), event, reason, self.hasher.hash_one(detail));
        let mut seen = self.seen();
        let same = seen
            .told
            .get(&key)
            .is_some_and(|&at| now.duration_since(at) < SAME);
        if same || self.rate.check().is_err() {
            seen.group(attempt, fit);
            return false;
        }
        // A table that is full of fresh entries is begun anew: a flood costs no more memory than the table.
        if seen.told.len() >= REMEMBERED {
            seen.told.retain(|_, at| now.duration_since(*at) < SAME);
            if seen.told.len() >= REMEMBERED {
                seen.told.clear();
            }
        }
        seen.told.insert(key, now);
        true
    }

    /// What was counted since the last time: with its far end, and without.
    pub(super) fn take(&self) -> (Vec<Group>, u64) {
        let mut seen = self.seen();
        let groups = std::mem::take(&mut seen.groups).into_values().collect();
        (groups, std::mem::take(&mut seen.uncounted))
    }
}

impl Seen {
    fn group(&mut self, attempt: Attempt<'_>, fit: impl FnOnce(&str) -> String) {
        let Attempt {
            to,
            event,
            reason,
            detail,
        } = attempt;
        let far = Far {
            to: Endpoint {
                port: None,
                ..to.clone()
            },
            event,
            reason,
        };
        if let Some(group) = self.groups.get_mut(&far) {
            group.times += 1;
            if group.to.port != to.port {
                group.to.port = None;
            }
        } else if self.groups.len() < GROUPS {
            let group = Group {
                to: to.clone(),
                event,
                reason,
                detail: fit(detail),
                times: 1,
            };
            self.groups.insert(far, group);
        } else {
            self.uncounted += 1;
        }
    }
}
