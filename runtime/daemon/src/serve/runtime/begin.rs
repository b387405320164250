//! How a call begins: its record, what it runs, its slot.

use caisson_proto::v1::ErrorCode;
use tonic::Status;

use crate::call::{Begun, Listening, Prepared, Source, Ticket, What, prepare};
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
) -> Result<Result<Ticket, Listening>, Status> {
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

/// A slot for a call's workers, then everything that is decided before they
/// exist: by the policies of that moment, and with secrets that nobody waits
/// with.
pub(super) async fn prepared(
    core: &Core,
    ticket: &mut Ticket,
    opened: &Opened,
    source: Source,
    workers: u32,
) -> Result<Prepared, CallError> {
    admit(core, ticket, opened, &[&source], workers).await?;
    let call_id = ticket.live.call_id.clone();
    let preparing = async {
        let prepared = prepare(core, &opened.workspace, &call_id, source).await?;
        Ok::<_, CallError>(Unused(Some(prepared)))
    };
    let (prepared, recorded) = tokio::join!(preparing, ticket.recorded());
    let mut unused = prepared?;
    recorded?;
    let Some(prepared) = unused.0.take() else {
        unreachable!("it was put there")
    };
    core.calls.named(&ticket.live.call_id, &prepared.pin());
    Ok(prepared)
}

/// What was prepared for a call that may not come to run: its caller may leave. Then its secrets are given back.
struct Unused(Option<Prepared>);

impl Drop for Unused {
    fn drop(&mut self) {
        if let Some(prepared) = self.0.take() {
            tokio::spawn(async move { prepared.secrets.close().await });
        }
    }
}

/// Slots for a call. What could never run is refused before it waits for them.
pub(super) async fn admit(
    core: &Core,
    ticket: &mut Ticket,
    opened: &Opened,
    sources: &[&Source],
    workers: u32,
) -> Result<(), CallError> {
    if ticket.admit_at_once(&opened.caller, workers) {
        return Ok(());
    }
    for source in sources {
        core.check_connection(&opened.workspace, source).await?;
    }
    ticket
        .admit(&opened.caller, workers, opened.deadline())
        .await
}

/// Another call holds the state.
pub(super) fn held(error: caisson_state::Held) -> CallError {
    CallError::new(ErrorCode::StateConflict, error.to_string())
}
