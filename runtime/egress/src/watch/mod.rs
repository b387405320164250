//! Attempts on ports with no listener, UDP, ICMP: refused by the worker's kernel, and seen here all the same.
//!
//! The packet socket was opened inside the worker's network before any of its code ran; the gateway only reads it.

mod packet;

use crate::decision::{Attempt, Refusal, Transport, Verdict};
use crate::event::Endpoint;
use crate::readable::Readable;
use crate::reason::Reason;
use crate::shared::{Meant, Shared};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, recvmsg, setsockopt, sockopt};
use packet::{Packet, parse};
use std::borrow::Cow;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

/// Bytes read of each packet: headers only.
const HEADERS: usize = 512;
/// Bytes that may wait to be read.
const QUEUE: usize = 4 << 20;
/// `PACKET_OUTGOING` of linux/if_packet.h: on loopback every packet is seen leaving and arriving, and counted once.
const OUTGOING: u8 = 4;

/// Reads the packet socket until the session ends.
///
/// # Errors
/// The socket cannot be registered or read.
pub(crate) async fn serve_watch(shared: Arc<Shared>, socket: OwnedFd) -> io::Result<()> {
    fcntl(&socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    prepare(&socket);
    let socket = Readable::new(socket)?;
    let read = read(&shared, &socket).await;
    // The kernel lets go of a packet socket when every processor has passed by: in milliseconds, that nobody waits for.
    let descriptor = socket.into_descriptor();
    tokio::task::spawn_blocking(move || drop(descriptor));
    read
}

async fn read(shared: &Shared, socket: &Readable) -> io::Result<()> {
    loop {
        let read = tokio::select! {
            read = socket.read(receive) => read,
            // The worker has ended; what it last tried lies in the queue and is told too.
            () = shared.closing.cancelled() => match socket.now(receive) {
                Some(read) => read,
                None => return Ok(()),
            },
        };
        let (packet, lost) = match read {
            Err(error) if error.raw_os_error() == Some(nix::libc::ENETDOWN) => continue,
            read => read?,
        };
        if let Some(packets) = lost {
            shared.reporter.lost(packets);
        }
        if let Some(packet) = packet {
            refuse(shared, packet);
        }
    }
}

/// A packet, where it was an attempt, and how many the kernel has dropped since the socket was opened, where it says so.
///
/// SO_RXQ_OVFL is used where PACKET_STATISTICS would do as well: the latter has no safe binding. What is dropped after the
/// last packet that was queued is therefore counted with the next one.
fn receive(socket: &OwnedFd) -> io::Result<(Option<Packet>, Option<u32>)> {
    let mut buffer = [0; HEADERS];
    let mut control = nix::cmsg_space!(u32);
    let (length, arriving, lost) = {
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let message = recvmsg::<LinkAddr>(
            socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::MSG_DONTWAIT,
        )?;
        let lost = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::RxqOvfl(packets) => Some(packets),
            _ => None,
        });
        let arriving = message
            .address
            .is_none_or(|from| from.pkttype() != OUTGOING);
        (message.bytes, arriving, lost)
    };
    let packet = arriving
        .then(|| parse(&buffer[..length.min(HEADERS)]))
        .flatten();
    Ok((packet, lost))
}

/// Gives the socket room for a burst and lets it say what it dropped. Without either it still serves.
fn prepare(socket: &OwnedFd) {
    if setsockopt(socket, sockopt::RcvBufForce, &QUEUE).is_err() {
        // Not privileged: as much as the host lets anybody have.
        let _ = setsockopt(socket, sockopt::RcvBuf, &QUEUE);
    }
    if let Err(error) = setsockopt(socket, sockopt::RxqOvfl, &1) {
        tracing::warn!(%error, "packets of a worker that the kernel drops are not counted");
    }
}

fn refuse(shared: &Shared, packet: Packet) {
    let port = packet.port;
    // A SYN to a port that has a listener by now is the relay's matter, or that of DNS.
    if packet.transport == Transport::Tcp
        && port.is_some_and(|port| port == 53 || shared.listens_on(port))
    {
        return;
    }
    let Meant { target, addresses } = shared.meant(packet.destination);
    let attempt = Attempt {
        target: &target,
        port,
        transport: packet.transport,
        addresses: addresses.as_deref(),
    };
    let refusal = match (shared.decide(&attempt), shared.not_started()) {
        (Verdict::Refuse(refusal), _) | (_, Some(refusal)) => refusal,
        (Verdict::Allow(_), None) => {
            let detail = format!(
                "{target} is allowed, but its port has no listener yet; try again in a moment"
            );
            Refusal::flat(Reason::PortNotOpen, detail)
        }
    };
    let to = Endpoint::of(
        &target,
        None,
        port,
        Cow::Owned(packet.transport.to_string()),
    );
    shared.reporter.refused(to, refusal);
}
