//! Trying every step without becoming anything: what `caisson doctor` reports.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::Launcher;
use super::make::hear;
use super::protocol::{FromWorker, Probed, Reply};
use crate::Plan;
use crate::enforce::{Fault, Stdio, Step};
use crate::sys::{self, Side};

impl Launcher {
    /// The answer, with the pidfd of the probe, which is the daemon's to reap.
    pub(super) fn probe(&mut self, plan: &Plan) -> (Reply, Vec<OwnedFd>) {
        let mut made = None;
        let probed = self.probed(plan, &mut made);
        let probed = probed.unwrap_or_else(|fault| Probed {
            faults: vec![fault],
            ..Probed::default()
        });
        (Reply::Probed(probed), made.into_iter().collect())
    }

    fn probed(&mut self, plan: &Plan, made: &mut Option<OwnedFd>) -> Result<Probed, Fault> {
        let copy = || {
            self.null
                .try_clone()
                .map_err(|e| Fault::new(Step::Descriptors, "/dev/null", e))
        };
        let stdio = Stdio {
            null: copy()?,
            stdout: copy()?,
            stderr: copy()?,
            channel: copy()?,
            stacks: copy()?,
        };
        let begun = match self.begin(plan, stdio, true) {
            Ok(begun) => begun,
            Err((fault, None)) if fault.step == Step::Namespaces => {
                return Err(which_namespace(fault));
            }
            Err((fault, pidfd)) => {
                *made = pidfd;
                return Err(fault);
            }
        };
        *made = begun.pidfd.try_clone().ok();
        loop {
            let (bytes, _) = hear(&begun)?;
            match serde_json::from_slice(&bytes) {
                Ok(FromWorker::Sockets(_)) => {}
                Ok(FromWorker::Probed { faults, own_proc }) => {
                    return Ok(Probed {
                        faults,
                        own_proc,
                        complete: true,
                    });
                }
                _ => {
                    let _ = sys::kill(begun.pidfd.as_fd());
                    return Err(Fault::new(
                        Step::Namespaces,
                        "probing",
                        io::Error::other("the probe ended early"),
                    ));
                }
            }
        }
    }
}

/// Tries each namespace alone (with a user namespace), to say which one the host withholds.
fn which_namespace(mut fault: Fault) -> Fault {
    let kinds = [
        ("user", 0),
        ("pid", libc::CLONE_NEWPID),
        ("mount", libc::CLONE_NEWNS),
        ("net", libc::CLONE_NEWNET),
        ("ipc", libc::CLONE_NEWIPC),
        ("uts", libc::CLONE_NEWUTS),
    ];
    for (name, flag) in kinds {
        match sys::clone(flag | libc::CLONE_NEWUSER, libc::SIGCHLD) {
            Ok(Side::Made) => sys::exit(0),
            Ok(Side::Maker { pidfd, .. }) => drop(sys::reap(pidfd.as_fd(), true)),
            Err(e) => {
                fault.what = format!("a {name} namespace cannot be made: {e}");
                break;
            }
        }
    }
    fault
}
