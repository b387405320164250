"""The state of a stream as bytes: JSON, versioned, readable by people.

{"v": 1, "own": …}                        the author's own state
{"v": 1, "cursor": …, "keys": {…}}        everything up to cursor is delivered;
                                          keys: digests of the records at it
{…, "pages": {…}, "upper": …, "upper_keys": {…}, "began": …}
                                          in the middle of a slice that is not in
                                          order: cursor still stands, pages are done
{…, "partial": true}                      a full read that was not finished
"""

from __future__ import annotations

import json

from .errors import ConfigInvalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

VERSION = 1


def encode(state: dict[str, Any]) -> bytes:
    """The bytes of a checkpoint.

    Raises:
        TypeError: The author's state holds what JSON cannot.
    """
    whole = {"v": VERSION, **state}
    return json.dumps(whole, default=_tagged, separators=(",", ":"), sort_keys=True).encode()


def decode(data: bytes) -> dict[str, Any]:
    """The state in `data`; {} for empty bytes.

    Raises:
        ConfigInvalid: Not a state that this version can read.
    """
    if not data:
        return {}
    try:
        state = json.loads(data, object_hook=_untagged)
        version = state.pop("v")
    except (ValueError, KeyError, AttributeError, TypeError):
        raise ConfigInvalid(
            "the state is not one that a caisson connector wrote",
            action="Read from the beginning, or from an earlier checkpoint.",
        ) from None
    if version != VERSION:
        raise ConfigInvalid(
            f"the state has format {version!r}, this connector reads format {VERSION}",
            action="Read from the beginning, or use the connector version that wrote it.",
        )
    return dict(state)


def digests(records: Iterable[dict[str, Any]], into: dict[str, int] | None = None) -> dict[str, int]:
    """How often each record occurs, by a digest of its content (64 bits of BLAKE2b, RFC 7693)."""
    counts = dict(into) if into else {}
    for record in records:
        name = digest(record)
        counts[name] = counts.get(name, 0) + 1
    return counts


def digest(record: dict[str, Any]) -> str:
    """A short name for a record's content."""
    import hashlib

    text = json.dumps(record, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _tagged(value: Any) -> dict[str, str]:
    for name in ("isoformat",):
        if hasattr(value, name):
            return {f"${type(value).__name__}": value.isoformat()}
    kind = type(value).__name__
    if kind == "Decimal":
        return {"$Decimal": str(value)}
    if isinstance(value, (bytes, bytearray)):
        return {"$bytes": value.hex()}
    raise TypeError(f"a state holds JSON values, dates, decimals and bytes, not {kind}")


def _untagged(found: dict[str, Any]) -> Any:
    if len(found) != 1:
        return found
    ((tag, text),) = found.items()
    if tag in ("$datetime", "$date", "$time"):
        import datetime

        return getattr(datetime, tag[1:]).fromisoformat(text)
    if tag == "$Decimal":
        from decimal import Decimal

        return Decimal(text)
    if tag == "$bytes":
        return bytes.fromhex(text)
    return found
