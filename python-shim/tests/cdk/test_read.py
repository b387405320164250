"""Read: hooks in all their forms, modes, states of the author, and what goes wrong."""

from __future__ import annotations

import json
import os
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from caisson import Checkpoint, Connector, Cursor, Idle, Settings, Stream, errors, stream
from caisson.testing import Harness, kill_after_each_checkpoint

Record = dict[str, Any]
ROWS = [{"id": n} for n in range(5)]
WRONG: Any = "wrong"


class Forms(Connector[Any]):
    @stream()
    def generator(self) -> Iterator[Record]:
        yield from ROWS

    @stream()
    def sequence(self) -> list[Record]:
        return ROWS

    @stream()
    async def coroutine(self) -> list[Record]:
        return ROWS

    @stream()
    async def asynchronous(self) -> AsyncIterator[Record]:
        for row in ROWS:
            yield row

    @stream("other-name", title="Another")
    def named(self) -> Iterator[Record]:
        yield from ROWS


@pytest.mark.parametrize("name", ["generator", "sequence", "coroutine", "asynchronous", "other-name"])
def test_a_stream_may_be_written_in_any_form(name: str) -> None:
    run = Harness(Forms).read(name).check()
    assert run.records == ROWS
    assert [each["status"] for each in run.statuses] == ["started", "running", "complete"]
    assert run.checkpoints[-1].final
    assert json.loads(run.state or b"") == {"v": 1}


def test_all_streams_are_read_one_after_another_when_none_is_named() -> None:
    run = Harness(Forms).read().check()
    assert list(run.by_stream) == ["generator", "sequence", "coroutine", "asynchronous", "other-name"]
    order = [(kind, fields.get("stream")) for kind, fields, _ in run.frames if kind in ("batch", "checkpoint")]
    assert [name for _, name in order] == [name for name in run.by_stream for _ in range(2)]


def test_started_comes_after_open_and_before_anything_else() -> None:
    frames = [kind for kind, _, _ in Harness(Forms).read("generator").check().frames]
    assert frames[0] == "started"
    assert frames[-1] == "done"


def test_a_limit_ends_the_stream_after_so_many_records() -> None:
    run = Harness(Forms).read("generator", max_records=2).check()
    assert run.records == ROWS[:2]
    assert not any(each.final for each in run.checkpoints)


@pytest.mark.parametrize(
    ("stream_name", "mode", "told"),
    [
        ("none", "", "there is no stream 'none'; there is: generator, sequence"),
        ("generator", "incremental", "cannot be read in mode 'incremental'; it has: full"),
        ("generator", "streaming", "cannot be read in mode 'streaming'"),
    ],
)
def test_a_stream_or_mode_that_does_not_exist_is_named(stream_name: str, mode: str, told: str) -> None:
    run = Harness(Forms).read(stream_name, mode=mode)
    assert run.error is not None
    assert run.error.code == "CONFIG_INVALID"
    assert told in run.error.message
    assert run.error.action


class Stateful(Connector[Any]):
    """Keeps its own state; `total` may grow between calls."""

    total = 10

    @stream(primary_key="id")
    def numbers(self, state: Any) -> Iterator[Any]:
        for number in range(state["next"] if state else 0, self.total):
            yield {"id": number}
            if number % 3 == 2:
                yield Checkpoint({"next": number + 1})
        yield Checkpoint({"next": self.total})

    @stream(partitions=["a", "b"])
    def parts(self, partition: str, state: Any, mode: str, stream: Stream) -> Iterator[Record]:
        assert stream.partition == partition
        yield {"part": partition, "mode": mode}

    @stream()
    def forgetful(self) -> Iterator[Any]:
        yield Checkpoint(1)


def test_an_authors_own_state_comes_back() -> None:
    harness = Harness(Stateful)
    first = harness.read("numbers").check()
    assert [each.before for each in first.checkpoints] == [3, 6, 9, 10, 10]
    second = harness.read("numbers", state=first.checkpoints[1].state).check()
    assert [each["id"] for each in second.records] == [6, 7, 8, 9]
    assert harness.read("numbers", state=first.state).check().records == []


@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_an_authors_own_state_survives_a_death_anywhere(mode: str) -> None:
    assert len(kill_after_each_checkpoint(Harness(Stateful), "numbers", mode=mode, key="id")) == 10


def test_a_complete_full_read_starts_again() -> None:
    harness = Harness(Stateful)
    first = harness.read("numbers", mode="full").check()
    assert len(harness.read("numbers", mode="full", state=first.state).check().records) == 10


def test_partitions_modes_and_the_stream_are_given_by_name() -> None:
    run = Harness(Stateful).read("parts", partition="b", mode="full").check()
    assert run.records == [{"part": "b", "mode": "full"}]
    assert {each["partition"] for each in run.statuses} == {"b"}
    assert run.checkpoints[0].partition == "b"


