"""write.concurrency: several parts at once, and everything that is told of them in its order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from caisson import Batch, Checkpoint, Connector, Reject, Stream
from caisson.testing import Harness, Outcome

Record = dict[str, Any]
FIELDS = [{"name": "id", "type": "int64", "nullable": False}]
CONNECTOR = {"write": {"max_records": 10, "concurrency": 4}, "capabilities": ["write.append", "write.upsert"]}


def rows(count: int) -> list[Record]:
    return [{"id": number} for number in range(count)]


def write(connector: type, records: list[Record], manifest: Record = CONNECTOR, **options: Any) -> Outcome:
    return Harness(connector, manifest=manifest).write("orders", records, schema=FIELDS, batch=20, **options)


def told(run: Outcome) -> list[tuple[str, Any]]:
    """What the daemon heard about batches, in order."""
    names = {"acknowledged": "sequence", "committed": "checkpoint_id", "rejected": "record"}
    return [(kind, fields[names[kind]]) for kind, fields, _ in run.frames if kind in names]


class Meeting(Connector[Any]):
    """Nobody goes on before four have come."""

    barrier = threading.Barrier(4)

    def write(self, stream: Stream, batch: Batch) -> list[Reject]:
        Meeting.barrier.wait(30)
        return [Reject(0, f"first of {batch.offset}")]


class AsyncMeeting(Connector[Any]):
    """The same without threads."""

    def open(self) -> None:
        self.barrier = asyncio.Barrier(4)

    async def write(self, stream: Stream, batch: Batch) -> list[Reject]:
        async with asyncio.timeout(30):
            await self.barrier.wait()
        return [Reject(0, f"first of {batch.offset}")]


class YieldingMeeting(AsyncMeeting):
    """And as a generator."""

    async def write(self, stream: Stream, batch: Batch) -> AsyncIterator[Reject]:  # type: ignore[override]
        async with asyncio.timeout(30):
            await self.barrier.wait()
        yield Reject(0, f"first of {batch.offset}")


@pytest.mark.parametrize("connector", [Meeting, AsyncMeeting, YieldingMeeting])
def test_as_many_parts_as_declared_are_under_way_at_once_and_rejects_keep_their_batch(connector: type) -> None:
    run = write(connector, rows(80)).check()
    assert [(each["sequence"], each["record"], each["reason"]) for each in run.rejects] == [
        (sequence, offset, f"first of {offset}") for sequence in (1, 2, 3, 4) for offset in (0, 10)
    ]
    assert [each["sequence"] for each in run.acknowledged] == [1, 2, 3, 4]


class Backwards(Connector[Any]):
    """Of three at a time, what came last lands first."""

    landed: list[int] = []

    def open(self) -> None:
        Backwards.landed = []
        self.turn = threading.Condition()
        self.began = 0
        self.left = {2: 3, 5: 3, 8: 3}

    def write(self, stream: Stream, batch: Batch) -> list[Reject]:
        number = next(iter(batch))["id"] // 10
        with self.turn:
            self.began += 1
            self.turn.notify_all()
            last = number // 3 * 3 + 2
            assert self.turn.wait_for(lambda: self.began > last and self.left[last] == number % 3 + 1, 30)
            self.left[last] -= 1
            Backwards.landed.append(number)
            self.turn.notify_all()
        return [Reject(0, str(number))]

    def commit(self, stream: Stream, checkpoint: Checkpoint | None) -> None:
        Backwards.landed.append(-1)


def test_what_lands_out_of_order_is_told_in_order_and_committed_when_all_before_has_landed() -> None:
    manifest = {**CONNECTOR, "write": {"max_records": 10, "concurrency": 3}}
    run = Harness(Backwards, manifest=manifest).write(
        "orders", rows(90), schema=FIELDS, batch=10, checkpoints=[30, 60, 90]
    )
    run.check()
    assert Backwards.landed == [2, 1, 0, -1, 5, 4, 3, -1, 8, 7, 6, -1]
    assert [each["reason"] for each in run.rejects] == [str(number) for number in range(9)]
    kinds = [kind for kind, _ in told(run)]
    third = ["rejected"] * 3 + ["acknowledged"] * 3 + ["committed"]
    assert kinds == third * 3


class Table(Connector[Any]):
    """Notes which keys are being written, and whether any is written twice at once."""

    def open(self) -> None:
        self.lock = threading.Lock()
        self.under_way: set[int] = set()

    def write(self, stream: Stream, batch: Batch) -> None:
        keys = {record["id"] for record in batch}
        with self.lock:
            if stream.mode == "upsert" and keys & self.under_way:
                raise RuntimeError("two parts with one key are under way")
            self.under_way |= keys
        threading.Event().wait(0.001)  # the others' turn
        with self.lock:
            self.under_way -= keys


def test_parts_that_hold_the_same_key_of_an_upserted_stream_are_never_under_way_together() -> None:
    again = [{"id": number % 15} for number in range(600)]
    write(Table, again, primary_key="id", mode="upsert").check()
    # Others of such a stream are: four meet.
    write(Meeting, rows(80), primary_key="id", mode="upsert").check()


class Failing(Connector[Any]):
    """The third part fails while others are under way; nothing new is begun after it."""

    began: list[int] = []
    committed = 0
    asynchronous = False

    def open(self) -> None:
        Failing.began = []
        Failing.committed = 0
        self.failed = threading.Event()

    def write(self, stream: Stream, batch: Batch) -> None:
        number = next(iter(batch))["id"] // 10
        Failing.began.append(number)
        if number == 6:
            self.failed.set()
            raise RuntimeError("the seventh part")
        if number > 3:
            self.failed.wait(30)

    def commit(self, stream: Stream, checkpoint: Checkpoint | None) -> None:
        Failing.committed += 1


class AsyncFailing(Failing):
    """The same without threads."""

    async def write(self, stream: Stream, batch: Batch) -> None:  # type: ignore[override]
        number = next(iter(batch))["id"] // 10
        Failing.began.append(number)
        if number == 6:
            raise RuntimeError("the seventh part")
        if number > 3:
            await asyncio.sleep(30)


@pytest.mark.parametrize("connector", [Failing, AsyncFailing])
def test_a_part_that_fails_ends_the_write_and_commits_nothing_more(connector: type) -> None:
    run = write(connector, rows(400), checkpoints=[40, 400])
    assert run.error is not None
    assert "the seventh part" in run.error.message
    assert len(run.committed) == 1 and Failing.committed == 1
    assert [each["sequence"] for each in run.acknowledged] == [1, 2]
    assert max(Failing.began) <= 7, "four at once, of which one is the seventh"


class Endless(Connector[Any]):
    """Never ends by itself."""

    release = threading.Event()

    def write(self, stream: Stream, batch: Batch) -> None:
        Endless.release.wait(30)


def test_a_cancelled_write_ends_with_parts_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caisson.testing._harness.PATIENCE", 0.3)
    monkeypatch.setattr("caisson._flight.PATIENCE", 0.1)
    Endless.release.clear()
    run = write(Endless, rows(400))
    Endless.release.set()
    assert run.error is not None
    assert run.error.code == "CANCELLED"
    assert run.acknowledged == []
    assert run.progress == [], "parts that never land are no life"


class Alone(Connector[Any]):
    """`schema` and `commit` are called while nothing is under way."""

    def open(self) -> None:
        self.lock = threading.Lock()
        self.under_way = 0

    def schema(self, stream: Stream) -> None:
        assert self.under_way == 0

    def write(self, stream: Stream, batch: Batch) -> None:
        with self.lock:
            self.under_way += 1
        self.sleep(0.01)
        with self.lock:
            self.under_way -= 1

    def commit(self, stream: Stream, checkpoint: Checkpoint | None) -> None:
        assert self.under_way == 0


def test_schema_and_commit_are_called_alone() -> None:
    write(Alone, rows(400), checkpoints=[100, 200, 300, 400]).check()


@pytest.mark.parametrize("concurrency", [None, 1])
def test_one_at_a_time_needs_no_thread(concurrency: int | None) -> None:
    threads: set[int] = set()

    class Single(Connector[Any]):
        def write(self, stream: Stream, batch: Batch) -> None:
            threads.add(threading.get_ident())

    limits = {"max_records": 10, **({"concurrency": concurrency} if concurrency else {})}
    write(Single, rows(100), {**CONNECTOR, "write": limits}).check()
    assert threads == {threading.get_ident()}


def test_a_reject_outside_of_its_part_is_the_connectors_fault() -> None:
    class Wrong(Connector[Any]):
        def write(self, stream: Stream, batch: Batch) -> list[Reject]:
            return [Reject(10, "not there")]

    run = write(Wrong, rows(100))
    assert run.error is not None
    assert "rejects record 10 of a batch of 10" in run.error.message


def test_the_columns_of_rows_are_chosen_by_name() -> None:
    seen: list[Any] = []

    def take(batch: Batch) -> None:
        seen.append((batch._data.rows(["id"]), batch._data.rows(["text", "id"])))
        with pytest.raises(ValueError, match='no field "nowhere"'):
            batch._data.rows(["nowhere"])

    class Columns(Connector[Any]):
        def write(self, stream: Stream, batch: Batch) -> None:
            take(batch)

    schema = [*FIELDS, {"name": "text", "type": "string", "nullable": True}]
    Harness(Columns, manifest={}).write("t", [{"id": 1, "text": "a"}], schema=schema).check()
    assert seen == [([(1,)], [("a", 1)])]
