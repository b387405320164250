"""What a record of each stream looks like."""

from __future__ import annotations

from typing import TypedDict


class Order(TypedDict):
    """A record of the stream `orders`."""

    id: int
    customer_id: int
    total: float
    updated_at: str


class Customer(TypedDict):
    """A record of the stream `customers`."""

    id: int
    name: str
    email: str | None