def test_a_stream_that_is_read_whole_is_read_part_after_part_with_the_states_there_are() -> None:
    harness = Harness(Stateful)
    run = harness.read("parts").check()
    assert [each["part"] for each in run.records] == ["a", "b"]
    started = [each["partition"] for each in run.statuses if each["status"] == "started"]
    assert started == ["a", "b"]
    entries = [{"name": "parts"}, {"name": "parts", "partition": "b", "state": b'{"v": 1, "own": 7}'}]
    again = harness.read(streams=entries, all_streams=False).check()
    own = [(each.partition, json.loads(each.state)["own"]) for each in again.checkpoints]
    assert own == [("a", None), ("b", 7)]


def test_all_streams_take_the_states_that_there_are() -> None:
    entries = [{"name": "numbers", "state": b'{"v": 1, "own": {"next": 9}}'}, {"name": "gone", "state": b"{}"}]
    run = Harness(Stateful).read(streams=entries, all_streams=True)
    assert [each["id"] for each in run.by_stream["numbers"]] == [9]
    assert [each["part"] for each in run.by_stream["parts"]] == ["a", "b"]


def test_checkpoints_of_one_call_have_ids_of_their_own() -> None:
    ids = [each.id for each in Harness(Stateful).read("numbers", "parts").check().checkpoints]
    assert len(set(ids)) == len(ids)


def test_a_checkpoint_without_a_place_to_return_to_is_refused() -> None:
    run = Harness(Stateful).read("forgetful")
    assert run.error is not None
    assert run.error.code == "CONNECTOR_FAILED"
    assert "takes no `state`" in run.error.message


class Failing(Connector[Any]):
    @stream(cursor="at", order="asc", primary_key="id")
    def orders(self, since: Cursor) -> Iterator[Record]:
        yield {"id": 1, "at": 1}
        yield {"id": 2, "at": 2}
        raise ZeroDivisionError("by canary")

    @stream()
    def coded(self) -> Iterator[Record]:
        yield {"id": 1}
        raise errors.QuotaExhausted("come back", retry_at=1_800_000_000.5, action="Wait for the new month.")

    @stream()
    def wrong(self) -> Iterator[Any]:
        yield "a text"

    @stream()
    def memory(self) -> Iterator[Any]:
        raise MemoryError
        yield

    @stream()
    def disk(self) -> Iterator[Any]:
        raise OSError(28, "No space left on device")
        yield

    @stream()
    def forks(self) -> Iterator[Any]:
        # Root is not held by this limit.
        if os.geteuid() == 0:
            os.setuid(64_000)
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        yield {"child": os.fork()}

    @stream()
    def blocks(self) -> Iterator[Any]:
        ours, _theirs = socket.socketpair()
        ours.setblocking(False)
        yield {"got": ours.recv(1).hex()}

    @stream()
    def deep(self) -> Iterator[Any]:
        def down(level: int) -> None:
            if level:
                down(level - 1)
            raise ValueError("x" * 100_000)

        down(50)
        yield {}


def test_a_failure_delivers_what_was_read_and_its_checkpoint_first() -> None:
    run = Harness(Failing).read("orders")
    assert [each["id"] for each in run.records] == [1, 2]
    assert json.loads(run.state or b"")["cursor"] == 2
    assert not run.checkpoints[-1].final
    assert run.error is not None
    assert (run.error.code, run.error.exception) == ("CONNECTOR_FAILED", "ZeroDivisionError")
    assert "by canary" in run.error.message
    assert "in orders" in run.error.traceback
    assert [each["status"] for each in run.statuses] == ["started", "running"]


def test_an_error_of_the_author_keeps_its_code_time_and_action() -> None:
    run = Harness(Failing).read("coded")
    assert run.error is not None
    assert run.error.code == "QUOTA_EXHAUSTED"
    assert run.error.retry_at == 1_800_000_000.5
    assert run.error.action == "Wait for the new month."
    assert run.error.stream == "coded"
    assert run.records == [{"id": 1}]


@pytest.mark.parametrize(
    ("name", "code"), [("memory", "MEMORY_EXHAUSTED"), ("disk", "DISK_EXHAUSTED"), ("wrong", "CONNECTOR_FAILED")]
)
def test_an_exception_that_has_a_code_gets_it(name: str, code: str) -> None:
    run = Harness(Failing).read(name)
    assert run.error is not None
    assert run.error.code == code


