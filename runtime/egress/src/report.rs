//! One session's way of telling: the call's channel, the audit log, the sums.

use crate::audit::Audit;
use crate::decision::Refusal;
use crate::event::{EgressEvent, Ended, Endpoint, Totals};
use crate::gateway::CallContext;
use crate::policy::RuleAt;
use crate::reason::Reason;
use governor::clock::DefaultClock;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use serde::Serialize;
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Events that may wait for the call to read them.
pub(crate) const EVENTS: usize = 1_024;
/// Equal refusals and failures within this time are told once (and counted always).
const SAME: Duration = Duration::from_secs(1);
/// Different refusals and failures told per second, in the long run and at once: a worker that tries every port must not
/// rotate what others did out of the audit log.
const TOLD: (NonZeroU32, NonZeroU32) = (
    NonZeroU32::new(50).unwrap(),
    NonZeroU32::new(1_000).unwrap(),
);
/// Refusals remembered for that.
const REMEMBERED: usize = 4_096;

/// Atomic sums, copied out as [`Totals`].
#[derive(Debug, Default)]
pub(crate) struct Sums {
    pub(crate) allowed: AtomicU64,
    pub(crate) denied: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) bytes_up: AtomicU64,
    pub(crate) bytes_down: AtomicU64,
    pub(crate) open: AtomicU64,
    pub(crate) untold: AtomicU64,
    pub(crate) events_lost: AtomicU64,
}

impl Sums {
    pub(crate) fn totals(&self) -> Totals {
        let of = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
        Totals {
            allowed: of(&self.allowed),
            denied: of(&self.denied),
            failed: of(&self.failed),
            bytes_up: of(&self.bytes_up),
            bytes_down: of(&self.bytes_down),
            open: of(&self.open),
            untold: of(&self.untold),
            events_lost: of(&self.events_lost),
        }
    }
}

/// What a refusal is known by when it comes again.
type Key = (Endpoint, Reason);

#[derive(Debug)]
pub(crate) struct Reporter {
    call: String,
    workspace: String,
    connector: String,
    worker: u64,
    events: mpsc::Sender<EgressEvent>,
    audit: Audit,
    pub(crate) sums: Sums,
    told: Mutex<HashMap<Key, Instant>>,
    rate: RateLimiter<NotKeyed, InMemoryState, DefaultClock>,
}

/// One line of the audit log.
#[derive(Serialize)]
struct Line<'a> {
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
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule_to_add: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_up: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_down: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<u64>,
}

impl Reporter {
    pub(crate) fn new(context: &CallContext, audit: Audit) -> (Self, mpsc::Receiver<EgressEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        let reporter = Self {
            call: context.call_id.clone(),
            workspace: context.connector.workspace.clone(),
            connector: format!("{}@{}", context.connector.name, context.connector.version),
            worker: context.worker,
            events,
            audit,
            sums: Sums::default(),
            told: Mutex::default(),
            rate: RateLimiter::direct(Quota::per_second(TOLD.0).allow_burst(TOLD.1)),
        };
        (reporter, receiver)
    }

    pub(crate) fn allowed(&self, to: &Endpoint, rule: &RuleAt) {
        self.sums.allowed.fetch_add(1, Ordering::Relaxed);
        self.tell(EgressEvent::Allowed {
            to: to.clone(),
            rule: rule.clone(),
        });
    }

    pub(crate) fn refused(&self, to: Endpoint, refusal: Refusal) {
        self.sums.denied.fetch_add(1, Ordering::Relaxed);
        if self.is_new((to.clone(), refusal.reason)) {
            self.tell(EgressEvent::Refused { to, refusal });
        }
    }

    pub(crate) fn failed(&self, to: Endpoint, reason: Reason, detail: String) {
        self.sums.failed.fetch_add(1, Ordering::Relaxed);
        if self.is_new((to.clone(), reason)) {
            self.tell(EgressEvent::Failed { to, reason, detail });
        }
    }

