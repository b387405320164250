"""An answer: status, headers, and the body as bytes, text or JSON values."""

from __future__ import annotations

import json as _json

from .errors import Upstream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._native import Json, Page, Track


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

    __slots__ = ("_body", "_text", "content", "headers", "status", "url")

    def __init__(self, status: int, headers: Headers, content: bytes, url: str) -> None:
        self.status = status
        self.headers = headers
        self.content = content
        self.url = url
        self._body: Any = self  # not parsed yet
        self._text: Any = self  # not looked at yet

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
            text = self._plain()
            self._body = self._loaded() if text is None else text.find()
        return self._body

    def find(self, at: str) -> Any:
        """The value at a dotted path of the JSON body; None if it is not there."""
        text = self._plain() if self._body is self else None
        if text is not None:
            try:
                return text.find(at)
            except LookupError:
                pass  # lists and objects are parts of what `json()` keeps
        from .pages import find

        return find(self.json(), at)

    def _page(self, at: str | None, track: Track | None) -> Page | None:
        """The records at a dotted path, to be made one by one; None where they are to be looked for in `json()`."""
        text = self._plain(at, track) if self._body is self else None
        return None if text is None else text.page(at, track)

    def _plain(self, at: str | None = None, track: Track | None = None) -> Json | None:
        # The body for the native reader, which leaves what is odd to Python's own.
        if self._text is self:
            from ._native import Json

            self._text = Json.parse(self.content, at, track)
        text: Json | None = self._text
        return text

    def _loaded(self) -> Any:
        try:
            return _json.loads(self.content)
        except ValueError as error:
            kind = self.headers.get("content-type", "no content type")
            raise Upstream(
                f"{self.url} answered {self.status} with a body that is no JSON ({kind}, "
                f"{len(self.content)} bytes): {error}",
                status=self.status,
            ) from None
