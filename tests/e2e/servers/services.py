"""Two services of the internet, as far as connectors of PyPI ask them: each takes its key at its place alone."""

from __future__ import annotations

import base64
import json
import random
import ssl
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .secure import Quiet

Record = dict[str, Any]
Answer = tuple[int, list[Record], int | None]
PAGE = 3


@dataclass
class Service:
    """One of them.

    Attributes:
        host: Its name.
        path: What is read there.
        authorization: The field that it takes its key in, with the key.
        records: What it has, oldest first.
        since: The query key for newer records, and the field that it means.
        refused: Requests without the key.
        asked: Queries of the others.
        last: Set once somebody asks for a last page.
        proceed: Last pages wait for this.
    """

    host: str
    path: str
    authorization: str
    records: list[Record]
    since: tuple[str, str]
    refused: int = 0
    asked: list[dict[str, str]] = field(default_factory=list)
    last: threading.Event = field(default_factory=threading.Event)
    proceed: threading.Event = field(default_factory=threading.Event)

    def answer(self, authorization: str, query: dict[str, str]) -> Answer:
        """Status, records, and the number of the next page."""
        if authorization != self.authorization:
            self.refused += 1
            return 401, [], None
        self.asked.append(query)
        page = int(query.get("page", 1))
        name, at = self.since
        found = [record for record in self.records if record[at] >= self.moment(query.get(name, ""))]
        if page * PAGE < len(found):
            return 200, found[(page - 1) * PAGE : page * PAGE], page + 1
        self.last.set()
        self.proceed.wait(60)
        return 200, found[(page - 1) * PAGE :], None

    def rest(self) -> None:
        """Waits for somebody else's last page."""
        self.asked.clear()
        self.last.clear()
        self.proceed.clear()

    def moment(self, told: str) -> str:
        """A moment of a query as the records have it."""
        if told.replace(".", "").isdigit():
            return datetime.fromtimestamp(float(told), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return told


def checkly(key: str) -> Service:
    """api.checklyhq.com: a bearer token."""
    records = [
        {"id": f"{n}", "name": "API Check", "checkType": "API", "responseTime": 10 + n, "statusCode": "500",
         "created_at": f"2026-01-0{1 + n}T00:00:00.000Z"}
        for n in range(7)
    ]  # fmt: skip
    return Service("api.checklyhq.com", "/v1/check-alerts", f"Bearer {key}", records, ("from", "created_at"))


def greenhouse(key: str) -> Service:
    """harvest.greenhouse.io: the key as Basic's user, with an empty password."""
    records = [
        {"id": 100 + n, "first_name": "Ada", "last_name": f"Byron {n}", "company": None, "is_private": False,
         "tags": ["import"], "updated_at": f"2026-01-0{1 + n}T00:00:00.000Z"}
        for n in range(7)
    ]  # fmt: skip
    pair = base64.b64encode(f"{key}:".encode()).decode()
    return Service("harvest.greenhouse.io", "/v1/candidates", f"Basic {pair}", records, ("updated_after", "updated_at"))


class Internet:
    """An HTTPS server for services, told apart by their names, as a context.

    Attributes:
        address: Of this machine, and nobody else's.
    """

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._services: dict[str, Service] = {}
        internet = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                self.rfile.read(int(self.headers.get("content-length", 0)))
                service = internet._services[self.headers["host"]]
                query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
                answer: Answer = (404, [], None)
                if parts.path == service.path:
                    answer = service.answer(self.headers.get("authorization", ""), query)
                status, records, following = answer
                body = json.dumps(records).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                if following is not None:
                    self.send_header("X-Next-Page", str(following))
                    kept = "".join(f"&{name}={query[name]}" for name in query.keys() - {"page"})
                    url = f"https://{service.host}{service.path}?page={following}{kept}"
                    self.send_header("Link", f'<{url}>; rel="next"')
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        # An address of its own: another run of these tests may be at the same port.
        self.address = f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}"
        try:
            self._server = Quiet((self.address, 443), Handler)
        except PermissionError:
            raise RuntimeError(
                "connectors ask their services at port 443, which this user may not open: "
                "sudo sysctl -w net.ipv4.ip_unprivileged_port_start=443"
            ) from None
        self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)

    def serve(self, *services: Service) -> None:
        """These from now on, and no others."""
        self._services = {service.host: service for service in services}

    def __enter__(self) -> Internet:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