@pytest.mark.parametrize(("name", "code"), [("forks", "PROCESS_LIMIT"), ("blocks", "CONNECTOR_FAILED")])
def test_eagain_is_the_limit_of_processes_at_a_fork_alone(name: str, code: str) -> None:
    """In a process of its own, whose limit is lowered for good."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        # Everything is imported before it is another user, who may not be able to.
        Harness(Failing).read("wrong")
        run = Harness(Failing).read(name)
        os.write(theirs, (run.error.code if run.error else "none").encode())
        os._exit(0)
    os.close(theirs)
    os.waitpid(child, 0)
    assert os.read(ours, 100).decode() == code
    os.close(ours)


def test_a_long_traceback_is_cut_in_its_middle() -> None:
    run = Harness(Failing).read("deep")
    assert run.error is not None
    assert len(run.error.traceback) <= 64 * 1024
    assert "[... cut ...]" in run.error.traceback
    assert len(run.error.message) <= 8 * 1024


class Start(Settings):
    start_date: str = "2020-01-01"
    from_day: str | None = "2021-05-05"


class Starting(Connector[Start]):
    @stream(cursor="at", primary_key="id")
    def usual(self, since: Cursor) -> Iterator[Record]:
        yield {"id": 1, "at": "2024-01-01", "since": since.value, "initial": since.initial}

    @stream(cursor="at", start="from_day", primary_key="id")
    def named(self, since: Cursor) -> Iterator[Record]:
        yield {"id": 1, "at": "2024-01-01", "since": since.value, "initial": since.initial}


def test_a_cursor_starts_where_the_configuration_says() -> None:
    harness = Harness(Starting)
    first = harness.read("usual").check()
    assert (first.records[0]["since"], first.records[0]["initial"]) == ("2020-01-01", True)
    assert harness.read("named").check().records[0]["since"] == "2021-05-05"
    again = Harness(Starting, {"start_date": "2022-02-02"}).read("usual").check()
    assert again.records[0]["since"] == "2022-02-02"
    state = b'{"v": 1, "cursor": "2023-01-01", "keys": {}}'
    later = harness.read("usual", state=state).check()
    assert (later.records[0]["since"], later.records[0]["initial"]) == ("2023-01-01", False)


@pytest.mark.parametrize("state", [b"nonsense", b'{"v": 9}', b'{"v": 1, "own": {"next": 1}}'])
def test_a_state_that_cannot_be_read_is_refused_clearly(state: bytes) -> None:
    run = Harness(Starting).read("usual", state=state)
    assert run.error is not None
    assert run.error.code == "CONFIG_INVALID"
    assert "beginning" in run.error.action


class Live(Connector[Any]):
    """An unbounded source, and one that is polled."""

    clock = 0

    @stream(cursor="at", order="asc", primary_key="at", modes=["streaming"])
    def unbounded(self, since: Cursor) -> Iterator[Any]:
        number = since.value or 0
        while True:
            number += 1
            yield {"at": number}
            if number % 5 == 0:
                yield Idle(1)

    @stream(cursor="at", primary_key="at", modes=["incremental", "streaming"], poll=2)
    def polled(self, since: Cursor) -> Iterator[Any]:
        first = since.value or 0
        for number in range(first, first + 3):
            yield {"at": number}

    @stream(cursor="at", order="asc", primary_key="at", modes=["streaming"])
    async def asynchronous(self, since: Cursor) -> AsyncIterator[Any]:
        for number in range((since.value or 0) + 1, 1000):
            yield {"at": number}
            if number % 5 == 0:
                yield None

    @stream(modes=["streaming"])
    def silent(self) -> Iterator[Any]:
        while True:
            yield Idle(3)


@pytest.mark.parametrize("name", ["unbounded", "asynchronous", "polled"])
def test_a_stream_that_never_ends_is_checkpointed_in_time_and_cancels_cleanly(name: str) -> None:
    harness = Harness(Live)
    run = harness.read(name, mode="streaming", seconds=10, checkpoint_ms=2000)
    assert run.error is not None
    assert run.error.code == "CANCELLED"
    numbers = [each["at"] for each in run.records]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "each once, in order"
    assert len(run.checkpoints) >= 3
    assert not any(each.final for each in run.checkpoints)
    assert run.checkpoints[-1].before == len(numbers), "the last checkpoint covers everything"
    more = harness.read(name, mode="streaming", seconds=5, state=run.state)
    assert next(iter(more.records))["at"] == numbers[-1] + 1


def test_a_stream_that_only_streams_needs_no_mode_to_be_named() -> None:
    assert len(Harness(Live).read("unbounded", seconds=5).records) >= 5


def test_several_unbounded_streams_take_turns() -> None:
    run = Harness(Live).read("unbounded", "polled", mode="streaming", seconds=10)
    assert min(len(each) for each in run.by_stream.values()) >= 5


def test_a_silent_stream_gives_signs_of_life() -> None:
    run = Harness(Live).read("silent", mode="streaming", seconds=60)
    assert 8 <= len(run.progress) <= 20
    assert run.checkpoints == []


def test_signs_of_life_come_as_often_as_the_daemon_asks_for() -> None:
    run = Harness(Live).read("silent", mode="streaming", seconds=60, heartbeat_ms=500)
    assert 100 <= len(run.progress) <= 130


class Known(Connector[Any]):
    """A source that tells for long what was delivered before."""

    @stream(cursor="at", order="asc", primary_key="at")
    def old(self, since: Cursor) -> Iterator[Any]:
        for number in range(10_000):
            if number % 100 == 0:
                self._call.clock.sleep(1)
            yield {"at": number}


def test_a_stream_whose_records_are_all_left_out_gives_signs_of_life() -> None:
    first = Harness(Known).read("old").check()
    again = Harness(Known).read("old", state=first.state).check()
    assert again.records == []
    assert 10 <= len(again.progress) <= 21
    assert {each["message"] for each in again.progress} == {"reading"}


def test_a_test_ends_an_unbounded_read_when_it_has_seen_enough() -> None:
    run = Harness(Live).read("unbounded", mode="streaming", until=lambda seen: len(seen.records) >= 20)
    assert len(run.records) >= 20


class Broken(Connector[Any]):
    closed = 0

    def open(self) -> None:
        if self.config.fail == "open":
            raise errors.ConfigInvalid("no such shop")

    def close(self) -> None:
        type(self).closed += 1
        if self.config.fail == "close":
            raise RuntimeError("close failed")

    @stream()
    def rows(self) -> Iterator[Record]:
        yield {"id": 1}
        if self.config.fail == "both":
            raise RuntimeError("read failed")


def test_close_is_called_whatever_happened() -> None:
    for fail in ("open", "read", "close"):
        before = Broken.closed
        Harness(Broken, {"fail": fail}).read("rows")
        assert Broken.closed == before + 1


def test_a_failure_to_open_is_reported_without_a_start() -> None:
    run = Harness(Broken, {"fail": "open"}).read("rows")
    assert run.error is not None
    assert run.error.code == "CONFIG_INVALID"
    assert [kind for kind, _, _ in run.frames] == ["failed"]


def test_a_failure_to_close_alone_is_reported() -> None:
    run = Harness(Broken, {"fail": "close"}).read("rows")
    assert run.error is not None
    assert "close failed" in run.error.message


def test_logging_warnings_and_progress_travel_with_the_call() -> None:
    import logging
    import warnings

    class Talking(Connector[Any]):
        @stream()
        def rows(self) -> Iterator[Record]:
            self.log.info("read %d", 7, extra={"shop": "acme"})
            logging.getLogger("library").error("lost", exc_info=ValueError("inner"))
            logging.getLogger("library").debug("too much")
            warnings.warn("old", DeprecationWarning, stacklevel=1)
            self.progress(3, total=9, message="reading")
            yield {"id": 1}

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        run = Harness(Talking).read("rows").check()
    assert [(each["level"], each["logger"]) for each in run.logs] == [
        (20, "Talking"), (40, "library"), (30, "py.warnings"),
    ]  # fmt: skip
    assert run.logs[0]["message"] == "read 7"
    assert json.loads(run.logs[0]["fields_json"]) == {"shop": "acme"}
    assert "ValueError: inner" in run.logs[1]["message"]
    assert run.progress == [{"stream": "rows", "records": 3, "total": 9, "message": "reading"}]


def test_a_flood_of_logs_is_counted_and_not_sent() -> None:
    class Flooding(Connector[Any]):
        @stream()
        def rows(self) -> Iterator[Record]:
            for number in range(5000):
                self.log.info("%d", number)
            self.log.error("last")
            yield {"id": 1}

    run = Harness(Flooding).read("rows").check()
    assert 1000 <= len(run.logs) < 2000
    assert "log messages were left out" in run.logs[-2]["message"]
    assert run.logs[-1]["message"] == "last"


@pytest.mark.parametrize(
    ("declare", "told"),
    [
        (lambda: stream("x", order=WRONG, cursor="a"), "order is 'asc', 'desc' or None"),
        (lambda: stream("x", order="asc"), "says nothing without cursor"),
        (lambda: stream("x", unknown=WRONG), "unknown is 'error', 'drop' or 'extra'"),
        (lambda: stream("x", modes=["ful"]), "no such mode 'ful'"),
    ],
)
def test_a_wrong_declaration_fails_when_the_module_is_imported(declare: Any, told: str) -> None:
    with pytest.raises(errors.ConnectorFailed, match=told):
        declare()(lambda self: None)


def test_a_declaration_without_parentheses_is_refused() -> None:
    with pytest.raises(errors.ConnectorFailed, match="with parentheses"):
        stream(lambda self: None)  # type: ignore[arg-type]
