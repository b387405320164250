"""The write operation: batches in, rejects and acknowledgements out.

A batch is acknowledged and a checkpoint committed when `commit` has returned:
then, and not before, the connector says that everything up to there is
durable. Between two checkpoints nothing is committed, so that a destination
can land a batch and its checkpoint in one transaction.
"""

from __future__ import annotations

import json

from ._batch import Batch, cut
from ._records import Checkpoint
from ._streams import Stream, parameters
from .errors import Cancelled, ConnectorFailed, SchemaViolation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._call import Call
    from ._native import ArrowSchema, RecordBatch

POLL = 0.5
"""Seconds of waiting for input after which the worker looks for a cancellation and says that it lives."""


class _Target:
    """One (stream, partition) being written."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.pending: list[dict[str, Any]] = []
        self.dirty = False


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
        self._upserts = "write.upsert" in (call.manifest.get("capabilities") or [])
        self._schemas: dict[tuple[str, str], ArrowSchema | None] = {}  # by stream and schema_id
        self._headers: dict[str, dict[str, Any]] = {}
        self._targets: dict[tuple[str, str], _Target] = {}
        if not hasattr(connector, "write"):
            raise ConnectorFailed("the connector defines no write(stream, batch)")
        self._commit = getattr(connector, "commit", None)
        self._commit_takes_checkpoint = self._commit is not None and len(parameters(self._commit)) > 2
        self._schema_hook = getattr(connector, "schema", None)

    def schema(self, fields: dict[str, Any], body: bytes) -> None:
        """A schema arrived."""
        from ._native import ArrowSchema

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
        declared = self._schemas.get(named)
        try:
            data = RecordBatch.decode(declared, self._encoding, body)
        except ValueError as malformed:
            raise SchemaViolation(f"stream {fields['stream']}: malformed batch: {malformed}") from malformed
        known = target.stream.schema
        if declared is None and (known is None or known.fields() != data.schema.fields()):
            target.stream.schema = data.schema
            self._tell_schema(target)
        target.dirty = True
        for offset, part in cut(data, self._max_records, self._max_bytes):
            self._call.check()
            if self._max_bytes and len(part) == 1 and part.nbytes > self._max_bytes:
                self._reject(target, fields, part, 0, offset, f"the record exceeds {self._max_bytes} bytes")
                continue
            rejects = self._call.iterate(self._connector.write(target.stream, Batch(part, offset)))
            for reject in rejects:
                if not 0 <= reject.index < len(part):
                    raise ConnectorFailed(f"write() rejects record {reject.index} of a batch of {len(part)}")
                self._reject(target, fields, part, reject.index, offset, reject.reason)
        target.pending.append(
            {
                "stream": fields["stream"],
                "partition": fields.get("partition") or "",
                "sequence": fields.get("sequence") or 0,
                "records": fields.get("records") or len(data),
            }
        )
        if self._commit is None:
            self._acknowledge(target)

    def checkpoint(self, fields: dict[str, Any]) -> None:
        """A checkpoint arrived: commits what came before it."""
        target = self._target(fields["stream"], fields.get("partition") or "")
        checkpoint = Checkpoint(fields.get("state") or b"")
        checkpoint.id = fields.get("id") or ""
        checkpoint.stream, checkpoint.partition = target.stream.name, target.stream.partition
        checkpoint.records = fields.get("records") or 0
        checkpoint.final = bool(fields.get("final"))
        self._durable(target, checkpoint)
        self._call.send(
            "committed",
            {"stream": checkpoint.stream, "partition": checkpoint.partition, "checkpoint_id": checkpoint.id},
        )

    def end(self) -> None:
        """No more input: commits what is left."""
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
        self._tell_schema(target)

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

    def _reject(
        self, target: _Target, fields: dict[str, Any], part: RecordBatch, index: int, offset: int, reason: str
    ) -> None:
        keys = target.stream.primary_key
        key = ""
        if keys:
            record = part.slice(index, 1).to_pylist()[0]
            key = json.dumps({name: record.get(name) for name in keys}, default=str)
        self._call.send(
            "rejected",
            {
                "stream": target.stream.name,
                "partition": target.stream.partition,
                "sequence": fields.get("sequence") or 0,
                "record": offset + index,
                "key_json": key,
                "reason": reason,
            },
        )


def write(call: Call, connector: Any, start: dict[str, Any]) -> None:
    """Takes input until it ends.

    Raises:
        Cancelled: The caller cancelled; what was not committed is not durable.
    """
    writer = Writer(call, connector, start)
    while True:
        message = call.channel.receive(POLL)
        if message is None:
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
