//! System calls that no crate wraps safely. Every `unsafe` of the launcher is here.

use std::ffi::{CString, c_int, c_uint};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

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
    let mut pidfd: c_int = -1;
    // SAFETY: no CLONE_VM and a null stack, so this is a fork: the child goes on with copies of everything. The
    // caller is single-threaded, so no lock is held by a thread that does not exist in the child. The third
    // argument is the place for the pidfd on every architecture; the others are not read without their flags.
    let pid = check(unsafe {
        libc::syscall(
            libc::SYS_clone,
            (flags | libc::CLONE_PIDFD | exit_signal) as libc::c_ulong,
            std::ptr::null_mut::<libc::c_void>(),
            &raw mut pidfd,
            0,
            0,
        )
    })?;
    if pid == 0 {
        return Ok(Side::Made);
    }
    // SAFETY: CLONE_PIDFD put a new descriptor there, which nobody else owns.
    Ok(Side::Maker {
        pid: pid as i32,
        pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
    })
}

/// Ends this process at once, without running anything of the maker's copied state.
pub(crate) fn exit(code: c_int) -> ! {
    // SAFETY: _exit does not return and touches no memory of ours.
    unsafe { libc::_exit(code) }
}

fn path(path: &std::path::Path) -> io::Result<CString> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// open_tree(2): a detached copy of a mount, by path.
pub(crate) fn clone_tree(at: &std::path::Path) -> io::Result<OwnedFd> {
    tree(libc::AT_FDCWD, &path(at)?, 0)
}

/// open_tree(2): a detached copy of what an O_PATH descriptor stands for.
pub(crate) fn clone_tree_at(dir: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    tree(dir.as_raw_fd(), c"", libc::AT_EMPTY_PATH)
}

fn tree(dir: RawFd, path: &std::ffi::CStr, extra: c_int) -> io::Result<OwnedFd> {
    let flags =
        libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | (libc::AT_RECURSIVE | extra) as c_uint;
    // SAFETY: the path is a live C string; the result is a new descriptor.
    unsafe {
        let fd = check(libc::syscall(
            libc::SYS_open_tree,
            dir,
            path.as_ptr(),
            flags,
        ))?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// move_mount(2): puts a detached mount at a path.
pub(crate) fn attach_tree(tree: BorrowedFd<'_>, at: &std::path::Path) -> io::Result<()> {
    let at = path(at)?;
    // SAFETY: both strings live through the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            at.as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH,
        )
    })?;
    Ok(())
}

/// mount_setattr(2) on a whole tree; `idmap` is a user namespace.
pub(crate) fn set_mount_attributes(
    tree: BorrowedFd<'_>,
    recursive: bool,
    set: u64,
    idmap: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let attr = libc::mount_attr {
        attr_set: set
            | if idmap.is_some() {
                libc::MOUNT_ATTR_IDMAP
            } else {
                0
            },
        attr_clr: 0,
        propagation: 0,
        userns_fd: idmap.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: attr lives through the call and its size is given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    })?;
    Ok(())
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
    // SAFETY: a null siginfo is allowed.
    let sent = check(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            libc::SIGKILL,
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

/// Sends one message with descriptors.
pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let control = [ControlMessage::ScmRights(&raw)];
    let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &control };
    loop {
        match sendmsg::<()>(
            socket.as_raw_fd(),
            &[io::IoSlice::new(bytes)],
            control,
            MsgFlags::MSG_NOSIGNAL,
            None,
        ) {
            Err(nix::Error::EINTR) => continue,
            other => return other.map(drop).map_err(io::Error::from),
        }
    }
}

/// The longest message between daemon, launcher and worker-to-be.
pub(crate) const MESSAGE_BYTES: usize = 192 * 1024;

/// Receives one message with descriptors; empty bytes are the end.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = vec![0; MESSAGE_BYTES];
    let mut control = nix::cmsg_space!([RawFd; 253]);
    let (length, raw, truncated) = loop {
        let mut slices = [io::IoSliceMut::new(&mut bytes)];
        match recvmsg::<()>(
            socket.as_raw_fd(),
            &mut slices,
            Some(&mut control),
            MsgFlags::MSG_CMSG_CLOEXEC,
        ) {
            Err(nix::Error::EINTR) => continue,
            Err(e) => return Err(e.into()),
            Ok(message) => {
                let mut raw = Vec::new();
                for part in message.cmsgs()? {
                    if let ControlMessageOwned::ScmRights(fds) = part {
                        raw.extend(fds);
                    }
                }
                break (
                    message.bytes,
                    raw,
                    message
                        .flags
                        .intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC),
                );
            }
        }
    };
    // SAFETY: the kernel made these descriptors for this process with this message.
    let fds: Vec<OwnedFd> = raw
        .into_iter()
        .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
        .collect();
    if truncated {
        return Err(io::Error::other("a message was cut off"));
    }
    bytes.truncate(length);
    Ok((bytes, fds))
}

/// Binds a socket to a packet-level address: every protocol on one interface.
pub(crate) fn bind_packet(socket: BorrowedFd<'_>, interface: c_int) -> io::Result<()> {
    // SAFETY: zeroed is a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = interface;
    // SAFETY: the address lives through the call and its size is given.
    check(
        unsafe {
            libc::bind(
                socket.as_raw_fd(),
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        }
        .into(),
    )?;
    Ok(())
}

/// A plain packet socket that is bound to nothing yet and so receives nothing.
pub(crate) fn packet_socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the result is a new descriptor.
    unsafe {
        Ok(OwnedFd::from_raw_fd(
            check(libc::socket(libc::AF_PACKET, kind, 0).into())? as RawFd,
        ))
    }
}

/// Puts a classic BPF filter on a socket, in place of the one before.
pub(crate) fn attach_filter(
    socket: BorrowedFd<'_>,
    program: &[libc::sock_filter],
) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_ptr().cast_mut(),
    };
    set_option(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// Sets a socket option from a plain value.
pub(crate) fn set_option<T>(
    socket: BorrowedFd<'_>,
    level: c_int,
    name: c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: value lives through the call and its size is given; the kernel copies it.
    check(
        unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                level,
                name,
                std::ptr::from_ref(value).cast(),
                size_of::<T>() as libc::socklen_t,
            )
        }
        .into(),
    )?;
    Ok(())
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

/// Watches an owned descriptor for reading, within the runtime that this is called in.
pub(crate) fn readable(fd: OwnedFd) -> io::Result<tokio::io::unix::AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned, so it stays open and the same for as long as the AsyncFd has it.
    unsafe {
        Ok(tokio::io::unix::AsyncFd::register_with_interest(
            fd,
            tokio::io::Interest::READABLE,
        )?)
    }
}
