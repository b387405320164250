"""The class that an author derives from."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from collections.abc import AsyncIterable, Awaitable, Iterable
    from typing import Any, ClassVar, Generic, TypeVar

    from ._call import Call
    from ._http import Http
    from ._streams import Stream

    C = TypeVar("C")

    class _Configured(Generic[C]):
        config: C
        config_type: ClassVar[type | None]

else:
    C = None

    class _Configured:
        config_type = None

        def __class_getitem__(cls, config):
            if config is None:
                return cls
            return type(cls.__name__, (cls,), {"config_type": config, "__module__": cls.__module__})


class Connector(_Configured[C]):
    """A source, a destination, or both.

    Write `class Shop(Connector[Config])` with the class that describes the
    configuration, declare streams with `@stream` or answer `list` and `read`, and for
    destinations define `write`. Each hook may be `async def`.

    Attributes:
        config: The typed configuration; secrets are `Secret` objects.
    """

    def __init__(self, config: C, call: Call) -> None:
        self.config = config
        self._call = call

    # -- hooks -------------------------------------------------------------

    def open(self) -> Awaitable[None] | None:
        """Called once before anything else: clients, connections."""
        return None

    def close(self) -> Awaitable[None] | None:
        """Called once at the end, whatever happened."""
        return None

    def test(self) -> Any:
        """Tries whether the connection can work; raises a `caisson.errors` class if not.

        May be a generator of (step, message) pairs, each passed when it is yielded.
        """
        return None

    def list(self) -> Iterable[Stream] | AsyncIterable[Stream]:
        """Discovers streams that are not declared."""
        return ()

    # `read(stream, since)` or `read(stream, state)`, `write(stream, batch)`, and
    # for destinations optionally `schema(stream)` and `commit(stream[, checkpoint])`
    # have no default: whether they exist says what a connector can do.

    # -- what hooks use ----------------------------------------------------

    def client(
        self,
        base_url: str = "",
        auth: str | None = None,
        *,
        headers: dict[str, str] | None = None,
        timeout: float = 60.0,
        connect_timeout: float = 10.0,
        retries: int = 5,
        max_wait: float = 3600.0,
    ) -> Http:
        """An HTTP client with timeouts, retries, waits for quotas, and pages.

        Args:
            base_url: What paths are appended to.
            auth: A name under `auth` in connector.yaml.
            headers: Sent with each request.
            timeout: Seconds for one request.
            connect_timeout: Seconds for a connection.
            retries: Attempts after the first, for idempotent requests.
            max_wait: Seconds that one wait for a quota may take.
        """
        from ._http import Http

        return Http(
            self._call, base_url, auth=auth, headers=headers, timeout=timeout,
            connect_timeout=connect_timeout, retries=retries, max_wait=max_wait,
        )  # fmt: skip

    @property
    def log(self) -> logging.Logger:
        """A logger whose messages travel with the call."""
        import logging

        from ._logs import install

        install(self._call)
        return logging.getLogger(type(self).__name__)

    def progress(self, done: int, total: int = 0, message: str = "") -> None:
        """Tells the caller how far the present stream has come.

        Args:
            done: Records so far.
            total: Records there will be; 0: not known.
            message: What is going on.
        """
        run = self._call.run
        name = run.stream.name if run is not None else ""
        self._call.send("progress", {"stream": name, "records": done, "total": total, "message": message})

    def sleep(self, seconds: float) -> None:
        """Waits; ends at once with errors.Cancelled when the caller cancels."""
        self._call.wait(seconds)

    def now(self) -> float:
        """Unix time in seconds (tests put their own clock in its place)."""
        return self._call.clock.now()
