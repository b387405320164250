//! One (stream, partition) on its way to the channel.
//!
//! Two locks, always taken in this order: `out` is held while frames are sent
//! and gives them their order; `state` is held while records are added, so that
//! records can be added while a batch waits for a slow reader.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arrow_schema::SchemaRef;

use super::failure::Failure;
use super::flusher;
use super::send::Out;
use super::state::{Pairs, Phase, State, weight};
use crate::channel::Socket;
use crate::record::json::Mould;
use crate::record::value::Unknown;

/// What an emitter was made with.
pub(super) struct Config {
    pub(super) stream: String,
    pub(super) partition: String,
    pub(super) json: bool,
    pub(super) unknown: Unknown,
    pub(super) primary_key: Vec<String>,
    pub(super) cursor: String,
    pub(super) target: usize,
    pub(super) max: usize,
    pub(super) flush: Duration,
    pub(super) sample: usize,
    /// 0: no limit.
    pub(super) max_records: u64,
}

impl Config {
    pub(super) fn is_full(&self, count: u64) -> bool {
        self.max_records > 0 && count >= self.max_records
    }
}

/// See the module.
pub(super) struct Lane {
    pub(super) config: Config,
    pub(super) socket: Arc<Socket>,
    pub(super) out: Mutex<Out>,
    pub(super) state: Mutex<State>,
    /// What becomes of records, once some came as they lay.
    pub(super) mould: OnceLock<Arc<Mould>>,
    /// Tells the flusher that something came, or that it may go.
    pub(super) wake: Condvar,
}

impl Lane {
    pub(super) fn new(socket: Arc<Socket>, config: Config, schema: Option<SchemaRef>) -> Self {
        Self {
            state: Mutex::new(State::new(&config, schema)),
            out: Mutex::default(),
            mould: OnceLock::new(),
            wake: Condvar::new(),
            config,
            socket,
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn out(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record was added to columns or lines; true if a batch is due.
    pub(super) fn pushed(
        self: &Arc<Self>,
        state: &mut State,
        size: usize,
    ) -> Result<bool, Failure> {
        if size > self.config.max {
            state.take_back_last(size);
            return Err(Failure::TooLarge {
                record: state.count,
                bytes: size,
                max: self.config.max,
            });
        }
        Ok(self.counted(state, 1))
    }

    /// A record for the sample; true if the sample is complete.
    pub(super) fn sampled(
        self: &Arc<Self>,
        state: &mut State,
        pairs: Pairs,
    ) -> Result<bool, Failure> {
        let Phase::Sampling(sample) = &mut state.phase else {
            return Ok(false);
        };
        state.sampled += pairs
            .iter()
            .map(|(name, value)| name.len() + weight(value))
            .sum::<usize>();
        sample.push(pairs);
        let complete = sample.len() >= self.config.sample || state.sampled >= self.config.max;
        self.counted(state, 1);
        Ok(complete)
    }

    /// So many records were added; true if a batch is due.
    pub(super) fn counted(self: &Arc<Self>, state: &mut State, count: u64) -> bool {
        state.count += count;
        if state.since.is_none() {
            state.since = Some(Instant::now());
            if !state.flusher {
                state.flusher = true;
                flusher::start(self.clone());
            } else if !state.armed {
                self.wake.notify_one();
            }
        }
        state.pending() >= state.limit
    }

    /// Sends what is there.
    pub(super) fn flush(&self) -> Result<(), Failure> {
        self.flush_with(&mut self.out())
    }

    pub(super) fn flush_with(&self, out: &mut Out) -> Result<(), Failure> {
        let (cut, schema, count) = {
            let mut state = self.state();
            if let Some(failure) = &state.failure {
                return Err(failure.clone());
            }
            match state.cut(&self.config) {
                Ok(None) => return Ok(()),
                Ok(Some(cut)) => (cut, state.schema.clone(), state.count),
                Err(failure) => {
                    state.failure = Some(failure.clone());
                    return Err(failure);
                }
            }
        };
        self.sent(|| out.send(self, cut, schema, count))
    }

    /// Remembers a failure to send: records were lost with it.
    pub(super) fn sent(&self, send: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
        send().inspect_err(|failure| self.state().failure = Some(failure.clone()))
    }

    pub(super) fn checkpoint(&self, opaque: &[u8], last: bool) -> Result<String, Failure> {
        let mut out = self.out();
        self.flush_with(&mut out)?;
        let records = self.state().count;
        out.checkpoint(self, opaque, records, last)
    }

    pub(super) fn close(&self) -> Result<(), Failure> {
        if self.state().closed {
            return Ok(());
        }
        let flushed = self.flush();
        self.abandon();
        flushed
    }

    /// Ends the flusher; what is unsent is lost.
    pub(super) fn abandon(&self) {
        self.state().closed = true;
        self.wake.notify_all();
    }
}
