//! Starts the worker of a Test, List, Read or Write.

use std::sync::{Arc, Mutex};

use caisson_proto::v1;
use caisson_secrets::Leases;
use caisson_wire::Opening;
use caisson_wire::message::Operation;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::QUEUE;
use crate::call::{End, Event, Listening, Prepared, Sequencer, Ticket, failed_step, is_unbounded};
use crate::core::Core;
use crate::error::CallError;
use crate::serve::opened::Opened;
use crate::usage::unix_ms;
use crate::worker::{Control, Input, Outcome, Outlet, run};

/// A Write's input, and what was wrong with it, if anything.
pub(super) struct CallInput {
    pub(super) receiver: mpsc::Receiver<Input>,
    pub(super) wrong: Arc<Mutex<Option<CallError>>>,
}

/// Starts the worker's task; its events come out of the receiver.
pub(super) fn launch(
    core: &Arc<Core>,
    ticket: Ticket,
    opened: &Opened,
    prepared: Prepared,
    opening: Opening,
    input: Option<CallInput>,
    encoding: v1::Encoding,
) -> Listening {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let listening = Listening::from(receiver);
    let line = listening.line();
    let core = core.clone();
    let control = opened.control(&ticket, prepared.duration);
    tokio::spawn(async move {
        let call_id = ticket.live.call_id.clone();
        let operation = opening.start.operation();
        let unbounded = operation == Operation::Read
            && is_unbounded(&opening, &prepared.connector.form.manifest);
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
        let running = run(&core.host, job, input, outlet, &control, |pid| {
            ticket.live.set_pid(0, pid)
        });
        let mut outcome = with_secrets(prepared.secrets.leases(), running, &control).await;
        let wrong = wrong.and_then(|wrong| wrong.lock().ok().and_then(|mut wrong| wrong.take()));
        if let (Some(error), Err(_)) = (wrong, &outcome.result) {
            outcome.result = Err(error);
        }
        prepared.secrets.close().await;
        let failed = outcome.result.as_ref().err();
        let step =
            failed.and_then(|error| failed_step(error.code, &error.message, &outcome.failed_steps));
        let (end, event) = match outcome.end() {
            Ok(summary) => (End::Summary(summary.clone()), Event::Summary(summary)),
            Err(failure) => (End::Failure(failure.clone()), Event::Failure(failure)),
        };
        last.header.time = Some(std::time::SystemTime::now().into());
        // Recorded first: who is told can ask for it, or call again.
        let _ = ticket.end(end).await;
        let step = step.filter(|_| tested).map(Event::Step);
        for event in step.into_iter().chain([event]) {
            last.event = event;
            // A slow caller gets all of it; one that takes nothing for as long
            // as a worker may be silent has left, whatever its connection says.
            let taken = timeout(core.config.stall, sender.send(last.clone())).await;
            if taken.is_err() {
                return line.hang_up();
            }
        }
    });
    listening
}

/// Runs a worker as long as its secrets are valid. Once they are not, what it does is of no use: it is stopped as if it had
/// been cancelled, and the call says why.
async fn with_secrets(
    leases: &Leases,
    running: impl Future<Output = Outcome>,
    control: &Control,
) -> Outcome {
    let mut running = std::pin::pin!(running);
    let ended = tokio::select! {
        outcome = running.as_mut() => return outcome,
        ended = leases.ended() => ended,
    };
    control.cancel.cancel();
    let mut outcome = running.await;
    if outcome.result.is_err() {
        outcome.result = Err(CallError::secrets_ended(&ended));
    }
    outcome
}
