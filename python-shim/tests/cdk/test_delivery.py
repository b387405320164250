"""Nothing is lost and nothing comes twice, wherever a worker dies.

Every source here pages with ties of the cursor across pages, and is read
once whole and once more from each checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caisson import Connector, Cursor, Stream, pages, stream
from caisson.testing import Api, FakeClock, Harness, Request, kill_after_each_checkpoint

Record = dict[str, Any]


def orders(count: int, ties: int) -> list[Record]:
    """`ties` orders share each minute."""
    return [{"id": n, "updated_at": f"2024-01-01T00:{n // ties:02d}:00Z"} for n in range(count)]


class Upstream:
    """An API that filters inclusively, and pages by number, in three orders."""

    def __init__(self, rows: list[Record], size: int = 3) -> None:
        self.rows = rows
        self.size = size

    def __call__(self, request: Request) -> Any:
        order = request.path.rpartition("/")[2]
        rows = sorted(self.rows, key=lambda row: str(row["updated_at"]))
        if order == "desc":
            rows.reverse()
        elif order == "mixed":
            rows = sorted(self.rows, key=lambda row: int(row["id"]) * 7919 % 101)
        since = request.params.get("since", "")
        rows = [row for row in rows if row["updated_at"] >= since]
        at = (int(request.params.get("page", 1)) - 1) * self.size
        return {"data": rows[at : at + self.size]}


class Shop(Connector[Any]):
    def open(self) -> None:
        self.http = self.client("https://shop.example.com")

    def _pages(self, order: str, since: Cursor) -> Iterator[Record]:
        return self.http.records(f"/{order}", {"since": since.value}, page=pages.page_number())

    @stream(primary_key="id", cursor="updated_at", order="asc")
    def asc(self, since: Cursor) -> Iterator[Record]:
        yield from self._pages("asc", since)

    @stream(primary_key="id", cursor="updated_at", order="desc")
    def desc(self, since: Cursor) -> Iterator[Record]:
        yield from self._pages("desc", since)

    @stream(primary_key="id", cursor="updated_at")
    def mixed(self, since: Cursor) -> Iterator[Record]:
        yield from self._pages("mixed", since)

    @stream(cursor="updated_at", order="asc")
    def keyless(self, since: Cursor) -> Iterator[Record]:
        yield from self._pages("asc", since)

    @stream(primary_key="id", cursor="updated_at")
    async def asynchronous(self, since: Cursor) -> AsyncIterator[Record]:
        async for record in self.http.arecords("/desc", {"since": since.value}, page=pages.page_number()):
            yield record

    @stream(primary_key="id", cursor="updated_at")
    def dropping(self, since: Cursor) -> Iterator[Record]:
        for record in self._pages("desc", since):
            if record["id"] % 4:
                yield record

    @stream(primary_key="id", cursor="updated_at")
    def rebuilt(self, since: Cursor) -> Iterator[Record]:
        for record in self._pages("desc", since):
            yield {"id": record["id"], "updated_at": record["updated_at"]}

    @stream(primary_key="id", cursor="updated_at")
    def mapped(self, since: Cursor) -> Iterator[Record]:
        yield from self.http.records(
            "/desc",
            {"since": since.value},
            page=pages.page_number(),
            map=lambda record: {**record, "new": True} if record["id"] != 5 else None,
        )

    @stream(primary_key="id", cursor="updated_at")
    def collected(self, since: Cursor) -> Iterator[Record]:
        yield from sorted(self._pages("desc", since), key=lambda record: str(record["id"]))

    @stream(primary_key="id", cursor="updated_at")
    def buffered(self, since: Cursor) -> Iterator[Record]:
        held: list[Record] = []
        for record in self._pages("desc", since):
            held.append(record)
            if len(held) == 5:
                yield from held
                held = []
        yield from held

    @stream(primary_key="id", cursor="updated_at")
    def late(self, since: Cursor) -> Iterator[Record]:
        held: list[Record] = []
        for record in self._pages("desc", since):
            if record["id"] % 4:
                yield record
            else:
                held.append(record)
        yield from held


STREAMS = ["late", "asc", "desc", "mixed", "asynchronous", "dropping", "rebuilt", "mapped", "collected", "buffered"]


@pytest.mark.parametrize("mode", ["full", "incremental"])
@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize(("count", "ties"), [(20, 4), (21, 1), (12, 12), (1, 1), (0, 1), (9, 3)])
def test_a_worker_may_die_after_any_checkpoint(name: str, mode: str, count: int, ties: int) -> None:
    shop = Harness(Shop, api=Api(Upstream(orders(count, ties))))
    read = kill_after_each_checkpoint(shop, name, mode=mode, key="id", cursor="updated_at")
    dropped = {"dropping": (count + 3) // 4, "mapped": int(count > 5)}.get(name, 0)
    assert len(read) == count - dropped


@pytest.mark.parametrize("name", ["asc", "desc", "mixed", "asynchronous", "mapped", "buffered"])
def test_a_long_stream_has_checkpoints_in_its_middle(name: str) -> None:
    shop = Harness(Shop, api=Api(Upstream(orders(20, 4))))
    assert len(shop.read(name, checkpoint_every=1).check().checkpoints) >= 3


@pytest.mark.parametrize("name", ["rebuilt", "collected"])
def test_where_nobody_knows_what_went_through_there_is_only_the_last_checkpoint(name: str) -> None:
    shop = Harness(Shop, api=Api(Upstream(orders(20, 4))))
    assert [each.final for each in shop.read(name, checkpoint_every=1).check().checkpoints] == [True]


@pytest.mark.parametrize("name", STREAMS)
def test_the_next_read_brings_what_is_new_at_and_after_the_boundary_and_nothing_else(name: str) -> None:
    upstream = Upstream(orders(10, 5))
    shop = Harness(Shop, api=Api(upstream))
    first = shop.read(name).check()
    upstream.rows = [*upstream.rows, {"id": 101, "updated_at": "2024-01-01T00:01:00Z"},
                     {"id": 102, "updated_at": "2024-01-01T00:02:00Z"}]  # fmt: skip
    second = shop.read(name, state=first.state).check()
    assert sorted(each["id"] for each in second.records) == [101, 102]
    third = shop.read(name, state=second.state).check()
    assert third.records == []
    assert third.state == second.state


@pytest.mark.parametrize("name", ["asc", "desc", "mixed"])
def test_a_record_that_changed_within_the_boundarys_second_is_not_taken_for_the_old_one(name: str) -> None:
    upstream = Upstream([{"id": 1, "updated_at": "2024-01-01T00:00:00Z", "paid": False}])
    shop = Harness(Shop, api=Api(upstream))
    first = shop.read(name).check()
    upstream.rows = [{"id": 1, "updated_at": "2024-01-01T00:00:00Z", "paid": True}]
    second = shop.read(name, state=first.state).check()
    assert [each["paid"] for each in second.records] == [True]


@pytest.mark.parametrize("name", ["asc", "desc", "mixed"])
def test_a_state_far_in_the_future_gives_nothing_and_does_not_fail(name: str) -> None:
    shop = Harness(Shop, api=Api(Upstream(orders(10, 5))))
    state = json.dumps({"v": 1, "cursor": "2999-01-01T00:00:00Z", "keys": {}}).encode()
    read = shop.read(name, state=state).check()
    assert read.records == []
    assert json.loads(read.state or b"")["cursor"] == "2999-01-01T00:00:00Z"


def test_an_api_that_does_not_filter_is_filtered() -> None:
    rows = orders(10, 2)
    shop = Harness(Shop, api=Api(lambda request: {"data": rows if request.params["page"] == "1" else []}))
    first = shop.read("asc").check()
    rows.append({"id": 10, "updated_at": "2024-01-01T00:05:00Z"})
    assert [each["id"] for each in shop.read("asc", state=first.state).check().records] == [10]


def test_records_without_a_key_that_are_equal_are_each_delivered_once() -> None:
    row = {"id": 1, "updated_at": "2024-01-01T00:00:00Z"}
    upstream = Upstream([row, dict(row)])
    shop = Harness(Shop, api=Api(upstream))
    first = shop.read("keyless").check()
    assert len(first.records) == 2
    upstream.rows = [row, dict(row), dict(row)]
    assert len(shop.read("keyless", state=first.state).check().records) == 1


def test_a_source_that_is_not_in_the_order_it_declares_is_refused() -> None:
    rows = [{"id": 1, "updated_at": "2024-01-02"}, {"id": 2, "updated_at": "2024-01-01"}]
    shop = Harness(Shop, api=Api(lambda _: {"data": rows}))
    read = shop.read("asc")
    assert read.error is not None
    assert read.error.code == "SCHEMA_VIOLATION"
    assert "order='asc' is declared" in read.error.message
    assert [each["id"] for each in read.records] == [1]
    assert json.loads(read.state or b"")["cursor"] == "2024-01-02"


def test_newest_first_stops_asking_where_it_was_before() -> None:
    upstream = Upstream(orders(30, 1))
    api = Api(lambda request: upstream(Request(request.method, request.url.replace("since=2024", "x="), [], None)))
    shop = Harness(Shop, api=api)
    first = shop.read("desc").check()
    asked = len(api.requests)
    assert shop.read("desc", state=first.state).check().records == []
    assert len(api.requests) - asked == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("2024-01-01T00:00:00Z", "2999-01-01T00:00:00Z"),
        ("2024-01-01T00:00:00", "2999-01-01T00:00:00"),
        ("2024-01-01", "2999-01-01"),
        (1_700_000_000, 1_714_521_660),
        (1_700_000_000_000, 1_714_521_660_000),
        ("1700000000", "1714521660"),
    ],
)
def test_without_order_the_cursor_does_not_pass_the_moment_the_slice_began(before: Any, after: Any) -> None:
    rows = [{"id": 1, "updated_at": before}, {"id": 2, "updated_at": after}]
    clock = FakeClock(1_714_521_600.0)
    shop = Harness(Shop, api=Api(lambda request: {"data": rows if request.params["page"] == "1" else []}), clock=clock)
    read = shop.read("mixed").check()
    assert len(read.records) == 2
    assert json.loads(read.state or b"")["cursor"] == before


def test_without_order_numbers_that_are_no_times_move_the_cursor() -> None:
    rows = [{"id": n, "updated_at": n} for n in range(1, 4)]
    shop = Harness(Shop, api=Api(lambda request: {"data": rows if request.params["page"] == "1" else []}))
    assert json.loads(shop.read("mixed").check().state or b"")["cursor"] == 3


class Projects(Connector[Any]):
    """Children behind parents, as most APIs have them."""

    def open(self) -> None:
        self.http = self.client("https://tracker.example.com")

    @stream(primary_key="id")
    def issues(self) -> Iterator[Record]:
        for project in self.http.records("/projects", page=pages.page_number()):
            yield from self.http.records(f"/projects/{project['id']}/issues", page=pages.page_number())

    @stream(primary_key="id")
    def collected(self) -> Iterator[Record]:
        projects = list(self.http.records("/projects", page=pages.page_number()))
        for project in projects:
            yield from self.http.records(f"/projects/{project['id']}/issues", page=pages.page_number())

    @stream(primary_key="id")
    def both(self) -> Iterator[Record]:
        projects = list(self.http.records("/projects", page=pages.page_number()))
        for project in projects:
            yield project
            yield from self.http.records(f"/projects/{project['id']}/issues", page=pages.page_number())


def tracker(request: Request) -> Any:
    parts = request.path.split("/")
    page = int(request.params["page"])
    if len(parts) == 2:
        return {"data": [{"id": n} for n in range(5)][(page - 1) * 2 : page * 2]}
    project = int(parts[2])
    issues = [{"id": 100 + project * 10 + n} for n in range(project)]
    return {"data": issues[(page - 1) * 2 : page * 2]}


@pytest.mark.parametrize(("name", "count"), [("issues", 10), ("collected", 10), ("both", 15)])
def test_children_of_parents_are_whole_after_a_death(name: str, count: int) -> None:
    harness = Harness(Projects, api=Api(tracker))
    expected = {json.dumps(each) for each in harness.read(name).check().records}
    assert len(expected) == count
    whole = harness.read(name, checkpoint_every=1).check()
    for checkpoint in whole.checkpoints[:-1]:
        rest = harness.read(name, state=checkpoint.state, checkpoint_every=1).check()
        got = {json.dumps(each) for each in [*whole.records[: checkpoint.before], *rest.records]}
        assert got == expected, checkpoint
    if name != "both":
        assert len(whole.checkpoints) > 3


class Dynamic(Connector[Any]):
    def list(self) -> Iterator[Stream]:
        for name in ("asc", "desc"):
            yield Stream(name, primary_key="id", cursor="updated_at", order=name, extra=name)

    def read(self, stream: Stream, since: Cursor) -> Iterator[Record]:
        http = self.client("https://shop.example.com")
        yield from http.records(f"/{stream.extra}", {"since": since.value}, page=pages.page_number())


@pytest.mark.parametrize("name", ["asc", "desc"])
def test_streams_that_are_discovered_have_the_same_care(name: str) -> None:
    shop = Harness(Dynamic, api=Api(Upstream(orders(20, 4))))
    assert len(kill_after_each_checkpoint(shop, name, key="id", cursor="updated_at")) == 20


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    minutes=st.lists(st.integers(0, 6), max_size=14),
    size=st.integers(1, 5),
    name=st.sampled_from(["asc", "desc", "mixed", "mapped"]),
    later=st.lists(st.integers(0, 6), max_size=5),
)
def test_whatever_the_ties_and_pages_a_second_run_completes_the_first(
    minutes: list[int], size: int, name: str, later: list[int]
) -> None:
    rows = [{"id": n + 6, "updated_at": f"2024-01-01T00:{minute:02d}:00Z"} for n, minute in enumerate(minutes)]
    upstream = Upstream(rows, size)
    shop = Harness(Shop, api=Api(upstream))
    read = kill_after_each_checkpoint(shop, name, mode="incremental", key="id", cursor="updated_at")
    assert len(read) == len(rows)
    state = shop.read(name).check().state
    newest = max(minutes, default=0)
    upstream.rows = rows + [
        {"id": 1000 + n, "updated_at": f"2024-01-01T00:{newest + minute:02d}:00Z"} for n, minute in enumerate(later)
    ]
    second = shop.read(name, state=state).check()
    assert sorted(each["id"] for each in second.records) == [1000 + n for n in range(len(later))]
