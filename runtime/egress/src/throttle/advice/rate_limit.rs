//! Windows that upstreams publish: the IETF draft in its forms, and the `X-RateLimit-*` from before it.
//!
//! - `RateLimit: "name";r=50;t=30` and `RateLimit-Policy: "name";q=100;w=60` (draft-ietf-httpapi-ratelimit-headers-08 and
//!   later), also with names that are tokens;
//! - `RateLimit: limit=100, remaining=50, reset=30` and `RateLimit-Policy: 100;w=60` (draft 07);
//! - `RateLimit-Limit`, `-Remaining`, `-Reset` (drafts 00 to 06), and the same with `X-RateLimit-` and `X-Rate-Limit-`, where
//!   a reset is seconds to go or a Unix time.

use super::number::{bounded, count, number};
use http::HeaderMap;
use std::time::{Duration, SystemTime};

/// Members of one header that are looked at.
const MEMBERS: usize = 16;

/// What is left of one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Quota {
    pub(in super::super) remaining: u64,
    /// Time until there is more, if it is known.
    pub(in super::super) reset: Option<Duration>,
}

impl Quota {
    /// How long nothing is left. `None`: something is left, or nobody says how long not.
    pub(in super::super) fn used_up_for(&self) -> Option<Duration> {
        let reset = self.reset.filter(|reset| !reset.is_zero());
        (self.remaining == 0).then_some(reset).flatten()
    }
}

/// What is left, by window.
pub(super) fn quotas(headers: &HeaderMap, now: SystemTime) -> Vec<Quota> {
    let policies = policies(headers);
    let mut quotas = structured(headers, &policies);
    quotas.extend(named_members(headers));
    for prefix in ["ratelimit", "x-ratelimit", "x-rate-limit"] {
        quotas.extend(separate(headers, prefix, now));
    }
    quotas
}

/// Requests per second that the published windows come to: the least of them.
pub(super) fn grants(headers: &HeaderMap) -> Option<f64> {
    policies(headers)
        .into_iter()
        .filter(|policy| policy.is_of_requests)
        .filter_map(|policy| Some((policy.quota?, policy.window?)))
        .map(|(quota, window)| quota / window)
        .filter(|rate| rate.is_finite() && *rate > 0.0)
        .reduce(f64::min)
}

/// One member of `RateLimit-Policy`.
#[derive(Debug)]
struct Policy {
    name: String,
    quota: Option<f64>,
    /// Seconds.
    window: Option<f64>,
    /// The unit is requests, as it is when none is named.
    is_of_requests: bool,
}

fn policies(headers: &HeaderMap) -> Vec<Policy> {
    members(headers, "ratelimit-policy")
        .map(|member| Policy {
            // Draft 07 has the quota in the place of a name.
            quota: member.number("q").or_else(|| number(&member.name)),
            window: member.number("w"),
            is_of_requests: member.text("qu").is_none_or(|unit| unit == "requests"),
            name: member.name,
        })
        .collect()
}

/// Draft 08 and later.
fn structured(headers: &HeaderMap, policies: &[Policy]) -> Vec<Quota> {
    members(headers, "ratelimit")
        .filter_map(|member| {
            let policy = policies.iter().find(|policy| policy.name == member.name);
            // Bytes, or requests that are under way at once, are not what is counted here.
            if policy.is_some_and(|policy| !policy.is_of_requests) {
                return None;
            }
            let remaining = count(member.text("r")?)?;
            // The whole window is the longest that it can be.
            let seconds = member
                .number("t")
                .or_else(|| policy.and_then(|policy| policy.window));
            Some(Quota {
                remaining,
                reset: seconds.map(bounded),
            })
        })
        .collect()
}

/// Draft 07: one window, its three numbers as members.
fn named_members(headers: &HeaderMap) -> Option<Quota> {
    let (mut remaining, mut reset) = (None, None);
    for member in members(headers, "ratelimit") {
        match member.name.split_once('=') {
            Some(("remaining", value)) => remaining = count(value),
            Some(("reset", value)) => reset = number(value).map(bounded),
            _ => {}
        }
    }
    Some(Quota {
        remaining: remaining?,
        reset,
    })
}

/// Drafts before 07, and before there was one: a header for each number.
fn separate(headers: &HeaderMap, prefix: &str, now: SystemTime) -> Option<Quota> {
    let header = |name: &str| {
        let value = headers.get(format!("{prefix}-{name}"))?.to_str().ok()?;
        // Proxies that join two windows in one header put the nearer one first.
        value.split([',', ';']).next()
    };
    Some(Quota {
        remaining: count(header("remaining")?)?,
        reset: header("reset").and_then(|value| reset(value, now)),
    })
}

/// Seconds to go, or a Unix time in seconds or milliseconds. No window is thirty years long, so a great number is a time.
fn reset(value: &str, now: SystemTime) -> Option<Duration> {
    let value = number(value)?;
    let unix = match value {
        1e12.. => value / 1e3,
        1e9.. => value,
        _ => return Some(bounded(value)),
    };
    let now = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Some(bounded(unix - now.as_secs_f64()))
}

/// A member of a list with its parameters (RFC 9651, 3.1), as far as these headers use them.
#[derive(Debug)]
struct Member {
    name: String,
    parameters: Vec<(String, String)>,
}

impl Member {
    fn parse(text: &str) -> Self {
        let mut parts = split(text, ';').into_iter().map(unquoted);
        let name = parts.next().unwrap_or_default();
        let parameters = parts
            .filter_map(|part| {
                let (key, value) = part.split_once('=')?;
                Some((key.trim().to_owned(), unquoted(value)))
            })
            .collect();
        Self { name, parameters }
    }

    fn text(&self, key: &str) -> Option<&str> {
        let found = self.parameters.iter().rfind(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }

    fn number(&self, key: &str) -> Option<f64> {
        number(self.text(key)?)
    }
}

fn members(headers: &HeaderMap, name: &str) -> impl Iterator<Item = Member> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| split(value, ','))
        .map(Member::parse)
        .take(MEMBERS)
}

/// The parts between separators that stand outside of quotes.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(|character| {
        let skipped = std::mem::take(&mut escaped);
        match character {
            '\\' if quoted && !skipped => escaped = true,
            '"' if !skipped => quoted = !quoted,
            _ => return character == separator && !quoted,
        }
        false
    })
    .collect()
}

fn unquoted(text: &str) -> String {
    let text = text.trim();
    let inner = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    inner.unwrap_or(text).to_owned()
}
