"""One destination table: made, widened, and filled, straight or from a staging table."""

from __future__ import annotations

import json
from typing import Any

from caisson import errors

from .database import Database, literal, quote, quoted
from .types import column_type, staged_type

# NAMEDATALEN - 1: PostgreSQL cuts longer names without an error.
LONGEST_NAME = 63

COLUMNS = """
SELECT a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS declared
  FROM pg_attribute a
 WHERE a.attrelid = to_regclass({table}) AND a.attnum > 0 AND NOT a.attisdropped
"""

# Where COPY does what INSERT does: it knows no rules, views and row security, and writes what is always generated;
# a key that is checked at commit lets it add what an upsert would replace.
COPIED = """
SELECT c.relkind IN ('r', 'p') AND NOT c.relhasrules AND NOT c.relrowsecurity AND NOT EXISTS (
           SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attidentity = 'a'
       ) AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND NOT i.indimmediate) AS alike
  FROM pg_class c
 WHERE c.oid = to_regclass({table})
"""

UNIQUE = """
SELECT array_to_json(array_agg(a.attname::text ORDER BY a.attname))::text AS columns
  FROM pg_index i
  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey::int2[])
 WHERE i.indrelid = to_regclass({table}) AND i.indisunique AND i.indpred IS NULL
   AND i.indexprs IS NULL
 GROUP BY i.indexrelid
"""


class Table:
    """A table named like its stream. `key`: columns that an upsert goes by."""

    def __init__(self, schema: str, name: str, key: list[str]) -> None:
        self.schema = schema
        self.name = name
        self.key = key
        self.qualified = f"{quote(schema)}.{quote(name)}"
        self.declared: dict[str, str] = {}

    def make(self, base: Database, fields: list[dict[str, Any]]) -> None:
        """Makes the table, or adds the columns that it lacks. Columns that no
        longer come stay, null in new rows.

        Raises:
            SchemaViolation: A name that PostgreSQL cannot hold, or a key that is no field.
        """
        self._check([field["name"] for field in fields])
        there = self._columns(base)
        if not there:
            columns = [self._column(field) for field in fields]
            if self.key:
                columns.append(f"PRIMARY KEY ({quoted(self.key)})")
            base.run(f"CREATE TABLE IF NOT EXISTS {self.qualified} ({', '.join(columns)})")
        else:
            for field in fields:
                if field["name"] not in there:
                    kind = column_type(field["type"])
                    base.run(f"ALTER TABLE {self.qualified} ADD COLUMN IF NOT EXISTS {quote(field['name'])} {kind}")
            if self.key and not self._unique(base):
                base.run(f"CREATE UNIQUE INDEX ON {self.qualified} ({quoted(self.key)})")
        self.declared = self._columns(base)

    def straight(self, base: Database, fields: list[dict[str, Any]]) -> bool:
        """Whether COPY into the table itself does what a staging table would: nothing is to be cast."""
        if any(self.declared[field["name"]] != column_type(field["type"]) for field in fields):
            return False
        rows = base.rows(COPIED.format(table=literal(self.qualified, "text")))
        return bool(rows[0]["alike"])

    def stage(self, stage: str, fields: list[dict[str, Any]]) -> str:
        """The statement that makes a staging table."""
        columns = [f"{quote(field['name'])} {staged_type(field['type'])}" for field in fields]
        return f"CREATE TEMPORARY TABLE {quote(stage)} ({', '.join(columns)})"

    def fill(self, stage: str, columns: list[str]) -> str:
        """The statement that moves a batch out of its staging table. Of two
        rows with one key in a batch the later stays, as between batches."""
        casts = ", ".join(f"{quote(name)}::{self.declared[name]}" for name in columns)
        into = f"INSERT INTO {self.qualified} ({quoted(columns)})"
        if not self.key:
            return f"{into} SELECT {casts} FROM {quote(stage)}"
        changes = [f"{quote(c)} = excluded.{quote(c)}" for c in columns if c not in self.key]
        do = f"UPDATE SET {', '.join(changes)}" if changes else "NOTHING"
        return (
            f"{into} SELECT DISTINCT ON ({quoted(self.key)}) {casts} FROM {quote(stage)}"
            f" ORDER BY {quoted(self.key)}, ctid DESC"
            f" ON CONFLICT ({quoted(self.key)}) DO {do}"
        )

    def _check(self, names: list[str]) -> None:
        for name in [self.name, *names]:
            if len(name.encode()) > LONGEST_NAME or "\0" in name:
                raise errors.SchemaViolation(
                    f"{self.name}: PostgreSQL cannot hold the name {name!r}: at most {LONGEST_NAME} bytes"
                )
        for name in self.key:
            if name not in names:
                raise errors.SchemaViolation(f"{self.name}: the primary key {name} is no field")

    def _column(self, field: dict[str, Any]) -> str:
        required = " NOT NULL" if field["name"] in self.key else ""
        return f"{quote(field['name'])} {column_type(field['type'])}{required}"

    def _columns(self, base: Database) -> dict[str, str]:
        rows = base.rows(COLUMNS.format(table=literal(self.qualified, "text")))
        return {row["name"]: row["declared"] for row in rows}

    def _unique(self, base: Database) -> bool:
        rows = base.rows(UNIQUE.format(table=literal(self.qualified, "text")))
        return any(json.loads(row["columns"]) == sorted(self.key) for row in rows)
