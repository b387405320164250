//! The daemon's side: starts the launcher, asks it for workers, hands out what comes back.

mod connection;
mod groups;
mod sockets;
mod worker;
mod zygote;

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use caisson_without::Part;
use nix::fcntl::OFlag;
use tokio::sync::{Mutex, Notify};

use crate::cgroup::{Cgroup, Hierarchy};
use crate::doctor;
use crate::enforce::{Fault, Step, Subject};
use crate::ids::{Ids, Lease};
use crate::launcher::protocol::{Reply, Request};
use crate::plan::{self, Plan};
use crate::process::Process;
use crate::without;
use crate::{HostConfig, Instance, LaunchError, Layer, Program, WorkerSpec};
use connection::Connection;
use groups::Groups;
pub use sockets::{Listener, NetworkSockets};
pub use worker::{Worker, WorkerIo};

/// Makes workers. Cheap to clone; the launcher process ends with the last clone.
#[derive(Clone)]
pub struct Launcher(Arc<Host>);

struct Host {
    config: HostConfig,
    instance: Instance,
    ids: Ids,
    groups: Option<Arc<Groups>>,
    connection: Mutex<Option<Connection>>,
    /// It is time for another zygote.
    renewal: Arc<Notify>,
    /// Ids that zygotes hold.
    held: Arc<AtomicUsize>,
    /// A worker needed such an id.
    crowded: AtomicBool,
}

impl Launcher {
    /// Takes the instance's lock, sweeps what dead instances left, and starts the launcher process.
    ///
    /// # Errors
    /// When another daemon holds the directory, cgroups are missing and not allowed to be, or the launcher does
    /// not start.
    pub async fn start(config: HostConfig) -> Result<Launcher, LaunchError> {
        let instance = Instance::open(&config.instance_dir)?;
        Self::start_in(instance, config).await
    }

    /// The same, for a daemon that took the lock earlier, before it opened its stores.
    ///
    /// # Errors
    /// As [`Launcher::start`].
    pub async fn start_in(
        instance: Instance,
        mut config: HostConfig,
    ) -> Result<Launcher, LaunchError> {
        if let Some(layer) = config
            .allow_missing
            .iter()
            .find(|layer| !layer.may_be_missing())
        {
            return Err(LaunchError::NotOptional(*layer));
        }
        crate::hardening::raise_descriptors()
            .map_err(|e| LaunchError::io("the limit of descriptors", e))?;
        let ids = Ids::new(config.uid_range.clone(), crate::launcher::is_privileged())?;
        let hierarchy = match Hierarchy::find() {
            Ok(hierarchy) => {
                let swept = instance.sweep(&hierarchy)?;
                if !swept.is_empty() {
                    tracing::info!(?swept, "removed what ended instances left behind");
                }
                Some(hierarchy)
            }
            Err(_) if config.allow_missing.contains(&Layer::Cgroup) => None,
            Err(e) => {
                return Err(LaunchError::MissingLayer {
                    layer: Layer::Cgroup,
                    detail: e.detail,
                    mend: e.mend,
                });
            }
        };
        crate::instance::sweep_locks()?;
        config.forbidden.push(crate::instance::host_dir()?);
        let connection = Connection::start(&config.launcher_exe).await?;
        let groups = hierarchy.map(|hierarchy| Arc::new(Groups::new(hierarchy, &instance)));
        let host = Arc::new(Host {
            config,
            instance,
            ids,
            groups,
            connection: Mutex::new(Some(connection)),
            renewal: Arc::default(),
            held: Arc::default(),
            crowded: AtomicBool::new(false),
        });
        if host.config.zygote_forks.is_some() && zygote::may_be_forked(&host.config) {
            tokio::spawn(zygote::keep(Arc::downgrade(&host)));
        }
        Ok(Launcher(host))
    }

    /// This daemon's instance.
    pub fn instance(&self) -> &Instance {
        &self.0.instance
    }

    /// The interpreter of its workers.
    pub fn interpreter(&self) -> &crate::Interpreter {
        &self.0.config.interpreter
    }

    /// Layers that are missing here, by the operator's leave.
    pub fn missing(&self) -> Vec<Layer> {
        if self.0.groups.is_none() {
            vec![Layer::Cgroup]
        } else {
            Vec::new()
        }
    }

