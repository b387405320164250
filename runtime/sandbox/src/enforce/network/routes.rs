//! lo up, an address of our own on it, and `local default dev lo` for both families, by rtnetlink.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::link::{LinkFlags, LinkMessage};
use netlink_packet_route::route::{
    RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::sys::socket::{MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

use crate::plan::{OWN_V4, OWN_V6};

/// lo is the first interface of every network namespace.
const LO: u32 = 1;
/// RT_TABLE_LOCAL, which is looked at before any other.
const TABLE_LOCAL: u8 = 255;

/// Returns whether IPv6 is there as well: some hosts have it off.
pub(super) fn make_everything_local() -> Result<bool, (&'static str, io::Error)> {
    let mut rt = Netlink::open().map_err(|e| ("a netlink socket", e))?;
    rt.lo_up().map_err(|e| ("bringing lo up", e))?;
    rt.address(OWN_V4.into())
        .map_err(|e| ("an IPv4 address on lo", e))?;
    rt.local_default(OWN_V4.into())
        .map_err(|e| ("the IPv4 route", e))?;
    let _ = std::fs::write("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "0");
    if !knows_v6() {
        return Ok(false);
    }
    rt.address(OWN_V6.into())
        .map_err(|e| ("an IPv6 address on lo", e))?;
    rt.local_default(OWN_V6.into())
        .map_err(|e| ("the IPv6 route", e))?;
    Ok(true)
}

/// Without IPv6 no such packet leaves a socket, which is as good as a refusal.
fn knows_v6() -> bool {
    let off = std::fs::read_to_string("/proc/sys/net/ipv6/conf/lo/disable_ipv6");
    let family = nix::sys::socket::AddressFamily::Inet6;
    off.is_ok_and(|text| text.trim() == "0")
        && socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).is_ok()
}

struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    fn open() -> io::Result<Self> {
        let family = nix::sys::socket::AddressFamily::Netlink;
        let socket = socket(
            family,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        Ok(Netlink {
            socket,
            sequence: 0,
        })
    }

    fn lo_up(&mut self) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = LO;
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        self.ask(RouteNetlinkMessage::SetLink(link), 0)
    }

    fn address(&mut self, own: IpAddr) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = family(own);
        message.header.prefix_len = if own.is_ipv4() { 32 } else { 128 };
        // Without it the address is tentative until a work queue gets to it, and no route may name it.
        message.header.flags = AddressHeaderFlags::Nodad;
        message.header.scope = AddressScope::Universe;
        message.header.index = LO;
        message.attributes = vec![AddressAttribute::Local(own), AddressAttribute::Address(own)];
        self.ask(
            RouteNetlinkMessage::NewAddress(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )
    }

    fn local_default(&mut self, source: IpAddr) -> io::Result<()> {
        let mut route = RouteMessage::default();
        route.header.address_family = family(source);
        route.header.table = TABLE_LOCAL;
        route.header.protocol = RouteProtocol::Static;
        route.header.scope = if source.is_ipv4() {
            RouteScope::Host
        } else {
            RouteScope::Universe
        };
        route.header.kind = RouteType::Local;
        route.attributes = vec![
            RouteAttribute::Oif(LO),
            RouteAttribute::PrefSource(source.into()),
        ];
        self.ask(
            RouteNetlinkMessage::NewRoute(route),
            NLM_F_CREATE | NLM_F_EXCL,
        )
    }

    /// Sends one request and waits for the kernel's word on it.
    fn ask(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        send(self.socket.as_raw_fd(), &bytes, MsgFlags::empty())?;
        let mut answer = vec![0; 8192];
        let length = recv(self.socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer[..length])
            .map_err(io::Error::other)?;
        match answer.payload {
            NetlinkPayload::Error(error) if error.code.is_none() => Ok(()),
            NetlinkPayload::Error(error) => Err(error.to_io()),
            other => Err(io::Error::other(format!("the kernel answered {other:?}"))),
        }
    }
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    }
}
