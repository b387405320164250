//! An answer of the gateway's own, made anew for each request: a date in it is reckoned from now.

use super::{Answer, Asked, RequestFault};
use bytes::Bytes;
use http::header::{LOCATION, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use std::time::{Duration, SystemTime};

/// An answer as a script has it.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) retry_after: RetryAfter,
    pub(super) body: Bytes,
}

/// What `retry_after` says (RFC 9110, 10.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryAfter {
    Absent,
    Seconds(u32),
    /// A date so many seconds from the answer on.
    Date(u32),
    /// Longer than anybody waits, about 317 years.
    Absurd,
    /// A date that is over for an hour.
    Past,
}

const ABSURD: u64 = 9_999_999_999;
const OVER: Duration = Duration::from_secs(3600);

impl Recipe {
    pub(super) fn make(&self, now: SystemTime) -> Answer {
        let mut headers = self.headers.clone();
        headers.extend(
            self.retry_after
                .field(now)
                .map(|value| (RETRY_AFTER, value)),
        );
        Answer {
            status: self.status,
            headers,
            body: self.body.clone(),
        }
    }
}

impl RetryAfter {
    fn field(self, now: SystemTime) -> Option<HeaderValue> {
        let date = |date| HeaderValue::from_str(&httpdate::fmt_http_date(date)).ok();
        match self {
            Self::Absent => None,
            Self::Seconds(seconds) => Some(HeaderValue::from(seconds)),
            Self::Date(seconds) => date(now + Duration::from_secs(seconds.into())),
            Self::Absurd => Some(HeaderValue::from(ABSURD)),
            Self::Past => date(now - OVER),
        }
    }
}

/// 200, and nothing.
pub(super) fn empty() -> RequestFault {
    RequestFault::Answer(Answer {
        status: StatusCode::OK,
        headers: Vec::new(),
        body: Bytes::new(),
    })
}

/// 302 to where the request went. `None` for a target that no field can hold, which no request has that the gateway reads.
pub(super) fn redirect_loop(asked: &Asked<'_>) -> Option<RequestFault> {
    let location = HeaderValue::from_str(asked.path).ok()?;
    Some(RequestFault::Answer(Answer {
        status: StatusCode::FOUND,
        headers: vec![(LOCATION, location)],
        body: Bytes::new(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_reckoned_from_the_moment_of_the_answer() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let field = |retry_after: RetryAfter| {
            let recipe = Recipe {
                status: StatusCode::TOO_MANY_REQUESTS,
                headers: Vec::new(),
                retry_after,
                body: Bytes::new(),
            };
            let answer = recipe.make(now);
            answer.headers.first().map(|(name, value)| {
                assert_eq!(name, RETRY_AFTER);
                value.to_str().unwrap().to_owned()
            })
        };
        assert_eq!(field(RetryAfter::Absent), None);
        assert_eq!(field(RetryAfter::Seconds(2)).unwrap(), "2");
        assert_eq!(
            field(RetryAfter::Date(2)).unwrap(),
            "Fri, 15 Jan 2027 08:00:02 GMT"
        );
        assert_eq!(
            field(RetryAfter::Past).unwrap(),
            "Fri, 15 Jan 2027 07:00:00 GMT"
        );
        assert_eq!(field(RetryAfter::Absurd).unwrap(), "9999999999");
    }
}
