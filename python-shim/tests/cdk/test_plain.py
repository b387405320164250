"""Records that nobody need look at: the encoder takes them by itself, and nobody can tell."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caisson import Checkpoint, Connector, Idle, _run, pages, stream
from caisson.testing import Api, Harness, Request, kill_after_each_checkpoint

Record = dict[str, Any]
SIZE = 3


class Kept(dict[str, Any]):
    """A record that is not exactly a dict."""


ITEMS: list[Any] = []


class Mixed(Connector[Any]):
    @stream(primary_key="id")
    def managed(self) -> Iterator[Any]:
        yield from ITEMS

    @stream()
    def owned(self, state: Any) -> Iterator[Any]:
        for number, item in enumerate(ITEMS[state or 0 :], state or 0):
            yield item
            if number % 7 == 6:
                yield Checkpoint(number + 1)


def item(number: int, kind: str) -> Any:
    record = {"id": number, "text": "x" * (number % 5)}
    made: dict[str, Any] = {
        "dict": record, "subclass": Kept(record), "mapping": MappingProxyType(record),
        "idle": Idle(0.0), "none": None,
    }  # fmt: skip
    return made[kind]


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Whether each record is looked at."""
    plain = {each: each.__dict__["_plain"] for each in (_run.StreamRun, _run.Managed)}

    def switch(on: bool) -> None:
        for each, usual in plain.items():
            monkeypatch.setattr(each, "_plain", property(lambda run: False) if on else usual)

    return switch


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(["dict"] * 12 + ["subclass", "mapping", "idle"]), max_size=120),
    st.sampled_from(["managed", "owned"]),
    st.sampled_from([0, 1, 31, 32, 33, 64]),
)
def test_nobody_can_tell_whether_records_were_looked_at(
    looked_at: Callable[[bool], None], kinds: list[str], name: str, limit: int
) -> None:
    ITEMS[:] = [item(number, kind) for number, kind in enumerate(kinds)]
    seen = []
    for on in (False, True):
        looked_at(on)
        run = Harness(Mixed).read(name, max_records=limit) if limit else Harness(Mixed).read(name)
        run.check()
        states = [checkpoint.state for checkpoint in run.checkpoints]
        seen.append((run.records, states, [each["status"] for each in run.statuses]))
    assert seen[0] == seen[1]


def test_a_record_that_does_not_fit_is_the_same_one(looked_at: Callable[[bool], None]) -> None:
    ITEMS[:] = [{"id": number, "text": "x"} for number in range(2000)]
    ITEMS[1777] = {"id": [], "text": "x"}
    seen = []
    for on in (False, True):
        looked_at(on)
        run = Harness(Mixed).read("managed")
        assert run.error is not None
        seen.append((run.error.code, run.error.message, len(run.records)))
    assert seen[0] == seen[1]


class Between(Connector[Any]):
    """Yields records of its own before, between and after pages of an API."""

    def open(self) -> None:
        self.http = self.client("https://shop.example.com")

    @stream(primary_key="id")
    def first(self) -> Iterator[Record]:
        yield from ({"id": -1 - number} for number in range(40))
        yield from self.http.records("/a", page=pages.page_number())
        yield {"id": -100}
        yield from self.http.records("/b", page=pages.page_number())

    @stream(primary_key="id")
    def later(self) -> Iterator[Record]:
        yield from self.http.records("/a", page=pages.page_number())
        yield from ({"id": -1 - number} for number in range(40))


def state(text: bytes) -> dict[str, Any]:
    """A checkpoint's state without the time at which its read began."""
    return {name: value for name, value in json.loads(text).items() if name != "began"}


def upstream(request: Request) -> Any:
    at = (int(request.params.get("page", 1)) - 1) * SIZE
    offset = 1000 if request.path.endswith("/b") else 0
    return {"data": [{"id": offset + number} for number in range(at, min(at + SIZE, 20))]}


@pytest.mark.parametrize("name", ["first", "later"])
def test_own_records_beside_pages_lose_none_wherever_a_worker_dies(name: str) -> None:
    harness = Harness(Between, api=Api(upstream))
    kill_after_each_checkpoint(harness, name, mode="full", key="id", every=1)


@pytest.mark.parametrize("name", ["first", "later"])
def test_a_checkpoint_between_own_records_and_pages_is_the_same(looked_at: Callable[[bool], None], name: str) -> None:
    seen = []
    for on in (False, True):
        looked_at(on)
        run = Harness(Between, api=Api(upstream)).read(name, checkpoint_every=1).check()
        seen.append((run.records, [state(checkpoint.state) for checkpoint in run.checkpoints]))
    assert seen[0] == seen[1]


def test_pages_that_come_first_are_followed() -> None:
    run = Harness(Between, api=Api(upstream)).read("later", checkpoint_every=1).check()
    assert len(run.checkpoints) >= 5
