//! Why a request waits, and what is told of it.

use http::StatusCode;
use std::fmt;
use std::time::SystemTime;

/// What a request waits for. The text form is what a call is told; it holds nothing that an upstream wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The policy's rate.
    PolicyRate,
    /// The policy's concurrency, or what is left of it after the upstream had too many at once.
    Concurrency,
    /// The upstream said no, without a time.
    Refused(StatusCode),
    /// The upstream said no, and when to come back.
    RetryAfter(StatusCode),
    /// What the upstream grants in its window is used up, or nearly so.
    Quota,
    /// The rate after the upstream said no, which rises again by steps.
    LearnedRate,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PolicyRate => f.write_str("policy rate"),
            Self::Concurrency => f.write_str("concurrency"),
            Self::Refused(status) => write!(f, "{}", status.as_u16()),
            Self::RetryAfter(status) => write!(f, "{} Retry-After", status.as_u16()),
            Self::Quota => f.write_str("quota"),
            Self::LearnedRate => f.write_str("learned rate"),
        }
    }
}

/// A wait of at least a quarter second, told before it is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// When it ends. `None`: with the end of a request that is under way, which nobody can foretell; such a wait is told
    /// once it has lasted a quarter second.
    pub until: Option<SystemTime>,
    /// What is waited for.
    pub cause: Cause,
}

/// The wait would not fit: the deadline or the longest wait comes first. `QUOTA_EXHAUSTED`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no turn before the deadline ({cause}); come back at {}", chrono::DateTime::<chrono::Utc>::from(*.until).format("%Y-%m-%dT%H:%M:%SZ"))]
pub struct Exhausted {
    /// The time to come back.
    pub until: SystemTime,
    /// What would have been waited for.
    pub cause: Cause,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn causes_read_as_the_field_calls_them() {
        let texts = [
            (Cause::PolicyRate, "policy rate"),
            (Cause::Concurrency, "concurrency"),
            (Cause::Refused(StatusCode::TOO_MANY_REQUESTS), "429"),
            (
                Cause::RetryAfter(StatusCode::SERVICE_UNAVAILABLE),
                "503 Retry-After",
            ),
            (Cause::Quota, "quota"),
            (Cause::LearnedRate, "learned rate"),
        ];
        for (cause, text) in texts {
            assert_eq!(cause.to_string(), text);
        }
    }

    #[test]
    fn who_cannot_wait_is_told_when_to_come_back() {
        let exhausted = Exhausted {
            until: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            cause: Cause::Quota,
        };
        assert_eq!(
            exhausted.to_string(),
            "no turn before the deadline (quota); come back at 2023-11-14T22:13:20Z"
        );
    }
}
