//! A worker that runs: what is listened to, until it ends or is stopped.
//!
//! [`launch`] makes one, [`heard`] acts on what it says, [`finish`] sees it
//! dead.

mod finish;
mod heard;
mod launch;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use caisson_egress::{EgressEvent, Session};
use caisson_proto::v1::{self, ErrorCode};
use caisson_sandbox::{Launcher, Limits, Process};
use caisson_secrets::Redactor;
use caisson_wire::message::Encoding;
use caisson_wire::message::from_worker::Message;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::frames::{FrameError, FrameReader};
use super::given::Given;
use super::grants::Watched;
use super::order::Order;
use super::outlet::Stop;
use super::output::LogQuota;
use super::pulse::{Judgement, Pulse, Traffic};
use super::stacks::Stacks;
use super::way::{Verdict, Way};
use crate::call::Event;
use crate::error::CallError;

/// How often stalls and heartbeats are looked at.
const TICK: Duration = Duration::from_secs(1);

/// What happened next.
enum Next {
    Frame(Result<Option<(Message, Bytes)>, FrameError>),
    Line(v1::Log),
    Egress(EgressEvent),
    Stop(Stop),
    GraceOver,
    Ports,
    Withdrawn(CallError),
    Tick,
}

/// A worker and everything that is held for it.
pub(super) struct Serving {
    launcher: Launcher,
    worker: u64,
    /// Ports that a reloaded policy allows and that do not listen yet.
    missing_ports: watch::Receiver<BTreeSet<u16>>,
    grants: Watched,
    process: Process,
    reader: FrameReader,
    /// Taken when the call is over.
    session: Option<Session>,
    egress: mpsc::Receiver<EgressEvent>,
    lines: mpsc::Receiver<v1::Log>,
    /// Asks the writer task to send Cancel.
    cancel: Option<oneshot::Sender<String>>,
    /// What a destination was given, and whether this is one.
    given: Arc<Given>,
    writes: bool,
    order: Order,
    redactor: Arc<Redactor>,
    redact_records: bool,
    /// Of batches.
    encoding: Encoding,
    quota: Arc<LogQuota>,
    limits: Limits,
    stacks: Stacks,
    pulse: Pulse,
    /// Bytes of batches that went to the worker.
    fed: Arc<AtomicU64>,
}

impl Serving {
    /// Passes on what the worker says until it ends or is stopped.
    pub(super) async fn serve(&mut self, way: &mut Way<'_>) -> Verdict {
        way.grants = Some(self.grants.clone());
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let grace = way.grace();
            let next = tokio::select! {
                biased;
                stop = way.control.stopped(), if grace.is_none() => Next::Stop(stop),
                () = way.outlet.abandoned(), if grace.is_none() => Next::Stop(Stop::Cancelled),
                () = sleep_until(grace), if grace.is_some() => Next::GraceOver,
                Some(line) = self.lines.recv() => Next::Line(line),
                Some(event) = self.egress.recv() => Next::Egress(event),
                Ok(()) = self.missing_ports.changed() => Next::Ports,
                error = self.grants.withdrawn() => Next::Withdrawn(error),
                frame = self.reader.next() => Next::Frame(frame),
                _ = tick.tick() => Next::Tick,
            };
            match next {
                Next::Stop(stop) => {
                    if stop == Stop::Deadline {
                        self.stacks.ask(&self.process);
                    }
                    way.stopping = Some((stop, Instant::now() + stop.grace()));
                    if let Some(cancel) = self.cancel.take() {
                        // A closed channel means that the worker is ending anyway.
                        let _ = cancel.send(stop.error().message);
                    }
                }
                Next::GraceOver => return way.stopped_or(Verdict::Closed),
                Next::Line(log) => self.log(log, way).await,
                Next::Egress(event) => {
                    if let Some(error) = self.egress(event, way).await {
                        return way.stopped_or(Verdict::Ended(error));
                    }
                }
                Next::Ports => self.open_ports().await,
                Next::Withdrawn(error) => return Verdict::Ended(error),
                Next::Frame(Ok(None)) => return way.stopped_or(Verdict::Closed),
                Next::Frame(Err(error)) => return Verdict::Ended(broken(&error)),
                Next::Frame(Ok(Some((message, body)))) => {
                    self.pulse.said(Instant::now());
                    if let Some(verdict) = self.frame(message, body, way).await {
                        // Stopped and complied; an error of its own is what the stop caused.
                        return way.stopped_or(verdict);
                    }
                }
                Next::Tick => {
                    if let Some(error) = self.silence(way).await {
                        return Verdict::Ended(error);
                    }
                }
            }
        }
    }

    /// Opens what a reloaded policy allows, inside the worker's own network.
    async fn open_ports(&mut self) {
        let ports: Vec<u16> = self
            .missing_ports
            .borrow_and_update()
            .iter()
            .copied()
            .collect();
        if ports.is_empty() {
            return;
        }
        match self.launcher.open_ports(self.worker, &ports).await {
            Ok(listeners) => {
                if let Some(session) = &self.session {
                    session.add_listeners(
                        listeners
                            .into_iter()
                            .map(|listener| (listener.port, listener.socket))
                            .collect(),
                    );
                }
            }
            Err(error) => {
                tracing::warn!(%error, worker = self.worker, "ports of a new policy could not be opened")
            }
        }
    }

    /// Heartbeats where they are due; the error that ends a stalled call.
    async fn silence(&mut self, way: &mut Way<'_>) -> Option<CallError> {
        let totals = self
            .session
            .as_ref()
            .map(Session::totals)
            .unwrap_or_default();
        let traffic = Traffic {
            relayed: totals.bytes_up + totals.bytes_down,
            waits_for_place: totals.waits_for_place,
        };
        match self.pulse.judge(traffic, Instant::now()) {
            Judgement::Well => None,
            Judgement::Heartbeat => {
                way.emit("", "", Event::Heartbeat).await;
                self.pulse.beat(Instant::now());
                None
            }
            Judgement::Stalled(error) => {
                self.stacks.ask(&self.process);
                self.stacks.wait().await;
                Some(*error)
            }
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The worker does not speak the protocol: whatever runs there is not to be
/// believed.
fn broken(what: &impl std::fmt::Display) -> CallError {
    CallError::new(ErrorCode::WorkerLost, format!("the worker broke the protocol: {what}"))
        .with_action("look at the connector: it wrote to the worker's channel itself, or its process was tampered with")
}
