"""What one call has for everybody in it: clock, deadline, cancellation, waits, counts.

Every wait of the CDK goes through here, so that each one is visible, ends
when the caller cancels, and is not begun when the deadline comes first.
"""

from __future__ import annotations

import time
from _thread import allocate_lock, get_ident

from .errors import Cancelled, QuotaExhausted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from ._run import StreamRun

    class ChannelLike(Protocol):
        """What the CDK needs of `_native.Channel`."""

        def receive(self, timeout: float | None = None) -> tuple[str, dict[str, Any], bytes] | None: ...
        def send(self, kind: str, fields: dict[str, Any], body: bytes = b"") -> None: ...
        @property
        def cancelled(self) -> bool: ...

    class Transport(Protocol):
        """What the client needs of `_native.HttpTransport`."""

        def request(
            self,
            method: str,
            url: str,
            headers: list[tuple[str, str]],
            body: bytes | None = None,
            timeout: float | None = None,
        ) -> tuple[int, list[tuple[str, str]], bytes]: ...


SLICE = 0.1
"""Seconds between two looks at whether the call was cancelled."""

HEARTBEAT = 5.0
"""Seconds of silence after which a waiting worker says that it lives, where the daemon does not say."""

MARGIN = 1.0
"""Seconds before the deadline that are kept for flushing and the last checkpoint."""


class Clock:
    """The time; tests put their own in its place."""

    def now(self) -> float:
        """Unix time in seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Waits."""
        time.sleep(seconds)


class Call:
    """One call of one worker.

    Attributes:
        requests: HTTP requests sent.
        throttled_seconds: Time spent waiting because the upstream asked for it.
        run: The stream being read, if one is.
        values: The configuration as JSON values, secrets as Secret objects.
        config: The same as the connector's own class.
    """

    def __init__(
        self,
        channel: ChannelLike,
        *,
        manifest: dict[str, Any] | None = None,
        values: dict[str, Any] | None = None,
        deadline: float | None = None,
        clock: Clock | None = None,
        transport: Callable[..., Transport] | None = None,
        heartbeat: float | None = None,
        longest_throttle: float | None = None,
    ) -> None:
        self.channel = channel
        self.manifest = manifest or {}
        self.values = values or {}
        self.config: Any = None
        self.deadline = deadline
        self.clock = clock or Clock()
        self.transport = transport or _native_transport
        self.requests = 0
        self.throttled_seconds = 0.0
        self._counting = allocate_lock()
        self.run: StreamRun | None = None
        self._heartbeat = heartbeat or HEARTBEAT
        self._longest_throttle = longest_throttle
        self._loop: Any = None
        self._thread = get_ident()
        self._sent = self.clock.monotonic()

    def option(self, name: str) -> Any:
        """The configuration's value of a property by name (a Secret where it is one); None if absent."""
        found = self.values.get(name)
        return getattr(self.config, name, None) if found is None else found

    def send(self, kind: str, fields: dict[str, Any], body: bytes = b"") -> None:
        """Sends a frame."""
        self._sent = self.clock.monotonic()
        self.channel.send(kind, fields, body)

    def check(self) -> None:
        """Raises Cancelled if the caller has cancelled or the daemon is gone."""
        if self.channel.cancelled:
            raise Cancelled("the call was cancelled")

    def remaining(self) -> float | None:
        """Seconds to the deadline; None without one."""
        return None if self.deadline is None else self.deadline - self.clock.now()

    def wait(self, seconds: float) -> None:
        """Waits, looking for cancellation all along and giving signs of life.

        Raises:
            Cancelled: The call was cancelled meanwhile.
        """
        end = self.clock.monotonic() + seconds
        while True:
            self.check()
            now = self.clock.monotonic()
            if now >= end:
                return
            self.alive()
            self.clock.sleep(min(SLICE, end - now))

    def alive(self, doing: str = "waiting") -> None:
        """Says that the worker lives and what it does, if it said nothing for long."""
        if self.clock.monotonic() - self._sent < self._heartbeat:
            return
        run = self.run
        self.send(
            "progress",
            {
                "stream": run.stream.name if run else "",
                "records": run.count if run else 0,
                "message": doing,
            },
        )

    def throttle(self, seconds: float, host: str, cause: str) -> None:
        """Waits because `host` wants it, visibly.

        Raises:
            QuotaExhausted: The wait does not fit the deadline, or is longer than the
                daemon's operator allows; nothing was waited.
            Cancelled: The call was cancelled meanwhile.
        """
        until = self.clock.now() + seconds
        if self.deadline is not None and until + MARGIN >= self.deadline:
            raise QuotaExhausted(
                f"{host} asks to wait {seconds:.0f} s ({cause}); the deadline of this call comes first",
                retry_at=until,
            )
        longest = self._longest_throttle
        if longest is not None and seconds > longest:
            raise QuotaExhausted(
                f"{host} asks to wait {seconds:.0f} s ({cause}); calls wait {longest:.0f} s at most here",
                retry_at=until,
            )
        if self.run is not None and get_ident() == self._thread:
            # From another thread the stream may be in the middle of a record.
            self.run.settle()
        self.send("throttled", {"until_unix_ms": int(until * 1000), "host": host, "cause": cause})
        before = self.clock.monotonic()
        try:
            self.wait(seconds)
        finally:
            with self._counting:
                self.throttled_seconds += self.clock.monotonic() - before

    def requested(self) -> None:
        """Counts a request; connectors send them from threads too."""
        with self._counting:
            self.requests += 1

    def finish(self, value: Any) -> Any:
        """The result of a hook, awaited if it is a coroutine."""
        if hasattr(value, "__await__"):
            return self.loop.run_until_complete(value)
        return value

    @property
    def loop(self) -> Any:
        """The event loop of the call's async hooks, made when the first one needs it."""
        if self._loop is None:
            import asyncio

            self._loop = asyncio.new_event_loop()
        return self._loop

    def iterate(self, value: Any) -> Any:
        """A plain iterator over what a hook gave: a generator, an iterable, a coroutine of one, or None."""
        if hasattr(value, "__anext__"):
            return _drained(self.loop, value)
        value = self.finish(value)
        if hasattr(value, "__aiter__"):
            return _drained(self.loop, value.__aiter__())
        return iter(() if value is None else value)

    def close(self) -> None:
        """Ends the event loop."""
        if self._loop is not None:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()
            self._loop = None


def _drained(loop: Any, source: Any) -> Any:
    try:
        while True:
            try:
                yield loop.run_until_complete(source.__anext__())
            except StopAsyncIteration:
                return
    finally:
        if hasattr(source, "aclose"):
            loop.run_until_complete(source.aclose())


def _native_transport(**options: Any) -> Transport:
    from ._native import HttpTransport

    return HttpTransport(**options)
