"""From page to page of a list: the tokens, what was seen, and where each page ends."""

from __future__ import annotations

import copy
import json

from ._url import join, origin, with_origin
from .errors import Upstream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from ._http import Http
    from ._native import Page
    from ._response import Response
    from .pages import Paginator

PAGINATORS = f"{__package__}.pages"
"""Where those paginators are that ask for no more of a page than how long it is, and its last record."""

MAX_EMPTY_PAGES = 1_000
"""Empty pages in a row after which an API is taken to be broken."""


class Walk:
    """From page to page: the tokens, what was seen, and where each page ends."""

    def __init__(
        self,
        http: Http,
        path: str,
        params: Mapping[str, Any] | None,
        at: str | Callable[[Any], Any] | None,
        page: Paginator | None,
        method: str,
        options: dict[str, Any],
    ) -> None:
        self._http = http
        self._path = path
        self._params = dict(params or {})
        self._at = at
        self._page = copy.copy(page)  # a paginator remembers things about one walk
        self._run = http._call.run
        self._track = None
        # Paginators of one's own may look at records as they like.
        self._counts = page is None or type(page).__module__ == PAGINATORS
        self._token = page.first() if page is not None else None
        self._seen = {repr(self._token)}
        self._empty = 0
        self._before: bytes | None = None
        self._next: Any = None
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

    def take(self, response: Response, each: Callable[[Any], Any] | None = None) -> list[Any] | Page:
        """The records of an answer. What names the next page is read here too: the author may change records.

        Args:
            response: The answer.
            each: What reshapes each record; without it, they may be handed out as they lie in the answer.

        Raises:
            Upstream: Where records should be there is no list, or what names the next page is missing.
        """
        records: list[Any] | Page | None = None
        if each is None and self._counts and not callable(self._at):
            records = response._page(self._at or None, self._track)
        if records is None:
            records = self._found(response)
        self._next = None
        if self._page is not None:
            # Those of `pages` alone see a Page, which is no whole sequence.
            self._next = self._page.next(self._token, response, records)  # type: ignore[arg-type]
        return records

    def _found(self, response: Response) -> list[Any]:
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

    def hand_out(self, records: list[Any] | Page, each: Callable[[Any], Any] | None) -> Iterable[Any]:
        """The records, followed through the stream if one is being read."""
        return self._followed(records, each) if isinstance(records, list) else records

    def _followed(self, records: list[Any], each: Callable[[Any], Any] | None) -> Iterator[Any]:
        track = self._track
        for record in records:
            if each is not None:
                record = each(record)
                if record is None:
                    continue
            if track is not None:
                track.give(record)
            yield record

    def turn(self, response: Response, records: list[Any] | Page) -> None:
        """Goes on to the next page, or ends.

        Raises:
            Upstream: The token repeats, the same page came again, or pages stay empty.
        """
        token = self._next
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

    text = json.dumps([method, path, params, body], sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
