"""Writes the demo's database: the same 50,000 orders and 5,000 customers for ever.

`updated_at` repeats on purpose (several rows share one second), texts hold
quotes, tabs, newlines and other scripts, and some values are null: what a
connector loses or doubles, it loses or doubles here.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

ORDERS = 50_000
CUSTOMERS = 5_000
FIRST = datetime(2025, 1, 1, tzinfo=UTC)
NOTES = (
    None,
    "",
    "leave at the door",
    'says "ring twice"',
    "it's urgent;\tdrop\nhere",
    "Grüße aus Köln",
    "ありがとう",
    "back\\slash",
    "🧊 keep cold",
)
STATUSES = ("new", "paid", "packed", "sent", "returned")
CURRENCIES = ("EUR", "USD", "GBP", "JPY")

SCHEMA = """
CREATE TABLE customers (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    email TEXT NOT NULL,
    country TEXT NOT NULL,
    credit REAL,
    updated_at TEXT NOT NULL
);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers(id),
    status TEXT NOT NULL,
    currency TEXT NOT NULL,
    total REAL NOT NULL,
    quantity INTEGER NOT NULL,
    note TEXT,
    updated_at TEXT NOT NULL
);
CREATE INDEX customers_updated_at ON customers(updated_at);
CREATE INDEX orders_updated_at ON orders(updated_at);
"""


def stamp(seconds: int) -> str:
    """The instant `seconds` after the first one, RFC 3339 in UTC."""
    return (FIRST + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def customer(number: int, draw: random.Random) -> tuple[object, ...]:
    """One customer row, in the table's order."""
    country = draw.choice(("DE", "FR", "JP", "US", "BR"))
    credit = None if number % 9 == 0 else round(draw.random() * 10_000, 2)
    return (number, f"Customer {number}", f"c{number}@example.com", country, credit, stamp(number // 3))


def order(number: int, customers: int, draw: random.Random) -> tuple[object, ...]:
    """One order row, in the table's order. Four orders share each second."""
    return (
        number,
        draw.randint(1, customers),
        draw.choice(STATUSES),
        draw.choice(CURRENCIES),
        round(draw.random() * 500, 2),
        draw.randint(1, 20),
        draw.choice(NOTES),
        stamp(number // 4),
    )


def generate(path: Path, orders: int = ORDERS, customers: int = CUSTOMERS) -> None:
    """Writes the database anew."""
    path.unlink(missing_ok=True)
    draw = random.Random(7)
    with sqlite3.connect(path) as base:
        base.executescript("PRAGMA journal_mode=WAL;" + SCHEMA)
        base.executemany(
            "INSERT INTO customers VALUES (?, ?, ?, ?, ?, ?)",
            (customer(number, draw) for number in range(1, customers + 1)),
        )
        base.executemany(
            "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (order(number, customers, draw) for number in range(1, orders + 1)),
        )
    base.close()


def advance(path: Path, changed: int = 120, added: int = 80) -> int:
    """Changes some orders and adds others, all later than what there was.

    Returns:
        How many rows an incremental read has to bring at least.
    """
    draw = random.Random(11)
    with sqlite3.connect(path) as base:
        (last, customers) = base.execute("SELECT max(id), (SELECT count(*) FROM customers) FROM orders").fetchone()
        later = last // 4 + 86_400
        for number in draw.sample(range(1, last + 1), changed):
            base.execute(
                "UPDATE orders SET status = 'changed', updated_at = ? WHERE id = ?",
                (stamp(later + number % 50), number),
            )
        rows = [order(last + 1 + n, customers, draw) for n in range(added)]
        base.executemany(
            "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            ((*row[:-1], stamp(later + 100 + n // 4)) for n, row in enumerate(rows)),
        )
    base.close()
    return changed + added


def main() -> None:
    """Command line: where to write, and how much."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--orders", type=int, default=ORDERS)
    parser.add_argument("--customers", type=int, default=CUSTOMERS)
    arguments = parser.parse_args()
    generate(arguments.path, arguments.orders, arguments.customers)


if __name__ == "__main__":
    main()
