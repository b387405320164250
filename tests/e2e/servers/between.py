"""An HTTP server in front of another, which can hold requests back, or for a while."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class Between:
    """Passes everything on.

    Attributes:
        url: Where it is.
        holds: Says of a method and a path whether the request stays here, unanswered.
        held: Set once a request was held back.
        kept: The body of that request.
        gate: Every request waits for it before it is passed on; open at first.
        came: All that came to the gate, as (method, path).
        tokens: The tokens of a vault that came, each with the paths that were asked for with it.
    """

    def __init__(self, behind: str) -> None:
        to = urlsplit(behind).netloc
        self.holds: Callable[[str, str], bool] = lambda method, path: False
        self.held = threading.Event()
        self.kept = b""
        self.gate = threading.Event()
        self.gate.set()
        self.came: list[tuple[str, str]] = []
        self.tokens: dict[str, list[str]] = {}
        self._let_go = threading.Event()
        between = self

        class Handler(BaseHTTPRequestHandler):
            def _pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if between.holds(self.command, self.path):
                    between.kept = body
                    between.held.set()
                    between._let_go.wait(60)
                    self.close_connection = True
                    return
                between.came.append((self.command, self.path))
                if token := self.headers.get("x-vault-token"):
                    between.tokens.setdefault(token, []).append(self.path)
                between.gate.wait(60)
                with closing(http.client.HTTPConnection(to, timeout=30)) as upstream:
                    upstream.request(self.command, self.path, body, dict(self.headers))
                    answer = upstream.getresponse()
                    text = answer.read()
                # A daemon that was killed takes no answer.
                with suppress(ConnectionError):
                    self.send_response(answer.status)
                    self.send_header("content-type", answer.headers.get("content-type", ""))
                    self.send_header("content-length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_DELETE = _pass_on  # noqa: N815

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def let_go(self) -> None:
        """Ends what it holds, without a word, and passes on what comes next."""
        self.holds = lambda method, path: False
        self._let_go.set()

    def stop(self) -> None:
        """Ends it, and what it holds."""
        self.let_go()
        self._server.shutdown()
        self._server.server_close()
