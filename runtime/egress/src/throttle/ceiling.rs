//! What the policies of the calls that use a budget allow together.
//!
//! Two policies may name one credential and host with different rates, and a reload brings a new rate while calls are under
//! way. Each rate keeps its own pace, every turn is charged to all of them, and a turn needs the leave of each that a call
//! is under. So none of them is exceeded by what another allows, and asking under one rate and then under the other gives
//! nobody a second burst.

use super::pace::Pace;
use super::rate::Rate;
use tokio::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Ceiling(Vec<Held>);

#[derive(Debug)]
struct Held {
    rate: Rate,
    pace: Option<Pace>,
    /// Calls under it. With none it only remembers what was taken.
    holders: usize,
}

impl Ceiling {
    pub(super) fn join(&mut self, rate: Rate) {
        if let Some(held) = self.0.iter_mut().find(|held| held.rate == rate) {
            held.holders += 1;
            return;
        }
        self.0.push(Held {
            rate,
            pace: rate.paced().as_ref().map(Pace::new),
            holders: 1,
        });
    }

    pub(super) fn leave(&mut self, rate: Rate, now: Instant) {
        if let Some(held) = self.0.iter_mut().find(|held| held.rate == rate) {
            held.holders = held.holders.saturating_sub(1);
        }
        self.0
            .retain(|held| held.holders > 0 || held.rested_at().is_some_and(|at| at > now));
    }

    /// When a turn may be had before which `before` others are had, none of them earlier than `from`.
    pub(super) fn nth(&self, from: Instant, before: u32) -> Instant {
        self.in_force()
            .filter_map(|held| held.pace.as_ref())
            .map(|pace| pace.nth(from, before))
            .max()
            .unwrap_or(from)
    }

    pub(super) fn charge(&mut self, now: Instant) {
        for pace in self.0.iter_mut().filter_map(|held| held.pace.as_mut()) {
            pace.charge(now);
        }
    }

    pub(super) fn concurrency(&self) -> Option<u32> {
        self.in_force()
            .filter_map(|held| held.rate.concurrency())
            .map(std::num::NonZeroU32::get)
            .min()
    }

    pub(super) fn per_second(&self) -> Option<f64> {
        self.in_force()
            .filter_map(|held| held.rate.per_second())
            .reduce(f64::min)
    }

    /// When nothing is lost by forgetting what was taken.
    pub(super) fn rested_at(&self) -> Option<Instant> {
        self.0.iter().filter_map(Held::rested_at).max()
    }

    fn in_force(&self) -> impl Iterator<Item = &Held> {
        self.0.iter().filter(|held| held.holders > 0)
    }
}

impl Held {
    fn rested_at(&self) -> Option<Instant> {
        self.pace.as_ref().and_then(Pace::rested_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn rate(per_second: f64, burst: u32, concurrency: u32) -> Rate {
        Rate::new(Some(per_second), Some(burst), Some(concurrency)).unwrap()
    }

    #[test]
    fn of_two_policies_the_stricter_holds_while_a_call_is_under_it() {
        let now = Instant::now();
        let (strict, lax) = (rate(1.0, 1, 9), rate(100.0, 100, 5));
        let mut ceiling = Ceiling::default();
        ceiling.join(lax);
        assert_eq!(
            (ceiling.per_second(), ceiling.concurrency()),
            (Some(100.0), Some(5))
        );
        ceiling.join(strict);
        assert_eq!(
            (ceiling.per_second(), ceiling.concurrency()),
            (Some(1.0), Some(5))
        );
        ceiling.charge(now);
        assert!(ceiling.nth(now, 0) > now);
        ceiling.leave(strict, now);
        assert_eq!(ceiling.nth(now, 0), now);
        ceiling.leave(lax, now);
        assert_eq!((ceiling.per_second(), ceiling.concurrency()), (None, None));
    }

    #[test]
    fn going_to_and_fro_between_two_rates_gives_no_second_burst() {
        let now = Instant::now();
        let (small, big) = (rate(1.0, 1, 9), rate(10.0, 10, 9));
        let mut ceiling = Ceiling::default();
        ceiling.join(big);
        for _ in 0..10 {
            ceiling.charge(now);
        }
        for _ in 0..100 {
            ceiling.join(small);
            ceiling.leave(big, now);
            ceiling.join(big);
            ceiling.leave(small, now);
        }
        assert!(ceiling.nth(now, 0) > now);
        ceiling.leave(big, now);
        assert!(ceiling.rested_at().is_some_and(|at| at > now));
        ceiling.leave(big, now + Duration::from_secs(2));
        assert_eq!(ceiling.rested_at(), None);
    }
}
