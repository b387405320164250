//! Runtime: Spec, Test, List, Read, Write, Sync, Commit.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use caisson_proto::v1::runtime_server::Runtime;
use caisson_proto::v1::{self, ErrorCode, read_request, write_request};
use caisson_state::{Commit, Expected, MAX_STATE_BYTES, NewCheckpoint, Scope, StateKey};
use caisson_wire::Opening;
use caisson_wire::message::{self, Operation};
use chrono::Utc;
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::connections::checkpoint_error;
use super::events;
use super::opened::{Opened, attach, ended_at, refuse, refuse_sync};
use crate::call::{
    Begun, Emitted, End, Event, Fed, Prepared, Sequencer, Source, States, Streams, SyncJob, Ticket,
    What, check_opening, encoding, failed_step, feed_from_caller, is_unbounded, prepare,
    read_opening, run_sync, selections, step_before_worker, wire_encoding,
};
use crate::core::{Core, workspace};
use crate::error::CallError;
use crate::usage::unix_ms;
use crate::worker::{Control, Input, Outlet, run};

pub(crate) struct RuntimeService(pub(crate) Arc<Core>);

/// Events between a call and its gRPC stream; each at most 3.5 MiB.
const QUEUE: usize = 4;

type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Runtime for RuntimeService {
    type TestStream = Events<v1::TestEvent>;
    type ListStream = Events<v1::ListEvent>;
    type ReadStream = Events<v1::ReadEvent>;
    type WriteStream = Events<v1::WriteEvent>;
    type SyncStream = Events<v1::SyncEvent>;

    async fn spec(
        &self,
        request: Request<v1::SpecRequest>,
    ) -> Result<Response<v1::SpecResponse>, Status> {
        let request = request.into_inner();
        let options = request.options.unwrap_or_default();
        let path = (!request.path.is_empty()).then_some(std::path::Path::new(&request.path));
        let connector = self
            .0
            .connector(workspace(&options.workspace), &request.connector, path)
            .await?;
        let manifest = &connector.manifest;
        Ok(Response::new(v1::SpecResponse {
            name: manifest.name.clone(),
            version: manifest.version.to_string(),
            title: manifest.title.clone(),
            capabilities: manifest
                .capabilities
                .iter()
                .map(|capability| capability.as_str().to_owned())
                .collect(),
            config_schema_json: manifest.config.to_string(),
            form_json: serde_json::to_string(&manifest.form).unwrap_or_default(),
            egress_json: serde_json::to_string(&manifest.egress).unwrap_or_default(),
            digest: connector.digest.clone().unwrap_or_default(),
        }))
    }

    async fn test(
        &self,
        request: Request<v1::TestRequest>,
    ) -> Result<Response<Self::TestStream>, Status> {
        let opened = Opened::of(&request, request.get_ref().options.clone());
        let bytes = request.get_ref().encode_to_vec();
        let request = request.into_inner();
        let events = self
            .simple("test", Operation::Test, opened, request.connection, bytes)
            .await?;
        Ok(Response::new(Box::pin(events::stream(
            events,
            events::test,
        ))))
    }

    async fn list(
        &self,
        request: Request<v1::ListRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let opened = Opened::of(&request, request.get_ref().options.clone());
        let bytes = request.get_ref().encode_to_vec();
        let request = request.into_inner();
        let events = self
            .simple("list", Operation::List, opened, request.connection, bytes)
            .await?;
        Ok(Response::new(Box::pin(events::stream(
            events,
            events::list,
        ))))
    }

    async fn read(
        &self,
        request: Request<v1::ReadRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let opened = Opened::of(&request, request.get_ref().options.clone());
        let bytes = request.get_ref().encode_to_vec();
        let request = request.into_inner();
        let encoding = encoding(&request.accept)?;
        let source = Source::of(&self.0, opened.workspace(), request.connection.clone()).await?;
        let mut ticket = match self.begin("read", &opened, source.label(), bytes).await? {
            Ok(ticket) => ticket,
            Err(attached) => {
                return Ok(Response::new(Box::pin(events::stream(
                    attached,
                    events::read,
                ))));
            }
        };
        let prepared = self.prepared(&mut ticket, &opened, source, 1).await;
        let (ticket, prepared) = refuse(ticket, prepared)?;
        let start = prepared.start(&ticket.live.call_id, Operation::Read);
        let opening = self
            .read_opening(&prepared, start, &request, encoding)
            .await;
        let (ticket, opening) = refuse(ticket, opening)?;
        let events = self.launch(ticket, &opened, prepared, opening, None, encoding);
        Ok(Response::new(Box::pin(events::stream(
            events,
            events::read,
        ))))
    }

    async fn write(
        &self,
        request: Request<Streaming<v1::WriteRequest>>,
    ) -> Result<Response<Self::WriteStream>, Status> {
        let mut opened = Opened::of(&request, None);
        let mut requests = request.into_inner();
        let first = requests.message().await?.and_then(|first| first.message);
        let Some(write_request::Message::Start(start)) = first else {
            return Err(CallError::new(
                ErrorCode::ConfigInvalid,
                "the first message of a Write is no WriteStart",
            )
            .into());
        };
        opened.options = start.options.clone().unwrap_or_default();
        let encoding = encoding(&[start.encoding])?;
        let source = Source::of(&self.0, opened.workspace(), start.connection.clone()).await?;
        let mut ticket = match self
            .begin("write", &opened, source.label(), start.encode_to_vec())
            .await?
        {
            Ok(ticket) => ticket,
            Err(attached) => {
                return Ok(Response::new(Box::pin(events::stream(
                    attached,
                    events::write,
                ))));
            }
        };
        let prepared = self.prepared(&mut ticket, &opened, source, 1).await;
        let (ticket, prepared) = refuse(ticket, prepared)?;
        let mut start = prepared.start(&ticket.live.call_id, Operation::Write);
        start.encoding = wire_encoding(encoding).into();
        let (input, worker_input) = mpsc::channel(QUEUE);
        let (modes, cancel) = (
            prepared.connection.streams.clone(),
            ticket.live.cancel.clone(),
        );
        let wrong = Arc::new(std::sync::Mutex::new(None));
        let found = wrong.clone();
        tokio::spawn(async move {
            match feed_from_caller(requests, modes, input).await {
                Fed::Complete | Fed::Unwanted => {}
                Fed::Broken => cancel.cancel(),
                Fed::Invalid(error) => {
                    if let Ok(mut found) = found.lock() {
                        *found = Some(error);
                    }
                    cancel.cancel();
                }
            }
        });
        let input = CallInput {
            receiver: worker_input,
            wrong,
        };
        let opening = Opening::of(start);
        let events = self.launch(ticket, &opened, prepared, opening, Some(input), encoding);
        Ok(Response::new(Box::pin(events::stream(
            events,
            events::write,
        ))))
    }

    async fn sync(
        &self,
        request: Request<v1::SyncRequest>,
    ) -> Result<Response<Self::SyncStream>, Status> {
        let opened = Opened::of(&request, request.get_ref().options.clone());
        let bytes = request.get_ref().encode_to_vec();
        let request = request.into_inner();
        let workspace = opened.workspace().to_owned();
        let source = Source::of(&self.0, &workspace, request.source.clone()).await?;
        let destination = Source::of(&self.0, &workspace, request.destination.clone()).await?;
        if request.from() == read_request::From::Checkpoint {
            return Err(CallError::new(
                ErrorCode::ConfigInvalid,
                "a Sync reads from its stored checkpoints or from the beginning",
            )
            .with_action("commit the checkpoint under the sync's state_key, then read from stored")
            .into());
        }
        let state_key = match request.state_key.as_str() {
            // Two connections without names would share one state, and one of
            // them would skip what only the other had read.
            "" if source.state_key.is_empty() || destination.state_key.is_empty() => {
                return Err(CallError::new(
                    ErrorCode::ConfigInvalid,
                    "nothing names the state of this sync",
                )
                .with_action("give state_key, or use stored connections")
                .into());
            }
            "" => format!("{}->{}", source.state_key, destination.state_key),
            key => key.to_owned(),
        };
        let ticket = match self
            .begin("sync", &opened, state_key.clone(), bytes)
            .await?
        {
            Ok(ticket) => ticket,
            Err(attached) => return Ok(Response::new(Box::pin(attached_sync(attached)))),
        };
        let (ticket, job) = refuse_sync(
            self.sync_job(
                ticket,
                &opened,
                &workspace,
                &state_key,
                source,
                destination,
                &request,
            )
            .await,
        )?;
        let (job, control, guard) = job;
        let (sender, receiver) = mpsc::channel(64);
        let core = self.0.clone();
        tokio::spawn(async move {
            let _guard = guard;
            let started = v1::Started {
                call_id: job.call_id.clone(),
                connector: job.state_key.clone(),
                ..Default::default()
            };
            let header = Sequencer::new(&job.call_id, job.epoch)
                .place("", "", Event::Heartbeat)
                .header;
            // Nobody has to listen.
            let _ = sender
                .send(v1::SyncEvent {
                    header: Some(header),
                    event: Some(v1::sync_event::Event::Started(started)),
                })
                .await;
            let end = run_sync(core, job, ticket.live.clone(), control, sender).await;
            ticket.end(end);
        });
        Ok(Response::new(Box::pin(
            tokio_stream::wrappers::ReceiverStream::new(receiver).map(Ok),
        )))
    }

    async fn commit(
        &self,
        request: Request<v1::CommitRequest>,
    ) -> Result<Response<v1::CommitResponse>, Status> {
        let request = request.into_inner();
        let checkpoint = request.checkpoint.unwrap_or_default();
        if request.state_key.is_empty() || checkpoint.stream.is_empty() {
            return Err(CallError::new(
                ErrorCode::ConfigInvalid,
                "state_key and checkpoint.stream say whose state it is",
            )
            .into());
        }
        let workspace = workspace(&request.workspace);
        let scope = Scope {
            workspace: workspace.to_owned(),
            state_key: request.state_key.clone(),
            stream: Some(checkpoint.stream.clone()),
            partition: Some(checkpoint.partition.clone()),
        };
        let _guard = self
            .0
            .writers
            .acquire(vec![scope], "commit")
            .map_err(held)?;
        let key = StateKey {
            workspace: workspace.to_owned(),
            state_key: request.state_key,
            stream: checkpoint.stream,
            partition: checkpoint.partition,
        };
        let new = NewCheckpoint {
            id: checkpoint.id,
            call_id: String::new(),
            format: String::new(),
            state: checkpoint.state,
            records: checkpoint.records,
            last: checkpoint.r#final,
        };
        let expected = match (request.force, request.expected_revision) {
            (true, _) => Expected::Any,
            (false, 0) => Expected::Absent,
            (false, revision) => Expected::Revision(revision),
        };
        match self
            .0
            .checkpoints
            .commit(&key, &new, expected, Utc::now())
            .await
            .map_err(checkpoint_error)?
        {
            Commit::Committed { revision } => Ok(Response::new(v1::CommitResponse { revision })),
            Commit::Conflict { current } => {
                let there = current.map_or("there is none".to_owned(), |current| {
                    format!(
                        "it is at revision {} (call {})",
                        current.revision, current.checkpoint.call_id
                    )
                });
                let message = format!("the stored checkpoint is not the expected one: {there}");
                Err(CallError::new(ErrorCode::StateConflict, message).into())
            }
        }
    }
}

