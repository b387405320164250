//! The right to run a call, from its record to its end.

use std::sync::Arc;

use caisson_proto::v1::ErrorCode;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::admission::Admitted;
use super::live::{Calls, End, Live, state_error};
use crate::error::CallError;
use crate::identity::Caller;

/// The right to run a call, and the duty to say how it ended. Dropped without
/// that, the call is recorded as cancelled: its caller left.
pub(crate) struct Ticket {
    pub(crate) live: Arc<Live>,
    calls: Arc<Calls>,
    ended: bool,
    recording: Option<Recording>,
    slots: Option<Admitted>,
}

/// The writing of a call's record.
pub(super) type Recording = JoinHandle<Result<(), caisson_state::CallError>>;

impl Ticket {
    pub(super) fn new(live: Arc<Live>, calls: Arc<Calls>) -> Self {
        Self {
            live,
            calls,
            ended: false,
            recording: None,
            slots: None,
        }
    }

    /// Its record is being written.
    pub(super) fn recording(mut self, recording: Recording) -> Self {
        self.recording = Some(recording);
        self
    }

    /// Waits until the call is recorded. Nothing of it may run before.
    pub(crate) async fn recorded(&mut self) -> Result<(), CallError> {
        if let Some(recording) = &mut self.recording {
            let recorded = recording.await;
            self.recording = None;
            recorded.map_err(state_error)?.map_err(state_error)?;
        }
        Ok(())
    }

    /// Records the end and tells whoever waits for it; the handle ends when
    /// that is done, and it is done whether or not somebody waits.
    pub(crate) fn end(mut self, end: End) -> JoinHandle<()> {
        self.ended = true;
        let recording = self.recording.take();
        self.calls.clone().finish(&self.live, recording, end)
    }

    /// Forgets a call that turned out to be another one.
    pub(super) fn discard(mut self) {
        self.ended = true;
        self.calls.forget_live(&self.live.call_id);
    }

    /// Takes slots that are free now; false where there are not enough.
    pub(crate) fn admit_at_once(&mut self, caller: &Caller, workers: u32) -> bool {
        self.slots = self.calls.admission().try_enter(&caller.tenant, workers);
        self.slots.is_some()
    }

    /// Waits for a free slot; a stopped call waits no longer.
    pub(crate) async fn admit(
        &mut self,
        caller: &Caller,
        workers: u32,
        deadline: Option<Instant>,
    ) -> Result<(), CallError> {
        let admission = self.calls.admission();
        let slots = admission.enter(&caller.tenant, workers, deadline, &self.live.cancel);
        self.slots = Some(slots.await?);
        Ok(())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.ended {
            let error = if std::thread::panicking() {
                CallError::new(ErrorCode::Internal, "the call was dropped without an end")
            } else {
                CallError::new(ErrorCode::Cancelled, "the caller left before the call ran")
            };
            let end = End::Failure(error.to_failure());
            let recording = self.recording.take();
            drop(self.calls.clone().finish(&self.live, recording, end));
        }
    }
}
