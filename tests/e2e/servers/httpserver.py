"""An HTTP API that misbehaves on demand, and two honest lists.

`/asc` and `/desc` page through the same records, oldest or newest first, with
ties across pages. `fail` makes the next requests of a path answer with a
status; `stall` holds one open until it is released; `drip` answers one a byte
at a time. Every request is kept.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic, sleep, time
from typing import Any
from urllib.parse import parse_qs, urlsplit

Record = dict[str, Any]
DRIP = 0.25
"""Seconds between two bytes of an answer that drips."""


def retry_date(seconds: float) -> str:
    """The HTTP date that lies so many seconds ahead, for Retry-After."""
    return formatdate(time() + seconds, usegmt=True)


@dataclass
class Request:
    """What came in, and when by the monotonic clock."""

    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    at: float = field(default_factory=monotonic)


@dataclass
class Api:
    """The server, on a thread of its own.

    Attributes:
        records: What /asc and /desc serve; each has id and updated_at.
        page: Records on a page.
        requests: All that came, in order.
        tls: Makes it an HTTPS server.
        guard: Says of an Authorization field whether it opens anything; 401 where not.
    """

    records: list[Record] = field(default_factory=list)
    page: int = 10
    requests: list[Request] = field(default_factory=list)
    tls: ssl.SSLContext | None = None
    guard: Callable[[str], bool] | None = None

    def __post_init__(self) -> None:
        self._faults: dict[str, list[tuple[int, dict[str, str], str]]] = {}
        self._stalls: dict[str, threading.Event] = {}
        self._drips: dict[str, float] = {}
        self.stalled = threading.Event()
        self.arrived = threading.Condition()
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                api._answer(self)

            def log_message(self, *_: Any) -> None:
                """Quiet: `requests` is the log."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def fail(
        self, path: str, status: int, times: int = 1, headers: dict[str, str] | None = None, body: str = "{}"
    ) -> None:
        """The next `times` requests of `path` get `status`; `{authorization}` in a body says back what was sent."""
        self._faults.setdefault(path, []).extend([(status, headers or {}, body)] * times)

    def forgive(self) -> None:
        """Answers as it should from now on."""
        self._faults.clear()

    def stall(self, path: str) -> threading.Event:
        """Requests of `path` hang until the event is set; `stalled` tells that one does."""
        self._stalls[path] = threading.Event()
        return self._stalls[path]

    def drip(self, path: str, seconds: float) -> None:
        """The next answer of `path` takes so long, and is silent for no second."""
        self._drips[path] = seconds

    def count(self, path: str) -> int:
        """How many requests of a path came."""
        return sum(request.path == path for request in self.requests)

    def wait_for(self, path: str, count: int, timeout: float = 30) -> None:
        """Returns once `count` requests of `path` came.

        Raises:
            TimeoutError: They did not.
        """
        with self.arrived:
            if not self.arrived.wait_for(lambda: self.count(path) >= count, timeout):
                raise TimeoutError(f"{self.count(path)} of {count} requests of {path} came")

    def close(self) -> None:
        """Stops; stalled requests are let go."""
        for event in self._stalls.values():
            event.set()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        params = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        headers = {name.lower(): value for name, value in handler.headers.items()}
        with self.arrived:
            self.requests.append(Request(handler.command, parts.path, params, headers))
            self.arrived.notify_all()
        if parts.path in self._stalls:
            self.stalled.set()
            self._stalls[parts.path].wait(300)
        if self.guard is not None and not self.guard(headers.get("authorization", "")):
            self._send(handler, 401, "{}")
            return
        waiting = self._faults.get(parts.path)
        if waiting:
            status, extra, text = waiting.pop(0)
            said = text.replace("{authorization}", headers.get("authorization", ""))
            self._send(handler, status, said, extra)
            return
        route = getattr(self, "_" + parts.path.strip("/").replace("/", "_"), None)
        if route is None:
            self._send(handler, 404, '{"error":"not found"}')
        else:
            self._send(handler, 200, json.dumps(route(params)), seconds=self._drips.pop(parts.path, 0))

    @staticmethod
    def _send(
        handler: BaseHTTPRequestHandler,
        status: int,
        text: str,
        headers: dict[str, str] | None = None,
        seconds: float = 0,
    ) -> None:
        content = text.encode()
        try:
            handler.send_response(status)
            for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            steps = int(seconds / DRIP)
            for at in range(steps):
                handler.wfile.write(content[at : at + 1])
                sleep(DRIP)
            handler.wfile.write(content[steps:])
        except ConnectionError:
            handler.close_connection = True  # a killed worker's socket

    def _me(self, params: dict[str, str]) -> Record:
        del params
        return {"name": "tester"}

    def _asc(self, params: dict[str, str]) -> Record:
        since = params.get("since", "")
        chosen = sorted(
            (record for record in self.records if record["updated_at"] >= since),
            key=lambda record: (record["updated_at"], record["id"]),
        )
        return self._paged(chosen, params)

    def _desc(self, params: dict[str, str]) -> Record:
        since = params.get("since", "")
        chosen = sorted(
            (record for record in self.records if record["updated_at"] >= since),
            key=lambda record: (record["updated_at"], record["id"]),
            reverse=True,
        )
        return self._paged(chosen, params)

    def _repeating(self, params: dict[str, str]) -> Record:
        del params
        return {"items": self.records[: self.page], "next": "same"}

    def _events(self, params: dict[str, str]) -> Record:
        after = int(params.get("after", "0"))
        return {"items": [record for record in self.records if record["id"] > after][: self.page]}

    def _paged(self, chosen: list[Record], params: dict[str, str]) -> Record:
        start = int(params.get("page", "0"))
        end = start + self.page
        return {"items": chosen[start:end], "next": str(end) if end < len(chosen) else None}


def tied(count: int, share: int = 3) -> list[Record]:
    """Records of which `share` at a time have the same updated_at."""
    return [
        {
            "id": n,
            "name": f"record {n}",
            "updated_at": f"2026-01-01T00:{n // share // 60:02d}:{n // share % 60:02d}Z",
        }
        for n in range(1, count + 1)
    ]
