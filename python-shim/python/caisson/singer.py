"""A Singer tap as a connector: the package from PyPI, as it comes.

    from caisson.singer import Tap

    class Checkly(Tap):
        command = "tap-checkly"

The tap runs in the worker, on a thread, with the connection's configuration.
RECORD and STATE become records and checkpoints. A secret that the operator
seals is a placeholder in the tap's configuration; the gateway puts the value
in where the policy says that the tap puts its key.
"""

from __future__ import annotations

import json

from ._connector import Connector
from ._program import fitting, messages, plain, run, script
from ._records import Checkpoint
from ._streams import Stream
from .errors import ConnectorFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Entry = dict[str, Any]
    Entries = list[Entry]

__all__ = ["Tap"]


class Tap(Connector[dict[str, "Any"]]):
    """Runs a tap once for each stream that is read.

    Attributes:
        command: Its command, as the tap's documentation has it: `tap-checkly`.
    """

    command: str = ""

    def __init_subclass__(cls) -> None:
        """Imports the package with the connector: a worker that waits for a call has done so before it comes."""
        super().__init_subclass__()
        if cls.command:
            script(cls.command)

    def settings(self) -> dict[str, Any]:
        """The tap's own configuration: the connection's, unless a subclass makes another of it."""
        return dict(self.config)

    def schema(self, entry: Entry) -> Any:
        """The schema of an entry of the tap's catalog. None, if what it declares is not what it sends."""
        return entry.get("schema")

    def test(self) -> Iterator[tuple[str, str]]:
        """Discovers, and reads until the first record, since many taps discover without a request."""
        entries = self._discover()
        yield "discovery", f"{len(entries)} streams"
        for entry in entries[:1]:
            rows = self._messages(entry, entries, None)
            found = any(message["type"] == "RECORD" for message in rows)
            rows.close()
            yield "sample", f"{_name(entry)}: {'a record came' if found else 'no record yet'}"

    def list(self) -> Iterator[Stream]:
        """The tap's catalog."""
        entries = self._discover()
        for entry in entries:
            key = _key(entry)
            yield Stream(
                _name(entry),
                fitting(self.schema(entry), key),
                primary_key=key,
                modes=["full", "incremental"],
                unknown="extra",
                extra=(entry, entries),
            )

    def read(self, stream: Stream, state: Any) -> Iterator[Any]:
        """Records of one stream, and a checkpoint for each state that says something new."""
        entry, entries = stream.extra
        last = state
        for message in self._messages(entry, entries, state):
            if message["type"] == "RECORD" and message.get("stream") == stream.name:
                yield message["record"]
            elif message["type"] == "STATE" and message.get("value") != last:
                last = message.get("value")
                yield Checkpoint(last)
            elif message["type"] == "BATCH":
                raise ConnectorFailed(
                    f"stream {stream.name}: the tap writes files of records (BATCH), which nobody reads here",
                    action="Leave `batch_config` out of the tap's configuration.",
                )

    def _discover(self) -> Entries:
        lines = run(self._call, f"{self.command} --config {{config}} --discover", config=plain(self.settings()))
        try:
            entries: Entries = json.loads(b"\n".join(lines))["streams"]
        except (ValueError, KeyError, TypeError):
            raise ConnectorFailed(f"{self.command} --discover printed no catalog") from None
        return entries

    def _messages(self, entry: Entry, entries: Entries, state: Any) -> Any:
        catalog = {"streams": [_selected(each, each is entry) for each in entries]}
        command = f"{self.command} --config {{config}} --catalog {{catalog}}"
        files = {"config": plain(self.settings()), "catalog": catalog}
        if state is not None:
            command, files = f"{command} --state {{state}}", {**files, "state": state}
        return messages(self._call, command, **files)


def _name(entry: Entry) -> str:
    return str(entry.get("stream") or entry["tap_stream_id"])


def _key(entry: Entry) -> list[str]:
    whole: Entry = next((each["metadata"] for each in entry.get("metadata") or [] if not each["breadcrumb"]), {})
    return list(entry.get("key_properties") or whole.get("table-key-properties") or [])


def _selected(entry: Entry, chosen: bool) -> Entry:
    """An entry of a catalog, chosen or not, in each of the ways that taps look at."""
    known = entry.get("metadata") or []
    whole: Entries = [] if any(not each["breadcrumb"] for each in known) else [{"breadcrumb": [], "metadata": {}}]
    return {
        **entry,
        "selected": chosen,
        "schema": {**(entry.get("schema") or {}), "selected": chosen},
        "metadata": [{**each, "metadata": {**each["metadata"], "selected": chosen}} for each in [*known, *whole]],
    }
