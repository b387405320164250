//! The watch: a packet socket on lo that sees what no listener takes.
//!
//! It yields the first packet of every attempt, from the IP header on: TCP SYN to a port without a listener, UDP
//! other than DNS, ICMP echo requests, and any other protocol. lo shows each packet twice, on its way out and on
//! its way in; only the way in counts.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use libc::sock_filter;

use crate::plan::DNS_PORT;
use crate::sys;

const LO: i32 = 1;

/// Opens the watch. Nothing is received before the filter is on.
pub(crate) fn open(tcp_ports: &[u16]) -> io::Result<OwnedFd> {
    let socket = sys::packet_socket()?;
    attach(socket.as_fd(), tcp_ports)?;
    // Saves the kernel work where it knows the option; the filter does without.
    let _ = sys::set_option(
        socket.as_fd(),
        libc::SOL_PACKET,
        libc::PACKET_IGNORE_OUTGOING,
        &1i32,
    );
    sys::bind_packet(socket.as_fd(), LO)?;
    Ok(socket)
}

/// Puts the filter for these listening ports on, in place of the one before.
pub(crate) fn attach(socket: BorrowedFd<'_>, tcp_ports: &[u16]) -> io::Result<()> {
    sys::attach_filter(socket, &program(tcp_ports))
}

// Classic BPF (Documentation/networking/filter.rst).
const LD_W_ABS: u16 = 0x20;
const LD_H_ABS: u16 = 0x28;
const LD_B_ABS: u16 = 0x30;
const LD_H_IND: u16 = 0x48;
const LD_B_IND: u16 = 0x50;
const LDX_IMM: u16 = 0x01;
const LDX_MSH: u16 = 0xb1;
const AND: u16 = 0x54;
const JEQ: u16 = 0x15;
const JSET: u16 = 0x45;
const RET: u16 = 0x06;
/// Offsets of the header fields that are not in the packet.
const SKF_AD_PROTOCOL: u32 = 0xffff_f000;
const SKF_AD_PKTTYPE: u32 = 0xffff_f000 + 4;
const PACKET_HOST: u32 = 0;
/// Bytes of each packet that are kept: headers with all options.
const SNAP: u32 = 256;

/// Where a jump goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum To {
    Next,
    Label(&'static str),
}

/// Instructions with names for jump targets, resolved at the end.
#[derive(Default)]
struct Assembler {
    code: Vec<(u16, u32, To, To)>,
    labels: Vec<(&'static str, usize)>,
}

impl Assembler {
    fn stmt(&mut self, code: u16, k: u32) {
        self.code.push((code, k, To::Next, To::Next));
    }

    fn jump(&mut self, code: u16, k: u32, yes: To, no: To) {
        self.code.push((code, k, yes, no));
    }

    fn label(&mut self, name: &'static str) {
        self.labels.push((name, self.code.len()));
    }

    fn finish(self) -> Vec<sock_filter> {
        let target = |at: usize, to: To| match to {
            To::Next => 0,
            To::Label(name) => {
                let (_, place) = self
                    .labels
                    .iter()
                    .find(|(label, _)| *label == name)
                    .expect("a label of this program");
                place - at - 1
            }
        };
        let resolve = |(at, (code, k, yes, no)): (usize, &(u16, u32, To, To))| {
            let short = |to| u8::try_from(target(at, to)).expect("conditional jumps are short");
            sock_filter {
                code: *code,
                jt: short(*yes),
                jf: short(*no),
                k: *k,
            }
        };
        self.code.iter().enumerate().map(resolve).collect()
    }
}

/// The filter for these listening ports.
fn program(tcp_ports: &[u16]) -> Vec<sock_filter> {
    use To::{Label, Next};
    let (drop, see) = (Label("drop"), Label("see"));
    let mut p = Assembler::default();
    p.stmt(LD_W_ABS, SKF_AD_PKTTYPE);
    p.jump(JEQ, PACKET_HOST, Next, Label("drop-far"));
    p.stmt(LD_W_ABS, SKF_AD_PROTOCOL);
    p.jump(JEQ, libc::ETH_P_IP as u32, Label("v4"), Next);
    p.jump(JEQ, libc::ETH_P_IPV6 as u32, Label("v6"), Next);
    p.label("drop-far");
    p.stmt(RET, 0);

    p.label("v4");
    // A later fragment has no ports; its first one was seen.
    p.stmt(LD_H_ABS, 6);
    p.jump(JSET, 0x1fff, Label("drop-far-2"), Next);
    p.stmt(LDX_MSH, 0);
    p.stmt(LD_B_ABS, 9);
    p.jump(JEQ, libc::IPPROTO_TCP as u32, Label("tcp"), Next);
    p.jump(JEQ, libc::IPPROTO_UDP as u32, Label("udp"), Next);
    p.jump(JEQ, libc::IPPROTO_ICMP as u32, Next, Label("see-far"));
    p.stmt(LD_B_IND, 0);
    p.jump(JEQ, 8, Label("see-far"), Next);
    p.label("drop-far-2");
    p.stmt(RET, 0);

    p.label("v6");
    p.stmt(LDX_IMM, 40);
    p.stmt(LD_B_ABS, 6);
    p.jump(JEQ, libc::IPPROTO_TCP as u32, Label("tcp"), Next);
    p.jump(JEQ, libc::IPPROTO_UDP as u32, Label("udp"), Next);
    p.jump(JEQ, libc::IPPROTO_ICMPV6 as u32, Next, Label("see-far"));
    p.stmt(LD_B_IND, 0);
    p.jump(JEQ, 128, Label("see-far"), Next);
    p.stmt(RET, 0);
    p.label("see-far");
    p.stmt(RET, SNAP);

    p.label("udp");
    // Answers of the gateway come from port 53, which the worker cannot bind.
    p.stmt(LD_H_IND, 0);
    p.jump(JEQ, DNS_PORT.into(), drop, Next);
    p.stmt(LD_H_IND, 2);
    p.jump(JEQ, DNS_PORT.into(), drop, see);

    p.label("tcp");
    // SYN without ACK.
    p.stmt(LD_B_IND, 13);
    p.stmt(AND, 0x12);
    p.jump(JEQ, 0x02, Next, drop);
    p.stmt(LD_H_IND, 2);
    p.jump(JEQ, DNS_PORT.into(), drop, Next);
    for port in tcp_ports {
        p.jump(JEQ, (*port).into(), drop, Next);
    }
    p.label("see");
    p.stmt(RET, SNAP);
    p.label("drop");
    p.stmt(RET, 0);
    p.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_set_of_ports_still_fits_the_short_jumps() {
        let ports: Vec<u16> = (1000..1000 + crate::plan::MAX_PORTS as u16).collect();
        assert!(program(&ports).len() < 255);
    }
}
