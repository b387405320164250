"""The benchmark's records, as an author would write them: a generator and a declared schema."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, TypedDict

from caisson import Connector, stream

from .records import SETS


@dataclass
class Config:
    """How many records."""

    count: int = 500_000
    greet: bool = False


class Address(TypedDict):
    """Inside a record of `mixed`."""

    street: str
    city: str
    zip: str
    floor: int


class Mixed(TypedDict):
    """A record of `mixed`: moments come as text and are stored as moments."""

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


class Line(TypedDict):
    """Inside a record of `exact`."""

    sku: str
    quantity: int


class Exact(TypedDict):
    """A record of `exact`."""

    id: int
    email: str
    ordered_at: datetime
    shipped_at: datetime | None
    price: Annotated[Decimal, "decimal(12,2)"]
    discount: Annotated[Decimal | None, "decimal(12,2)"]
    paid: bool
    lines: list[Line]
    grid: list[list[int]]
    note: str | None


class Faucet(Connector[Config]):
    """A source that needs nothing but Python."""

    def open(self) -> None:
        if self.config.greet:
            self.log.info("running")

    def test(self) -> None:
        """Nothing can be wrong."""

    @stream(schema=Mixed, primary_key="id")
    def mixed(self) -> Iterator[dict[str, Any]]:
        return SETS["mixed"](self.config.count)

    @stream(schema=Exact, primary_key="id")
    def exact(self) -> Iterator[dict[str, Any]]:
        return SETS["exact"](self.config.count)
