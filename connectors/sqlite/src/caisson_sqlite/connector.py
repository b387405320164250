"""Source and destination of one database file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from caisson import Batch, Checkpoint, Connector, Cursor, Reject, Stream, errors

from .config import Config
from .loading import Load
from .reading import rows, streams


class Sqlite(Connector[Config]):
    """Tables of a database file: read in full or by a cursor, appended or upserted."""

    _load: Load | None = None

    def open(self) -> None:
        self.path = Path(self.config.dir, self.config.file)

    def close(self) -> None:
        if self._load is not None:
            self._load.close()

    def test(self) -> Iterator[tuple[str, str]]:
        if not self.path.parent.is_dir():
            raise errors.ConfigInvalid(
                f"the directory {self.config.dir} is not there; the policy must grant it under files"
            )
        if self.path.exists():
            with self._reader() as base:
                (count,) = base.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()
            base.close()
            yield "sample", f"{count} tables"
        else:
            yield "sample", "the file is not there yet; writing makes it"

    def list(self) -> Iterator[Stream]:
        if not self.path.exists():
            return
        base = self._reader()
        try:
            yield from streams(base, self.config.cursor)
        finally:
            base.close()

    def read(self, stream: Stream, since: Cursor) -> Iterator[dict[str, Any]]:
        base = self._reader()
        try:
            yield from rows(base, stream, since.value)
        finally:
            base.close()

    def schema(self, stream: Stream) -> None:
        self._loading().prepare(stream)

    def write(self, stream: Stream, batch: Batch) -> Sequence[Reject]:
        return self._loading().add(stream, batch)

    def commit(self, stream: Stream, checkpoint: Checkpoint | None) -> None:
        self._loading().commit(stream, checkpoint)

    def _loading(self) -> Load:
        if self._load is None:
            self._load = Load(self._connect("rwc"))
        return self._load

    def _reader(self) -> sqlite3.Connection:
        return self._connect("ro")

    def _connect(self, mode: str) -> sqlite3.Connection:
        """Transactions are ours: the module begins and ends none by itself."""
        try:
            base = sqlite3.connect(
                f"{self.path.as_uri()}?mode={mode}",
                uri=True,
                timeout=60,
                isolation_level=None,
                check_same_thread=False,
            )
            base.execute("PRAGMA schema_version")
        except sqlite3.OperationalError as cause:
            raise errors.ConfigInvalid(
                f"{self.path} cannot be opened ({cause}); the policy must grant {self.config.dir} under files"
            ) from cause
        except sqlite3.DatabaseError as cause:
            raise errors.ConfigInvalid(f"{self.path} is no SQLite database ({cause})") from cause
        return base
