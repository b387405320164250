"""When to try again: pure decisions on status, headers and time.

Retry-After comes as seconds or as an HTTP-date (RFC 9110, 10.2.3). Backoff is
exponential with full jitter (Brooker, "Exponential Backoff And Jitter").
"""

from __future__ import annotations

from datetime import UTC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})

BASE = 0.5
CAP = 30.0
QUOTA_BASE = 1.0
QUOTA_CAP = 60.0
LONGEST = 10 * 365 * 86_400.0
"""No wait that is named is believed beyond this many seconds."""

UNREACHED_RETRIES = 1
"""Retries of a host that does not resolve or refuses the connection. That is how a policy's no
looks from inside, and no waiting changes it."""

UNREACHED_CAP = 0.5
"""No wait before such a retry is longer, in seconds."""

JITTER = 0.1
"""The part of a named wait that is added at random, so that workers do not come back together."""


def asked_wait(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that the answer asks to wait; None if it does not say (or says nonsense).

    Args:
        headers: By lower-case name.
        now: Unix time.
    """
    value = headers.get("retry-after")
    if value is not None:
        seconds = _number(value)
        if seconds is None:
            seconds = _until(value, now)
        if seconds is not None:
            return min(max(0.0, seconds), LONGEST)
    for name in ("ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset"):
        if headers.get(name) and headers.get(name.replace("reset", "remaining"), "0").strip() in ("0", ""):
            seconds = _number(headers[name])
            if seconds is not None:
                # Some count down, some name a Unix time; no countdown is that long.
                return min(max(0.0, seconds - now if seconds > 1_000_000_000 else seconds), LONGEST)
    return None


def limited(status: int, headers: Mapping[str, str]) -> bool:
    """True if the answer is about a quota. Some APIs say 403 for it, with a header that tells."""
    if status == 429:
        return True
    if status not in (403, 503):
        return False
    return "retry-after" in headers or headers.get("x-ratelimit-remaining", "").strip() == "0"


def backoff(attempt: int, draw: float, base: float = BASE, cap: float = CAP) -> float:
    """Seconds before attempt number `attempt` (from 1), `draw` uniform in [0, 1)."""
    ceiling = min(cap, base * 2.0 ** min(attempt, 16))
    return ceiling * (0.5 + 0.5 * draw)


def unreached_wait(draw: float) -> float:
    """Seconds before a host that was not reached is tried again, `draw` uniform in [0, 1)."""
    return UNREACHED_CAP * (0.5 + 0.5 * draw)


def quota_wait(asked: float | None, attempt: int, draw: float) -> float:
    """Seconds to wait for a quota: what was asked and a little more, or backoff."""
    if asked is None or asked <= 0:
        return backoff(attempt, draw, QUOTA_BASE, QUOTA_CAP)
    return asked + min(1.0, asked * JITTER) * draw


def _number(value: str) -> float | None:
    value = value.strip()
    if not value or not value.replace(".", "", 1).replace("-", "", 1).isdecimal():
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _until(value: str, now: float) -> float | None:
    from email.utils import parsedate_to_datetime

    try:
        when = parsedate_to_datetime(value.strip())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return when.timestamp() - now
