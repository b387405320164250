//! Which of all things that an entry matches it is for.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers, from 1, that a fault is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Always,
    Nth(NonZeroU64),
    Every(NonZeroU64),
    After(NonZeroU64),
    Times(NonZeroU64),
}

impl When {
    pub(super) fn holds(self, number: u64) -> bool {
        match self {
            Self::Always => true,
            Self::Nth(nth) => number == nth.get(),
            Self::Every(every) => number.is_multiple_of(every.get()),
            Self::After(after) => number > after.get(),
            Self::Times(times) => number <= times.get(),
        }
    }

    /// The number from which on something that happened once stays so.
    pub(super) fn from(self) -> u64 {
        match self {
            Self::Nth(nth) => nth.get(),
            Self::After(after) => after.get() + 1,
            Self::Always | Self::Every(_) | Self::Times(_) => 1,
        }
    }
}

/// Gives numbers from 1, each once, to whoever asks.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// How many were given.
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_of_counting_is_for_the_numbers_that_it_names() {
        let n = |number| NonZeroU64::new(number).unwrap();
        let held = |when: When| {
            (1..=9)
                .filter(|&number| when.holds(number))
                .collect::<Vec<_>>()
        };
        assert_eq!(held(When::Always), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(held(When::Nth(n(2))), [2]);
        assert_eq!(held(When::Every(n(3))), [3, 6, 9]);
        assert_eq!(held(When::After(n(7))), [8, 9]);
        assert_eq!(held(When::Times(n(2))), [1, 2]);
    }
}
