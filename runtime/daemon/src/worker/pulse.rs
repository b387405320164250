//! The signs of life of one worker, and what their absence means. No IO, no
//! clock.
//!
//! A worker that works sends frames or bytes, and one that waits says so, at
//! least as often as Start asks for. One that does neither is stalled, whether
//! or not its streams end. A Throttled frame buys silence: until the time that
//! it names, and never for longer than the operator's limit. A wait whose end
//! nobody can foretell is believed in short steps, as long as the gateway sees
//! it last.

use std::time::Duration;

use caisson_proto::v1::ErrorCode;
use tokio::time::Instant;

use crate::error::CallError;

/// After so long without an event, the caller of a streaming read hears that
/// all is well.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(10);

/// How long a wait without a known end is believed at once.
const STEP: Duration = Duration::from_secs(30);

/// What the gateway carried for a worker so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    /// Bytes, both ways.
    pub(super) relayed: u64,
    /// Whether a request of its waits until another has ended, as far as the
    /// gateway knows.
    pub(super) waits_for_place: bool,
}

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
    /// When the wait for a place that still lasts is believed no more.
    place_until: Option<Instant>,
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
            place_until: None,
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

    /// A request of its waits for a place, or none does. Where one began to wait
    /// while another did, the limit is that of the first.
    fn waits_for_place(&mut self, waits: bool, now: Instant) {
        if !waits {
            self.place_until = None;
            return;
        }
        let limit = *self.place_until.get_or_insert(now + self.throttle);
        let until = limit.min(now + STEP);
        if until <= now {
            return;
        }
        self.waits_until = self.waits_until.max(Some(until));
        self.waiting = match self.waiting {
            Some((from, last)) if last >= now => Some((from, last.max(until))),
            _ => {
                self.waited = self.waited(now);
                Some((now, until))
            }
        };
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

    /// Judges the silence. To be asked more often than every [`STEP`].
    pub(super) fn judge(&mut self, traffic: Traffic, now: Instant) -> Judgement {
        if traffic.relayed != self.relayed {
            self.relayed = traffic.relayed;
            self.last_sign = self.last_sign.max(now);
            self.place_until = None;
        }
        self.waits_for_place(traffic.waits_for_place, now);
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
            matches!(
                self.pulse.judge(Traffic::default(), now),
                Judgement::Stalled(_)
            )
        }

        /// Ticks each second up to a time, while a request waits for a place.
        fn waits_for_place(&mut self, seconds: std::ops::Range<u64>) -> Option<u64> {
            let waits = Traffic {
                waits_for_place: true,
                ..Traffic::default()
            };
            seconds.into_iter().find(|&second| {
                let now = self.at(second);
                matches!(self.pulse.judge(waits, now), Judgement::Stalled(_))
            })
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
        assert!(matches!(
            worker.pulse.judge(Traffic::default(), now),
            Judgement::Heartbeat
        ));
        worker.pulse.beat(now);
        assert!(matches!(
            worker.pulse.judge(Traffic::default(), now),
            Judgement::Well
        ));
        assert!(worker.stalled(10));
    }

    #[test]
    fn frames_bytes_and_a_caller_that_was_slow_are_signs() {
        let mut worker = Watched::new(None);
        worker.pulse.said(worker.at(9));
        assert!(!worker.stalled(18));
        let carried = Traffic {
            relayed: 7,
            ..Traffic::default()
        };
        assert!(matches!(
            worker
                .pulse
                .judge(carried, worker.start + Duration::from_secs(18)),
            Judgement::Well
        ));
        let now = worker.at(40);
        worker.pulse.told(now);
        assert!(matches!(worker.pulse.judge(carried, now), Judgement::Well));
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

    #[test]
    fn a_wait_for_a_place_is_believed_while_it_lasts_and_no_longer_than_the_limit() {
        let mut worker = Watched::new(None);
        assert_eq!(worker.waits_for_place(0..200), Some(110));
    }

    #[test]
    fn a_worker_that_hangs_after_it_got_its_place_is_stalled_soon() {
        let mut worker = Watched::new(None);
        assert_eq!(worker.waits_for_place(0..3), None);
        let stalled = (3..200).find(|&second| worker.stalled(second));
        assert_eq!(stalled, Some(2 + STEP.as_secs() + STALL.as_secs()));
        let waited = worker.pulse.waited(worker.at(200));
        assert_eq!(waited, Duration::from_secs(2) + STEP);
    }

    #[test]
    fn a_wait_after_bytes_has_a_limit_of_its_own() {
        let mut worker = Watched::new(None);
        assert_eq!(worker.waits_for_place(0..100), None);
        let carried = Traffic {
            relayed: 7,
            waits_for_place: true,
        };
        let stalled = (100..400).find(|&second| {
            let now = worker.at(second);
            matches!(worker.pulse.judge(carried, now), Judgement::Stalled(_))
        });
        assert_eq!(stalled, Some(210));
    }
}
