"""Tables as streams, and their rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

from caisson import Stream

from .names import quote, quoted
from .types import Field, field_type

FETCH = 1000


def streams(base: sqlite3.Connection, cursor: str, started: bool) -> Iterator[Stream]:
    """Every table and view, by name. `started`: the config says where to begin."""
    tables = base.execute(
        "SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view')"
        " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE '\\_caisson\\_%' ESCAPE '\\' ORDER BY name"
    ).fetchall()
    for name, kind in tables:
        columns = base.execute(
            'SELECT name, type, "notnull", pk FROM pragma_table_xinfo(?) WHERE hidden <> 1', (name,)
        ).fetchall()
        key = [column[0] for column in sorted(columns, key=lambda c: c[3]) if column[3]]
        moves = any(column[0] == cursor for column in columns)
        yield Stream(
            name,
            title=name,
            schema=[_field(*column) for column in columns],
            primary_key=key,
            cursor=cursor if moves else None,
            order="asc" if moves else None,
            start="start" if moves and started else None,
            extra=(key, kind, _converters(columns)),
        )


def _field(name: str, declared: str, notnull: int, pk: int) -> Field:
    return {"name": name, "type": field_type(declared or ""), "nullable": not (notnull or pk)}


def _converters(columns: list[tuple[str, str, int, int]]) -> list[int]:
    """Places of columns that hold 0 and 1 for false and true."""
    return [place for place, column in enumerate(columns) if field_type(column[1] or "") == "bool"]


def rows(base: sqlite3.Connection, stream: Stream, since: Any, ordered: bool) -> Iterator[dict[str, Any]]:
    """Rows as records; by cursor, then key, where `ordered`. One read
    transaction holds the whole of them, so that no row is seen twice."""
    key, _, booleans = stream.extra
    sql = f"SELECT * FROM {quote(stream.name)}"
    values: list[Any] = []
    if ordered and stream.cursor:
        if since not in (None, ""):
            sql += f" WHERE {quote(stream.cursor)} >= ?"
            values.append(since)
        sql += f" ORDER BY {quoted([stream.cursor, *key])}"
    elif key:
        sql += f" ORDER BY {quoted(key)}"
    found = base.execute(sql, values)
    names = [column[0] for column in found.description]
    while part := found.fetchmany(FETCH):
        for row in part:
            record = dict(zip(names, row, strict=True))
            for place in booleans:
                value = row[place]
                record[names[place]] = value if value is None else bool(value)
            yield record
