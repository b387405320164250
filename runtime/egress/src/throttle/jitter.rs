//! Randomness for waits, so that those who were sent away together do not come back together.

use std::hash::{BuildHasher, RandomState};

/// A number in [0, 1). The standard library's hash keys are random and differ at every call; nothing here needs to be
/// unpredictable.
pub(super) fn draw() -> f64 {
    // 53 bits are what an f64 holds exactly.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    let drawn = (RandomState::new().hash_one(0_u8) >> 11) as f64;
    drawn / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_differ_and_stay_below_one() {
        let draws: Vec<f64> = (0..1_000).map(|_| draw()).collect();
        assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
        let mean = draws.iter().sum::<f64>() / 1_000.0;
        assert!((0.4..0.6).contains(&mean), "{mean}");
    }
}
