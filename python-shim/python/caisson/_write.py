"""The write operation: batches in, rejects and acknowledgements out.

A batch is acknowledged and a checkpoint committed when `commit` has returned:
then, and not before, the connector says that everything up to there is
durable. Between two checkpoints nothing is committed, so that a destination
can land a batch and its checkpoint in one transaction.

Where the manifest says `write.concurrency`, several parts of batches are
written at once. What is told of them keeps the order in which they came:
rejects and acknowledgements batch by batch, and a checkpoint is committed when
everything before it has landed. `schema` and `commit` are called alone.
"""

from __future__ import annotations

import json

from ._batch import cut
from ._flight import Part
from ._records import Checkpoint, Reject
from ._streams import Stream, parameters
from .errors import Cancelled, ConfigInvalid, ConnectorFailed, SchemaViolation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._call import Call
    from ._flight import Flight
    from ._native import ArrowSchema, RecordBatch

POLL = 0.5
"""Seconds of waiting for input after which the worker looks for a cancellation and says that it lives."""

MAX_TEXT = 4096
"""Characters of a rejected record's key and reason: the daemon takes 64 KiB for both."""


class _Begun:
    """A batch of which not everything has landed, or is not yet told of."""

    def __init__(self, sequence: int, records: int) -> None:
        self.sequence = sequence
        self.records = records
        self.parts: list[Part] = []
        self.whole = False  # every part of it was begun

    @property
    def landed(self) -> bool:
        return self.whole and all(part.rejects is not None for part in self.parts)


