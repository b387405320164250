"""A small internet inside the suite's own network: whoever arrives anywhere is greeted and written down.

Every address that attempts aim at is local in that network (`namespaces`), so one listener for each port, on all
addresses, stands for all hosts. What a host says tells which one it is, so a theft knows where it arrived.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from servers.secure import Signer

ARRIVED = "arrived at "
# Web, TLS, a database, SSH, an odd port, DNS over TLS; each on every address.
GREETERS = (80, 443, 5432, 22, 8080, 853)
DATAGRAMS = (443, 123, 161, 9999)
# Web with TLS, where all that arrives is told in full.
SECURE = 8443
PING, UPLOAD, NAIVE_UPLOAD, DOWNLOAD, NAIVE_DOWNLOAD = 4444, 4646, 4647, 4648, 4649
SIZE = 64 << 20
IDLE = 20.0
# Of a client that has said everything.
QUIET = 0.5


@dataclass(frozen=True)
class Arrival:
    """One connection or datagram.

    Attributes:
        transport: tcp or udp.
        address: The one that was called.
        said: The first bytes.
        ended: How a connection ended: `closed` or `reset`; empty while it has not.
    """

    transport: str
    address: str
    port: int
    said: bytes
    ended: str = ""


@dataclass
class Internet:
    """Listeners on every address; threads of this process.

    Attributes:
        arrivals: In order.
        edited: What conversations on port PING are told from now on.
        signer: Signs for the hosts that speak TLS.
    """

    signer: Signer
    arrivals: list[Arrival] = field(default_factory=list)
    edited: bool = False
    _open: list[socket.socket] = field(default_factory=list)
    _tls: ssl.SSLContext = field(default_factory=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))

    def open(self) -> Internet:
        """Begins to listen."""
        for port in GREETERS:
            self._listen(port, self._greet)
        self.signer.issue("host", "DNS:allowed.test,DNS:evil.test")
        self._tls.load_cert_chain(self.signer.folder / "host.pem", self.signer.folder / "host.key")
        self._listen(SECURE, self._reveal)
        self._listen(PING, self._converse)
        self._listen(UPLOAD, self._swallow)
        self._listen(DOWNLOAD, self._pour)
        self._listen(NAIVE_UPLOAD, lambda guest: naive(guest, UPLOAD))
        self._listen(NAIVE_DOWNLOAD, lambda guest: naive(guest, DOWNLOAD))
        for port in DATAGRAMS:
            self._receive(port)
        return self

    def close(self) -> None:
        """Closes all listeners; their threads end."""
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _listen(self, port: int, serve: Callable[[socket.socket], None]) -> None:
        listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512)
        self._open.append(listener)

        def welcome(guest: socket.socket) -> None:
            with guest, contextlib.suppress(OSError):
                guest.settimeout(IDLE)
                serve(guest)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    guest, _ = listener.accept()
                    threading.Thread(target=welcome, args=(guest,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()

    def _receive(self, port: int) -> None:
        door = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        door.bind(("::", port))
        self._open.append(door)

        def receive() -> None:
            with contextlib.suppress(OSError):
                while True:
                    said, control, _, guest = door.recvmsg(2048, 256)
                    if not control:
                        break  # shut down
                    address = plain(socket.inet_ntop(socket.AF_INET6, control[0][2][:16]))
                    self.arrivals.append(Arrival("udp", address, port, said[:64]))
                    door.sendto(f"{ARRIVED}{address}:{port}".encode(), guest)

        threading.Thread(target=receive, daemon=True).start()

    def _arrived(self, guest: socket.socket, said: bytes) -> str:
        address, port = plain(guest.getsockname()[0]), guest.getsockname()[1]
        self.arrivals.append(Arrival("tcp", address, port, said[:64]))
        return f"{ARRIVED}{address}:{port}"

    def _greet(self, guest: socket.socket) -> None:
        """Answers anything; a web request for `/to/WHERE` is sent there."""
        said = guest.recv(16_384)
        greeting = self._arrived(guest, said)
        if said.startswith(b"GET /to/"):
            where = said.split()[1].removeprefix(b"/to/").decode()
            head = f"HTTP/1.1 302 Found\r\nlocation: http://{where}/\r\ncontent-length: 0\r\n"
            guest.sendall(f"{head}connection: close\r\n\r\n".encode())
        else:
            head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(greeting)}\r\n"
            guest.sendall(f"{head}connection: close\r\n\r\n{greeting}".encode())
        guest.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            while guest.recv(65_536):
                pass

    def _reveal(self, guest: socket.socket) -> None:
        """Says in hexadecimal digits all that came until nothing more did; sends `/to/WHERE` there."""
        with self._tls.wrap_socket(guest, server_side=True) as way:
            way.settimeout(QUIET)
            heard = b""
            with contextlib.suppress(TimeoutError):
                while piece := way.recv(65_536):
                    heard += piece
            where = heard.split()[1].removeprefix(b"/to/") if heard.startswith(b"GET /to/") else b""
            told = f"{self._arrived(way, heard)} hearing {heard.hex()}".encode()
            status = b"302 Found\r\nlocation: https://" + where + b"/" if where else b"200 OK"
            way.sendall(b"HTTP/1.1 %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (status, len(told), told))
            with contextlib.suppress(OSError):
                way.unwrap()

    def _converse(self, guest: socket.socket) -> None:
        """Answers each line by whether the policy has been edited by now."""
        self._arrived(guest, b"")
        while guest.recv(64):
            guest.sendall(b"after\n" if self.edited else b"before\n")

    def _swallow(self, guest: socket.socket) -> None:
        """Takes all until the end, and then says what it took."""
        digest, count = hashlib.sha256(), 0
        place = len(self.arrivals)
        self._arrived(guest, b"")
        try:
            while piece := guest.recv(1 << 20):
                digest.update(piece)
                count += len(piece)
        except ConnectionResetError:
            self.arrivals[place] = Arrival("tcp", plain(guest.getsockname()[0]), UPLOAD, b"", "reset")
            return
        self.arrivals[place] = Arrival("tcp", plain(guest.getsockname()[0]), UPLOAD, str(count).encode(), "closed")
        guest.sendall(f"{count} {digest.hexdigest()}".encode())

    def _pour(self, guest: socket.socket) -> None:
        """Hears the request out, to its end, and then sends."""
        while guest.recv(64):
            pass
        piece = bytes(range(256)) * 4096
        for _ in range(SIZE // len(piece)):
            guest.sendall(piece)


def naive(guest: socket.socket, port: int) -> None:
    """A relay as they are written: when one side ends, both are closed."""
    with socket.create_connection(("127.0.0.1", port)) as far:
        over = threading.Event()

        def one_way(source: socket.socket, sink: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while piece := source.recv(65_536):
                    sink.sendall(piece)
            over.set()

        for pair in ((guest, far), (far, guest)):
            threading.Thread(target=one_way, args=pair, daemon=True).start()
        over.wait(60)


def plain(address: str) -> str:
    """IPv4 without its mapped form, and no zone."""
    return address.removeprefix("::ffff:").split("%")[0]


def of_worker() -> dict[str, int]:
    """Ports for a worker: uploads and downloads go straight to their host."""
    return {"ping": PING, "size": SIZE, "upload": UPLOAD, "download": DOWNLOAD}


def of_control() -> dict[str, int]:
    """The same outside: transfers go through a relay that was written without care."""
    return {**of_worker(), "upload": NAIVE_UPLOAD, "download": NAIVE_DOWNLOAD}
