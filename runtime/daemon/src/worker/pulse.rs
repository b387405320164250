//! The signs of life of one worker, and what their absence means. No IO, no
//! clock.
//!
//! A worker that works sends frames or bytes, and one that waits says so, at
//! least as often as Start asks for. One that does neither is stalled, whether
//! or not its streams end. A Throttled frame buys silence: until the time that
//! it names, and never for longer than the operator's limit.

use std::time::Duration;

use caisson_proto::v1::ErrorCode;
use tokio::time::Instant;

use crate::error::CallError;

/// After so long without an event, the caller of a streaming read hears that
/// all is well.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(10);

/// What is to be done about a worker's silence.
#[derive(Debug)]
pub(super) enum Judgement {
    Well,
    /// The caller heard nothing for long: tell it that all is well.
    Heartbeat,
    Stalled(Box<CallError>),
}

/// When a worker last gave a sign of life, and when its caller last heard of
/// it.
#[derive(Debug)]
pub(super) struct Pulse {
    /// No sign of life for so long is a stall.
    stall: Option<Duration>,
    /// The longest announced wait that is believed.
    throttle: Duration,
    /// Whether, and after what silence, the caller hears heartbeats.
    heartbeat: Option<Duration>,
    last_sign: Instant,
    /// An announced wait, as far as it is believed.
    waits_until: Option<Instant>,
    last_event: Instant,
    /// Bytes that the gateway carried for it.
    relayed: u64,
    /// Announced waits that are over.
    waited: Duration,
    /// The announced wait that may still last.
    waiting: Option<(Instant, Instant)>,
}

impl Pulse {
    pub(super) fn new(
        stall: Option<Duration>,
        throttle: Duration,
        heartbeat: Option<Duration>,
        now: Instant,
    ) -> Self {
        Self {
            stall,
            throttle,
            heartbeat,
            last_sign: now,
            waits_until: None,
            last_event: now,
            relayed: 0,
            waited: Duration::ZERO,
            waiting: None,
        }
    }

    /// The worker said something.
    pub(super) fn said(&mut self, now: Instant) {
        self.last_sign = now;
    }

    /// The worker said that it waits for so long. What it says meanwhile does
    /// not end the wait: a thread of its own may still deliver what came before.
    pub(super) fn waits(&mut self, wait: Duration, now: Instant) {
        let until = now + wait.min(self.throttle);
        self.waits_until = self.waits_until.max(Some(until));
        self.waited = self.waited(now);
        self.waiting = Some((now, until));
    }

    /// How long it waited by its own word, for one that dies before it counts
    /// itself.
    pub(super) fn waited(&self, now: Instant) -> Duration {
        let last = self
            .waiting
            .map(|(from, until)| now.min(until).saturating_duration_since(from));
        self.waited + last.unwrap_or_default()
    }

    /// The caller took something of the worker's: until then the worker could
    /// not go on.
    pub(super) fn told(&mut self, now: Instant) {
        self.last_event = now;
        self.last_sign = self.last_sign.max(now);
    }

    /// The caller took a heartbeat of the daemon's own.
    pub(super) fn beat(&mut self, now: Instant) {
        self.last_event = now;
    }

    /// Judges the silence; `relayed` is what the gateway carried so far.
    pub(super) fn judge(&mut self, relayed: u64, now: Instant) -> Judgement {
        if relayed != self.relayed {
            self.relayed = relayed;
            self.last_sign = self.last_sign.max(now);
        }
        let since = Some(self.last_sign).max(self.waits_until);
        let silent = now.saturating_duration_since(since.unwrap_or(self.last_sign));
        match (self.stall, self.heartbeat) {
            (Some(stall), _) if silent >= stall => {
                let after = match self.waits_until {
                    Some(until) if until > self.last_sign => " after the wait that it announced",
                    _ => "",
                };
                let message = format!(
                    "the worker gave no sign of life for {} s{after}",
                    stall.as_secs()
                );
                Judgement::Stalled(CallError::new(ErrorCode::Stalled, message).into())
            }
            (_, Some(every)) if now.saturating_duration_since(self.last_event) >= every => {
                Judgement::Heartbeat
            }
            _ => Judgement::Well,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_secs(10);
    const THROTTLE: Duration = Duration::from_secs(100);
    const DAY: Duration = Duration::from_secs(86_400);

    struct Watched {
        pulse: Pulse,
        start: Instant,
    }

    impl Watched {
        fn new(heartbeat: Option<Duration>) -> Self {
            let start = Instant::now();
            Self {
                pulse: Pulse::new(Some(STALL), THROTTLE, heartbeat, start),
                start,
            }
        }

        fn at(&self, seconds: u64) -> Instant {
            self.start + Duration::from_secs(seconds)
        }

        fn stalled(&mut self, seconds: u64) -> bool {
            let now = self.at(seconds);
            matches!(self.pulse.judge(0, now), Judgement::Stalled(_))
        }
    }

    #[test]
    fn silence_is_a_stall_whether_or_not_the_streams_end() {
        for heartbeat in [None, Some(STALL / 2)] {
            let mut worker = Watched::new(heartbeat);
            assert!(!worker.stalled(9));
            assert!(worker.stalled(10));
        }
    }

    #[test]
    fn the_daemons_own_heartbeats_are_no_sign_of_the_workers_life() {
        let mut worker = Watched::new(Some(STALL / 2));
        let now = worker.at(5);
        assert!(matches!(worker.pulse.judge(0, now), Judgement::Heartbeat));
        worker.pulse.beat(now);
        assert!(matches!(worker.pulse.judge(0, now), Judgement::Well));
        assert!(worker.stalled(10));
    }

    #[test]
    fn frames_bytes_and_a_caller_that_was_slow_are_signs() {
        let mut worker = Watched::new(None);
        worker.pulse.said(worker.at(9));
        assert!(!worker.stalled(18));
        assert!(matches!(
            worker
                .pulse
                .judge(7, worker.start + Duration::from_secs(18)),
            Judgement::Well
        ));
        let now = worker.at(40);
        worker.pulse.told(now);
        assert!(matches!(worker.pulse.judge(7, now), Judgement::Well));
    }

    #[test]
    fn an_announced_wait_is_believed_until_its_end_and_no_longer_than_the_limit() {
        let mut worker = Watched::new(None);
        worker.pulse.waits(Duration::from_secs(30), worker.start);
        assert!(!worker.stalled(39));
        assert!(worker.stalled(40));

        let mut liar = Watched::new(None);
        liar.pulse.waits(DAY, liar.start);
        assert!(!liar.stalled(109));
        assert!(liar.stalled(110));
    }

    #[test]
    fn what_a_waiting_worker_says_neither_ends_nor_lengthens_its_wait() {
        let mut worker = Watched::new(None);
        worker.pulse.waits(Duration::from_secs(30), worker.start);
        worker.pulse.said(worker.at(1));
        assert!(!worker.stalled(39));
        assert!(worker.stalled(40));
    }

    #[test]
    fn what_was_waited_is_what_passed_and_not_what_was_announced() {
        let mut worker = Watched::new(None);
        worker.pulse.waits(DAY, worker.start);
        assert_eq!(worker.pulse.waited(worker.at(3)).as_secs(), 3);
        worker.pulse.waits(Duration::from_secs(2), worker.at(3));
        assert_eq!(worker.pulse.waited(worker.at(9)).as_secs(), 5);
    }
}
