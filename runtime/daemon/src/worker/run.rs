//! Serves one call with one worker.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use caisson_egress::{Bound, EgressEvent, Gateway, Session};
use caisson_proto::v1::{self, ErrorCode};
use caisson_sandbox::{LaunchError, Launcher, Process, WorkerSpec};
use caisson_secrets::Redactor;
use caisson_wire::message::{self, Operation, from_worker::Message};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use super::classify::{self, Death};
use super::feed::{Input, feed};
use super::frames::{FrameError, FrameReader, split};
use super::given::Given;
use super::grants::Grants;
use super::order::{Order, names};
use super::outlet::{Control, Outlet, Stop};
use super::output::{LogQuota, collect};
use super::tally::Tally;
use super::translate::{clean, event};
use super::way::{Verdict, Way};
use crate::call::Event;
use crate::egress::{refusal_of, sockets_of};
use crate::error::CallError;

/// From exec to Hello; a bare interpreter needs about 15 ms.
const HELLO: Duration = Duration::from_secs(30);
/// How often stalls and heartbeats are looked at.
const TICK: Duration = Duration::from_secs(1);
/// Silence of a streaming read after which a heartbeat is sent.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Between Done and the process's end.
const EXIT: Duration = Duration::from_secs(2);

/// The parts of the daemon that workers need.
pub(crate) struct Host {
    pub(crate) launcher: Launcher,
    pub(crate) gateway: Gateway,
}

/// Everything about one worker that is decided before it exists.
pub(crate) struct Job {
    pub(crate) operation: Operation,
    pub(crate) spec: WorkerSpec,
    pub(crate) start: message::Start,
    /// Who calls, for the gateway and its audit.
    pub(crate) egress: caisson_egress::CallContext,
    pub(crate) redactor: Arc<Redactor>,
    /// No sign of life for so long ends the call with STALLED.
    pub(crate) stall: Option<Duration>,
    /// Streaming: heartbeats, and no stall.
    pub(crate) unbounded: bool,
    pub(crate) missing_layers: Vec<String>,
}

/// How it went. `result` says why it ended, the rest what was done until then.
pub(crate) struct Outcome {
    pub(crate) result: Result<(), CallError>,
    pub(crate) stats: v1::Stats,
    /// The last checkpoint of every stream and partition.
    pub(crate) checkpoints: Vec<v1::Checkpoint>,
    pub(crate) last_checkpoint: Option<v1::Checkpoint>,
    pub(crate) refusals: Vec<v1::EgressRefusal>,
}

impl Outcome {
    /// The event that ends a Read, Write, Test or List.
    pub(crate) fn end(self) -> Result<v1::Summary, v1::Failure> {
        match self.result {
            Ok(()) => Ok(v1::Summary {
                stats: Some(self.stats),
                checkpoints: self.checkpoints,
            }),
            Err(error) => Err(v1::Failure {
                last_checkpoint: self.last_checkpoint,
                refusals: self.refusals,
                stats: Some(self.stats),
                ..error.to_failure()
            }),
        }
    }
}

/// Makes a worker, serves the call, and sees it dead.
pub(crate) async fn run(
    host: &Host,
    job: Job,
    input: Option<mpsc::Receiver<Input>>,
    outlet: Outlet,
    control: &Control,
    on_pid: impl FnOnce(i32),
) -> Outcome {
    let accepted = Instant::now();
    let cpu = crate::usage::cpu_seconds();
    let tally = Tally::new(accepted, job.missing_layers.clone());
    let mut way = Way {
        outlet,
        control,
        tally,
        stopping: None,
    };
    let result = match Serving::launch(host, job, input, control, on_pid).await {
        Err(error) => Err(error),
        Ok(mut serving) => {
            let verdict = serving.serve(&mut way).await;
            serving.finish(verdict, &mut way).await
        }
    };
    let mut tally = way.tally;
    tally.stats.seconds = accepted.elapsed().as_secs_f64();
    tally.stats.daemon_cpu_seconds = crate::usage::cpu_seconds() - cpu;
    tally.stats.daemon_peak_rss_bytes = crate::usage::peak_rss_bytes();
    let last_checkpoint = tally
        .last
        .take()
        .and_then(|key| tally.checkpoints.get(&key).cloned());
    let checkpoints = tally.summed_checkpoints();
    Outcome {
        result,
        stats: tally.stats,
        checkpoints,
        last_checkpoint,
        refusals: tally.refusals,
    }
}

/// What happened next.
enum Next {
    Frame(Result<Option<(Message, Bytes)>, FrameError>),
    Line(v1::Log),
    Egress(EgressEvent),
    Stop(Stop),
    GraceOver,
    Ports,
    Policy,
    Tick,
}

