"""Tables as streams, and their rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

from caisson import Stream

from .names import quote, quoted
from .types import Field, field_type

FETCH = 1000
FIND = """SELECT name FROM sqlite_master
    WHERE type IN ('table', 'view') AND name NOT GLOB 'sqlite_*' AND name NOT GLOB '_caisson_*'
    ORDER BY name"""


def streams(base: sqlite3.Connection, cursor: str) -> Iterator[Stream]:
    """Every table and view, by name."""
    for (name,) in base.execute(FIND).fetchall():
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
            cursor=cursor if moves else "",
            order="asc" if moves else None,
            start="start" if moves else "",
            extra=_booleans(columns),
        )


def _field(name: str, declared: str, notnull: int, pk: int) -> Field:
    return {"name": name, "type": field_type(declared or ""), "nullable": not (notnull or pk)}


def _booleans(columns: list[tuple[str, str, int, int]]) -> list[int]:
    """Places of columns that hold 0 and 1 for false and true."""
    return [place for place, column in enumerate(columns) if field_type(column[1] or "") == "bool"]


def rows(base: sqlite3.Connection, stream: Stream, since: Any) -> Iterator[dict[str, Any]]:
    """Rows as records, by cursor and key. One read transaction holds them
    all, so that no row is seen twice."""
    sql = f"SELECT * FROM {quote(stream.name)}"
    order = [*([stream.cursor] if stream.cursor else []), *stream.primary_key]
    values: list[Any] = []
    if stream.cursor and since not in (None, ""):
        sql += f" WHERE {quote(stream.cursor)} >= ?"
        values.append(since)
    if order:
        sql += f" ORDER BY {quoted(order)}"
    found = base.execute(sql, values)
    names = [column[0] for column in found.description]
    booleans: list[int] = stream.extra
    while part := found.fetchmany(FETCH):
        for row in part:
            record = dict(zip(names, row, strict=True))
            for place in booleans:
                value = row[place]
                record[names[place]] = value if value is None else bool(value)
            yield record
