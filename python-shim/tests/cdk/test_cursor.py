"""Cursor values are ordered by what they mean, and states keep them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caisson import errors
from caisson._cursor import precedes, unix_time
from caisson._state import decode, digests, encode


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00.5Z"),
        ("2024-01-01T00:00:00+02:00", "2024-01-01T00:00:00Z"),
        ("2024-01-01", "2024-01-01T00:00:01Z"),
        ("2024-01-01 10:00:00", "2024-01-01T11:00:00"),
        ("9", "10"),
        (9, 10),
        (9, 9.5),
        (Decimal("1.10"), Decimal("1.2")),
        ("a9", "b1"),
        (date(2024, 1, 1), date(2024, 1, 2)),
        (datetime(2024, 1, 1), datetime(2024, 1, 1, 1, tzinfo=UTC)),
        (datetime(2024, 1, 1, tzinfo=UTC), "2024-01-02"),
    ],
)
def test_older_precedes_newer(older: Any, newer: Any) -> None:
    assert precedes(older, newer)
    assert not precedes(newer, older)
    assert not precedes(older, older)


def test_values_that_cannot_be_compared_are_an_error_that_shows_neither() -> None:
    with pytest.raises(errors.SchemaViolation, match="int and str") as told:
        precedes(4711, "abc")
    assert "4711" not in str(told.value)


@given(st.datetimes(), st.datetimes(), st.integers(-12, 12), st.integers(-12, 12))
def test_offsets_and_fractions_do_not_disturb_the_order(a: datetime, b: datetime, x: int, y: int) -> None:
    one = a.replace(tzinfo=timezone(timedelta(hours=x)))
    other = b.replace(tzinfo=timezone(timedelta(hours=y)))
    assert precedes(one.isoformat(), other.isoformat()) == (one < other)


NOW = datetime(2024, 5, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2024-05-01T01:00:00Z", 3600),
        ("2024-05-01T00:00:00-03:00", 3 * 3600),
        ("2024-05-01T01:00:00", 3600),
        ("2024-05-02", 86_400),
        (date(2024, 5, 2), 86_400),
        (datetime(2024, 5, 1, 1), 3600),
        (int(NOW) + 60, 60),
        (NOW + 0.5, 0.5),
        (int(NOW + 60) * 1000, 60),
        (str(int(NOW) + 60), 60),
        (Decimal(int(NOW) + 60), 60),
        (17, None),
        (10**18, None),
        (10**400, None),
        ("17", None),
        ("text", None),
        (Decimal("NaN"), None),
        (float("nan"), None),
        (True, None),
        (None, None),
    ],
)
def test_a_value_that_may_be_a_time_is_one(value: Any, seconds: float | None) -> None:
    found = unix_time(value, NOW)
    assert found == (None if seconds is None else pytest.approx(NOW + seconds))


@pytest.mark.parametrize(
    "value",
    [
        "text", 17, 1.5, True, None, [1, {"a": 2}], datetime(2024, 1, 1, 2, 3, 4, 5, tzinfo=UTC),
        date(2024, 1, 1), Decimal("12.30"), b"\x00\xff", {"a": {"b": datetime(2024, 1, 1)}},
    ],
)  # fmt: skip
def test_a_state_comes_back_as_it_was(value: Any) -> None:
    assert decode(encode({"own": value})) == {"own": value}


@pytest.mark.parametrize("data", [b"{", b"[]", b"null", b"\xff", b"{}", b'{"own": 1}', b'"x"'])
def test_bytes_that_are_no_state_are_refused(data: bytes) -> None:
    with pytest.raises(errors.ConfigInvalid, match="not one that a caisson connector wrote"):
        decode(data)


def test_a_state_of_another_format_is_refused_with_both_formats() -> None:
    with pytest.raises(errors.ConfigInvalid, match="format 2, this connector reads format 1"):
        decode(b'{"v": 2}')
    assert decode(b"") == {}


def test_records_are_told_apart_by_content() -> None:
    one, same, other = {"a": 1, "b": "x"}, {"b": "x", "a": 1}, {"a": 2, "b": "x"}
    assert sorted(digests([one, same, other]).values()) == [1, 2]
