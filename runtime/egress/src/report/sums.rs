//! The sums of a session: they count everything, whether or not an event or a line tells of it.

use crate::event::Totals;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Atomic sums, copied out as [`Totals`].
#[derive(Debug, Default)]
pub(crate) struct Sums {
    pub(crate) allowed: AtomicU64,
    pub(crate) denied: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) bytes_up: Arc<AtomicU64>,
    pub(crate) bytes_down: Arc<AtomicU64>,
    pub(crate) open: AtomicU64,
    pub(crate) untold: AtomicU64,
    pub(crate) events_lost: AtomicU64,
    pub(crate) lost: AtomicU64,
    /// Answers and connections that are over.
    pub(super) over: AtomicU64,
    /// Inspected requests, and the milliseconds that they waited for their turns.
    pub(super) requests: AtomicU64,
    pub(super) throttled_ms: AtomicU64,
    /// What had moved when a request was last said to wait for a place, and one more; 0 where none ever did.
    waits_since: AtomicU64,
}

impl Sums {
    pub(crate) fn totals(&self) -> Totals {
        let of = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
        Totals {
            allowed: of(&self.allowed),
            denied: of(&self.denied),
            failed: of(&self.failed),
            bytes_up: of(&self.bytes_up),
            bytes_down: of(&self.bytes_down),
            open: of(&self.open),
            untold: of(&self.untold),
            events_lost: of(&self.events_lost),
            lost: of(&self.lost),
            requests: of(&self.requests),
            throttled_ms: of(&self.throttled_ms),
            waits_for_place: of(&self.waits_since) == self.moved() + 1,
        }
    }

    /// A request waits until another one has ended.
    pub(super) fn waits_for_place(&self) {
        self.waits_since.store(self.moved() + 1, Ordering::Relaxed);
    }

    /// Grows with each thing that can follow the end of a wait: bytes, a failure, the end of an answer or connection.
    fn moved(&self) -> u64 {
        let sums = [&self.failed, &self.over, &self.bytes_up, &self.bytes_down];
        sums.into_iter()
            .map(|sum| sum.load(Ordering::Relaxed))
            .fold(0, u64::wrapping_add)
            .min(u64::MAX - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_for_a_place_is_over_once_anything_moves() {
        let sums = Sums::default();
        assert!(!sums.totals().waits_for_place);
        for moves in [&sums.failed, &sums.over, &*sums.bytes_up, &*sums.bytes_down] {
            sums.waits_for_place();
            assert!(sums.totals().waits_for_place);
            moves.fetch_add(1, Ordering::Relaxed);
            assert!(!sums.totals().waits_for_place);
        }
    }
}
