"""The read operation: finds the streams, runs them, ends each with its last safe checkpoint.

Streams are read one after another. In streaming mode none of them ends, so
they take turns whenever one is idle.
"""

from __future__ import annotations

import copy

from ._run import Managed, Owned, Pace
from ._settings import fields_of
from ._slice import Slice
from ._state import decode
from ._streams import declarations, folder_of, modes_of, parameters
from .errors import CaissonError, ConfigInvalid, ConnectorFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._call import Call
    from ._native import Trail
    from ._run import EmitterLike, StreamRun
    from ._streams import Stream


def discover(call: Call, connector: Any) -> dict[str, tuple[Stream, Any]]:
    """Every stream by name, with the method that reads it: declared ones, then those of `list()`.

    Raises:
        ConnectorFailed: Two streams share a name.
    """
    found = declared(connector)
    for stream in call.iterate(connector.list()):
        stream.beside = stream.beside or folder_of(type(connector).__module__)
        if stream.name in found:
            raise ConnectorFailed(f"two streams are named {stream.name!r}")
        found[stream.name] = (stream, connector.read)
    return found


def declared(connector: Any) -> dict[str, tuple[Stream, Any]]:
    """The streams that `@stream` declares."""
    return {
        name: (declaration.build(connector), getattr(connector, declaration.method))
        for name, declaration in declarations(type(connector)).items()
    }


def read(call: Call, connector: Any, start: dict[str, Any], pace: Pace | None = None) -> None:
    """Reads what `start` (the fields of a Start message) asks for.

    Raises:
        ConfigInvalid: A stream or a mode that this connector does not have.
    """
    entries = list(start.get("streams") or [])
    whole = bool(start.get("all_streams")) or not entries
    found = declared(connector)
    if whole or any(each["name"] not in found for each in entries):
        found = discover(call, connector)
    wanted = chosen(entries, found, whole)
    runs = [_prepare(call, start, each, found, pace) for each in wanted]
    if any(run.stream.mode == "streaming" for run, _ in runs):
        _take_turns(call, runs)
        return
    for run, method in runs:
        _read_one(call, run, method)


def chosen(entries: list[dict[str, Any]], found: dict[str, tuple[Stream, Any]], whole: bool) -> list[dict[str, Any]]:
    """One entry for each (stream, partition) to read.

    Args:
        entries: Of the Start message. With an empty partition, a stream is meant with
            all its partitions, and its other entries only bring their states.
        found: The streams that there are.
        whole: All streams are meant; entries only bring states and a limit.

    Raises:
        ConfigInvalid: A stream that is not there.
    """
    grouped: dict[str, dict[str, dict[str, Any]]] = {}
    limit = max((each.get("max_records") or 0 for each in entries), default=0)
    if whole:
        grouped = {name: {"": {"name": name, "max_records": limit}} for name in found}
    for entry in entries:
        name = entry["name"]
        if name in found:
            grouped.setdefault(name, {})[entry.get("partition") or ""] = entry
        elif not whole:
            raise ConfigInvalid(
                f"there is no stream {name!r}; there is: {', '.join(found) or 'none'}",
                action="Correct the name of the stream in the connection.",
            )
    wanted: list[dict[str, Any]] = []
    for name, known in grouped.items():
        parts = found[name][0].partitions
        parts = list(parts() if callable(parts) else parts) if "" in known else []
        if parts:
            wanted += [known.get(part) or {**known[""], "partition": part, "state": b""} for part in parts]
        elif "" in known:
            wanted.append(known[""])
        else:
            wanted += known.values()
    return wanted


def _prepare(
    call: Call,
    start: dict[str, Any],
    wanted: dict[str, Any],
    found: dict[str, tuple[Stream, Any]],
    pace: Pace | None,
) -> tuple[StreamRun, Any]:
    name = wanted["name"]
    declared_stream, method = found[name]
    stream = copy.copy(declared_stream)  # each partition is a stream of its own here
    takes = parameters(method)
    modes = modes_of(stream, takes)
    stream.partition = wanted.get("partition") or ""
    usual = next((mode for mode in ("incremental", "full") if mode in modes), modes[0])
    stream.mode = wanted.get("mode") or usual
    if stream.mode not in modes:
        raise ConfigInvalid(
            f"stream {name!r} cannot be read in mode {stream.mode!r}; it has: {', '.join(modes)}",
            action="Choose one of these modes for the stream in the connection.",
        )
    if pace is None:
        seconds = (start.get("checkpoint_ms") or 0) / 1000
        pace = Pace(seconds=seconds, page_seconds=min(1.0, seconds)) if seconds else Pace()
    state = decode(wanted.pop("state", b""))  # the bytes are not needed beside the values
    limit = wanted.get("max_records") or 0
    emitter = _Lazy(call, stream, start)
    if "state" in takes:
        own = state.get("own") if stream.mode != "full" or state.get("partial") else None
        return Owned(call, stream, emitter, pace, own, limit), method
    if "own" in state:
        raise ConfigInvalid(
            f"the state of stream {name!r} was written by a version of the connector that kept its own",
            action="Read from the beginning, or use the connector version that wrote it.",
        )
    progress = Slice(
        name,
        field=stream.cursor,
        order=stream.order,
        keyed=bool(stream.primary_key),
        mode=stream.mode,
        start=_start_value(call, stream),
        state=state,
        now=call.clock.now(),
    )
    return Managed(call, stream, emitter, pace, progress, limit), method


