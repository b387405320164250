//! DNS over UDP, answered from the address that was asked.
//!
//! The worker's resolv.conf may name any address, and glibc drops an answer that comes from another one, so each packet's
//! destination is read from its control message and written into the reply's.

use super::answer::answer;
use super::asked::tell_elsewhere;
use crate::shared::Shared;
use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Longest question that is read; a question is a name and four bytes, with room for EDNS.
const QUESTION: usize = 2_048;

/// The address that was asked.
#[derive(Debug, Clone, Copy)]
enum Asked {
    V4(libc::in_pktinfo),
    V6(libc::in6_pktinfo),
    Unknown,
}

impl Asked {
    fn address(self) -> Option<IpAddr> {
        match self {
            // The kernel keeps it in the order of the network, whatever the host's is.
            Self::V4(info) => Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into()),
            Self::V6(info) => Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into()),
            Self::Unknown => None,
        }
    }
}

/// Serves one socket until the session ends. The socket has PKTINFO set.
///
/// # Errors
/// The socket cannot be registered or read.
pub(crate) async fn serve_udp(shared: Arc<Shared>, socket: std::net::UdpSocket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let socket = Arc::new(UdpSocket::from_std(socket)?);
    loop {
        let (question, from, asked) = tokio::select! {
            received = socket.async_io(Interest::READABLE, || receive(&socket)) => received?,
            () = shared.closing.cancelled() => return Ok(()),
        };
        // What comes faster waits in the kernel, which drops it at less cost than anybody could answer it.
        tokio::select! {
            () = shared.share.messages.turn() => {}
            () = shared.closing.cancelled() => return Ok(()),
        }
        let Some(from) = from else { continue };
        // Over the bound the packet is dropped, as a busy server's kernel would; the worker asks again.
        let Ok(permit) = Arc::clone(&shared.lookups).try_acquire_owned() else {
            tell_elsewhere(&shared, asked.address());
            continue;
        };
        let (socket, task) = (Arc::clone(&socket), Arc::clone(&shared));
        shared.tasks.spawn(async move {
            let closing = task.closing.clone();
            let respond = async {
                let Some(reply) = answer(&task, &question, asked.address()).await else {
                    return;
                };
                let sent = socket
                    .async_io(Interest::WRITABLE, || send(&socket, &reply, &from, asked))
                    .await;
                if let Err(error) = sent {
                    tracing::debug!(%error, "a DNS answer could not be sent");
                }
            };
            tokio::select! { () = respond => {}, () = closing.cancelled() => {} }
            drop(permit);
        });
    }
}

fn receive(socket: &UdpSocket) -> io::Result<(Vec<u8>, Option<SockaddrStorage>, Asked)> {
    let mut buffer = vec![0; QUESTION];
    let mut control = nix::cmsg_space!(libc::in_pktinfo, libc::in6_pktinfo);
    let (length, from, asked) = {
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let message = recvmsg::<SockaddrStorage>(
            socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::MSG_DONTWAIT,
        )?;
        let mut asked = Asked::Unknown;
        for control in message.cmsgs()? {
            match control {
                ControlMessageOwned::Ipv4PacketInfo(info) => asked = Asked::V4(info),
                ControlMessageOwned::Ipv6PacketInfo(info) => asked = Asked::V6(info),
                _ => {}
            }
        }
        (message.bytes, message.address, asked)
    };
    buffer.truncate(length);
    Ok((buffer, from, asked))
}

fn send(socket: &UdpSocket, reply: &[u8], to: &SockaddrStorage, asked: Asked) -> io::Result<()> {
    let parts = [IoSlice::new(reply)];
    let fd = socket.as_raw_fd();
    let flags = MsgFlags::MSG_DONTWAIT;
    match asked {
        Asked::V4(info) => {
            let own = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: info.ipi_addr,
                ipi_addr: info.ipi_addr,
            };
            sendmsg(
                fd,
                &parts,
                &[ControlMessage::Ipv4PacketInfo(&own)],
                flags,
                Some(to),
            )?;
        }
        Asked::V6(info) => {
            sendmsg(
                fd,
                &parts,
                &[ControlMessage::Ipv6PacketInfo(&info)],
                flags,
                Some(to),
            )?;
        }
        Asked::Unknown => {
            sendmsg(fd, &parts, &[], flags, Some(to))?;
        }
    }
    Ok(())
}
