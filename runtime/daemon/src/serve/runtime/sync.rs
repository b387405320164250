//! Sync: read into write inside the daemon.

use std::sync::Arc;

use caisson_proto::v1::{self, ErrorCode, read_request};
use caisson_state::{Scope, WriterGuard};
use caisson_wire::Opening;
use caisson_wire::message::Operation;
use prost::Message;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use super::Events;
use super::begin::{admit, begin, held};
use crate::call::{
    Event, Sequencer, Source, States, Streams, SyncJob, Ticket, check_name, check_opening,
    is_unbounded, joined, prepare, read_opening, run_sync, selections, wire_encoding,
};
use crate::core::Core;
use crate::error::CallError;
use crate::identity::caller;
use crate::serve::events;
use crate::serve::opened::{Opened, refuse};
use crate::usage::unix_ms;
use crate::worker::Control;

/// Begins a Sync and runs it to its end, whoever listens.
pub(super) async fn sync(
    core: &Arc<Core>,
    request: Request<v1::SyncRequest>,
) -> Result<Events<v1::SyncEvent>, Status> {
    let bytes = request.get_ref().encode_to_vec();
    let options = request.get_ref().options.clone();
    let opened = Opened::of(caller(&request), request.metadata(), options)?.detached();
    let request = request.into_inner();
    let source = Source::of(
        core,
        &opened.caller,
        &opened.workspace,
        request.source.clone(),
    )
    .await?;
    let destination = Source::of(
        core,
        &opened.caller,
        &opened.workspace,
        request.destination.clone(),
    )
    .await?;
    if request.from() == read_request::From::Checkpoint {
        return Err(CallError::new(
            ErrorCode::ConfigInvalid,
            "a Sync reads from its stored checkpoints or from the beginning",
        )
        .with_action("commit the checkpoint under the sync's state_key, then read from stored")
        .into());
    }
    let state_key = match request.state_key.as_str() {
        "" => joined(&source.state_key, &destination.state_key)?,
        key => {
            check_name("state_key", key)?;
            key.to_owned()
        }
    };
    // From here on nobody has to wait: the call goes on whoever leaves.
    let (accepted, answer) = oneshot::channel();
    let asked = Asked {
        opened,
        request,
        bytes,
        state_key,
        source,
        destination,
    };
    tokio::spawn(carry(core.clone(), asked, accepted));
    answer.await.unwrap_or_else(|_| {
        let error = CallError::internal("the call", "its task ended without a word");
        Err(error.into())
    })
}

/// One Sync as it was asked for.
struct Asked {
    opened: Opened,
    request: v1::SyncRequest,
    bytes: Vec<u8>,
    state_key: String,
    source: Source,
    destination: Source,
}

/// A Sync from its record to its end. `accepted` tells its caller once it was
/// admitted or refused.
async fn carry(
    core: Arc<Core>,
    asked: Asked,
    accepted: oneshot::Sender<Result<Events<v1::SyncEvent>, Status>>,
) {
    // A caller that left is not told, here and below.
    let (opened, label) = (&asked.opened, asked.state_key.clone());
    let mut ticket = match begin(&core, "sync", opened, label, asked.bytes.clone()).await {
        Ok(Ok(ticket)) => ticket,
        Ok(Err(attached)) => {
            let events: Events<_> = Box::pin(events::stream(attached, events::sync));
            let _ = accepted.send(Ok(events));
            return;
        }
        Err(status) => {
            let _ = accepted.send(Err(status));
            return;
        }
    };
    let admitted = admitted(&core, &mut ticket, asked).await;
    let (ticket, admitted) = match refuse(ticket, admitted).await {
        Ok(admitted) => admitted,
        Err(status) => {
            let _ = accepted.send(Err(status));
            return;
        }
    };
    let (sender, receiver) = mpsc::channel(64);
    let _ = accepted.send(Ok(Box::pin(ReceiverStream::new(receiver).map(Ok))));
    let Admittance {
        job,
        control,
        guard,
    } = admitted;
    let started = v1::Started {
        call_id: job.call_id.clone(),
        connector: job.state_key.clone(),
        ..Default::default()
    };
    let header = Sequencer::new(&job.call_id, job.epoch)
        .place("", "", Event::Heartbeat)
        .header;
    let started = v1::SyncEvent {
        header: Some(header),
        event: Some(v1::sync_event::Event::Started(started)),
    };
    // Nobody has to listen.
    let _ = sender.send(started).await;
    run_sync(core, job, ticket, guard, control, sender).await;
}

/// A Sync that may run, and its hold on the state.
struct Admittance {
    job: SyncJob,
    control: Control,
    guard: WriterGuard,
}

/// Everything that is decided before the workers exist, and slots for both.
async fn admitted(core: &Core, ticket: &mut Ticket, asked: Asked) -> Result<Admittance, CallError> {
    let Asked {
        opened,
        request,
        state_key,
        source,
        destination,
        ..
    } = asked;
    let workspace = &opened.workspace;
    let call_id = ticket.live.call_id.clone();
    admit(core, ticket, &opened, &[&source, &destination], 2).await?;
    ticket.recorded().await?;
    let source = prepare(core, workspace, &call_id, source)
        .await
        .map_err(|error| error.of_side("source"))?;
    let destination = prepare(core, workspace, &call_id, destination)
        .await
        .map_err(|error| error.of_side("destination"))?;
    let scope = Scope {
        workspace: workspace.to_string(),
        state_key: state_key.clone(),
        stream: None,
        partition: None,
    };
    let guard = core.writers.acquire(vec![scope], &call_id).map_err(held)?;
    let pins = format!("{} -> {}", source.pin(), destination.pin());
    core.calls.named(&call_id, &pins);
    let streams = &source.connection.streams;
    let selections = selections(&request.streams, streams);
    let memory = source.limits.memory_bytes;
    let states = match request.from() {
        read_request::From::Beginning => States::new(),
        _ => {
            core.stored_states(workspace, &state_key, &selections, memory)
                .await?
        }
    };
    let encoding = v1::Encoding::ArrowIpc;
    let start = source.start(&call_id, Operation::Read);
    let opening = read_opening(start, &selections, streams, &states, encoding, 0);
    check_opening(&opening, memory)?;
    let unbounded = is_unbounded(&opening, &source.connector.form.manifest);
    let mut write = destination.start(&call_id, Operation::Write);
    write.encoding = wire_encoding(encoding).into();
    let duration = source.duration.min(destination.duration);
    let control = opened.control(ticket, duration);
    let modes = write_modes(&source.connection.streams, &destination.connection.streams);
    let job = SyncJob {
        workspace: workspace.clone(),
        state_key,
        epoch: unix_ms(),
        source: source.job(core, &call_id, opening, unbounded),
        // A destination that waits for its source says so; silence is a stall.
        destination: destination.job(core, &call_id, Opening::of(write), false),
        call_id,
        modes,
        keep: vec![source.into_keep(), destination.into_keep()],
    };
    Ok(Admittance {
        job,
        control,
        guard,
    })
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