def _start_value(call: Call, stream: Stream) -> Any:
    properties = (call.manifest.get("config") or {}).get("properties") or {}
    name = stream.start or "start_date"
    known = {*call.values, *properties, *fields_of(type(call.config))}
    if stream.start and stream.start not in known:
        raise ConnectorFailed(
            f"stream {stream.name!r}: start={stream.start!r} is no property of the configuration",
            action="Name a property of `config` in connector.yaml.",
        )
    value = call.option(name)
    return properties.get(name, {}).get("default") if value is None else value


def _arguments(run: StreamRun, method: Any) -> dict[str, Any]:
    takes = parameters(method)
    given: dict[str, Any] = {
        "partition": run.stream.partition, "stream": run.stream, "mode": run.stream.mode,
    }  # fmt: skip
    if isinstance(run, Managed):
        given["since"] = run.cursor
    if isinstance(run, Owned):
        given["state"] = run.own
    return {name: value for name, value in given.items() if name in takes}


def _begin(call: Call, run: StreamRun, method: Any) -> Any:
    call.run = run
    source = call.finish(method(**_arguments(run, method)))
    if hasattr(source, "__aiter__"):
        return source.__aiter__()
    return iter(() if source is None else source)


def _read_one(call: Call, run: StreamRun, method: Any) -> None:
    run.announce()
    try:
        source = _begin(call, run, method)
        while (idle := run.advance(source)) is not None:
            call.wait(min(idle, 1.0))
        _stop(call, source)
        run.finish()
    except BaseException as error:
        _salvage(run, error)
        raise
    finally:
        run.close()
        call.run = None


def _take_turns(call: Call, runs: list[tuple[StreamRun, Any]]) -> None:
    turns: list[list[Any]] = []
    for run, method in runs:
        run.announce()
        turns.append([run, method, None, call.clock.monotonic()])
    run = runs[0][0]
    try:
        while turns:
            turn = min(turns, key=lambda each: float(each[3]))
            run = turn[0]
            call.run = run
            call.wait(max(0.0, turn[3] - call.clock.monotonic()))
            if turn[2] is None:
                turn[2] = _begin(call, run, turn[1])
            idle = run.advance(turn[2])
            if run.limited or (idle is None and run.stream.mode != "streaming"):
                _stop(call, turn[2])
                run.finish()
                turns.remove(turn)
                continue
            if idle is None:
                _stop(call, turn[2])
                turn[2] = None
                idle = run.stream.poll
            run.idle()
            turn[3] = call.clock.monotonic() + idle
    except BaseException as error:
        for other, _ in runs:
            if other is not run:
                _salvage(other, error)
        _salvage(run, error)
        raise
    finally:
        for run, _ in runs:
            run.close()
        call.run = None


def _stop(call: Call, source: Any) -> None:
    if hasattr(source, "aclose"):
        call.loop.run_until_complete(source.aclose())
    elif hasattr(source, "close"):
        source.close()


def _salvage(run: StreamRun, error: BaseException) -> None:
    """Delivers what was accepted and the last safe checkpoint before a failure passes on."""
    if isinstance(error, CaissonError) and not getattr(error, "stream", ""):
        error.stream, error.partition = run.stream.name, run.stream.partition
    if isinstance(error, (EOFError, BrokenPipeError)):
        return
    try:
        run.flush()
        run.settle()
    except Exception as second:
        # The first error is the one to report; this one says what it cost.
        error.add_note(f"and what was read after the last checkpoint could not be delivered: {second}")


class _Lazy:
    """An emitter that is made when the first thing is to be emitted: `list` and failed openings need none."""

    def __init__(self, call: Call, stream: Stream, start: dict[str, Any]) -> None:
        self._call = call
        self._stream = stream
        self._start = start
        self._made: Any = None

    def _emitter(self) -> EmitterLike:
        if self._made is None:
            from ._native import Emitter
            from ._schema import arrow_schema

            stream, start = self._stream, self._start
            self._made = Emitter(
                self._call.channel,  # type: ignore[arg-type]
                stream.name,
                stream.partition,
                encoding=start.get("encoding") or "arrow_ipc",
                schema=arrow_schema(stream.schema, stream.primary_key, stream.beside),
                unknown=stream.unknown,
                primary_key=stream.primary_key,
                cursor=stream.cursor,
                target_bytes=start.get("batch_target_bytes") or 1_048_576,
                max_bytes=start.get("batch_max_bytes") or 3_670_016,
                flush_seconds=(start.get("flush_ms") or 200) / 1000,
            )
            self.record = self._made.record  # type: ignore[method-assign]
            self.pump = self._made.pump  # type: ignore[method-assign]
        made: EmitterLike = self._made
        return made

    def record(self, record: dict[str, Any]) -> None:
        self._emitter().record(record)

    def pump(
        self, source: Any, most: int, trail: Trail | None = None, limit: int | None = None
    ) -> tuple[int, Any, bool]:
        return self._emitter().pump(source, most, trail, limit)

    @property
    def pumped(self) -> int:
        return 0 if self._made is None else self._made.pumped

    def arrow(self, data: Any) -> int:
        return self._emitter().arrow(data)

    def checkpoint(self, state: bytes, final: bool = False) -> str:
        return self._emitter().checkpoint(state, final)

    def flush(self) -> None:
        if self._made is not None:
            self._made.flush()

    def close(self) -> None:
        if self._made is not None:
            self._made.close()
