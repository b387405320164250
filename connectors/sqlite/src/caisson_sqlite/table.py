"""One destination table: made, widened, and written by one statement."""

from __future__ import annotations

import sqlite3

from caisson import errors

from .names import quote, quoted, table_name
from .types import Field, column_type


class Table:
    """A table named like its stream. `key`: columns that an upsert goes by."""

    def __init__(self, stream: str, key: list[str]) -> None:
        self.name = table_name(stream)
        self.key = key

    def make(self, base: sqlite3.Connection, fields: list[Field]) -> None:
        """Makes the table, or adds the columns that it lacks. Columns that no
        longer come stay, null in new rows.

        Raises:
            SchemaViolation: Two names that differ in case only, or a key that is no column.
        """
        self._check(fields)
        there = {name.lower() for (name,) in base.execute("SELECT name FROM pragma_table_info(?)", (self.name,))}
        if not there:
            columns = [self._column(field) for field in fields]
            if self.key:
                columns.append(f"PRIMARY KEY ({quoted(self.key)})")
            base.execute(f"CREATE TABLE {quote(self.name)} ({', '.join(columns)})")
            return
        for field in fields:
            if field["name"].lower() not in there:
                base.execute(
                    f"ALTER TABLE {quote(self.name)} ADD COLUMN {quote(field['name'])} {column_type(field['type'])}"
                )
        if self.key and not self._unique(base):
            try:
                base.execute(
                    f"CREATE UNIQUE INDEX {quote('_caisson_key_' + self.name)}"
                    f" ON {quote(self.name)} ({quoted(self.key)})"
                )
            except sqlite3.IntegrityError as cause:
                raise errors.SchemaViolation(
                    f"{self.name} holds rows with equal {', '.join(self.key)}, so it cannot be upserted"
                ) from cause

    def insert(self, columns: list[str]) -> str:
        """The statement for one row; of two rows with one key the later stays."""
        places = ", ".join("?" * len(columns))
        sql = f"INSERT INTO {quote(self.name)} ({quoted(columns)}) VALUES ({places})"
        if not self.key:
            return sql
        changes = [f"{quote(c)} = excluded.{quote(c)}" for c in columns if c not in self.key]
        do = f"UPDATE SET {', '.join(changes)}" if changes else "NOTHING"
        return f"{sql} ON CONFLICT ({quoted(self.key)}) DO {do}"

    def _check(self, fields: list[Field]) -> None:
        seen: dict[str, str] = {}
        for field in fields:
            name = field["name"]
            other = seen.setdefault(name.lower(), name)
            if other != name:
                raise errors.SchemaViolation(
                    f"{self.name}: {other} and {name} are one column to SQLite; rename one at the source"
                )
        for name in self.key:
            if name.lower() not in seen:
                raise errors.SchemaViolation(f"{self.name}: the primary key {name} is no field")

    def _column(self, field: Field) -> str:
        required = " NOT NULL" if field["name"] in self.key else ""
        return f"{quote(field['name'])} {column_type(field['type'])}{required}"

    def _unique(self, base: sqlite3.Connection) -> bool:
        """Whether an index or the primary key covers exactly the key."""
        wanted = sorted(name.lower() for name in self.key)
        key = base.execute("SELECT name FROM pragma_table_info(?) WHERE pk > 0", (self.name,)).fetchall()
        if sorted(name.lower() for (name,) in key) == wanted:
            return True
        indexes = base.execute(
            'SELECT name FROM pragma_index_list(?) WHERE "unique" AND NOT partial', (self.name,)
        ).fetchall()
        for (index,) in indexes:
            columns = base.execute("SELECT name FROM pragma_index_info(?)", (index,)).fetchall()
            if all(name for (name,) in columns) and sorted(n.lower() for (n,) in columns) == wanted:
                return True
        return False
