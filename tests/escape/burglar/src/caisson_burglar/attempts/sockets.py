"""Sockets that pass the gateway by: other families, other protocols, Unix sockets of the host."""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from contextlib import suppress
from functools import partial

from ..loot import Apart, Attempt, World
from ..namespaces import CLONE_NEWNET, seclude
from .filesystem import grants_read

MISSING = (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT, errno.EAFNOSUPPORT)
FAMILIES = Attempt("16", "AF_ALG, AF_VSOCK, AF_PACKET, raw and netlink sockets", "seccomp", "privilege")


def _open(family: int, kind: int, protocol: int, world: World) -> str:
    seclude(world, CLONE_NEWNET)
    try:
        with socket.socket(family, kind, protocol) as opened:
            return f"descriptor {opened.fileno()}"
    except OSError as refused:
        if not world["caged"] and refused.errno in MISSING:
            raise Apart(f"this kernel has no such socket: {refused.strerror}") from refused
        raise


for _name, _arguments in {
    "AF_ALG": (38, socket.SOCK_SEQPACKET, 0),
    "AF_VSOCK": (40, socket.SOCK_STREAM, 0),
    "AF_PACKET": (17, socket.SOCK_RAW, 0),
    "AF_INET raw": (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "AF_INET6 raw": (socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6),
    "AF_NETLINK": (16, socket.SOCK_RAW, 0),
    "AF_XDP": (44, socket.SOCK_RAW, 0),
    "AF_BLUETOOTH": (31, socket.SOCK_RAW, 0),
    "AF_CAN": (29, socket.SOCK_RAW, 1),
    "AF_KEY": (15, socket.SOCK_RAW, 2),
    "AF_RDS": (21, socket.SOCK_SEQPACKET, 0),
    "AF_SMC": (43, socket.SOCK_STREAM, 0),
    "AF_TIPC": (30, socket.SOCK_STREAM, 0),
}.items():
    FAMILIES.theft(_name)(partial(_open, *_arguments))


UNIX = Attempt("25", "abstract and path-name Unix sockets of the host", "seccomp", "network namespace", grants_read)


def _greeting(address: str) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as way:
        way.settimeout(5)
        way.connect(address)
        return way.recv(100).decode()


@UNIX.theft("an abstract socket")
def abstract(world: World) -> str:
    return _greeting("\0" + world["abstract"])


@UNIX.theft("a socket in a granted directory")
def in_granted(world: World) -> str:
    return _greeting(f"{world['granted']}/service.sock")


@UNIX.theft("the daemon's own socket")
def daemon_socket(world: World) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as way:
        way.connect(world["daemon_socket"])
        return "connected to the daemon"


@UNIX.theft("a datagram from a pair")
def from_a_pair(world: World) -> str:
    """A pair needs no socket(2), and a datagram socket of it can send to any address."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        sent = ours.sendto(b"loot", world["granted"] + "/mailbox.sock")
        return f"{sent} bytes"


BOUND = Attempt("A5", "a listener of its own, beside or instead of the gateway's", "Landlock", "seccomp")


@BOUND.theft("bind TCP")
def bind_tcp(world: World) -> str:
    with socket.socket() as way:
        way.bind(("127.0.0.1", 0))
        return f"bound to {way.getsockname()}"


@BOUND.theft("listen without bind")
def listen(world: World) -> str:
    with socket.socket() as way:
        way.listen()
        return f"listens at {way.getsockname()}"


@BOUND.theft("a privileged UDP port")
def bind_privileged(world: World) -> str:
    seclude(world, CLONE_NEWNET)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.bind(("0.0.0.0", 123))
        return f"bound to {way.getsockname()}"


SLOW = Attempt(
    "A16", "a descriptor whose last close waits, sent to the daemon to be closed there", "seccomp",
    "the kernel, from 6.16 on",
)  # fmt: skip
CHANNEL = 3


@SLOW.theft("a connection that lingers")
def lingering(world: World) -> str:
    """A reader that takes no descriptors has the kernel close them; SO_LINGER (socket(7)) makes that wait."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3))
        if world["caged"]:
            held.connect(("127.0.0.1", 53))
            _fill(held)
            socket.send_fds(socket.socket(fileno=os.dup(CHANNEL)), [b"\0"], [held.fileno()])
            return "it went to the daemon"
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            held.connect(deaf.getsockname())
            _fill(held)
            ours, theirs = socket.socketpair()
            socket.send_fds(ours, [b"\0"], [held.fileno()])
            held.close()
            began = time.monotonic()
            theirs.recv(1)
            waited = time.monotonic() - began
    return f"the reader waited {waited:.1f} s" if waited > 1 else ""


def _fill(way: socket.socket) -> None:
    way.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            way.send(bytes(1 << 16))
    way.setblocking(True)
