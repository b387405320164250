"""Runs a connector's calls in the test's own process, with the real encoder and no daemon."""

from __future__ import annotations

import json
import threading

from .._run import Pace
from .._worker import serve
from ._cassette import Cassette, Player, recording
from ._clock import FakeClock
from ._faults import Fault
from ._outcome import Outcome
from ._peer import Peer
from ._project import Project

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from .._call import Transport
    from ._cassette import Answer
    from ._peer import Frame

PATIENCE = 60.0
"""Seconds of real time after which a call is cancelled, so that a test ends."""


class Harness:
    """A connector and a configuration, to run calls on.

    Args:
        connector: The class, or the folder that holds connector.yaml.
        config: The configuration; secrets as plain text.
        cassette: A HAR file (relative to the project folder) or a Cassette.
        manifest: What connector.yaml says, for a class; over what it says, for a folder.
        api: Answers requests in place of a network: see `caisson.testing.Api`.
        clock: The time; by default it stands still and waits take none.
    """

    def __init__(
        self,
        connector: Any,
        config: dict[str, Any] | None = None,
        *,
        cassette: str | os.PathLike[str] | Cassette | None = None,
        manifest: dict[str, Any] | None = None,
        api: Transport | None = None,
        clock: FakeClock | None = None,
    ) -> None:
        self._project = Project(connector, manifest)
        self._config, self._secrets = self._project.configuration(dict(config or {}))
        self._api = api
        self._faults: list[Fault] = []
        self.clock = clock or FakeClock()
        ignore = [
            str(spec.get("name", ""))
            for spec in (self._project.manifest.get("auth") or {}).values()
            if spec.get("type") in ("query", "header")
        ]
        if cassette is None or isinstance(cassette, Cassette):
            self._cassette = cassette
        else:
            path = self._project.folder / cassette
            self._cassette = Cassette(path, ignore=[name.lower() for name in ignore] + ignore)

    # -- faults ------------------------------------------------------------

    def fails_with(self, what: int | str, **how: Any) -> Fault:
        """Makes the upstream fail from now on, or within a `with` block; see `Fault`."""
        fault = Fault(what, **how)
        self._faults.append(fault)
        return fault

    def recovers(self) -> None:
        """Ends every fault."""
        self._faults.clear()

    # -- calls -------------------------------------------------------------

    def test(self, **start: Any) -> Outcome:
        """Runs Test."""
        return self._call("test", start)

    def list(self, **start: Any) -> Outcome:
        """Runs List; the answer is in `objects`."""
        return self._call("list", start)

    def read(
        self,
        *streams: str,
        mode: str = "",
        state: bytes | None = None,
        partition: str = "",
        max_records: int = 0,
        deadline: float | None = None,
        checkpoint_every: int | None = None,
        until: Callable[[Outcome], bool] | None = None,
        seconds: float | None = None,
        **start: Any,
    ) -> Outcome:
        """Runs Read.

        Args:
            *streams: Their names; none: all.
            mode: full, incremental or streaming; the default is incremental where it exists.
            state: A checkpoint's state to go on from.
            partition: The part to read.
            max_records: End after so many.
            deadline: Seconds of the call on the test's clock.
            checkpoint_every: Records between checkpoints (where the source allows one).
            until: Cancels once this is true of what came so far.
            seconds: Cancels after so long on the test's clock (streaming; default 60).
            **start: More fields of the Start message.
        """
        wanted = [
            {
                "name": name, "partition": partition, "mode": mode, "state": state or b"",
                "has_state": state is not None, "max_records": max_records,
            }
            for name in streams
        ]  # fmt: skip
        if deadline is not None:
            start["deadline_unix_ms"] = int((self.clock.now() + deadline) * 1000)
        pace = None
        if checkpoint_every is not None:
            pace = Pace(checkpoint_every, 1e9, checkpoint_every, 1e9)
        if seconds is None and mode == "streaming":
            seconds = 60.0
        return self._call("read", {"streams": wanted, "all_streams": not wanted, **start}, pace, until, seconds)

    def write(
        self,
        stream: str,
        records: Iterable[dict[str, Any]],
        *,
        schema: Any = None,
        primary_key: str | Sequence[str] = (),
        cursor: str = "",
        mode: str = "append",
        partition: str = "",
        checkpoints: Sequence[int] | None = None,
        batch: int = 1000,
        final: bool = True,
        **start: Any,
    ) -> Outcome:
        """Runs Write with `records`.

        Args:
            stream: The stream's name.
            records: What to write.
            schema: As in `@stream`; None: from the records.
            primary_key: The field or fields that identify a record.
            cursor: The cursor field.
            mode: append or upsert.
            partition: The partition.
            checkpoints: After how many records each comes; None: one at the end.
            batch: Records in a batch.
            final: Whether the last checkpoint is final.
            **start: More fields of the Start message.
        """
        rows = [dict(record) for record in records]
        keys = [primary_key] if isinstance(primary_key, str) else [*primary_key]
        marks = sorted(set([len(rows)] if checkpoints is None else checkpoints))
        inputs = _encoded(stream, partition, rows, schema, keys, cursor, mode, marks, batch, final)
        begin = {"streams": [{"name": stream, "partition": partition, "mode": mode}], **start}
        return self._call("write", begin, inputs=inputs)

    # -- within ------------------------------------------------------------

    def _call(
        self,
        operation: str,
        start: dict[str, Any],
        pace: Pace | None = None,
        until: Callable[[Outcome], bool] | None = None,
        seconds: float | None = None,
        inputs: Sequence[Frame] = (),
    ) -> Outcome:
        from .. import _native

        whole = {
            "protocol_version": _native.PROTOCOL_VERSION,
            "operation": operation,
            "call_id": "test",
            "manifest_json": json.dumps(self._project.manifest),
            "config_json": json.dumps(self._config),
            "secrets": [
                {"reference": f"test:{number}", "value": value.encode()} for number, value in enumerate(self._secrets)
            ],
            "encoding": "arrow_ipc",
            **start,
        }
        if self._cassette is not None:
            self._cassette.rewind()
        peer = Peer()
        if until is not None:
            peer.watch = lambda _: peer.cancel() if until(Outcome(peer.frames[:])) else None
        self.clock.alarm = peer.cancel
        self.clock.alarm_at = float("inf") if seconds is None else self.clock.monotonic() + seconds
        impatient = threading.Timer(PATIENCE, peer.cancel, ["the test took too long"])
        impatient.daemon = True
        impatient.start()
        channel = _native.Channel(peer.fd)
        feeder = threading.Thread(target=_feed, args=(peer, inputs), daemon=True)
        feeder.start()
        try:
            serve(
                channel,
                whole,
                connector=self._project.connector,
                clock=self.clock,
                transport=self._transport,
                pace=pace,
            )
        finally:
            impatient.cancel()
            _forget_logging()
        frames = peer.close()
        feeder.join(5.0)
        if self._cassette is not None and recording():
            self._cassette.save(self._secrets)
        return Outcome(frames)

    def _transport(self, **options: Any) -> Transport:
        def network() -> Transport:
            if self._api is not None:
                return self._api
            from .._native import HttpTransport

            return HttpTransport(**options)

        return Player(self._cassette, self._fault, network)

    def _fault(self, method: str, url: str) -> Answer | Exception | None:
        for fault in self._faults:
            met = fault.meets(method, url)
            if met is not None:
                return met
        return None


