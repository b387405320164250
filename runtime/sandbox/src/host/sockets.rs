//! The sockets that listen inside a worker's network, as they reach the daemon. All are nonblocking.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use crate::enforce::network::SocketKind;

/// A TCP listener inside a worker's network.
#[derive(Debug)]
pub struct Listener {
    /// Its port.
    pub port: u16,
    /// On `[::]` rather than `0.0.0.0`.
    pub v6: bool,
    /// Nonblocking, ready for tokio. `local_addr` of what it accepts is the address that was dialled.
    pub socket: TcpListener,
}

/// Every socket of one worker's network.
#[derive(Debug)]
pub struct NetworkSockets {
    /// The allowed ports, for each family that the host knows.
    pub tcp: Vec<Listener>,
    /// Port 53, v4 and v6; each packet says which address was asked (IP_PKTINFO, IPV6_PKTINFO).
    pub dns_udp: Vec<UdpSocket>,
    /// Port 53 over TCP.
    pub dns_tcp: Vec<TcpListener>,
    /// A packet socket (SOCK_DGRAM: packets from the IP header on) that sees what no listener takes: TCP SYN to other
    /// ports, UDP other than DNS, ICMP echo, other protocols. Each attempt once, cut to 256 bytes. `recv` works on it
    /// as on a UDP socket, so `std::net::UdpSocket::from` makes it readable with tokio.
    pub watch: OwnedFd,
}

impl NetworkSockets {
    /// `None` when the watch is not among them.
    pub(super) fn collect(kinds: &[SocketKind], fds: Vec<OwnedFd>) -> Option<NetworkSockets> {
        let (mut tcp, mut dns_udp, mut dns_tcp, mut watch) =
            (Vec::new(), Vec::new(), Vec::new(), None);
        for (kind, fd) in kinds.iter().zip(fds) {
            match kind {
                SocketKind::Tcp { port, v6 } => tcp.push(Listener {
                    port: *port,
                    v6: *v6,
                    socket: fd.into(),
                }),
                SocketKind::DnsTcp => dns_tcp.push(fd.into()),
                SocketKind::DnsUdp => dns_udp.push(fd.into()),
                SocketKind::Watch => watch = Some(fd),
            }
        }
        Some(NetworkSockets {
            tcp,
            dns_udp,
            dns_tcp,
            watch: watch?,
        })
    }

    pub(super) fn listeners(kinds: &[SocketKind], fds: Vec<OwnedFd>) -> Vec<Listener> {
        let listener = |(kind, fd): (&SocketKind, OwnedFd)| match kind {
            SocketKind::Tcp { port, v6 } => Some(Listener {
                port: *port,
                v6: *v6,
                socket: fd.into(),
            }),
            _ => None,
        };
        kinds.iter().zip(fds).filter_map(listener).collect()
    }
}
