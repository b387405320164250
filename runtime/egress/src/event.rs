//! What a session tells its call: connections allowed, refused, failed and closed.

use crate::decision::Refusal;
use crate::policy::RuleAt;
use crate::reason::Reason;
use serde::Serialize;
use std::borrow::Cow;
use std::net::IpAddr;

/// The far end as the worker asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Endpoint {
    /// The name, where one was used; escaped where it is no valid name.
    pub host: Option<String>,
    /// The true address, where it is known: never one that only stands for a name.
    pub address: Option<IpAddr>,
    /// The port; none for a name that was only looked up, and for protocols without ports.
    pub port: Option<u16>,
    /// `tcp`, `tls`, `https`, `dns`, `udp`, `icmp`, `ip protocol 132`.
    pub protocol: Cow<'static, str>,
}

/// One thing that happened to a worker's traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EgressEvent {
    /// A connection was allowed and its upstream reached.
    Allowed {
        /// Where to.
        to: Endpoint,
        /// By which rule.
        rule: RuleAt,
    },
    /// Something was refused.
    Refused {
        /// Where to.
        to: Endpoint,
        /// Why, and what would allow it.
        refusal: Refusal,
        /// Whether the call should end: the place was refused so often by now that it is none that the connector gives up,
        /// or a sealed secret went astray.
        persists: bool,
    },
    /// Something was allowed, and the world outside did not oblige.
    Failed {
        /// Where to.
        to: Endpoint,
        /// The cause.
        reason: Reason,
        /// The cause for people.
        detail: String,
    },
    /// Requests wait: for the policy's rate, or for what the upstream said.
    Throttled {
        /// Where to.
        to: Endpoint,
        /// Until when, milliseconds since 1970; `None`: until another request has ended.
        until_ms: Option<u64>,
        /// What for.
        cause: String,
    },
    /// A wait would not fit the call: it is not waited for, and the call should end.
    Exhausted {
        /// Where to.
        to: Endpoint,
        /// When to come back, milliseconds since 1970.
        until_ms: u64,
        /// What would have been waited for.
        cause: String,
    },
    /// A cassette stands for the network and does not hold a request, or could not be given an exchange: the call should end.
    NotRecorded {
        /// Where to.
        to: Endpoint,
        /// What is missing, or why it was not kept.
        detail: String,
    },
    /// There is no access token for a request: the call should end.
    SecretUnavailable {
        /// Where to.
        to: Endpoint,
        /// Why, and what to do about it.
        detail: String,
        /// Whether the same call may succeed later.
        retryable: bool,
    },
    /// An allowed connection ended.
    Closed {
        /// Where to.
        to: Endpoint,
        /// The rule that had allowed it.
        rule: RuleAt,
        /// Bytes from the worker.
        bytes_up: u64,
        /// Bytes to the worker.
        bytes_down: u64,
        /// How long it was open, milliseconds.
        ms: u64,
        /// How it ended.
        ended: Ended,
    },
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Both sides had finished.
    Finished,
    /// One side broke off.
    Reset,
    /// A new policy does not allow it.
    PolicyChanged,
    /// The call ended.
    CallEnded,
}

impl Ended {
    /// The stable word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Reset => "reset",
            Self::PolicyChanged => "policy_changed",
            Self::CallEnded => "call_ended",
        }
    }
}

/// Sums of one session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Connections that were relayed.
    pub allowed: u64,
    /// Attempts that were refused, repeated ones included.
    pub denied: u64,
    /// Attempts that were allowed and failed outside.
    pub failed: u64,
    /// Bytes from the worker.
    pub bytes_up: u64,
    /// Bytes to the worker.
    pub bytes_down: u64,
    /// Connections open now.
    pub open: u64,
    /// What no event tells of: equal to one of the last second, or over the rate at which a worker may fill the audit
    /// log. The audit log has the count, by far end where there were not too many.
    pub untold: u64,
    /// Events that found the channel full. They are in the audit log and in the other sums all the same.
    pub events_lost: u64,
    /// Packets that the kernel dropped before the gateway could read where they were to go; in no other sum.
    pub lost: u64,
    /// Inspected requests that were sent.
    pub requests: u64,
    /// What these waited for their turns, milliseconds.
    pub throttled_ms: u64,
    /// Whether a request was said to wait until another one has ended, and nothing has moved since: no byte, no end of an
    /// answer or connection, no failure.
    pub waits_for_place: bool,
}
