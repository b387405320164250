//! A zygote: an interpreter that has loaded the shim, and of which workers are forked.
//!
//! It runs outside every sandbox with nothing but the standard library and the shim, and reads one socket, on which the
//! launcher asks it to clone. The clone waits for its plan and carries it out by the same steps as a process that the
//! launcher made; the last of them returns to the interpreter instead of executing one.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::enforce::{
    CHANNEL, Ending, Fault, Inside, STACKS, Stdio, Step, Trees, empty_sets, first_of, network,
};
use crate::launcher::protocol::{self, FromWorker, FromZygote, Go, ToZygote};
use crate::plan::{self, OuterIds};
use crate::process::STACKS_SIGNAL;
use crate::seccomp;
use crate::sys::{self, Side};

/// Where a zygote finds its socket.
const CONTROL: i32 = 0;
/// How long a thread may take to end that has nothing left to do.
const ENDING: Duration = Duration::from_secs(1);

/// What an interpreter does around fork(2).
pub trait Forks {
    /// Before it.
    fn before(&self);
    /// After it, in the zygote.
    fn in_parent(&self);
    /// After it, in the new process.
    fn in_child(&self);
    /// In the new process, before its plan is carried out: what every worker needs. Where no plan has come yet, does once
    /// for nothing what a worker does, so that the memory that it writes to is its own before that matters. Leaves no
    /// thread behind that does not end by itself.
    fn get_ready(&self, has_come: bool);
}

/// What a fork has become: the worker's own arguments.
#[derive(Debug)]
pub struct Made {
    /// The channel's descriptor.
    pub channel: i32,
    /// The seccomp profile to put on.
    pub profile: String,
    /// The signal that asks for stacks.
    pub stacks_signal: i32,
    /// Where they are written to.
    pub stacks: i32,
}

/// Forks workers until the launcher closes the socket: then `None`, and the zygote is to end. `Some` in each worker.
///
/// # Errors
/// When there is more than one thread, which a fork would lose, or no launcher.
pub fn serve(forks: &impl Forks) -> io::Result<Option<Made>> {
    if threads()? != 1 {
        return Err(io::Error::other(
            "something that was preloaded has started a thread",
        ));
    }
    sys::close_from(3, false)?;
    let control = sys::adopt_borrowed(CONTROL);
    let Some((ToZygote::Become { ids, namespaces }, _)) = hear(control)? else {
        return Ok(None);
    };
    if let Some(ids) = ids {
        become_nobody(ids)?;
    }
    seccomp::compile_all().map_err(|e| io::Error::other(e.to_string()))?;
    let ca_bundle = first_of(&plan::CA_SOURCES.map(PathBuf::from));
    prove(namespaces)?;
    protocol::send(control, &FromZygote::Ready, &[])?;
    loop {
        let (flags, report) = match hear(control)? {
            None => return Ok(None),
            Some((ToZygote::Fork { flags }, Some(report))) => (flags, report),
            Some(_) => return Err(io::Error::other("a strange request")),
        };
        forks.before();
        let side = sys::fork(flags);
        if matches!(side, Ok(Side::Made)) {
            forks.in_child();
            return Ok(Some(become_worker(report, ca_bundle.as_deref(), forks)));
        }
        forks.in_parent();
        match side {
            Ok(Side::Maker { pid, pidfd }) => {
                protocol::send(control, &FromZygote::Forked { pid }, &[pidfd.as_fd()])?;
            }
            Err(e) => {
                let errno = e.raw_os_error().unwrap_or_default();
                protocol::send(control, &FromZygote::NotForked(errno), &[])?;
            }
            Ok(Side::Made) => unreachable!("it has returned"),
        }
    }
}

/// Takes on an id of the workers' range, for good and with no capability. Processes in namespaces that it makes count
/// against its own limit, so that it has none; a worker's own limit stays.
fn become_nobody(ids: OuterIds) -> io::Result<()> {
    use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
    // Withheld from whoever lacks CAP_SYS_RESOURCE: then the limit of the daemon holds.
    let _ = setrlimit(Resource::RLIMIT_NPROC, RLIM_INFINITY, RLIM_INFINITY);
    sys::become_user(ids.uid, ids.gid)?;
    empty_sets()?;
    Ok(nix::sys::prctl::set_no_new_privs()?)
}

