//! Lines of the audit log. Their fields are an interface: readers of the log rely on them.

use super::Reporter;
use crate::event::{EgressEvent, Endpoint};
use crate::reason::Reason;
use serde::Serialize;

/// One line on one attempt or connection, or on several equal ones.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    time: String,
    call: &'a str,
    workspace: &'a str,
    connector: &'a str,
    worker: u64,
    event: &'static str,
    name: Option<&'a str>,
    address: Option<std::net::IpAddr>,
    port: Option<u16>,
    protocol: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    /// Of a request that was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    path_cut: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule_to_add: Option<&'a str>,
    /// How many more there were; without a port where the ports differed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) times: Option<u64>,
    /// The end of a wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    until_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_up: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_down: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<u64>,
}

/// How much no other line tells of, since the last line of this kind.
#[derive(Serialize)]
pub(super) struct UntoldLine<'a> {
    pub(super) time: String,
    pub(super) call: &'a str,
    pub(super) workspace: &'a str,
    pub(super) connector: &'a str,
    pub(super) worker: u64,
    pub(super) event: &'static str,
    /// Refusals and failures.
    pub(super) refused: u64,
    /// Connections opened or closed.
    pub(super) allowed: u64,
    /// Inspected requests.
    pub(super) requests: u64,
    /// Packets that the kernel dropped before they were read.
    pub(super) lost: u64,
}

pub(super) fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

impl Reporter {
    pub(super) fn line<'a>(&'a self, event: &'static str, to: &'a Endpoint) -> Line<'a> {
        Line {
            time: now(),
            call: &self.call,
            workspace: &self.workspace,
            connector: &self.connector,
            worker: self.worker,
            event,
            name: to.host.as_deref(),
            address: to.address,
            port: to.port,
            protocol: &to.protocol,
            rule: None,
            method: None,
            path: None,
            path_cut: false,
            reason: None,
            detail: None,
            rule_to_add: None,
            times: None,
            until_ms: None,
            bytes_up: None,
            bytes_down: None,
            ms: None,
        }
    }

    pub(super) fn line_of<'a>(&'a self, event: &'a EgressEvent) -> Line<'a> {
        match event {
            EgressEvent::Allowed { to, rule } => Line {
                rule: Some(rule.to_string()),
                ..self.line("allowed", to)
            },
            EgressEvent::Refused { to, refusal, .. } => {
                let request = refusal.request.as_ref();
                Line {
                    rule: refusal.nearest.as_ref().map(ToString::to_string),
                    method: request.map(|request| request.method.as_str()),
                    path: request.map(|request| request.path.as_str()),
                    path_cut: request.is_some_and(|request| request.path_cut),
                    reason: Some(refusal.reason.as_str()),
                    detail: Some(&refusal.detail),
                    rule_to_add: refusal.rule_to_add.as_deref(),
                    ..self.line("refused", to)
                }
            }
            EgressEvent::Failed { to, reason, detail } => Line {
                reason: Some(reason.as_str()),
                detail: Some(detail),
                ..self.line("failed", to)
            },
            EgressEvent::SecretUnavailable { to, detail, .. } => Line {
                reason: Some(Reason::SecretUnavailable.as_str()),
                detail: Some(detail),
                ..self.line("failed", to)
            },
            EgressEvent::NotRecorded { to, detail } => Line {
                reason: Some(Reason::NotRecorded.as_str()),
                detail: Some(detail),
                ..self.line("failed", to)
            },
            EgressEvent::Throttled {
                to,
                until_ms,
                cause,
            } => Line {
                detail: Some(cause),
                until_ms: *until_ms,
                ..self.line("throttled", to)
            },
            EgressEvent::Exhausted {
                to,
                until_ms,
                cause,
            } => Line {
                detail: Some(cause),
                until_ms: Some(*until_ms),
                ..self.line("exhausted", to)
            },
            EgressEvent::Closed {
                to,
                rule,
                bytes_up,
                bytes_down,
                ms,
                ended,
            } => Line {
                rule: Some(rule.to_string()),
                reason: Some(ended.as_str()),
                bytes_up: Some(*bytes_up),
                bytes_down: Some(*bytes_down),
                ms: Some(*ms),
                ..self.line("closed", to)
            },
        }
    }
}
