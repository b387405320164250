//! From a job to a worker that was given its Start.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use caisson_proto::v1::ErrorCode;
use caisson_sandbox::LaunchError;
use caisson_wire::message::{Hello, Operation, from_worker::Message};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, error::Elapsed, timeout};

use super::finish::{EXIT, death};
use super::{Serving, broken};
use crate::egress::sockets_of;
use crate::error::CallError;
use crate::worker::classify;
use crate::worker::feed::{Input, feed};
use crate::worker::frames::{FrameError, FrameReader};
use crate::worker::given::Given;
use crate::worker::grants::{Grants, Watched};
use crate::worker::job::{Host, Job};
use crate::worker::made::Made;
use crate::worker::order::Order;
use crate::worker::outlet::Stop;
use crate::worker::output::{LogQuota, collect};
use crate::worker::pulse::{HEARTBEAT, Pulse};
use crate::worker::stacks::Stacks;
use crate::worker::way::Way;

/// From exec to Hello; a bare interpreter needs about 15 ms.
const HELLO: Duration = Duration::from_secs(30);
/// Until workers that were killed have given their ids back.
const REAPED: Duration = Duration::from_millis(200);
/// From Hello until the worker has read Start and its streams.
const OPENING: Duration = Duration::from_secs(30);

impl Serving {
    /// Has a worker made, hears its Hello and sends Start.
    pub(in crate::worker) async fn launch(
        host: &Host,
        mut job: Job,
        input: Option<mpsc::Receiver<Input>>,
        way: &Way<'_>,
        on_pid: impl FnOnce(i32),
    ) -> Result<Self, CallError> {
        let limits = job.spec.limits.clone();
        let grants = Grants {
            gateway: host.gateway.clone(),
            connector: job.egress.connector.clone(),
            config: job.egress.config.clone(),
            files: job.spec.files.clone(),
            profile: job.profile,
        };
        let (control, outlet) = (way.control, &way.outlet);
        let (made, hello) = tokio::select! {
            biased;
            stop = control.stopped() => return Err(stop.error()),
            () = outlet.abandoned() => return Err(Stop::Cancelled.error()),
            made = worker(host, &mut job) => made.map_err(launch_error)?,
        };
        let Made {
            mut process,
            mut reader,
            mut writer,
            stdout,
            stderr,
            stacks,
            sockets,
        } = made;
        let worker_id = job.spec.id;
        on_pid(process.pid);
        let quota = LogQuota::new();
        let (line_sender, lines) = mpsc::channel(256);
        collect(
            stdout,
            "stdout",
            &job.redactor,
            quota.clone(),
            line_sender.clone(),
        );
        collect(stderr, "stderr", &job.redactor, quota.clone(), line_sender);
        job.egress.bounds.deadline = control.deadline;
        let mut session = host.gateway.attach(job.egress, sockets_of(sockets));
        let egress = session
            .events()
            .ok_or_else(|| CallError::internal("the gateway", "its events were taken"))?;
        let writes = job.operation == Operation::Write;
        let mut order = Order::new(job.operation);
        let hello = tokio::select! {
            biased;
            stop = control.stopped() => return Err(stop.error()),
            () = outlet.abandoned() => return Err(Stop::Cancelled.error()),
            hello = said(hello, &mut reader) => hello,
        };
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
                return Err(classify::lost(&death, &limits, &last));
            }
            Ok(Err(error)) => return Err(broken(&error)),
            Err(_) => {
                return Err(CallError::new(
                    ErrorCode::Stalled,
                    "the worker did not say Hello within 30 s",
                ));
            }
        }
        let mut grants = Watched::new(grants, session.policy());
        session.open();
        let mut opening = job.opening;
        let encoding = opening.start.encoding();
        opening.start.deadline_unix_ms = control.deadline_unix_ms();
        let opened = tokio::select! {
            biased;
            stop = control.stopped() => return Err(stop.error()),
            () = outlet.abandoned() => return Err(Stop::Cancelled.error()),
            error = grants.withdrawn() => return Err(error),
            opened = timeout(OPENING, writer.open(opening)) => opened,
        };
        match opened {
            Ok(Ok(())) => {}
            Ok(Err(FrameError::Encode(error))) => {
                let message = format!("the connector's configuration is too large: {error}");
                return Err(CallError::new(ErrorCode::ConfigInvalid, message)
                    .with_action("make the configuration smaller"));
            }
            Ok(Err(error)) => return Err(broken(&error)),
            Err(_) => {
                return Err(CallError::new(
                    ErrorCode::Stalled,
                    "the worker did not take what it is to do within 30 s",
                ));
            }
        }
        let given = Arc::new(Given::default());
        let (cancel, cancelled) = oneshot::channel();
        let fed = Arc::new(AtomicU64::new(0));
        tokio::spawn(feed(writer, input, cancelled, given.clone(), fed.clone()));
        Ok(Self {
            launcher: host.launcher.clone(),
            worker: worker_id,
            missing_ports: session.missing_ports(),
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
            stacks: Stacks::new(stacks, job.redactor.clone()),
            redactor: job.redactor,
            redact_records: job.redact_records,
            encoding,
            quota,
            limits,
            pulse: Pulse::new(
                job.stall,
                job.throttle,
                job.unbounded.then_some(HEARTBEAT),
                Instant::now(),
            ),
            fed,
        })
    }
}

