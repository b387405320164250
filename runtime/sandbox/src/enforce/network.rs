//! The worker's network: lo, every address local, listeners on exactly the allowed ports, and a watch.
//!
//! Everything opened here goes to the daemon before any connector code runs; the worker keeps nothing.

mod routes;
mod watch;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket,
    sockopt,
};
use serde::{Deserialize, Serialize};

use super::{Fault, Step};
use crate::plan::{DNS_PORT, NetworkPlan};

pub(crate) use watch::attach as attach_watch_filter;

/// What a descriptor in a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SocketKind {
    Tcp { port: u16, v6: bool },
    DnsTcp,
    DnsUdp,
    Watch,
}

/// Sockets with what they are, in the same order.
#[derive(Default)]
pub(crate) struct Sockets(Vec<(SocketKind, OwnedFd)>);

impl Sockets {
    pub(crate) fn list(&self) -> Vec<SocketKind> {
        self.0.iter().map(|(kind, _)| *kind).collect()
    }

    pub(crate) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.0.iter().map(|(_, fd)| fd.as_fd()).collect()
    }
}

/// A network that is up: what is left is the ports of a plan.
pub(crate) struct Up {
    v6: bool,
    sockets: Sockets,
}

/// Sets lo up and opens what every worker has: the watch, and port 53.
pub(crate) fn set_up() -> Result<Up, Fault> {
    let fault = |what: &str, e: io::Error| Fault::new(Step::Network, what, e);
    let v6 = routes::make_everything_local().map_err(|(what, e)| fault(what, e))?;
    let watch = watch::open(&[]).map_err(|e| fault("the watch on refused packets", e))?;
    let mut sockets = Sockets(vec![(SocketKind::Watch, watch)]);
    for v6 in families(v6) {
        let tcp = tcp_listener(DNS_PORT, v6).map_err(|e| fault("listening for DNS over TCP", e))?;
        let udp = udp_socket(DNS_PORT, v6).map_err(|e| fault("listening for DNS over UDP", e))?;
        sockets
            .0
            .extend([(SocketKind::DnsTcp, tcp), (SocketKind::DnsUdp, udp)]);
    }
    Ok(Up { v6, sockets })
}

/// Opens the ports of the plan, which the watch then leaves alone. Every socket of the worker's network.
pub(crate) fn open_ports(up: Up, plan: &NetworkPlan) -> Result<Sockets, Fault> {
    let fault = |what: &str, e: io::Error| Fault::new(Step::Network, what, e);
    let Up { v6, mut sockets } = up;
    if plan.tcp_ports.is_empty() {
        return Ok(sockets);
    }
    let opened = tcp_listeners(&plan.tcp_ports, v6).map_err(|(what, e)| fault(&what, e))?;
    let watch = sockets
        .0
        .iter()
        .find(|(kind, _)| *kind == SocketKind::Watch);
    if let Some((_, watch)) = watch {
        watch::attach(watch.as_fd(), &plan.tcp_ports)
            .map_err(|e| fault("the watch on refused packets", e))?;
    }
    sockets.0.extend(opened.0);
    Ok(sockets)
}

/// A listener for each port and family. Used in a namespace that is set up already, too.
pub(crate) fn tcp_listeners(ports: &[u16], v6: bool) -> Result<Sockets, (String, io::Error)> {
    let mut sockets = Sockets::default();
    for port in ports {
        for v6 in families(v6) {
            let socket =
                tcp_listener(*port, v6).map_err(|e| (format!("listening on port {port}"), e))?;
            sockets
                .0
                .push((SocketKind::Tcp { port: *port, v6 }, socket));
        }
    }
    Ok(sockets)
}

/// Has this namespace the address that [`set_up`] gave to lo where the host knows IPv6?
pub(crate) fn has_v6() -> bool {
    let own = SocketAddr::from((crate::plan::OWN_V6, 0));
    open(SockType::Datagram, true).is_ok_and(|fd| {
        bind(
            std::os::fd::AsRawFd::as_raw_fd(&fd),
            &SockaddrStorage::from(own),
        )
        .is_ok()
    })
}

fn families(v6: bool) -> impl Iterator<Item = bool> {
    [false, true]
        .into_iter()
        .filter(move |family| !*family || v6)
}

fn open(kind: SockType, v6: bool) -> io::Result<OwnedFd> {
    let family = if v6 {
        AddressFamily::Inet6
    } else {
        AddressFamily::Inet
    };
    let fd = socket(
        family,
        kind,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        None,
    )?;
    if v6 {
        setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
    }
    Ok(fd)
}

fn bind_any(fd: &OwnedFd, port: u16, v6: bool) -> io::Result<()> {
    let address: SocketAddr = if v6 {
        (Ipv6Addr::UNSPECIFIED, port).into()
    } else {
        (Ipv4Addr::UNSPECIFIED, port).into()
    };
    Ok(bind(
        std::os::fd::AsRawFd::as_raw_fd(fd),
        &SockaddrStorage::from(address),
    )?)
}

fn tcp_listener(port: u16, v6: bool) -> io::Result<OwnedFd> {
    let fd = open(SockType::Stream, v6)?;
    bind_any(&fd, port, v6)?;
    listen(&fd, Backlog::new(1024)?)?;
    Ok(fd)
}

/// A wildcard socket must answer from the address that was asked, so the kernel is told to say which that was.
fn udp_socket(port: u16, v6: bool) -> io::Result<OwnedFd> {
    let fd = open(SockType::Datagram, v6)?;
    if v6 {
        setsockopt(&fd, sockopt::Ipv6RecvPacketInfo, &true)?;
    } else {
        setsockopt(&fd, sockopt::Ipv4PacketInfo, &true)?;
    }
    bind_any(&fd, port, v6)?;
    Ok(fd)
}
