//! System calls that no crate wraps safely. Every `unsafe` of this crate is here and below.

mod mount;
mod socket;

use std::ffi::{CString, c_int, c_uint};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub(crate) use mount::{attach_tree, clone_tree, clone_tree_at, set_mount_attributes};
pub(crate) use socket::{
    MESSAGE_BYTES, attach_filter, bind_packet, packet_socket, readable, receive,
    refuse_descriptors, send, set_option,
};

/// Which side of a clone this is.
pub(crate) enum Side {
    /// The maker, with the new process.
    Maker { pid: i32, pidfd: OwnedFd },
    /// The new process.
    Made,
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// A plain fork with flags and a pidfd. Only for single-threaded processes.
pub(crate) fn clone(flags: c_int, exit_signal: c_int) -> io::Result<Side> {
    clone_noting(flags, exit_signal, std::ptr::null_mut())
}

fn clone_noting(flags: c_int, exit_signal: c_int, noted: *mut c_int) -> io::Result<Side> {
    let mut pidfd: c_int = -1;
    // The last two change places between architectures: clone(2).
    let (fourth, fifth) = if cfg!(target_arch = "x86_64") {
        (noted, std::ptr::null_mut())
    } else {
        (std::ptr::null_mut(), noted)
    };
    // SAFETY: no CLONE_VM and a null stack, so this is a fork: the child goes on with copies of everything. The
    // caller is single-threaded, so no lock is held by a thread that does not exist in the child. The third
    // argument is the place for the pidfd on every architecture; the others are not read without their flags, and with
    // them name a place in the child that its C library gave the kernel.
    let pid = check(unsafe {
        libc::syscall(
            libc::SYS_clone,
            (flags | libc::CLONE_PIDFD | exit_signal) as libc::c_ulong,
            std::ptr::null_mut::<libc::c_void>(),
            &raw mut pidfd,
            fourth,
            fifth,
        )
    })?;
    if pid == 0 {
        return Ok(Side::Made);
    }
    // SAFETY: CLONE_PIDFD put a new descriptor there, which nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Side::Maker {
        pid: pid as i32,
        pidfd,
    })
}

/// The same in a process that goes on with what its C library and its interpreter hold: the library learns which thread it
/// is, as its own fork(3) would tell it. Only for single-threaded processes.
pub(crate) fn fork(flags: c_int) -> io::Result<Side> {
    /// prctl(2): where the library has asked the kernel to note a thread's number (set_tid_address(2)).
    const PR_GET_TID_ADDRESS: c_int = 40;
    let mut noted: *mut c_int = std::ptr::null_mut();
    // SAFETY: the kernel writes one pointer. One without checkpoints (CONFIG_CHECKPOINT_RESTORE) does not know the option.
    let known = unsafe { libc::prctl(PR_GET_TID_ADDRESS, &raw mut noted, 0, 0, 0) } == 0;
    let note = if known && !noted.is_null() {
        libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID
    } else {
        0
    };
    clone_noting(flags | note, 0, noted)
}

/// Ends this process at once, without running anything of the maker's copied state.
pub(crate) fn exit(code: c_int) -> ! {
    // SAFETY: _exit does not return and touches no memory of ours.
    unsafe { libc::_exit(code) }
}

/// Closes (or marks close-on-exec) every descriptor from `first` on.
pub(crate) fn close_from(first: c_uint, cloexec_only: bool) -> io::Result<()> {
    let flags = if cloexec_only {
        libc::CLOSE_RANGE_CLOEXEC
    } else {
        0
    };
    // SAFETY: no memory is touched; owners of these descriptors are not used afterwards by the callers.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, c_uint::MAX, flags) })?;
    Ok(())
}

/// Has the descriptors of a range stay open across exec: the opposite, for the build of the escape suite.
pub(crate) fn keep_open(first: RawFd, last: RawFd, except: RawFd) {
    for fd in (first..last).filter(|fd| *fd != except) {
        // SAFETY: a flag of a descriptor; one that is not open is an error that changes nothing.
        unsafe { libc::fcntl(fd, libc::F_SETFD, 0) };
    }
}

/// Puts a copy of a descriptor at an exact number, open across exec, or not.
pub(crate) fn place(fd: RawFd, at: RawFd, cloexec: bool) -> io::Result<()> {
    let flags = if cloexec { libc::O_CLOEXEC } else { 0 };
    // SAFETY: whatever was at `at` belongs to nobody that is still used; callers lay out a process before exec.
    check(unsafe { libc::dup3(fd, at, flags) }.into())?;
    Ok(())
}

