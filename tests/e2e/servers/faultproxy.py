"""A reverse proxy that answers one request with 429 and passes the others on.

It stands between a connector and a real server, so that a fault comes from
the wire and no server has to be taught it. `before` sees every request before
it is answered: a test acts in the middle of a run, at an exact request,
instead of sleeping and hoping.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


@dataclass
class FaultProxy:
    """Runs on a thread of its own until `close`.

    Attributes:
        upstream: (host, port) that requests go to.
        throttle_at: Number (from 1) of the request that gets the 429; 0: none.
        retry_after: Value of its Retry-After header, in seconds.
        before: Called with (number, target) before a request is answered.
        targets: Every request's target, in order.
    """

    upstream: tuple[str, int]
    throttle_at: int = 0
    retry_after: int = 2
    before: Callable[[int, str], None] | None = None
    targets: list[str] = field(default_factory=list)
    port: int = 0
    _loop: asyncio.AbstractEventLoop | None = None
    _thread: threading.Thread | None = None

    def start(self, port: int = 0) -> FaultProxy:
        """Listens on loopback; `port` then holds the port."""
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(port, ready), daemon=True)
        self._thread.start()
        ready.wait(10)
        return self

    def close(self) -> None:
        """Stops listening and ends the thread."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)

    def _run(self, port: int, ready: threading.Event) -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        self._loop = loop
        server = loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", port))
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went away: a killed worker does
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; False when the client has no more."""
        start, headers = await self._head(reader)
        if not start:
            return False
        method, target, _ = start.split(" ", 2)
        length = int(dict(headers).get("content-length", "0"))
        body = await reader.readexactly(length) if length else b""
        self.targets.append(target)
        number = len(self.targets)
        if self.before is not None:
            await asyncio.get_running_loop().run_in_executor(None, self.before, number, target)
        if number == self.throttle_at:
            writer.write(
                b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: %d\r\n"
                b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}" % self.retry_after
            )
        else:
            status, answered, content = await self._forward(method, target, headers, body)
            lines = [f"HTTP/1.1 {status}"]
            lines += [f"{name}: {value}" for name, value in answered if name not in HOP_BY_HOP]
            lines += [f"content-length: {len(content)}", "", ""]
            writer.write("\r\n".join(lines).encode("latin-1") + content)
        await writer.drain()
        return True

    async def _forward(
        self, method: str, target: str, headers: list[tuple[str, str]], body: bytes
    ) -> tuple[str, list[tuple[str, str]], bytes]:
        """(status line's rest, headers, whole body) from upstream."""
        reader, writer = await asyncio.open_connection(*self.upstream)
        lines = [f"{method} {target} HTTP/1.0", f"host: {self.upstream[0]}:{self.upstream[1]}"]
        lines += [f"{name}: {value}" for name, value in headers if name not in HOP_BY_HOP]
        lines += [f"content-length: {len(body)}", "", ""]
        writer.write("\r\n".join(lines).encode("latin-1") + body)
        start, answered = await self._head(reader)
        content = await reader.read()
        writer.close()
        return start.split(" ", 1)[1], answered, content

    @staticmethod
    async def _head(reader: asyncio.StreamReader) -> tuple[str, list[tuple[str, str]]]:
        """The start line and the headers (names in lower case)."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as ended:
            if ended.partial:
                raise
            return "", []
        start, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        pairs = (line.split(":", 1) for line in lines)
        return start, [(name.lower(), value.strip()) for name, value in pairs]
