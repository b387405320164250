//! Numbers in headers, read without trust.

use super::BELIEVED;
use std::time::Duration;

/// A count such as `4999`. Too many digits for any count are the greatest one.
pub(super) fn count(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// A number such as `2`, `2.0` or `-1`. No exponent, no `inf`, no `NaN`: no header has them.
pub(super) fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = text.strip_prefix('-').unwrap_or(text);
    let digits = plain
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    // More digits than an f64 has make an infinity at most, which is bounded like every time.
    (digits && plain.bytes().any(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// Seconds as a time, bounded: what is negative is now, what is beyond belief is [`BELIEVED`].
pub(super) fn bounded(seconds: f64) -> Duration {
    let seconds = seconds.clamp(0.0, BELIEVED.as_secs_f64());
    Duration::try_from_secs_f64(seconds).unwrap_or(BELIEVED)
}
