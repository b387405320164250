"""Batches through a staging table, and their checkpoint in the same transaction.

A batch is copied (binary COPY) into a temporary table and moved from there by
one INSERT … SELECT, so that the server casts, and an upsert is one statement.
Where the server refuses a value, the batch is halved until the records to
blame are alone: they are rejected, the others stay.
"""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import adbc_driver_manager as adbc
import nanoarrow as na  # type: ignore[import-untyped]

from caisson import Batch, Checkpoint, Reject, Stream

from .database import Database, literal, quote
from .failures import of_the_record, reason, translated
from .table import Table
from .types import copied

STAGE = "_caisson_stage"


class Load:
    """One stream's writing, on a connection of its own."""

    def __init__(self, base: Database, schema: str) -> None:
        self.base = base
        self.schema = schema
        self.checkpoints = f"{quote(schema)}._caisson_checkpoints"
        self.fields: list[dict[str, Any]] = []
        self.fill = ""
        self.staged = False
        self.pending = False

    def close(self) -> None:
        """Ends without what was not committed."""
        self.base.close()

    def prepare(self, stream: Stream) -> None:
        """Makes or widens the table. At first that is committed by itself, so
        that partitions of one stream do not wait for each other; between
        batches it stays in their transaction, which only a checkpoint ends."""
        key = list(stream.primary_key) if stream.mode == "upsert" else []
        table = Table(self.schema, stream.name, key)
        self.fields = stream.schema.fields()
        self.base.begin()
        self.base.run(
            f"CREATE TABLE IF NOT EXISTS {self.checkpoints} (stream text, partition text,"
            " checkpoint text NOT NULL, state bytea NOT NULL, final boolean NOT NULL,"
            " committed_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (stream, partition))"
        )
        table.make(self.base, self.fields)
        self.fill = table.fill(STAGE, [field["name"] for field in self.fields])
        if self.staged:
            self.base.run(f"DROP TABLE {quote(STAGE)}")
            self.staged = False
        if not self.pending:
            self.base.commit()

    def add(self, batch: Batch) -> list[Reject]:
        """Adds a batch; returns the records that the server refuses."""
        array = self._copyable(batch)
        self.base.begin()
        if not self.staged:
            self.base.ingest(STAGE, _part(array, 0, 0), create=True)
            self.staged = True
        self.pending = True
        rejects: list[Reject] = []
        self._add(array, 0, len(batch), rejects)
        return rejects

    def commit(self, stream: Stream, checkpoint: Checkpoint | None) -> None:
        """Makes all so far durable, with the checkpoint."""
        self.base.begin()
        if checkpoint is not None:
            names = ", ".join(literal(text, "text") for text in (stream.name, stream.partition, checkpoint.id))
            state = literal("\\x" + checkpoint.state.hex(), "bytea")
            self.base.run(
                f"INSERT INTO {self.checkpoints} VALUES ({names}, {state}, {bool(checkpoint.final)})"
                " ON CONFLICT (stream, partition) DO UPDATE SET checkpoint = excluded.checkpoint,"
                " state = excluded.state, final = excluded.final, committed_at = now()"
            )
        self.base.commit()
        self.pending = False

    def _add(self, array: Any, start: int, end: int, rejects: list[Reject]) -> None:
        self.base.run("SAVEPOINT batch")
        try:
            self.base.ingest(STAGE, _part(array, start, end), create=False)
            self.base.try_run(self.fill)
            self.base.try_run(f"TRUNCATE {quote(STAGE)}")
        except adbc.Error as cause:
            self.base.run("ROLLBACK TO batch")
            self.base.run("RELEASE batch")
            if not of_the_record(cause):
                raise translated(cause) from cause
            if end - start == 1:
                rejects.append(Reject(start, reason(cause)))
                return
            middle = (start + end) // 2
            self._add(array, start, middle, rejects)
            self._add(array, middle, end, rejects)
        else:
            self.base.run("RELEASE batch")

    def _copyable(self, batch: Batch) -> Any:
        """The batch as an Arrow array of types that the driver copies; other
        columns become texts, which the server casts."""
        array = na.c_array(batch)
        others = [n for n, field in enumerate(self.fields) if not copied(field["type"])]
        if not others:
            return array
        rows = batch.rows()
        columns = {field["name"]: array.schema.child(n) for n, field in enumerate(self.fields)}
        children = [array.child(n) for n in range(array.n_children)]
        for n in others:
            texts = [None if row[n] is None else _text(row[n]) for row in rows]
            children[n] = na.c_array(texts, na.string())
            columns[self.fields[n]["name"]] = na.string()
        return na.c_array_from_buffers(na.struct(columns), len(rows), [None], children=children)


def _part(array: Any, start: int, end: int) -> Any:
    """A slice. The driver looks at the offsets of columns, not at that of the
    struct which holds them, so each column is cut."""
    children = [array.child(n)[start:end] for n in range(array.n_children)]
    return na.c_array_from_buffers(array.schema, end - start, [None], children=children)


def _text(value: Any) -> str:
    """A value as the text that its column's type reads."""
    if isinstance(value, timedelta):
        return f"{value.days} days {value.seconds} seconds {value.microseconds} microseconds"
    if isinstance(value, (list, dict)):
        return json.dumps(value, default=_in_json, ensure_ascii=False)
    return str(value)


def _in_json(value: Any) -> str:
    """What JSON has no form for, inside a nested value."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
