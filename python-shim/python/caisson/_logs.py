"""Python's logging and warnings, as Log frames, at a rate that nobody drowns in."""

from __future__ import annotations

import json
import logging
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._call import Call

PER_SECOND = 100.0
BURST = 1000.0
MAX_MESSAGE = 16 * 1024

_KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class ChannelHandler(logging.Handler):
    """Sends each record to the daemon; what exceeds the rate is counted and told once."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self.call = call
        self._budget = BURST
        self._at = time.monotonic()
        self._suppressed = 0

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        self._budget = min(BURST, self._budget + (now - self._at) * PER_SECOND)
        self._at = now
        if self._budget < 1 and record.levelno < logging.ERROR:
            self._suppressed += 1
            return
        self._budget -= 1
        try:
            if self._suppressed:
                count, self._suppressed = self._suppressed, 0
                self._send(logging.WARNING, "caisson", f"{count} log messages were left out: too many at once", {})
            message = record.getMessage()
            if record.exc_info and record.exc_info[1] is not None:
                from ._failure import trace

                message += "\n" + trace(record.exc_info[1])
            extra = {name: value for name, value in vars(record).items() if name not in _KNOWN}
            self._send(record.levelno, record.name, message, extra)
        except EOFError:
            return  # the daemon is gone; the call ends at the next frame
        except Exception:
            self.handleError(record)

    def _send(self, level: int, logger: str, message: str, extra: dict[str, Any]) -> None:
        if len(message) > MAX_MESSAGE:
            message = message[:MAX_MESSAGE] + " [cut]"
        fields = json.dumps(extra, default=str) if extra else ""
        self.call.send("log", {"level": level, "logger": logger, "message": message, "fields_json": fields})


def install(call: Call) -> None:
    """Routes the root logger and warnings to the daemon of `call`; once."""
    root = logging.getLogger()
    for handler in root.handlers:
        if isinstance(handler, ChannelHandler):
            handler.call = call
            return
    root.addHandler(ChannelHandler(call))
    if root.level in (logging.NOTSET, logging.WARNING):
        root.setLevel(logging.INFO)
    logging.captureWarnings(True)


def remove() -> None:
    """Undoes `install` (tests run many calls in one process)."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, ChannelHandler):
            root.removeHandler(handler)
            root.setLevel(logging.WARNING)
            logging.captureWarnings(False)
