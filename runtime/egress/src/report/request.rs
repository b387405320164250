//! Lines on inspected requests.

use super::{Reporter, line};
use crate::event::Endpoint;
use crate::policy::RuleAt;
use serde::Serialize;
use std::num::NonZeroU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Lines per second, in the long run and at once: more than a connector asks, less than fills the log within a minute.
pub(super) const RATE: (NonZeroU32, NonZeroU32) = (
    NonZeroU32::new(1_000).unwrap(),
    NonZeroU32::new(20_000).unwrap(),
);

/// A request that is over: answered, or broken off.
#[derive(Debug)]
pub(crate) struct RequestReport<'a> {
    pub(crate) to: &'a Endpoint,
    pub(crate) rule: &'a RuleAt,
    pub(crate) method: &'a str,
    /// As it was written, its query with it.
    pub(crate) target: &'a str,
    /// `None`: no answer came.
    pub(crate) status: Option<u16>,
    /// Bytes of bodies.
    pub(crate) bytes_up: u64,
    pub(crate) bytes_down: u64,
    /// From the head of the request to the last byte of the answer.
    pub(crate) open: Duration,
    /// Waited for a turn, of that.
    pub(crate) throttled: Duration,
    /// Whether the answer came to its end.
    pub(crate) whole: bool,
}

#[derive(Serialize)]
struct RequestLine<'a> {
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
    rule: String,
    method: &'a str,
    path: &'a str,
    /// Only where the path was longer than is told.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    path_cut: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    bytes_up: u64,
    bytes_down: u64,
    ms: u64,
    throttled_ms: u64,
    /// Only where the answer broke off.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    broken: bool,
}

impl Reporter {
    pub(crate) fn request(&self, report: RequestReport<'_>) {
        let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        self.sums.over.fetch_add(1, Ordering::Relaxed);
        self.sums.requests.fetch_add(1, Ordering::Relaxed);
        let throttled_ms = ms(report.throttled);
        self.sums
            .throttled_ms
            .fetch_add(throttled_ms, Ordering::Relaxed);
        if self.request_rate.check().is_err() {
            self.sums.untold.fetch_add(1, Ordering::Relaxed);
            self.not_told.requests.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let to = self.endpoint(report.to.clone());
        let (path, path_cut) = self.path(report.target);
        let method = self.method(report.method);
        self.audit.write(&RequestLine {
            time: line::now(),
            call: &self.call,
            workspace: &self.workspace,
            connector: &self.connector,
            worker: self.worker,
            event: "request",
            name: to.host.as_deref(),
            address: to.address,
            port: to.port,
            protocol: &to.protocol,
            rule: report.rule.to_string(),
            method: &method,
            path: &path,
            path_cut,
            status: report.status,
            bytes_up: report.bytes_up,
            bytes_down: report.bytes_down,
            ms: ms(report.open),
            throttled_ms,
            broken: !report.whole,
        });
    }
}
