//! How often turns were taken of late: what there was, where no policy names a number.

use std::time::Duration;
use tokio::time::Instant;

/// Time over which the rate of requests is observed.
const WINDOW: Duration = Duration::from_secs(10);

/// Turns taken in the window that runs, and in the one before.
#[derive(Debug, Default)]
pub(super) struct Recent {
    pub(super) last: Option<Instant>,
    began: Option<Instant>,
    count: u32,
    /// Of the window before.
    before: f64,
}

impl Recent {
    pub(super) fn count(&mut self, now: Instant) {
        let age = self.began.map(|began| now.duration_since(began));
        if age.is_none_or(|age| age >= WINDOW) {
            self.before = match age {
                Some(age) if age < WINDOW * 2 => f64::from(self.count) / age.as_secs_f64(),
                _ => 0.0,
            };
            self.began = Some(now);
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        self.last = Some(now);
    }

    pub(super) fn per_second(&self, now: Instant) -> f64 {
        let age = self.began.map_or(WINDOW, |began| now.duration_since(began));
        let current = f64::from(self.count) / age.max(Duration::from_secs(1)).as_secs_f64();
        current.max(self.before)
    }
}
