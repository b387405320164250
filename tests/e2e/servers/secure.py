"""Servers with TLS, and the authority that signed for them: made by openssl for one test run."""

from __future__ import annotations

import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self


class Signer:
    """A certificate authority.

    Attributes:
        folder: Holds `ca.pem`, and what was issued.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority("ca")

    def authority(self, name: str) -> str:
        """One more that signs itself; its PEM."""
        usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        self._openssl("req", "-x509", "-subj", f"/CN={name}", *usage, "-keyout", f"{name}.key", "-out", f"{name}.pem")
        return (self.folder / f"{name}.pem").read_text()

    def issue(self, name: str, san: str) -> str:
        """Writes `name.pem` and `name.key`; the PEM."""
        issued = ["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE"]
        names = ["-addext", f"subjectAltName={san}"]
        self._openssl(
            "req", "-x509", "-subj", f"/CN={name}", *issued, *names, "-keyout", f"{name}.key", "-out", f"{name}.pem"
        )
        return (self.folder / f"{name}.pem").read_text()

    def context(self, name: str) -> ssl.SSLContext:
        """A server's side of TLS, with what was issued under that name."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return context

    def demanding(self, name: str) -> ssl.SSLContext:
        """The same of a server that turns away who shows no certificate of this authority."""
        context = self.context(name)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(self.folder / "ca.pem")
        return context

    def _openssl(self, *arguments: str) -> None:
        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        subprocess.run(["openssl", *arguments, *new_key], cwd=self.folder, check=True, capture_output=True)


class Greeter(BaseHTTPRequestHandler):
    """Says hello under every path, and keeps the connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """A greeting."""
        self.answer()

    def do_POST(self) -> None:
        """A greeting, whatever came."""
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.answer()

    def greeting(self) -> tuple[str, bytes]:
        """Its type and what it says."""
        return "text/plain", b"hello"

    def answer(self) -> None:
        """200 with the greeting."""
        kind, body = self.greeting()
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


class Quiet(ThreadingHTTPServer):
    """A handshake that a client breaks off is what a test wants, no news."""

    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Nothing."""


class Secure:
    """An HTTP server with TLS on loopback, known as localhost, as a context."""

    def __init__(self, signer: Signer, handler: type[BaseHTTPRequestHandler] = Greeter) -> None:
        signer.issue("server", "DNS:localhost,IP:127.0.0.1")
        self._server = Quiet(("127.0.0.1", 0), handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(signer.folder / "server.pem", signer.folder / "server.key")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = int(self._server.server_address[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