/// Fails where a process that is made like this can do nothing in its namespaces: some hosts give capabilities in them
/// to programs that they know only (AppArmor's `restrict_unprivileged_userns`).
fn prove(namespaces: i32) -> io::Result<()> {
    match sys::clone(namespaces, libc::SIGCHLD)? {
        Side::Made => sys::exit(i32::from(network::set_up().is_err())),
        Side::Maker { pidfd, .. } => match sys::reap(pidfd.as_fd(), true)? {
            Some(ended) if ended.code == Some(0) => Ok(()),
            _ => Err(io::Error::other(
                "the host withholds capabilities in the namespaces that an unprivileged process makes",
            )),
        },
    }
}

fn threads() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// Waits for threads that are about to end.
fn alone() -> io::Result<()> {
    let began = Instant::now();
    while threads()? != 1 {
        if began.elapsed() > ENDING {
            return Err(io::Error::other("the rehearsal left a thread"));
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    Ok(())
}

/// The zygote's socket is not the fork's: with its last copy the launcher sees that the zygote has ended.
fn leave_control() -> io::Result<()> {
    let null = std::fs::File::open("/dev/null")?;
    sys::place(null.as_raw_fd(), CONTROL, false)
}

fn hear(control: BorrowedFd<'_>) -> io::Result<Option<(ToZygote, Option<OwnedFd>)>> {
    let (bytes, fds) = sys::receive(control)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    Ok(Some((
        serde_json::from_slice(&bytes)?,
        fds.into_iter().next(),
    )))
}

/// In the fork: does what every worker needs, waits for the plan and carries it out.
fn become_worker(report: OwnedFd, ca_bundle: Option<&[u8]>, forks: &impl Forks) -> Made {
    let end = |report: &OwnedFd, fault: Fault| -> ! {
        let _ = protocol::send(report.as_fd(), &FromWorker::Fault(fault), &[]);
        sys::exit(1)
    };
    let fail = |report: &OwnedFd, e: io::Error| -> ! {
        end(
            report,
            Fault::new(Step::Namespaces, "what a new process is given", e),
        )
    };
    if let Err(e) = leave_control() {
        fail(&report, e);
    }
    let up = match network::set_up() {
        Ok(up) => up,
        Err(fault) => end(&report, fault),
    };
    forks.get_ready(sys::is_readable(report.as_fd()));
    // What follows is done to this thread alone, and must hold for all there is.
    if let Err(e) = alone() {
        fail(&report, e);
    }
    let (bytes, fds) = match sys::receive(report.as_fd()) {
        Ok((bytes, _)) if bytes.is_empty() => sys::exit(1), // the launcher gave up
        Ok(given) => given,
        Err(e) => fail(&report, e),
    };
    let go: Go = match serde_json::from_slice(&bytes) {
        Ok(go) => go,
        Err(e) => fail(&report, e.into()),
    };
    drop(bytes);
    let mut fds = fds.into_iter();
    let stdio: Vec<OwnedFd> = fds.by_ref().take(Stdio::COUNT).collect();
    let (Ok(stdio), Some(daemon)) = (<[OwnedFd; Stdio::COUNT]>::try_from(stdio), fds.next()) else {
        fail(&report, io::Error::other("descriptors are missing"))
    };
    let groups = fds.by_ref().take(go.groups).collect();
    let trees = go.trees.as_ref().map(|list| Trees::collect(list, fds));
    let filters = match seccomp::before_exec(&go.plan) {
        Ok(filters) => filters,
        Err(e) => fail(&report, io::Error::other(e.to_string())),
    };
    // Closed by number in the last step.
    let daemon = ManuallyDrop::new(daemon);
    Inside {
        plan: &go.plan,
        up: Some(up),
        trees,
        ca_bundle,
        filters: &filters,
        stdio: stdio.into(),
        daemon: &daemon,
        groups,
        report,
        ending: Ending::Return,
    }
    .go_on();
    Made {
        channel: CHANNEL,
        profile: go.plan.profile.0,
        stacks_signal: STACKS_SIGNAL,
        stacks: STACKS,
    }
}
