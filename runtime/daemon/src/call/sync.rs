//! Read into Write inside the daemon.
//!
//! Two workers, one pump between them. A batch goes from the source's channel
//! to the destination's as it came; a checkpoint that the destination made
//! durable is stored, and only then announced.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use caisson_proto::v1::{self, ErrorCode, Side, sync_event};
use caisson_state::{Commit, Expected, NewCheckpoint, StateKey, WriterGuard};
use caisson_wire::message;
use chrono::Utc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::event::{Emitted, Event, Sequencer};
use super::live::End;
use super::prepare::Keep;
use super::read::Streams;
use super::ticket::Ticket;
use super::write::mode_word;
use crate::core::Core;
use crate::error::CallError;
use crate::identity::Workspace;
use crate::worker::{Control, Input, Job, Outcome, Outlet, run};

/// Events between a worker and the pump.
const QUEUE: usize = 4;
/// How long a listener may take to hear the end.
const LAST_WORD: Duration = Duration::from_secs(5);
/// After a source failed, how long its destination may take to make durable
/// what it was given.
const SETTLE: Duration = Duration::from_secs(60);

/// Everything about one Sync that is decided before its workers exist.
pub(crate) struct SyncJob {
    pub(crate) call_id: String,
    pub(crate) workspace: Workspace,
    pub(crate) state_key: String,
    pub(crate) epoch: u64,
    pub(crate) source: Job,
    pub(crate) destination: Job,
    /// How the streams are written, by name.
    pub(crate) modes: Streams,
    /// Released when both workers are dead.
    pub(crate) keep: Vec<Keep>,
}

/// Runs to the end, whoever listens.
pub(crate) async fn run_sync(
    core: Arc<Core>,
    job: SyncJob,
    ticket: Ticket,
    writer: WriterGuard,
    control: Control,
    events: mpsc::Sender<v1::SyncEvent>,
) {
    let live = ticket.live.clone();
    let sequencer = || Sequencer::new(&job.call_id, job.epoch);
    let (source_events, from_source) = mpsc::channel(QUEUE);
    let (destination_events, from_destination) = mpsc::channel(QUEUE);
    let (input, to_destination) = mpsc::channel(QUEUE);
    // Either side can be stopped alone.
    let side = |token: CancellationToken| Control {
        cancel: token,
        deadline: control.deadline,
    };
    let (source_control, destination_control) = (
        side(control.cancel.child_token()),
        side(control.cancel.child_token()),
    );

    let mut pump = Pump {
        core: core.clone(),
        workspace: job.workspace,
        state_key: job.state_key,
        call_id: job.call_id.clone(),
        modes: job.modes,
        call: Sequencer::new(&job.call_id, job.epoch),
        listeners: events,
        control: control.clone(),
        input: Some(input),
        pending: None,
        read: HashMap::new(),
        written: HashMap::new(),
        bytes: HashMap::new(),
        uncommitted: 0,
        failure: None,
    };
    let (ended, source_ended) = oneshot::channel();
    let source = async {
        let outlet = Outlet::new(source_events, sequencer(), true);
        let outcome = run(
            &core.host,
            job.source,
            None,
            outlet,
            &source_control,
            |pid| live.set_pid(0, pid),
        )
        .await;
        // The pump waits for it, unless it ended first.
        let _ = ended.send(outcome.result.is_ok());
        outcome
    };
    let destination = run(
        &core.host,
        job.destination,
        Some(to_destination),
        Outlet::new(destination_events, sequencer(), true),
        &destination_control,
        |pid| live.set_pid(1, pid),
    );
    let pumping = pump.run(
        from_source,
        source_ended,
        from_destination,
        &source_control.cancel,
        &destination_control.cancel,
    );
    let together = async { tokio::join!(source, destination, pumping) };
    let (lost, (source, destination, ())) = {
        let mut together = std::pin::pin!(together);
        tokio::select! {
            all = together.as_mut() => (None, all),
            ended = first_ended(&job.keep) => {
                control.cancel.cancel();
                (Some(ended), together.await)
            }
        }
    };
    if let Some(ended) = lost
        && (source.result.is_err() || destination.result.is_err())
    {
        pump.failure = Some(CallError::secrets_ended(&ended));
    }
    for keep in job.keep {
        keep.release().await;
    }
    let end = finish(source, destination, pump.failure.take());
    // Both workers are dead. Who sees the end recorded may begin the next Sync at once, and a listener that does not
    // listen must not keep the state meanwhile.
    drop(writer);
    // Recorded first: who is told can ask for it.
    let _ = ticket.end(end.clone()).await;
    pump.tell_end(&end).await;
}

/// Returns when secrets of either side are no longer valid.
async fn first_ended(keep: &[Keep]) -> caisson_secrets::Ended {
    match keep {
        [one, other, ..] => tokio::select! {
            ended = one.ended() => ended,
            ended = other.ended() => ended,
        },
        [one] => one.ended().await,
        [] => std::future::pending().await,
    }
}

