"""What a call gave, as a test wants to ask for it."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._peer import Frame


class Checkpointed:
    """A checkpoint of a read.

    Attributes:
        stream: The stream.
        partition: The partition.
        id: Its identifier.
        state: What a later read takes as `state`.
        final: True for the last one of a complete stream.
        before: How many of `Outcome.records` came before it.
    """

    __slots__ = ("before", "final", "id", "partition", "state", "stream")

    def __init__(self, fields: dict[str, Any], before: int) -> None:
        self.stream: str = fields["stream"]
        self.partition: str = fields["partition"]
        self.id: str = fields["id"]
        self.state: bytes = fields["state"]
        self.final: bool = fields["final"]
        self.before = before

    def __repr__(self) -> str:
        return f"<checkpoint after {self.before} records: {self.state.decode('utf-8', 'replace')}>"


class Failure:
    """How a call failed: the fields of its Failed message."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.code: str = fields["code"]
        self.exception: str = fields["exception"]
        self.message: str = fields["message"]
        self.traceback: str = fields["traceback"]
        self.stream: str = fields["stream"]
        self.partition: str = fields["partition"]
        self.action: str = fields["action"]
        self.retry_at: float | None = fields["retry_at_unix_ms"] / 1000 or None

    def __repr__(self) -> str:
        return f"{self.code}: {self.message}\n{self.traceback}"


class Outcome:
    """Everything a worker sent.

    Attributes:
        frames: (kind, fields, body) in order.
        records: Each record, decoded from the batches that were sent.
        by_stream: The records of each stream.
        checkpoints: In order.
        error: How it failed; None if it did not.
        logs, steps, objects, statuses, throttled, progress, rejects, acknowledged,
        committed: The fields of these messages, in order.
        requests: HTTP requests sent.
        throttled_seconds: Time waited for quotas.
    """

    def __init__(self, frames: list[Frame]) -> None:
        from .._native import ArrowSchema, RecordBatch

        self.frames = frames
        self.records: list[dict[str, Any]] = []
        self.by_stream: dict[str, list[dict[str, Any]]] = {}
        self.checkpoints: list[Checkpointed] = []
        self.error: Failure | None = None
        self.requests = 0
        self.throttled_seconds = 0.0
        self.batches = 0
        self.schemas: list[ArrowSchema] = []
        self.objects: list[dict[str, Any]] = []
        schemas: dict[str, Any] = {}
        for kind, fields, body in frames:
            if kind == "schema":
                schema = ArrowSchema.from_ipc(body)
                schemas[fields["schema_id"]] = schema
                self.schemas.append(schema)
            elif kind == "batch":
                batch = RecordBatch.decode(schemas.get(fields["schema_id"]), "arrow_ipc", body)
                decoded = batch.to_pylist()
                self.batches += 1
                self.records += decoded
                self.by_stream.setdefault(fields["stream"], []).extend(decoded)
            elif kind == "checkpoint":
                self.checkpoints.append(Checkpointed(fields, len(self.records)))
            elif kind == "object":
                self.objects.append(json.loads(fields["json"]))
            elif kind == "failed":
                self.error = Failure(fields)
            if kind in ("done", "failed"):
                self.requests = fields["requests"]
                self.throttled_seconds = fields["throttled_seconds"]
        self.logs = self._of("log")
        self.steps = self._of("step")
        self.statuses = self._of("stream_status")
        self.throttled = self._of("throttled")
        self.progress = self._of("progress")
        self.rejects = self._of("rejected")
        self.acknowledged = self._of("acknowledged")
        self.committed = self._of("committed")

    @property
    def ok(self) -> bool:
        """True if the call did not fail."""
        return self.error is None

    @property
    def code(self) -> str:
        """The stable code that it failed with; "" if it did not."""
        return "" if self.error is None else self.error.code

    @property
    def state(self) -> bytes | None:
        """The state of the last checkpoint."""
        return self.checkpoints[-1].state if self.checkpoints else None

    def check(self) -> Outcome:
        """Itself, if the call did not fail.

        Raises:
            AssertionError: It failed; the message is what the worker said.
        """
        if self.error is not None:
            raise AssertionError(repr(self.error))
        return self

    def _of(self, kind: str) -> list[dict[str, Any]]:
        return [fields for each, fields, _ in self.frames if each == kind]

    def __repr__(self) -> str:
        if self.error is not None:
            return f"<failed: {self.error.code}: {self.error.message}>"
        return f"<{len(self.records)} records, {len(self.checkpoints)} checkpoints>"
