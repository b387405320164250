//! A request that was sent has its line in the audit log, whatever ends it.

use super::ask;
use super::body::Meter;
use super::exchange::{Admitted, Connection};
use crate::event::Endpoint;
use crate::report::RequestReport;
use crate::shared::Shared;
use crate::throttle::Turn;
use http::StatusCode;
use std::sync::Arc;
use std::time::Duration;

/// Tells the audit log of a request that was sent, whatever ends it.
#[derive(Debug)]
pub(super) struct Report {
    shared: Arc<Shared>,
    to: Endpoint,
    pub(super) admitted: Admitted,
    pub(super) sent: bool,
    pub(super) status: Option<StatusCode>,
    pub(super) down: Meter,
    pub(super) throttled: Duration,
    whole: bool,
    /// Given back once the answer is over.
    pub(super) turn: Option<Turn>,
}

impl Report {
    pub(super) fn of(connection: &Connection, admitted: Admitted) -> Self {
        Self {
            shared: Arc::clone(&connection.shared),
            to: connection.endpoint(),
            admitted,
            sent: false,
            status: None,
            down: connection.down.part(),
            throttled: Duration::ZERO,
            whole: false,
            turn: None,
        }
    }

    pub(super) fn over(mut self, whole: bool) {
        self.whole = whole;
    }

    /// What the worker sent, and what it got.
    pub(super) fn meters(&self) -> (Meter, Meter) {
        (self.admitted.up.clone(), self.down.clone())
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if !self.sent {
            return;
        }
        self.shared.reporter.request(RequestReport {
            to: &self.to,
            rule: &self.admitted.rule,
            method: self.admitted.ask.method.as_str(),
            target: ask::asked(&self.admitted.ask.uri),
            status: self.status.map(|status| status.as_u16()),
            bytes_up: self.admitted.up.get(),
            bytes_down: self.down.get(),
            open: self.admitted.begun.elapsed(),
            throttled: self.throttled,
            whole: self.whole,
        });
    }
}

/// Goes with an answer that switches protocols, and is over with the connection.
#[derive(Debug, Clone)]
pub(super) struct Switched(pub(super) Arc<Report>);
