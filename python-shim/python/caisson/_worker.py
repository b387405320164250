"""The worker: locks itself, greets, serves one call, and ends.

The order is the isolation: the final seccomp filter is on before the bundle
can be imported, and before a secret arrives. A worker may be asked to import
its connector long before there is a call.
"""

# pathlib costs a worker's start more than all of this module.
# ruff: noqa: PTH118

from __future__ import annotations

import os
import sys

from . import _native
from ._call import Call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from ._call import ChannelLike, Clock, Transport
    from ._run import Pace

BUNDLE = "/caisson/bundle"
STDIN = 0


def main(fd: int = 3, profile: str = "", stacks: tuple[int, int] | None = None, *, bundle: str = BUNDLE) -> NoReturn:
    """Serves one call on the socket `fd` and ends the process.

    Args:
        fd: The channel.
        profile: The seccomp profile to put on.
        stacks: The signal that asks for the stacks of all threads, and the descriptor that they are written to.
        bundle: The folder with src/ and deps/.
    """
    channel = _native.Channel(fd)
    if stacks is not None:
        import faulthandler

        # Its handler is C that takes no lock: it answers while connector code holds the interpreter.
        faulthandler.register(*stacks, all_threads=True)
    _native.lock(profile)
    code = 0
    try:
        hello(channel, profile)
        start = channel.opening()
        _standard_streams()
        connector = None
        if "prepare" in start:
            connector = prepare(channel, start["prepare"], bundle)
            start = channel.opening()
        serve(channel, start, bundle=bundle, connector=connector, spare=STDIN)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        code = 3  # the daemon is gone: nobody is left to tell
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 0
    # Threads that the connector left behind must not keep the worker alive.
    os._exit(code)


def hello(channel: ChannelLike, profile: str) -> None:
    """Greets the daemon."""
    version = ".".join(map(str, sys.version_info[:3]))
    channel.send(
        "hello",
        {
            "protocol_version": _native.PROTOCOL_VERSION,
            "cdk_version": _native.VERSION,
            "python_version": version,
            "profile": profile,
        },
    )


def prepare(channel: ChannelLike, name: str, bundle: str = BUNDLE) -> type:
    """Imports the connector, and what its call will need, ahead of the call.

    Raises:
        Exception: Whatever the import raised. A call is told of it by a worker of its own.
    """
    import json  # noqa: F401

    from . import _list, _probe, _read, _secret, _settings, _write  # noqa: F401

    _search(bundle)
    connector = entrypoint(name)
    channel.send("prepared", {})
    return connector


def _search(bundle: str) -> None:
    sys.path += [os.path.join(bundle, "src"), os.path.join(bundle, "deps")]


def serve(
    channel: ChannelLike,
    start: dict[str, Any],
    *,
    bundle: str = BUNDLE,
    connector: type | None = None,
    clock: Clock | None = None,
    transport: Callable[..., Transport] | None = None,
    pace: Pace | None = None,
    spare: int | None = None,
) -> None:
    """Serves the call of a Start message and ends it with Done or Failed.

    Args:
        channel: The daemon, or a test in its place.
        start: The fields of Start.
        bundle: The folder with src/ and deps/.
        connector: The class, where it is at hand already; else the manifest's entrypoint.
        clock: The time; tests have their own.
        transport: Makes HTTP transports; tests have their own.
        pace: How often to make checkpoints.
        spare: A descriptor to give up, so that a connector that took all of them can still be told of.

    Raises:
        EOFError: The daemon is gone.
    """
    call = Call(
        channel,
        deadline=(start.get("deadline_unix_ms") or 0) / 1000 or None,
        clock=clock,
        transport=transport,
        heartbeat=(start.get("heartbeat_ms") or 0) / 1000 or None,
        longest_throttle=(start.get("throttle_max_ms") or 0) / 1000 or None,
    )
    fields: dict[str, Any] | None = None
    try:
        if start.get("protocol_version", _native.PROTOCOL_VERSION) != _native.PROTOCOL_VERSION:
            raise RuntimeError(
                f"the daemon speaks protocol {start['protocol_version']}, not {_native.PROTOCOL_VERSION}"
            )
        if start.get("operation") == "inspect":
            _inspect(channel, bundle)
        else:
            _operate(call, start, bundle, connector, pace)
    except (EOFError, BrokenPipeError):
        raise
    except BaseException as error:
        if spare is not None:
            os.close(spare)
        from ._failure import failure

        fields = failure(error)
    totals = {"requests": call.requests, "throttled_seconds": call.throttled_seconds}
    if fields is None:
        channel.send("done", totals)
    else:
        channel.send("failed", {**fields, **totals})


def _operate(call: Call, start: dict[str, Any], bundle: str, connector: type | None, pace: Pace | None) -> None:
    import json

    from ._secret import Secret
    from ._settings import build, resolve

    call.manifest = json.loads(start.get("manifest_json") or "{}")
    secrets = [Secret(each["value"], each.get("reference", "")) for each in start.get("secrets") or []]
    call.values = resolve(json.loads(start.get("config_json") or "{}"), secrets)
    if connector is None:
        _search(bundle)
        connector = entrypoint(call.manifest.get("entrypoint") or "")
    _capture_logs(call)
    call.config = build(getattr(connector, "config_type", None), call.values)
    made = connector(call.config, call)
    operation = start.get("operation") or ""
    if operation == "test":
        from ._probe import probe

        probe(call, made)
        return
    try:
        call.finish(made.open())
        _capture_logs(call)
        call.send("started", {})
        if operation == "list":
            from ._list import list_streams

            list_streams(call, made)
        elif operation == "read":
            from ._read import read

            read(call, made, start, pace)
        elif operation == "write":
            from ._write import write

            write(call, made, start)
        else:
            raise RuntimeError(f"no such operation: {operation!r}")
    finally:
        shut(call, made)


def entrypoint(name: str) -> type:
    """Imports `module:Class`.

    Raises:
        ConnectorFailed: There is no such class, or it is no Connector.
    """
    import importlib

    from ._connector import Connector
    from .errors import ConnectorFailed

    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise ConnectorFailed(f"entrypoint {name!r} in connector.yaml: write `module:Class`")
    found = getattr(importlib.import_module(module), attribute, None)
    if not isinstance(found, type) or not issubclass(found, Connector):
        raise ConnectorFailed(f"entrypoint {name!r} in connector.yaml is no class derived from caisson.Connector")
    return found


def shut(call: Call, connector: Any) -> None:
    """Closes the connector and the event loop; a failure here does not hide an earlier one."""
    pending = sys.exc_info()[1]
    try:
        call.finish(connector.close())
        call.close()
    except Exception as error:
        if pending is None:
            raise
        pending.add_note(f"and close() failed: {error}")


def _capture_logs(call: Call) -> None:
    # Importing logging costs a start; a connector that does not log does not pay.
    if "logging" in sys.modules:
        from ._logs import install

        install(call)


def _inspect(channel: ChannelLike, bundle: str) -> None:
    import json

    from ._inspect import inspect

    facts = inspect(bundle)
    channel.send("started", {})
    channel.send("facts", {}, json.dumps(facts, separators=(",", ":")).encode())


def _standard_streams() -> None:
    import faulthandler

    faulthandler.enable()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
