//! What a rule says of HTTP: methods, paths, how long an answer may stay open, rate, and what a 429 comes to.

use super::read::Reader;
use super::wire::{WireHttp, WireRate, WireRule};
use crate::http::path::{self, Pattern};
use crate::throttle::{Rate, RateError};
use std::fmt;

/// `http` of a rule with `protocol: https`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRule {
    /// Methods in capitals; all but CONNECT and TRACE where none is named.
    pub methods: Option<Vec<String>>,
    /// Paths; all where none is named.
    pub paths: Option<Vec<Pattern>>,
    /// Whether a connection may become a WebSocket (RFC 6455), whose messages nobody inspects.
    pub websocket: bool,
    /// Whether an answer may be a stream of server-sent events (`text/event-stream`).
    pub event_stream: bool,
}

impl Default for HttpRule {
    fn default() -> Self {
        Self {
            methods: None,
            paths: None,
            websocket: false,
            event_stream: true,
        }
    }
}

/// What the gateway does with an answer that says "too many requests".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnThrottle {
    /// The worker gets it; requests after it wait.
    #[default]
    Pass,
    /// Idempotent requests are sent again after the wait, and the worker gets what comes then.
    Retry,
}

impl HttpRule {
    /// As `policy check` shows it; empty where everything is allowed.
    pub(crate) fn summary(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.methods.as_ref().map(|methods| methods.join("|")));
        parts.extend(self.paths.as_ref().map(|paths| {
            let paths: Vec<_> = paths.iter().map(ToString::to_string).collect();
            paths.join("|")
        }));
        if self.websocket {
            parts.push("websocket".to_owned());
        }
        parts.join(" ")
    }
}

impl fmt::Display for OnThrottle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "pass",
            Self::Retry => "retry",
        })
    }
}

/// `http`, `rate` and `on_429`, which only a rule that inspects can honour.
pub(super) fn read_http(
    reader: &mut Reader<'_>,
    at: &str,
    rule: &WireRule,
) -> (Option<HttpRule>, Option<Rate>, OnThrottle) {
    let inspects = rule.protocol.as_deref() == Some("https");
    for key in ["http", "rate", "on_429"] {
        let pointer = format!("{at}/{key}");
        if !inspects && rule.protocol.is_some() && reader.document.pointer(&pointer).is_some() {
            let message = format!("{key} needs a gateway that sees requests");
            reader.key_fault(
                &pointer,
                message,
                format!("write protocol: https, or leave {key} out"),
            );
        }
    }
    let on_429 = match rule.on_429.as_deref() {
        Some("retry") => OnThrottle::Retry,
        _ => OnThrottle::Pass,
    };
    let rate = rule
        .rate
        .as_ref()
        .and_then(|wire| read_rate(reader, &format!("{at}/rate"), wire));
    if !inspects {
        return (None, rate, on_429);
    }
    let http = rule
        .http
        .as_ref()
        .map(|wire| http(reader, &format!("{at}/http"), wire));
    (Some(http.unwrap_or_default()), rate, on_429)
}

fn read_rate(reader: &mut Reader<'_>, at: &str, wire: &WireRate) -> Option<Rate> {
    let rate = Rate::new(wire.per_second, wire.burst, wire.concurrency);
    // The schema said what else can be wrong.
    if let Err(error @ RateError::BurstAlone) = &rate
        && reader
            .document
            .pointer(&format!("{at}/per_second"))
            .is_none()
    {
        reader.error(at, error);
    }
    rate.ok()
}

fn http(reader: &mut Reader<'_>, at: &str, wire: &WireHttp) -> HttpRule {
    let mut paths = Vec::new();
    for (index, text) in wire.paths.iter().flatten().enumerate() {
        let Some(text) = text else { continue };
        match path::Pattern::parse(text) {
            Ok(pattern) => paths.push(pattern),
            Err(error) => reader.error(&format!("{at}/paths/{index}"), &error),
        }
    }
    let methods: Vec<String> = wire.methods.iter().flatten().flatten().cloned().collect();
    for (index, method) in methods.iter().enumerate() {
        if matches!(method.as_str(), "CONNECT" | "TRACE") {
            let message = format!("{method} is never passed");
            reader.fault(&format!("{at}/methods/{index}"), message, "leave it out");
        }
    }
    HttpRule {
        methods: wire.methods.is_some().then_some(methods),
        paths: wire.paths.is_some().then_some(paths),
        websocket: wire.websocket.unwrap_or(false),
        event_stream: wire.event_stream.unwrap_or(true),
    }
}
