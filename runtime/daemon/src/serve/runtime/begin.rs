//! How a call begins: its record, what it runs, its slot.

use caisson_proto::v1::ErrorCode;
use tokio::sync::mpsc;
use tonic::Status;

use crate::call::{Begun, Emitted, Prepared, Source, Ticket, What, prepare};
use crate::core::Core;
use crate::error::CallError;
use crate::serve::opened::{Opened, attach};

/// A new call's ticket, or the events of the call that request_id names.
pub(super) async fn begin(
    core: &Core,
    kind: &'static str,
    opened: &Opened,
    connection: String,
    request: Vec<u8>,
) -> Result<Result<Ticket, mpsc::Receiver<Emitted>>, Status> {
    let what = What {
        kind,
        workspace: &opened.workspace,
        request_id: &opened.options.request_id,
        connection,
        request,
    };
    Ok(match core.calls.begin(&opened.caller, what).await? {
        Begun::New(ticket) => Ok(ticket),
        Begun::Running(live) => Err(attach(live.call_id.clone(), Some(live), None)),
        Begun::Ended(call_id, end) => Err(attach(call_id, None, Some(*end))),
    })
}

/// Everything that is decided before a worker exists, and a slot for it.
pub(super) async fn prepared(
    core: &Core,
    ticket: &mut Ticket,
    opened: &Opened,
    source: Source,
    workers: u32,
) -> Result<Prepared, CallError> {
    let prepared = prepare(core, &opened.workspace, &ticket.live.call_id, source).await?;
    core.calls.named(&ticket.live.call_id, &prepared.pin());
    ticket
        .admit(&opened.caller, workers, opened.deadline())
        .await?;
    Ok(prepared)
}

/// Another call holds the state.
pub(super) fn held(error: caisson_state::Held) -> CallError {
    CallError::new(ErrorCode::StateConflict, error.to_string())
}
