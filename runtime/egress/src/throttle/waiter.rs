//! One request and how long it may wait.

use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A request that needs turns: one for each time it is sent.
#[derive(Debug, Clone)]
pub struct Waiter {
    pub(super) party: Arc<str>,
    deadline: Option<Instant>,
    longest: Duration,
    /// Waited so far, over all its turns.
    waited: Duration,
}

impl Waiter {
    /// Of a party (a connection, with its workspace): parties on one budget are served in turn. Until the call's
    /// `deadline`; `longest` is what the operator lets one request wait in all, retries included.
    pub fn new(party: impl Into<Arc<str>>, deadline: Option<Instant>, longest: Duration) -> Self {
        Self {
            party: party.into(),
            deadline,
            longest,
            waited: Duration::ZERO,
        }
    }

    /// How long this request has waited for its turns.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waited
    }

    pub(super) fn add(&mut self, waited: Duration) {
        self.waited = self.waited.saturating_add(waited);
    }

    /// When waiting that begins now must be over. `None`: beyond all clocks.
    pub(super) fn limit(&self, now: Instant) -> Option<Instant> {
        let longest = now.checked_add(self.longest.saturating_sub(self.waited));
        [self.deadline, longest].into_iter().flatten().min()
    }
}
