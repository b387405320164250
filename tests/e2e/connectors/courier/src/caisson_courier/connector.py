"""Requests as the config has them, by a client that knows nothing of Caisson."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPSConnection
from typing import Any

from caisson import Connector, Secret, stream

Record = dict[str, Any]
PIECE = b"x" * (1 << 16)


@dataclass
class Config:
    """What is asked for."""

    port: int
    asks: str = "[]"
    mib: int = 1
    token: Secret | None = None


class Courier(Connector[Config]):
    """Sends, and tells what came back."""

    def test(self) -> None:
        """Nothing to try."""

    def to(self, port: int) -> HTTPSConnection:
        return HTTPSConnection("localhost", port, timeout=60, context=ssl.create_default_context())

    def filled(self, text: str) -> str:
        """With the token, or a pair of Basic with it as user or password."""
        token = self.config.token.reveal() if self.config.token is not None else ""
        pairs = {"{as_user}": f"{token}:", "{as_password}": f"ann:{token}"}
        for mark, pair in pairs.items():
            text = text.replace(mark, base64.b64encode(pair.encode()).decode())
        return text.replace("{token}", token)

    @stream(primary_key="number")
    def answers(self) -> Iterator[Record]:
        """To each of `asks`: method, path, and maybe port, headers, body, or its size, and whether it is chunked."""
        for number, ask in enumerate(json.loads(self.config.asks)):
            body: Any = self.filled(ask.get("body", "")).encode() or b"x" * ask.get("size", 0)
            headers = {name: self.filled(value) for name, value in ask.get("headers", {}).items()}
            http = self.to(ask.get("port", self.config.port))
            sent = iter([body]) if ask.get("chunked") else body
            http.request(
                ask["method"], self.filled(ask["path"]), sent, headers, encode_chunked=bool(ask.get("chunked"))
            )
            answer = http.getresponse()
            answer.read()
            http.close()
            yield {"number": number, "status": answer.status}

    def get(self, path: str) -> int:
        """The status of an answer, on a connection of its own."""
        http = self.to(self.config.port)
        http.request("GET", path)
        answer = http.getresponse()
        answer.read()
        http.close()
        return answer.status

    @stream(primary_key="sent")
    def through(self) -> Iterator[Record]:
        """Much, both ways; goes on with each only once the other side has had the first of it."""
        pieces = (self.config.mib << 20) // len(PIECE)
        http = self.to(self.config.port)
        http.putrequest("PUT", "/parcel")
        http.putheader("Content-Length", str(pieces * len(PIECE)))
        http.endheaders(PIECE)
        arrived = self.get("/arrived")
        for _ in range(pieces - 1):
            http.send(PIECE)
        sent = http.getresponse()
        sent.read()
        http.request("GET", f"/parcel?mib={self.config.mib}")
        answer = http.getresponse()
        received = len(answer.read(1))
        taken = self.get("/taken")
        while piece := answer.read(len(PIECE)):
            received += len(piece)
        yield {"sent": sent.status, "arrived": arrived, "taken": taken, "received": received}
