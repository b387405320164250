"""The order of cursor values, and the cursor that an author sees.

APIs give cursors as RFC 3339 text with and without fractions and offsets, as
dates, numbers, and numbers written as text. Comparing such text letter by
letter is wrong ("00Z" sorts after "00.5Z"), so values are compared by what
they mean.
"""

from __future__ import annotations

from datetime import UTC, date, datetime

from .errors import SchemaViolation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EPOCH_SPAN = 10 * 365 * 86_400
"""Seconds around now in which a number may be a point in time."""

_KNOWN: dict[str, datetime | None] = {}
_KNOWN_LIMIT = 4096


class Cursor:
    """How far a stream has been read. Ask the API for everything from `value` on, inclusively.

    Attributes:
        value: At first the value of the stream's `start` property, afterwards the
            newest value delivered (order "asc": moving with the records; otherwise
            moving at the end of a slice).
        initial: True if nothing has been read before.
    """

    __slots__ = ("initial", "value")

    def __init__(self, value: Any = None, *, initial: bool = True) -> None:
        self.value = value
        self.initial = initial

    def __repr__(self) -> str:
        return f"Cursor({self.value!r})"


def moment(value: Any) -> datetime | None:
    """The point in time that a value names, in UTC where it does not say; None if it names none."""
    if isinstance(value, str):
        if value in _KNOWN:
            return _KNOWN[value]
        if len(_KNOWN) >= _KNOWN_LIMIT:
            _KNOWN.clear()
        found = None
        if len(value) >= 10 and value[4] == "-" and value[7] == "-":
            try:
                found = _aware(datetime.fromisoformat(value))
            except ValueError:
                found = None
        _KNOWN[value] = found
        return found
    if isinstance(value, datetime):
        return _aware(value)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return None


def unix_time(value: Any, now: float) -> float | None:
    """The Unix time, in seconds, that a value names or may well name; None if it names none.

    A number, or a number written as text, is taken for seconds or milliseconds where that is within
    `EPOCH_SPAN` of `now`.
    """
    found = moment(value)
    if found is not None:
        return found.timestamp()
    kind = type(value)
    if not (kind in (int, float) or kind.__name__ == "Decimal" or (kind is str and value.isdecimal())):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return None
    return next((number / unit for unit in (1, 1000) if abs(number / unit - now) <= EPOCH_SPAN), None)


def _aware(value: datetime) -> datetime:
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


def precedes(left: Any, right: Any) -> bool:
    """True if `left` is older than `right`.

    Raises:
        SchemaViolation: The two cannot be compared.
    """
    one, other = moment(left), moment(right)
    if one is not None and other is not None:
        return one < other
    if type(left) is str and type(right) is str and left.isdecimal() and right.isdecimal():
        return int(left) < int(right)
    try:
        return bool(left < right)
    except TypeError:
        raise SchemaViolation(
            f"cursor values of different types: {type(left).__name__} and {type(right).__name__}",
            action="Make the cursor field one type, or declare no cursor.",
        ) from None
