"""An API made of a function: for tests that need more than recordings."""

from __future__ import annotations

import json
from urllib.parse import parse_qsl, urlsplit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._cassette import Answer, Headers


class Request:
    """What the connector asked.

    Attributes:
        method: The HTTP method.
        url: The whole address.
        path: Its path.
        params: Its query, the last value of each name.
        headers: By lower-case name.
        body: The bytes sent.
    """

    def __init__(self, method: str, url: str, headers: Headers, body: bytes | None) -> None:
        parts = urlsplit(url)
        self.method = method
        self.url = url
        self.path = parts.path or "/"
        self.params = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.headers = {name.lower(): value for name, value in headers}
        self.body = body or b""

    def json(self) -> Any:
        """The body as JSON values."""
        return json.loads(self.body)


class Api:
    """Stands in for the network: `Harness(..., api=Api(answer))`.

    Args:
        answer: From a `Request` to JSON values, or to (status, JSON values), or to
            (status, JSON values, headers).

    Attributes:
        requests: What was asked, in order.
    """

    def __init__(self, answer: Callable[[Request], Any]) -> None:
        self._answer = answer
        self.requests: list[Request] = []

    def request(
        self, method: str, url: str, headers: Headers, body: bytes | None = None, timeout: float | None = None
    ) -> Answer:
        """As `_native.HttpTransport.request`."""
        asked = Request(method, url, headers, body)
        self.requests.append(asked)
        given = self._answer(asked)
        status, value, more = 200, given, {}
        if isinstance(given, tuple):
            status, value = given[0], given[1]
            more = dict(given[2]) if len(given) > 2 else {}
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        return status, [("Content-Type", "application/json"), *more.items()], content
