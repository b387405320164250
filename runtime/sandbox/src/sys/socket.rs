//! Messages with descriptors, packet sockets and raw socket options.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use super::check;

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
    let bound = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    check(bound.into())?;
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
/// Has the kernel refuse descriptors that are sent over this socket, where it can (Linux 6.16). Otherwise it closes
/// those that come: in the thread that reads, and at the pleasure of what they are.
pub(crate) fn refuse_descriptors(socket: BorrowedFd<'_>) {
    /// unix(7); not in libc yet.
    const SO_PASSRIGHTS: c_int = 83;
    // An older kernel does not know it.
    let _ = set_option(socket, libc::SOL_SOCKET, SO_PASSRIGHTS, &0_i32);
}

pub(crate) fn set_option<T>(
    socket: BorrowedFd<'_>,
    level: c_int,
    name: c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: value lives through the call and its size is given; the kernel copies it.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    check(set.into())?;
    Ok(())
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
