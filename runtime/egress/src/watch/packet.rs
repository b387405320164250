//! The headers of one packet, as far as they say where it was to go. Every read is bounded; what does not parse is nothing.

use crate::decision::Transport;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Extension headers of IPv6 that are stepped over.
const EXTENSIONS: usize = 8;
/// Ethernet header in front of the packet on sockets of type SOCK_RAW.
const ETHERNET: usize = 14;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;

/// An attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) transport: Transport,
    pub(super) destination: IpAddr,
    pub(super) port: Option<u16>,
}

/// The attempt that a packet is. Answers (a SYN-ACK, a reset, an echo reply, an ICMP error, what DNS says) are none, nor is
/// the kernel's own neighbour discovery and multicast housekeeping.
pub(super) fn parse(bytes: &[u8]) -> Option<Packet> {
    let ip = match bytes.first()? >> 4 {
        4 | 6 => bytes,
        // Loopback frames begin with a zero hardware address.
        _ => match bytes.get(ETHERNET - 2..ETHERNET)? {
            [0x08, 0x00] | [0x86, 0xdd] => bytes.get(ETHERNET..)?,
            _ => return None,
        },
    };
    match ip.first()? >> 4 {
        4 => v4(ip),
        6 => v6(ip),
        _ => None,
    }
}

fn v4(ip: &[u8]) -> Option<Packet> {
    let header = usize::from(ip[0] & 0x0f) * 4;
    let destination: [u8; 4] = ip.get(16..20)?.try_into().ok()?;
    let fragment = u16::from_be_bytes([*ip.get(6)?, *ip.get(7)?]) & 0x1fff;
    if header < 20 || fragment != 0 {
        return None;
    }
    transport(
        *ip.get(9)?,
        ip.get(header..)?,
        IpAddr::V4(Ipv4Addr::from(destination)),
    )
}

fn v6(ip: &[u8]) -> Option<Packet> {
    let destination: [u8; 16] = ip.get(24..40)?.try_into().ok()?;
    let (mut next, mut at) = (*ip.get(6)?, 40);
    for _ in 0..EXTENSIONS {
        let length = match next {
            // Hop-by-hop, routing, destination options.
            0 | 43 | 60 => (usize::from(*ip.get(at + 1)?) + 1) * 8,
            // Fragment: later ones have no header of their own.
            44 if u16::from_be_bytes([*ip.get(at + 2)?, *ip.get(at + 3)?]) & 0xfff8 != 0 => {
                return None;
            }
            44 => 8,
            // Authentication.
            51 => (usize::from(*ip.get(at + 1)?) + 2) * 4,
            _ => return transport(next, ip.get(at..)?, IpAddr::V6(Ipv6Addr::from(destination))),
        };
        next = *ip.get(at)?;
        at += length;
    }
    None
}

fn transport(protocol: u8, segment: &[u8], destination: IpAddr) -> Option<Packet> {
    let port = |at: usize| {
        Some(u16::from_be_bytes([
            *segment.get(at)?,
            *segment.get(at + 1)?,
        ]))
    };
    let (transport, port) = match protocol {
        TCP => {
            let flags = *segment.get(13)?;
            let (syn, ack) = (flags & 0x02 != 0, flags & 0x10 != 0);
            (syn && !ack).then_some((Transport::Tcp, Some(port(2)?)))?
        }
        // What comes from port 53 is the gateway's own answer: no worker can bind it.
        UDP => (port(0)? != 53 && port(2)? != 53).then_some((Transport::Udp, Some(port(2)?)))?,
        ICMP => matches!(segment.first()?, 8 | 13 | 15 | 17).then_some((Transport::Icmp, None))?,
        ICMP_V6 => (*segment.first()? == 128).then_some((Transport::Icmp, None))?,
        // Multicast group membership is the kernel's own.
        2 => return None,
        other => (Transport::Other(other), None),
    };
    Some(Packet {
        transport,
        destination: destination.to_canonical(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v4_packet(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![
            0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0, 127, 0, 0, 1, 198, 18, 1, 1,
        ];
        packet.extend(payload);
        packet
    }

    fn tcp(port: u16, flags: u8) -> Vec<u8> {
        let mut segment = vec![0; 20];
        segment[..2].copy_from_slice(&40_000u16.to_be_bytes());
        segment[2..4].copy_from_slice(&port.to_be_bytes());
        segment[13] = flags;
        segment
    }

    fn udp(from: u16, to: u16) -> Vec<u8> {
        [from.to_be_bytes(), to.to_be_bytes(), [0, 8], [0, 0]].concat()
    }

    #[test]
    fn a_syn_is_an_attempt_and_an_answer_is_none() {
        let expected = Packet {
            transport: Transport::Tcp,
            destination: "198.18.1.1".parse().unwrap(),
            port: Some(8443),
        };
        assert_eq!(parse(&v4_packet(TCP, &tcp(8443, 0x02))), Some(expected));
        assert_eq!(
            parse(&v4_packet(TCP, &tcp(8443, 0xc2))),
            Some(expected),
            "with ECN"
        );
        let framed = [&[0; 12][..], &[8, 0], &v4_packet(TCP, &tcp(8443, 0x02))].concat();
        assert_eq!(parse(&framed), Some(expected));
        for answer in [0x12, 0x14, 0x04, 0x10] {
            assert_eq!(parse(&v4_packet(TCP, &tcp(8443, answer))), None);
        }
    }

    #[test]
    fn udp_and_echo_are_attempts_and_the_gateways_dns_is_none() {
        let quic = parse(&v4_packet(UDP, &udp(40_000, 443))).unwrap();
        assert_eq!((quic.transport, quic.port), (Transport::Udp, Some(443)));
        assert_eq!(parse(&v4_packet(UDP, &udp(53, 40_000))), None);
        assert_eq!(
            parse(&v4_packet(ICMP, &[8, 0, 0, 0])).unwrap().transport,
            Transport::Icmp
        );
        assert_eq!(parse(&v4_packet(ICMP, &[3, 3, 0, 0])), None);
        assert_eq!(
            parse(&v4_packet(132, &[0; 12])).unwrap().transport,
            Transport::Other(132)
        );
    }

    #[test]
    fn extension_headers_of_ipv6_are_stepped_over_and_never_followed_for_ever() {
        let packet = |next: u8, rest: &[u8]| {
            let mut packet = vec![0; 40];
            packet[0] = 0x60;
            packet[6] = next;
            packet[24..40]
                .copy_from_slice(&Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).octets());
            packet.extend(rest);
            packet
        };
        let hidden = [
            &[60, 0, 0, 0, 0, 0, 0, 0][..],
            &[TCP, 0, 0, 0, 0, 0, 0, 0],
            &tcp(22, 0x02),
        ]
        .concat();
        let found = parse(&packet(0, &hidden)).unwrap();
        assert_eq!((found.transport, found.port), (Transport::Tcp, Some(22)));
        assert_eq!(
            parse(&packet(60, &[60, 0, 0, 0, 0, 0, 0, 0].repeat(40))),
            None
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), version in 0u8..3) {
            if let Some(first) = bytes.first_mut() {
                *first = match version { 0 => *first, 1 => 0x40 | (*first & 15), _ => 0x60 };
            }
            let _ = parse(&bytes);
        }
    }
}