class _Target:
    """One (stream, partition) being written."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.begun: list[_Begun] = []
        self.pending: list[dict[str, Any]] = []
        self.dirty = False


STEP = 0.05
"""Seconds of waiting for what is under way after which the worker looks for more input."""


class Writer:
    """Serves the messages of one write call."""

    def __init__(self, call: Call, connector: Any, start: dict[str, Any]) -> None:
        self._call = call
        self._connector = connector
        self._encoding = start.get("encoding") or "arrow_ipc"
        limits = call.manifest.get("write") or {}
        self._max_records = start.get("write_max_records") or int(limits.get("max_records") or 0)
        self._max_bytes = start.get("write_max_bytes") or byte_count(limits.get("max_bytes"))
        self._modes = {each["name"]: each.get("mode") or "" for each in start.get("streams") or []}
        capabilities = call.manifest.get("capabilities")
        self._upserts = "write.upsert" in (capabilities or [])
        self._only_appends = capabilities is not None and not self._upserts  # a class under test may declare none
        self._schemas: dict[tuple[str, str], ArrowSchema | None] = {}  # by stream and schema_id
        self._headers: dict[str, dict[str, Any]] = {}
        self._targets: dict[tuple[str, str], _Target] = {}
        if not hasattr(connector, "write"):
            raise ConnectorFailed("the connector defines no write(stream, batch)")
        self._commit = getattr(connector, "commit", None)
        self._commit_takes_checkpoint = self._commit is not None and len(parameters(self._commit)) > 2
        self._schema_hook = getattr(connector, "schema", None)
        self._flight = self._made_flight(int(limits.get("concurrency") or 1))

    def __len__(self) -> int:
        """Parts that are under way."""
        return 0 if self._flight is None else len(self._flight)

    def look(self) -> None:
        """Tells of what landed, after a moment's wait for it."""
        if self._flight is not None:
            self._flight.look(STEP)
            self._tell()

    def stop(self) -> None:
        """Ends what is under way."""
        if self._flight is not None:
            self._flight.stop()

    def schema(self, fields: dict[str, Any], body: bytes) -> None:
        """A schema arrived."""
        from ._native import ArrowSchema

        self._land()
        try:
            self._schemas[fields["stream"], fields["schema_id"]] = ArrowSchema.from_ipc(body) if body else None
        except ValueError as malformed:
            raise SchemaViolation(f"stream {fields['stream']}: malformed schema: {malformed}") from malformed
        self._headers[fields["stream"]] = fields
        for (name, _), target in self._targets.items():
            if name == fields["stream"]:
                self._apply(target, fields["schema_id"])

    def batch(self, fields: dict[str, Any], body: bytes) -> None:
        """A batch arrived: writes it in parts that the destination can take."""
        from ._native import RecordBatch

        schema_id = fields.get("schema_id") or ""
        named = (fields["stream"], schema_id)
        if schema_id and named not in self._schemas:
            raise SchemaViolation(f"stream {fields['stream']}: a batch came before its schema")
        target = self._target(fields["stream"], fields.get("partition") or "")
        if fields["stream"] not in self._headers:
            self._check_mode(target.stream)
        declared = self._schemas.get(named)
        try:
            data = RecordBatch.decode(declared, self._encoding, body)
        except ValueError as malformed:
            raise SchemaViolation(f"stream {fields['stream']}: malformed batch: {malformed}") from malformed
        known = target.stream.schema
        if declared is None and (known is None or known.fields() != data.schema.fields()):
            self._land()
            target.stream.schema = data.schema
            self._tell_schema(target)
        target.dirty = True
        begun = _Begun(fields.get("sequence") or 0, fields.get("records") or len(data))
        target.begun.append(begun)
        for offset, records in cut(data, self._max_records, self._max_bytes):
            self._call.check()
            part = Part(target.stream, records, offset, self._keys(target.stream, records))
            begun.parts.append(part)
            if self._max_bytes and len(records) == 1 and records.nbytes > self._max_bytes:
                part.rejects = [Reject(0, f"the record exceeds {self._max_bytes} bytes")]
            elif self._flight is None:
                part.rejects = self._written(part)
            else:
                self._flight.start(part)
        begun.whole = True
        self._tell()

    def checkpoint(self, fields: dict[str, Any]) -> None:
        """A checkpoint arrived: commits what came before it."""
        target = self._target(fields["stream"], fields.get("partition") or "")
        checkpoint = Checkpoint(fields.get("state") or b"")
        checkpoint.id = fields.get("id") or ""
        checkpoint.stream, checkpoint.partition = target.stream.name, target.stream.partition
        checkpoint.records = fields.get("records") or 0
        checkpoint.final = bool(fields.get("final"))
        self._land()
        self._durable(target, checkpoint)
        self._call.send(
            "committed",
            {"stream": checkpoint.stream, "partition": checkpoint.partition, "checkpoint_id": checkpoint.id},
        )

    def end(self) -> None:
        """No more input: commits what is left."""
        self._land()
        for target in self._targets.values():
            if target.dirty:
                self._durable(target, None)

    def _target(self, name: str, partition: str) -> _Target:
        found = self._targets.get((name, partition))
        if found is None:
            stream = Stream(name)
            stream.partition = partition
            found = self._targets[(name, partition)] = _Target(stream)
            header = self._headers.get(name)
            stream.mode = self._modes.get(name) or "append"
            if header is not None:
                self._apply(found, header["schema_id"])
        return found

    def _apply(self, target: _Target, schema_id: str) -> None:
        header, stream = self._headers[target.stream.name], target.stream
        stream.schema = self._schemas[stream.name, schema_id]
        stream.primary_key = list(header.get("primary_key") or [])
        stream.cursor = header.get("cursor") or ""
        default = "upsert" if stream.primary_key and self._upserts else "append"
        stream.mode = header.get("mode") or self._modes.get(stream.name) or default
        self._check_mode(stream)
        self._tell_schema(target)

    def _check_mode(self, stream: Stream) -> None:
        if stream.mode == "upsert" and self._only_appends:
            raise ConfigInvalid(
                f"stream {stream.name}: this destination cannot upsert; connector.yaml has no write.upsert",
                action="Write `write: append` for the stream in the connection, or take a destination that upserts.",
            )
        if stream.mode == "upsert" and not stream.primary_key:
            raise ConfigInvalid(
                f"stream {stream.name} has no primary key, so it cannot be upserted",
                action="Write `write: append` for the stream in the connection, or declare the key at its source.",
            )

    def _tell_schema(self, target: _Target) -> None:
        if self._schema_hook is not None and target.stream.schema is not None:
            self._call.finish(self._schema_hook(target.stream))

    def _durable(self, target: _Target, checkpoint: Checkpoint | None) -> None:
        if self._commit is not None:
            arguments = (checkpoint,) if self._commit_takes_checkpoint else ()
            self._call.finish(self._commit(target.stream, *arguments))
        target.dirty = False
        self._acknowledge(target)

    def _acknowledge(self, target: _Target) -> None:
        for fields in target.pending:
            self._call.send("acknowledged", fields)
        target.pending.clear()

    def _made_flight(self, width: int) -> Flight | None:
        if width <= 1:
            return None
        from ._flight import Flight, Tasks, Threads, is_asynchronous

        hook = self._connector.write
        if is_asynchronous(hook):
            return Flight(self._call, width, Tasks(self._call, lambda part: hook(part.stream, part.batch)))
        return Flight(self._call, width, Threads(width, self._written))

    def _written(self, part: Part) -> list[Reject]:
        return list(self._call.iterate(self._connector.write(part.stream, part.batch)))

    def _keys(self, stream: Stream, records: RecordBatch) -> frozenset[str]:
        """What no other part that is under way may hold: nothing, unless order matters."""
        if self._flight is None or stream.mode != "upsert" or not stream.primary_key:
            return frozenset()
        return frozenset(map(repr, records.rows(stream.primary_key)))

    def _land(self) -> None:
        """Waits until nothing is under way, and tells of it."""
        while len(self):
            self.look()

    def _tell(self) -> None:
        """Tells of the batches that have landed, oldest first."""
        for target in self._targets.values():
            while target.begun and target.begun[0].landed:
                done = target.begun.pop(0)
                for part in done.parts:
                    self._tell_rejects(target, done, part)
                target.pending.append(
                    {
                        "stream": target.stream.name,
                        "partition": target.stream.partition,
                        "sequence": done.sequence,
                        "records": done.records,
                    }
                )
                if self._commit is None:
                    self._acknowledge(target)

    def _tell_rejects(self, target: _Target, begun: _Begun, part: Part) -> None:
        keys = target.stream.primary_key
        for reject in part.rejects or ():
            if not 0 <= reject.index < len(part.records):
                raise ConnectorFailed(f"write() rejects record {reject.index} of a batch of {len(part.records)}")
            key = ""
            if keys:
                record = part.records.slice(reject.index, 1).to_pylist()[0]
                key = json.dumps({name: record.get(name) for name in keys}, default=str)
            self._call.send(
                "rejected",
                {
                    "stream": target.stream.name,
                    "partition": target.stream.partition,
                    "sequence": begun.sequence,
                    "record": part.offset + reject.index,
                    # The daemon takes no longer ones; half of a key would be another's.
                    "key_json": key if len(key) <= MAX_TEXT else "",
                    "reason": reject.reason[:MAX_TEXT],
                },
            )


