"""What arrived, key by key, against what the server has."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

from world import World

TABLES = ("customers", "orders")


class Difference(NamedTuple):
    """Keys that are absent or differ, and keys that came more than once."""

    compared: int
    lost: int
    duplicated: int


def compare(world: World) -> Difference:
    """Asks the server, not its file: the same API, another client."""
    compared = lost = duplicated = 0
    for table in TABLES:
        server = {row["id"]: row for row in world.api.rows("shop", table)}
        lake = _rows(world.lake, table)
        by_key = {row["id"]: row for row in lake}
        compared += len(server)
        lost += sum(by_key.get(key) != row for key, row in server.items())
        duplicated += len(lake) - len(by_key)
    return Difference(compared, lost, duplicated)


def rows(world: World) -> dict[str, int]:
    """How many rows each table of the lake holds."""
    return {table: len(_rows(world.lake, table)) for table in TABLES}


def _rows(path: Path, table: str) -> list[dict[str, Any]]:
    base = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    base.row_factory = sqlite3.Row
    rows = [dict(row) for row in base.execute(f"SELECT * FROM {table}")]
    base.close()
    return rows
