//! Id maps, written from outside while the new process waits.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use caisson_without::{Part, without};

use crate::plan::Identity;
use crate::sys::{self, Side};

/// Writes the maps of a new process. A privileged launcher names the worker's own id; anyone else may only name
/// itself, and must give up setgroups first (user_namespaces(7)).
pub(super) fn write(pid: i32, identity: &Identity) -> io::Result<()> {
    let outer = identity.outer;
    if outer.uid == 0 && outer.privileged && !without(Part::IdMap) {
        return Err(io::Error::other("a worker is never uid 0 of the kernel"));
    }
    fs::write(format!("/proc/{pid}/setgroups"), "deny")?;
    fs::write(
        format!("/proc/{pid}/gid_map"),
        format!("{} {} 1", identity.inner, outer.gid),
    )?;
    fs::write(
        format!("/proc/{pid}/uid_map"),
        format!("{} {} 1", identity.inner, outer.uid),
    )
}

/// A user namespace that maps one uid and one gid (on disk, on the mount), for an id-mapped mount.
pub(crate) fn namespace(uid: (u32, u32), gid: (u32, u32)) -> io::Result<OwnedFd> {
    let (hold, held) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    match sys::clone(libc::CLONE_NEWUSER, libc::SIGCHLD)? {
        Side::Made => {
            drop(held);
            let _ = nix::unistd::read(&hold, &mut [0]);
            sys::exit(0)
        }
        Side::Maker { pid, pidfd } => {
            let made = (|| {
                fs::write(
                    format!("/proc/{pid}/gid_map"),
                    format!("{} {} 1", gid.0, gid.1),
                )?;
                fs::write(
                    format!("/proc/{pid}/uid_map"),
                    format!("{} {} 1", uid.0, uid.1),
                )?;
                Ok(fs::File::open(format!("/proc/{pid}/ns/user"))?.into())
            })();
            drop(held);
            sys::reap(std::os::fd::AsFd::as_fd(&pidfd), true)?;
            made
        }
    }
}