/// A Write's input, and what was wrong with it, if anything.
struct CallInput {
    receiver: mpsc::Receiver<Input>,
    wrong: Arc<std::sync::Mutex<Option<CallError>>>,
}

impl RuntimeService {
    /// Test and List: no input, no streams.
    async fn simple(
        &self,
        kind: &'static str,
        operation: Operation,
        opened: Opened,
        connection: Option<v1::ConnectionRef>,
        request: Vec<u8>,
    ) -> Result<mpsc::Receiver<Emitted>, Status> {
        let source = Source::of(&self.0, opened.workspace(), connection).await?;
        let mut ticket = match self.begin(kind, &opened, source.label(), request).await? {
            Ok(ticket) => ticket,
            Err(attached) => return Ok(attached),
        };
        let prepared = self.prepared(&mut ticket, &opened, source, 1).await;
        if let Err(error) = &prepared
            && operation == Operation::Test
            && let Some(step) = step_before_worker(error)
        {
            return Ok(ended_at(ticket, step, error));
        }
        let (ticket, prepared) = refuse(ticket, prepared)?;
        let start = prepared.start(&ticket.live.call_id, operation);
        Ok(self.launch(
            ticket,
            &opened,
            prepared,
            Opening::of(start),
            None,
            v1::Encoding::Unspecified,
        ))
    }

