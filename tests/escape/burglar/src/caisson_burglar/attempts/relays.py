"""Bytes that get lost between a worker and its host."""

from __future__ import annotations

import hashlib
import socket
import threading
from typing import Any

from ..loot import Attempt, World
from .addresses import rule


def transfers(world: World) -> dict[str, Any]:
    """The hosts that take and give much."""
    return {"egress": [rule("allowed.test", 4646, 4648)]}


WHOLE = Attempt("46", "make the relay lose or alter bytes of 64 MiB with a half-close", "gateway", "", transfers)
PIECE = bytes(range(256)) * 1024


@WHOLE.theft("an upload, ended by a half-close before the answer")
def upload(world: World) -> str:
    """The far end says what it got only after it has seen the end; a careless relay closes both ways then."""
    digest = hashlib.sha256()
    with socket.create_connection(("allowed.test", world["internet"]["upload"]), 30) as way:
        way.settimeout(60)
        for _ in range(world["internet"]["size"] // len(PIECE)):
            way.sendall(PIECE)
            digest.update(PIECE)
        way.shutdown(socket.SHUT_WR)
        heard = b""
        while piece := way.recv(4096):
            heard += piece
    expected = f"{world['internet']['size']} {digest.hexdigest()}"
    return "" if heard.decode() == expected else f"the answer was {heard[:60]!r}"


@WHOLE.theft("a download, asked for with a half-close")
def download(world: World) -> str:
    count = 0
    with socket.create_connection(("allowed.test", world["internet"]["download"]), 30) as way:
        way.settimeout(60)
        way.sendall(b"all of it")
        way.shutdown(socket.SHUT_WR)
        while piece := way.recv(1 << 20):
            for at in (0, len(piece) - 1):
                if piece[at] != (count + at) % 256:
                    return f"byte {count + at} is {piece[at]}"
            count += len(piece)
    return "" if count == world["internet"]["size"] else f"{count} bytes came"


@WHOLE.theft("both ways at once")
def both(world: World) -> str:
    """One thread each: a relay that serves one way at a time stands still."""
    met: list[str] = []
    ways = [threading.Thread(target=lambda act=act: met.append(act(world))) for act in (upload, download)]
    for way in ways:
        way.start()
    for way in ways:
        way.join(60)
    if len(met) < 2:
        return "one of them never ended"
    return "; ".join(filter(None, met))
