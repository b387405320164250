"""The channel itself: frames that are none, that never end, that come out of turn.

A worker's channel is descriptor 3, and a connector can write to it. Outside, the same bytes go to a reader that
believes what it is told, and the theft tells what became of that.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import threading
import time

from ..loot import Attempt, World

CHANNEL = 3
LATE = "TIMEOUT"
BROKEN = "WORKER_LOST"

CHANNELED = Attempt("26", "malformed, oversized, out-of-order and never-ending frames", "the order of frames")


def frame(message: bytes, body: bytes = b"", *, announced: int | None = None) -> bytes:
    """A frame of runtime/wire; `announced` is the body's length as it is told."""
    return struct.pack("<II", len(message), len(body) if announced is None else announced) + message + body


def message(field: int, content: bytes = b"") -> bytes:
    """One arm of FromWorker: a field of less than 128 bytes."""
    return bytes([*varint(field << 3 | 2), *varint(len(content))]) + content


def varint(number: int) -> bytes:
    """As protobuf writes it."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def text(field: int, content: str) -> bytes:
    """A string field."""
    return message(field, content.encode())


HELLO, STARTED, SCHEMA, BATCH, COMMITTED = 1, 2, 5, 6, 14


def believed(data: bytes) -> str:
    """What a reader without a doubt makes of it: it waits for as much as is announced, and does as it is told."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(0.3)
    threading.Thread(target=ours.sendall, args=(data,), daemon=True).start()
    done = []
    try:
        while True:
            meta, body = struct.unpack("<II", _exactly(theirs, 8))
            told = _exactly(theirs, meta)
            _exactly(theirs, body)
            done.append(told[0] >> 3 if told else 0)
            if len(done) * len(data) > 1 << 26 or (len(done) > 2 and len(data) < 200):
                return f"did as it was told: {done[:5]}"
    except TimeoutError:
        return f"did {done[:5]} and waits for ever"


def _exactly(way: socket.socket, size: int) -> bytes:
    got = bytearray()
    while len(got) < size:
        piece = way.recv(min(size - len(got), 1 << 20))
        if not piece:
            raise TimeoutError("the end")
        got += piece
    return bytes(got)


def _say(world: World, data: bytes) -> str:
    if not world["caged"]:
        return believed(data)
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(CHANNEL, rest) :]
    # Nothing more is said: what comes next would be the library's own frame.
    time.sleep(8)
    return "still there"


@CHANNELED.theft("bytes that are no frame", ends=BROKEN)
def garbage(world: World) -> str:
    return _say(world, os.urandom(4096) if world["caged"] else b"\xff" * 4096)


@CHANNELED.theft("a message of 4 GiB announced", ends=BROKEN)
def huge_message(world: World) -> str:
    return _say(world, struct.pack("<II", 0xFFFF_FFFF, 0))


@CHANNELED.theft("a body of 4 GiB announced", ends=BROKEN)
def huge_body(world: World) -> str:
    return _say(world, frame(message(BATCH), announced=0xFFFF_FFFF))


@CHANNELED.theft("a message that is no protobuf", ends=BROKEN)
def malformed(world: World) -> str:
    return _say(world, frame(b"\xff" * 40) * 3)


@CHANNELED.theft("records of a schema that was never sent", ends=BROKEN)
def unknown_schema(world: World) -> str:
    batch = text(1, "loot") + text(3, "none") + bytes([6 << 3, 1])
    return _say(world, frame(message(BATCH, batch), b"{}\n") * 3)


@CHANNELED.theft("Started a second time", ends=BROKEN)
def started_again(world: World) -> str:
    return _say(world, frame(message(STARTED)) * 3)


@CHANNELED.theft("a commit in a Read", ends=BROKEN)
def committed(world: World) -> str:
    return _say(world, frame(message(COMMITTED, text(1, "loot"))) * 3)


@CHANNELED.theft("Hello a second time", ends=BROKEN)
def hello_again(world: World) -> str:
    return _say(world, frame(message(HELLO)) * 3)


@CHANNELED.theft("a name with a mebibyte", ends=BROKEN)
def long_name(world: World) -> str:
    name = b"x" * (1 << 20)
    schema = bytes([1 << 3 | 2]) + varint(len(name)) + name
    whole = bytes([SCHEMA << 3 | 2]) + varint(len(schema)) + schema
    return _say(world, frame(whole) * 3)


@CHANNELED.theft("half a frame, and silence", ends=LATE, deadline_ms=2500)
def half(world: World) -> str:
    return _say(world, frame(message(BATCH, text(1, "loot")), announced=1000))


@CHANNELED.theft("one frame for ever, a byte at a time", ends=LATE, deadline_ms=2500)
def trickle(world: World) -> str:
    whole = frame(message(BATCH, text(1, "loot")), announced=3_000_000)
    if not world["caged"]:
        return believed(whole + b"x" * 100)
    os.write(CHANNEL, whole)
    while True:
        os.write(CHANNEL, b"x")
        time.sleep(0.01)


SPUN = Attempt("27", "a busy loop with the interpreter's lock held, deaf to signals", "the deadline")


def _spin() -> None:
    """A regular expression that takes for ever, and never lets the lock go."""
    signal.pthread_sigmask(signal.SIG_SETMASK, range(1, 65))
    re.match(r"(a+)+$", "a" * 64 + "b")


@SPUN.theft("a regular expression without end", ends=LATE, deadline_ms=2500)
def spin(world: World) -> str:
    if world["caged"]:
        _spin()
        return "it ended by itself"
    child = os.fork()
    if child == 0:
        _spin()
        os._exit(0)
    time.sleep(0.5)
    os.kill(child, signal.SIGTERM)
    time.sleep(1)
    lives = os.waitpid(child, os.WNOHANG) == (0, 0)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "deaf to SIGTERM" if lives else ""
