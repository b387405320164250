"""The tests' HTTP server as streams."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from caisson import Checkpoint, Connector, Cursor, Idle, Secret, pages, stream

Record = dict[str, Any]


@dataclass
class Config:
    """Where the server is."""

    port: int
    host: str = "localhost"
    scheme: str = "http"
    token: Secret | None = None
    client_secret: Secret | None = None
    auth: str = "token"
    client_key: Secret | None = None
    client_certificate: str | None = None


class Web(Connector[Config]):
    """Oldest first, newest first, for ever, and a server that repeats itself."""

    def open(self) -> None:
        url = f"{self.config.scheme}://{self.config.host}:{self.config.port}"
        self.http = self.client(url, auth=self.config.auth, timeout=5)

    def test(self) -> None:
        self.http.get("/me")

    @stream(primary_key="id", cursor="updated_at", order="asc")
    def asc(self, since: Cursor) -> Iterator[Record]:
        params = {"since": since.value} if since.value else {}
        yield from self.http.records("/asc", params=params, at="items", page=pages.cursor("page", "next"))

    @stream(primary_key="id", cursor="updated_at", order="desc")
    def desc(self, since: Cursor) -> Iterator[Record]:
        params = {"since": since.value} if since.value else {}
        yield from self.http.records("/desc", params=params, at="items", page=pages.cursor("page", "next"))

    @stream(primary_key="id")
    def plain(self, state: Any) -> Iterator[Record | Checkpoint]:
        """By a client that knows nothing of Caisson and gives up at the first answer that is no 200."""
        url = f"{self.config.scheme}://{self.config.host}:{self.config.port}/asc?page="
        page = state or "0"
        while page is not None:
            with urllib.request.urlopen(url + page, timeout=60) as answer:
                found = json.load(answer)
            yield from found["items"]
            page = found["next"]
            yield Checkpoint(page)

    @stream(primary_key="id")
    def stubborn(self) -> Iterator[Record]:
        """Retries what it should not, for ever."""
        while True:
            try:
                urllib.request.urlopen(f"{self.config.scheme}://{self.config.host}:{self.config.port}/admin")
            except OSError:
                continue
        yield {}

    @stream(primary_key="id")
    def repeating(self) -> Iterator[Record]:
        yield from self.http.records("/repeating", at="items", page=pages.cursor("page", "next"))

    @stream(primary_key="id", modes=("streaming",))
    def events(self, state: Any) -> Iterator[Record | Checkpoint | Idle]:
        after = state or 0
        while True:
            items = self.http.get("/events", params={"after": str(after)}).json()["items"]
            for item in items:
                yield item
                after = item["id"]
            if items:
                yield Checkpoint(after)
            else:
                yield Idle(0.1)
