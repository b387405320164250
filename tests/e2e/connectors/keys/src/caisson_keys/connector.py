"""Pages behind a key, and what the worker itself holds of the key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from caisson import Connector, Secret, pages, stream

Record = dict[str, Any]


@dataclass
class Config:
    """Where the server is, how to authenticate, and the secret of that way."""

    port: int
    auth: str
    user: str = "ann"
    password: Secret | None = None
    user_key: Secret | None = None
    header_key: Secret | None = None
    prefixed_key: Secret | None = None
    query_key: Secret | None = None


class Keys(Connector[Config]):
    """Leaves authentication to the CDK's client."""

    def open(self) -> None:
        self.http = self.client(f"https://localhost:{self.config.port}", auth=self.config.auth, timeout=5)

    def test(self) -> None:
        self.http.get("/me")

    @stream(primary_key="id", cursor="updated_at", order="asc")
    def asc(self) -> Iterator[Record]:
        yield from self.http.records("/asc", at="items", page=pages.cursor("page", "next"))

    @stream(primary_key="name")
    def held(self) -> Iterator[Record]:
        """The secret as code of the connector gets it."""
        secret = getattr(self.config, self.config.auth)
        yield {"name": self.config.auth, "value": secret.reveal()}
