"""Arrow data in: nothing converted, everything cut to size, types held."""

import json
import threading
from typing import Any

import pyarrow as pa
import pytest
from daemon import Daemon, Fields, lines, table
from hypothesis import HealthCheck, given, settings
from samples import Case, cases, comparable, with_json
from test_encode import arrow

from caisson import _native
from caisson.errors import SchemaViolation


def sent(data: Any, fields: Fields | None = None, **options: Any) -> tuple[int, list[Any]]:
    options.setdefault("encoding", "arrow_ipc")
    schema = None if fields is None else _native.ArrowSchema.from_fields(fields)
    with Daemon() as daemon:
        emitter = _native.Emitter(daemon.channel, "orders", "", schema=schema, **options)
        count = emitter.arrow(data)
        emitter.checkpoint(b"")
        frames = daemon.until()
        emitter.close()
        return count, frames


@given(case=cases())
@settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
def test_a_table_arrives_as_it_was_and_as_json_like_its_records(case: Case) -> None:
    given = arrow(case.records, case.fields)
    count, frames = sent(given)
    assert count == given.num_rows
    assert table(frames) == given
    _, frames = sent(given, encoding="json_lines")
    found = [json.loads(line) for line in lines(frames)]
    assert comparable(found) == comparable(
        [{n: s.json(r.get(n)) for n, s in case.samples.items()} for r in case.records]
    )
    rows = _native.RecordBatch.decode(
        _native.ArrowSchema.from_arrow(given.schema), "arrow_ipc", _body(given)
    ).to_pylist()
    assert len(rows) == len([with_json(row, row) for row in rows]) == given.num_rows


def _body(data: pa.Table) -> bytes:
    batches = data.combine_chunks().to_batches()
    return b"".join(batch.serialize().to_pybytes() for batch in batches)


COMPACT = {
    "dictionary": (pa.array(["a", "b", "a", None]).dictionary_encode(), pa.string()),
    "view": (pa.array(["a", "b" * 40, None, ""], pa.string_view()), pa.string()),
    "bytes view": (pa.array([b"a", b"b" * 40, None, b""], pa.binary_view()), pa.binary()),
    "fixed bytes": (pa.array([b"aa", None, b"bb", b"cc"], pa.binary(2)), pa.binary()),
    "fixed list": (pa.array([[1, 2], None, [3, None], [4, 5]], pa.list_(pa.int8(), 2)), pa.list_(pa.int8())),
    "half float": (pa.array([1.5, None, 2.5, -1.0], pa.float16()), pa.float32()),
    "time in seconds": (pa.array([1, None, 2, 3], pa.time32("s")), pa.time64("us")),
    "small decimal": (pa.array([1, None, 2, 3], pa.int8()).cast(pa.decimal32(5, 2)), pa.decimal128(5, 2)),
    "nested dictionary": (
        pa.StructArray.from_arrays([pa.array(["a", "b", "a", None]).dictionary_encode()], ["x"]),
        pa.struct([("x", pa.string())]),
    ),
}


@pytest.mark.parametrize("layout", COMPACT)
def test_compact_layouts_are_undone(layout: str) -> None:
    column, plain = COMPACT[layout]
    _, frames = sent(pa.table({"x": column}))
    read = table(frames)
    assert read.schema.field("x").type == plain
    assert read.column("x").to_pylist() == column.to_pylist()


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, 2], pa.timestamp("ns", "Europe/Paris")),
        pa.array(["a", "b"], pa.large_string()),
        pa.array([[1], []], pa.large_list(pa.int64())),
        pa.array([1, 2], pa.duration("s")),
    ],
)
def test_other_layouts_stay(column: pa.Array) -> None:
    _, frames = sent(pa.table({"x": column}))
    assert table(frames).column("x").combine_chunks() == column


def test_batches_readers_and_slices_are_taken(daemon: Daemon) -> None:
    batch = pa.record_batch({"x": pa.array(range(100)), "s": [str(n) for n in range(100)]})
    assert table(sent(batch.slice(10, 5))[1]).column("s").to_pylist() == ["10", "11", "12", "13", "14"]
    reader = pa.RecordBatchReader.from_batches(batch.schema, iter([batch.slice(0, 1), batch.slice(99, 1)]))
    assert table(sent(reader)[1]).column("x").to_pylist() == [0, 99]
    assert sent(batch.schema.empty_table())[0] == 0


