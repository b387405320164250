//! What is decided before a worker exists, and what is known when it is gone.

use std::sync::Arc;
use std::time::Duration;

use caisson_egress::Gateway;
use caisson_proto::v1;
use caisson_sandbox::{Launcher, WorkerSpec};
use caisson_secrets::Redactor;
use caisson_wire::{Opening, message::Operation};

use super::warm::{Pool, Warmth};
use crate::error::CallError;

/// The parts of the daemon that workers need.
pub(crate) struct Host {
    pub(crate) launcher: Launcher,
    pub(crate) gateway: Gateway,
    pub(crate) pool: Pool,
}

/// Everything about one worker that is decided before it exists.
pub(crate) struct Job {
    pub(crate) operation: Operation,
    pub(crate) spec: WorkerSpec,
    /// How a worker that waits could serve it, if one could.
    pub(crate) warmth: Option<Warmth>,
    /// The profile of `spec`, as its policy has it.
    pub(crate) profile: caisson_egress::SandboxProfile,
    pub(crate) opening: Opening,
    /// Who calls, for the gateway and its audit.
    pub(crate) egress: caisson_egress::CallContext,
    pub(crate) redactor: Arc<Redactor>,
    /// Records pass it too.
    pub(crate) redact_records: bool,
    /// No sign of life for so long ends the call with STALLED.
    pub(crate) stall: Option<Duration>,
    /// The longest announced wait that is believed.
    pub(crate) throttle: Duration,
    /// Streaming: the caller hears a heartbeat where nothing else happens.
    pub(crate) unbounded: bool,
    pub(crate) missing_layers: Vec<String>,
}

/// How it went. `result` says why it ended, the rest what was done until then.
pub(crate) struct Outcome {
    pub(crate) result: Result<(), CallError>,
    pub(crate) stats: v1::Stats,
    /// The last checkpoint of every stream and partition.
    pub(crate) checkpoints: Vec<v1::Checkpoint>,
    pub(crate) last_checkpoint: Option<v1::Checkpoint>,
    pub(crate) refusals: Vec<v1::EgressRefusal>,
    /// Names of the steps of a Test that the worker told as failed.
    pub(crate) failed_steps: Vec<String>,
}

impl Outcome {
    /// The event that ends a Read, Write, Test or List.
    pub(crate) fn end(self) -> Result<v1::Summary, v1::Failure> {
        match self.result {
            Ok(()) => Ok(v1::Summary {
                stats: Some(self.stats),
                checkpoints: self.checkpoints,
            }),
            Err(error) => Err(v1::Failure {
                last_checkpoint: self.last_checkpoint,
                refusals: self.refusals,
                stats: Some(self.stats),
                ..error.to_failure()
            }),
        }
    }
}
