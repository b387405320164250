"""An HTTPS server that takes and gives bodies of any size, and tells what came."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .secure import Secure, Signer

PIECE = 1 << 16
KEPT = 4096
"""Bytes of a body that are kept."""


@dataclass
class Parcel:
    """A request that came.

    Attributes:
        head: The first bytes of its body.
        size: Bytes of its body.
    """

    method: str
    target: str
    headers: dict[str, str]
    head: bytes
    size: int


class Parcels(Secure):
    """Takes anything at any path. `/parcel` is given in two parts, the second one once somebody asked for `/taken`.

    Attributes:
        came: Whole requests, in order.
        broken: Those whose bodies broke off.
        busy: So many of the next requests are answered with 429, to come back in a second.
        echoes: So many of the next ones are sent back to where they came, with what they brought.
    """

    def __init__(self, signer: Signer) -> None:
        self.came: list[Parcel] = []
        self.broken: list[Parcel] = []
        self.busy = 0
        self.echoes = 0
        self._arrived = threading.Event()
        self._taken = threading.Event()
        parcels = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _take(self) -> None:
                head, size = b"", 0
                for piece in self._pieces():
                    parcels._arrived.set()
                    head, size = head or piece[:KEPT], size + len(piece)
                fields = {name.lower(): value for name, value in self.headers.items()}
                parcel = Parcel(self.command, self.path, fields, head, size)
                if size < int(fields.get("content-length", 0)):
                    parcels.broken.append(parcel)
                    self.close_connection = True
                    return None
                parcels.came.append(parcel)
                if parcels.busy:
                    parcels.busy -= 1
                    return self._say(429)
                if parcels.echoes:
                    parcels.echoes -= 1
                    return self._say(302, head, {"Location": self.path, "Content-Type": "text/plain"})
                return self._say(200)

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                match parts.path:
                    case "/arrived":
                        self._say(200 if parcels._arrived.wait(20) else 504)
                    case "/taken":
                        parcels._taken.set()
                        self._say(200)
                    case "/parcel":
                        self._give(int(parse_qs(parts.query)["mib"][0]) << 20)
                    case _:
                        self._take()

            do_POST = do_PUT = _take  # noqa: N815

            def _give(self, size: int) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(size))
                self.end_headers()
                self.wfile.write(b"y" * PIECE)
                if parcels._taken.wait(20):
                    for _ in range(size // PIECE - 1):
                        self.wfile.write(b"y" * PIECE)
                self.close_connection = True

            def _pieces(self) -> Iterator[bytes]:
                if self.headers.get("transfer-encoding") == "chunked":
                    while size := int(self.rfile.readline(), 16):
                        yield self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                    return
                left = int(self.headers.get("content-length", 0))
                while left and (piece := self.rfile.read(min(left, PIECE))):
                    left -= len(piece)
                    yield piece

            def _say(self, status: int, text: bytes = b"", fields: dict[str, str] | None = None) -> None:
                self.send_response(status)
                for name, value in (fields or {}).items():
                    self.send_header(name, value)
                if status == 429:
                    self.send_header("Retry-After", "1")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                """Quiet: `came` is the log."""

        super().__init__(signer, Handler)
