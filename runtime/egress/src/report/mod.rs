//! One session's way of telling: the call's channel, the audit log, the sums.
//!
//! Whatever text a worker chose passes the call's redactor here, before anybody else sees it. The sums count everything;
//! what neither an event nor a line tells of is in an `untold` line.

mod budget;
mod line;
mod places;
mod request;

use crate::audit::Audit;
use crate::decision::Refusal;
use crate::event::{EgressEvent, Ended, Endpoint, Totals};
use crate::gateway::CallContext;
use crate::policy::RuleAt;
use crate::reason::Reason;
use crate::throttle::{Exhausted, Wait};
use budget::{Budget, Class};
use caisson_secrets::Redactor;
use governor::clock::DefaultClock;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use line::UntoldLine;
use places::Places;
pub(crate) use request::RequestReport;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;

/// Events that may wait for the call to read them.
pub(crate) const EVENTS: usize = 2_048;
/// Places among them that connections which were allowed leave free: more than all budgets of refusals hold at once.
const RESERVED: usize = 1_024;
/// Lines on allowed connections (opened, closed) per second, in the long run and at once.
const ALLOWED: (NonZeroU32, NonZeroU32) = (
    NonZeroU32::new(200).unwrap(),
    NonZeroU32::new(2_000).unwrap(),
);
/// Longest name that is told, characters; longer ones are no host names.
const NAME: usize = 300;

/// Atomic sums, copied out as [`Totals`].
#[derive(Debug, Default)]
pub(crate) struct Sums {
    pub(crate) allowed: AtomicU64,
    pub(crate) denied: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) bytes_up: Arc<AtomicU64>,
    pub(crate) bytes_down: Arc<AtomicU64>,
    pub(crate) open: AtomicU64,
    pub(crate) untold: AtomicU64,
    pub(crate) events_lost: AtomicU64,
    pub(crate) lost: AtomicU64,
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
            lost: of(&self.lost),
        }
    }
}

/// Counts of the last `untold` line and since.
#[derive(Debug, Default)]
struct Untold {
    allowed: AtomicU64,
    requests: AtomicU64,
    /// `lost` as it was told last.
    lost: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Reporter {
    call: String,
    workspace: String,
    connector: String,
    worker: u64,
    redactor: Arc<Redactor>,
    events: mpsc::Sender<EgressEvent>,
    audit: Audit,
    pub(crate) sums: Sums,
    dns: Budget,
    tcp: Budget,
    other: Budget,
    allowed_rate: RateLimiter<NotKeyed, InMemoryState, DefaultClock>,
    request_rate: RateLimiter<NotKeyed, InMemoryState, DefaultClock>,
    not_told: Untold,
    places: Places,
}

impl Reporter {
    pub(crate) fn new(context: &CallContext, audit: Audit) -> (Self, mpsc::Receiver<EgressEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        let reporter = Self {
            call: context.call_id.clone(),
            workspace: context.connector.workspace.clone(),
            connector: format!("{}@{}", context.connector.name, context.connector.version),
            worker: context.worker,
            redactor: Arc::clone(&context.redactor),
            events,
            audit,
            sums: Sums::default(),
            dns: Budget::new(),
            tcp: Budget::new(),
            other: Budget::new(),
            allowed_rate: RateLimiter::direct(Quota::per_second(ALLOWED.0).allow_burst(ALLOWED.1)),
            request_rate: RateLimiter::direct(
                Quota::per_second(request::RATE.0).allow_burst(request::RATE.1),
            ),
            not_told: Untold::default(),
            places: Places::new(context.bounds.refused_attempts),
        };
        (reporter, receiver)
    }

    fn budget(&self, to: &Endpoint) -> &Budget {
        match Class::of(to) {
            Class::Dns => &self.dns,
            Class::Tcp => &self.tcp,
            Class::Other => &self.other,
        }
    }