/// Which side's error is the cause: the first that is not merely the other
/// one's echo.
fn finish(source: Outcome, destination: Outcome, failure: Option<CallError>) -> End {
    let stopped = |outcome: &Outcome| matches!(&outcome.result, Err(error) if error.code == ErrorCode::Cancelled);
    if let Some(error) = failure {
        return End::Failure(error.to_failure());
    }
    let last_checkpoint = destination.last_checkpoint.clone();
    if source.result.is_ok() && destination.result.is_ok() {
        return End::Sync(v1::SyncSummary {
            source: Some(source.stats),
            destination: Some(destination.stats),
            checkpoints: destination.checkpoints,
        });
    }
    let at_fault = match (&source.result, &destination.result) {
        (Err(_), Err(_)) if stopped(&source) && !stopped(&destination) => {
            (destination, "destination")
        }
        (Err(_), _) => (source, "source"),
        _ => (destination, "destination"),
    };
    let (outcome, side) = at_fault;
    let mut failure = match outcome.end() {
        Err(failure) => failure,
        Ok(_) => CallError::new(ErrorCode::Internal, "a sync failed without a cause").to_failure(),
    };
    failure.message = format!("{side}: {}", failure.message);
    // What the destination made durable, not what the source sent.
    failure.last_checkpoint = last_checkpoint;
    End::Failure(failure)
}

struct Pump {
    core: Arc<Core>,
    workspace: Workspace,
    state_key: String,
    call_id: String,
    modes: Streams,
    call: Sequencer,
    listeners: mpsc::Sender<v1::SyncEvent>,
    control: Control,
    /// The way to the destination; dropped when nothing more will come.
    input: Option<mpsc::Sender<Input>>,
    /// What waits for room on that way.
    pending: Option<Input>,
    read: HashMap<String, u64>,
    written: HashMap<String, u64>,
    bytes: HashMap<String, u64>,
    uncommitted: usize,
    failure: Option<CallError>,
}

impl Pump {
    async fn run(
        &mut self,
        mut source: mpsc::Receiver<Emitted>,
        source_ended: oneshot::Receiver<bool>,
        mut destination: mpsc::Receiver<Emitted>,
        stop_source: &CancellationToken,
        stop_destination: &CancellationToken,
    ) {
        let mut source_ended = Some(source_ended);
        let mut settle_until: Option<Instant> = None;
        loop {
            if settle_until.is_some() && self.pending.is_none() && self.uncommitted == 0 {
                stop_destination.cancel();
                settle_until = None;
            }
            let far = Instant::now() + Duration::from_secs(3600);
            // The destination is always listened to, also while it takes no
            // input: each waiting for the other would be for ever.
            tokio::select! {
                permit = reserve(self.input.clone()), if self.pending.is_some() => match permit {
                    Some(permit) => {
                        if let Some(input) = self.pending.take() {
                            let last = matches!(input, Input::End);
                            permit.send(input);
                            if last {
                                self.input = None;
                            }
                        }
                    }
                    // A destination that is gone says why itself.
                    None => {
                        self.pending = None;
                        stop_source.cancel();
                    }
                },
                emitted = source.recv(), if self.pending.is_none() && source_ended.is_some() => match emitted {
                    Some(emitted) => self.take_from_source(emitted).await,
                    None => {
                        let complete = match source_ended.take() {
                            Some(ended) => ended.await.unwrap_or(false),
                            None => false,
                        };
                        if complete {
                            self.pending = Some(Input::End);
                        } else {
                            // What came after the last checkpoint is not wanted: it will be read again.
                            self.input = None;
                            settle_until = Some(Instant::now() + SETTLE);
                        }
                    }
                },
                emitted = timeout_at(settle_until.unwrap_or(far), destination.recv()) => match emitted {
                    Ok(Some(emitted)) => self.take_from_destination(emitted).await,
                    Ok(None) => {
                        stop_source.cancel();
                        // The source ends once nothing of it waits.
                        while source.recv().await.is_some() {}
                        return;
                    }
                    Err(_) => {
                        if settle_until.take().is_some() {
                            stop_destination.cancel();
                        }
                    }
                },
            }
            if self.failure.is_some() {
                stop_source.cancel();
                stop_destination.cancel();
            }
        }
    }

    /// Keeps a source's event for the destination, or tells whoever listens.
    async fn take_from_source(&mut self, emitted: Emitted) {
        let header = emitted.header;
        let input = match emitted.event {
            Event::Schema(schema) => {
                let mode = self
                    .modes
                    .get(&header.stream)
                    .map_or(0, |options| options.write);
                let message = message::Schema {
                    stream: header.stream,
                    schema_id: schema.schema_id,
                    primary_key: schema.primary_key,
                    cursor: schema.cursor,
                    mode: mode_word(mode).to_owned(),
                };
                Input::Schema(message, schema.ipc)
            }
            Event::Batch(batch) => {
                add(
                    self.read.entry(header.stream.clone()).or_default(),
                    batch.records,
                );
                add(
                    self.bytes.entry(header.stream.clone()).or_default(),
                    batch.data.len() as u64,
                );
                let message = message::Batch {
                    stream: header.stream,
                    partition: header.partition,
                    schema_id: batch.schema_id,
                    epoch: header.epoch,
                    sequence: header.sequence,
                    records: batch.records,
                };
                Input::Batch(message, batch.data)
            }
            Event::Checkpoint(checkpoint) => {
                self.uncommitted += 1;
                Input::Checkpoint(checkpoint)
            }
            event => {
                self.tell_side(Side::Source, event).await;
                return;
            }
        };
        self.pending = Some(input);
    }