    /// Makes one worker that runs the shim. Every layer is on when this answers.
    ///
    /// # Errors
    /// [`LaunchError::MissingLayer`] when one cannot be put on; other variants for what the caller asked for.
    pub async fn launch(&self, spec: WorkerSpec) -> Result<Worker, LaunchError> {
        self.launch_program(spec, Program::Shim).await
    }

    /// Makes one worker that runs another program than the shim: for probes and tests of the layers.
    ///
    /// # Errors
    /// As [`Launcher::launch`].
    pub async fn launch_program(
        &self,
        spec: WorkerSpec,
        program: Program,
    ) -> Result<Worker, LaunchError> {
        let host = self.0.clone();
        // A task of its own: a caller that goes away in the middle must not leave an answer on the socket.
        let task = tokio::spawn(async move { host.launch(&spec, &program).await });
        task.await
            .map_err(|e| LaunchError::LauncherGone(e.to_string()))?
    }

    /// Opens further TCP ports inside a living worker. Ports that listen already are left out of the answer.
    ///
    /// # Errors
    /// [`LaunchError::UnknownWorker`], or what kept a port from opening.
    pub async fn open_ports(
        &self,
        worker: u64,
        ports: &[u16],
    ) -> Result<Vec<Listener>, LaunchError> {
        let ports = plan::ports(ports)?;
        let host = self.0.clone();
        let task =
            tokio::spawn(async move { host.ask(&Request::OpenPorts { worker, ports }, &[]).await });
        match task
            .await
            .map_err(|e| LaunchError::LauncherGone(e.to_string()))??
        {
            (Reply::Opened(list), fds) => Ok(NetworkSockets::listeners(&list, fds)),
            (Reply::UnknownWorker, _) => Err(LaunchError::UnknownWorker(worker)),
            (Reply::PortsFailed(detail), _) => Err(LaunchError::Ports(detail)),
            (other, _) => Err(LaunchError::LauncherGone(format!(
                "a strange answer: {other:?}"
            ))),
        }
    }

    /// The plan that [`Launcher::launch`] would carry out.
    ///
    /// # Errors
    /// As [`plan::plan`].
    pub fn plan(&self, spec: &WorkerSpec, program: &Program) -> Result<Plan, LaunchError> {
        let lease = self.0.ids.lease()?;
        self.0.plan(spec, program, &lease)
    }
}

impl Host {
    fn plan(
        &self,
        spec: &WorkerSpec,
        program: &Program,
        lease: &Lease,
    ) -> Result<Plan, LaunchError> {
        let name = self.instance.group_name(spec.id);
        let cgroup = self
            .groups
            .as_ref()
            .map(|groups| groups.plan(&name, &spec.limits));
        let mut plan = plan::plan(&self.config, spec, program, lease.outer, cgroup)?;
        without::take_away(&mut plan, &self.config, spec);
        Ok(plan)
    }

