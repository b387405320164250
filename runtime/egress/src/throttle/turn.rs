//! A request's place in the budget, from asking for it to giving it back.

use super::advice;
use super::cause::Cause;
use super::jitter;
use super::learned::Sent;
use super::queue::Ticket;
use super::state::{Standing, State};
use http::{HeaderMap, Method, StatusCode};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tokio::time::Instant;

/// One budget's state, behind its lock.
#[derive(Debug, Default)]
pub(super) struct Account(Mutex<State>);

impl Account {
    /// Never held across an await.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The wall clock's time of an instant.
pub(super) fn wall(at: Instant) -> SystemTime {
    SystemTime::now() + at.saturating_duration_since(Instant::now())
}

/// A request that asked for its turn. Dropped before it has it, it leaves the queue; dropped after, it gives the place back.
#[derive(Debug)]
pub(super) struct Asked {
    account: Arc<Account>,
    ticket: Arc<Ticket>,
    is_taken: bool,
}

impl Asked {
    /// Asks for a party, which stops to wait at `limit`.
    ///
    /// # Errors
    /// Too many of the party wait. Gives the earliest that those have had their turns.
    pub(super) fn new(
        account: &Arc<Account>,
        party: &Arc<str>,
        limit: Option<Instant>,
        now: Instant,
    ) -> Result<Self, Instant> {
        let ticket = Ticket::new(Arc::clone(party), limit);
        account.state().ask(&ticket, now)?;
        Ok(Self {
            account: Arc::clone(account),
            ticket,
            is_taken: false,
        })
    }

    pub(super) fn standing(&self, now: Instant) -> Standing {
        self.account.state().standing(&self.ticket, now)
    }

    /// Returns when there is something new, or at the given time.
    pub(super) async fn news(&self, again: Option<Instant>) {
        let woken = self.ticket.woken.notified();
        match again {
            // Both outcomes are a reason to look.
            Some(again) => drop(tokio::time::timeout_at(again, woken).await),
            None => woken.await,
        }
    }

    /// Takes the turn that was granted.
    pub(super) fn take(mut self, sent: Sent) -> Turn {
        self.is_taken = true;
        Turn {
            account: Arc::clone(&self.account),
            party: Arc::clone(self.ticket.party()),
            sent,
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.is_taken {
            let now = Instant::now();
            self.account.state().withdraw(&self.ticket, now);
        }
    }
}

/// One request under way. Keep it until the answer's body has ended; dropping it gives its place back.
#[derive(Debug)]
#[must_use = "dropping it gives the place back"]
pub struct Turn {
    account: Arc<Account>,
    party: Arc<str>,
    sent: Sent,
}

impl Turn {
    /// Takes in the answer's status and headers, once, as soon as they are there. `now` is the time against which dates in
    /// the headers are read.
    pub fn answered(&self, status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Answered {
        let advice = advice::read(status, headers, now);
        let mut state = self.account.state();
        let hold = state.learn(&advice, self.sent, jitter::draw(), Instant::now());
        drop(state);
        Answered {
            throttled: hold.map(|hold| Throttled {
                until: wall(hold.until),
                cause: hold.cause,
            }),
            try_again: advice.try_again,
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let now = Instant::now();
        self.account.state().give_back(&self.party, now);
    }
}

/// What an answer means for its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    /// The upstream said that there were too many: 429, 503 with a Retry-After, or a 403 whose headers say so. `None`: it is
    /// an answer like any other.
    pub throttled: Option<Throttled>,
    try_again: Option<bool>,
}

/// A no, and how long it holds for everybody on the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttled {
    /// The time to come back.
    pub until: SystemTime,
    /// The status, and whether the upstream said when.
    pub cause: Cause,
}

impl Answered {
    /// Whether to send the request again after its next turn, instead of handing the answer on: a no, to a method that may
    /// be repeated (RFC 9110, 9.2.2), and the upstream does not forbid it. An `Idempotency-Key` is not believed: only the
    /// upstream knows whether it heeds one.
    #[must_use]
    pub fn may_retry(&self, method: &Method) -> bool {
        self.throttled.is_some() && method.is_idempotent() && self.try_again != Some(false)
    }
}
