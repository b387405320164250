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


def has_zone(value: Any) -> bool:
    """True for a point in time that says its own offset from UTC."""
    if isinstance(value, datetime):
        return value.tzinfo is not None
    if isinstance(value, str) and moment(value) is not None:
        return len(value) > 10 and (value[-1] in "Zz" or value[-6:-5] in ("+", "-"))
    return False


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
