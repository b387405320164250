//! Read: records out of a source.

use std::sync::Arc;

use bytes::Bytes;
use caisson_proto::v1::{self, ErrorCode, read_request};
use caisson_state::MAX_STATE_BYTES;
use caisson_wire::Opening;
use caisson_wire::message::{self, Operation};
use prost::Message;
use tonic::{Request, Status};

use super::begin::{begin, prepared};
use super::launch::launch;
use crate::call::{
    Listening, Prepared, Source, States, check_opening, encoding, read_opening, selections,
};
use crate::core::Core;
use crate::error::CallError;
use crate::identity::caller;
use crate::serve::opened::{Opened, refuse};

/// Begins a Read; its events come out of the receiver.
pub(super) async fn read(
    core: &Arc<Core>,
    request: Request<v1::ReadRequest>,
) -> Result<Listening, Status> {
    let bytes = request.get_ref().encode_to_vec();
    let options = request.get_ref().options.clone();
    let opened = Opened::of(caller(&request), request.metadata(), options)?;
    let request = request.into_inner();
    let encoding = encoding(&request.accept)?;
    let source = Source::of(
        core,
        &opened.caller,
        &opened.workspace,
        request.connection.clone(),
    )
    .await?;
    let mut ticket = match begin(core, "read", &opened, source.label(), bytes).await? {
        Ok(ticket) => ticket,
        Err(attached) => return Ok(attached),
    };
    let prepared = prepared(core, &mut ticket, &opened, source, 1).await;
    let (ticket, prepared) = refuse(ticket, prepared).await?;
    let start = prepared.start(&ticket.live.call_id, Operation::Read);
    let opening = opening(core, &prepared, start, &request, encoding).await;
    let (ticket, opening) = refuse(ticket, opening).await?;
    Ok(launch(
        core, ticket, &opened, prepared, opening, None, encoding,
    ))
}

/// What a Read's worker is told, its states among it.
async fn opening(
    core: &Core,
    prepared: &Prepared,
    start: message::Start,
    request: &v1::ReadRequest,
    encoding: v1::Encoding,
) -> Result<Opening, CallError> {
    let streams = &prepared.connection.streams;
    let selections = selections(&request.streams, streams);
    let states = states(core, prepared, request, &selections).await?;
    let limit = request.max_records;
    let opening = read_opening(start, &selections, streams, &states, encoding, limit);
    check_opening(&opening, prepared.limits.memory_bytes)?;
    Ok(opening)
}

/// The states that a Read resumes from.
async fn states(
    core: &Core,
    prepared: &Prepared,
    request: &v1::ReadRequest,
    selections: &[v1::StreamSelection],
) -> Result<States, CallError> {
    let given = &request.checkpoints;
    match request.from() {
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
            core.stored_states(&prepared.workspace, &prepared.state_key, selections, memory)
                .await
        }
    }
}

fn state_of(checkpoint: &v1::Checkpoint) -> ((String, String), Bytes) {
    (
        (checkpoint.stream.clone(), checkpoint.partition.clone()),
        checkpoint.state.clone().into(),
    )
}