    /// A new call's ticket, or the events of the call that request_id names.
    async fn begin(
        &self,
        kind: &'static str,
        opened: &Opened,
        connection: String,
        request: Vec<u8>,
    ) -> Result<Result<Ticket, mpsc::Receiver<Emitted>>, Status> {
        let what = What {
            kind,
            workspace: opened.workspace(),
            request_id: &opened.options.request_id,
            connection,
            request,
        };
        Ok(match self.0.calls.begin(&opened.caller, what).await? {
            Begun::New(ticket) => Ok(ticket),
            Begun::Running(live) => Err(attach(live.call_id.clone(), Some(live), None)),
            Begun::Ended(call_id, end) => Err(attach(call_id, None, Some(*end))),
        })
    }

    async fn prepared(
        &self,
        ticket: &mut Ticket,
        opened: &Opened,
        source: Source,
        workers: u32,
    ) -> Result<Prepared, CallError> {
        let prepared = prepare(&self.0, opened.workspace(), &ticket.live.call_id, source).await?;
        self.0.calls.named(&ticket.live.call_id, &prepared.pin());
        ticket
            .admit(&opened.caller, workers, opened.deadline())
            .await?;
        Ok(prepared)
    }

    /// What a Read's worker is told, its states among it.
    async fn read_opening(
        &self,
        prepared: &Prepared,
        start: message::Start,
        request: &v1::ReadRequest,
        encoding: v1::Encoding,
    ) -> Result<Opening, CallError> {
        let streams = &prepared.connection.streams;
        let selections = selections(&request.streams, streams);
        let states = self
            .states(prepared, request.from(), &request.checkpoints, &selections)
            .await?;
        let limit = request.max_records;
        let opening = read_opening(start, &selections, streams, &states, encoding, limit);
        check_opening(&opening, prepared.limits.memory_bytes)?;
        Ok(opening)
    }

