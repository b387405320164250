//! The launcher: a small single-threaded process that makes workers.
//!
//! It closes what it inherited and clears its environment before anything else, waits on one socket for plans,
//! and makes each worker as a child of the daemon (CLONE_PARENT), so that the daemon reaps them and a launcher
//! can be replaced without harm to running calls. It keeps descriptors of every living worker's user and network
//! namespaces, for ports that become known later.

pub(crate) mod id_map;
mod make;
mod ports;
mod probe;
pub(crate) mod protocol;
mod zygotes;

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::enforce::first_of;
use crate::plan::MountStep;
use crate::{Plan, sys};
use protocol::{Reply, Request};
use zygotes::Zygotes;

/// Names the daemon's process in the launcher's environment, which is then cleared.
pub(crate) const PARENT_VARIABLE: &str = "CAISSON_LAUNCHER_PARENT";
/// Without a request for so long, processes are made for the next ones.
const QUIET_MS: u16 = 1;
/// Where the launcher finds its socket.
const CONTROL: i32 = 0;

/// The body of the hidden subcommand `launcher`. Returns when the daemon closes the socket.
///
/// # Errors
/// When it was not started by a daemon, or its socket fails.
pub fn main() -> io::Result<()> {
    sys::close_from(3, false)?;
    // Without cores, but dumpable: files below /proc/PID of an undumpable process belong to root, and its copies,
    // the workers in the making, would be undumpable too, so that an ordinary user's launcher could not write
    // their id maps (user_namespaces(7)). It holds no secret; the daemon, which does, is undumpable.
    crate::hardening::no_core()?;
    crate::hardening::raise_descriptors()?;
    let parent = std::env::var(PARENT_VARIABLE)
        .ok()
        .and_then(|pid| pid.parse::<i32>().ok());
    caisson_without::remember();
    sys::clear_environment();
    // Away from the daemon's terminal: Ctrl-C is the daemon's to answer, by draining its calls.
    let _ = nix::unistd::setsid();
    let parent = parent
        .ok_or_else(|| io::Error::other("the launcher is started by the daemon, not by hand"))?;
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    let daemon = sys::pidfd_open(parent)?;
    if nix::unistd::getppid().as_raw() != parent || sys::is_readable(daemon.as_fd()) {
        return Ok(());
    }
    if std::process::id() == 1 {
        return Err(io::Error::other(
            "the launcher cannot be process 1, which may have no siblings",
        ));
    }
    let control = nix::unistd::dup(sys::adopt_borrowed(CONTROL))?;
    nix::fcntl::fcntl(
        &control,
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC),
    )?;
    let null: OwnedFd = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?
        .into();
    sys::place(null.as_raw_fd(), CONTROL, false)?;
    std::env::set_current_dir("/")?;
    let privileged = is_privileged();
    if privileged {
        nix::unistd::setgroups(&[])?;
    }
    Launcher {
        control,
        daemon,
        null,
        privileged,
        ca_bundle: None,
        workers: HashMap::new(),
        zygotes: Zygotes::default(),
    }
    .serve()
}

/// May this process write any id map, copy any mount and leave its groups?
pub(crate) fn is_privileged() -> bool {
    use caps::{CapSet, Capability};
    let needed = [
        Capability::CAP_SYS_ADMIN,
        Capability::CAP_SETUID,
        Capability::CAP_SETGID,
    ];
    needed
        .into_iter()
        .all(|cap| caps::has_cap(None, CapSet::Effective, cap).unwrap_or(false))
}

/// What is kept of a living worker.
struct Kept {
    pidfd: OwnedFd,
    user: OwnedFd,
    net: OwnedFd,
    watch: Option<OwnedFd>,
    ports: Vec<u16>,
}

struct Launcher {
    control: OwnedFd,
    daemon: OwnedFd,
    null: OwnedFd,
    privileged: bool,
    ca_bundle: Option<Option<Vec<u8>>>,
    workers: HashMap<u64, Kept>,
    zygotes: Zygotes,
}

impl Launcher {
    fn serve(mut self) -> io::Result<()> {
        loop {
            self.wait_for_request()?;
            let (bytes, fds) = sys::receive(self.control.as_fd())?;
            if bytes.is_empty() {
                return Ok(());
            }
            let request: Request = serde_json::from_slice(&bytes).map_err(io::Error::other)?;
            let (reply, fds) = match request {
                Request::Launch(plan) => self.launch(&plan, fds),
                Request::OpenPorts { worker, ports } => self.open_ports(worker, &ports),
                Request::Probe(plan) => self.probe(&plan),
                Request::Zygote { program, ids } => self.raise(&program, ids),
                Request::Retire => (Reply::Retired, self.zygotes.retire()),
            };
            let borrowed: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
            protocol::send(self.control.as_fd(), &reply, &borrowed)?;
        }
    }

    /// Has a zygote come up, for the daemon to reap.
    fn raise(
        &mut self,
        program: &crate::plan::ProgramPlan,
        ids: Option<crate::plan::OuterIds>,
    ) -> (Reply, Vec<OwnedFd>) {
        match self.zygotes.raise(program, ids, make::namespaces()) {
            Ok(pidfds) => (Reply::Raised, pidfds),
            Err(e) => (Reply::RaiseFailed(e.to_string()), Vec::new()),
        }
    }

    /// Waits, letting go of what is kept of workers that end meanwhile.
    fn wait_for_request(&mut self) -> io::Result<()> {
        loop {
            let mut fds = vec![PollFd::new(self.control.as_fd(), PollFlags::POLLIN)];
            let ids: Vec<u64> = self.workers.keys().copied().collect();
            fds.extend(
                ids.iter()
                    .map(|id| PollFd::new(self.workers[id].pidfd.as_fd(), PollFlags::POLLIN)),
            );
            fds.extend(
                self.zygotes
                    .controls()
                    .map(|control| PollFd::new(control, PollFlags::POLLIN)),
            );
            // Not at once: what was just made is about to work.
            let quiet = match self.zygotes.is_short() {
                true => PollTimeout::from(QUIET_MS),
                false => PollTimeout::NONE,
            };
            match poll(&mut fds, quiet) {
                Err(nix::Error::EINTR) => continue,
                Ok(0) => {
                    drop(fds);
                    self.provide();
                    continue;
                }
                other => other?,
            };
            let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
            drop(fds);
            for (id, ended) in ids.iter().zip(&ready[1..]) {
                if *ended {
                    self.workers.remove(id);
                }
            }
            if ready[1 + ids.len()..].contains(&true) {
                self.zygotes.hear();
            }
            if ready[0] {
                return Ok(());
            }
        }
    }

    /// The host's CA bundle, read once.
    fn ca_bundle(&mut self, plan: &Plan) -> Option<Vec<u8>> {
        let candidates = plan.mounts.iter().find_map(|step| match step {
            MountStep::CaBundle { from, .. } => Some(from),
            _ => None,
        });
        self.ca_bundle
            .get_or_insert_with(|| candidates.and_then(|from| first_of(from)))
            .clone()
    }

    fn open_ports(&mut self, worker: u64, ports: &[u16]) -> (Reply, Vec<OwnedFd>) {
        let Some(kept) = self.workers.get_mut(&worker) else {
            return (Reply::UnknownWorker, Vec::new());
        };
        match ports::open(kept, ports) {
            Ok((list, fds)) => (Reply::Opened(list), fds),
            Err(e) => (Reply::PortsFailed(e), Vec::new()),
        }
    }
}
