"""Runs a package's own command inside this worker, and reads what it prints.

A Singer tap and an Airbyte source are commands that print a JSON message a
line. They run as they come, on a thread: `sys.argv` is theirs, and so is
standard output, which is a queue of 1 MiB here, so that a command waits for
whoever reads its records. One command runs at a time.
"""

from __future__ import annotations

import io
import json
import logging
import sys
import tempfile
import threading
from collections import deque
from pathlib import Path

from ._logs import ChannelHandler
from ._secret import Secret
from .errors import ConnectorFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from ._call import Call

LIMIT = 1 << 20
"""Bytes that a command may be ahead of its reader."""

LOOK = 0.1
"""Seconds between two looks at whether the call was cancelled."""


class Abandoned(BaseException):
    """Raised in a command that prints although nobody reads any more. No `except Exception` of its own catches it."""


class Output(io.BufferedIOBase):
    """Standard output of a command: lines for one reader on another thread.

    Attributes:
        held: Bytes that were written and not read yet.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._lines: deque[bytes] = deque()
        self._begun: list[bytes] = []
        self.held = 0
        self._ended = False
        self._abandoned = False

    @property
    def name(self) -> str:
        """What this is, for who shows a file."""
        return "<command>"

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        content = bytes(data)
        if threading.current_thread() is threading.main_thread():
            # The connector's own print, which is no message: beside a command, or after one that put this back.
            print(content.decode("utf-8", "replace"), end="", file=sys.__stderr__)
            return len(content)
        with self._changed:
            # A reader of whole lines takes nothing of one that is longer than all that is held.
            self._changed.wait_for(lambda: self.held < LIMIT or not self._lines or self._abandoned)
            if self._abandoned:
                raise Abandoned
            *lines, rest = content.split(b"\n")
            if lines:
                lines[0] = b"".join([*self._begun, lines[0]])
                self._begun.clear()
                self._lines += lines
            if rest:
                self._begun.append(rest)
            self.held += len(content)
            self._changed.notify_all()
        return len(content)

    def end(self) -> None:
        """The command has ended."""
        with self._changed:
            if self._begun:
                self._lines.append(b"".join(self._begun))
                self._begun.clear()
                self.held += 1  # for the end that it lacks
            self._ended = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """Nobody reads any more."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    def next(self, check: Callable[[], None]) -> bytes | None:
        """The next line without its end; None after the last. `check` is called while there is none."""
        with self._changed:
            while not self._lines:
                if self._ended:
                    return None
                self._changed.wait(LOOK)
                check()
            line = self._lines.popleft()
            self.held -= len(line) + 1
            self._changed.notify_all()
            return line


def run(call: Call, command: str, **files: Any) -> Iterator[bytes]:
    """The lines that a command prints.

    Args:
        call: Ends the reading when it is cancelled.
        command: What one would type: the command's name among the console scripts of the bundle, then arguments.
            A word `{name}` is the path of the file of that name.
        **files: JSON values by name. The files lie in the worker's own /tmp, and only while the command runs.

    Raises:
        ConnectorFailed: There is no such command, or it ended with a status that is not 0.
        Exception: What the command raised.
    """
    name, *arguments = command.split()
    main = script(name)
    with tempfile.TemporaryDirectory(prefix="command-") as folder:
        paths = {file: Path(folder, f"{file}.json") for file in files}
        for file, content in files.items():
            paths[file].write_text(json.dumps(content), encoding="utf-8")
        words = [word.format(**paths) if word.startswith("{") else word for word in arguments]
        yield from _lines(call, main, name, words)


def script(name: str) -> Callable[[], Any]:
    """The function behind a command of an installed package.

    Raises:
        ConnectorFailed: No package in the bundle has such a command.
    """
    from importlib.metadata import entry_points

    found = entry_points(group="console_scripts", name=name)
    if not found:
        known = sorted(each.name for each in entry_points(group="console_scripts"))
        raise ConnectorFailed(
            f"no package in the bundle has a command {name!r}; there is: {', '.join(known) or 'none'}",
            action="Name the package in requirements.in, lock it, and write its command as its documentation does.",
        )
    main: Callable[[], Any] = found[name].load()
    return main


def _lines(call: Call, main: Callable[[], Any], name: str, arguments: list[str]) -> Iterator[bytes]:
    output = Output()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            status = main()
        except SystemExit as error:
            status = error.code
        except Abandoned:
            return
        except BaseException as error:
            failed.append(error)
            return
        finally:
            output.end()
        if status not in (None, 0):
            failed.append(ConnectorFailed(f"{name} ended with {status!r}; the log says why"))

    before = sys.argv, sys.stdout, sys.__stdout__
    # Such a package writes its log to its standard output or error: it would be told twice.
    root = logging.getLogger()
    handlers = [each for each in root.handlers if isinstance(each, ChannelHandler)]
    for handler in handlers:
        root.removeHandler(handler)
    sys.argv = [name, *arguments]
    # Some print to the one, and Airbyte's to the other.
    text = io.TextIOWrapper(output, encoding="utf-8", newline="\n", write_through=True)
    sys.stdout = sys.__stdout__ = text  # type: ignore[misc]
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    try:
        while (line := output.next(call.check)) is not None:
            yield line
        thread.join()
        if failed:
            raise failed[0]
    except GeneratorExit:
        output.abandon()
        while thread.is_alive() and not call.channel.cancelled:
            thread.join(LOOK)  # it prints again soon, and another command may come after it
        raise
    finally:
        output.abandon()
        sys.argv, sys.stdout, sys.__stdout__ = before  # type: ignore[misc]
        for handler in handlers:
            root.addHandler(handler)


def messages(call: Call, command: str, **files: Any) -> Iterator[dict[str, Any]]:
    """Like `run`, each line that is a JSON object with a type; others are printed, and so become log lines."""
    for line in run(call, command, **files):
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if isinstance(message, dict) and isinstance(message.get("type"), str):
            yield message
        elif line.strip():
            # Not sys.stderr: Airbyte makes that its standard output.
            print(line.decode("utf-8", "replace"), file=sys.__stderr__)


def plain(value: Any) -> Any:
    """A configuration as a command takes it: each secret as its value, or as the placeholder of one that is sealed."""
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def fitting(schema: Any, key: Sequence[str]) -> Any:
    """A schema that a package declares; None, so that the records decide, where it lacks a field of the key."""
    if isinstance(schema, dict) and not set(key) <= set(schema.get("properties") or {}):
        return None
    return schema
