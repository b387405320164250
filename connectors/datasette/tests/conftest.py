"""A harness over cassettes; `CAISSON_RECORD=1 pytest` records them from a real Datasette."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from caisson.testing import Harness

PROJECT = Path(__file__).parents[1]
TABLES = """
CREATE TABLE orders (
    id INTEGER PRIMARY KEY, customer TEXT NOT NULL, total REAL, paid BOOLEAN, receipt BLOB, updated_at TEXT NOT NULL
);
CREATE TABLE "odd names/2" ("some column" TEXT, value);
CREATE VIEW big AS SELECT * FROM orders WHERE total > 10;
"""


def rows() -> list[tuple[Any, ...]]:
    """Twelve orders; four share each minute, so that ties cross pages of five."""
    return [
        (n, f"Kund\u00e9 {n}", None if n == 3 else n * 1.5, n % 2, b"\x00\xff" if n == 4 else None,
         f"2026-02-01T00:{n // 4:02d}:00Z")
        for n in range(1, 13)
    ]  # fmt: skip


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Where requests go: nowhere, unless cassettes are being recorded."""
    config = {"host": "datasette.example", "scheme": "http", "port": 8001, "token": "token-of-tests"}
    if not os.environ.get("CAISSON_RECORD"):
        yield config
        return
    sys.path.insert(0, str(PROJECT.parents[1] / "tests/e2e"))
    from servers.datasette import TOKEN, Datasette

    database = tmp_path_factory.mktemp("datasette") / "shop.db"
    with sqlite3.connect(database) as base:
        base.executescript(TABLES)
        base.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?)", rows())
        base.execute("""INSERT INTO "odd names/2" VALUES ('a', 1), ('b', 'two')""")
    base.close()
    with Datasette(database, page=5) as real:
        yield {**config, "host": "127.0.0.1", "port": real.port, "token": TOKEN}


@pytest.fixture
def datasette(server: dict[str, Any], request: pytest.FixtureRequest) -> Callable[..., Harness]:
    """A harness on the cassette of this test."""

    def made(**config: Any) -> Harness:
        name = request.node.name.removeprefix("test_")
        return Harness(PROJECT, config={**server, **config}, cassette=f"tests/cassettes/{name}.har")

    return made
