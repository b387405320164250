//! One policy's rate with its burst, as the generic cell rate algorithm (ITU-T I.371, annex A).
//!
//! `governor` has the same algorithm, but it can only be asked by taking: whether the turn may be had now. Here it is asked
//! when the n-th turn from now comes, before anything is taken, because a wait that does not fit must end before it begins;
//! and several paces are asked before any of them is charged.

use super::rate::PerSecond;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    /// How far ahead of the rate a burst may run.
    ahead: Duration,
    /// When all that was let go is paid for; the theoretical arrival time of the standard.
    paid: Option<Instant>,
}

impl Pace {
    pub(super) fn new(rate: &PerSecond) -> Self {
        let interval = rate.interval();
        Self {
            interval,
            ahead: interval * (rate.burst.get() - 1),
            paid: None,
        }
    }

    /// When a turn may be had before which `before` others are had, none of them earlier than `from`.
    pub(super) fn nth(&self, from: Instant, before: u32) -> Instant {
        let paid = self.paid.map_or(from, |paid| paid.max(from)) + self.interval * before;
        paid.checked_sub(self.ahead).map_or(from, |at| at.max(from))
    }

    /// Takes a turn. One that the pace would not have given (it is not asked while no call is under its policy) costs no
    /// more than the whole burst.
    pub(super) fn charge(&mut self, now: Instant) {
        let paid = self.paid.map_or(now, |paid| paid.max(now)) + self.interval;
        self.paid = Some(paid.min(now + self.ahead + self.interval));
    }

    /// When the whole burst is there. `None`: nothing was ever taken.
    pub(super) fn rested_at(&self) -> Option<Instant> {
        self.paid
    }
}

#[cfg(test)]
mod tests {
    use super::super::rate::Rate;
    use super::*;

    fn pace(per_second: f64, burst: u32) -> Pace {
        let rate = Rate::new(Some(per_second), Some(burst), None).unwrap();
        Pace::new(&rate.paced().unwrap())
    }

    #[test]
    fn what_is_foretold_is_what_comes() {
        let begin = Instant::now();
        let mut pace = pace(10.0, 3);
        let foretold: Vec<_> = (0..20).map(|before| pace.nth(begin, before)).collect();
        for at in foretold {
            assert_eq!(pace.nth(begin, 0), at);
            pace.charge(at);
        }
    }

    #[test]
    fn a_burst_goes_at_once_and_comes_back_with_time() {
        let begin = Instant::now();
        let mut pace = pace(10.0, 3);
        for _ in 0..3 {
            assert_eq!(pace.nth(begin, 0), begin);
            pace.charge(begin);
        }
        let wait = pace.nth(begin, 0) - begin;
        assert!((100..101).contains(&wait.as_millis()), "{wait:?}");
        let rested = pace.rested_at().unwrap() - begin;
        assert!((300..301).contains(&rested.as_millis()), "{rested:?}");
    }

    #[test]
    fn turns_that_were_not_asked_for_cost_no_more_than_the_burst() {
        let begin = Instant::now();
        let mut pace = pace(1.0, 5);
        for _ in 0..1_000 {
            pace.charge(begin);
        }
        let wait = pace.nth(begin, 0) - begin;
        assert!((1_000..1_001).contains(&wait.as_millis()), "{wait:?}");
    }
}
