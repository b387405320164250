//! Between the sandbox's sockets, the gateway's events and the API's words.

use std::time::{Duration, SystemTime};

use caisson_egress::{EgressEvent, Endpoint, Refusal, Undecided, WorkerSockets};
use caisson_proto::v1::{self, ErrorCode};
use caisson_sandbox::NetworkSockets;
use caisson_secrets::Redactor;

use crate::error::CallError;

/// The layer of what was allowed and failed outside.
pub(crate) const UPSTREAM: &str = "upstream";

/// The layer of a request that was refused on a connection that was not: the connector saw an answer with a status.
pub(crate) const REQUEST: &str = "http";

/// No policy can be said to be for the connector: nothing of it runs.
pub(crate) fn undecided(error: Undecided) -> CallError {
    let action = match &error {
        Undecided::Ambiguous { .. } => "let only one policy file match the connector".to_owned(),
        Undecided::NotForFolders {
            file, workspace, ..
        } => format!(
            "add the line `workspace: {workspace}` to {file}, or to a policy of its own where {file} is for other workspaces too"
        ),
    };
    CallError::new(ErrorCode::EgressDenied, error.to_string()).with_action(action)
}

/// The sockets of a worker's own network, as the gateway takes them.
pub(crate) fn sockets_of(sockets: NetworkSockets) -> WorkerSockets {
    WorkerSockets {
        tcp: sockets
            .tcp
            .into_iter()
            .map(|listener| (listener.port, listener.socket))
            .collect(),
        dns_udp: sockets.dns_udp,
        dns_tcp: sockets.dns_tcp,
        watch: Some(sockets.watch),
    }
}

/// A refusal, or an upstream that did not oblige; `None` for what went well.
pub(crate) fn refusal_of(event: EgressEvent, redactor: &Redactor) -> Option<v1::EgressRefusal> {
    match event {
        EgressEvent::Refused { to, refusal, .. } => Some(refused(to, refusal, redactor)),
        EgressEvent::Failed { to, reason, .. } => {
            let mut shown = shown(to, redactor);
            shown.reason = reason.as_str().to_owned();
            shown.layer = UPSTREAM.to_owned();
            Some(shown)
        }
        EgressEvent::Allowed { .. }
        | EgressEvent::Closed { .. }
        | EgressEvent::Throttled { .. }
        | EgressEvent::Exhausted { .. }
        | EgressEvent::NotRecorded { .. }
        | EgressEvent::SecretUnavailable { .. } => None,
    }
}

/// A wait of the gateway's, as the caller is told of one.
pub(crate) fn throttled(to: Endpoint, until_ms: Option<u64>, cause: String) -> v1::Throttled {
    v1::Throttled {
        until: until_ms.map(at).map(Into::into),
        host: to.host.unwrap_or_default(),
        cause,
    }
}

/// A wait that does not fit the call: it ends at once, instead of waiting first and failing after.
pub(crate) fn exhausted(to: &Endpoint, until_ms: u64, cause: &str) -> CallError {
    let host = to.host.as_deref().unwrap_or("the upstream");
    let message = format!("{host} takes no further request in time: {cause}");
    CallError {
        retry_at: Some(at(until_ms)),
        ..CallError::new(ErrorCode::QuotaExhausted, message)
    }
}

/// A cassette stands for the network, or was to be made: going on would only end in another error, or in a cassette with a gap.
pub(crate) fn not_recorded(detail: &str) -> CallError {
    CallError::new(ErrorCode::UpstreamUnavailable, detail.to_owned())
        .with_action("record the cassette again with --record, under rules with protocol: https, or mend what the connector asks")
}

fn at(unix_ms: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(unix_ms)
}

fn refused(to: Endpoint, refusal: Refusal, redactor: &Redactor) -> v1::EgressRefusal {
    let mut shown = shown(to, redactor);
    shown.reason = refusal.reason.as_str().to_owned();
    shown.layer = if shown.protocol == "dns" {
        "dns"
    } else if refusal.reason.is_of_request() {
        REQUEST
    } else {
        "gateway"
    }
    .to_owned();
    shown.rule = refusal
        .rule_to_add
        .map(|rule| redactor.redact(&rule).into_owned())
        .unwrap_or_default();
    shown
}

fn shown(to: Endpoint, redactor: &Redactor) -> v1::EgressRefusal {
    v1::EgressRefusal {
        // A name is the worker's own words: it may carry a secret outwards.
        host: to
            .host
            .map(|host| redactor.redact(&host).into_owned())
            .unwrap_or_default(),
        address: to
            .address
            .map(|address| address.to_string())
            .unwrap_or_default(),
        port: to.port.map(u32::from).unwrap_or(0),
        protocol: to.protocol.into_owned(),
        count: 1,
        ..Default::default()
    }
}
