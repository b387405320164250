"""A table's rows in order, with a checkpoint after every chunk.

In full, rows come by primary key; incrementally by (cursor, primary key).
That order is total, so a checkpoint in the middle is the last row's place and
resuming is exact, whatever ties there are. The checkpoint at the end holds
the keys at the boundary value instead: a row that gets the same cursor value
later, with a smaller key, still comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any

from caisson import Checkpoint

from .catalogue import Table
from .database import Database, literal, quote, quoted

# More keys than this at the boundary, and the state holds the last one alone.
BOUNDARY_KEYS = 1000

State = dict[str, Any]


class Scan:
    """One read of a table. `cursor` is empty for a full one."""

    def __init__(self, base: Database, table: Table, cursor: str) -> None:
        self.base = base
        self.table = table
        self.cursor = cursor
        self.order = [cursor, *table.key] if cursor else table.key

    def read(self, state: State | None) -> Iterator[Any]:
        """Arrow arrays and checkpoints; one snapshot holds all of them.

        Args:
            state: A place, or a boundary's keys; what a full read left is none for an incremental one.
        """
        if self.cursor and state is not None and "cursor" not in state:
            state = None
        self.base.begin("ISOLATION LEVEL REPEATABLE READ READ ONLY")
        last = state
        for chunk in self.base.chunks(self.sql(state)):
            yield chunk
            if self.order and len(chunk):
                last = self._place(chunk)
                yield Checkpoint(last)
        if self.cursor:
            yield Checkpoint(self._end(last))

    def sql(self, state: State | None) -> str:
        """The query that goes on from a state."""
        columns = ", ".join(column.expression for column in self.table.columns)
        sql = f"SELECT {columns} FROM {self.table.qualified}"
        if state:
            sql += f" WHERE {self._beyond(state)}"
        if self.order:
            first = f"{quote(self.cursor)} NULLS FIRST, " if self.cursor else ""
            sql += f" ORDER BY {first}{quoted(self.table.key)}"
        return sql

    def _beyond(self, state: State) -> str:
        """What comes after a place, or after a boundary's keys."""
        keys = self.table.key
        if not self.cursor:
            return f"({quoted(keys)}) > ({self._literals(keys, state['after'])})"
        cursor = quote(self.cursor)
        if state["cursor"] is None:
            after = f"({quoted(keys)}) > ({self._literals(keys, state['after'])})" if "after" in state else "false"
            return f"({cursor} IS NULL AND {after} OR {cursor} IS NOT NULL)"
        value = self._literals([self.cursor], [state["cursor"]])
        if "after" in state:
            return f"({quoted(self.order)}) > ({value}, {self._literals(keys, state['after'])})"
        known = ", ".join(f"({self._literals(keys, key)})" for key in state["keys"])
        rest = f" AND NOT ({cursor} = {value} AND ({quoted(keys)}) IN ({known}))" if known else ""
        return f"{cursor} >= {value}{rest}"

    def _place(self, chunk: Any) -> State:
        """Where a chunk ends."""
        names = [column.name for column in self.table.columns]
        row = chunk[len(chunk) - 1].as_py()
        assert list(row) == names
        place: State = {"after": [_text(row[key]) for key in self.table.key]}
        if self.cursor:
            value = row[self.cursor]
            place["cursor"] = None if value is None else _text(value)
        return place

    def _end(self, last: State | None) -> State:
        """The state that the next call begins from."""
        if last is None or "after" not in last:
            return last or {"cursor": None, "keys": []}
        if last["cursor"] is None:
            return {"cursor": None, "keys": []}
        value = self._literals([self.cursor], [last["cursor"]])
        columns = ", ".join(f"{quote(key)}::text AS k{n}" for n, key in enumerate(self.table.key))
        keys = self.base.rows(
            f"SELECT {columns} FROM {self.table.qualified} WHERE {quote(self.cursor)} = {value}"
            f" LIMIT {BOUNDARY_KEYS + 1}"
        )
        if len(keys) > BOUNDARY_KEYS:
            return last
        return {"cursor": last["cursor"], "keys": [list(key.values()) for key in keys]}

    def _literals(self, columns: list[str], values: list[str]) -> str:
        pairs = zip(columns, values, strict=True)
        return ", ".join(literal(value, self.table.column(name).declared) for name, value in pairs)


def _text(value: Any) -> str:
    """A key's or cursor's value as PostgreSQL reads it back."""
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    return str(value)