    pub(crate) fn allowed(&self, to: &Endpoint, rule: &RuleAt) {
        self.sums.allowed.fetch_add(1, Ordering::Relaxed);
        if self.admits_allowed() {
            self.tell(EgressEvent::Allowed {
                to: to.clone(),
                rule: rule.clone(),
            });
        }
    }

    pub(crate) fn refused(&self, to: Endpoint, refusal: Refusal) {
        self.sums.denied.fetch_add(1, Ordering::Relaxed);
        let persists = self.places.refused(&to);
        if self.budget(&to).admits(&to, &refusal, false) || persists {
            self.tell(EgressEvent::Refused {
                to,
                refusal,
                persists,
            });
        } else {
            self.sums.untold.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn failed(&self, to: Endpoint, reason: Reason, detail: String) {
        self.sums.failed.fetch_add(1, Ordering::Relaxed);
        let failure = Refusal::flat(reason, detail);
        if self.budget(&to).admits(&to, &failure, true) {
            let detail = failure.detail;
            self.tell(EgressEvent::Failed { to, reason, detail });
        } else {
            self.sums.untold.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn throttled(&self, to: Endpoint, wait: Wait) {
        if self.admits_allowed() {
            let until_ms = wait.until.map(unix_ms);
            let cause = wait.cause.to_string();
            self.tell(EgressEvent::Throttled {
                to,
                until_ms,
                cause,
            });
        }
    }

    pub(crate) fn not_recorded(&self, to: Endpoint, detail: String) {
        self.sums.failed.fetch_add(1, Ordering::Relaxed);
        self.tell(EgressEvent::NotRecorded { to, detail });
    }

    pub(crate) fn exhausted(&self, to: Endpoint, exhausted: Exhausted) {
        let (until_ms, cause) = (unix_ms(exhausted.until), exhausted.cause.to_string());
        self.tell(EgressEvent::Exhausted {
            to,
            until_ms,
            cause,
        });
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
        if self.admits_allowed() {
            self.tell(EgressEvent::Closed {
                to,
                rule,
                bytes_up: bytes.0,
                bytes_down: bytes.1,
                ms,
                ended,
            });
        }
    }

    /// Packets that the kernel dropped before they were read, since the socket was opened.
    pub(crate) fn lost(&self, packets: u32) {
        self.sums.lost.fetch_max(packets.into(), Ordering::Relaxed);
    }

    fn admits_allowed(&self) -> bool {
        let admitted = self.allowed_rate.check().is_ok();
        if !admitted {
            self.sums.untold.fetch_add(1, Ordering::Relaxed);
            self.not_told.allowed.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    /// Writes to the audit log what was only counted since the last time. Called once a second and at the end.
    pub(crate) fn tell_untold(&self) {
        let mut refused = 0;
        for budget in [&self.dns, &self.tcp, &self.other] {
            let (groups, uncounted) = budget.take();
            refused += uncounted;
            for group in groups {
                let to = self.endpoint(group.to);
                let detail = self.redact(&group.detail);
                let mut line = self.line(if group.failed { "failed" } else { "refused" }, &to);
                line.reason = Some(group.reason.as_str());
                line.detail = Some(&detail);
                line.times = Some(group.times);
                self.audit.write(&line);
            }
        }
        let allowed = self.not_told.allowed.swap(0, Ordering::Relaxed);
        let requests = self.not_told.requests.swap(0, Ordering::Relaxed);
        let lost = self.sums.lost.load(Ordering::Relaxed);
        let lost = lost.saturating_sub(self.not_told.lost.swap(lost, Ordering::Relaxed));
        if refused + allowed + requests + lost > 0 {
            self.audit.write(&UntoldLine {
                time: line::now(),
                call: &self.call,
                workspace: &self.workspace,
                connector: &self.connector,
                worker: self.worker,
                event: "untold",
                refused,
                allowed,
                requests,
                lost,
            });
        }
    }

    /// Has everything that was told so far written now, the counts of what was not told included.
    pub(crate) fn end(&self) {
        self.tell_untold();
        self.audit.hurry();
    }

    /// Text that a worker had a hand in, fit to be told.
    fn redact(&self, text: &str) -> String {
        self.redactor.redact_name(text).into_owned()
    }

    fn endpoint(&self, to: Endpoint) -> Endpoint {
        let host = to.host.map(|host| {
            // Cut after redaction: half a secret would not be known for one.
            self.redact(&host).chars().take(NAME).collect()
        });
        Endpoint { host, ..to }
    }

    fn tell(&self, event: EgressEvent) {
        let event = match event {
            EgressEvent::Allowed { to, rule } => EgressEvent::Allowed {
                to: self.endpoint(to),
                rule,
            },
            EgressEvent::Refused {
                to,
                refusal,
                persists,
            } => EgressEvent::Refused {
                persists,
                to: self.endpoint(to),
                refusal: Refusal {
                    detail: self.redact(&refusal.detail),
                    rule_to_add: refusal.rule_to_add.map(|rule| self.redact(&rule)),
                    ..refusal
                },
            },
            EgressEvent::Failed { to, reason, detail } => EgressEvent::Failed {
                to: self.endpoint(to),
                reason,
                detail: self.redact(&detail),
            },
            EgressEvent::NotRecorded { to, detail } => EgressEvent::NotRecorded {
                to: self.endpoint(to),
                detail: self.redact(&detail),
            },
            // An upstream's name and words of the gateway's own.
            EgressEvent::Throttled { .. } | EgressEvent::Exhausted { .. } => event,
            EgressEvent::Closed {
                to,
                rule,
                bytes_up,
                bytes_down,
                ms,
                ended,
            } => EgressEvent::Closed {
                to: self.endpoint(to),
                rule,
                bytes_up,
                bytes_down,
                ms,
                ended,
            },
        };
        self.audit.write(&self.line_of(&event));
        let of_allowed = matches!(
            event,
            EgressEvent::Allowed { .. } | EgressEvent::Closed { .. }
        );
        if !of_allowed {
            self.audit.hurry();
        }
        let room = !of_allowed || self.events.capacity() > RESERVED;
        if !room || self.events.try_send(event).is_err() {
            self.sums.events_lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn unix_ms(at: SystemTime) -> u64 {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{ConnectorId, Origin};
    use caisson_secrets::SecretValue;

    fn reporter(
        audit: Audit,
        secret: Option<&SecretValue>,
    ) -> (Reporter, mpsc::Receiver<EgressEvent>) {
        let connector = ConnectorId {
            name: "shop".into(),
            version: semver::Version::new(1, 0, 0),
            origin: Origin::OwnFolder,
            workspace: "default".into(),
        };
        let context = CallContext {
            call_id: "c".into(),
            worker: 1,
            connector,
            config: serde_json::Value::Null,
            redactor: Arc::new(Redactor::new(
                secret.into_iter().map(|value| ("key", value)),
            )),
            bounds: Default::default(),
            sealed: Arc::default(),
            payer: crate::throttle::Credential::of([], "default/shop"),
            party: "default/shop".into(),
        };
        Reporter::new(&context, audit)
    }

    fn audit() -> (
        tempfile::TempDir,
        Audit,
        impl Fn() -> Vec<serde_json::Value>,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let audit = Audit::start(crate::audit::AuditConfig::at(path.clone())).unwrap();
        let written = audit.clone();
        let lines = move || {
            written.flush();
            let text = std::fs::read_to_string(&path).unwrap();
            text.lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect()
        };
        (dir, audit, lines)
    }

    fn at(address: &str, port: u16, protocol: &'static str) -> Endpoint {
        Endpoint {
            host: None,
            address: Some(address.parse().unwrap()),
            port: Some(port),
            protocol: protocol.into(),
        }
    }

    #[test]
    fn no_name_detail_or_rule_tells_a_secret() {
        let (_dir, audit, lines) = audit();
        let secret = SecretValue::new("Hunter22Sesame");
        let (reporter, mut events) = reporter(audit, Some(&secret));
        for name in [
            "hunter22sesame.evil.com",
            "hunter22.sesame.evil.com",
            "48756e7465723232536573616d65.evil.com",
        ] {
            let refusal = Refusal {
                rule_to_add: Some(format!("- {{ host: {name} }}")),
                ..Refusal::flat(Reason::NameNotAllowed, format!("no rule is for {name}"))
            };
            // Once on its own, once with a count.
            for _ in 0..2 {
                reporter.refused(Endpoint::dns(Some(name.into())), refusal.clone());
            }
            reporter.failed(
                Endpoint::dns(Some(name.into())),
                Reason::DnsFailed,
                name.into(),
            );
        }
        reporter.tell_untold();
        let mut told = Vec::new();
        while let Ok(event) = events.try_recv() {
            told.push(serde_json::to_string(&event).unwrap());
        }
        let written = lines();
        assert_eq!((told.len(), written.len()), (6, 9));
        for text in told
            .into_iter()
            .chain(written.iter().map(ToString::to_string))
        {
            assert!(text.contains("[redacted].evil.com"), "{text}");
            let lower = text.to_lowercase();
            assert!(
                !lower.contains("hunter22") && !lower.contains("48756e"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_flood_of_one_class_hides_nothing_of_another() {
        let (_dir, audit, lines) = audit();
        let (reporter, mut events) = reporter(audit, None);
        let flat = || Refusal::flat(Reason::TransportNotAllowed, "");
        for number in 0..5_000u16 {
            reporter.refused(at("192.0.2.1", number, "udp"), flat());
        }
        for number in 0..1_000u32 {
            let address = std::net::Ipv4Addr::from(number + 1).to_string();
            reporter.refused(at(&address, 9, "icmp"), flat());
        }
        reporter.refused(at("192.0.2.2", 22, "tcp"), flat());
        reporter.refused(Endpoint::dns(Some("evil.example".into())), flat());
        let mut protocols = Vec::new();
        while let Ok(event) = events.try_recv() {
            if let EgressEvent::Refused { to, .. } = event {
                protocols.push(to.protocol);
            }
        }
        assert!(
            protocols.ends_with(&["tcp".into(), "dns".into()]),
            "{protocols:?}"
        );
        drop(reporter);
        let lines = lines();
        let told = lines.iter().filter(|line| line["event"] == "refused");
        let told: u64 = told.map(|line| line["times"].as_u64().unwrap_or(1)).sum();
        let untold: Vec<_> = lines
            .iter()
            .filter(|line| line["event"] == "untold")
            .collect();
        assert_eq!(untold.len(), 1, "{untold:?}");
        assert_eq!(told + untold[0]["refused"].as_u64().unwrap(), 6_002);
        let flood = lines
            .iter()
            .find(|line| line["address"] == "192.0.2.1" && line["times"].is_u64());
        assert!(
            flood.unwrap()["times"].as_u64().unwrap() > 4_000,
            "{flood:?}"
        );
    }

    #[test]
    fn lines_on_allowed_connections_are_limited_and_the_rest_is_counted() {
        let (_dir, audit, lines) = audit();
        let (reporter, _events) = reporter(audit, None);
        for _ in 0..5_000 {
            reporter.closed(
                at("192.0.2.1", 443, "tcp"),
                RuleAt {
                    file: "shop.yaml".into(),
                    line: 4,
                    column: 1,
                    index: 0,
                },
                (0, 0),
                Duration::ZERO,
                Ended::Finished,
            );
        }
        reporter.tell_untold();
        reporter.tell_untold();
        let lines = lines();
        let untold: Vec<_> = lines
            .iter()
            .filter(|line| line["event"] == "untold")
            .collect();
        assert_eq!(untold.len(), 1, "what was told is not told again");
        let number = untold[0]["allowed"].as_u64().unwrap();
        assert!(number > 2_000, "{number}");
        assert_eq!(lines.len() as u64 - 1 + number, 5_000);
    }

    #[test]
    fn what_is_not_told_is_counted() {
        let (reporter, mut events) = reporter(Audit::none(), None);
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
