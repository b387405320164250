"""The daemon's double: the other end of a worker's channel, read by a thread."""

from __future__ import annotations

import socket
import struct
import threading

from ._wire import FROM_WORKER, TO_WORKER, frame, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Frame = tuple[str, dict[str, Any], bytes]


class Peer:
    """A socket pair: `fd` is the worker's end (owned by its Channel), the rest is here.

    Attributes:
        frames: What the worker sent, in order.
        watch: Called with each frame as it comes, in the listening thread.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.fd = theirs.detach()
        self.frames: list[Frame] = []
        self._socket = ours
        self.watch: Callable[[Frame], object] | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._listen, name="daemon's double", daemon=True)
        self._thread.start()

    def send(self, kind: str, fields: dict[str, Any], body: bytes = b"") -> None:
        """Sends a message to the worker; blocks while the worker reads nothing."""
        data = frame(TO_WORKER, kind, fields, body)
        with self._lock:
            self._socket.sendall(data)

    def cancel(self, reason: str = "the test has seen enough") -> None:
        """Cancels the call."""
        try:
            self.send("cancel", {"reason": reason})
        except OSError:
            return  # the worker is already gone

    def close(self) -> list[Frame]:
        """Waits until the worker's end is closed, and gives everything it sent."""
        self._thread.join()
        self._socket.close()
        return self.frames

    def _listen(self) -> None:
        with self._socket.makefile("rb") as stream:
            while True:
                header = stream.read(8)
                if len(header) < 8:
                    return
                meta_length, body_length = struct.unpack("<II", header)
                kind, fields = parse(FROM_WORKER, stream.read(meta_length))
                found = (kind, fields, stream.read(body_length))
                self.frames.append(found)
                if self.watch is not None:
                    self.watch(found)
                if kind in ("done", "failed"):
                    return
