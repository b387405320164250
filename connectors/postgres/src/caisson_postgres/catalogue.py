"""Tables and columns, out of the system catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .database import Database, literal, quote
from .types import field_type, selected

FIND = """
SELECT c.relname::text AS table_name,
       coalesce(obj_description(c.oid, 'pg_class'), '') AS title,
       a.attname::text AS column_name,
       format_type(a.atttypid, a.atttypmod) AS declared,
       coalesce(b.typname, t.typname)::text AS base,
       coalesce(b.typtype, t.typtype)::text AS class,
       coalesce(b.typcategory, t.typcategory)::text AS category,
       CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END AS modifier,
       a.attnotnull AS required,
       coalesce(array_position(i.indkey::int2[], a.attnum), -1) AS key_place
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_type b ON t.typtype = 'd' AND b.oid = t.typbasetype
  LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
 WHERE n.nspname = {schema}
   AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
   AND NOT c.relispartition
   AND c.relname NOT LIKE '\\_caisson\\_%'
   AND has_table_privilege(c.oid, 'SELECT')
 ORDER BY c.relname, a.attnum
"""


@dataclass(frozen=True)
class Column:
    """A column: its type as declared, and the expression that reads it."""

    name: str
    declared: str
    field: dict[str, Any]
    expression: str


@dataclass(frozen=True)
class Table:
    """A table, view or foreign table, with its primary key in order."""

    schema: str
    name: str
    title: str
    columns: list[Column]
    key: list[str]

    @property
    def qualified(self) -> str:
        """As SQL names it."""
        return f"{quote(self.schema)}.{quote(self.name)}"

    def column(self, name: str) -> Column:
        """A column by name."""
        return next(column for column in self.columns if column.name == name)


def tables(base: Database, schema: str) -> list[Table]:
    """Every table of a schema that the role may select from, by name."""
    found: dict[str, tuple[str, list[Column], list[tuple[int, str]]]] = {}
    for row in base.rows(FIND.format(schema=literal(schema, "text"))):
        _, columns, key = found.setdefault(row["table_name"], (row["title"], [], []))
        name = row["column_name"]
        kind = field_type(row["base"], row["class"], row["category"], row["modifier"])
        field = {"name": name, "type": kind, "nullable": not row["required"]}
        columns.append(Column(name, row["declared"], field, selected(name, row["base"], kind)))
        if row["key_place"] >= 0:
            key.append((row["key_place"], name))
    return [
        Table(schema, name, title, columns, [column for _, column in sorted(key)])
        for name, (title, columns, key) in found.items()
    ]
