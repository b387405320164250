"""Batches into a table, and their checkpoint in the same transaction.

A batch is copied (binary COPY) straight into the table where that does what
INSERT would (`Table.straight`), until an upsert meets a key that is there
already. Elsewhere, and where the server refuses a batch, it is copied into a
temporary table and moved from there by one INSERT … SELECT, so that the server
casts, and an upsert is one statement. What is refused there as well is halved
until the records to blame are alone: they are rejected, the others stay.
"""

from __future__ import annotations

from typing import Any

import adbc_driver_manager as adbc

from caisson import Batch, Checkpoint, Reject, Stream

from .database import Database, literal, quote
from .failures import is_duplicate, of_the_record, reason, translated
from .table import Table
from .types import nested

STAGE = "_caisson_stage"


class Load:
    """One stream's writing, on a connection of its own."""

    def __init__(self, base: Database, schema: str) -> None:
        self.base = base
        self.schema = schema
        self.checkpoints = f"{quote(schema)}._caisson_checkpoints"
        self.table = Table(schema, "", [])
        self.fields: list[dict[str, Any]] = []
        self.nested: list[str] = []
        self.fill = ""
        self.straight = False
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
        self.table = Table(self.schema, stream.name, key)
        self.fields = stream.schema.fields()
        self.base.begin()
        self.base.run(
            f"CREATE TABLE IF NOT EXISTS {self.checkpoints} (stream text, partition text,"
            " checkpoint text NOT NULL, state bytea NOT NULL, final boolean NOT NULL,"
            " committed_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (stream, partition))"
        )
        self.table.make(self.base, self.fields)
        self.nested = [field["name"] for field in self.fields if nested(field["type"])]
        self.fill = self.table.fill(STAGE, [field["name"] for field in self.fields])
        self.straight = self.table.straight(self.base, self.fields)
        if self.staged:
            self.base.run(f"DROP TABLE {quote(STAGE)}")
            self.staged = False
        if not self.pending:
            self.base.commit()

    def add(self, batch: Batch) -> list[Reject]:
        """Adds a batch; returns the records that the server refuses."""
        self.base.begin()
        self.pending = True
        rejects: list[Reject] = []
        self._add(batch, 0, rejects)
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

    def _add(self, batch: Batch, start: int, rejects: list[Reject]) -> None:
        """Adds a batch, or a part of one that begins with its record `start`."""
        cause = self._tried(batch)
        if cause is not None and self.straight and self.table.key and is_duplicate(cause):
            self.straight = False
            cause = self._tried(batch)
        if cause is None:
            return
        if len(batch) == 1:
            rejects.append(Reject(start, reason(cause)))
            return
        middle = len(batch) // 2
        self._add(batch.slice(0, middle), start, rejects)
        self._add(batch.slice(middle, len(batch) - middle), start + middle, rejects)

    def _tried(self, batch: Batch) -> Exception | None:
        """Adds all of a batch or nothing; returns why it is refused, if a record is to blame."""
        if not (self.straight or self.staged):
            self.base.run(self.table.stage(STAGE, self.fields))
            self.staged = True
        self.base.run("SAVEPOINT batch")
        try:
            documents = batch.with_json(self.nested) if self.nested else batch
            if self.straight:
                self.base.copy(documents, self.table.name, self.table.schema)
            else:
                self.base.copy(documents, STAGE)
                self.base.try_run(self.fill)
                self.base.try_run(f"TRUNCATE {quote(STAGE)}")
        except (adbc.Error, ValueError) as cause:
            self.base.run("ROLLBACK TO batch")
            self.base.run("RELEASE batch")
            # JSON cannot say every value: that is the record's fault too.
            if isinstance(cause, adbc.Error) and not of_the_record(cause):
                raise translated(cause) from cause
            return cause
        self.base.run("RELEASE batch")
        return None
