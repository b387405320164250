"""The daemon's end of a channel, written a second time.

The protocol's messages are made from `worker.proto` itself by Google's
protobuf, so nothing here shares code with what is tested.
"""

import re
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from caisson import _native

PROTO = Path(__file__).parents[3] / "proto/caisson/worker/v1/worker.proto"
Encoding = Literal["arrow_ipc", "json_lines"]
Fields = list[dict[str, Any]]
_SCALARS = {"string", "bytes", "bool", "double", "uint32", "uint64"}
_PACKAGE = "caisson.worker.v1"


def _messages() -> tuple[Any, Any]:
    text = re.sub(r"//.*", "", PROTO.read_text())
    file = descriptor_pb2.FileDescriptorProto(name="worker.proto", package=_PACKAGE, syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, body in re.findall(r"enum (\w+) \{(.*?)\}", text, re.DOTALL):
        enum = file.enum_type.add(name=name)
        for word, number in re.findall(r"(\w+) = (\d+);", body):
            enum.value.add(name=word, number=int(number))
    enums = {enum.name for enum in file.enum_type}
    for name, body in re.findall(r"message (\w+) \{((?:[^{}]|\{[^{}]*\})*)\}", text):
        message = file.message_type.add(name=name)
        arms = "oneof" in body
        if arms:
            message.oneof_decl.add(name="message")
        for repeated, kind, field_name, number in re.findall(r"(repeated )?(\w+) (\w+) = (\d+);", body):
            field = message.field.add(name=field_name, number=int(number))
            field.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if kind in _SCALARS:
                field.type = getattr(kinds, f"TYPE_{kind.upper()}")
            else:
                field.type = kinds.TYPE_ENUM if kind in enums else kinds.TYPE_MESSAGE
                field.type_name = f".{_PACKAGE}.{kind}"
            if arms:
                field.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    classes = [pool.FindMessageTypeByName(f"{_PACKAGE}.{name}") for name in ("ToWorker", "FromWorker")]
    to_worker, from_worker = (message_factory.GetMessageClass(each) for each in classes)
    return to_worker, from_worker


ToWorker, FromWorker = _messages()


@dataclass
class Frame:
    kind: str
    message: Any
    body: bytes


class Daemon:
    """One end; `channel` is the other."""

    def __init__(self) -> None:
        self.socket, worker = socket.socketpair()
        self.socket.settimeout(20)
        self.channel = _native.Channel(worker.detach())
        self._buffer = b""

    def __enter__(self) -> "Daemon":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send(self, kind: str, body: bytes = b"", **fields: Any) -> None:
        message = ToWorker()
        arm = getattr(message, kind)
        arm.SetInParent()
        for name, value in fields.items():
            if isinstance(value, list):
                getattr(arm, name).extend(value)
            else:
                setattr(arm, name, value)
        meta = message.SerializeToString()
        self.socket.sendall(struct.pack("<II", len(meta), len(body)) + meta + body)

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            more = self.socket.recv(1 << 20)
            if not more:
                raise EOFError
            self._buffer += more
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def next(self) -> Frame:
        meta, body = struct.unpack("<II", self._take(8))
        message = FromWorker.FromString(self._take(meta))
        kind = message.WhichOneof("message")
        return Frame(kind, getattr(message, kind), self._take(body))

    def until(self, kind: str = "checkpoint") -> list[Frame]:
        frames = [self.next()]
        while frames[-1].kind != kind:
            frames.append(self.next())
        return frames


def tables(frames: list[Frame]) -> dict[str, pa.Table]:
    """What pyarrow reads: the batches behind each schema id."""
    streams: dict[str, bytes] = {}
    for frame in frames:
        if frame.kind == "schema":
            streams[frame.message.schema_id] = frame.body
        elif frame.kind == "batch":
            streams[frame.message.schema_id] += frame.body
    return {name: pa.ipc.open_stream(body).read_all() for name, body in streams.items()}


def table(frames: list[Frame]) -> pa.Table:
    """The one table in `frames`, its batches' counts checked."""
    (only,) = tables(frames).values()
    only.validate(full=True)
    assert sum(frame.message.records for frame in frames if frame.kind == "batch") == only.num_rows
    return only


def lines(frames: list[Frame]) -> Iterator[bytes]:
    for frame in frames:
        if frame.kind == "batch":
            found = frame.body.splitlines()
            assert len(found) == frame.message.records
            yield from found
