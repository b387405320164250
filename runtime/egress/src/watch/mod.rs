//! Attempts on ports with no listener, UDP, ICMP: refused by the worker's kernel, and seen here all the same.
//!
//! The packet socket was opened inside the worker's network before any of its code ran; the gateway only reads it.

mod packet;

use crate::decision::{Attempt, Refusal, Transport, Verdict};
use crate::event::Endpoint;
use crate::host::Target;
use crate::readable::Readable;
use crate::reason::Reason;
use crate::shared::{Meant, Shared};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{LinkAddr, recvfrom};
use packet::{Packet, parse};
use std::borrow::Cow;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

/// Bytes read of each packet: headers only.
const HEADERS: usize = 512;
/// `PACKET_OUTGOING` of linux/if_packet.h: on loopback every packet is seen leaving and arriving, and counted once.
const OUTGOING: u8 = 4;

/// Reads the packet socket until the session ends.
///
/// # Errors
/// The socket cannot be registered or read.
pub(crate) async fn serve_watch(shared: Arc<Shared>, socket: OwnedFd) -> io::Result<()> {
    fcntl(&socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let socket = Readable::new(socket)?;
    loop {
        let packet = tokio::select! {
            read = socket.read(receive) => match read {
                Err(error) if error.raw_os_error() == Some(nix::libc::ENETDOWN) => continue,
                read => read?,
            },
            () = shared.closing.cancelled() => return Ok(()),
        };
        if let Some(packet) = packet {
            refuse(&shared, packet);
        }
    }
}

fn receive(socket: &OwnedFd) -> io::Result<Option<Packet>> {
    let mut buffer = [0; HEADERS];
    let (length, from) = recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut buffer)?;
    if from.is_some_and(|from| from.pkttype() == OUTGOING) {
        return Ok(None);
    }
    Ok(parse(&buffer[..length.min(HEADERS)]))
}

fn refuse(shared: &Shared, packet: Packet) {
    let port = packet.port;
    // A SYN to a port that has a listener by now is the relay's matter, or that of DNS.
    if packet.transport == Transport::Tcp
        && port.is_some_and(|port| port == 53 || shared.listens_on(port))
    {
        return;
    }
    let (target, refusal) = match shared.meant(packet.destination) {
        Err(refusal) => (Target::Address(packet.destination), refusal),
        Ok(Meant { target, addresses }) => {
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
            (target, refusal)
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
