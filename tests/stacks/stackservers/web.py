"""An HTTP server in the clear and one with TLS: `/hello`, and `/echo` of what was posted."""

from __future__ import annotations

import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """Answers, keeps the connection, says nothing."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """A greeting under every path."""
        self.answer(b"hello")

    def do_POST(self) -> None:
        """What came."""
        self.answer(self.rfile.read(int(self.headers["content-length"])))

    def answer(self, body: bytes) -> None:
        """200 with a body."""
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


class Quiet(ThreadingHTTPServer):
    """A handshake that the client breaks off is what a test wants, no news."""

    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Nothing."""


class Web:
    """Both servers on loopback until `close`.

    Args:
        folder: Where key and certificate go.
        handler: What answers.
    """

    def __init__(self, folder: Path, handler: type[BaseHTTPRequestHandler] = Handler) -> None:
        self.certificate = folder / "cert.pem"
        subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-days", "2", *subject, "-keyout", folder / "key.pem", "-out", self.certificate],
            check=True, capture_output=True,
        )  # fmt: skip
        self._plain = Quiet(("127.0.0.1", 0), handler)
        self._tls = Quiet(("127.0.0.1", 0), handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, folder / "key.pem")
        self._tls.socket = context.wrap_socket(self._tls.socket, server_side=True, do_handshake_on_connect=False)
        for server in (self._plain, self._tls):
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def http(self) -> int:
        """The port in the clear."""
        return int(self._plain.server_address[1])

    @property
    def tls(self) -> int:
        """The port with TLS."""
        return int(self._tls.server_address[1])

    def close(self) -> None:
        """Stops both."""
        for server in (self._plain, self._tls):
            server.shutdown()
            server.server_close()
