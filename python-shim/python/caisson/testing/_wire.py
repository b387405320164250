"""The worker protocol in plain Python, for the daemon's double in tests.

Frames are those of runtime/wire, messages those of
proto/caisson/worker/v1/worker.proto (a test compares the two); protobuf's
encoding is at protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Fields = dict[int, tuple[str, str]]

OPERATIONS = ["unspecified", "test", "list", "read", "write", "inspect"]
ENCODINGS = ["unspecified", "arrow_ipc", "json_lines"]

MESSAGES: dict[str, Fields] = {
    "start": {
        1: ("protocol_version", "uint"), 2: ("operation", "operation"), 3: ("call_id", "string"),
        4: ("manifest_json", "string"), 5: ("config_json", "string"), 6: ("secrets", "*secret"),
        7: ("encoding", "encoding"), 9: ("deadline_unix_ms", "uint"),
        10: ("batch_target_bytes", "uint"), 11: ("batch_max_bytes", "uint"), 12: ("flush_ms", "uint"),
        13: ("checkpoint_ms", "uint"), 14: ("write_max_records", "uint"), 15: ("write_max_bytes", "uint"),
        16: ("all_streams", "bool"), 17: ("stream_count", "uint"),
        18: ("heartbeat_ms", "uint"), 19: ("throttle_max_ms", "uint"),
    },
    "secret": {1: ("reference", "string"), 2: ("value", "bytes")},
    "stream_start": {
        1: ("name", "string"), 2: ("partition", "string"), 3: ("mode", "string"),
        5: ("max_records", "uint"), 6: ("has_state", "bool"),
    },
    "schema": {
        1: ("stream", "string"), 2: ("schema_id", "string"), 3: ("primary_key", "*string"),
        4: ("cursor", "string"), 5: ("mode", "string"),
    },
    "batch": {
        1: ("stream", "string"), 2: ("partition", "string"), 3: ("schema_id", "string"), 4: ("epoch", "uint"),
        5: ("sequence", "uint"), 6: ("records", "uint"),
    },
    "checkpoint": {
        1: ("stream", "string"), 2: ("partition", "string"), 3: ("id", "string"), 4: ("state", "bytes"),
        5: ("records", "uint"), 6: ("final", "bool"),
    },
    "end_of_input": {},
    "cancel": {1: ("reason", "string")},
    "hello": {
        1: ("protocol_version", "uint"), 2: ("cdk_version", "string"), 3: ("python_version", "string"),
        4: ("profile", "string"),
    },
    "started": {},
    "object": {1: ("json", "string")},
    "step": {1: ("name", "string"), 2: ("status", "string"), 3: ("message", "string")},
    "stream_status": {1: ("stream", "string"), 2: ("partition", "string"), 3: ("status", "string")},
    "log": {
        1: ("level", "uint"), 2: ("logger", "string"), 3: ("message", "string"), 4: ("fields_json", "string"),
    },
    "progress": {
        1: ("stream", "string"), 2: ("records", "uint"), 3: ("total", "uint"), 4: ("message", "string"),
    },
    "throttled": {1: ("until_unix_ms", "uint"), 2: ("host", "string"), 3: ("cause", "string")},
    "rejected": {
        1: ("stream", "string"), 2: ("partition", "string"), 3: ("sequence", "uint"), 4: ("record", "uint"),
        5: ("key_json", "string"), 6: ("reason", "string"),
    },
    "acknowledged": {
        1: ("stream", "string"), 2: ("partition", "string"), 3: ("sequence", "uint"), 4: ("records", "uint"),
    },
    "committed": {1: ("stream", "string"), 2: ("partition", "string"), 3: ("checkpoint_id", "string")},
    "facts": {},
    "prepare": {1: ("entrypoint", "string")},
    "prepared": {},
    "done": {1: ("requests", "uint"), 2: ("throttled_seconds", "double")},
    "failed": {
        1: ("code", "string"), 2: ("exception", "string"), 3: ("message", "string"),
        4: ("traceback", "string"), 5: ("stream", "string"), 6: ("partition", "string"),
        7: ("retry_at_unix_ms", "uint"), 8: ("action", "string"), 9: ("requests", "uint"),
        10: ("throttled_seconds", "double"),
    },
}  # fmt: skip

TO_WORKER = {
    1: "start", 2: "schema", 3: "batch", 4: "checkpoint", 5: "end_of_input", 6: "cancel", 7: "stream_start",
    8: "prepare",
}  # fmt: skip
FROM_WORKER = {
    1: "hello", 2: "started", 3: "object", 4: "step", 5: "schema", 6: "batch", 7: "checkpoint",
    8: "stream_status", 9: "log", 10: "progress", 11: "throttled", 12: "rejected", 13: "acknowledged",
    14: "committed", 15: "facts", 16: "done", 17: "failed", 18: "prepared",
}  # fmt: skip


def frame(arms: dict[int, str], kind: str, fields: dict[str, Any], body: bytes = b"") -> bytes:
    """The bytes of one frame: header, the oneof's arm `kind`, body."""
    number = next(number for number, name in arms.items() if name == kind)
    inner = encode(kind, fields)
    meta = _varint(number << 3 | 2) + _varint(len(inner)) + inner
    return struct.pack("<II", len(meta), len(body)) + meta + body


