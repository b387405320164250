"""Faults of an upstream, one line each."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from ._cassette import Answer

NO_ANSWER = ("dns", "connect", "tls", "timeout", "reset", "protocol")


class Fault:
    """One fault; as a context manager it ends with the block.

    Args:
        what: An HTTP status, or the kind of a failure without answer: dns, connect,
            tls, timeout, reset, protocol; or "truncated" (half a JSON body).
        retry_after: The Retry-After header: seconds or an HTTP-date.
        times: How many requests it meets; None: all.
        on: Only requests whose address contains this.
        after: Requests that are let through before.
        body: The answer's body.
        headers: More headers of the answer.
    """

    def __init__(
        self,
        what: int | str,
        *,
        retry_after: float | str | None = None,
        times: int | None = None,
        on: str = "",
        after: int = 0,
        body: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        if isinstance(what, str) and what not in (*NO_ANSWER, "truncated"):
            raise ValueError(f"no such fault {what!r}; there is a status, truncated, {', '.join(NO_ANSWER)}")
        self._what = what
        self._retry_after = retry_after
        self._left = times
        self._on = on
        self._after = after
        self._body = body
        self._headers = dict(headers or {})

    def meets(self, method: str, url: str) -> Answer | Exception | None:
        """What the fault makes of a request; None: it lets it through."""
        if self._left == 0 or self._on not in url:
            return None
        if self._after:
            self._after -= 1
            return None
        if self._left is not None:
            self._left -= 1
        if self._what == "truncated":
            return 200, [("Content-Type", "application/json")], b'{"data": [{"id": 1'
        if isinstance(self._what, str):
            from .._native import TransportError

            return TransportError(self._what, f"{self._what} (a fault of the test)")
        headers = [("Content-Type", "text/plain"), *self._headers.items()]
        if self._retry_after is not None:
            value = self._retry_after
            headers.append(("Retry-After", value if isinstance(value, str) else f"{value:g}"))
        return self._what, headers, self._body.encode()

    def end(self) -> None:
        """Makes no more faults."""
        self._left = 0

    def __enter__(self) -> Fault:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
