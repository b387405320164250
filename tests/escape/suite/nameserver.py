"""The only name server of the suite's network, on every address: a careless one, as there are on the internet.

It writes down every question, and answers like a program that reads names as C does: up to the first NUL, line end,
`%` or `#`. What a gateway lets through to it, it believes.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address

from .internet import ARRIVED, plain

A, CNAME, PTR, TXT, AAAA, AXFR, ANY = 1, 5, 12, 16, 28, 252, 255
PUBLIC, EVIL, PRIVATE = "93.184.215.14", "1.1.1.1", "10.1.2.3"
LOCAL_OPTION = (65_001).to_bytes(2, "big")
# Where the host of this network looks names up.
ADDRESS = "127.0.0.54"

NAMES = {
    "allowed.test": [PUBLIC],
    "db.test": [PUBLIC],
    "a.example.test": [PUBLIC],
    "evil.test": [EVIL],
    "evilexample.test": [EVIL],
    "example.test.evil.test": [EVIL],
    "example.test": [EVIL],
    "a.b.example.test": [EVIL],
    # `allowed.test` with a Cyrillic letter in front.
    "xn--llowed-2nf.test": [EVIL],
    "dns.google": ["8.8.8.8"],
    "metadata.test": ["169.254.169.254"],
    "metadata6.test": ["fd00:ec2::254"],
    # The name is a cloud's, whatever it stands for.
    "metadata.google.internal": [PUBLIC],
    "mixed.test": [PRIVATE, PUBLIC],
    "host.test": ["127.0.0.1"],
    "a.private.test": [PRIVATE],
    "b.private.test": ["192.168.7.8"],
    "c.private.test": ["172.16.5.6"],
    "loop.private.test": ["127.0.0.1"],
    "zero.private.test": ["0.0.0.0"],
    "link.private.test": ["169.254.1.1"],
    "six.private.test": ["fd00:1::1"],
    "mapped.private.test": ["::ffff:10.1.2.3"],
    "nat64.private.test": ["64:ff9b::a01:203"],
    "6to4.private.test": ["2002:a01:203::1"],
    "2852039166": ["169.254.169.254"],
    "0xa9fea9fe": ["169.254.169.254"],
    "127.1": ["127.0.0.1"],
}  # fmt: skip
# A record's owner, kind and data; the owner of most is the question's name, by a pointer to byte 12.
Record = tuple[bytes, int, bytes]
OWN = b"\xc0\x0c"
# Names in this zone are never answered.
SILENT = b"\x06silent\x04test\0"
ALIASES = {"alias.private.test": "a.private.test"}


@dataclass(frozen=True)
class Question:
    """One question as it came.

    Attributes:
        asked: The address that it came to.
        name: Labels joined by dots; whatever bytes they hold.
        raw: The whole message.
    """

    asked: str
    name: str
    kind: int
    raw: bytes


@dataclass
class Nameserver:
    """UDP and TCP on port 53 of every address.

    Attributes:
        questions: In order.
    """

    questions: list[Question] = field(default_factory=list)
    _open: list[socket.socket] = field(default_factory=list)
    _rebound: dict[str, int] = field(default_factory=dict)

    def open(self) -> Nameserver:
        """Begins to listen."""
        door = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        door.bind(("::", 53))
        listener = socket.create_server(("::", 53), family=socket.AF_INET6, dualstack_ipv6=True)
        self._open += [door, listener]

        def receive() -> None:
            with contextlib.suppress(OSError):
                while True:
                    raw, control, _, guest = door.recvmsg(4096, 256)
                    if not control:
                        break  # shut down
                    with contextlib.suppress(ValueError, IndexError, struct.error):
                        asked = plain(socket.inet_ntop(socket.AF_INET6, control[0][2][:16]))
                        reply = self.answer(raw, asked)
                        if SILENT not in raw:
                            door.sendmsg([reply], [control[0]], 0, guest)

        def converse(guest: socket.socket) -> None:
            with guest, contextlib.suppress(OSError, ValueError, IndexError, struct.error):
                guest.settimeout(5)
                while head := guest.recv(2, socket.MSG_WAITALL):
                    raw = guest.recv(struct.unpack(">H", head)[0], socket.MSG_WAITALL)
                    reply = self.answer(raw, plain(guest.getsockname()[0]))
                    guest.sendall(struct.pack(">H", len(reply)) + reply)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    guest, _ = listener.accept()
                    threading.Thread(target=converse, args=(guest,), daemon=True).start()

        for run in (receive, accept):
            threading.Thread(target=run, daemon=True).start()
        return self

    def close(self) -> None:
        """Closes both; their threads end."""
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def answer(self, raw: bytes, asked: str) -> bytes:
        """The reply to one message."""
        labels, at = [], 12
        while raw[at]:
            labels.append(raw[at + 1 : at + 1 + raw[at]])
            at += 1 + raw[at]
        (kind,) = struct.unpack(">H", raw[at + 1 : at + 3])
        name = b".".join(labels).decode("latin-1")
        self.questions.append(Question(asked, name, kind, raw))
        records = self._records(careless(name), kind, asked)
        if kind == A and name.lower() == "allowed.test" and (seen := beside(name, raw)):
            records = [(OWN, A, ip_address(seen).packed)]
        flags = 0x8180 if records is not None else 0x8183
        head = raw[:2] + struct.pack(">HHHHH", flags, 1, len(records or ()), 0, 0)
        question = raw[12 : at + 5]
        return (
            head
            + question
            + b"".join(
                owner + struct.pack(">HHIH", kind, 1, 5, len(data)) + data for owner, kind, data in records or ()
            )
        )

    def _records(self, name: str, kind: int, asked: str) -> list[Record] | None:
        """None: there is no such name."""
        if name in ALIASES:
            target = encoded(ALIASES[name])
            found = self._of_name(ALIASES[name], kind, asked) or []
            return [(OWN, CNAME, target), *[(target, kind, data) for kind, data in found]]
        records = self._of_name(name, kind, asked)
        return None if records is None else [(OWN, kind, data) for kind, data in records]

    def _of_name(self, name: str, kind: int, asked: str) -> list[tuple[int, bytes]] | None:
        if kind == PTR:
            return [(PTR, b"\x02db\x08internal\x00")]
        if name.endswith(("exfil.test", "token.test")) or (name.endswith("allowed.test") and kind not in (A, AAAA)):
            text = f"{ARRIVED}{asked}:53".encode()
            data = {A: ip_address(PUBLIC).packed, AAAA: IPv6Address("2606:2800:21f::14").packed}
            return [(kind, data.get(kind, bytes([len(text)]) + text))]
        if name.endswith(".rebind.test"):
            # To who looks twice: first what may be reached, then what may not.
            self._rebound[name] = self._rebound.get(name, 0) + (kind == A)
            return [(A, ip_address(PUBLIC if self._rebound[name] == 1 else PRIVATE).packed)] if kind == A else []
        if name.endswith(".allowed.test"):
            return [(A, ip_address(PUBLIC).packed)] if kind == A else []
        if name not in NAMES:
            return None
        found = [ip_address(text) for text in NAMES[name]]
        wanted = {A: 4, AAAA: 6}.get(kind)
        return [(kind, one.packed) for one in found if one.version == wanted]


def encoded(name: str) -> bytes:
    """A name as it stands in a message."""
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"


def beside(name: str, raw: bytes) -> str:
    """An address that tells what came beside a name: bits in its case, or an option for local use."""
    if name != name.lower():
        return "203.0.113.77"
    return "203.0.113.78" if LOCAL_OPTION in raw else ""


def careless(name: str) -> str:
    """A name as somebody reads it who did not think of an attacker."""
    for end in "\0\r\n%#/":
        name = name.split(end)[0]
    return name.lower().rstrip(".")
