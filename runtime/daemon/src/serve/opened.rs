//! How a call begins: who calls, until when, and what an earlier request of
//! the same id came to.

use std::sync::Arc;
use std::time::Duration;

use caisson_proto::v1::{self, ErrorCode};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::timeout::grpc_timeout;
use crate::call::{End, Event, Listening, Live, Sequencer, Ticket, check_name};
use crate::error::CallError;
use crate::identity::{Caller, Workspace};
use crate::usage::unix_ms;
use crate::worker::Control;

/// What every call begins with.
pub(super) struct Opened {
    pub(super) caller: Caller,
    pub(super) workspace: Workspace,
    pub(super) options: v1::CallOptions,
    timeout: Option<Duration>,
    accepted: Instant,
}

impl Opened {
    /// Refuses a caller to whom the workspace is not open.
    pub(super) fn of(
        caller: Caller,
        metadata: &MetadataMap,
        options: Option<v1::CallOptions>,
    ) -> Result<Self, CallError> {
        let options = options.unwrap_or_default();
        check_name("request_id", &options.request_id)?;
        Ok(Self {
            workspace: caller.workspace(&options.workspace)?,
            caller,
            timeout: grpc_timeout(metadata),
            accepted: Instant::now(),
            options,
        })
    }

    /// A call that outlives its stream: only its own `deadline_ms` counts, not
    /// how long the client means to listen.
    pub(super) fn detached(mut self) -> Self {
        self.timeout = None;
        self
    }

    /// The nearest of the client's deadline and the request's, from when the
    /// call was accepted: waiting for a slot counts.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let own =
            (self.options.deadline_ms > 0).then(|| Duration::from_millis(self.options.deadline_ms));
        let nearest = [self.timeout, own].into_iter().flatten().min()?;
        Some(self.accepted + nearest)
    }

    /// What may stop the call: cancelling it, the nearest deadline, and the
    /// longest that its connector may run.
    pub(super) fn control(&self, ticket: &Ticket, duration: Duration) -> Control {
        let longest = Instant::now() + duration;
        Control {
            cancel: ticket.live.cancel.clone(),
            deadline: self.deadline().into_iter().chain([longest]).min(),
        }
    }
}

/// A call that is refused before a worker exists: recorded, and a gRPC error.
/// Told only when it is recorded, so that the same request may come again.
pub(super) async fn refuse<T>(
    ticket: Ticket,
    result: Result<T, CallError>,
) -> Result<(Ticket, T), Status> {
    match result {
        Ok(value) => Ok((ticket, value)),
        Err(error) => {
            // Only a daemon that ends drops the task.
            let _ = ticket.end(End::Failure(error.to_failure())).await;
            Err(error.into())
        }
    }
}

/// A Test that ended before there was a worker: recorded, and told as every
/// other one is, with the step at which it failed.
pub(super) async fn ended_at(ticket: Ticket, step: v1::TestStep, error: &CallError) -> Listening {
    let call_id = ticket.live.call_id.clone();
    let mut sequencer = Sequencer::new(&call_id, unix_ms());
    let started = v1::Started {
        call_id,
        ..Default::default()
    };
    let failure = error.to_failure();
    // What became of it was said; who asks later is told by the record.
    let _ = ticket.end(End::Failure(failure.clone())).await;
    let events = [
        Event::Started(started),
        Event::Step(step),
        Event::Failure(failure),
    ];
    let (sender, receiver) = mpsc::channel(events.len());
    for event in events {
        // There is room for all, and the receiver is held here.
        let _ = sender.try_send(sequencer.place("", "", event));
    }
    receiver.into()
}

/// Started and the end of a call that was begun before.
pub(super) fn attach(call_id: String, live: Option<Arc<Live>>, end: Option<End>) -> Listening {
    let (sender, receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        let mut sequencer = Sequencer::new(&call_id, 0);
        let started = v1::Started {
            call_id,
            attached: true,
            ..Default::default()
        };
        if sender
            .send(sequencer.place("", "", Event::Started(started)))
            .await
            .is_err()
        {
            return;
        }
        let end = match (end, live) {
            (Some(end), _) => Some(end),
            (None, Some(live)) => live.ended().await,
            (None, None) => None,
        };
        let event = match end {
            Some(End::Summary(summary)) => Event::Summary(summary),
            Some(End::Sync(summary)) => Event::SyncSummary(summary),
            Some(End::Failure(failure)) => Event::Failure(failure),
            None => Event::Failure(
                CallError::new(ErrorCode::Internal, "the call ended without a record").to_failure(),
            ),
        };
        // Who asked may be gone again.
        let _ = sender.send(sequencer.place("", "", event)).await;
    });
    receiver.into()
}