struct Serving {
    launcher: Launcher,
    worker: u64,
    /// Ports that a reloaded policy allows and that do not listen yet.
    missing_ports: watch::Receiver<BTreeSet<u16>>,
    /// Changes when policies are reloaded.
    policy: watch::Receiver<Option<Arc<Bound>>>,
    grants: Grants,
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
    quota: Arc<LogQuota>,
    memory_limit: u64,
    stall: Option<Duration>,
    unbounded: bool,
    last_sign: Instant,
    last_event: Instant,
    relayed: u64,
    /// Bytes of batches that went to the worker.
    fed: Arc<AtomicU64>,
}

impl Serving {
    async fn launch(
        host: &Host,
        job: Job,
        input: Option<mpsc::Receiver<Input>>,
        control: &Control,
        on_pid: impl FnOnce(i32),
    ) -> Result<Self, CallError> {
        let memory_limit = job.spec.limits.memory_bytes;
        let worker_id = job.spec.id;
        let grants = Grants {
            gateway: host.gateway.clone(),
            connector: job.egress.connector.clone(),
            config: job.egress.config.clone(),
            files: job.spec.files.clone(),
        };
        let worker = tokio::select! {
            biased;
            stop = control.stopped() => return Err(stop.error()),
            worker = host.launcher.launch(job.spec) => worker.map_err(launch_error)?,
        };
        let (process, io) = worker.split();
        on_pid(process.pid);
        let quota = LogQuota::new();
        let (line_sender, lines) = mpsc::channel(256);
        collect(
            io.stdout,
            "stdout",
            &job.redactor,
            quota.clone(),
            line_sender.clone(),
        );
        collect(
            io.stderr,
            "stderr",
            &job.redactor,
            quota.clone(),
            line_sender,
        );
        let mut session = host.gateway.attach(job.egress, sockets_of(io.sockets));
        let egress = session
            .events()
            .ok_or_else(|| CallError::internal("the gateway", "its events were taken"))?;
        let socket = crate::usage::tokio_socket(io.channel)
            .map_err(|e| CallError::internal("the worker's channel", e))?;
        let (mut reader, mut writer) = split(socket);

        let writes = job.operation == Operation::Write;
        let mut order = Order::new(job.operation);
        let hello = tokio::select! {
            biased;
            stop = control.stopped() => return Err(stop.error()),
            hello = timeout(HELLO, reader.next()) => hello,
        };
        let mut process = process;
        match hello {
            Ok(Ok(Some((message, body)))) => {
                order
                    .accept(&message, body.len())
                    .map_err(|violation| broken(&violation))?;
            }
            Ok(Ok(None)) => {
                let death = death(&mut process).await;
                let mut last = Vec::new();
                let mut lines = lines;
                while let Ok(Some(line)) = timeout(EXIT, lines.recv()).await {
                    last.push(line.message);
                }
                return Err(classify::lost(&death, memory_limit, &last));
            }
            Ok(Err(error)) => return Err(broken(&error)),
            Err(_) => {
                return Err(CallError::new(
                    ErrorCode::Stalled,
                    "the worker did not say Hello within 30 s",
                ));
            }
        }
        session.open();
        let mut start = job.start;
        start.deadline_unix_ms = control.deadline_unix_ms();
        writer.start(start).await.map_err(|error| match error {
            FrameError::Encode(_) => CallError::new(
                ErrorCode::ConfigInvalid,
                "the checkpoints of the streams do not fit one message together",
            )
            .with_action("read fewer streams or partitions in one call"),
            error => broken(&error),
        })?;
        let given = Arc::new(Given::default());
        let (cancel, cancelled) = oneshot::channel();
        let fed = Arc::new(AtomicU64::new(0));
        tokio::spawn(feed(writer, input, cancelled, given.clone(), fed.clone()));
        let now = Instant::now();
        Ok(Self {
            launcher: host.launcher.clone(),
            worker: worker_id,
            missing_ports: session.missing_ports(),
            policy: session.policy(),
            grants,
            process,
            reader,
            session: Some(session),
            egress,
            lines,
            cancel: Some(cancel),
            given,
            writes,
            order,
            redactor: job.redactor,
            quota,
            memory_limit,
            stall: job.stall,
            unbounded: job.unbounded,
            last_sign: now,
            last_event: now,
            relayed: 0,
            fed,
        })
    }