def parse(arms: dict[int, str], meta: bytes) -> tuple[str, dict[str, Any]]:
    """(kind, fields) of a frame's message."""
    for number, _, value in _read(meta):
        if number in arms and isinstance(value, bytes):
            return arms[number], decode(arms[number], value)
    raise ValueError("a frame without a known message")


def encode(message: str, fields: dict[str, Any]) -> bytes:
    """A message's bytes."""
    known = {name: (number, kind) for number, (name, kind) in MESSAGES[message].items()}
    out = bytearray()
    for name, value in fields.items():
        number, kind = known[name]
        for each in value if kind.startswith("*") else [value]:
            _put(out, number, kind.lstrip("*"), each)
    return bytes(out)


def decode(message: str, data: bytes) -> dict[str, Any]:
    """A message's fields, those that were left out with their default."""
    fields: dict[str, Any] = {name: _default(kind) for name, kind in MESSAGES[message].values()}
    for number, _, value in _read(data):
        if number not in MESSAGES[message]:
            continue
        name, kind = MESSAGES[message][number]
        if kind.startswith("*"):
            fields[name].append(_value(kind[1:], value))
        else:
            fields[name] = _value(kind, value)
    return fields


def _put(out: bytearray, number: int, kind: str, value: Any) -> None:
    if kind in ("uint", "bool", "operation", "encoding"):
        if kind == "operation":
            value = OPERATIONS.index(value)
        elif kind == "encoding":
            value = ENCODINGS.index(value)
        out += _varint(number << 3) + _varint(int(value))
    elif kind == "double":
        out += _varint(number << 3 | 1) + struct.pack("<d", value)
    else:
        if kind == "string":
            value = value.encode()
        elif kind != "bytes":
            value = encode(kind, value)
        out += _varint(number << 3 | 2) + _varint(len(value)) + value


def _default(kind: str) -> Any:
    if kind.startswith("*"):
        return []
    defaults: dict[str, Any] = {
        "uint": 0, "bool": False, "string": "", "bytes": b"", "double": 0.0,
        "operation": "unspecified", "encoding": "unspecified",
    }  # fmt: skip
    return defaults[kind]


def _value(kind: str, value: Any) -> Any:
    if kind == "string":
        return value.decode()
    if kind == "bool":
        return bool(value)
    if kind == "operation":
        return OPERATIONS[value]
    if kind == "encoding":
        return ENCODINGS[value]
    if kind in ("uint", "bytes", "double"):
        return value
    return decode(kind, value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read(data: bytes) -> Iterator[tuple[int, int, Any]]:
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        number, kind = tag >> 3, tag & 7
        value: Any
        if kind == 0:
            value, at = _read_varint(data, at)
        elif kind == 1:
            value, at = struct.unpack_from("<d", data, at)[0], at + 8
        elif kind == 2:
            length, at = _read_varint(data, at)
            value, at = data[at : at + length], at + length
        else:
            raise ValueError(f"wire type {kind}")
        yield number, kind, value


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
