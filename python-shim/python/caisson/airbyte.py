"""An Airbyte source in Python as a connector: the package from PyPI, as it comes.

    from caisson.airbyte import Source

    class Greenhouse(Source):
        command = "source-greenhouse"

The source runs in the worker, on a thread, with the connection's
configuration. RECORD, STATE, LOG and TRACE become records, checkpoints, log
lines and errors. A secret that the operator seals is a placeholder in the
source's configuration; the gateway puts the value in where the policy says
that the source puts its key.
"""

from __future__ import annotations

import logging

from ._connector import Connector
from ._logs import ChannelHandler
from ._program import fitting, messages, plain, script
from ._records import Checkpoint
from ._streams import Stream
from .errors import CaissonError, ConfigInvalid, ConnectorFailed, Upstream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["Source"]

LEVELS = {"FATAL": logging.CRITICAL, "WARN": logging.WARNING, "TRACE": logging.DEBUG}


class Source(Connector[dict[str, "Any"]]):
    """Runs a source once for each stream that is read.

    Attributes:
        command: Its command, as its package has it: `source-greenhouse`.
    """

    command: str = ""

    def __init_subclass__(cls) -> None:
        """Imports the package with the connector: a worker that waits for a call has done so before it comes."""
        super().__init_subclass__()
        if cls.command:
            script(cls.command)

    def settings(self) -> dict[str, Any]:
        """The source's own configuration: the connection's, unless a subclass makes another of it."""
        return dict(self.config)

    def schema(self, entry: dict[str, Any]) -> Any:
        """The schema of a stream of the source's catalog. None, if what it declares is not what it sends."""
        return entry.get("json_schema")

    def test(self) -> Iterator[tuple[str, str]]:
        """The source's own check."""
        for message in self._messages("check"):
            if message["type"] == "CONNECTION_STATUS":
                status = message["connectionStatus"]
                if status["status"] != "SUCCEEDED":
                    raise ConfigInvalid(str(status.get("message") or "the source's check failed"))
                yield "check", "the source's own check succeeded"

    def list(self) -> Iterator[Stream]:
        """The source's catalog."""
        for message in self._messages("discover"):
            for entry in message["catalog"]["streams"] if message["type"] == "CATALOG" else ():
                paths = entry.get("source_defined_primary_key") or []
                key = [path[0] for path in paths] if all(len(path) == 1 for path in paths) else []
                incremental = ["incremental"] if "incremental" in entry.get("supported_sync_modes", ()) else []
                yield Stream(
                    entry["name"],
                    fitting(self.schema(entry), key),
                    primary_key=key,
                    modes=["full", *incremental],
                    unknown="extra",
                    extra=entry,
                )

    def read(self, stream: Stream, state: Any) -> Iterator[Any]:
        """Records of one stream, and a checkpoint for each state that says something new."""
        mode = "incremental" if stream.mode == "incremental" else "full_refresh"
        chosen = {
            "stream": stream.extra,
            "sync_mode": mode,
            "destination_sync_mode": "append",
            "cursor_field": stream.extra.get("default_cursor_field") or [],
            "primary_key": stream.extra.get("source_defined_primary_key") or [],
        }
        last = state
        files: dict[str, Any] = {"catalog": {"streams": [chosen]}}
        if state is not None:
            files["state"] = state
        for message in self._messages("read", **files):
            if message["type"] == "RECORD" and message["record"]["stream"] == stream.name:
                yield message["record"]["data"]
            elif message["type"] == "STATE" and (found := _state(message["state"])) != last:
                last = found
                yield Checkpoint(last)

    def _control(self, config: dict[str, Any], told: dict[str, Any]) -> None:
        """The source changed its configuration, which is the operator's here: nothing of it is kept.

        Raises:
            ConnectorFailed: It got itself a token, so that the one in the configuration may work no more.
        """
        if told.get("type") != "CONNECTOR_CONFIG":
            return
        after = (told.get("connectorConfig") or {}).get("config")
        had = [None, *(value for _, value in _leaves(config))]
        # What was only moved is not new.
        new = sorted({name for name, value in _leaves(after) if value not in had})
        if any("token" in name.lower() for name in new):
            raise ConnectorFailed(
                f"the source got itself a token ({', '.join(new)}), which nothing would keep for the next call",
                action="Let the daemon get tokens: `oauth2` of the secret in the policy (docs/guides/operator.md).",
            )
        if after != config:
            self.log.warning("the source changed its configuration, which is not kept: %s", ", ".join(new) or "names")

    def _messages(self, operation: str, **files: Any) -> Iterator[dict[str, Any]]:
        """Messages of one run, but for those that are told here: log lines and errors."""
        files = {"config": plain(self.settings()), **files}
        command = " ".join([self.command, operation, *(f"--{name} {{{name}}}" for name in files)])
        # Not a logger: Airbyte's own handlers would print its lines once more, and so on for ever.
        log = ChannelHandler(self._call)
        for message in messages(self._call, command, **files):
            if message["type"] == "LOG":
                log.emit(_record(self.command, message["log"]))
            elif message["type"] == "TRACE":
                if message["trace"]["type"] == "ERROR":
                    raise _error(message["trace"]["error"])
            elif message["type"] == "CONTROL":
                self._control(files["config"], message["control"])
            else:
                yield message


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """What is no object and no list in a configuration, with the name that it stands under."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, name)
    else:
        yield name, value


def _state(message: dict[str, Any]) -> Any:
    """What the source takes as its state next time: a list, or, of a source of the older kind, a value."""
    if message.get("type") in ("STREAM", "GLOBAL"):
        return [{name: value for name, value in message.items() if name in ("type", "stream", "global")}]
    return message.get("data")


def _record(name: str, told: dict[str, Any]) -> logging.LogRecord:
    """A line of the log."""
    level = LEVELS.get(told["level"]) or logging.getLevelNamesMapping().get(told["level"], logging.INFO)
    return logging.LogRecord(name, level, "", 0, str(told["message"]), None, None)


def _error(told: dict[str, Any]) -> CaissonError:
    """The error of a TRACE message, by whose it is."""
    kinds: dict[str, type[CaissonError]] = {"config_error": ConfigInvalid, "transient_error": Upstream}
    error = kinds.get(told.get("failure_type") or "", ConnectorFailed)(str(told.get("message") or "the source failed"))
    for note in (told.get("internal_message"), told.get("stack_trace")):
        if note:
            error.add_note(str(note))
    return error
