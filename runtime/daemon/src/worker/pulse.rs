//! The signs of life of one worker, and what their absence means. No IO.

use std::time::Duration;

use caisson_proto::v1::ErrorCode;
use tokio::time::Instant;

use crate::error::CallError;

/// Silence of a streaming read after which a heartbeat is sent.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// What is to be done about a worker's silence.
#[derive(Debug)]
pub(super) enum Judgement {
    Well,
    /// The caller heard nothing for long: tell it that all is well.
    Heartbeat,
    Stalled(CallError),
}

/// When a worker last gave a sign of life, and when its caller last heard of
/// it.
#[derive(Debug)]
pub(super) struct Pulse {
    /// No sign of life for so long is a stall.
    stall: Option<Duration>,
    /// Streaming: heartbeats, and no stall.
    unbounded: bool,
    last_sign: Instant,
    last_event: Instant,
    /// Bytes that the gateway carried for it.
    relayed: u64,
}

impl Pulse {
    pub(super) fn new(stall: Option<Duration>, unbounded: bool) -> Self {
        let now = Instant::now();
        Self {
            stall,
            unbounded,
            last_sign: now,
            last_event: now,
            relayed: 0,
        }
    }

    /// The worker said something.
    pub(super) fn sign(&mut self) {
        self.last_sign = Instant::now();
    }

    /// The worker said that it waits for so long: waiting is no stall.
    pub(super) fn waits(&mut self, wait: Duration) {
        self.last_sign = Instant::now() + wait;
    }

    /// The caller took an event.
    pub(super) fn told(&mut self) {
        self.last_event = Instant::now();
        self.last_sign = self.last_sign.max(self.last_event);
    }

    /// Judges the silence; `relayed` is what the gateway carried so far.
    pub(super) fn judge(&mut self, relayed: u64) -> Judgement {
        if relayed != self.relayed {
            self.relayed = relayed;
            self.last_sign = self.last_sign.max(Instant::now());
        }
        if self.unbounded {
            return if self.last_event.elapsed() >= HEARTBEAT {
                Judgement::Heartbeat
            } else {
                Judgement::Well
            };
        }
        let silent = Instant::now().saturating_duration_since(self.last_sign);
        match self.stall {
            Some(stall) if silent >= stall => {
                let message = format!("the worker gave no sign of life for {} s", stall.as_secs());
                Judgement::Stalled(CallError::new(ErrorCode::Stalled, message))
            }
            _ => Judgement::Well,
        }
    }
}
