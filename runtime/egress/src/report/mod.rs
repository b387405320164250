//! One session's way of telling: the call's channel, the audit log, the sums.
//!
//! Whatever text a worker chose passes the call's redactor here, before anybody else sees it. The sums count everything;
//! what neither an event nor a line tells of is in an `untold` line.

mod budget;
mod fit;
mod line;
mod places;
mod request;
mod sums;
#[cfg(test)]
pub(crate) mod tests;

use crate::audit::Audit;
use crate::decision::Refusal;
use crate::event::{EgressEvent, Ended, Endpoint};
use crate::gateway::CallContext;
use crate::policy::RuleAt;
use crate::reason::Reason;
use crate::throttle::{Exhausted, Wait};
use budget::{Attempt, Budget, Class};
use caisson_secrets::{ProviderError, Redactor};
pub(crate) use fit::PATH;
use governor::clock::DefaultClock;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use line::UntoldLine;
use places::Places;
pub(crate) use request::RequestReport;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
pub(crate) use sums::Sums;
use tokio::sync::mpsc;

/// Events that may wait for the call to read them.
pub(crate) const EVENTS: usize = 2_048;
/// Places among them that allowed connections and waits leave free for refusals and failures.
const RESERVED: usize = 1_024;
/// Lines on allowed connections (opened, closed) per second, in the long run and at once.
const ALLOWED: (NonZeroU32, NonZeroU32) = (
    NonZeroU32::new(200).unwrap(),
    NonZeroU32::new(2_000).unwrap(),
);
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
    /// A place of its own for what ends the call, so that no flood keeps it from being heard.
    last_word: Mutex<Option<mpsc::OwnedPermit<EgressEvent>>>,
    audit: Audit,
    pub(crate) sums: Sums,
    dns: Budget,
    tcp: Budget,
    https: Budget,
    other: Budget,
    /// What ends the call, which a worker can bring about as often as it asks.
    endings: Budget,
    allowed_rate: RateLimiter<NotKeyed, InMemoryState, DefaultClock>,
    request_rate: RateLimiter<NotKeyed, InMemoryState, DefaultClock>,
    not_told: Untold,
    places: Places,
}

