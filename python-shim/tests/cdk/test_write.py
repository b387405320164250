"""Write: limits, rejects, and that nothing is acknowledged before it is durable."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from caisson import Batch, Checkpoint, Connector, Reject, Stream, errors
from caisson._batch import cut
from caisson._failure import failure
from caisson._write import Writer, byte_count
from caisson.testing import Harness
from caisson.testing._harness import _encoded

Record = dict[str, Any]
FIELDS = [{"name": "id", "type": "int64", "nullable": False}, {"name": "text", "type": "string", "nullable": True}]


def rows(count: int, text: str = "x") -> list[Record]:
    return [{"id": n, "text": text} for n in range(count)]


class Lake(Connector[Any]):
    """Lands batches in a dict; durable only after commit."""

    seen: list[Any] = []
    table: dict[str, list[Record]] = {}

    def open(self) -> None:
        Lake.seen = []
        Lake.table = {}
        self.open_rows: list[Record] = []

    def schema(self, stream: Stream) -> None:
        Lake.seen.append(("schema", stream.name, [field["name"] for field in stream.schema.fields()]))

    def write(self, stream: Stream, batch: Batch) -> list[Reject]:
        Lake.seen.append(("write", len(batch)))
        self.open_rows += batch.records()
        return [Reject(n, "is thirteen") for n, record in enumerate(batch) if record["id"] == 13]

    def commit(self, stream: Stream, checkpoint: Checkpoint | None) -> None:
        Lake.seen.append(("commit", checkpoint and checkpoint.id, checkpoint and checkpoint.final))
        Lake.table.setdefault(stream.name, []).extend(self.open_rows)
        self.open_rows = []


def test_records_arrive_and_are_acknowledged_when_they_are_durable() -> None:
    run = Harness(Lake).write("orders", rows(25), schema=FIELDS, primary_key="id", checkpoints=[10, 25], batch=10)
    run.check()
    assert Lake.table["orders"] == rows(25)
    assert [each["records"] for each in run.acknowledged] == [10, 10, 5]
    assert len(run.committed) == 2
    kinds = [kind for kind, _, _ in run.frames if kind in ("acknowledged", "committed")]
    assert kinds == ["acknowledged", "committed", "acknowledged", "acknowledged", "committed"]
    assert [each[0] for each in Lake.seen] == ["schema", "write", "commit", "write", "write", "commit"]
    assert Lake.seen[-1][2] is True


def test_what_comes_after_the_last_checkpoint_is_committed_at_the_end() -> None:
    run = Harness(Lake).write("orders", rows(5), schema=FIELDS, checkpoints=[]).check()
    assert Lake.seen[-1] == ("commit", None, None)
    assert len(run.acknowledged) == 1
    assert run.committed == []


@pytest.mark.parametrize(("count", "sizes"), [(3, [3]), (4, [4]), (5, [4, 1]), (9, [4, 4, 1]), (0, [])])
def test_a_batch_is_cut_to_the_declared_number_of_records(count: int, sizes: list[int]) -> None:
    Harness(Lake, manifest={"write": {"max_records": 4}}).write("orders", rows(count), schema=FIELDS).check()
    assert [each[1] for each in Lake.seen if each[0] == "write"] == sizes


def test_a_batch_is_cut_to_the_declared_bytes_and_a_record_beyond_them_is_rejected() -> None:
    records = rows(12, "y" * 100)
    records[5]["text"] = "z" * 5000
    run = Harness(Lake, manifest={"write": {"max_bytes": 1000}}).write(
        "orders", records, schema=FIELDS, primary_key="id"
    )
    run.check()
    assert [each["record"] for each in run.rejects] == [5]
    assert run.rejects[0]["key_json"] == '{"id": 5}'
    assert "exceeds 1000 bytes" in run.rejects[0]["reason"]
    assert [each["id"] for each in Lake.table["orders"]] == [n for n in range(12) if n != 5]
    assert len([each for each in Lake.seen if each[0] == "write"]) >= 3


def test_a_reject_names_the_record_in_the_batch_that_was_sent() -> None:
    run = Harness(Lake, manifest={"write": {"max_records": 4}}).write(
        "orders", rows(20), schema=FIELDS, primary_key="id", batch=10
    )
    run.check()
    assert [(each["sequence"], each["record"], each["reason"]) for each in run.rejects] == [
        (run.acknowledged[1]["sequence"], 3, "is thirteen")
    ]


class Yielding(Connector[Any]):
    async def write(self, stream: Stream, batch: Batch) -> AsyncIterator[Reject]:
        yield Reject(0, "first")


class Plain(Connector[Any]):
    got: list[Any] = []

    def write(self, stream: Stream, batch: Batch) -> None:
        Plain.got.append((stream.name, stream.mode, stream.primary_key, stream.cursor, batch.columns, batch.rows()))


class Coroutine(Connector[Any]):
    async def write(self, stream: Stream, batch: Batch) -> list[Reject]:
        return [Reject(1, "second")]

    async def commit(self, stream: Stream) -> None:
        return None


def test_hooks_may_be_asynchronous_and_rejects_may_be_yielded() -> None:
    assert [each["record"] for each in Harness(Yielding).write("t", rows(3), schema=FIELDS).check().rejects] == [0]
    run = Harness(Coroutine).write("t", rows(3), schema=FIELDS).check()
    assert [each["record"] for each in run.rejects] == [1]
    assert len(run.committed) == 1


def test_without_a_commit_hook_a_written_batch_is_durable() -> None:
    Plain.got = []
    run = Harness(Plain).write(
        "t", rows(2), schema=FIELDS, primary_key=["id"], cursor="id", mode="upsert", checkpoints=[]
    )
    run.check()
    assert len(run.acknowledged) == 1
    assert Plain.got == [("t", "upsert", ["id"], "id", ["id", "text"], [(0, "x"), (1, "x")])]


@pytest.mark.parametrize(
    ("capabilities", "primary_key", "asked", "mode"),
    [
        (["write.append", "write.upsert"], ["id"], "", "upsert"),
        (["write.append", "write.upsert"], ["id"], "append", "append"),
        (["write.append", "write.upsert"], [], "", "append"),
        (["write.append"], ["id"], "", "append"),
    ],
)
def test_without_a_mode_records_with_a_primary_key_are_upserted_where_the_connector_can(
    capabilities: list[str], primary_key: list[str], asked: str, mode: str
) -> None:
    Plain.got = []
    harness = Harness(Plain, manifest={"capabilities": capabilities})
    harness.write("t", rows(1), schema=FIELDS, primary_key=primary_key, mode=asked).check()
    assert [each[1] for each in Plain.got] == [mode]


@pytest.mark.parametrize(
    ("capabilities", "primary_key", "told"),
    [
        (["write.append", "write.upsert"], [], "stream t has no primary key, so it cannot be upserted"),
        (None, [], "stream t has no primary key, so it cannot be upserted"),
        (["write.append"], ["id"], "this destination cannot upsert; connector.yaml has no write.upsert"),
    ],
)
@pytest.mark.parametrize("header", [True, False])
def test_an_upsert_that_would_append_is_refused_and_says_what_to_write(
    capabilities: list[str] | None, primary_key: list[str], told: str, header: bool
) -> None:
    Plain.got = []
    manifest: Record = {} if capabilities is None else {"capabilities": capabilities}
    call: Any = SimpleNamespace(manifest=manifest, check=lambda: None, iterate=lambda _: (), send=lambda *_: None)
    writer = Writer(call, Plain(None, call), {"streams": [{"name": "t", "mode": "upsert"}], "encoding": "json_lines"})
    with pytest.raises(errors.ConfigInvalid, match=told) as refused:
        if header:
            writer.schema({"stream": "t", "schema_id": "s", "primary_key": primary_key, "mode": "upsert"}, b"")
            writer.batch({"stream": "t", "schema_id": "s"}, b'{"id": 1}')
        else:
            writer.batch({"stream": "t"}, b'{"id": 1}')
    assert "`write: append`" in (refused.value.action or "")
    assert Plain.got == []


def test_two_streams_may_use_one_schema_id() -> None:
    other = [{"name": "price", "type": "float64", "nullable": True}]
    inputs = [
        _encoded("orders", "", rows(2), FIELDS, ["id"], "", "append", [2], 10, True),
        _encoded("prices", "", [{"price": 1.5}], other, [], "", "append", [1], 10, True),
    ]
    frames = [(kind, {**fields, "schema_id": "same"}, body) for each in inputs for kind, fields, body in each]
    Plain.got = []
    call: Any = SimpleNamespace(manifest={}, check=lambda: None, iterate=lambda _: (), send=lambda *_: None)
    writer = Writer(call, Plain(None, call), {})
    for wanted in ("schema", "batch"):
        for kind, fields, body in frames:
            if kind == wanted:
                getattr(writer, kind)(fields, body)
    assert Plain.got == [
        ("orders", "append", ["id"], "", ["id", "text"], [(0, "x"), (1, "x")]),
        ("prices", "append", [], "", ["price"], [(1.5,)]),
    ]


class Refusing(Connector[Any]):
    def write(self, stream: Stream, batch: Batch) -> Iterator[Reject]:
        yield Reject(7, "not there")


class Failing(Connector[Any]):
    def write(self, stream: Stream, batch: Batch) -> None:
        return None

    def commit(self, stream: Stream) -> None:
        raise errors.Upstream("disk gone")


def test_nothing_is_acknowledged_when_the_commit_fails() -> None:
    run = Harness(Failing).write("t", rows(3), schema=FIELDS)
    assert run.error is not None
    assert run.error.code == "UPSTREAM_UNAVAILABLE"
    assert run.acknowledged == run.committed == []


def test_a_reject_of_a_record_that_is_not_in_the_batch_is_the_connectors_fault() -> None:
    run = Harness(Refusing).write("t", rows(3), schema=FIELDS)
    assert run.error is not None
    assert "rejects record 7 of a batch of 3" in run.error.message


def test_a_source_cannot_be_written_to() -> None:
    class Source(Connector[Any]):
        pass

    run = Harness(Source).write("t", rows(1), schema=FIELDS)
    assert run.error is not None
    assert "no write(stream, batch)" in run.error.message


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ([("schema", {"stream": "t", "schema_id": "a"}, b"no schema")], "malformed schema"),
        ([("batch", {"stream": "t", "schema_id": "a"}, b"")], "a batch came before its schema"),
        ([("batch", {"stream": "t"}, b"no batch")], "malformed batch"),
    ],
)
def test_what_is_no_arrow_violates_the_schema(frames: list[tuple[str, Record, bytes]], said: str) -> None:
    call: Any = SimpleNamespace(manifest={})
    writer = Writer(call, Lake(None, call), {})
    with pytest.raises(errors.SchemaViolation, match=f"stream t: {said}"):
        for kind, fields, body in frames:
            getattr(writer, kind)(fields, body)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "full"), "DISK_EXHAUSTED"),
        (OSError(errno.EDQUOT, "full"), "DISK_EXHAUSTED"),
        (OSError(errno.EFBIG, "too large"), "DISK_EXHAUSTED"),
        (OSError(errno.EACCES, "no"), "CONNECTOR_FAILED"),
        (MemoryError(), "MEMORY_EXHAUSTED"),
    ],
)
def test_what_ran_out_has_its_code_and_keeps_its_exception(error: Exception, code: str) -> None:
    told = failure(error)
    assert (told["code"], told["exception"]) == (code, type(error).__name__)


class Sized:
    """What `cut` needs of a record batch."""

    def __init__(self, sizes: list[int]) -> None:
        self.sizes = sizes

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def nbytes(self) -> int:
        return sum(self.sizes)

    def slice(self, offset: int, length: int) -> Sized:
        return Sized(self.sizes[offset : offset + length])


@pytest.mark.parametrize("total", [0, 1, 7, 8, 9, 100])
@pytest.mark.parametrize(("records", "size"), [(0, 0), (8, 0), (0, 50), (3, 20), (1, 1)])
def test_parts_are_whole_in_order_and_within_both_limits(total: int, records: int, size: int) -> None:
    sizes = [10 + n % 7 for n in range(total)]
    parts = list(cut(Sized(sizes), records, size))  # type: ignore[arg-type]
    assert [each for _, part in parts for each in part.sizes] == sizes  # type: ignore[attr-defined]
    assert [offset for offset, _ in parts] == [sum(len(p) for _, p in parts[:n]) for n in range(len(parts))]
    for _, part in parts:
        assert not records or len(part) <= records
        assert not size or part.nbytes <= size or len(part) == 1


@pytest.mark.parametrize(
    ("value", "count"),
    [(None, 0), (17, 17), ("5MiB", 5 << 20), ("500kB", 500_000), ("1.5 KiB", 1536), ("20", 20), ("1GB", 10**9)],
)
def test_sizes_are_read_as_people_write_them(value: Any, count: int) -> None:
    assert byte_count(value) == count


def test_a_size_that_is_none_is_refused() -> None:
    with pytest.raises(errors.ConnectorFailed, match="write for example 5MiB"):
        byte_count("many")