def _feed(peer: Peer, inputs: Sequence[Frame]) -> None:
    try:
        for kind, fields, body in inputs:
            peer.send(kind, fields, body)
    except OSError:
        return  # the worker ended early; its last frame says why


def _encoded(
    stream: str,
    partition: str,
    rows: list[dict[str, Any]],
    schema: Any,
    keys: list[str],
    cursor: str,
    mode: str,
    marks: list[int],
    batch: int,
    final: bool,
) -> list[Frame]:
    """The messages of a daemon that writes `rows`: encoded by the real encoder."""
    from .._native import ArrowSchema, Channel, Emitter
    from .._schema import arrow_schema

    declared = arrow_schema(schema, keys)
    if declared is None:
        declared = ArrowSchema.infer(rows) if rows else None
    peer = Peer()
    channel = Channel(peer.fd)
    emitter = Emitter(
        channel, stream, partition, encoding="arrow_ipc", schema=declared, primary_key=keys, cursor=cursor,
        flush_seconds=3600.0, target_bytes=1 << 20,
    )  # fmt: skip
    cuts = sorted({*range(batch, len(rows), batch), *marks, len(rows)})
    at = 0
    for end in cuts:
        emitter.records(rows[at:end])
        emitter.flush()
        if end in marks:
            emitter.checkpoint(json.dumps({"v": 1, "own": end}).encode(), final and end == marks[-1])
        at = end
    emitter.close()
    channel.send("done", {})
    inputs: list[Frame] = []
    for kind, fields, body in peer.close():
        if kind == "schema":
            inputs.append((kind, {**fields, "mode": mode}, body))
        elif kind in ("batch", "checkpoint"):
            inputs.append((kind, fields, body))
    inputs.append(("end_of_input", {}, b""))
    return inputs


def _forget_logging() -> None:
    import sys

    if "caisson._logs" in sys.modules:
        from .._logs import remove

        remove()
