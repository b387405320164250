"""Paginators: how an API names its next page.

    self.http.records("/orders", at="data", page=pages.next_link("links.next"))

Each knows the first request and, from an answer, the token of the next. A
token is JSON, so that a checkpoint can hold it. That a token repeats is an
error and never an endless loop; the client looks after that.
"""

# Authors read these as functions.
# ruff: noqa: N801

from __future__ import annotations

from .errors import Upstream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Protocol

    from ._response import Response

    class Paginator(Protocol):
        """What `records(page=…)` takes; write your own where none of these fits."""

        def first(self) -> Any:
            """The token of the first page; None if it needs nothing."""

        def parameters(self, token: Any) -> dict[str, Any]:
            """The query parameters of the page with this token."""

        def url(self, token: Any) -> str | None:
            """The whole address of the page with this token, where the token is one."""

        def next(self, token: Any, response: Response, records: Sequence[Any]) -> Any:
            """The token of the page after this answer; None if it was the last one.

            It is asked before the records are handed out, so that they are as the API gave them.
            """


__all__ = ["cursor", "last_id", "link_header", "next_link", "offset", "page_number"]


class _Page:
    def first(self) -> Any:
        return None

    def parameters(self, token: Any) -> dict[str, Any]:
        return {}

    def url(self, token: Any) -> str | None:
        return None

    def next(self, token: Any, response: Response, records: Sequence[Any]) -> Any:
        raise NotImplementedError


class next_link(_Page):
    """The body holds the address of the next page, whole or relative.

    Args:
        at: Where in the body, dotted.
    """

    def __init__(self, at: str = "next") -> None:
        self.at = at

    def url(self, token: Any) -> str | None:
        return token if isinstance(token, str) else None

    def next(self, token: Any, response: Response, records: Sequence[Any]) -> Any:
        return response.find(self.at) or None


class link_header(_Page):
    """The Link header names the next page (RFC 8288).

    Args:
        rel: The relation.
    """

    def __init__(self, rel: str = "next") -> None:
        self.rel = rel

    def url(self, token: Any) -> str | None:
        return token if isinstance(token, str) else None

    def next(self, token: Any, response: Response, records: Sequence[Any]) -> Any:
        return parse_link(response.headers.get("link", "")).get(self.rel)


class cursor(_Page):
    """The body holds a token that the next request sends back.

    Args:
        param: The query parameter.
        at: Where in the body the token is, dotted.
        more: Where in the body a flag says whether there is more, if one does.

    Raises:
        Upstream: The flag says that there is more, and there is no token.
    """

    def __init__(self, param: str = "cursor", at: str = "next_cursor", more: str | None = None) -> None:
        self.param = param
        self.at = at
        self.more = more

    def parameters(self, token: Any) -> dict[str, Any]:
        return {} if token is None else {self.param: token}

    def next(self, token: Any, response: Response, records: Sequence[Any]) -> Any:
        if self.more is not None and not response.find(self.more):
            return None
        found = response.find(self.at)
        if found is not None and found not in ("", False):
            return found
        if self.more is not None:
            raise _without_token(
                response, f"{self.more!r} says that there is more, and there is nothing at {self.at!r}"
            )
        return None


class _Counted(_Page):
    """Pages that are counted: over when one is empty, or shorter than ones the API was seen to fill.

    A first page that is short proves nothing (many APIs cap the size that is
    asked for), so one more is asked then.
    """

    size: int | None
    _full = False

    def _over(self, records: Sequence[Any]) -> bool:
        if self.size is not None and len(records) >= self.size:
            self._full = True
        return not records or (self._full and self.size is not None and len(records) < self.size)


