"""What attempts over the network share: a call that is answered, a question to DNS, a ClientHello."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .loot import Nothing, Steal, World

ARRIVED = "arrived at "
A, PTR, TXT, AAAA, HTTPS, AXFR, ANY = 1, 12, 16, 28, 65, 252, 255
PATIENCE = 8.0
WEB = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


def acting(act: Callable[..., str], *arguments: Any) -> Steal:
    """A theft that needs to know nothing of its world."""
    return lambda world: act(*arguments)


def hear(way: socket.socket) -> str:
    """What the far end says of itself; every host of the suite's network says where one has arrived.

    Raises:
        Nothing: It says something else, or closes.
    """
    way.settimeout(PATIENCE)
    heard = b""
    while ARRIVED.encode() not in heard or len(heard) < heard.index(ARRIVED.encode()) + 20:
        piece = way.recv(4096)
        if not piece:
            break
        heard += piece
    _, found, where = heard.decode("latin-1").partition(ARRIVED)
    if not found:
        raise Nothing(f"heard {heard[:60]!r}")
    return ARRIVED + where


def call(address: str, port: int, say: bytes = WEB) -> str:
    """Connects to an address and hears who is there. A zone may follow `%`."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as way:
        way.settimeout(PATIENCE)
        way.connect(socket.getaddrinfo(address, port, family, socket.SOCK_STREAM)[0][4])
        way.sendall(say)
        return hear(way)


def by_name(name: str, port: int, say: bytes = WEB) -> str:
    """Looks a host up as programs do, and connects."""
    with socket.create_connection((name, port), PATIENCE) as way:
        way.sendall(say)
        return hear(way)


def datagram(address: str, port: int, say: bytes = b"\xc0hello", protocol: int = 0) -> str:
    """Sends one, and hears what comes back."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM, protocol) as way:
        way.settimeout(2)
        way.connect((address, port))
        way.send(say)
        return way.recv(200).decode("latin-1")


@dataclass(frozen=True)
class Answer:
    """What DNS said.

    Attributes:
        code: 0, or why not: 2 SERVFAIL, 3 NXDOMAIN, 5 REFUSED.
        records: Kind and data of each answer.
    """

    code: int
    records: list[tuple[int, bytes]]

    def address(self) -> str:
        """The first address.

        Raises:
            Nothing: There is none.
        """
        for kind, data in self.records:
            if kind in (A, AAAA):
                return socket.inet_ntop(socket.AF_INET if kind == A else socket.AF_INET6, data)
        raise Nothing(f"code {self.code}, {len(self.records)} answers and no address")

    def text(self) -> str:
        """All data of the answers as text.

        Raises:
            Nothing: There are none.
        """
        if not self.records:
            raise Nothing(f"code {self.code} and no answer")
        return " ".join(data.decode("latin-1") for _, data in self.records)


def question(labels: list[bytes], kind: int, options: bytes = b"") -> bytes:
    """A question with one name, whose labels may hold anything; `options` go into an EDNS record."""
    name = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    edns = b"\0" + struct.pack(">HHIH", 41, 1232, 0, len(options)) + options if options else b""
    head = struct.pack(">HHHHHH", 0x4242, 0x0100, 1, 0, 0, 1 if options else 0)
    return head + name + struct.pack(">HH", kind, 1) + edns


def ask(server: str, labels: list[bytes], kind: int = A, tcp: bool = False, options: bytes = b"") -> Answer:
    """Asks a name server, whatever it makes of the name."""
    message = question(labels, kind, options)
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as way:
        way.settimeout(PATIENCE)
        way.connect((server, 53))
        if not tcp:
            way.send(message)
            return _answer(way.recv(4096))
        way.sendall(struct.pack(">H", len(message)) + message)
        (length,) = struct.unpack(">H", way.recv(2, socket.MSG_WAITALL))
        return _answer(way.recv(length, socket.MSG_WAITALL))


def _answer(raw: bytes) -> Answer:
    flags, questions, answers = struct.unpack(">HHH", raw[2:8])
    at = 12
    for _ in range(questions):
        at = _past_name(raw, at) + 4
    records = []
    for _ in range(answers):
        at = _past_name(raw, at)
        kind, _, _, length = struct.unpack(">HHIH", raw[at : at + 10])
        records.append((kind, raw[at + 10 : at + 10 + length]))
        at += 10 + length
    return Answer(flags & 15, records)


def _past_name(raw: bytes, at: int) -> int:
    while raw[at]:
        if raw[at] >= 0xC0:
            return at + 2
        at += 1 + raw[at]
    return at + 1


def labels(name: str) -> list[bytes]:
    """The labels of a plain name."""
    return [part.encode() for part in name.split(".")]


def resolver(world: World) -> str:
    """The name server of whoever asks: the gateway inside, the suite's outside."""
    return str(world["internet"]["nameserver"])


def client_hello(name: str | None) -> bytes:
    """What OpenSSL says first to a host of that name; None: to a nameless one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    talk = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        talk.do_handshake()
    return outgoing.read()
