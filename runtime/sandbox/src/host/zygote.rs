//! Keeping a zygote: one comes up with the daemon, is replaced after a number of workers, and when it ends.
//!
//! What workers share by birth (where things lie in memory, the seed of hashes) does not last longer than their zygote.

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::Host;
use crate::ids::Lease;
use crate::launcher::is_privileged;
use crate::launcher::protocol::{Reply, Request};
use crate::plan::{LOCALE, ProgramPlan, worker_environment};
use crate::{HostConfig, sys};

/// One that ends sooner has something wrong with it, and the next will have it too.
const PAUSE: Duration = Duration::from_secs(60);
/// A zygote that is to end needs some milliseconds.
const ROOM_TRIES: usize = 50;
const ROOM_STEP: Duration = Duration::from_millis(10);
/// In the shim.
const SOURCE: &str = "caisson/_zygote.py";

/// Asks for a zygote whenever there is none, until the daemon's launcher is dropped.
pub(super) async fn keep(weak: Weak<Host>) {
    while let Some(host) = weak.upgrade() {
        let began = Instant::now();
        match raise(&host).await {
            Ok((pidfd, lease)) => {
                let ended = tokio::spawn(reap(pidfd, Some((lease, host.held.clone()))));
                let renewal = host.renewal.clone();
                drop(host);
                let ended = tokio::select! {
                    _ = ended => true,
                    () = renewal.notified() => false,
                };
                if !ended {
                    continue;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "no preloaded interpreter: workers start slowly");
                drop(host);
            }
        }
        let crowded = weak
            .upgrade()
            .is_some_and(|host| host.crowded.swap(false, Ordering::SeqCst));
        if crowded || began.elapsed() < PAUSE {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// May workers be forks of this host's interpreter?
pub(super) fn may_be_forked(config: &HostConfig) -> bool {
    // A build that leaves layers out leaves them out of what is executed.
    if caisson_without::handed_on().is_some() {
        return false;
    }
    let program = &config.interpreter.executable;
    let theirs = belongs_to_workers(program, &config.uid_range);
    if theirs {
        tracing::warn!(
            program = %program.display(),
            "workers are not forked, which makes them start slowly: the interpreter belongs to the user that they run as; \
             give `python` one that root owns"
        );
    }
    !theirs
}

/// What a fork reaches as /proc/self/exe lies on the host's own mount, where its owner may change its mode and times; what
/// a worker executes lies on a read-only one.
fn belongs_to_workers(program: &Path, ids: &Range<u32>) -> bool {
    let Ok(file) = std::fs::metadata(program) else {
        return false;
    };
    if is_privileged() {
        ids.contains(&file.uid())
    } else {
        file.uid() == nix::unistd::geteuid().as_raw()
    }
}

async fn raise(host: &Arc<Host>) -> Result<(OwnedFd, Lease), crate::LaunchError> {
    let lease = host.ids.lease()?;
    host.held.fetch_add(1, Ordering::SeqCst);
    let raised = ask(host, &lease).await;
    if raised.is_err() {
        host.held.fetch_sub(1, Ordering::SeqCst);
    }
    Ok((raised?, lease))
}

async fn ask(host: &Host, lease: &Lease) -> Result<OwnedFd, crate::LaunchError> {
    let request = Request::Zygote {
        program: Box::new(program(&host.config)),
        ids: Some(lease.outer).filter(|outer| outer.privileged),
    };
    let gone = crate::LaunchError::LauncherGone;
    match host.ask(&request, &[]).await? {
        (Reply::Raised, fds) => {
            let mut fds = fds.into_iter();
            let zygote = fds.next();
            fds.for_each(|unused| drop(tokio::spawn(reap(unused, None))));
            zygote.ok_or_else(|| gone("it handed over no process".into()))
        }
        (Reply::RaiseFailed(detail), _) => Err(gone(detail)),
        (other, _) => Err(gone(format!("a strange answer: {other:?}"))),
    }
}

/// An id for a worker where zygotes hold the last ones: they end, and none comes up for a while.
pub(super) async fn make_room(host: &Host) -> Result<Lease, crate::LaunchError> {
    host.crowded.store(true, Ordering::SeqCst);
    let (_, unused) = host.ask(&Request::Retire, &[]).await?;
    for pidfd in unused {
        tokio::spawn(reap(pidfd, None));
    }
    for _ in 0..ROOM_TRIES {
        if let Ok(lease) = host.ids.lease() {
            return Ok(lease);
        }
        tokio::time::sleep(ROOM_STEP).await;
    }
    host.ids.lease()
}

/// Its id is free again once it has ended.
async fn reap(pidfd: OwnedFd, held: Option<(Lease, Arc<AtomicUsize>)>) {
    if let Ok(readable) = pidfd.try_clone().and_then(sys::readable) {
        let _ = readable.readable().await;
    }
    let _ = sys::reap(std::os::fd::AsFd::as_fd(&pidfd), true);
    if let Some((lease, count)) = held {
        drop(lease);
        count.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The interpreter as workers have it, but in the shim's directory.
fn program(config: &HostConfig) -> ProgramPlan {
    let executable = config.interpreter.executable.clone();
    let name = executable.to_string_lossy().into_owned();
    let mut env = worker_environment();
    // The root of a worker has no locale but C, which decides how an interpreter starts (PEP 540).
    env.insert(LOCALE.into(), "C".into());
    ProgramPlan {
        argv: [&name, "-I", "-S", "-B", SOURCE].map(str::to_owned).into(),
        executable,
        env,
        cwd: config.shim_dir.clone(),
        preloaded: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_the_interpreter_tells_whether_workers_could_change_it() {
        let own = tempfile::NamedTempFile::new().expect("a file");
        let ids = 231_072..231_074;
        if is_privileged() {
            assert!(!belongs_to_workers(own.path(), &ids));
            std::os::unix::fs::chown(own.path(), Some(231_073), None).expect("another owner");
        }
        assert!(belongs_to_workers(own.path(), &ids));
        if !nix::unistd::geteuid().is_root() {
            assert!(!belongs_to_workers(Path::new("/proc/version"), &ids));
        }
    }
}
