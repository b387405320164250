//! How long something of the vault lives: the daemon's token, a call's token, a lease.

use std::time::Duration;

use tokio::time::Instant;

use crate::provider::Lease;

/// A life that may be prolonged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    since: Instant,
    /// Nothing for what does not end.
    life: Option<Duration>,
    /// As it was first granted.
    first: Duration,
    renewable: bool,
}

impl Terms {
    /// As granted to a request that was sent at `since`: the vault began to count no earlier.
    pub(crate) fn new(since: Instant, life: Option<Duration>, renewable: bool) -> Terms {
        Terms {
            since,
            life,
            first: life.unwrap_or_default(),
            renewable: renewable && life.is_some(),
        }
    }

    /// The life that was first granted, in whole seconds.
    pub(crate) fn increment(&self) -> u64 {
        self.first.as_secs()
    }

    /// As it was granted; nothing for what does not end.
    pub(crate) fn granted(&self) -> Option<Lease> {
        self.life.map(|_| Lease {
            life: self.first,
            renewable: self.renewable,
        })
    }

    pub(crate) fn renewable(&self) -> bool {
        self.renewable
    }

    pub(crate) fn ends(&self) -> Option<Instant> {
        Some(self.since + self.life?)
    }

    /// After two thirds of the life.
    pub(crate) fn two_thirds(&self) -> Option<Instant> {
        Some(self.since + self.life? * 2 / 3)
    }

    /// When to prolong; nothing where that is not possible, or too late.
    pub(crate) fn due(&self) -> Option<Instant> {
        let ended = self.ends().is_some_and(|ends| ends <= Instant::now());
        let possible = self.renewable && !ended;
        possible.then(|| self.two_thirds()).flatten()
    }

    /// As granted to a renewal that was sent at `since`. One that gains next to nothing was the last: the longest life
    /// is reached.
    pub(crate) fn prolong(&mut self, since: Instant, seconds: u64, renewable: bool) {
        let life = Duration::from_secs(seconds);
        let before = self.ends().unwrap_or(since);
        (self.since, self.life) = (since, Some(life));
        let gained = (since + life).saturating_duration_since(before);
        self.renewable = renewable && gained > self.first / 10;
    }

    /// There is no use in trying again.
    pub(crate) fn last(&mut self) {
        self.renewable = false;
    }

    /// It has ended already.
    pub(crate) fn end(&mut self, now: Instant) {
        *self = Terms::new(now, Some(Duration::ZERO), false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_life_is_prolonged_at_two_thirds_until_that_gains_nothing() {
        let start = Instant::now();
        let mut terms = Terms::new(start, Some(MINUTE), true);
        assert_eq!(terms.due(), Some(start + MINUTE * 2 / 3));
        terms.prolong(start + MINUTE * 2 / 3, 60, true);
        assert_eq!(terms.ends(), Some(start + MINUTE * 5 / 3));
        assert_eq!(terms.due(), Some(start + MINUTE * 4 / 3));
        terms.prolong(start + MINUTE * 4 / 3, 20, true);
        assert_eq!(
            (terms.due(), terms.ends()),
            (None, Some(start + MINUTE * 5 / 3))
        );
    }

    #[test]
    fn what_does_not_end_is_never_due() {
        let terms = Terms::new(Instant::now(), None, true);
        assert_eq!((terms.due(), terms.ends()), (None, None));
    }
}