    async fn launch(&self, spec: &WorkerSpec, program: &Program) -> Result<Worker, LaunchError> {
        let lease = match self.ids.lease() {
            Err(LaunchError::NoFreeId(_)) if self.held.load(Ordering::SeqCst) > 0 => {
                zygote::make_room(self).await?
            }
            lease => lease?,
        };
        let mut plan = self.plan(spec, program, &lease)?;
        let io = |what: &'static str| move |e: nix::Error| LaunchError::io(what, e);
        let (channel, inner_channel) =
            UnixStream::pair().map_err(|e| LaunchError::io("the channel", e))?;
        crate::sys::refuse_descriptors(channel.as_fd());
        let (stdout, inner_stdout) =
            nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(io("the stdout pipe"))?;
        let (stderr, inner_stderr) =
            nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(io("the stderr pipe"))?;
        let (stacks, inner_stacks) =
            nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(io("the pipe for stacks"))?;
        let group = self
            .groups
            .as_ref()
            .zip(plan.cgroup.as_mut())
            .map(|(groups, planned)| groups.take(planned, &spec.limits))
            .transpose()
            .map_err(|e| LaunchError::MissingLayer {
                layer: Layer::Cgroup,
                detail: e.to_string(),
                mend: doctor::mend(Layer::Cgroup, e.raw_os_error().unwrap_or(0)),
            })?;
        let fds = [
            inner_channel.as_fd(),
            inner_stdout.as_fd(),
            inner_stderr.as_fd(),
            inner_stacks.as_fd(),
        ];
        let answer = self.ask(&Request::Launch(Box::new(plan)), &fds).await;
        if let Some(groups) = self.groups.clone().filter(|_| group.is_some()) {
            let limits = spec.limits.clone();
            tokio::task::spawn_blocking(move || groups.provide(&limits));
        }
        let not_made = |group: &Option<Cgroup>| group.as_ref().map(Cgroup::remove);
        match answer {
            Ok((
                Reply::Launched {
                    pid,
                    sockets,
                    forks,
                },
                mut fds,
            )) if fds.len() == sockets.len() + 1 => {
                if self
                    .config
                    .zygote_forks
                    .is_some_and(|most| forks >= most.get())
                {
                    self.renewal.notify_one();
                }
                let pidfd = fds.remove(0);
                let memory_limit = if caisson_without::without(Part::Cgroup) {
                    u64::MAX
                } else {
                    spec.limits.memory_bytes
                };
                let process = Process::new(pid, pidfd, group, lease, memory_limit);
                let sockets = NetworkSockets::collect(&sockets, fds)
                    .ok_or_else(|| LaunchError::LauncherGone("it handed over no watch".into()))?;
                Ok(Worker {
                    process,
                    channel,
                    stdout,
                    stderr,
                    stacks,
                    sockets,
                })
            }
            Ok((Reply::Failed(fault), fds)) => {
                if let Some(pidfd) = fds.into_iter().next() {
                    // It was killed; reaping and removing the group is the same as for a worker.
                    drop(Process::new(0, pidfd, group, lease, u64::MAX));
                } else {
                    not_made(&group);
                }
                Err(explain(fault))
            }
            Ok((other, _)) => {
                not_made(&group);
                Err(LaunchError::LauncherGone(format!(
                    "a strange answer: {other:?}"
                )))
            }
            Err(e) => {
                not_made(&group);
                Err(e)
            }
        }
    }

    /// One question, one answer. A launcher that ended is replaced at the next question.
    async fn ask(
        &self,
        request: &Request,
        fds: &[std::os::fd::BorrowedFd<'_>],
    ) -> Result<(Reply, Vec<OwnedFd>), LaunchError> {
        let mut slot = self.connection.lock().await;
        if slot.as_ref().is_none_or(Connection::has_ended) {
            *slot = Some(Connection::start(&self.config.launcher_exe).await?);
        }
        let Some(connection) = slot.as_ref() else {
            unreachable!("it was just put there")
        };
        let answer = connection.ask(request, fds).await;
        if answer.is_err() {
            *slot = None;
        }
        answer
    }
}

/// From a step that failed to what the caller can do about it.
pub(crate) fn explain(fault: Fault) -> LaunchError {
    let detail = fault.what;
    match (fault.subject, fault.step) {
        (Some(Subject::HostDir(dir)), _) => LaunchError::HostDir { dir, detail },
        (Some(Subject::Source(path)), _) if is_about_the_path(fault.errno) => {
            LaunchError::Source { path, detail }
        }
        (_, Step::Exec) => LaunchError::Exec(detail),
        (_, step) => LaunchError::MissingLayer {
            layer: step.layer(),
            detail,
            mend: doctor::mend(step.layer(), fault.errno),
        },
    }
}

fn is_about_the_path(errno: i32) -> bool {
    [libc::ENOENT, libc::EACCES, libc::ENOTDIR, libc::ELOOP].contains(&errno)
}

/// Runs one probe with a launcher of its own; for `doctor`.
pub(crate) async fn probe(
    exe: &Path,
    plan: Plan,
) -> Result<crate::launcher::protocol::Probed, LaunchError> {
    let connection = Connection::start(exe).await?;
    let (reply, fds) = connection.ask(&Request::Probe(Box::new(plan)), &[]).await?;
    if let Some(pidfd) = fds.first() {
        let _ = crate::sys::kill(pidfd.as_fd());
        let _ = crate::sys::reap(pidfd.as_fd(), true);
    }
    match reply {
        Reply::Probed(probed) => Ok(probed),
        other => Err(LaunchError::LauncherGone(format!(
            "a strange answer: {other:?}"
        ))),
    }
}
