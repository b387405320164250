"""The HTTP client of connectors: one origin, timeouts, retries, quotas, pages.

It sits on the native transport, which does one request and nothing else.
Credentials go to the client's own origin only, whatever a link says.
"""

# `map=` reads as what it does; the built-in is not used here.
# ruff: noqa: A002

from __future__ import annotations

import json as _json

from ._auth import Auth
from ._refusal import refusal, transport_failure, transport_kind
from ._response import Headers, Response
from ._retry import IDEMPOTENT, RETRIED, UNREACHED_RETRIES, asked_wait, backoff, limited, quota_wait, unreached_wait
from ._url import encode_query, join, origin, shown, without_parameter
from ._walk import Walk
from .errors import QuotaExhausted, Timeout, Upstream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Container, Iterator, Mapping
    from typing import Any

    from ._call import Call, Transport
    from .pages import Paginator

    Params = Mapping[str, Any] | None

MAX_REDIRECTS = 10

CREDENTIAL_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})


class Http:
    """Made by `Connector.client`; see there for the arguments."""

    def __init__(
        self,
        call: Call,
        base_url: str = "",
        *,
        auth: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        connect_timeout: float = 10.0,
        retries: int = 5,
        max_wait: float = 3600.0,
    ) -> None:
        self._call = call
        self.base_url = base_url.rstrip("/")
        self._origin = origin(base_url) if base_url else ""
        self._auth = Auth(call, auth) if auth else None
        self._headers = dict(headers or {})
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._retries = retries
        self._max_wait = max_wait
        self._made: Transport | None = None

    # -- requests ----------------------------------------------------------

    def get(self, path: str, params: Params = None, **options: Any) -> Response:
        """GET; see `request`."""
        return self.request("GET", path, params, **options)

    def head(self, path: str, params: Params = None, **options: Any) -> Response:
        """HEAD; see `request`."""
        return self.request("HEAD", path, params, **options)

    def post(self, path: str, params: Params = None, **options: Any) -> Response:
        """POST; see `request`. Not sent twice unless `idempotent=True`."""
        return self.request("POST", path, params, **options)

    def put(self, path: str, params: Params = None, **options: Any) -> Response:
        """PUT; see `request`."""
        return self.request("PUT", path, params, **options)

    def patch(self, path: str, params: Params = None, **options: Any) -> Response:
        """PATCH; see `request`. Not sent twice unless `idempotent=True`."""
        return self.request("PATCH", path, params, **options)

    def delete(self, path: str, params: Params = None, **options: Any) -> Response:
        """DELETE; see `request`."""
        return self.request("DELETE", path, params, **options)

    def request(
        self,
        method: str,
        path: str,
        params: Params = None,
        *,
        json: Any = None,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        idempotent: bool | None = None,
        ok: Container[int] = (),
    ) -> Response:
        """Sends a request until it is answered, within the deadline.

        Args:
            method: The HTTP method.
            path: Appended to the base URL; a whole address is taken as it is.
            params: Query parameters; None values are left out, lists repeat.
            json: A body of JSON values.
            body: A body of bytes.
            headers: Over those of the client, which go to its own origin only. A redirect to another
                origin takes neither those nor Authorization, Cookie and Proxy-Authorization with it.
            timeout: Seconds for each attempt.
            idempotent: Whether it may be sent again; the default follows the method.
            ok: Statuses that do not raise besides 2xx.

        Raises:
            CredentialsInvalid: 401.
            PermissionMissing: 403.
            NotFound: 404, 410.
            QuotaExhausted: The wait that the upstream asks for does not fit.
            Upstream: Any other failure; DnsFailed and TlsFailed where it is that.
            Cancelled: The caller cancelled.
        """
        url = join(self.base_url, path)
        if params:
            url = encode_query(url, params)
        given = dict(headers or {})
        content = body.encode() if isinstance(body, str) else body
        if json is not None:
            content = _json.dumps(json, separators=(",", ":")).encode()
            given = {"Content-Type": self._headers.get("Content-Type", "application/json"), **given}
        method = method.upper()
        again = method in IDEMPOTENT if idempotent is None else idempotent
        asked = origin(url)
        for _ in range(MAX_REDIRECTS + 1):
            sent = self._sent(url, given, asked)
            response = self._persist(method, url, sent, content, timeout, again, ok)
            location = response.headers.get("location")
            if response.status not in (301, 302, 303, 307, 308) or not location or response.status in ok:
                break
            if method not in ("GET", "HEAD"):
                raise Upstream(
                    f"{method} {response.url} is redirected to {shown(location)}; ask there",
                    status=response.status,
                )
            url = join(url, location, relative=True)
        else:
            raise Upstream(f"{method} {shown(url)}: more than {MAX_REDIRECTS} redirects")
        if 200 <= response.status < 300 or response.status in ok:
            return response
        raise refusal(method, response)

    async def arequest(self, method: str, path: str, params: Params = None, **options: Any) -> Response:
        """`request` without blocking the event loop."""
        import asyncio

        return await asyncio.to_thread(self.request, method, path, params, **options)

    async def aget(self, path: str, params: Params = None, **options: Any) -> Response:
        """`get` without blocking the event loop."""
        return await self.arequest("GET", path, params, **options)

    async def apost(self, path: str, params: Params = None, **options: Any) -> Response:
        """`post` without blocking the event loop."""
        return await self.arequest("POST", path, params, **options)

    async def aput(self, path: str, params: Params = None, **options: Any) -> Response:
        """`put` without blocking the event loop."""
        return await self.arequest("PUT", path, params, **options)

    async def apatch(self, path: str, params: Params = None, **options: Any) -> Response:
        """`patch` without blocking the event loop."""
        return await self.arequest("PATCH", path, params, **options)

    async def adelete(self, path: str, params: Params = None, **options: Any) -> Response:
        """`delete` without blocking the event loop."""
        return await self.arequest("DELETE", path, params, **options)

    # -- pages -------------------------------------------------------------

    def records(
        self,
        path: str,
        params: Params = None,
        *,
        at: str | Callable[[Any], Any] | None = "data",
        page: Paginator | None = None,
        map: Callable[[Any], Any] | None = None,
        method: str = "GET",
        **options: Any,
    ) -> Iterator[Any]:
        """The records of all pages, one after another.

        In a stream it also tells the CDK where each page ends, so that a read can go on
        from there after a fault.

        Args:
            path: As in `request`.
            params: Query parameters of the first page (and of all that are not addresses).
            at: Where the records are in the body: a dotted path, None for the body itself,
                or a function of the body.
            page: How the next page is named; None: there is one page.
            map: Reshapes each record; a record for which it returns None is left out.
            method: The HTTP method.
            **options: As in `request`.

        Raises:
            Upstream: Where records should be there is no list, or a page token repeats or is missing.
        """
        walk = Walk(self, path, params, at, page, method, options)
        try:
            while walk.more:
                response = self.request(method, *walk.address(), **options)
                records = walk.take(response, map)
                yield from walk.hand_out(records, map)
                walk.turn(response, records)
        finally:
            walk.close()

    async def arecords(
        self,
        path: str,
        params: Params = None,
        *,
        at: str | Callable[[Any], Any] | None = "data",
        page: Paginator | None = None,
        map: Callable[[Any], Any] | None = None,
        method: str = "GET",
        **options: Any,
    ) -> AsyncIterator[Any]:
        """`records` without blocking the event loop."""
        walk = Walk(self, path, params, at, page, method, options)
        try:
            while walk.more:
                response = await self.arequest(method, *walk.address(), **options)
                records = walk.take(response, map)
                for record in walk.hand_out(records, map):
                    yield record
                walk.turn(response, records)
        finally:
            walk.close()

    # -- within ------------------------------------------------------------

    def _sent(self, url: str, given: dict[str, str], asked: str) -> list[tuple[str, str]]:
        # The client's headers are for its own origin; those of one request for the origin that it asks,
        # and what a redirect leads to elsewhere gets none that may hold a credential.
        here = origin(url)
        if here != asked:
            given = {name: value for name, value in given.items() if name.lower() not in CREDENTIAL_HEADERS}
        own = self._headers if here == (self._origin or asked) else {}
        return list({"Accept": "application/json", **own, **given}.items())

    def _persist(
        self,
        method: str,
        url: str,
        headers: list[tuple[str, str]],
        body: bytes | None,
        timeout: float | None,
        again: bool,
        ok: Container[int],
    ) -> Response:
        failed = waited = unreached = 0
        while True:
            told = f"{method} {shown(url)}"
            try:
                response = self._once(method, url, headers, body, timeout)
            except Exception as error:
                kind = transport_kind(error)
                if kind is None:
                    raise
                failed += 1
                failure = transport_failure(told, kind, error)
                if kind in ("dns", "connect"):
                    # Nothing was sent, so this holds for every method.
                    unreached += 1
                    if failed > self._retries or unreached > UNREACHED_RETRIES:
                        raise failure from None
                    seconds = unreached_wait(_draw())
                elif failed > self._retries or kind in ("tls", "too_large") or not again:
                    raise failure from None
                else:
                    seconds = backoff(failed, _draw())
                self._back_off(seconds, url, f"{kind}: {told}", failure)
                continue
            status = response.status
            if status in ok:
                return response
            if limited(status, response.headers):
                waited += 1
                asked = asked_wait(response.headers, self._call.clock.now())
                seconds = quota_wait(asked, waited, _draw())
                if not again or waited > max(self._retries, 1) * 2 or seconds > self._max_wait:
                    raise QuotaExhausted(
                        f"{told} answered {status}; it asks to wait {seconds:.0f} s",
                        retry_at=self._call.clock.now() + seconds,
                    )
                self._call.throttle(seconds, host_of(url), f"{status} from {told}")
                continue
            if status in RETRIED and again and failed < self._retries:
                failed += 1
                self._back_off(backoff(failed, _draw()), url, f"{status} from {told}", refusal(method, response))
                continue
            return response

    def _back_off(self, seconds: float, url: str, cause: str, failure: Exception) -> None:
        remaining = self._call.remaining()
        if remaining is not None and seconds + 1.0 >= remaining:
            raise failure
        self._call.send(
            "throttled",
            {
                "until_unix_ms": int((self._call.clock.now() + seconds) * 1000),
                "host": host_of(url),
                "cause": cause,
            },
        )
        self._call.wait(seconds)

    def _once(
        self, method: str, url: str, headers: list[tuple[str, str]], body: bytes | None, timeout: float | None
    ) -> Response:
        call = self._call
        call.check()
        limit = self._timeout if timeout is None else timeout
        remaining = call.remaining()
        if remaining is not None:
            if remaining <= 0:
                raise Timeout(f"the deadline of the call came before {method} {shown(url)}")
            limit = min(limit, remaining)
        sent = headers
        address = url
        if self._auth is not None and origin(url) == self._origin:
            given = {name.lower() for name, _ in headers}
            sent = headers + [pair for pair in self._auth.headers() if pair[0].lower() not in given]
            parameters = self._auth.parameters()
            if parameters:
                address = encode_query(without_parameter(url, self._auth.query), dict(parameters))
        if self._made is None:
            self._made = call.transport(connect_timeout=self._connect_timeout, read_timeout=self._timeout)
        call.requested()
        status, answered, content = self._made.request(method, address, sent, body, limit)
        return Response(status, Headers(answered), content, shown(url))

    def strip_credentials(self, url: str) -> str:
        """`url` without the query parameter that holds a credential (APIs echo it in their links)."""
        return without_parameter(url, self._auth.query) if self._auth is not None and self._auth.query else url


def _draw() -> float:
    import random

    return random.random()


def host_of(url: str) -> str:
    """Host and port of an address."""
    return origin(url).partition("://")[2]
