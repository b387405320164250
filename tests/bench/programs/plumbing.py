"""A client of `plumbing_server.py`: bytes, round trips and short connections over TCP.

Each returns nanoseconds: of the whole, of the median round trip, of the median connection.
`plumbing.py PORT WHAT AMOUNT` prints it.
"""

from __future__ import annotations

import json
import socket
import statistics
import sys
import time


def connected(host: str, port: int, first: bytes) -> socket.socket:
    """A connection on which the wish has been said."""
    found = socket.create_connection((host, port))
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    found.sendall(first)
    return found


def download(host: str, port: int, amount: int) -> int:
    """Receives so many bytes."""
    began = time.perf_counter_ns()
    room = memoryview(bytearray(1 << 18))
    with connected(host, port, b"D" + amount.to_bytes(8, "big")) as stream:
        left = amount
        while left:
            read = stream.recv_into(room)
            if not read:
                raise ConnectionError(f"{left} bytes did not come")
            left -= read
    return time.perf_counter_ns() - began


def trips(host: str, port: int, amount: int) -> int:
    """Sends a byte and waits for it to come back, so many times."""
    taken = []
    with connected(host, port, b"E") as stream:
        for _ in range(amount):
            began = time.perf_counter_ns()
            stream.sendall(b"x")
            if stream.recv(1) != b"x":
                raise ConnectionError("the byte did not come back")
            taken.append(time.perf_counter_ns() - began)
    return int(statistics.median(taken))


def connections(host: str, port: int, amount: int) -> int:
    """Connects, gets one byte and leaves, so many times; the name is resolved once."""
    taken = []
    address = socket.gethostbyname(host)
    for _ in range(amount):
        began = time.perf_counter_ns()
        with connected(address, port, b"S") as stream:
            if stream.recv(1) != b"s":
                raise ConnectionError("nothing was said")
        taken.append(time.perf_counter_ns() - began)
    return int(statistics.median(taken))


WORK = {"download": download, "trips": trips, "connections": connections}

if __name__ == "__main__":
    port, what, amount = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    print(json.dumps({"records": 1, "sum": WORK[what]("localhost", port, amount)}))