/// Takes over a descriptor by number.
///
/// Used once per process on the descriptor that the maker put there.
pub(crate) fn adopt(fd: RawFd) -> OwnedFd {
    // SAFETY: the callers name a descriptor that was placed for them at that number and that nothing else owns.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Borrows a descriptor by number.
pub(crate) fn adopt_borrowed(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: the callers name a descriptor that stays open for as long as the borrow is used.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Forgets the whole environment. Only for single-threaded processes.
pub(crate) fn clear_environment() {
    // SAFETY: no other thread reads the environment.
    unsafe { libc::clearenv() };
}

/// Takes on the ids of a worker, for good, and leaves every group.
pub(crate) fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    setgroups(&[])?;
    setresgid(gid, gid, gid)?;
    Ok(setresuid(uid, uid, uid)?)
}

/// pidfd_open(2)
pub(crate) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: the result is a new descriptor.
    unsafe {
        Ok(OwnedFd::from_raw_fd(
            check(libc::syscall(libc::SYS_pidfd_open, pid, 0))? as RawFd,
        ))
    }
}

/// Sends SIGKILL through a pidfd. A process that is gone is no error.
pub(crate) fn kill(pidfd: BorrowedFd<'_>) -> io::Result<()> {
    signal(pidfd, libc::SIGKILL)
}

/// Sends a signal through a pidfd. A process that is gone is no error.
pub(crate) fn signal(pidfd: BorrowedFd<'_>, number: c_int) -> io::Result<()> {
    // SAFETY: a null siginfo is allowed.
    let sent = check(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            number,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    });
    match sent {
        Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other.map(drop),
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) cpu_seconds: f64,
    pub(crate) max_rss_bytes: u64,
}

/// Reaps a child by pidfd. Waits when `block`; otherwise `None` while it lives.
pub(crate) fn reap(pidfd: BorrowedFd<'_>, block: bool) -> io::Result<Option<Ended>> {
    // SAFETY: zeroed is a valid value of both plain structs.
    let (mut info, mut usage): (libc::siginfo_t, libc::rusage) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    let options = libc::WEXITED | if block { 0 } else { libc::WNOHANG };
    loop {
        // SAFETY: both structs live through the call.
        let waited = check(unsafe {
            libc::syscall(
                libc::SYS_waitid,
                libc::P_PIDFD,
                pidfd.as_raw_fd(),
                &raw mut info,
                options,
                &raw mut usage,
            )
        });
        match waited {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
            Ok(_) => break,
        }
    }
    // SAFETY: waitid filled a SIGCHLD siginfo, or left it zeroed.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let exited = info.si_code == libc::CLD_EXITED;
    Ok(Some(Ended {
        code: exited.then_some(status),
        signal: (!exited).then_some(status),
        cpu_seconds: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        max_rss_bytes: usage.ru_maxrss as u64 * 1024,
    }))
}

/// getxattr(2), for values of at most 64 bytes.
pub(crate) fn extended_attribute(path: &Path, name: &str) -> io::Result<Vec<u8>> {
    let c = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::other);
    let (path, name) = (c(path.as_os_str().as_bytes())?, c(name.as_bytes())?);
    let mut value = vec![0u8; 64];
    // SAFETY: both names end in NUL, and at most `value.len()` bytes are written to `value`.
    let size = check(unsafe {
        libc::getxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_mut_ptr().cast(),
            value.len(),
        )
    } as libc::c_long)?;
    value.truncate(size as usize);
    Ok(value)
}

/// prctl(2) with plain numbers.
pub(crate) fn prctl(option: c_int, value: libc::c_ulong) -> io::Result<c_int> {
    // SAFETY: only called with options whose arguments are numbers.
    Ok(check(unsafe { libc::prctl(option, value, 0, 0, 0) }.into())? as c_int)
}

/// Is a descriptor readable right now? For a pidfd: has the process ended?
pub(crate) fn is_readable(fd: BorrowedFd<'_>) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1))
}

/// Back to the default action. Signals that cannot be changed are left.
pub(crate) fn default_signal(signal: nix::sys::signal::Signal) {
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, sigaction};
    let action = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default action runs no code of ours.
    let _ = unsafe { sigaction(signal, &action) };
}
