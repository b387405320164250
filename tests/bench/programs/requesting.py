"""A client of an HTTPS server that answers every path with 1 KiB, and /bulk with much.

Each returns nanoseconds: of the whole, of the median round trip, or 0.
`requesting.py PORT WHAT AMOUNT CAFILE` prints it.
"""

from __future__ import annotations

import json
import socket
import ssl
import statistics
import sys
import time

PAYLOAD = 1024
"""Bytes of an ordinary answer."""
AT_ONCE = 4
"""Connections on which requests are under way."""
CONTEXTS: dict[str | None, ssl.SSLContext] = {}
"""By the file of roots: reading one takes longer than a handshake."""
ADDRESSES: dict[str, str] = {}
"""Each name is looked up once."""


class Connection:
    """One that is kept, on which requests follow each other."""

    def __init__(self, host: str, port: int, cafile: str | None, key: str = "") -> None:
        context = CONTEXTS.get(cafile) or CONTEXTS.setdefault(cafile, ssl.create_default_context(cafile=cafile))
        if host not in ADDRESSES:
            ADDRESSES[host] = socket.gethostbyname(host)
        plain = socket.create_connection((ADDRESSES[host], port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = context.wrap_socket(plain, server_hostname=host)
        more = f"Authorization: Bearer {key}\r\n" if key else ""
        self._request = f"GET /{{}} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: */*\r\nUser-Agent: plumb\r\n{more}\r\n"

    def ask(self, path: str = "") -> None:
        """Sends a request."""
        self.stream.sendall(self._request.format(path).encode())

    def answer(self, length: int = PAYLOAD) -> None:
        """Receives a whole answer."""
        seen = b""
        while (end := seen.find(b"\r\n\r\n")) < 0:
            seen += self._more()
        if not seen.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(seen[:200].decode(errors="replace"))
        if b"transfer-encoding: chunked" in seen[:end].lower():
            # As the gateway sends what may hold a sealed value.
            while not seen.endswith(b"\r\n0\r\n\r\n"):
                seen += self._more()
            return
        left = length - (len(seen) - end - 4)
        while left > 0:
            left -= len(self._more())
        if left:
            raise ConnectionError("more came than was asked for")

    def _more(self) -> bytes:
        data = self.stream.recv(1 << 17)
        if not data:
            raise ConnectionError("the answer broke off")
        return data


def requests(host: str, port: int, amount: int, cafile: str | None) -> int:
    """So many requests, on a few connections at once."""
    connections = [Connection(host, port, cafile) for _ in range(AT_ONCE)]
    began = time.perf_counter_ns()
    for _ in range(amount // AT_ONCE):
        for connection in connections:
            connection.ask()
        for connection in connections:
            connection.answer()
    return time.perf_counter_ns() - began


def latency(host: str, port: int, amount: int, cafile: str | None, key: str = "") -> int:
    """One request after the other on one connection, with a key where there is one."""
    connection = Connection(host, port, cafile, key)
    taken = []
    for _ in range(amount):
        began = time.perf_counter_ns()
        connection.ask()
        connection.answer()
        taken.append(time.perf_counter_ns() - began)
    return int(statistics.median(taken))


def bulk(host: str, port: int, amount: int, cafile: str | None) -> int:
    """One answer of so many bytes."""
    connection = Connection(host, port, cafile)
    began = time.perf_counter_ns()
    connection.ask("bulk")
    connection.answer(amount)
    return time.perf_counter_ns() - began


def hold(host: str, port: int, amount: int, cafile: str | None) -> int:
    """So many connections with one request each, held open for three seconds."""
    connections = []
    for _ in range(amount):
        connection = Connection(host, port, cafile)
        connection.ask()
        connection.answer()
        connections.append(connection)
    time.sleep(3)
    return len(connections)


WORK = {"requests": requests, "latency": latency, "bulk": bulk, "hold": hold}

if __name__ == "__main__":
    port, what, amount, cafile = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    print(json.dumps({"records": 1, "sum": WORK[what]("localhost", port, amount, cafile)}))
