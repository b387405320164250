//! A living worker as the daemon sees it: kill, wait, usage. Whatever happens, it is reaped and its group removed.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::cgroup::Cgroup;
use crate::ids::Lease;
use crate::memory_watch::{self, Watched};
use crate::{Layer, sys};

/// How a worker ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exit {
    /// The exit code, when it ended by itself.
    pub status: Option<i32>,
    /// The signal that ended it; 31 (SIGSYS) is a sandbox violation.
    pub signal: Option<i32>,
    /// Ended for want of memory.
    pub oom_killed: bool,
    /// A process or thread was refused by the limit. Not known without cgroups (then false).
    pub pids_limit_hit: bool,
    /// Processor time of all its processes.
    pub cpu_seconds: f64,
    /// Time for which it was held back because it had used its share of the processors. Not known without
    /// cgroups (then 0).
    pub cpu_throttled_seconds: f64,
    /// The most memory that its main process ever had resident, in bytes.
    pub peak_rss_bytes: u64,
    /// The most memory that all its processes held together, with what lies in its tmpfs, in bytes, as far as
    /// anybody saw it.
    pub peak_memory_bytes: u64,
}

/// What a worker uses now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Processor time so far, in seconds.
    pub cpu_seconds: f64,
    /// Memory in use, in bytes.
    pub memory_bytes: u64,
}

/// What asks a worker for its stacks: SIGQUIT, upon which Go and the JVM write theirs too. A worker that has not
/// prepared for it does not notice, for the kernel spares process 1 of a namespace what it handles by default.
pub const STACKS_SIGNAL: i32 = libc::SIGQUIT;

/// Ends a worker from anywhere; cheap to clone.
#[derive(Clone, Debug)]
pub struct Killer(Arc<OwnedFd>);

impl Killer {
    /// Sends SIGKILL; the whole pid namespace goes with it. Harmless when the worker has ended.
    pub fn kill(&self) {
        let _ = sys::kill(self.0.as_fd());
    }
}

/// The process of a worker. Dropping it kills and reaps.
#[derive(Debug)]
pub struct Process {
    /// Its process number on the host.
    pub pid: i32,
    /// Layers that are missing by `--allow-missing`; every Summary names them.
    pub missing: Vec<Layer>,
    pidfd: Arc<OwnedFd>,
    watched: Arc<Watched>,
    remains: Option<Remains>,
    exit: Option<Exit>,
}

/// What must be let go after its death.
#[derive(Debug)]
struct Remains {
    cgroup: Option<Cgroup>,
    _lease: Lease,
}

impl Process {
    pub(crate) fn new(
        pid: i32,
        pidfd: OwnedFd,
        cgroup: Option<Cgroup>,
        lease: Lease,
        memory_limit: u64,
    ) -> Process {
        let pidfd = Arc::new(pidfd);
        let watched = Arc::new(Watched::default());
        match &cgroup {
            None => {
                let started =
                    memory_watch::start(pid, pidfd.clone(), memory_limit, watched.clone());
                if let Err(error) = started {
                    tracing::error!(%error, pid, "nobody can watch a worker's memory: it is ended");
                    let _ = sys::kill(pidfd.as_fd());
                }
            }
            Some(group) => {
                if let Some(event) = group.oom_event() {
                    tokio::spawn(kill_whole(event, pidfd.clone(), watched.clone()));
                }
            }
        }
        let missing = if cgroup.is_none() {
            vec![Layer::Cgroup]
        } else {
            Vec::new()
        };
        Process {
            pid,
            missing,
            pidfd,
            watched,
            remains: Some(Remains {
                cgroup,
                _lease: lease,
            }),
            exit: None,
        }
    }

    /// Sends SIGKILL to everything in the worker.
    pub fn kill(&self) {
        self.killer().kill();
    }

    /// Has it ended, whether or not somebody waited for that?
    pub fn has_ended(&self) -> bool {
        sys::is_readable(self.pidfd.as_fd())
    }

    /// Asks it to write the stacks of its threads to their pipe. Whether it does is its own affair.
    pub fn ask_for_stacks(&self) {
        let _ = sys::signal(self.pidfd.as_fd(), STACKS_SIGNAL);
    }

    /// A handle that kills, for another task.
    pub fn killer(&self) -> Killer {
        Killer(self.pidfd.clone())
    }