impl Reporter {
    pub(crate) fn new(context: &CallContext, audit: Audit) -> (Self, mpsc::Receiver<EgressEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS + 1);
        let last_word = Mutex::new(events.clone().try_reserve_owned().ok());
        let reporter = Self {
            call: context.call_id.clone(),
            workspace: context.connector.workspace.clone(),
            connector: format!("{}@{}", context.connector.name, context.connector.version),
            worker: context.worker,
            redactor: Arc::clone(&context.redactor),
            events,
            last_word,
            audit,
            sums: Sums::default(),
            dns: Budget::new(),
            tcp: Budget::new(),
            https: Budget::new(),
            other: Budget::new(),
            endings: Budget::new(),
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
            Class::Https => &self.https,
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
        // A placeholder that went astray does not find its place by another try.
        if refusal.reason == Reason::SecretMisplaced {
            if self.admits_ending("refused", Some(refusal.reason), &to, &refusal.detail) {
                self.tell(EgressEvent::Refused {
                    to,
                    refusal,
                    persists: true,
                });
            }
            return;
        }
        // What is open in a moment may be asked for again.
        let persists = refusal.reason != Reason::PortNotOpen && self.places.refused(&to);
        let attempt = Attempt {
            to: &to,
            event: "refused",
            reason: Some(refusal.reason),
            detail: &refusal.detail,
        };
        if self.admits(self.budget(&to), attempt) || persists {
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
        let attempt = Attempt {
            to: &to,
            event: "failed",
            reason: Some(reason),
            detail: &detail,
        };
        if self.admits(self.budget(&to), attempt) {
            self.tell(EgressEvent::Failed { to, reason, detail });
        } else {
            self.sums.untold.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn throttled(&self, to: Endpoint, wait: Wait) {
        if wait.until.is_none() {
            self.sums.waits_for_place();
        }
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

    /// Told once a second for each host and detail, as the call ends with the first one.
    pub(crate) fn not_recorded(&self, to: Endpoint, detail: String) {
        self.sums.failed.fetch_add(1, Ordering::Relaxed);
        if self.admits_ending("failed", Some(Reason::NotRecorded), &to, &detail) {
            self.tell(EgressEvent::NotRecorded { to, detail });
        }
    }

    /// Told once a second for each host and detail, as the call ends with the first one.
    pub(crate) fn secret_unavailable(&self, to: Endpoint, error: &ProviderError) {
        self.sums.failed.fetch_add(1, Ordering::Relaxed);
        let (detail, retryable) = (error.to_string(), error.retryable());
        if self.admits_ending("failed", Some(Reason::SecretUnavailable), &to, &detail) {
            self.tell(EgressEvent::SecretUnavailable {
                to,
                detail,
                retryable,
            });
        }
    }

    /// Told once a second for each host and cause, as the call ends with the first one.
    pub(crate) fn exhausted(&self, to: Endpoint, exhausted: Exhausted) {
        let (until_ms, cause) = (unix_ms(exhausted.until), exhausted.cause.to_string());
        if self.admits_ending("exhausted", None, &to, &cause) {
            self.tell(EgressEvent::Exhausted {
                to,
                until_ms,
                cause,
            });
        }
    }

    /// Whether what ends the call is told on its own. Addresses and ports of one host are no news here.
    fn admits_ending(
        &self,
        event: &'static str,
        reason: Option<Reason>,
        to: &Endpoint,
        detail: &str,
    ) -> bool {
        let host = Endpoint {
            address: to.address.filter(|_| to.host.is_none()),
            ..to.clone()
        };
        let attempt = Attempt {
            to: &host,
            event,
            reason,
            detail,
        };
        let admitted = self.admits(&self.endings, attempt);
        if !admitted {
            self.sums.untold.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    fn admits(&self, budget: &Budget, attempt: Attempt<'_>) -> bool {
        budget.admits(attempt, |detail| self.detail(detail))
    }

    pub(crate) fn closed(
        &self,
        to: Endpoint,
        rule: RuleAt,
        bytes: (u64, u64),
        open: Duration,
        ended: Ended,
    ) {
        self.sums.over.fetch_add(1, Ordering::Relaxed);
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
        for budget in [
            &self.dns,
            &self.tcp,
            &self.https,
            &self.other,
            &self.endings,
        ] {
            let (groups, uncounted) = budget.take();
            refused += uncounted;
            for group in groups {
                let to = self.endpoint(group.to);
                let mut line = self.line(group.event, &to);
                line.reason = group.reason.map(Reason::as_str);
                line.detail = Some(&group.detail);
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
                refusal: self.refusal(refusal),
            },
            EgressEvent::Failed { to, reason, detail } => EgressEvent::Failed {
                to: self.endpoint(to),
                reason,
                detail: self.detail(&detail),
            },
            EgressEvent::NotRecorded { to, detail } => EgressEvent::NotRecorded {
                to: self.endpoint(to),
                detail: self.detail(&detail),
            },
            EgressEvent::SecretUnavailable {
                to,
                detail,
                retryable,
            } => EgressEvent::SecretUnavailable {
                to: self.endpoint(to),
                detail: self.detail(&detail),
                retryable,
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
        let ends = matches!(
            event,
            EgressEvent::Exhausted { .. }
                | EgressEvent::NotRecorded { .. }
                | EgressEvent::SecretUnavailable { .. }
                | EgressEvent::Refused { persists: true, .. }
        );
        let is_usual = matches!(
            event,
            EgressEvent::Allowed { .. }
                | EgressEvent::Closed { .. }
                | EgressEvent::Throttled { .. }
        );
        if !is_usual {
            self.audit.hurry();
        }
        let room = !is_usual || self.events.capacity() > RESERVED;
        let lost = !room
            || match self.events.try_send(event) {
                Ok(()) => false,
                Err(mpsc::error::TrySendError::Full(event)) if ends => !self.last(event),
                Err(_) => true,
            };
        if lost {
            self.sums.events_lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Puts what ends the call where a place was kept for it. Later ones find none, and need none.
    fn last(&self, event: EgressEvent) -> bool {
        let mut kept = self
            .last_word
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        kept.take().is_some_and(|place| {
            place.send(event);
            true
        })
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
