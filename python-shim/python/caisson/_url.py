"""Addresses, as far as the client needs them: joining, queries, origins, and what may be shown."""

from __future__ import annotations

from urllib.parse import quote, urljoin, urlsplit, urlunsplit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

DEFAULT_PORTS = {"http": 80, "https": 443}


def join(base: str, path: str, *, relative: bool = False) -> str:
    """`path` appended to `base`; a whole address stays as it is.

    Args:
        base: An address without query.
        path: "/orders", "orders", or "https://…".
        relative: Resolve as a browser would (RFC 3986) instead of appending.
    """
    if "://" in path.partition("?")[0]:
        return path
    if relative:
        return urljoin(base, path)
    if not path:
        return base
    return f"{base}{path if path[0] in '/?' else '/' + path}"


def encode_query(url: str, params: Mapping[str, Any]) -> str:
    """`url` with parameters appended; None leaves one out, a list repeats it."""
    pairs = [
        f"{quote(str(name), safe='')}={quote(_text(each), safe='')}"
        for name, value in params.items()
        for each in (value if isinstance(value, (list, tuple)) else (value,))
        if each is not None
    ]
    if not pairs:
        return url
    url, hash_mark, fragment = url.partition("#")
    return url + ("&" if "?" in url else "?") + "&".join(pairs) + hash_mark + fragment


def without_parameter(url: str, name: str) -> str:
    """`url` without the query parameter `name`."""
    if "?" not in url:
        return url
    head, _, query = url.partition("?")
    wanted = quote(name, safe="")
    kept = [pair for pair in query.split("&") if pair.partition("=")[0] not in (name, wanted)]
    return head + ("?" + "&".join(kept) if kept else "")


def origin(url: str) -> str:
    """Scheme, host and port of an address, in one spelling."""
    parts = urlsplit(url)
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    port = parts.port or DEFAULT_PORTS.get(scheme, 0)
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def with_origin(url: str, other: str) -> str:
    """`url` at the scheme, host and port of `other`."""
    parts, there = urlsplit(url), urlsplit(other)
    return urlunsplit((there.scheme, there.netloc, parts.path, parts.query, parts.fragment))


def shown(url: str) -> str:
    """An address for messages: without query and user, where credentials may be."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def _text(value: Any) -> str:
    if value is True or value is False:
        return "true" if value else "false"
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return str(value)