class offset(_Counted):
    """Pages by the number of records before them.

    Args:
        param: The query parameter of the offset.
        size: Records asked for at a time.
        size_param: The query parameter of the size; "" to send none.
    """

    def __init__(self, param: str = "offset", size: int = 100, size_param: str = "limit") -> None:
        self.param = param
        self.size = size
        self.size_param = size_param

    def first(self) -> Any:
        return 0

    def parameters(self, token: Any) -> dict[str, Any]:
        asked: dict[str, Any] = {self.param: token}
        if self.size_param:
            asked[self.size_param] = self.size
        return asked

    def next(self, token: Any, response: Response, records: Sequence[Any]) -> Any:
        return None if self._over(records) else token + len(records)


class page_number(_Counted):
    """Pages by number.

    Args:
        param: The query parameter of the number.
        size: Records asked for at a time; None leaves it to the API.
        size_param: The query parameter of the size.
        start: The number of the first page.
    """

    def __init__(
        self, param: str = "page", size: int | None = None, size_param: str = "per_page", start: int = 1
    ) -> None:
        self.param = param
        self.size = size
        self.size_param = size_param
        self.start = start

    def first(self) -> Any:
        return self.start

    def parameters(self, token: Any) -> dict[str, Any]:
        asked: dict[str, Any] = {self.param: token}
        if self.size is not None:
            asked[self.size_param] = self.size
        return asked

    def next(self, token: Any, response: Response, records: Sequence[Any]) -> Any:
        return None if self._over(records) else token + 1


class last_id(_Counted):
    """Pages after the last record of the one before.

    Args:
        param: The query parameter that takes the last record's field.
        field: That field, dotted.
        more: Where in the body a flag says whether there is more, if one does; it alone decides then.
        size: Records asked for at a time; None leaves it to the API.
        size_param: The query parameter of the size.

    Raises:
        Upstream: There is more, and the last record lacks the field.
    """

    def __init__(
        self,
        param: str = "after",
        field: str = "id",
        more: str | None = None,
        size: int | None = None,
        size_param: str = "limit",
    ) -> None:
        self.param = param
        self.field = field
        self.more = more
        self.size = size
        self.size_param = size_param

    def parameters(self, token: Any) -> dict[str, Any]:
        asked: dict[str, Any] = {} if token is None else {self.param: token}
        if self.size is not None:
            asked[self.size_param] = self.size
        return asked

    def next(self, token: Any, response: Response, records: Sequence[Any]) -> Any:
        over = self._over(records) if self.more is None else not response.find(self.more)
        if over:
            return None
        found = find(records[-1], self.field) if records else None
        if found is None:
            last = f"the last record has no {self.field!r}" if records else f"{self.more!r} says so, without a record"
            raise _without_token(response, f"there is more, and {last}")
        return found


def _without_token(response: Response, why: str) -> Upstream:
    return Upstream(
        f"{response.url}: the next page cannot be asked for: {why}",
        status=response.status,
        action="Correct the paginator of this stream, or report it to the API's makers.",
    )


def find(body: Any, at: str) -> Any:
    """The value at a dotted path (a key that has dots itself wins); None if it is not there."""
    if isinstance(body, dict) and at in body:
        return body[at]
    for part in at.split("."):
        if isinstance(body, dict):
            body = body.get(part)
        elif isinstance(body, list) and part.lstrip("-").isdecimal() and -len(body) <= int(part) < len(body):
            body = body[int(part)]
        else:
            return None
    return body


def parse_link(value: str) -> dict[str, str]:
    """The targets of a Link header by relation (RFC 8288, section 3)."""
    import re

    found: dict[str, str] = {}
    for target, rest in re.findall(
        r"<([^>]*)>((?:\s*;\s*[\w!#$&+.^`|~*-]+(?:\s*=\s*(?:\"[^\"]*\"|[^\s\";,]+))?)*)", value
    ):
        relation = re.search(r";\s*rel\s*=\s*(?:\"([^\"]*)\"|([^\s\";,]+))", rest, re.IGNORECASE)
        if relation:
            for name in (relation.group(1) or relation.group(2) or "").lower().split():
                found.setdefault(name, target)
    return found
