//! Retry-After (RFC 9110, 10.2.3): seconds, in some APIs with a fraction, or an HTTP-date.

use super::BELIEVED;
use super::number::{bounded, number};
use http::{HeaderMap, header};
use std::time::{Duration, SystemTime};

/// How long to stay away, at most [`BELIEVED`]; zero where the time has passed. `None`: it is not said, or makes no sense.
/// Of several values the longest holds.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    headers
        .get_all(header::RETRY_AFTER)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .filter_map(|text| seconds(text).or_else(|| date(text, now)))
        .max()
}

fn seconds(text: &str) -> Option<Duration> {
    number(text).map(bounded)
}

fn date(text: &str, now: SystemTime) -> Option<Duration> {
    let until = httpdate::parse_http_date(text.trim()).ok()?;
    Some(until.duration_since(now).unwrap_or_default().min(BELIEVED))
}
