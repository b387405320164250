//! Numbers that hold for a time: one that was lowered and rises by steps, and one that ends.

use super::SLOWEST;
use std::time::Duration;
use tokio::time::Instant;

/// Time after which a lowered number rises by one step.
pub(super) const STEP: Duration = Duration::from_secs(10);
/// Steps from nothing to what there was.
const STEPS: f64 = 10.0;

/// A number that was lowered and rises by steps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lowered {
    pub(super) now: f64,
    pub(super) step: f64,
    /// Where it ends to hold: the policies' number, or twice what there was.
    pub(super) until: f64,
    /// When it begins to rise.
    pub(super) since: Instant,
}

impl Lowered {
    /// Half of what there was: of what came through, but not more than was allowed.
    pub(super) fn halved(
        before: Option<Self>,
        seen: f64,
        least: f64,
        allowed: Option<f64>,
        now: Instant,
    ) -> Self {
        let held = before.and_then(|before| before.at(now));
        let was = [held, allowed].into_iter().flatten().fold(seen, f64::min);
        let aim = held.and(before).map_or(0.0, |before| before.until);
        let until = allowed.unwrap_or_else(|| aim.max(was * 2.0));
        Self {
            now: (was / 2.0).max(least),
            step: until / STEPS,
            until,
            since: now,
        }
    }

    /// What holds now. `None`: it has risen to where it ends.
    pub(super) fn at(&self, now: Instant) -> Option<f64> {
        let risen = now.saturating_duration_since(self.since).as_secs() / STEP.as_secs();
        #[expect(clippy::cast_precision_loss, reason = "a count of steps")]
        let value = self.now + self.step * risen as f64;
        (value < self.until).then_some(value)
    }

    pub(super) fn next_step(&self, now: Instant) -> Option<Instant> {
        self.at(now)?;
        let past = now.saturating_duration_since(self.since).as_secs() / STEP.as_secs();
        let steps = u32::try_from(past).unwrap_or(u32::MAX).saturating_add(1);
        Some(self.since + STEP * steps)
    }

    /// When it has risen to its end.
    pub(super) fn ends(&self) -> Instant {
        let steps = ((self.until - self.now).max(0.0) / self.step)
            .ceil()
            .min(STEPS + 1.0);
        self.since + STEP.mul_f64(steps)
    }
}

/// A rate for a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spread {
    pub(super) per_second: f64,
    pub(super) until: Instant,
}

impl Spread {
    pub(super) fn new(per_second: f64, until: Instant) -> Self {
        // What is left of a day's window is better used than waited out: its end is a wait of its own.
        let per_second = per_second.max(SLOWEST);
        Self { per_second, until }
    }

    pub(super) fn slower(self, other: Self) -> Self {
        if other.per_second < self.per_second {
            other
        } else {
            self
        }
    }
}
