//! Write: records into a destination.

use std::sync::{Arc, Mutex};

use caisson_proto::v1::{self, ErrorCode, write_request};
use caisson_wire::Opening;
use caisson_wire::message::Operation;
use prost::Message;
use tokio::sync::mpsc;
use tonic::{Request, Status, Streaming};

use super::QUEUE;
use super::begin::{begin, prepared};
use super::launch::{CallInput, launch};
use crate::call::{Fed, Listening, Source, encoding, feed_from_caller, wire_encoding};
use crate::core::Core;
use crate::error::CallError;
use crate::identity::caller;
use crate::serve::opened::{Opened, refuse};

/// Begins a Write; its events come out of the receiver.
pub(super) async fn write(
    core: &Arc<Core>,
    request: Request<Streaming<v1::WriteRequest>>,
) -> Result<Listening, Status> {
    let (caller, metadata) = (caller(&request), request.metadata().clone());
    let mut requests = request.into_inner();
    let first = requests.message().await?.and_then(|first| first.message);
    let Some(write_request::Message::Start(start)) = first else {
        return Err(CallError::new(
            ErrorCode::ConfigInvalid,
            "the first message of a Write is no WriteStart",
        )
        .into());
    };
    let opened = Opened::of(caller, &metadata, start.options.clone())?;
    let encoding = encoding(&[start.encoding])?;
    let source = Source::of(
        core,
        &opened.caller,
        &opened.workspace,
        start.connection.clone(),
    )
    .await?;
    let mut ticket = match begin(
        core,
        "write",
        &opened,
        source.label(),
        start.encode_to_vec(),
    )
    .await?
    {
        Ok(ticket) => ticket,
        Err(attached) => return Ok(attached),
    };
    let prepared = prepared(core, &mut ticket, &opened, source, 1).await;
    let (ticket, prepared) = refuse(ticket, prepared).await?;
    let mut start = prepared.start(&ticket.live.call_id, Operation::Write);
    start.encoding = wire_encoding(encoding).into();
    let (input, worker_input) = mpsc::channel(QUEUE);
    let (modes, cancel) = (
        prepared.connection.streams.clone(),
        ticket.live.cancel.clone(),
    );
    let wrong = Arc::new(Mutex::new(None));
    let found = wrong.clone();
    tokio::spawn(async move {
        match feed_from_caller(requests, modes, input).await {
            Fed::Complete | Fed::Unwanted => {}
            Fed::Broken => cancel.cancel(),
            Fed::Invalid(error) => {
                if let Ok(mut found) = found.lock() {
                    *found = Some(*error);
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
    Ok(launch(
        core,
        ticket,
        &opened,
        prepared,
        opening,
        Some(input),
        encoding,
    ))
}
