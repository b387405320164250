//! Headers of single vendors that say what no common header does.
//!
//! Whoever adds one adds its rows to the decision table in `tests.rs`.

use super::Of;
use super::number::count;
use http::HeaderMap;
use std::time::Duration;

/// A leaky bucket fills from empty to full in twenty seconds' leak: 40 requests at 2 per second, 80 at 4 (Shopify, REST
/// Admin API).
const LEAK_SECONDS: u32 = 20;

/// Shopify's `X-Shopify-Shop-Api-Call-Limit: 32/40`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Bucket {
    used: u32,
    size: u32,
}

impl Bucket {
    /// Requests per second to keep to, and how long, once the bucket is four fifths full.
    pub(in super::super) fn pace(self) -> Option<(f64, Duration)> {
        let leak = f64::from(self.size) / f64::from(LEAK_SECONDS);
        let is_nearly_full = u64::from(self.used) * 5 >= u64::from(self.size) * 4;
        is_nearly_full.then(|| (leak, Duration::from_secs(LEAK_SECONDS.into())))
    }
}

pub(super) fn bucket(headers: &HeaderMap) -> Option<Bucket> {
    let (used, size) = fraction(text(headers, "x-shopify-shop-api-call-limit")?)?;
    let size = u32::try_from(size).ok().filter(|size| *size > 0)?;
    let used = u32::try_from(used).unwrap_or(u32::MAX);
    Some(Bucket { used, size })
}

/// Salesforce's `Sforce-Limit-Info: api-usage=25/5000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DailyUse {
    used: u64,
    limit: u64,
}

impl DailyUse {
    /// It counts only with a 403 (`REQUEST_LIMIT_EXCEEDED`, which stands in the body): the number lags behind, and
    /// Salesforce lets an organisation go over it for a while.
    pub(super) fn is_used_up(self) -> bool {
        self.used >= self.limit
    }
}

pub(super) fn daily_use(headers: &HeaderMap) -> Option<DailyUse> {
    let usage = text(headers, "sforce-limit-info")?
        .split([',', ';'])
        .find_map(|part| part.trim().strip_prefix("api-usage="))?;
    let (used, limit) = fraction(usage)?;
    Some(DailyUse { used, limit })
}

/// Stripe's `Stripe-Rate-Limited-Reason`: `global-rate`, `global-concurrency`, `endpoint-rate`, `endpoint-concurrency`,
/// `resource-specific`.
pub(super) fn limited(headers: &HeaderMap) -> Option<Of> {
    match text(headers, "stripe-rate-limited-reason")? {
        reason if reason.ends_with("-concurrency") => Some(Of::Concurrency),
        reason if reason.ends_with("-rate") => Some(Of::Rate),
        _ => None,
    }
}

/// Stripe's `Stripe-Should-Retry`.
pub(super) fn try_again(headers: &HeaderMap) -> Option<bool> {
    match text(headers, "stripe-should-retry")? {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    Some(headers.get(name)?.to_str().ok()?.trim())
}

fn fraction(text: &str) -> Option<(u64, u64)> {
    let (part, whole) = text.split_once('/')?;
    Some((count(part)?, count(whole)?))
}
