"""Unix sockets of the host that greet whoever connects."""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
from pathlib import Path

from harness import Identity

GREETING = b"greetings from the host"


class UnixSockets:
    """A service with an abstract name, one in a folder, and a mailbox for datagrams.

    Attributes:
        abstract: The name, without its leading zero.
    """

    def __init__(self, folder: Path, identity: Identity) -> None:
        self.abstract = f"caisson-escape-{secrets.token_hex(8)}"
        self._open = [self._listen("\0" + self.abstract), self._listen(str(folder / "service.sock"))]
        mailbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        mailbox.bind(str(folder / "mailbox.sock"))
        for path in folder.glob("*.sock"):
            path.chmod(0o666)
            identity.own(path)
        self._mailbox = mailbox

    def _listen(self, address: str) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(address)
        listener.listen()

        def greet() -> None:
            # Closing the listener ends the thread.
            with contextlib.suppress(OSError):
                while True:
                    guest, _ = listener.accept()
                    with guest, contextlib.suppress(OSError):
                        guest.sendall(GREETING)

        threading.Thread(target=greet, daemon=True).start()
        return listener

    def close(self) -> None:
        """Closes all of them."""
        for listener in self._open:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self._mailbox.close()
