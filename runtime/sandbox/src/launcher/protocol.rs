//! Messages between daemon, launcher and a worker in the making: JSON over SEQPACKET, with descriptors.

use std::io;
use std::os::fd::BorrowedFd;

use serde::{Deserialize, Serialize};

use crate::enforce::network::SocketKind;
use crate::enforce::{Copied, Fault};
use crate::plan::{OuterIds, ProgramPlan};
use crate::{Plan, sys};

/// From the daemon.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Request {
    /// With descriptors: channel, stdout, stderr, stacks.
    Launch(Box<Plan>),
    /// Further listeners for a living worker.
    OpenPorts { worker: u64, ports: Vec<u16> },
    /// Try every step and say which fail.
    Probe(Box<Plan>),
    /// Have a zygote come up; `ids` are what a root daemon's takes on.
    Zygote {
        program: Box<ProgramPlan>,
        ids: Option<OuterIds>,
    },
    /// Let go of the zygotes.
    Retire,
}

/// To the daemon.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reply {
    /// With descriptors: pidfd, then the sockets in this order.
    Launched {
        pid: i32,
        sockets: Vec<SocketKind>,
        /// How many the zygote has made that another should take the place of by and by.
        forks: u64,
    },
    /// With the pidfd, if a process was made that the daemon must reap.
    Failed(Fault),
    /// With the sockets.
    Opened(Vec<SocketKind>),
    PortsFailed(String),
    UnknownWorker,
    Probed(Probed),
    /// With the pidfd of a zygote that comes up, and of forks that nobody will use.
    Raised,
    RaiseFailed(String),
    /// With the pidfds of forks that nobody will use.
    Retired,
}

/// What a probe found.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Probed {
    pub(crate) faults: Vec<Fault>,
    /// False where the worker's own processes cannot be mounted and an empty /proc stands in.
    pub(crate) own_proc: bool,
    /// Could the probe run to its end?
    pub(crate) complete: bool,
}

/// From a worker in the making to the launcher.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FromWorker {
    /// With the sockets.
    Sockets(Vec<SocketKind>),
    Fault(Fault),
    Probed {
        faults: Vec<Fault>,
        own_proc: bool,
    },
}

/// To a zygote.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ToZygote {
    /// First of all: the ids to take on, if any, and the namespaces that forks will have.
    Become {
        ids: Option<OuterIds>,
        namespaces: i32,
    },
    /// Clone with these flags; with the socket that the new process is to go on with.
    Fork { flags: i32 },
}

/// From a zygote.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FromZygote {
    Ready,
    /// With the pidfd.
    Forked {
        pid: i32,
    },
    /// The error number of clone(2).
    NotForked(i32),
}

/// To a new process that was not forked by the launcher and so has nothing at hand; with descriptors: stdin, stdout,
/// stderr, channel, stacks, the daemon's pidfd, the lists of threads of its cgroups, then the copies of mounts in this order.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Go {
    pub(crate) plan: Plan,
    pub(crate) groups: usize,
    pub(crate) trees: Option<Vec<Copied>>,
}

/// Sends one message.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    message: &impl Serialize,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > sys::MESSAGE_BYTES {
        return Err(io::Error::other("a plan is too large to send"));
    }
    sys::send(socket, &bytes, fds)
}
