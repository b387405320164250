//! The numbers of a policy's `rate: { per_second: 25, burst: 50, concurrency: 8 }`, checked once.

use std::num::NonZeroU32;
use std::time::Duration;

/// Most requests per second, and most at once, that a policy may name.
pub(crate) const MOST: u32 = 1_000_000;
/// Fewest: one in a day.
const FEWEST_PER_SECOND: f64 = 1.0 / 86_400.0;

/// What an operator allows towards one host. At least one of rate and concurrency is there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    per_second: Option<PerSecond>,
    concurrency: Option<NonZeroU32>,
}

/// A rate with its burst.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PerSecond {
    pub(super) rate: f64,
    pub(super) burst: NonZeroU32,
}

/// Why numbers are no rate; each says what to write instead.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum RateError {
    /// Nothing is limited.
    #[error(
        "a rate without per_second and concurrency limits nothing; write one of them, or no rate"
    )]
    Nothing,
    /// Zero, negative, not a number, or out of all proportion.
    #[error(
        "per_second is {0}; write a number from 0.0000116 (one in a day) to 1000000, such as 25 or 0.5"
    )]
    PerSecond(f64),
    /// Zero, or out of all proportion.
    #[error("burst is {0}; write a whole number from 1 to 1000000")]
    Burst(u32),
    /// A burst of what.
    #[error(
        "burst says how many requests may go at once before per_second holds; write per_second too"
    )]
    BurstAlone,
    /// Zero, or out of all proportion.
    #[error("concurrency is {0}; write a whole number from 1 to 1000000")]
    Concurrency(u32),
}

impl Rate {
    /// Checks the numbers of a policy. Without `burst`, one second's requests may go at once, and at least one.
    ///
    /// # Errors
    /// A number is out of its range, or the numbers limit nothing.
    pub fn new(
        per_second: Option<f64>,
        burst: Option<u32>,
        concurrency: Option<u32>,
    ) -> Result<Self, RateError> {
        let whole = |number: u32| NonZeroU32::new(number).filter(|number| number.get() <= MOST);
        let burst = burst
            .map(|burst| whole(burst).ok_or(RateError::Burst(burst)))
            .transpose()?;
        let concurrency = concurrency
            .map(|places| whole(places).ok_or(RateError::Concurrency(places)))
            .transpose()?;
        let per_second = match (per_second, burst) {
            (None, Some(_)) => return Err(RateError::BurstAlone),
            (None, None) => None,
            (Some(rate), burst) => Some(PerSecond::new(rate, burst)?),
        };
        if per_second.is_none() && concurrency.is_none() {
            return Err(RateError::Nothing);
        }
        Ok(Self {
            per_second,
            concurrency,
        })
    }

    /// Requests per second in the long run.
    #[must_use]
    pub fn per_second(&self) -> Option<f64> {
        self.per_second.map(|per_second| per_second.rate)
    }

    /// Requests that may go at once before the rate holds.
    #[must_use]
    pub fn burst(&self) -> Option<NonZeroU32> {
        self.per_second.map(|per_second| per_second.burst)
    }

    /// Requests that may be under way.
    #[must_use]
    pub fn concurrency(&self) -> Option<NonZeroU32> {
        self.concurrency
    }

    pub(super) fn paced(&self) -> Option<PerSecond> {
        self.per_second
    }
}

impl PerSecond {
    fn new(rate: f64, burst: Option<NonZeroU32>) -> Result<Self, RateError> {
        // A NaN is in no range.
        if !(FEWEST_PER_SECOND..=f64::from(MOST)).contains(&rate) {
            return Err(RateError::PerSecond(rate));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between zero and a million"
        )]
        let second = NonZeroU32::new(rate as u32).unwrap_or(NonZeroU32::MIN);
        Ok(Self {
            rate,
            burst: burst.unwrap_or(second),
        })
    }

    /// The time between two requests, rounded up so that the rate is never exceeded.
    pub(super) fn interval(&self) -> Duration {
        interval(self.rate)
    }
}

/// The time between two requests at a rate that is one of a policy or not below one in a day.
pub(super) fn interval(per_second: f64) -> Duration {
    Duration::from_secs_f64(1.0 / per_second.max(FEWEST_PER_SECOND)) + Duration::from_nanos(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_hold_nothing_are_refused_with_what_to_write() {
        let cases = [
            (None, None, None),
            (Some(0.0), None, None),
            (Some(-1.0), None, None),
            (Some(f64::NAN), None, None),
            (Some(f64::INFINITY), None, None),
            (Some(1e-9), None, None),
            (None, Some(5), Some(1)),
            (Some(1.0), Some(0), None),
            (Some(1.0), Some(1_000_001), None),
            (None, None, Some(0)),
            (None, None, Some(u32::MAX)),
        ];
        for (per_second, burst, concurrency) in cases {
            let error = Rate::new(per_second, burst, concurrency).unwrap_err();
            assert!(error.to_string().contains("write"), "{error}");
        }
    }

    #[test]
    fn a_burst_that_is_not_named_is_one_second_s_requests() {
        let burst = |per_second| Rate::new(Some(per_second), None, None).unwrap().burst();
        assert_eq!(burst(25.0), NonZeroU32::new(25));
        assert_eq!(burst(0.2), NonZeroU32::new(1));
    }
}
