//! Making one worker: clone, cgroup, id maps, go; then listening to how it gets on until it has become the
//! interpreter.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::protocol::{self, FromWorker, Go, Reply};
use super::zygotes::Fork;
use super::{Kept, Launcher, id_map};
use crate::enforce::network::SocketKind;
use crate::enforce::{Ending, Fault, Inside, Stdio, Step, Trees};
use crate::sys::{self, Side};
use crate::{Plan, seccomp, without};

/// Fresh ones for every worker. The cgroup namespace follows once the worker is in its cgroup, which becomes its root.
const NAMESPACES: i32 = libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS;

pub(super) fn namespaces() -> i32 {
    without::namespaces(NAMESPACES)
}

/// Of the clone that makes a worker: the daemon's child, in namespaces of its own.
fn flags() -> i32 {
    namespaces() | libc::CLONE_PARENT
}

/// Setting up takes milliseconds; a worker that has said nothing for so long hangs (a dead network mount).
const PATIENCE_MS: u16 = 20_000;

/// What a new process is to have.
struct Given {
    stdio: Stdio,
    groups: Vec<OwnedFd>,
    trees: Option<Trees>,
}

/// How far a new process is made.
pub(super) struct Begun {
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
    pub(super) user: OwnedFd,
    pub(super) net: OwnedFd,
    pub(super) report: OwnedFd,
}

impl Launcher {
    pub(super) fn launch(&mut self, plan: &Plan, fds: Vec<OwnedFd>) -> (Reply, Vec<OwnedFd>) {
        let Ok([channel, stdout, stderr, stacks]) = <[OwnedFd; 4]>::try_from(fds) else {
            let fault = Fault::new(
                Step::Descriptors,
                "channel and pipes",
                io::Error::other("not four descriptors"),
            );
            return (Reply::Failed(fault), Vec::new());
        };
        // Opened anew: a copy of one would share its description, whose flags one worker could set for the next to see.
        let null = match fs::File::open("/dev/null") {
            Ok(null) => OwnedFd::from(null),
            Err(e) => {
                return (
                    Reply::Failed(Fault::new(Step::Descriptors, "/dev/null", e)),
                    Vec::new(),
                );
            }
        };
        let begun = match self.begin(
            plan,
            Stdio {
                null,
                stdout,
                stderr,
                channel,
                stacks,
            },
            false,
        ) {
            Ok(begun) => begun,
            Err((fault, pidfd)) => return (Reply::Failed(fault), pidfd.into_iter().collect()),
        };
        match attend(&begun) {
            Ok((sockets, fds)) => {
                let watch = sockets.iter().position(|kind| *kind == SocketKind::Watch);
                let kept = Kept {
                    watch: watch.and_then(|at| fds[at].try_clone().ok()),
                    ports: plan.network.tcp_ports.clone(),
                    user: begun.user,
                    net: begun.net,
                    pidfd: match begun.pidfd.try_clone() {
                        Ok(pidfd) => pidfd,
                        Err(e) => {
                            return (
                                Reply::Failed(Fault::new(Step::Namespaces, "pidfd", e)),
                                vec![begun.pidfd],
                            );
                        }
                    },
                };
                self.workers.insert(plan.worker, kept);
                (
                    Reply::Launched {
                        pid: begun.pid,
                        sockets,
                        forks: self.zygotes.forks(),
                    },
                    [begun.pidfd].into_iter().chain(fds).collect(),
                )
            }
            Err(fault) => {
                let _ = sys::kill(begun.pidfd.as_fd());
                (Reply::Failed(fault), vec![begun.pidfd])
            }
        }
    }

    /// Has a process made for a worker to come.
    pub(super) fn provide(&mut self) {
        self.zygotes.provide(flags());
    }

    /// Makes a process, by a clone of this one or of a zygote, and lets it go once it is in its cgroup and has its
    /// ids. A failure after the clone carries the pidfd, because only the daemon can reap.
    pub(super) fn begin(
        &mut self,
        plan: &Plan,
        stdio: Stdio,
        probe: bool,
    ) -> Result<Begun, (Fault, Option<OwnedFd>)> {
        let early = |fault: Fault| (fault, None);
        let trees = if self.privileged {
            Some(Trees::copy(plan, Some(plan.identity.outer)).map_err(early)?)
        } else {
            None
        };
        let groups = lists_of_threads(plan).map_err(early)?;
        let moves_itself = !groups.is_empty();
        let forked = if plan.program.preloaded && !probe {
            self.zygotes.fork(&plan.program, flags())
        } else {
            None
        };
        let given = Given {
            stdio,
            groups,
            trees,
        };
        let (fork, given) = match forked {
            Some(fork) => (fork, Some(given)),
            None => (self.clone_self(plan, given, probe).map_err(early)?, None),
        };
        let Fork { pid, pidfd, report } = fork;
        let gone = prepare(pid, plan, moves_itself).and_then(|kept| {
            let sent = match &given {
                None => sys::send(report.as_fd(), b"go", &[]),
                Some(given) => self.go(plan, given, &report),
            };
            sent.map_err(|e| Fault::new(Step::Namespaces, "letting the worker go", e))?;
            Ok(kept)
        });
        match gone {
            Ok((user, net)) => Ok(Begun {
                pid,
                pidfd,
                user,
                net,
                report,
            }),
            Err(fault) => {
                let _ = sys::kill(pidfd.as_fd());
                Err((fault, Some(pidfd)))
            }
        }
    }

