"""Test: one step after another, and the code of what failed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from caisson import Connector, errors
from caisson.testing import Api, Harness


def steps(run: Any) -> list[tuple[str, str]]:
    return [(each["name"], each["status"]) for each in run.steps]


class Asking(Connector[Any]):
    def test(self) -> None:
        self.client("https://api.example.com").get("/me")


class Telling(Connector[Any]):
    def test(self) -> Iterator[tuple[str, str]]:
        yield "authentication", "as nobody"
        yield "sample", "3 tables"


class Waiting(Connector[Any]):
    async def test(self) -> AsyncIterator[tuple[str, str]]:
        yield "sample", "one"
        raise errors.PermissionMissing("no tables")


class Silent(Connector[Any]):
    pass


class Plain(Connector[Any]):
    async def test(self) -> None:
        return None


def test_a_request_that_works_proves_authentication_and_permissions() -> None:
    run = Harness(Asking, api=Api(lambda _: {})).test().check()
    assert steps(run) == [("open", "passed"), ("authentication", "passed"), ("permissions", "passed")]


def test_an_author_may_tell_the_steps() -> None:
    assert steps(Harness(Telling).test().check()) == [
        ("open", "passed"), ("authentication", "passed"), ("sample", "passed"), ("test", "passed"),
    ]  # fmt: skip


def test_steps_before_the_one_that_failed_have_passed() -> None:
    run = Harness(Waiting).test()
    assert steps(run) == [
        ("open", "passed"), ("sample", "passed"), ("authentication", "passed"), ("permissions", "failed"),
    ]  # fmt: skip
    assert run.error is not None
    assert run.error.code == "PERMISSION_MISSING"


def test_a_connector_without_test_says_so() -> None:
    assert steps(Harness(Silent).test().check()) == [("open", "passed"), ("test", "skipped")]
    assert steps(Harness(Plain).test().check()) == [("open", "passed"), ("test", "passed")]


class Closed(Connector[Any]):
    def open(self) -> None:
        raise errors.ConfigInvalid("no such shop")


def test_a_connector_that_does_not_open_fails_at_its_first_step() -> None:
    run = Harness(Closed).test()
    assert steps(run) == [("open", "failed")]
    assert [kind for kind, _, _ in run.frames] == ["started", "step", "failed"]


@pytest.mark.parametrize(
    ("fault", "step", "code"),
    [
        ("dns", "dns", "DNS_FAILED"),
        ("tls", "tls", "TLS_FAILED"),
        ("connect", "connect", "UPSTREAM_UNAVAILABLE"),
        (401, "authentication", "CREDENTIALS_INVALID"),
        (403, "permissions", "PERMISSION_MISSING"),
    ],
)
def test_each_fault_ends_at_its_step(fault: int | str, step: str, code: str) -> None:
    harness = Harness(Asking, api=Api(lambda _: {}))
    with harness.fails_with(fault):
        run = harness.test()
    assert run.error is not None
    assert run.error.code == code
    assert run.steps[-1]["name"] == step
    assert run.steps[-1]["status"] == "failed"
    harness.test().check()