    /// The states that a Read resumes from.
    async fn states(
        &self,
        prepared: &Prepared,
        from: read_request::From,
        given: &[v1::Checkpoint],
        selections: &[v1::StreamSelection],
    ) -> Result<States, CallError> {
        match from {
            read_request::From::Beginning => Ok(States::new()),
            read_request::From::Checkpoint => {
                if let Some(large) = given
                    .iter()
                    .find(|checkpoint| checkpoint.state.len() > MAX_STATE_BYTES)
                {
                    let message = format!(
                        "the checkpoint of stream `{}` has {} bytes, more than {MAX_STATE_BYTES}",
                        large.stream,
                        large.state.len()
                    );
                    return Err(CallError::new(ErrorCode::ConfigInvalid, message)
                        .with_action("send a checkpoint as a Read gave it"));
                }
                Ok(given.iter().map(state_of).collect())
            }
            read_request::From::Stored if prepared.state_key.is_empty() => Err(CallError::new(
                ErrorCode::ConfigInvalid,
                "FROM_STORED needs the state_key of an inline connection",
            )
            .with_action("give connection.inline.state_key, or use a stored connection")),
            _ if prepared.state_key.is_empty() => Ok(States::new()),
            _ => {
                let memory = prepared.limits.memory_bytes;
                self.0
                    .stored_states(&prepared.workspace, &prepared.state_key, selections, memory)
                    .await
            }
        }
    }