def write(call: Call, connector: Any, start: dict[str, Any]) -> None:
    """Takes input until it ends.

    Raises:
        Cancelled: The caller cancelled; what was not committed is not durable.
    """
    writer = Writer(call, connector, start)
    try:
        _serve(call, writer)
    finally:
        writer.stop()


def _serve(call: Call, writer: Writer) -> None:
    while True:
        message = call.channel.receive(0.0 if len(writer) else POLL)
        if message is None:
            if len(writer):
                writer.look()  # and no sign of life: a part that never lands is a stall
            else:
                call.check()
                call.alive()
            continue
        kind, fields, body = message
        if kind == "batch":
            writer.batch(fields, body)
        elif kind == "schema":
            writer.schema(fields, body)
        elif kind == "checkpoint":
            writer.checkpoint(fields)
        elif kind == "end_of_input":
            writer.end()
            return
        elif kind == "cancel":
            raise Cancelled(f"the call was cancelled: {fields.get('reason') or 'no reason given'}")
        else:
            raise ConnectorFailed(f"the daemon sent {kind!r} into a write")


def byte_count(value: Any) -> int:
    """Bytes of "5MiB", "500kB" or a number; 0 for None.

    Raises:
        ConnectorFailed: It is no size.
    """
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    units = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
    text = str(value).strip().lower()
    number = text.rstrip("bgikm ")
    unit = text[len(number) :].strip()
    try:
        return int(float(number) * units[unit])
    except (ValueError, KeyError):
        raise ConnectorFailed(f"{value!r} in connector.yaml is no size; write for example 5MiB") from None
