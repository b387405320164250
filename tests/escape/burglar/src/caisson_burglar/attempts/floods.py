"""What scenarios have a worker do to the daemon that serves it. No attempts by themselves: the scenario judges."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count

from ..loot import Nothing, World
from ..wires import ask, by_name, question, resolver
from .frames import CHANNEL, SCHEMA, frame, message, text
from .tools import TOOLS

PUBLIC = "93.184.215.14"


def _for_seconds(world: World, act: Callable[[], object]) -> int:
    """Acts as often as it can while the flood lasts; how often."""
    until, times = time.monotonic() + world["seconds"], 0
    while time.monotonic() < until:
        with suppress(OSError):
            act()
        times += 1
    return times


@TOOLS.theft("flood with datagrams")
def datagrams(world: World) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        address = (PUBLIC, 9999)
        times = _for_seconds(world, lambda: [way.sendto(b"x", address) for _ in range(64)])
    return f"{64 * times} datagrams"


@TOOLS.theft("flood with questions")
def questions(world: World) -> str:
    """Large ones of many names, which are no question that anybody answers."""
    server = (world["internet"]["nameserver"], 53)
    one = question([b"a" * 60, b"b" * 60, b"c" * 60, b"test"], 1)
    many = one[:4] + b"\0\x08" + one[6:] + (one[12:]) * 7
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        times = _for_seconds(world, lambda: [way.sendto(each, server) for each in (one, many) * 32])
    return f"{64 * times} questions"


@TOOLS.theft("flood with connections")
def connections(world: World) -> str:
    """To a port that listens, and a host that is not allowed: each is accepted and reset."""

    def one() -> None:
        with socket.socket() as way:
            way.settimeout(1)
            way.connect(("10.1.2.3", 80))

    return f"{_for_seconds(world, one)} connections"


@TOOLS.theft("hold connections")
def hold(world: World) -> str:
    """As many as it may have descriptors, each to an allowed host that stays, by many processes."""
    children = []
    for _ in range(world["processes"]):
        child = os.fork()
        if child == 0:
            held = []
            with suppress(OSError):
                while True:
                    held.append(socket.create_connection(("allowed.test", world["internet"]["ping"]), 5))
            time.sleep(world["seconds"])
            os._exit(min(len(held), 255))
        children.append(child)
    return f"{sum(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)} connections"


@TOOLS.theft("ask a silent server")
def silent(world: World) -> str:
    """As many names as may be under way, of a zone whose server never answers."""
    server = (world["internet"]["nameserver"], 53)
    ways = []
    for number in range(world["names"]):
        way = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        way.sendto(question([b"n%d" % number, b"silent", b"test"], 1), server)
        ways.append(way)
    time.sleep(world["seconds"])
    return f"{len(ways)} questions under way"


@TOOLS.theft("converse")
def converse(world: World) -> str:
    """Talks to an allowed host until it says that the policy has changed by now."""
    with socket.create_connection(("allowed.test", world["internet"]["ping"]), 8) as way:
        way.settimeout(8)
        until = time.monotonic() + 25
        while time.monotonic() < until:
            way.sendall(b"ping\n")
            said = way.recv(64)
            if b"after" in said:
                return "the connection lives on"
            if not said:
                raise Nothing("the connection was closed")
            time.sleep(0.02)
    raise Nothing("nobody edited the policy")


@TOOLS.theft("call again and again")
def again(world: World) -> str:
    """New connections to an allowed host, until one is made after the policy has changed."""
    until = time.monotonic() + 25
    while time.monotonic() < until:
        with socket.create_connection(("allowed.test", world["internet"]["ping"]), 8) as way:
            way.settimeout(8)
            way.sendall(b"ping\n")
            if b"after" in way.recv(64):
                return "a new connection was made"
        time.sleep(0.02)
    raise Nothing("nobody edited the policy")


@TOOLS.theft("upload for ever")
def upload(world: World) -> str:
    """Sends, and never comes to an end of its own."""
    with socket.create_connection(("allowed.test", 4646), 8) as way:
        while True:
            way.sendall(b"x" * 4096)
            time.sleep(0.05)


@TOOLS.theft("write for ever")
def write_for_ever(world: World) -> str:
    """Into a file that the scenario names, and to a caller that may not listen."""

    def write() -> None:
        for number in count(1):
            # Over what is there, in one call: a reader never finds the file empty.
            file = os.open(world["path"], os.O_WRONLY | os.O_CREAT, 0o644)
            os.pwrite(file, b"%09d" % number, 0)
            os.close(file)
            time.sleep(0.02)

    threading.Thread(target=write, daemon=True).start()
    lines = _for_seconds(world, lambda: print("x" * 4000, flush=True))
    return f"{lines} lines"


ESCAPES = b"%zz\\xzz%25" * (1 << 17)


@TOOLS.theft("flood with frames", ends="floods")
def frames(world: World) -> str:
    """Schemas and checkpoints, as large as they may be and full of what a search for secrets has to decode."""
    schema = frame(message(SCHEMA, text(1, "loot") + text(2, "s")), ESCAPES[: 1 << 20])
    sent = 0
    until = time.monotonic() + world["seconds"]
    while time.monotonic() < until:
        sent += os.write(CHANNEL, schema)
    return f"{sent} bytes"


@TOOLS.theft("dial")
def dial(world: World) -> str:
    """One host and port that the scenario names, and how long it took."""
    began = time.monotonic()
    where = by_name(world["host"], world["port"])
    return f"{where} after {time.monotonic() - began:.2f} s"


@TOOLS.theft("write")
def write(world: World) -> str:
    """The file that the scenario names."""
    with open(world["path"], "w", encoding="utf-8") as file:
        return f"{file.write('written')} characters"


@TOOLS.theft("attempt")
def attempt(world: World) -> str:
    """A packet to each place that the scenario names: they may come to nothing, but somebody should see them."""
    for kind, address, port in world["attempts"]:
        _attempt(kind, address, port)
    return "made"


def _attempt(kind: str, address: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with suppress(OSError):
        if kind == "dns":
            socket.getaddrinfo(address, port)
        elif kind == "udp":
            with socket.socket(family, socket.SOCK_DGRAM) as way:
                way.sendto(b"loot", (address, port))
        else:
            with socket.socket(family, socket.SOCK_STREAM) as way:
                way.settimeout(2)
                way.connect((address, port))


@TOOLS.theft("ask")
def ask_for(world: World) -> str:
    """A question to DNS whose labels the scenario names."""
    labels = [label.encode()[:63] for label in world["labels"]]
    return f"code {ask(resolver(world), labels).code}"


@TOOLS.theft("speak HTTP/2")
def speak(world: World) -> str:
    """What a gRPC server answers to its preface: its settings."""
    with socket.create_connection((world["host"], world["port"]), 5) as way:
        way.settimeout(5)
        way.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        heard = way.recv(64)
    return f"{len(heard)} bytes of a server" if heard else ""