    /// Starts the worker's task; its events come out of the receiver.
    fn launch(
        &self,
        ticket: Ticket,
        opened: &Opened,
        prepared: Prepared,
        opening: Opening,
        input: Option<CallInput>,
        encoding: v1::Encoding,
    ) -> mpsc::Receiver<Emitted> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let core = self.0.clone();
        let control = opened.control(&ticket, prepared.duration);
        tokio::spawn(async move {
            let call_id = ticket.live.call_id.clone();
            let operation = opening.start.operation();
            let unbounded = is_unbounded(&opening);
            let job = prepared.job(&core, &call_id, opening, unbounded);
            let mut sequencer = Sequencer::new(&call_id, unix_ms());
            let started = v1::Started {
                call_id,
                connector: prepared.pin(),
                encoding: encoding.into(),
                attached: false,
            };
            let first = sequencer.place("", "", Event::Started(started));
            // A caller that is gone already ends the call in the same way as one that goes later.
            let _ = sender.send(first).await;
            let tested = operation == Operation::Test;
            if tested {
                for step in prepared.steps() {
                    // As above.
                    let _ = sender
                        .send(sequencer.place("", "", Event::Step(step)))
                        .await;
                }
            }
            let mut last = sequencer.place("", "", Event::Heartbeat);
            let (input, wrong) = input.map_or((None, None), |input| {
                (Some(input.receiver), Some(input.wrong))
            });
            let outlet = Outlet::new(sender.clone(), sequencer, true);
            let mut outcome = run(&core.host, job, input, outlet, &control, |pid| {
                ticket.live.set_pid(0, pid)
            })
            .await;
            let wrong =
                wrong.and_then(|wrong| wrong.lock().ok().and_then(|mut wrong| wrong.take()));
            if let (Some(error), Err(_)) = (wrong, &outcome.result) {
                outcome.result = Err(error);
            }
            prepared.secrets.revoke().await;
            let failed = outcome.result.as_ref().err();
            let step = failed
                .and_then(|error| failed_step(error.code, &error.message, &outcome.failed_steps));
            if let Some(step) = step.filter(|_| tested) {
                last.event = Event::Step(step);
                // As above.
                let _ = sender.send(last.clone()).await;
            }
            let (end, event) = match outcome.end() {
                Ok(summary) => (End::Summary(summary.clone()), Event::Summary(summary)),
                Err(failure) => (End::Failure(failure.clone()), Event::Failure(failure)),
            };
            last.event = event;
            last.header.time = Some(std::time::SystemTime::now().into());
            ticket.end(end);
            // As above: who is gone is not told.
            let _ = sender.send(last).await;
        });
        receiver
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "both sides of a sync are prepared at once"
    )]
    async fn sync_job(
        &self,
        mut ticket: Ticket,
        opened: &Opened,
        workspace: &str,
        state_key: &str,
        source: Source,
        destination: Source,
        request: &v1::SyncRequest,
    ) -> Result<(Ticket, (SyncJob, Control, caisson_state::WriterGuard)), (Ticket, CallError)> {
        let call_id = ticket.live.call_id.clone();
        let result = async {
            let source = prepare(&self.0, workspace, &call_id, source)
                .await
                .map_err(|error| error.of_side("source"))?;
            let destination = prepare(&self.0, workspace, &call_id, destination)
                .await
                .map_err(|error| error.of_side("destination"))?;
            let scope = Scope {
                workspace: workspace.to_owned(),
                state_key: state_key.to_owned(),
                stream: None,
                partition: None,
            };
            let guard = self
                .0
                .writers
                .acquire(vec![scope], &call_id)
                .map_err(held)?;
            self.0.calls.named(
                &call_id,
                &format!("{} -> {}", source.pin(), destination.pin()),
            );
            ticket.admit(&opened.caller, 2, opened.deadline()).await?;
            let streams = &source.connection.streams;
            let selections = selections(&request.streams, streams);
            let memory = source.limits.memory_bytes;
            let states = match request.from() {
                read_request::From::Beginning => States::new(),
                _ => {
                    self.0
                        .stored_states(workspace, state_key, &selections, memory)
                        .await?
                }
            };
            let encoding = v1::Encoding::ArrowIpc;
            let start = source.start(&call_id, Operation::Read);
            let opening = read_opening(start, &selections, streams, &states, encoding, 0);
            check_opening(&opening, memory)?;
            let unbounded = is_unbounded(&opening);
            let mut write = destination.start(&call_id, Operation::Write);
            write.encoding = wire_encoding(encoding).into();
            let duration = source.duration.min(destination.duration);
            let control = opened.control(&ticket, duration);
            let modes = write_modes(&source.connection.streams, &destination.connection.streams);
            let job = SyncJob {
                workspace: workspace.to_owned(),
                state_key: state_key.to_owned(),
                epoch: unix_ms(),
                source: source.job(&self.0, &call_id, opening, unbounded),
                // A destination that waits for its source says so; silence is a stall.
                destination: destination.job(&self.0, &call_id, Opening::of(write), false),
                call_id: call_id.clone(),
                modes,
                keep: vec![source.into_keep(), destination.into_keep()],
            };
            Ok((job, control, guard))
        }
        .await;
        match result {
            Ok(job) => Ok((ticket, job)),
            Err(error) => Err((ticket, error)),
        }
    }
}

fn held(error: caisson_state::Held) -> CallError {
    CallError::new(ErrorCode::StateConflict, error.to_string())
}

/// How each stream is written: as the destination's connection says, else as
/// the source's does.
fn write_modes(source: &Streams, destination: &Streams) -> Streams {
    let mut modes = source.clone();
    for (name, options) in destination {
        let mode = modes.entry(name.clone()).or_default();
        if options.write != 0 {
            mode.write = options.write;
        }
    }
    modes
}

fn state_of(checkpoint: &v1::Checkpoint) -> ((String, String), Bytes) {
    (
        (checkpoint.stream.clone(), checkpoint.partition.clone()),
        checkpoint.state.clone().into(),
    )
}

fn attached_sync(
    events: mpsc::Receiver<Emitted>,
) -> impl Stream<Item = Result<v1::SyncEvent, Status>> {
    events::stream(events, events::sync)
}
