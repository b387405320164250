"""Batches and the checkpoint that follows them, in one transaction.

Between two checkpoints the file does not change: either the batches and their
checkpoint are there, or neither. SQLite has one writer and one transaction:
where two streams of a call interleave, the checkpoint of one takes the
other's rows so far with it, which an upsert repairs when they come again.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

from caisson import Batch, Checkpoint, Reject, Stream

from .names import CHECKPOINTS
from .table import Table
from .types import converted, floating, stored

Row = tuple[Any, ...]

MADE = f"""CREATE TABLE IF NOT EXISTS {CHECKPOINTS} (
    stream TEXT NOT NULL,
    partition TEXT NOT NULL,
    checkpoint TEXT NOT NULL,
    state BLOB NOT NULL,
    final INTEGER NOT NULL,
    committed_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    PRIMARY KEY (stream, partition)
) WITHOUT ROWID"""

RECORD = f"""INSERT OR REPLACE INTO {CHECKPOINTS} (stream, partition, checkpoint, state, final)
    VALUES (?, ?, ?, ?, ?)"""


@dataclass(frozen=True)
class Target:
    """Where one stream's batches go, and the places of columns that are looked at before.

    `convert` need `stored`. `key` and `floats` may hold what SQLite changes without a word: a null
    in an integer key of one column gets a number, and NaN becomes null.
    """

    insert: str
    convert: list[int]
    key: list[int]
    floats: list[int]


class Load:
    """One call's writing. `base` is in autocommit; transactions begin here."""

    def __init__(self, base: sqlite3.Connection) -> None:
        self.base = base
        base.execute("PRAGMA synchronous = FULL")
        base.execute(MADE)
        self.targets: dict[str, Target] = {}

    def close(self) -> None:
        """Ends without what was not committed."""
        if self.base.in_transaction:
            self.base.execute("ROLLBACK")
        self.base.close()

    def prepare(self, stream: Stream) -> None:
        """Makes or widens the stream's table, in the transaction of its first batch."""
        fields = stream.schema.fields()
        key = list(stream.primary_key) if stream.mode == "upsert" else []
        self._begin()
        table = Table(stream.name, key)
        table.make(self.base, fields)
        names = [field["name"] for field in fields]
        lower = [name.lower() for name in names]
        self.targets[stream.name] = Target(
            table.insert(names), converted(fields), [lower.index(name.lower()) for name in key], floating(fields)
        )

    def add(self, stream: Stream, batch: Batch) -> list[Reject]:
        """Adds a batch; returns the records that SQLite cannot hold, or the table's constraints refuse."""
        target = self.targets[stream.name]
        rows: list[Row] = batch.rows()
        refused = _refused(target, batch.columns, rows)
        for place, row in enumerate(rows if target.convert else ()):
            try:
                rows[place] = _storable(row, target.convert)
            except ValueError:
                refused[place] = "a number inside a nested value is NaN or infinite, which JSON has no form for"
        places = [place for place in range(len(rows)) if place not in refused]
        if refused:
            rows = [rows[place] for place in places]
        return [*(Reject(place, why) for place, why in refused.items()), *self._insert(target, rows, places)]

    def _insert(self, target: Target, rows: list[Row], places: list[int]) -> list[Reject]:
        self._begin()
        self.base.execute("SAVEPOINT batch")
        try:
            self.base.executemany(target.insert, rows)
        except sqlite3.IntegrityError:
            self.base.execute("ROLLBACK TO batch")
            return self._one_by_one(target.insert, rows, places)
        finally:
            if self.base.in_transaction:
                self.base.execute("RELEASE batch")
        return []

    def commit(self, stream: Stream, checkpoint: Checkpoint | None) -> None:
        """Makes all so far durable, with the checkpoint."""
        self._begin()
        if checkpoint is not None:
            self.base.execute(
                RECORD,
                (stream.name, stream.partition, checkpoint.id, checkpoint.state, checkpoint.final),
            )
        self.base.execute("COMMIT")

    def _begin(self) -> None:
        if not self.base.in_transaction:
            self.base.execute("BEGIN IMMEDIATE")

    def _one_by_one(self, insert: str, rows: list[Row], places: list[int]) -> list[Reject]:
        """The batch again, to find the records that its table refuses."""
        rejects = []
        for place, row in zip(places, rows, strict=True):
            try:
                self.base.execute(insert, row)
            except sqlite3.IntegrityError as refused:
                rejects.append(Reject(place, str(refused)))
        return rejects


def _refused(target: Target, names: list[str], rows: list[Row]) -> dict[int, str]:
    """Why SQLite would change a record, by its place."""
    refused: dict[int, str] = {}
    for column in target.floats:
        for place in [place for place, row in enumerate(rows) if row[column] != row[column]]:
            refused[place] = f"{names[column]} is NaN, which SQLite cannot hold"
    for column in target.key:
        for place in [place for place, row in enumerate(rows) if row[column] is None]:
            refused[place] = f"{names[column]} is null, and it is a primary key"
    return refused


def _storable(row: Row, convert: list[int]) -> Row:
    changed = list(row)
    for place in convert:
        changed[place] = stored(changed[place])
    return tuple(changed)
