//! What a call has done so far: its figures, checkpoints and refusals.

use std::collections::{HashMap, VecDeque};

use caisson_proto::v1;
use tokio::time::Instant;

use crate::call::Event;

/// Refusals that a Failure names.
const REFUSALS: usize = 100;
/// Checkpoints that a Summary names, and bytes of their states.
const SUMMED: usize = 1000;
const SUMMED_STATES: usize = 1 << 20;
/// Last lines on stderr kept for a worker that dies without a word.
const LAST_LINES: usize = 20;

/// What was done, so far.
pub(super) struct Tally {
    pub(super) accepted: Instant,
    pub(super) stats: v1::Stats,
    pub(super) checkpoints: HashMap<(String, String), v1::Checkpoint>,
    pub(super) last: Option<(String, String)>,
    pub(super) refusals: Vec<v1::EgressRefusal>,
    /// Names of the steps of a Test that failed; the order bounds how many.
    pub(super) failed_steps: Vec<String>,
    pub(super) last_lines: VecDeque<String>,
}

impl Tally {
    pub(super) fn new(accepted: Instant, missing_layers: Vec<String>) -> Self {
        let stats = v1::Stats {
            missing_layers,
            ..Default::default()
        };
        Self {
            accepted,
            stats,
            checkpoints: HashMap::new(),
            last: None,
            refusals: Vec::new(),
            failed_steps: Vec::new(),
            last_lines: VecDeque::new(),
        }
    }

    pub(super) fn since_accepted_ms(&self) -> f64 {
        self.accepted.elapsed().as_secs_f64() * 1e3
    }

    /// Counts an event that the caller got.
    pub(super) fn count(&mut self, event: &Event) {
        match event {
            Event::Batch(batch) => {
                if self.stats.batches == 0 {
                    self.stats.first_batch_ms = self.since_accepted_ms();
                }
                self.stats.batches = self.stats.batches.saturating_add(1);
                self.stats.records = self.stats.records.saturating_add(batch.records);
                self.stats.bytes = self.stats.bytes.saturating_add(batch.data.len() as u64);
            }
            Event::Acknowledged(done) => {
                self.stats.batches = self.stats.batches.saturating_add(1);
                self.stats.records = self.stats.records.saturating_add(done.records);
            }
            Event::Checkpoint(checkpoint) => self.checkpoint(checkpoint.clone()),
            Event::Committed(v1::Committed {
                checkpoint: Some(checkpoint),
                ..
            }) => self.checkpoint(checkpoint.clone()),
            Event::Rejected(_) => self.stats.rejected += 1,
            Event::Step(step) if step.status() == v1::test_step::Status::Failed => {
                self.failed_steps.push(step.name.clone());
            }
            _ => {}
        }
    }

    pub(super) fn checkpoint(&mut self, checkpoint: v1::Checkpoint) {
        let key = (checkpoint.stream.clone(), checkpoint.partition.clone());
        self.stats.checkpoints = self.stats.checkpoints.saturating_add(1);
        self.last = Some(key.clone());
        self.checkpoints.insert(key, checkpoint);
    }

    /// The last checkpoints as a Summary names them: their states are left
    /// out where they would not fit a message, since the caller has them.
    pub(super) fn summed_checkpoints(&self) -> Vec<v1::Checkpoint> {
        let size: usize = self.checkpoints.values().map(|of| of.state.len()).sum();
        let whole = size <= SUMMED_STATES;
        let shown = self.checkpoints.values().take(SUMMED).cloned();
        shown
            .map(|checkpoint| {
                if whole {
                    checkpoint
                } else {
                    v1::Checkpoint {
                        state: Vec::new(),
                        ..checkpoint
                    }
                }
            })
            .collect()
    }

    pub(super) fn refused(&mut self, refusal: &v1::EgressRefusal) {
        let same = |seen: &&mut v1::EgressRefusal| {
            (
                &seen.host,
                &seen.address,
                seen.port,
                &seen.protocol,
                &seen.reason,
            ) == (
                &refusal.host,
                &refusal.address,
                refusal.port,
                &refusal.protocol,
                &refusal.reason,
            )
        };
        if let Some(seen) = self.refusals.iter_mut().find(same) {
            seen.count = seen.count.saturating_add(refusal.count.max(1));
        } else if self.refusals.len() < REFUSALS {
            self.refusals.push(refusal.clone());
        }
    }

    pub(super) fn line(&mut self, log: &v1::Log) {
        if log.logger == "stderr" {
            self.last_lines.push_back(log.message.clone());
            if self.last_lines.len() > LAST_LINES {
                self.last_lines.pop_front();
            }
        }
    }
}
