//! `answer` of an entry.

use super::Reader;
use crate::fault::answer::{Recipe, RetryAfter};
use crate::fault::wire::WireAnswer;
use bytes::Bytes;
use caisson_document::join;
use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::Value;
use std::collections::HashSet;

/// Fields that say where an answer ends, or what becomes of its connection.
const FRAMING: [&str; 7] = [
    "connection",
    "content-length",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl Reader<'_> {
    pub(super) fn answer(&mut self, at: &str, wire: &WireAnswer) -> Option<Recipe> {
        let headers = self.headers(at, wire);
        let retry_after = wire
            .retry_after
            .as_ref()
            .map_or(Some(RetryAfter::Absent), retry_after);
        if wire.retry_after.is_some() && headers.iter().any(|(name, _)| name == RETRY_AFTER) {
            let message = "retry_after stands beside a header Retry-After";
            self.key_fault(&join(at, "retry_after"), message, "keep one of them");
        }
        let status = wire
            .status
            .and_then(|status| StatusCode::from_u16(status).ok())?;
        let body = wire.body.clone().unwrap_or_default();
        if !body.is_empty()
            && matches!(
                status,
                StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
            )
        {
            let message = format!("an answer with status {} has no body", status.as_u16());
            self.key_fault(&join(at, "body"), message, "leave body out");
        }
        Some(Recipe {
            status,
            headers,
            retry_after: retry_after?,
            body: Bytes::from(body),
        })
    }

    fn headers(&mut self, at: &str, wire: &WireAnswer) -> Vec<(HeaderName, HeaderValue)> {
        let (mut headers, mut names) = (Vec::new(), HashSet::new());
        for (key, value) in wire.headers.iter().flatten() {
            let pointer = join(&join(at, "headers"), key);
            let Ok(name) = key.parse::<HeaderName>() else {
                self.key_fault(
                    &pointer,
                    "not a name of a header field",
                    "write letters, digits and hyphens alone, as in X-RateLimit-Remaining",
                );
                continue;
            };
            if FRAMING.contains(&name.as_str()) {
                self.key_fault(
                    &pointer,
                    "the gateway frames the answer itself",
                    "leave it out; truncate and reset break a body",
                );
            }
            if !names.insert(name.clone()) {
                self.key_fault(
                    &pointer,
                    "the field stands here twice, since case makes no difference",
                    "keep one of them",
                );
            }
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                _ => continue,
            };
            headers.extend(self.value(&pointer, &text).map(|value| (name, value)));
        }
        headers
    }
}

/// `None` for what the schema refuses.
fn retry_after(value: &Value) -> Option<RetryAfter> {
    let seconds = |key: &str| {
        value
            .get(key)
            .and_then(Value::as_u64)
            .and_then(|seconds| u32::try_from(seconds).ok())
    };
    match value.as_str() {
        Some("absent") => Some(RetryAfter::Absent),
        Some("absurd") => Some(RetryAfter::Absurd),
        Some("past") => Some(RetryAfter::Past),
        Some(_) => None,
        None => seconds("seconds")
            .map(RetryAfter::Seconds)
            .or_else(|| seconds("date").map(RetryAfter::Date)),
    }
}
