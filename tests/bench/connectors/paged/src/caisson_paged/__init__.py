"""Reads the benchmark's pages over HTTP, in the two ways that authors have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict

from caisson import Connector, pages, stream

__all__ = ["Paged"]


@dataclass
class Config:
    """Where the pages are."""

    port: int


class Address(TypedDict):
    """Inside a record."""

    street: str
    city: str
    zip: str
    floor: int


class Row(TypedDict):
    """A record of the pages."""

    id: int
    email: str
    name: str
    active: bool
    amount: float
    visits: int
    created_at: datetime
    note: str | None
    address: Address
    source: str


class Paged(Connector[Config]):
    """A source of pages that are linked."""

    def open(self) -> None:
        self.http = self.client(f"http://localhost:{self.config.port}")

    def records(self) -> Iterator[dict[str, Any]]:
        return self.http.records("/records", params={"page": 1}, at="data", page=pages.next_link("next"))

    @stream(schema=Row, primary_key="id")
    def fast(self) -> Iterator[dict[str, Any]]:
        """No code of the author's touches a record."""
        yield from self.records()

    @stream(schema=Row, primary_key="id")
    def slow(self) -> Iterator[dict[str, Any]]:
        """Each record passes through the author's loop."""
        for record in self.records():
            record["name"] = record["name"].strip()
            yield record
