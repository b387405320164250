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
from .types import converted, stored

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
    """Where one stream's batches go, and the columns that need `stored`."""

    insert: str
    convert: list[int]


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
        self.targets[stream.name] = Target(table.insert([field["name"] for field in fields]), converted(fields))

    def add(self, stream: Stream, batch: Batch) -> list[Reject]:
        """Adds a batch; returns the records that the table's constraints refuse."""
        target = self.targets[stream.name]
        rows: list[tuple[Any, ...]] = batch.rows()
        if target.convert:
            rows = [_storable(row, target.convert) for row in rows]
        self._begin()
        self.base.execute("SAVEPOINT batch")
        try:
            self.base.executemany(target.insert, rows)
        except sqlite3.IntegrityError:
            self.base.execute("ROLLBACK TO batch")
            return self._one_by_one(target.insert, rows)
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

    def _one_by_one(self, insert: str, rows: list[tuple[Any, ...]]) -> list[Reject]:
        """The batch again, to find the records that its table refuses."""
        rejects = []
        for place, row in enumerate(rows):
            try:
                self.base.execute(insert, row)
            except sqlite3.IntegrityError as refused:
                rejects.append(Reject(place, str(refused)))
        return rejects


def _storable(row: tuple[Any, ...], convert: list[int]) -> tuple[Any, ...]:
    changed = list(row)
    for place in convert:
        changed[place] = stored(changed[place])
    return tuple(changed)