    /// Clones this process; the new one waits for word, carries the plan out and executes.
    fn clone_self(&mut self, plan: &Plan, given: Given, probe: bool) -> Result<Fork, Fault> {
        let filters = seccomp::before_exec(plan).map_err(|e| {
            let cause = io::Error::other(e.to_string());
            Fault::new(Step::Seccomp, "compiling the profile", cause)
        })?;
        let ca_bundle = self.ca_bundle(plan);
        let (report, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )
        .map_err(|e| Fault::new(Step::Descriptors, "a socket pair", e))?;
        let side = sys::clone(flags(), 0).map_err(|e| {
            Fault::new(
                Step::Namespaces,
                "making a process with fresh namespaces",
                e,
            )
        })?;
        let Side::Maker { pid, pidfd } = side else {
            drop(report);
            // One word: the maps are written. The end: the launcher gave up.
            match sys::receive(theirs.as_fd()) {
                Ok((go, _)) if !go.is_empty() => {}
                _ => sys::exit(1),
            }
            let inside = Inside {
                plan,
                up: None,
                trees: given.trees,
                ca_bundle: ca_bundle.as_deref(),
                filters: &filters,
                stdio: given.stdio,
                groups: given.groups,
                daemon: &self.daemon,
                report: theirs,
                ending: Ending::Exec,
            };
            if probe { inside.probe() } else { inside.run() }
        };
        Ok(Fork { pid, pidfd, report })
    }

    /// Tells a fork of a zygote what it is to become.
    fn go(&self, plan: &Plan, given: &Given, report: &OwnedFd) -> io::Result<()> {
        let (list, copies) = given.trees.as_ref().map(Trees::list).unzip();
        let go = Go {
            plan: if self.privileged {
                plan.inside()
            } else {
                plan.clone()
            },
            groups: given.groups.len(),
            trees: list,
        };
        let fds: Vec<_> = given
            .stdio
            .all()
            .into_iter()
            .chain([&self.daemon])
            .chain(&given.groups)
            .map(|fd| fd.as_fd())
            .chain(copies.into_iter().flatten())
            .collect();
        protocol::send(report.as_fd(), &go, &fds)
    }
}

/// Where a thread moves itself into the groups of a plan: v1 has such a file in each, v2 has none.
fn lists_of_threads(plan: &Plan) -> Result<Vec<OwnedFd>, Fault> {
    let mut lists = Vec::new();
    for dir in plan.cgroup.iter().flat_map(|group| &group.dirs) {
        match fs::OpenOptions::new().write(true).open(dir.join("tasks")) {
            Ok(list) => lists.push(list.into()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => {
                return Err(Fault::new(
                    Step::Cgroup,
                    format!("opening {}", dir.display()),
                    e,
                ));
            }
        }
    }
    Ok(lists)
}

/// From outside: cgroup, ids, the namespaces user and net kept.
fn prepare(pid: i32, plan: &Plan, moves_itself: bool) -> Result<(OwnedFd, OwnedFd), Fault> {
    let groups = plan.cgroup.iter().filter(|_| !moves_itself);
    for dir in groups.flat_map(|group| &group.dirs) {
        fs::write(dir.join("cgroup.procs"), pid.to_string())
            .map_err(|e| Fault::new(Step::Cgroup, format!("joining {}", dir.display()), e))?;
    }
    let mapped = if without::skips(Step::IdMaps) {
        Ok(())
    } else {
        id_map::write(pid, &plan.identity)
    };
    mapped.map_err(|e| {
        let outer = plan.identity.outer;
        Fault::new(
            Step::IdMaps,
            format!(
                "mapping the worker to uid {} and gid {}",
                outer.uid, outer.gid
            ),
            e,
        )
    })?;
    let namespace = |name: &str| {
        fs::File::open(format!("/proc/{pid}/ns/{name}"))
            .map(OwnedFd::from)
            .map_err(|e| Fault::new(Step::Namespaces, format!("keeping the {name} namespace"), e))
    };
    Ok((namespace("user")?, namespace("net")?))
}

/// Hears the new process out. The end without a fault is exec: the socket closes with it.
fn attend(begun: &Begun) -> Result<(Vec<SocketKind>, Vec<OwnedFd>), Fault> {
    let mut sockets = None;
    loop {
        let (bytes, fds) = hear(begun)?;
        if bytes.is_empty() {
            return sockets.ok_or_else(|| {
                Fault::new(
                    Step::Namespaces,
                    "setting the worker up",
                    io::Error::other("it ended without a word"),
                )
            });
        }
        match serde_json::from_slice(&bytes) {
            Ok(FromWorker::Sockets(list)) => sockets = Some((list, fds)),
            Ok(FromWorker::Fault(fault)) => return Err(fault),
            Ok(FromWorker::Probed { .. }) | Err(_) => {
                return Err(Fault::new(
                    Step::Namespaces,
                    "setting the worker up",
                    io::Error::other("a strange report"),
                ));
            }
        }
    }
}

/// The next report of a process in the making.
pub(super) fn hear(begun: &Begun) -> Result<(Vec<u8>, Vec<OwnedFd>), Fault> {
    let fault =
        |e: io::Error| Fault::new(Step::Namespaces, "hearing from the worker in the making", e);
    let mut fds = [PollFd::new(begun.report.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, PollTimeout::from(PATIENCE_MS)) {
        Ok(0) => Err(fault(io::ErrorKind::TimedOut.into())),
        Ok(_) => sys::receive(begun.report.as_fd()).map_err(fault),
        Err(e) => Err(fault(e.into())),
    }
}
