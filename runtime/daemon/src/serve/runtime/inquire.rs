//! Test and List: no input, no streams.

use std::sync::Arc;

use caisson_proto::v1;
use caisson_wire::Opening;
use caisson_wire::message::Operation;
use prost::Message;
use tonic::{Request, Status};

use super::begin::{begin, prepared};
use super::launch::launch;
use crate::call::{Listening, Source, step_before_worker};
use crate::core::Core;
use crate::identity::caller;
use crate::serve::opened::{Opened, ended_at, refuse};

/// Who asks, and with which bytes.
pub(super) struct Asked {
    opened: Opened,
    request: Vec<u8>,
}

impl Asked {
    pub(super) fn of<T: Message>(
        request: &Request<T>,
        options: Option<v1::CallOptions>,
    ) -> Result<Self, Status> {
        Ok(Self {
            opened: Opened::of(caller(request), request.metadata(), options)?,
            request: request.get_ref().encode_to_vec(),
        })
    }
}

/// Begins the call; its events come out of the receiver.
pub(super) async fn inquire(
    core: &Arc<Core>,
    kind: &'static str,
    operation: Operation,
    asked: Asked,
    connection: Option<v1::ConnectionRef>,
) -> Result<Listening, Status> {
    let Asked { opened, request } = asked;
    let source = Source::of(core, &opened.caller, &opened.workspace, connection).await?;
    let mut ticket = match begin(core, kind, &opened, source.label(), request).await? {
        Ok(ticket) => ticket,
        Err(attached) => return Ok(attached),
    };
    let prepared = prepared(core, &mut ticket, &opened, source, 1).await;
    if let Err(error) = &prepared
        && operation == Operation::Test
        && let Some(step) = step_before_worker(error)
    {
        return Ok(ended_at(ticket, step, error).await);
    }
    let (ticket, prepared) = refuse(ticket, prepared).await?;
    let opening = Opening::of(prepared.start(&ticket.live.call_id, operation));
    let encoding = v1::Encoding::Unspecified;
    Ok(launch(
        core, ticket, &opened, prepared, opening, None, encoding,
    ))
}