    /// Waits until it has ended, reaps it and removes its group. Again: the same answer. Cancel safe.
    ///
    /// # Errors
    /// When it cannot be waited for, which only a foreign reaper in this process can cause.
    pub async fn wait(&mut self) -> io::Result<Exit> {
        if let Some(exit) = self.exit {
            return Ok(exit);
        }
        let ended = {
            let readable = sys::readable(self.pidfd.try_clone()?)?;
            loop {
                if let Some(ended) = sys::reap(self.pidfd.as_fd(), false)? {
                    break ended;
                }
                readable.readable().await?.clear_ready();
            }
        };
        let (exit, group) = self.settle(ended);
        if let Some(group) = group {
            // The kernel lets go of a group when it likes, and nothing else may wait for that. Given up in the
            // middle, the removal goes on.
            let pid = self.pid;
            let removal = tokio::task::spawn_blocking(move || remove(&group, pid));
            removal.await.map_err(io::Error::other)?;
        }
        Ok(exit)
    }

    /// Notes how it ended; what is left is to remove its group.
    fn settle(&mut self, ended: sys::Ended) -> (Exit, Option<Cgroup>) {
        let cgroup = self.remains.take().and_then(|remains| remains.cgroup);
        let group = cgroup.as_ref();
        let exit = Exit {
            status: ended.code,
            signal: ended.signal,
            oom_killed: self.watched.exhausted.load(Ordering::SeqCst)
                || group.is_some_and(Cgroup::oom_killed),
            pids_limit_hit: group.is_some_and(Cgroup::pids_limit_hit),
            cpu_seconds: group
                .and_then(Cgroup::cpu_seconds)
                .unwrap_or(ended.cpu_seconds)
                .max(ended.cpu_seconds),
            cpu_throttled_seconds: group.map_or(0.0, Cgroup::cpu_throttled_seconds),
            peak_rss_bytes: ended.max_rss_bytes,
            peak_memory_bytes: group
                .and_then(Cgroup::memory_peak_bytes)
                .unwrap_or_else(|| self.watched.peak.load(Ordering::SeqCst))
                .max(ended.max_rss_bytes),
        };
        self.exit = Some(exit);
        (exit, cgroup)
    }

    /// What it uses now; zero after its end.
    pub fn usage(&self) -> Usage {
        let group = self
            .remains
            .as_ref()
            .and_then(|remains| remains.cgroup.as_ref());
        Usage {
            cpu_seconds: group
                .and_then(Cgroup::cpu_seconds)
                .unwrap_or_else(|| cpu_seconds(self.pid)),
            memory_bytes: group
                .and_then(Cgroup::memory_bytes)
                .unwrap_or_else(|| memory_watch::memory_bytes(self.pid)),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exit.is_some() {
            return;
        }
        self.kill();
        // Its end takes milliseconds, but nobody who drops a worker should wait for it.
        let (pidfd, remains) = (self.pidfd.clone(), self.remains.take());
        std::thread::spawn(move || {
            let _ = sys::reap(pidfd.as_fd(), true);
            if let Some(group) = remains.as_ref().and_then(|remains| remains.cgroup.as_ref()) {
                group.remove();
            }
        });
    }
}

fn remove(group: &Cgroup, pid: i32) {
    if !group.remove() {
        tracing::warn!(
            pid,
            "the cgroup of an ended worker cannot be removed; the next start sweeps it"
        );
    }
}

/// cgroup v1 kills one process of a group that is out of memory; here the others follow.
async fn kill_whole(event: OwnedFd, pidfd: Arc<OwnedFd>, watched: Arc<Watched>) {
    let Ok(event) = sys::readable(event) else {
        return;
    };
    let Ok(ended) = pidfd.try_clone().and_then(sys::readable) else {
        return;
    };
    tokio::select! {
        // The event also comes when the group itself is removed; then the worker has ended before.
        _ = event.readable() => {
            if !sys::is_readable(pidfd.as_fd()) {
                watched.exhausted.store(true, Ordering::SeqCst);
                let _ = sys::kill(pidfd.as_fd());
            }
        }
        _ = ended.readable() => {}
    }
}

/// User and system time of one process, from proc_pid_stat(5).
fn cpu_seconds(pid: i32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|t| t.parse::<f64>().ok())
        .sum();
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)
        .ok()
        .flatten()
        .unwrap_or(100);
    ticks / per_second as f64
}
