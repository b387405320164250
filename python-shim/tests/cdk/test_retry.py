"""When to try again, as a table."""

from __future__ import annotations

import pytest

from caisson._retry import LONGEST, asked_wait, backoff, limited, quota_wait

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": " 2 "}, 2.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:30 GMT"}, 10.0),
        ({"retry-after": "Tuesday, 14-Nov-23 22:13:30 GMT"}, 10.0),
        ({"retry-after": "Tue Nov 14 22:13:30 2023"}, 10.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:00 GMT"}, 0.0),
        ({"retry-after": "99999999999999999999999"}, LONGEST),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "1e400"}, None),
        ({"retry-after": "Tue, 99 Nov 2023 99:99:99 GMT"}, None),
        ({}, None),
        ({"x-ratelimit-reset": "30", "x-ratelimit-remaining": "0"}, 30.0),
        ({"x-ratelimit-reset": "1700000012", "x-ratelimit-remaining": "0"}, 12.0),
        ({"x-ratelimit-reset": "30", "x-ratelimit-remaining": "7"}, None),
        ({"ratelimit-reset": "4"}, 4.0),
        ({"retry-after": "soon", "ratelimit-reset": "4"}, 4.0),
    ],
)
def test_what_an_answer_asks_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert asked_wait(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (429, {}, True),
        (503, {"retry-after": "1"}, True),
        (503, {}, False),
        (403, {}, False),
        (403, {"x-ratelimit-remaining": "0"}, True),
        (403, {"retry-after": "60"}, True),
        (500, {"retry-after": "1"}, False),
    ],
)
def test_which_answers_are_about_a_quota(status: int, headers: dict[str, str], expected: bool) -> None:
    assert limited(status, headers) is expected


def test_backoff_grows_is_capped_and_has_jitter() -> None:
    assert [backoff(n, 0.0) for n in (1, 2, 3, 4)] == [0.5, 1.0, 2.0, 4.0]
    assert backoff(1, 0.999) > backoff(1, 0.0)
    assert backoff(1000, 0.999) <= 30.0


def test_a_named_wait_is_kept_with_a_little_more_and_a_past_one_backs_off() -> None:
    assert quota_wait(2.0, 1, 0.0) == 2.0
    assert 2.0 < quota_wait(2.0, 1, 0.9) <= 2.2
    assert quota_wait(100.0, 1, 0.999) <= 101.0
    assert quota_wait(0.0, 1, 0.0) == quota_wait(None, 1, 0.0) == 1.0
