"""The records that every contestant yields: the same code for all of them.

`mixed` has ten fields of what JSON knows, about 260 bytes as JSON; `exact`
has what JSON does not know: moments, decimals, nulls, lists in lists.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

Record = dict[str, Any]
CITIES = ("Berlin", "Lisbon", "Nairobi", "Osaka", "Quito", "Tromsø", "Valparaíso")
MOMENTS = [f"2026-{1 + n // 28:02}-{1 + n % 28:02}T{n % 24:02}:{n % 60:02}:07Z" for n in range(336)]
TIMES = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=7 * n, microseconds=250_000) for n in range(336)]
PRICES = [Decimal(199 + 37 * n) / 100 for n in range(512)]


def mixed(count: int) -> Iterator[Record]:
    """Numbers from 1 to count, and what hangs on each."""
    for n in range(1, count + 1):
        yield {
            "id": n,
            "email": f"customer{n}@example.com",
            "name": f"Customer {n}",
            "active": n % 3 != 0,
            "amount": n * 0.25,
            "visits": n % 1000,
            "created_at": MOMENTS[n % 336],
            "note": None if n % 5 == 0 else "call in the morning",
            "address": {"street": f"{n % 99} Analytical Row", "city": CITIES[n % 7], "zip": "10115", "floor": n % 20},
            "source": "web",
        }


def exact(count: int) -> Iterator[Record]:
    """As `mixed`, of types that JSON has no word for."""
    for n in range(1, count + 1):
        yield {
            "id": n,
            "email": f"customer{n}@example.com",
            "ordered_at": TIMES[n % 336],
            "shipped_at": TIMES[n * 7 % 336] if n % 3 else None,
            "price": PRICES[n % 512],
            "discount": None if n % 4 else PRICES[n % 64],
            "paid": n % 3 != 0,
            "lines": [{"sku": "A-1000", "quantity": n % 7}, {"sku": "B-2000", "quantity": 1}],
            "grid": [[n, n + 1], [n % 11]],
            "note": None,
        }


SETS = {"mixed": mixed, "exact": exact}


def pages(name: str, count: int, size: int = 1000) -> Iterator[list[Record]]:
    """The records in lists, for those who are faster so."""
    page: list[Record] = []
    for record in SETS[name](count):
        page.append(record)
        if len(page) == size:
            yield page
            page = []
    if page:
        yield page