    pub(crate) fn closed(
        &self,
        to: Endpoint,
        rule: RuleAt,
        bytes: (u64, u64),
        open: Duration,
        ended: Ended,
    ) {
        let ms = u64::try_from(open.as_millis()).unwrap_or(u64::MAX);
        self.tell(EgressEvent::Closed {
            to,
            rule,
            bytes_up: bytes.0,
            bytes_down: bytes.1,
            ms,
            ended,
        });
    }

    /// False where the same was told a moment ago, or too much else. A table that is full of fresh entries is begun anew, so that a flood of
    /// different attempts costs no more memory than the table.
    fn is_new(&self, key: Key) -> bool {
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told
            .get(&key)
            .is_some_and(|&at| now.duration_since(at) < SAME)
            || self.rate.check().is_err()
        {
            self.sums.untold.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        if told.len() >= REMEMBERED {
            told.retain(|_, at| now.duration_since(*at) < SAME);
            if told.len() >= REMEMBERED {
                told.clear();
            }
        }
        told.insert(key, now);
        true
    }

    fn tell(&self, event: EgressEvent) {
        self.audit.write(&self.line(&event));
        if self.events.try_send(event).is_err() {
            self.sums.events_lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn line<'a>(&'a self, event: &'a EgressEvent) -> Line<'a> {
        let (word, to) = match event {
            EgressEvent::Allowed { to, .. } => ("allowed", to),
            EgressEvent::Refused { to, .. } => ("refused", to),
            EgressEvent::Failed { to, .. } => ("failed", to),
            EgressEvent::Closed { to, .. } => ("closed", to),
        };
        let mut line = Line {
            time: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            call: &self.call,
            workspace: &self.workspace,
            connector: &self.connector,
            worker: self.worker,
            event: word,
            name: to.host.as_deref(),
            address: to.address,
            port: to.port,
            protocol: &to.protocol,
            rule: None,
            reason: None,
            detail: None,
            rule_to_add: None,
            bytes_up: None,
            bytes_down: None,
            ms: None,
        };
        match event {
            EgressEvent::Allowed { rule, .. } => line.rule = Some(rule.to_string()),
            EgressEvent::Refused { refusal, .. } => {
                line.rule = refusal.nearest.as_ref().map(ToString::to_string);
                line.reason = Some(refusal.reason.as_str());
                line.detail = Some(&refusal.detail);
                line.rule_to_add = refusal.rule_to_add.as_deref();
            }
            EgressEvent::Failed { reason, detail, .. } => {
                line.reason = Some(reason.as_str());
                line.detail = Some(detail);
            }
            EgressEvent::Closed {
                rule,
                bytes_up,
                bytes_down,
                ms,
                ended,
                ..
            } => {
                line.rule = Some(rule.to_string());
                line.reason = Some(ended.as_str());
                line.bytes_up = Some(*bytes_up);
                line.bytes_down = Some(*bytes_down);
                line.ms = Some(*ms);
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::ConnectorId;

    fn reporter() -> (Reporter, mpsc::Receiver<EgressEvent>) {
        let connector = ConnectorId {
            name: "shop".into(),
            version: semver::Version::new(1, 0, 0),
            digest: None,
            workspace: "default".into(),
        };
        let context = CallContext {
            call_id: "c".into(),
            worker: 1,
            connector,
            config: serde_json::Value::Null,
        };
        Reporter::new(&context, Audit::none())
    }

    #[test]
    fn what_is_not_told_is_counted() {
        let (reporter, mut events) = reporter();
        for number in 0..5_000 {
            reporter.refused(
                Endpoint::dns(Some(format!("{number}.evil"))),
                Refusal::flat(Reason::NameNotAllowed, ""),
            );
        }
        let mut told = 0;
        while events.try_recv().is_ok() {
            told += 1;
        }
        let totals = reporter.sums.totals();
        assert_eq!(totals.denied, 5_000);
        assert_eq!(told + totals.untold + totals.events_lost, 5_000);
        assert!(totals.untold > 3_000, "{totals:?}");
    }
}