def test_a_reader_whose_source_raises_raises() -> None:
    schema = pa.schema([("x", pa.int64())])

    def source() -> Any:
        yield pa.record_batch({"x": [1]})
        raise LookupError("upstream")

    with pytest.raises(ValueError, match="upstream"):
        sent(pa.RecordBatchReader.from_batches(schema, source()))


def test_large_tables_are_cut_under_the_limit_and_slices_not_into_crumbs(daemon: Daemon) -> None:
    data = pa.table({"x": pa.array(range(200_000)), "s": [f"{n:050}" for n in range(200_000)]})
    emitter = _native.Emitter(
        daemon.channel, "o", "", encoding="arrow_ipc", schema=None, target_bytes=300_000, max_bytes=350_000
    )
    frames: list[Any] = []
    reader = threading.Thread(target=lambda: frames.extend(daemon.until()))
    reader.start()
    for piece in data.to_batches(max_chunksize=50_000):
        emitter.arrow(piece)
    emitter.checkpoint(b"")
    reader.join()
    sizes = [len(frame.body) for frame in frames if frame.kind == "batch"]
    assert max(sizes) <= 350_000
    assert sum(sizes) / len(sizes) > 200_000
    assert table(frames) == data


FIELDS: Fields = [{"name": "a", "type": "int64", "nullable": False}, {"name": "b", "type": "string"}]


@pytest.mark.parametrize(
    ("columns", "field", "found"),
    [
        ({"a": pa.array([1], pa.int32()), "b": ["x"]}, "a", "Int32"),
        ({"a": [1], "b": [1]}, "b", "Int64"),
        ({"a": [1]}, "b", "no column"),
        ({"a": [None], "b": ["x"]}, "a", "Null"),
        ({"a": pa.array([None], pa.int64()), "b": ["x"]}, "a", "null"),
        ({"a": [1], "b": ["x"], "c": [1]}, "c", "Int64"),
    ],
)
def test_columns_that_are_not_as_declared_are_named(columns: dict[str, Any], field: str, found: str) -> None:
    with pytest.raises(SchemaViolation) as raised:
        sent(pa.table(columns), FIELDS)
    assert (raised.value.field, raised.value.found) == (field, found)


def test_another_order_and_another_layout_of_the_declared_types_are_taken() -> None:
    data = pa.table({"b": pa.array(["x"]).dictionary_encode(), "a": [1]})
    assert table(sent(data, FIELDS)[1]).to_pylist() == [{"a": 1, "b": "x"}]


def test_unknown_columns_go_the_way_of_unknown_fields() -> None:
    data = pa.table({"a": [1, 2], "b": ["x", None], "c": [1.5, None]})
    assert table(sent(data, FIELDS, unknown="drop")[1]).to_pylist() == [{"a": 1, "b": "x"}, {"a": 2, "b": None}]
    kept = table(sent(data, FIELDS, unknown="extra")[1]).column("_extra").to_pylist()
    assert [json.loads(each) for each in kept] == [{"c": 1.5}, {"c": None}]


def test_dicts_and_arrow_data_keep_their_order(daemon: Daemon) -> None:
    emitter = _native.Emitter(daemon.channel, "o", "", encoding="arrow_ipc", schema=None, flush_seconds=60)
    emitter.record({"a": 1})
    emitter.arrow(pa.table({"a": [2, 3]}))
    emitter.record({"a": 4})
    emitter.checkpoint(b"")
    assert table(daemon.until()).column("a").to_pylist() == [1, 2, 3, 4]
    assert emitter.count == 4


def test_the_limit_of_records_holds_for_arrow_data() -> None:
    count, frames = sent(pa.table({"a": list(range(10))}), max_records=4)
    assert (count, table(frames).num_rows) == (4, 4)


def test_what_has_no_form_in_json_and_what_is_no_arrow_data_is_refused(daemon: Daemon) -> None:
    union = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])
    with pytest.raises(TypeError, match="no form outside of Arrow"):
        sent(pa.table({"u": union}), encoding="json_lines")
    emitter = _native.Emitter(daemon.channel, "o", "", encoding="arrow_ipc", schema=None)
    with pytest.raises(TypeError, match="__arrow_c_stream__"):
        emitter.arrow([{"a": 1}])
    with pytest.raises((TypeError, ValueError), match=r"struct|Struct"):
        emitter.arrow(pa.array([1]))
    emitter.arrow(pa.table({"u": union}))
    with pytest.raises(TypeError, match="yield Arrow data"):
        emitter.record({"u": 1})