    /// Passes on what the worker says until it ends or is stopped.
    async fn serve(&mut self, way: &mut Way<'_>) -> Verdict {
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
                Ok(()) = self.policy.changed() => Next::Policy,
                frame = self.reader.next() => Next::Frame(frame),
                _ = tick.tick() => Next::Tick,
            };
            match next {
                Next::Stop(stop) => {
                    way.stopping = Some((stop, Instant::now() + stop.grace()));
                    if let Some(cancel) = self.cancel.take() {
                        // A closed channel means that the worker is ending anyway.
                        let _ = cancel.send(stop.error().message);
                    }
                }
                Next::GraceOver => return way.stopped_or(Verdict::Closed),
                Next::Line(log) => self.log(log, way).await,
                Next::Egress(event) => self.egress(event, way).await,
                Next::Ports => self.open_ports().await,
                Next::Policy => {
                    if let Some(error) = self.grants.withdrawn() {
                        return Verdict::Ended(error);
                    }
                }
                Next::Frame(Ok(None)) => return way.stopped_or(Verdict::Closed),
                Next::Frame(Err(error)) => return Verdict::Ended(broken(&error)),
                Next::Frame(Ok(Some((message, body)))) => {
                    self.last_sign = Instant::now();
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

    async fn frame(&mut self, message: Message, body: Bytes, way: &mut Way<'_>) -> Option<Verdict> {
        if let Err(violation) = self.order.accept(&message, body.len()) {
            return Some(Verdict::Ended(broken(&violation)));
        }
        // A name goes on as it is, so one that holds a secret goes nowhere.
        if names(&message).any(|name| matches!(self.redactor.redact(name), Cow::Owned(_))) {
            let error = broken(&"a name that the worker chose holds a secret");
            return Some(Verdict::Ended(error));
        }
        match message {
            Message::Done(_) if self.writes && !self.given.complete() => {
                return Some(Verdict::Ended(broken(
                    &"the destination said that it was done before it had everything",
                )));
            }
            Message::Done(done) => return Some(Verdict::Done(done)),
            Message::Failed(failed) => return Some(Verdict::Failed(failed)),
            Message::Started(_) => way.tally.stats.start_ms = way.tally.since_accepted_ms(),
            Message::Committed(committed) => {
                let (stream, partition) = (&committed.stream, &committed.partition);
                let done = self
                    .given
                    .committed(stream, partition, &committed.checkpoint_id);
                let Some(done) = done else {
                    return Some(Verdict::Ended(broken(
                        &"the worker committed a checkpoint that it was not given",
                    )));
                };
                for checkpoint in done {
                    let event = Event::Committed(v1::Committed {
                        checkpoint: Some(checkpoint),
                        revision: 0,
                    });
                    self.emit(stream, partition, event, way).await;
                }
            }
            Message::Checkpoint(checkpoint) if self.holds_secret(&checkpoint.state) => {
                let message = format!(
                    "a checkpoint of stream `{}` holds a secret",
                    checkpoint.stream
                );
                let error = CallError::new(ErrorCode::ConnectorFailed, message)
                    .with_action("keep credentials out of the connector's state");
                return Some(Verdict::Ended(error));
            }
            Message::Log(_) | Message::Progress(_) | Message::StreamStatus(_)
                if !self.quota.admits() => {}
            Message::Throttled(throttled) => {
                // Waiting is no stall.
                let wait = throttled
                    .until_unix_ms
                    .saturating_sub(crate::usage::unix_ms());
                way.tally.announced_wait += Duration::from_millis(wait.min(24 * 3_600_000));
                self.last_sign = Instant::now() + Duration::from_millis(wait.min(24 * 3_600_000));
                self.translate(Message::Throttled(throttled), body, way)
                    .await;
            }
            message => self.translate(message, body, way).await,
        }
        None
    }

    async fn translate(&mut self, message: Message, body: Bytes, way: &mut Way<'_>) {
        if let Some((stream, partition, event)) = event(message, body, &self.redactor) {
            self.emit(&stream, &partition, event, way).await;
        }
    }

    async fn emit(&mut self, stream: &str, partition: &str, event: Event, way: &mut Way<'_>) {
        way.emit(stream, partition, event).await;
        self.last_event = Instant::now();
        self.last_sign = self.last_sign.max(self.last_event);
    }

    async fn log(&mut self, mut log: v1::Log, way: &mut Way<'_>) {
        log.message = clean(&log.message, &self.redactor);
        way.tally.line(&log);
        self.emit("", "", Event::Log(log), way).await;
    }

    async fn egress(&mut self, event: EgressEvent, way: &mut Way<'_>) {
        if let Some(refusal) = refusal_of(event, &self.redactor) {
            way.tally.refused(&refusal);
            self.emit("", "", Event::Refused(refusal), way).await;
        }
    }

    /// Heartbeats of unbounded calls; STALLED for the others.
    async fn silence(&mut self, way: &mut Way<'_>) -> Option<CallError> {
        let totals = self
            .session
            .as_ref()
            .map(Session::totals)
            .unwrap_or_default();
        let relayed = totals.bytes_up + totals.bytes_down;
        if relayed != self.relayed {
            self.relayed = relayed;
            self.last_sign = self.last_sign.max(Instant::now());
        }
        if self.unbounded {
            if self.last_event.elapsed() >= HEARTBEAT {
                self.emit("", "", Event::Heartbeat, way).await;
            }
            return None;
        }
        let stall = self.stall?;
        let silent = Instant::now().saturating_duration_since(self.last_sign);
        (silent >= stall).then(|| {
            let message = format!("the worker gave no sign of life for {} s", stall.as_secs());
            CallError::new(ErrorCode::Stalled, message)
        })
    }

    /// Sees the process dead and says how the call went.
    async fn finish(mut self, verdict: Verdict, way: &mut Way<'_>) -> Result<(), CallError> {
        let patient = matches!(
            verdict,
            Verdict::Done(_) | Verdict::Failed(_) | Verdict::Closed
        );
        if !patient || timeout(EXIT, self.process.wait()).await.is_err() {
            self.process.kill();
        }
        let death = death(&mut self.process).await;
        way.tally.stats.worker_peak_rss_bytes = death.peak_rss_bytes;
        way.tally.stats.worker_cpu_seconds = death.cpu_seconds;
        let totals = match self.session.take() {
            Some(session) => session.close().await,
            None => Default::default(),
        };
        way.tally.stats.egress_allowed = totals.allowed;
        way.tally.stats.egress_denied = totals.denied;
        // What is left is told if the caller takes it soon.
        way.stopping
            .get_or_insert((Stop::Cancelled, Instant::now() + EXIT));
        while let Ok(event) = self.egress.try_recv() {
            self.egress(event, way).await;
        }
        while let Ok(Some(line)) = timeout(EXIT, self.lines.recv()).await {
            self.log(line, way).await;
        }
        way.tally.stats.logs_dropped = self.quota.dropped();
        way.tally.stats.bytes += self.fed.load(Ordering::Relaxed);
        match verdict {
            Verdict::Done(done) => {
                way.tally.stats.requests = done.requests;
                way.tally.stats.throttled_seconds = done.throttled_seconds;
                Ok(())
            }
            Verdict::Failed(failed) => {
                way.tally.stats.requests = failed.requests;
                way.tally.stats.throttled_seconds = failed.throttled_seconds;
                Err(self.clean(classify::failed(
                    failed,
                    &death,
                    self.memory_limit,
                    &way.tally.refusals,
                )))
            }
            Verdict::Closed => {
                way.tally.stats.throttled_seconds = way.tally.announced_wait.as_secs_f64();
                let last: Vec<_> = way.tally.last_lines.iter().cloned().collect();
                Err(self.clean(classify::lost(&death, self.memory_limit, &last)))
            }
            Verdict::Stopped(stop) => {
                way.tally.stats.throttled_seconds = way.tally.announced_wait.as_secs_f64();
                Err(stop.error())
            }
            Verdict::Ended(error) => Err(self.clean(error)),
        }
    }

    fn holds_secret(&self, state: &[u8]) -> bool {
        let text = String::from_utf8_lossy(state);
        matches!(self.redactor.redact(&text), Cow::Owned(_))
    }

    fn clean(&self, mut error: CallError) -> CallError {
        error.stream = clean(&error.stream, &self.redactor);
        error.partition = clean(&error.partition, &self.redactor);
        error.message = clean(&error.message, &self.redactor);
        error.action = clean(&error.action, &self.redactor);
        error.exception = clean(&error.exception, &self.redactor);
        error.traceback = clean(&error.traceback, &self.redactor);
        error
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn death(process: &mut Process) -> Death {
    match process.wait().await {
        Ok(exit) => Death {
            signal: exit.signal,
            status: exit.status,
            oom_killed: exit.oom_killed,
            pids_limit_hit: exit.pids_limit_hit,
            peak_rss_bytes: exit.peak_rss_bytes,
            cpu_seconds: exit.cpu_seconds,
        },
        Err(error) => {
            tracing::error!(%error, "a worker could not be waited for");
            Death::default()
        }
    }
}

/// The worker does not speak the protocol: whatever runs there is not to be
/// believed.
fn broken(what: &impl std::fmt::Display) -> CallError {
    CallError::new(ErrorCode::WorkerLost, format!("the worker broke the protocol: {what}"))
        .with_action("look at the connector: it wrote to the worker's channel itself, or its process was tampered with")
}

fn launch_error(error: LaunchError) -> CallError {
    match &error {
        LaunchError::MissingLayer { mend, .. } => {
            CallError::new(ErrorCode::Internal, error.to_string()).with_action(mend.clone())
        }
        LaunchError::HostDir { .. } => CallError::new(ErrorCode::ConfigInvalid, error.to_string())
            .with_action("name a directory that exists inside the policy's `files`"),
        _ => CallError::internal("the worker could not be made", error),
    }
}
