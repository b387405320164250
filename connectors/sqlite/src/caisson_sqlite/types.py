"""Field types as SQLite's column types, and values as it stores them."""

from __future__ import annotations

import base64
import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

Field = dict[str, Any]

# SQLite has no exact decimals, dates or nested values: they are texts, whole
# and sortable, and never numbers that lose digits.
COLUMN = {
    "bool": "BOOLEAN",
    "float32": "REAL",
    "float64": "REAL",
    "binary": "BLOB",
    "json": "TEXT",
    "date": "TEXT",
    "time": "TEXT",
    "timestamp": "TEXT",
    "timestamp_naive": "TEXT",
    "duration": "REAL",
    "string": "TEXT",
    "null": "TEXT",
}


def column_type(kind: Any) -> str:
    """The declared type of a column for a field type."""
    if isinstance(kind, str) and kind.startswith(("int", "uint")):
        return "INTEGER"
    return COLUMN.get(kind, "TEXT") if isinstance(kind, str) else "TEXT"


def field_type(declared: str) -> str:
    """By SQLite's rules of affinity (sqlite.org/datatype3.html, 3.1). A
    column without a type may hold anything: it comes as JSON."""
    name = declared.upper()
    if name == "BOOLEAN":
        return "bool"
    if "INT" in name:
        return "int64"
    if any(part in name for part in ("CHAR", "CLOB", "TEXT", "DATE", "TIME")):
        return "string"
    if "BLOB" in name:
        return "binary"
    if any(part in name for part in ("REAL", "FLOA", "DOUB", "DEC", "NUM")):
        return "float64"
    return "json"


def stored(value: Any) -> Any:
    """A value as SQLite holds it.

    Raises:
        ValueError: NaN or an infinite number inside a nested value, which JSON has no form for.
    """
    if value is None or isinstance(value, (str, bytes, float)):
        return value
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        # Past 64 bits SQLite has no integer; the digits stay, as text.
        return value if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            return value.isoformat(timespec="microseconds")
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return str(value)
    return json.dumps(value, default=stored_in_json, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def stored_in_json(value: Any) -> Any:
    """What JSON has no form for, inside a nested value."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return stored(value)


# What binds as it is: the others go through `stored`.
PLAIN = {"bool", "string", "binary", "json", "null", "float32", "float64"}
PLAIN |= {f"int{bits}" for bits in (8, 16, 32, 64)} | {f"uint{bits}" for bits in (8, 16, 32)}


def converted(fields: list[Field]) -> list[int]:
    """Places of the columns whose values need `stored`."""
    return [
        place for place, field in enumerate(fields) if not (isinstance(field["type"], str) and field["type"] in PLAIN)
    ]


def floating(fields: list[Field]) -> list[int]:
    """Places of the columns that may hold NaN."""
    return [place for place, field in enumerate(fields) if field["type"] in ("float32", "float64")]
