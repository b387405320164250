"""One connection, as Arrow in and out."""

from __future__ import annotations

from typing import Any, Self

import adbc_driver_manager as adbc
import adbc_driver_postgresql  # type: ignore[import-untyped]
import nanoarrow as na  # type: ignore[import-untyped]

from caisson import Batch

from .failures import translated

# Arrow chunks of about a megabyte: one checkpoint each.
CHUNK_BYTES = "1000000"
TRUSTED = "system"
LOCK_TIMEOUT = "60s"
"""How long a statement waits for a lock: partitions of one call could wait for each other for ever."""


class Database:
    """A connection. `begin` a transaction, or each statement is one of its own.

    The driver's own transactions refuse every statement after one failed, also
    ROLLBACK TO; ours are plain SQL, so savepoints work.

    Raises:
        CaissonError: Whatever stands for the driver's error (`failures`).
    """

    def __init__(self, **parameters: str) -> None:
        given = {"connect_timeout": "20", "application_name": "caisson", **parameters}
        if given.get("sslmode") == "verify-full":
            given["sslrootcert"] = TRUSTED
        conninfo = " ".join(f"{name}={_escaped(value)}" for name, value in given.items() if value)
        self._open = False
        try:
            self._database = adbc_driver_postgresql.connect(conninfo)
            self._connection = adbc.AdbcConnection(self._database)
        except adbc.Error as cause:
            raise translated(cause) from None  # the cause holds the password's place

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Rolls back what is open and leaves."""
        self._connection.close()
        self._database.close()

    def run(self, sql: str) -> None:
        """A statement without rows."""
        try:
            self.try_run(sql)
        except adbc.Error as cause:
            raise translated(cause) from cause

    def try_run(self, sql: str) -> None:
        """A statement without rows; its error is the driver's, for who looks at it."""
        with adbc.AdbcStatement(self._connection) as statement:
            # Not through COPY: these are no queries.
            statement.set_options(**{"adbc.postgresql.use_copy": "false"})
            statement.set_sql_query(sql)
            statement.execute_update()

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """All rows of a small query."""
        found: list[dict[str, Any]] = []
        for chunk in self.chunks(sql):
            found.extend(chunk.to_pylist())
        return found

    def chunks(self, sql: str) -> Any:
        """A query's rows as Arrow arrays, through binary COPY."""
        try:
            with adbc.AdbcStatement(self._connection) as statement:
                statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": CHUNK_BYTES})
                statement.set_sql_query(sql)
                handle, _ = statement.execute_query()
                with na.ArrayStream(handle) as stream:
                    yield from stream
        except adbc.Error as cause:
            raise translated(cause) from cause

    def copy(self, batch: Batch, table: str, schema: str = "") -> None:
        """A batch into a table, a temporary one unless a schema is named, by binary COPY; the error is the driver's."""
        with adbc.AdbcStatement(self._connection) as statement:
            place = {"adbc.ingest.target_db_schema": schema} if schema else {"adbc.ingest.temporary": "true"}
            statement.set_options(
                **{"adbc.ingest.target_table": table, "adbc.ingest.mode": "adbc.ingest.mode.append", **place}
            )
            statement.bind_stream(batch)
            statement.execute_update()

    def begin(self, how: str = "") -> None:
        """Opens a transaction, unless one is open."""
        if not self._open:
            self.run(f"BEGIN {how}")
            self._open = True
            # Of the transaction: behind a pooler the session is somebody else's too.
            self.run(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")

    def commit(self) -> None:
        """Makes the transaction durable."""
        if self._open:
            self._open = False
            self.run("COMMIT")


def quote(name: str) -> str:
    """An identifier, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def quoted(names: list[str]) -> str:
    """Identifiers, separated by commas."""
    return ", ".join(map(quote, names))


def literal(value: str, kind: str) -> str:
    """A value as its text, of a type as format_type writes it."""
    return "'" + value.replace("'", "''") + f"'::{kind}"


def _escaped(value: str) -> str:
    """A value in a conninfo string (libpq, 34.1.1.1)."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
