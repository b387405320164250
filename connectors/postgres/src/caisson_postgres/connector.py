"""Source and destination of one database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from caisson import Batch, Checkpoint, Connector, Reject, Stream

from .catalogue import tables
from .config import Config
from .database import Database
from .loading import Load
from .reading import Scan


class Postgres(Connector[Config]):
    """Tables of a PostgreSQL schema: read in full or by a cursor, appended or upserted."""

    def open(self) -> None:
        self.loads: dict[tuple[str, str], Load] = {}

    def close(self) -> None:
        for load in self.loads.values():
            load.close()

    def test(self) -> Iterator[tuple[str, str]]:
        with self._connect() as base:
            version = base.rows("SELECT current_setting('server_version') AS version")[0]["version"]
            yield "authentication", f"PostgreSQL {version}"
            yield "permissions", f"{len(tables(base, self.config.schema))} tables can be read"

    def list(self) -> Iterator[Stream]:
        with self._connect() as base:
            for table in tables(base, self.config.schema):
                names = [column.name for column in table.columns]
                # Ties are ordered by primary key, so only tables with one have a safe cursor.
                moves = bool(table.key) and self.config.cursor in names
                yield Stream(
                    table.name,
                    title=table.title,
                    schema=[column.field for column in table.columns],
                    primary_key=table.key,
                    cursor=self.config.cursor if moves else "",
                    order="asc" if moves else None,
                    # `read` takes a state, which alone would be taken for incremental.
                    modes=["full", "incremental"] if moves else ["full"],
                    extra=table,
                )

    def read(self, stream: Stream, state: Any, mode: str) -> Iterator[Any]:
        with self._connect() as base:
            cursor = stream.cursor if mode == "incremental" else ""
            yield from Scan(base, stream.extra, cursor).read(state)

    def schema(self, stream: Stream) -> None:
        key = (stream.name, stream.partition)
        if key not in self.loads:
            # A connection each: streams that interleave keep their own transactions.
            self.loads[key] = Load(self._connect(), self.config.schema)
        self.loads[key].prepare(stream)

    def write(self, stream: Stream, batch: Batch) -> Sequence[Reject]:
        return self.loads[stream.name, stream.partition].add(batch)

    def commit(self, stream: Stream, checkpoint: Checkpoint | None) -> None:
        self.loads[stream.name, stream.partition].commit(stream, checkpoint)

    def _connect(self) -> Database:
        user, password = self.config.secret_user, self.config.password
        return Database(
            host=self.config.host,
            port=str(self.config.port),
            dbname=self.config.database,
            user=user.reveal() if user is not None else self.config.user,
            password=password.reveal() if password is not None else "",
            sslmode=self.config.sslmode,
        )