    async fn take_from_destination(&mut self, emitted: Emitted) {
        let header = emitted.header;
        match emitted.event {
            Event::Committed(committed) => {
                self.uncommitted = self.uncommitted.saturating_sub(1);
                let Some(checkpoint) = committed.checkpoint else {
                    return;
                };
                match self.store(&checkpoint).await {
                    Ok(revision) => {
                        let event = sync_event::Event::Committed(v1::Committed {
                            checkpoint: Some(checkpoint),
                            revision,
                        });
                        self.tell(&header.stream, &header.partition, event).await;
                    }
                    Err(error) => self.failure = Some(error),
                }
            }
            Event::Acknowledged(done) => {
                add(
                    self.written.entry(header.stream.clone()).or_default(),
                    done.records,
                );
                let count =
                    |of: &HashMap<String, u64>| of.get(&header.stream).copied().unwrap_or(0);
                let progress = v1::SyncProgress {
                    records_read: count(&self.read),
                    records_written: count(&self.written),
                    bytes: count(&self.bytes),
                };
                self.tell(
                    &header.stream,
                    &header.partition,
                    sync_event::Event::Progress(progress),
                )
                .await;
            }
            Event::Rejected(rejected) => {
                self.tell(
                    &header.stream,
                    &header.partition,
                    sync_event::Event::Rejected(rejected),
                )
                .await;
            }
            event => self.tell_side(Side::Destination, event).await,
        }
    }

    /// Stores what the destination holds. This call is the key's only writer,
    /// so nobody else's checkpoint is lost.
    async fn store(&self, checkpoint: &v1::Checkpoint) -> Result<u64, CallError> {
        let key = StateKey {
            workspace: self.workspace.to_string(),
            state_key: self.state_key.clone(),
            stream: checkpoint.stream.clone(),
            partition: checkpoint.partition.clone(),
        };
        let new = NewCheckpoint {
            id: checkpoint.id.clone(),
            call_id: self.call_id.clone(),
            format: String::new(),
            state: checkpoint.state.clone(),
            records: checkpoint.records,
            last: checkpoint.r#final,
        };
        match self
            .core
            .checkpoints
            .commit(&key, &new, Expected::Any, Utc::now())
            .await
        {
            Ok(Commit::Committed { revision }) => Ok(revision),
            Ok(Commit::Conflict { .. }) => Err(CallError::new(
                ErrorCode::StateConflict,
                "somebody else moved the checkpoint",
            )),
            Err(error) => Err(crate::serve::checkpoint_error(error)),
        }
    }

    async fn tell_side(&mut self, side: Side, event: Event) {
        let side = side.into();
        let event = match event {
            Event::Log(log) => sync_event::Event::Log(v1::SideLog {
                side,
                log: Some(log),
            }),
            Event::Throttled(throttled) => sync_event::Event::Throttled(v1::SideThrottled {
                side,
                throttled: Some(throttled),
            }),
            Event::Refused(refused) => sync_event::Event::Refused(v1::SideRefused {
                side,
                refused: Some(refused),
            }),
            _ => return,
        };
        self.tell("", "", event).await;
    }

    /// Tells whoever listens. Nobody has to: a Sync outlives its stream.
    async fn tell(&mut self, stream: &str, partition: &str, event: sync_event::Event) {
        let header = self.call.place(stream, partition, Event::Heartbeat).header;
        let event = v1::SyncEvent {
            header: Some(header),
            event: Some(event),
        };
        // A slow listener is waited for, until the call is to stop; one that
        // went away is passed over.
        if let Err(TrySendError::Full(event)) = self.listeners.try_send(event) {
            tokio::select! {
                _ = self.listeners.send(event) => {}
                _ = self.control.stopped() => {}
            }
        }
    }

    async fn tell_end(&mut self, end: &End) {
        let event = match end {
            End::Sync(summary) => sync_event::Event::Summary(summary.clone()),
            End::Failure(failure) => sync_event::Event::Failure(failure.clone()),
            End::Summary(_) => return,
        };
        let header = self.call.place("", "", Event::Heartbeat).header;
        let event = v1::SyncEvent {
            header: Some(header),
            event: Some(event),
        };
        // The end is recorded whether or not it is taken.
        let _ = timeout(LAST_WORD, self.listeners.send(event)).await;
    }
}

/// Room on the way to the destination; `None` once it takes no more.
async fn reserve(input: Option<mpsc::Sender<Input>>) -> Option<mpsc::OwnedPermit<Input>> {
    input?.reserve_owned().await.ok()
}

/// Adds what a worker counted, which may be any number.
fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}
