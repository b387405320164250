//! What an answer says about how fast to go: pure, on status, headers and the time.
//!
//! Headers are the upstream's word about itself and no more: each is read if it makes sense and passed over if not, no time
//! is believed beyond [`BELIEVED`], and nothing of their text is handed on.

mod number;
mod rate_limit;
mod retry_after;
mod vendor;

use super::cause::Cause;
use http::{HeaderMap, HeaderName, StatusCode};
use rate_limit::{Quota, grants, quotas};
use retry_after::retry_after;
use std::time::{Duration, SystemTime};
use vendor::{Bucket, DailyUse};

/// No wait is believed beyond this: a day, the longest window that upstreams publish. A header that names a later time is
/// believed thus far, and even that is asked after: while more than a quarter of an hour is to be waited, one request goes
/// every five minutes, and an answer that serves it ends the wait (`learned/hold`).
pub(super) const BELIEVED: Duration = Duration::from_secs(86_400);

/// After Salesforce's no. Its window of 24 hours rolls, so calls come free all the time, and no header says when.
const DAILY: Duration = Duration::from_secs(900);

/// What one answer says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Advice {
    /// The request was not served because there were too many.
    pub(super) refused: Option<Refused>,
    /// The upstream did not say no, and did not fail.
    pub(super) served: bool,
    /// What is left, by the upstream's windows.
    pub(super) quotas: Vec<Quota>,
    /// Requests per second that the upstream's published windows come to; the least of them.
    pub(super) granted: Option<f64>,
    /// A leaky bucket of the upstream's.
    pub(super) bucket: Option<Bucket>,
    /// The upstream's word on trying again, if it gives one.
    pub(super) try_again: Option<bool>,
}

/// A no.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Refused {
    pub(super) cause: Cause,
    /// How long to stay away. `None`: the upstream does not say, or names a time that has passed.
    pub(super) wait: Option<Duration>,
    /// What there was too much of, if the upstream says.
    pub(super) of: Option<Of>,
}

/// What an upstream limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Rate,
    Concurrency,
}

/// Reads an answer.
pub(super) fn read(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Advice {
    // Most answers say nothing of it, and looking for each name costs more than one look at the names that there are.
    if status != StatusCode::TOO_MANY_REQUESTS && !headers.keys().any(is_of_advice) {
        return Advice {
            refused: None,
            served: !status.is_server_error(),
            quotas: Vec::new(),
            granted: None,
            bucket: None,
            try_again: None,
        };
    }
    let quotas = quotas(headers, now);
    let refused = refused(status, headers, &quotas, now);
    Advice {
        served: refused.is_none() && !status.is_server_error(),
        refused,
        granted: grants(headers),
        bucket: vendor::bucket(headers),
        try_again: vendor::try_again(headers),
        quotas,
    }
}

/// Whether a header of this name may be read here: what these modules look for, and their tests' tables have, has one of
/// the two words in its name.
fn is_of_advice(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.contains("limit") || name.contains("retry")
}

fn refused(
    status: StatusCode,
    headers: &HeaderMap,
    quotas: &[Quota],
    now: SystemTime,
) -> Option<Refused> {
    let named = retry_after(headers, now);
    let used_up = quotas.iter().any(|quota| quota.remaining == 0);
    let daily = vendor::daily_use(headers).is_some_and(DailyUse::is_used_up);
    let is_refused = match status {
        StatusCode::TOO_MANY_REQUESTS => true,
        // Elsewhere 503 is an outage, and 403 means what it says.
        StatusCode::SERVICE_UNAVAILABLE => named.is_some(),
        StatusCode::FORBIDDEN => named.is_some() || used_up || daily,
        _ => false,
    };
    if !is_refused {
        return None;
    }
    // Retry-After goes before what the windows say, as the RateLimit draft and GitHub's manual have it.
    let (cause, wait) = if let Some(wait) = named.filter(|wait| !wait.is_zero()) {
        (Cause::RetryAfter(status), Some(wait))
    } else if let Some(reset) = quotas.iter().filter_map(Quota::used_up_for).max() {
        (Cause::Quota, Some(reset))
    } else if daily && named.is_none() {
        (Cause::Quota, Some(DAILY))
    } else {
        (Cause::Refused(status), None)
    };
    Some(Refused {
        cause,
        wait,
        of: vendor::limited(headers),
    })
}

#[cfg(test)]
mod tests;
