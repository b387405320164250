"""SQLite's declared column types as field types."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

Field = dict[str, Any]
Fields = list[Field]
Record = dict[str, Any]


def field_type(declared: str) -> str:
    """By SQLite's rules of affinity (sqlite.org/datatype3.html, 3.1).

    A column without a type may hold anything: it comes as JSON. Dates are
    texts in SQLite and stay as they are written.
    """
    name = declared.upper()
    if "INT" in name or "BOOL" in name:
        return "int64"
    if any(part in name for part in ("CHAR", "CLOB", "TEXT", "DATE", "TIME")):
        return "string"
    if "BLOB" in name:
        return "binary"
    if any(part in name for part in ("REAL", "FLOA", "DOUB", "DEC", "NUM")):
        return "float64"
    return "json"


def fields_of(columns: list[dict[str, Any]], rowid: bool) -> list[Field]:
    """Fields out of pragma_table_info; `rowid` adds the number of keyless rows."""
    key = [{"name": "rowid", "type": "int64", "nullable": False}] if rowid else []
    return key + [
        {
            "name": column["name"],
            "type": field_type(column["type"] or ""),
            "nullable": not (column["notnull"] or column["pk"]),
        }
        for column in columns
    ]


def decode(fields: list[Field] | None) -> Callable[[Record], Record] | None:
    """What turns {"$base64": …} into bytes; None where no column can hold any."""
    blobs = [field["name"] for field in fields or [] if field["type"] == "binary"]
    if fields is not None and not blobs:
        return None

    def decoded(record: Record) -> Record:
        for name in record if fields is None else blobs:
            value = record[name]
            if isinstance(value, dict) and value.get("$base64") is True:
                record[name] = base64.b64decode(value["encoded"])
            elif isinstance(value, str) and fields is not None:
                record[name] = value.encode()  # a text in a BLOB column
        return record

    return decoded
