"""ClientHellos that name somebody else, or nobody, on the way to an allowed host."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any

from ..loot import Attempt, World
from ..wires import WEB, acting, client_hello, hear
from .addresses import rule


def tls(world: World) -> dict[str, Any]:
    """One host, whose name a ClientHello must say."""
    return {"egress": [rule("allowed.test", 443, protocol="tls")]}


SNI = Attempt("41", "another SNI on an allowed address, none, or two", "gateway", "", tls)
ALLOWED = b"allowed.test"


def _greet(make: Callable[[], list[bytes]]) -> str:
    """Sends pieces as packets of their own, and hears whether the far end got any."""
    with socket.create_connection(("allowed.test", 443), 8) as way:
        way.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in make():
            way.sendall(piece)
        way.shutdown(socket.SHUT_WR)
        return hear(way)


def body(hello: bytes) -> bytes:
    """The handshake message inside its record."""
    return hello[5:]


def records(message: bytes, size: int) -> bytes:
    """A handshake message cut into records of that size."""
    cut = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + struct.pack(">H", len(piece)) + piece for piece in cut)


def extension(kind: int, content: bytes) -> bytes:
    """One extension."""
    return struct.pack(">HH", kind, len(content)) + content


def server_name(*names: bytes) -> bytes:
    """The extension that holds names, as many as there are."""
    entries = b"".join(b"\0" + struct.pack(">H", len(name)) + name for name in names)
    return extension(0, struct.pack(">H", len(entries)) + entries)


def own_hello(*extensions: bytes) -> bytes:
    """A ClientHello by hand, in one record."""
    others = [
        extension(43, b"\x04\x03\x04\x03\x03"),
        extension(10, b"\0\x02\0\x1d"),
        extension(13, b"\0\x04\x04\x03\x08\x04"),
        extension(51, b"\0\x24\0\x1d\0\x20" + bytes(range(32))),
    ]
    joined = b"".join([*extensions, *others])
    inner = b"\x03\x03" + bytes(32) + b"\x20" + bytes(32) + b"\0\x04\x13\x01\xc0\x2f" + b"\x01\0"
    inner += struct.pack(">H", len(joined)) + joined
    return records(b"\x01" + len(inner).to_bytes(3, "big") + inner, 16_384)


PIECES: dict[str, Callable[[], list[bytes]]] = {
    "another name": lambda: [client_hello("evil.test")],
    "a name below": lambda: [client_hello("x.allowed.test")],
    "a name above": lambda: [client_hello("test")],
    "no name": lambda: [client_hello(None)],
    "an address for a name": lambda: [own_hello(server_name(b"1.1.1.1"))],
    "another name, one byte a packet": lambda: [bytes([one]) for one in client_hello("evil.test")],
    "another name, in records of 7 bytes": lambda: [records(body(client_hello("evil.test")), 7)],
    "two names, the allowed one first": lambda: [own_hello(server_name(ALLOWED, b"evil.test"))],
    "two names, the allowed one last": lambda: [own_hello(server_name(b"evil.test", ALLOWED))],
    "two extensions": lambda: [own_hello(server_name(ALLOWED), server_name(b"evil.test"))],
    "a NUL after the allowed name": lambda: [own_hello(server_name(ALLOWED + b"\0.evil.test"))],
    "a NUL before the allowed name": lambda: [own_hello(server_name(b"evil.test\0." + ALLOWED))],
    "a port after the name": lambda: [own_hello(server_name(ALLOWED + b":443"))],
    "an empty name": lambda: [own_hello(server_name(b""))],
    "an outer name of ECH": lambda: [own_hello(server_name(b"public.front.test"), extension(0xFE0D, b"\0" * 40))],
    "an alert before the ClientHello": lambda: [b"\x15\x03\x01\0\x02\x01\0" + client_hello("allowed.test")],
    "bytes before the ClientHello": lambda: [b"\0" + client_hello("allowed.test")],
    "a ClientHello of SSL 2": lambda: [b"\x80\x2e\x01\0\x02\0\x15\0\0\0\x10" + bytes(37)],
    "plain HTTP": lambda: [WEB],
    "a ClientHello that is not whole": lambda: [client_hello("allowed.test")[:-9]],
    "a ClientHello too long to be one": lambda: [own_hello(server_name(ALLOWED))[:3] + b"\xff\xff" + bytes(70_000)],
    "another name behind 60 KiB of extensions": lambda: [
        records(
            body(
                own_hello(*[extension(0x4A4A + 0x1010 * n, bytes(12_000)) for n in range(5)], server_name(b"evil.test"))
            ),
            16_000,
        )
    ],
}
for _name, _make in PIECES.items():
    SNI.theft(_name)(acting(_greet, _make))
