//! Follows the events of a call to its end, or to the user's patience.

use std::time::Duration;

use caisson_proto::v1::{self, ErrorCode};
use tonic::Streaming;

use super::event::{CallEvent, Done, Event};
use crate::exit::Exit;
use crate::session::Session;
use crate::stop::{Result, Stop};
use crate::voice::Voice;

/// How long a cancelled call may take to say that it ended.
const CANCEL_PATIENCE: Duration = Duration::from_secs(10);

/// Hands the call's own events to `own`, in order, until the call ends.
///
/// An error of `own`, or `abort`, cancels the call and is what is returned. A
/// signal cancels it as well and waits for the last word.
pub(crate) async fn follow<E: CallEvent>(
    session: &Session,
    voice: &mut Voice,
    mut events: Streaming<E>,
    abort: impl Future<Output = Stop>,
    mut own: impl AsyncFnMut(&mut Voice, &v1::EventHeader, E::Own) -> Result<()>,
) -> Result<Done> {
    let mut call = Running::default();
    let mut abort = std::pin::pin!(abort);
    loop {
        let message = tokio::select! {
            biased;
            stop = &mut abort => return Err(call.abandon(session, events, stop).await),
            exit = session.interrupt.raised(), if call.cancelled.is_none() => {
                voice.line("cancelling");
                call.cancel(session, exit);
                continue;
            }
            () = call.patience() => return Err(Stop::Said(call.exit())),
            message = events.message() => message.map_err(|status| call.lost(status))?,
        };
        let Some(event) = message else {
            return Err(call.cut_short());
        };
        let (header, event) = event.split();
        match event {
            Event::Started(started) => call.started(session, voice, started),
            Event::Log(side, log) => voice.log(side, &header, &log),
            Event::Throttled(side, throttled) => voice.throttled(side, &throttled),
            Event::Refused(side, refused) => voice.refused(side, &refused),
            Event::Rejected(rejected) => voice.rejected(&header, &rejected),
            Event::Progress(progress) => voice.said(&header, &progress),
            Event::Own(event) => {
                if let Err(stop) = own(voice, &header, event).await {
                    return Err(call.abandon(session, events, stop).await);
                }
            }
            Event::Nothing => {}
            Event::Summary(done) => {
                voice.finish();
                return Ok(*done);
            }
            Event::Failure(failure) => {
                voice.finish();
                return Err(call.failed(failure));
            }
        }
    }
}

/// What is known of the call so far.
#[derive(Default)]
struct Running {
    id: Option<String>,
    /// Why and since when the call is being cancelled.
    cancelled: Option<(Exit, tokio::time::Instant)>,
}

impl Running {
    fn started(&mut self, session: &Session, voice: &mut Voice, started: v1::Started) {
        if started.attached {
            voice.line(&format!("attached to call {}", started.call_id));
        }
        self.id = Some(started.call_id);
        if self.cancelled.is_some() {
            self.send_cancel(session);
        }
    }

    fn cancel(&mut self, session: &Session, exit: Exit) {
        self.cancelled = Some((exit, tokio::time::Instant::now() + CANCEL_PATIENCE));
        self.send_cancel(session);
    }

    /// Cancels a call that this side cannot go on with, and waits for its end
    /// so that it is recorded as what it was.
    async fn abandon<E>(
        &mut self,
        session: &Session,
        mut events: Streaming<E>,
        stop: Stop,
    ) -> Stop {
        self.cancel(session, Exit::Cancelled);
        let rest = async { while let Ok(Some(_)) = events.message().await {} };
        tokio::select! {
            () = rest => {}
            () = self.patience() => {}
        }
        stop
    }

    fn send_cancel(&self, session: &Session) {
        let Some(call_id) = self.id.clone() else {
            return;
        };
        let mut operations = session.operations();
        tokio::spawn(async move {
            // If it cannot be said, patience runs out and the stream is dropped.
            let _ = operations.cancel(v1::CancelRequest { call_id }).await;
        });
    }

    /// Completes when a cancelled call took too long; never before it was.
    async fn patience(&self) {
        match self.cancelled {
            Some((_, until)) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
    }

    fn exit(&self) -> Exit {
        self.cancelled.map_or(Exit::Cancelled, |(exit, _)| exit)
    }

    /// A call that the user cancelled ends with the signal's exit code and needs no explanation.
    fn failed(&self, failure: Box<v1::Failure>) -> Stop {
        match self.cancelled {
            Some((exit, _)) if failure.code() == ErrorCode::Cancelled => Stop::Said(exit),
            _ => Stop::Failed(failure),
        }
    }

    fn lost(&self, status: tonic::Status) -> Stop {
        let gone =
            status.code() == tonic::Code::Unavailable || status.code() == tonic::Code::Unknown;
        match Stop::from(status) {
            Stop::Failed(failure) => self.failed(failure),
            Stop::Other(error) if gone && self.id.is_some() => Stop::failed(
                ErrorCode::WorkerLost,
                format!("{error:#}"),
                "see that the daemon runs and call again, from the last checkpoint",
            ),
            other => other,
        }
    }

    fn cut_short(&self) -> Stop {
        Stop::failed(
            ErrorCode::WorkerLost,
            "the call's stream ended without a summary",
            "see that the daemon runs and call again, from the last checkpoint",
        )
    }
}
