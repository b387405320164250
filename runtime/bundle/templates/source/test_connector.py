"""{{title}} against recorded traffic: no network, no key, no waiting."""

from __future__ import annotations

import pytest
from caisson.testing import Harness, Outcome, kill_after_each_checkpoint


@pytest.fixture
def source() -> Harness:
    """The connector with the traffic of tests/cassettes/api.har."""
    return Harness(".", config={"api_key": "k"}, cassette="tests/cassettes/api.har")


def code(run: Outcome) -> str:
    """The stable code that a call failed with; empty if it did not."""
    return run.error.code if run.error else ""


def test_the_key_is_tested(source: Harness) -> None:
    assert source.test().ok


def test_every_stream_is_listed(source: Harness) -> None:
    assert [found["name"] for found in source.list().objects] == ["orders", "customers"]


def test_orders_are_read_across_pages(source: Harness) -> None:
    run = source.read("orders")
    assert run.ok
    assert [record["id"] for record in run.records] == [1, 2, 3]


def test_customers_are_read(source: Harness) -> None:
    assert [record["name"] for record in source.read("customers").records] == ["Ada", "Grace"]


def test_nothing_is_lost_wherever_the_worker_is_killed(source: Harness) -> None:
    assert len(kill_after_each_checkpoint(source, "orders")) == 3


def test_a_refused_key_is_told_as_such(source: Harness) -> None:
    source.fails_with(401)
    assert code(source.test()) == "CREDENTIALS_INVALID"


def test_a_quota_is_waited_for(source: Harness) -> None:
    source.fails_with(429, retry_after=2, times=1)
    assert source.read("orders").throttled_seconds >= 2


def test_an_upstream_that_stays_broken_is_told_as_such(source: Harness) -> None:
    source.fails_with(500)
    assert code(source.read("orders")) == "UPSTREAM_UNAVAILABLE"
