"""PostgreSQL's types and ours."""

from __future__ import annotations

import re
from typing import Any

from .database import quote

# What the driver reads as it is, by name in pg_type.
READ = {
    "bool": "bool",
    "int2": "int16",
    "int4": "int32",
    "int8": "int64",
    "float4": "float32",
    "float8": "float64",
    "text": "string",
    "varchar": "string",
    "bpchar": "string",
    "bytea": "binary",
    "date": "date",
    "time": "time",
    "timestamp": "timestamp_naive",
    "timestamptz": "timestamp",
}
JSON = {"json", "jsonb"}


def field_type(base: str, kind: str, category: str, modifier: int) -> str:
    """Our type for a column. What Arrow has no exact type for is read as the
    text that PostgreSQL writes: numeric keeps all its digits that way, and
    NaN. Arrays, ranges of composites and JSON come as JSON."""
    del modifier
    if base in READ:
        return READ[base]
    if base in JSON or category == "A" or kind == "c":
        return "json"
    return "string"


def selected(name: str, base: str, kind: str) -> str:
    """The expression that reads a column as `kind`, under its own name."""
    column = quote(name)
    if base in READ:
        return column
    if kind == "json":
        text = column if base in JSON else f"to_jsonb({column})"
        return f"{text}::text AS {column}"
    return f"{column}::text AS {column}"


WRITTEN = {
    "bool": "boolean",
    "int8": "smallint",
    "int16": "smallint",
    "int32": "integer",
    "int64": "bigint",
    "uint8": "smallint",
    "uint16": "integer",
    "uint32": "bigint",
    "uint64": "numeric(20,0)",
    "float32": "real",
    "float64": "double precision",
    "string": "text",
    "null": "text",
    "binary": "bytea",
    "date": "date",
    "time": "time without time zone",
    "timestamp": "timestamp with time zone",
    "timestamp_naive": "timestamp without time zone",
    "duration": "interval",
    "json": "jsonb",
}
STAGED = {"json": "json", "uint64": "numeric"}
DECIMAL = re.compile(r"decimal\((\d+),\s*(-?\d+)\)")


def column_type(kind: Any) -> str:
    """The column type that a destination makes for a field type, as format_type writes it."""
    if nested(kind):
        return "jsonb"
    if found := DECIMAL.fullmatch(kind):
        return f"numeric({found[1]},{found[2]})"
    return WRITTEN[kind]


def staged_type(kind: Any) -> str:
    """The type of a column that holds values on their way to one of any type: as they are, JSON as its text."""
    if nested(kind):
        return "text"
    return "numeric" if DECIMAL.fullmatch(kind) else STAGED.get(kind, WRITTEN[kind])


def nested(kind: Any) -> bool:
    """Whether a field type is a list, a struct or a map, which go as JSON."""
    return not isinstance(kind, str)
