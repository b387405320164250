"""What a thief would send its loot to: a TCP listener and a DNS server.

Both keep everything that arrives. A test that expects nothing looks here; the
same test first sees loot arrive from plain Python, so that an empty list
means something.
"""

from __future__ import annotations

import socket
import socketserver
import threading
from typing import Any


class Attacker:
    """Listens on loopback for loot over TCP and DNS (UDP) until `close`."""

    def __init__(self) -> None:
        self.tcp: list[bytes] = []
        self.dns: list[str] = []
        loot_tcp, loot_dns = self.tcp, self.dns

        class Tcp(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                self.request.settimeout(5)
                taken = bytearray()
                try:
                    while chunk := self.request.recv(65536):
                        taken += chunk
                except OSError:
                    pass
                loot_tcp.append(bytes(taken))

        class Dns(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                query, server = self.request
                loot_dns.append(_name(query))
                server.sendto(query[:2] + b"\x81\x83" + query[4:], self.client_address)

        self._tcp = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Tcp)
        self._tcp.daemon_threads = True
        self._dns = socketserver.ThreadingUDPServer(("127.0.0.1", 0), Dns)
        self._dns.daemon_threads = True
        for server in (self._tcp, self._dns):
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def tcp_port(self) -> int:
        """Where loot is taken over TCP."""
        return int(self._tcp.server_address[1])

    @property
    def dns_port(self) -> int:
        """Where loot is taken in the labels of names."""
        return int(self._dns.server_address[1])

    @property
    def taken(self) -> int:
        """How many pieces of loot arrived."""
        return len(self.tcp) + len(self.dns)

    def close(self) -> None:
        """Stops both listeners."""
        for server in (self._tcp, self._dns):
            server.shutdown()
            server.server_close()

    def __enter__(self) -> Attacker:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _name(query: bytes) -> str:
    """The name that a DNS query asks for (RFC 1035, 4.1.2)."""
    labels, at = [], 12
    while at < len(query) and query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("latin-1"))
        at += 1 + query[at]
    return ".".join(labels)


def free_port() -> int:
    """A TCP port on loopback that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
