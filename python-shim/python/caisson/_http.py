"""The HTTP client of connectors: one origin, timeouts, retries, quotas, pages.

It sits on the native transport, which does one request and nothing else.
Credentials go to the client's own origin only, whatever a link says.
"""

# `map=` reads as what it does; the built-in is not used here.
# ruff: noqa: A002

from __future__ import annotations

import json as _json

from ._auth import Auth
from ._retry import IDEMPOTENT, RETRIED, asked_wait, backoff, limited, quota_wait
from ._url import encode_query, join, origin, shown, with_origin, without_parameter
from .errors import (
    CredentialsInvalid,
    DnsFailed,
    NotFound,
    PermissionMissing,
    QuotaExhausted,
    Timeout,
    TlsFailed,
    Upstream,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Container, Iterator, Mapping
    from typing import Any

    from ._call import Call, Transport
    from .pages import Paginator

    Params = Mapping[str, Any] | None

MAX_REDIRECTS = 10
MAX_EMPTY_PAGES = 1_000
MAX_EXCERPT = 200


class Headers(dict[str, str]):
    """An answer's headers by lower-case name; several of one name are joined with ", "."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        super().__init__()
        for name, value in pairs:
            name = name.lower()
            super().__setitem__(name, f"{self[name]}, {value}" if name in self else value)

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


class Response:
    """An answer.

    Attributes:
        status: The HTTP status.
        headers: By lower-case name.
        content: The body, decoded.
        url: The address that was asked, without credentials.
    """

    __slots__ = ("_body", "content", "headers", "status", "url")

    def __init__(self, status: int, headers: Headers, content: bytes, url: str) -> None:
        self.status = status
        self.headers = headers
        self.content = content
        self.url = url
        self._body: Any = self  # not parsed yet

    @property
    def text(self) -> str:
        """The body as text, in the charset that the answer names (UTF-8 otherwise)."""
        charset = self.headers.get("content-type", "").lower().partition("charset=")[2].partition(";")[0].strip(' "')
        try:
            return self.content.decode(charset or "utf-8", "replace")
        except LookupError:
            return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON values.

        Raises:
            Upstream: It is no JSON.
        """
        if self._body is self:
            try:
                self._body = _json.loads(self.content)
            except ValueError as error:
                kind = self.headers.get("content-type", "no content type")
                raise Upstream(
                    f"{self.url} answered {self.status} with a body that is no JSON ({kind}, "
                    f"{len(self.content)} bytes): {error}",
                    status=self.status,
                ) from None
        return self._body

    def find(self, at: str) -> Any:
        """The value at a dotted path of the JSON body; None if it is not there."""
        from .pages import find

        return find(self.json(), at)


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
            headers: Over those of the client.
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
        sent = dict(self._headers)
        sent.update(headers or {})
        content = body.encode() if isinstance(body, str) else body
        if json is not None:
            content = _json.dumps(json, separators=(",", ":")).encode()
            sent.setdefault("Content-Type", "application/json")
        sent.setdefault("Accept", "application/json")
        method = method.upper()
        again = method in IDEMPOTENT if idempotent is None else idempotent
        for _ in range(MAX_REDIRECTS + 1):
            response = self._persist(method, url, list(sent.items()), content, timeout, again, ok)
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
            Upstream: Where records should be there is no list, or a page token repeats.
        """
        walk = _Walk(self, path, params, at, page, method, options)
        try:
            while walk.more:
                response = self.request(method, *walk.address(), **options)
                records = walk.take(response)
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
        walk = _Walk(self, path, params, at, page, method, options)
        try:
            while walk.more:
                response = await self.arequest(method, *walk.address(), **options)
                records = walk.take(response)
                for record in walk.hand_out(records, map):
                    yield record
                walk.turn(response, records)
        finally:
            walk.close()

    # -- within ------------------------------------------------------------

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
        failed = waited = 0
        while True:
            told = f"{method} {shown(url)}"
            try:
                response = self._once(method, url, headers, body, timeout)
            except Exception as error:
                kind = transport_kind(error)
                if kind is None:
                    raise
                failed += 1
                unsent = kind in ("dns", "connect")
                if failed > self._retries or kind in ("tls", "too_large") or not (again or unsent):
                    raise transport_failure(told, kind, error) from None
                self._back_off(backoff(failed, _draw()), url, f"{kind}: {told}", transport_failure(told, kind, error))
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
        call.requests += 1
        status, answered, content = self._made.request(method, address, sent, body, limit)
        return Response(status, Headers(answered), content, shown(url))

    def strip_credentials(self, url: str) -> str:
        """`url` without the query parameter that holds a credential (APIs echo it in their links)."""
        return without_parameter(url, self._auth.query) if self._auth is not None and self._auth.query else url


class _Walk:
    """From page to page: the tokens, what was seen, and where each page ends."""

    def __init__(
        self,
        http: Http,
        path: str,
        params: Params,
        at: str | Callable[[Any], Any] | None,
        page: Paginator | None,
        method: str,
        options: dict[str, Any],
    ) -> None:
        import copy

        self._http = http
        self._path = path
        self._params = dict(params or {})
        self._at = at
        self._page = copy.copy(page)  # a paginator remembers things about one walk
        self._run = http._call.run
        self._track = None
        self._token = page.first() if page is not None else None
        self._seen = {repr(self._token)}
        self._empty = 0
        self._before: bytes | None = None
        self.more = True
        if self._run is not None:
            self._track = self._run.track(_request_name(method, path, self._params, options.get("json")))
        resume = self._track.resume if self._track is not None else None
        if resume is True:
            self.more = False
        elif resume is not None:
            self._token = resume
            self._seen.add(repr(resume))

    def address(self) -> tuple[str, dict[str, Any]]:
        """Path and parameters of the page to ask for."""
        if self._page is None:
            return self._path, self._params
        whole = self._page.url(self._token)
        if whole is not None:
            return whole, {}
        return self._path, {**self._params, **self._page.parameters(self._token)}

    def take(self, response: Response) -> list[Any]:
        """The records of an answer."""
        body = response.json()
        at = self._at
        found = at(body) if callable(at) else response.find(at) if at else body
        if found is None and isinstance(body, dict) and self._known_empty(body):
            return []
        if not isinstance(found, (list, tuple)):
            has = f"an object with {', '.join(map(str, list(body)[:12]))}" if isinstance(body, dict) else "a list"
            raise Upstream(
                f"{response.url}: no list of records at {self._at!r}; the answer is "
                f"{has if isinstance(body, (dict, list)) else type(body).__name__}",
                status=response.status,
            )
        return list(found)

    def hand_out(self, records: list[Any], map: Callable[[Any], Any] | None) -> Iterator[Any]:
        """The records, followed through the stream if one is being read."""
        track = self._track
        for record in records:
            if map is not None:
                record = map(record)
                if record is None:
                    continue
            if track is not None:
                track.give(record)
            yield record

    def turn(self, response: Response, records: list[Any]) -> None:
        """Goes on to the next page, or ends.

        Raises:
            Upstream: The token repeats, the same page came again, or pages stay empty.
        """
        token = self._page.next(self._token, response, records) if self._page is not None else None
        if isinstance(token, str) and self._page is not None and self._page.url(token) is not None:
            token = self._link(response, token)
        if token is None:
            self.more = False
        else:
            if repr(token) in self._seen or (records and response.content == self._before):
                raise Upstream(
                    f"{response.url}: the next page was there before; the API's pages run in a circle",
                    status=response.status,
                    action="Correct the paginator of this stream, or report it to the API's makers.",
                )
            self._empty = 0 if records else self._empty + 1
            if self._empty >= MAX_EMPTY_PAGES:
                raise Upstream(f"{response.url}: {MAX_EMPTY_PAGES} empty pages one after another")
            self._seen.add(repr(token))
            self._before = response.content
        self._token = token
        if self._track is not None and self._run is not None:
            self._run.page(self._track, True if token is None else token)

    def close(self) -> None:
        """Nothing more is handed out."""
        if self._track is not None and not self.more:
            self._track.end()

    def _link(self, response: Response, link: str) -> str:
        base = join(self._http.base_url, self._path)
        url = join(response.url, link, relative=True)
        here, there = origin(base), origin(url)
        if here != there:
            if here.partition("://")[2].partition(":")[0] != there.partition("://")[2].partition(":")[0]:
                raise Upstream(
                    f"{response.url}: the next page is at another host, {there}; no credentials go there",
                    status=response.status,
                )
            # Behind a proxy that ends TLS, APIs name themselves by the wrong scheme or port.
            url = with_origin(url, base)
        return self._http.strip_credentials(url)

    def _known_empty(self, body: dict[str, Any]) -> bool:
        # Some APIs leave the list out (or null) when it is empty; the key itself must be known.
        return isinstance(self._at, str) and "." not in self._at and self._at in body


def _request_name(method: str, path: str, params: dict[str, Any], body: Any) -> str:
    import hashlib

    text = _json.dumps([method, path, params, body], sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _draw() -> float:
    import random

    return random.random()


def host_of(url: str) -> str:
    """Host and port of an address."""
    return origin(url).partition("://")[2]


def transport_kind(error: Exception) -> str | None:
    """The kind of a native TransportError; None for any other error."""
    if type(error).__name__ != "TransportError":
        return None
    return str(error.args[0]) if error.args else "protocol"


def transport_failure(told: str, kind: str, error: Exception) -> Exception:
    """The stable error of a request that got no answer."""
    detail = str(error.args[1]) if len(error.args) > 1 else kind
    message = f"{told}: {detail}"
    if kind == "dns":
        return DnsFailed(message)
    if kind == "tls":
        return TlsFailed(message)
    return Upstream(message)


def refusal(method: str, response: Response) -> Exception:
    """The stable error of an answer that is no success."""
    status = response.status
    excerpt = " ".join(response.text[:MAX_EXCERPT].split()) if response.content else ""
    message = f"{method} {response.url} answered {status}" + (f": {excerpt}" if excerpt else "")
    if status == 401:
        return CredentialsInvalid(message)
    if status == 403:
        return PermissionMissing(message)
    if status in (404, 410):
        return NotFound(message, status=status)
    return Upstream(message, status=status)