/// A worker that waited for such a job, with its Hello, or a fresh one. The job bears its number.
async fn worker(host: &Host, job: &mut Job) -> Result<(Made, Option<Hello>), LaunchError> {
    if let Some(mut waiting) = host.pool.take(job) {
        let listening = |port: &&u16| {
            !waiting
                .made
                .sockets
                .tcp
                .iter()
                .any(|one| one.port == **port)
        };
        let missing: Vec<u16> = job
            .spec
            .tcp_ports
            .iter()
            .filter(listening)
            .copied()
            .collect();
        let opened = match missing.is_empty() {
            true => Ok(Vec::new()),
            false => host.launcher.open_ports(waiting.worker, &missing).await,
        };
        if let Ok(listeners) = opened {
            waiting.made.sockets.tcp.extend(listeners);
            (job.spec.id, job.egress.worker) = (waiting.worker, waiting.worker);
            return Ok((waiting.made, Some(waiting.hello)));
        }
    }
    let mut launched = host.launcher.launch(job.spec.clone()).await;
    if matches!(launched, Err(LaunchError::NoFreeId(_))) {
        // Those that wait have ids too, which are free once they are reaped.
        host.pool.drain();
        tokio::time::sleep(REAPED).await;
        launched = host.launcher.launch(job.spec.clone()).await;
    }
    Ok((Made::new(launched?)?, None))
}

/// The Hello that was said before, or the one that comes.
async fn said(
    hello: Option<Hello>,
    reader: &mut FrameReader,
) -> Result<Result<Option<(Message, Bytes)>, FrameError>, Elapsed> {
    match hello {
        Some(hello) => Ok(Ok(Some((Message::Hello(hello), Bytes::new())))),
        None => timeout(HELLO, reader.next()).await,
    }
}

fn launch_error(error: LaunchError) -> CallError {
    match &error {
        LaunchError::MissingLayer { mend, .. } => {
            CallError::new(ErrorCode::Internal, error.to_string()).with_action(mend.clone())
        }
        LaunchError::HostDir { .. } => CallError::new(ErrorCode::ConfigInvalid, error.to_string())
            .with_action("name a directory that exists inside the policy's `files`"),
        LaunchError::NoFreeId(_) => CallError::internal("the worker could not be made", error)
            .with_action(
                "widen `worker_ids` in the daemon's configuration, or lower `slots.total`",
            ),
        _ => CallError::internal("the worker could not be made", error),
    }
}
