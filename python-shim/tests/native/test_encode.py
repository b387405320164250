"""Records in, and what pyarrow and json read: the same, for every type."""

import datetime as dt
import enum
import json
import uuid
from collections import OrderedDict
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from daemon import Daemon, Fields, lines, table
from hypothesis import HealthCheck, given, settings
from samples import Case, cases, comparable, with_json

from caisson import _native

_quietly = settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))


def emitter(daemon: Daemon, schema: Fields | None = None, **options: Any) -> _native.Emitter:
    options.setdefault("encoding", "arrow_ipc")
    declared = _native.ArrowSchema.from_fields(schema) if schema is not None else None
    return _native.Emitter(daemon.channel, "orders", options.pop("partition", ""), schema=declared, **options)


def arrow(records: Fields, schema: Fields | None = None, **options: Any) -> pa.Table:
    with Daemon() as daemon:
        end = emitter(daemon, schema, **options)
        assert end.records(iter(records)) == len(records)
        end.checkpoint(b"{}")
        end.close()
        return table(daemon.until())


def jsonl(records: Fields, schema: Fields | None = None, **options: Any) -> list[Any]:
    with Daemon() as daemon:
        end = emitter(daemon, schema, encoding="json_lines", **options)
        end.records(records)
        end.checkpoint(b"{}")
        end.close()
        return [json.loads(line) for line in lines(daemon.until())]


@given(case=cases())
@_quietly
def test_what_was_emitted_is_what_pyarrow_reads(case: Case) -> None:
    expected = case.arrow()
    found = [
        with_json(row, like) for row, like in zip(arrow(case.records, case.fields).to_pylist(), expected, strict=True)
    ]
    assert comparable(found) == comparable(expected)


@given(case=cases())
@_quietly
def test_what_was_emitted_is_what_json_reads(case: Case) -> None:
    assert comparable(jsonl(case.records, case.fields)) == comparable(case.json())


@given(case=cases())
@_quietly
def test_a_destination_gets_the_same_from_either_encoding(case: Case) -> None:
    schema = _native.ArrowSchema.from_fields(case.fields)
    expected = case.arrow()
    for encoding in ("arrow_ipc", "json_lines"):
        with Daemon() as daemon:
            end = emitter(daemon, case.fields, encoding=encoding)
            end.records(case.records)
            end.checkpoint(b"")
            end.close()
            frames = daemon.until()
        assert _native.ArrowSchema.from_ipc(frames[0].body) == schema
        rows: list[Any] = []
        for frame in frames[1:-1]:
            rows += _native.RecordBatch.decode(schema, encoding, frame.body).to_pylist()
        # Where pyarrow gives a map's pairs, a destination gets a dict.
        found = [with_json(_pairs(row, like), like) for row, like in zip(rows, expected, strict=True)]
        assert comparable(found) == comparable(expected)


def _pairs(value: Any, of: Any) -> Any:
    if isinstance(of, list) and isinstance(value, dict):
        return [(name, _pairs(value[name], each)) for name, each in of]
    if isinstance(of, dict) and value is not None:
        return {name: _pairs(value[name], each) for name, each in of.items()}
    if isinstance(of, list) and isinstance(value, list):
        return [_pairs(mine, theirs) for mine, theirs in zip(value, of, strict=True)]
    return value


@given(case=cases())
@_quietly
def test_an_inferred_schema_takes_the_records_that_it_was_inferred_from(case: Case) -> None:
    # By repr, since a mixed field is JSON now and Decimals have a scale.
    assert len(jsonl(case.records)) == len(case.records)
    assert arrow(case.records).num_rows == len(case.records)


def test_a_schema_is_inferred_from_the_sample_and_then_frozen(daemon: Daemon) -> None:
    end = emitter(daemon, sample=2, flush_seconds=60)
    assert end.schema is None
    end.record({"a": 1, "b": None})
    end.record({"a": 1.5})
    assert end.schema is not None
    assert [(field["name"], field["type"]) for field in end.schema.fields()] == [("a", "float64"), ("b", "string")]
    end.record({"a": 2})
    end.checkpoint(b"")
    assert table(daemon.until()).to_pylist() == [{"a": 1.0, "b": None}, {"a": 1.5, "b": None}, {"a": 2.0, "b": None}]


def test_a_dict_that_its_connector_reuses_is_taken_as_it_was(daemon: Daemon) -> None:
    end = emitter(daemon, flush_seconds=60)
    record = {"n": 0}
    for number in range(5):
        record["n"] = number
        end.record(record)
    end.checkpoint(b"")
    assert table(daemon.until()).column("n").to_pylist() == [0, 1, 2, 3, 4]


class Colour(enum.Enum):
    RED = "red"


class Count(enum.IntEnum):
    ONE = 1


class Name(enum.StrEnum):
    A = "a"


class Loud(str):
    def __str__(self) -> str:
        return self.upper()


class Indexed:
    def __index__(self) -> int:
        return 7


class Moment(dt.datetime):
    def __reduce__(self) -> Any:
        raise AssertionError("a subclass is asked for its numbers")


def test_subclasses_enumerations_and_uuids_are_what_they_stand_for() -> None:
    fields: Fields = [
        {"name": "text", "type": "string"},
        {"name": "int", "type": "int64"},
        {"name": "bytes", "type": "binary"},
        {"name": "at", "type": "timestamp"},
        {"name": "list", "type": {"list": "int8"}},
    ]
    moment = Moment(2024, 5, 1, 12, tzinfo=dt.UTC)
    number = uuid.UUID(int=5)
    records: Fields = [
        {"text": Colour.RED, "int": Count.ONE, "bytes": bytearray(b"x"), "at": moment, "list": (1, 2)},
        OrderedDict(list=[], at=dt.date(2024, 5, 1), bytes=memoryview(b"y"), int=Indexed(), text=Name.A),
        {"text": number, "int": 3.0, "bytes": b"", "at": "2024-05-01", "list": None},
        {"text": Loud("quiet"), "int": 1, "bytes": b"", "at": dt.datetime(2024, 5, 1), "list": [True and 1]},
    ]
    day = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
    expected = [
        {"text": "red", "int": 1, "bytes": b"x", "at": day.replace(hour=12), "list": [1, 2]},
        {"text": "a", "int": 7, "bytes": b"y", "at": day, "list": []},
        {"text": str(number), "int": 3, "bytes": b"", "at": day, "list": None},
        {"text": "quiet", "int": 1, "bytes": b"", "at": day, "list": [1]},
    ]
    assert arrow(records, fields).to_pylist() == expected
    texts = [row["text"] for row in jsonl(records, fields)]
    assert texts == ["red", "a", str(number), "quiet"]


@pytest.mark.parametrize("keys", ["same", "fresh", "shuffled", "optional"])
def test_keys_are_recognised_whatever_objects_they_are(keys: str) -> None:
    fields: Fields = [{"name": f"f{index}", "type": "int64"} for index in range(12)]
    records = []
    for row in range(40):
        names = [f"f{index}" for index in range(12)]
        if keys == "shuffled":
            names = names[row % 12 :] + names[: row % 12]
        if keys == "optional":
            names = [name for at, name in enumerate(names) if (row >> (at % 5)) & 1]
        if keys != "same":
            names = ["".join(list(name)) for name in names]
        records.append({name: row * 100 + int(name[1:]) for name in names})
    expected = [{field["name"]: record.get(field["name"]) for field in fields} for record in records]
    assert arrow(records, fields).to_pylist() == expected
    assert jsonl(records, fields) == expected
    assert jsonl(records) == [{k: r.get(k) for k in jsonl(records)[0]} for r in records]


UNKNOWN: Fields = [
    {"name": "a", "type": "int64"},
    {"name": "s", "type": {"struct": [{"name": "x", "type": "int64"}]}},
    {"name": "l", "type": {"list": {"struct": [{"name": "x", "type": "int64"}]}}},
]
STRAY = {"a": 1, "b": Decimal("1.5"), "s": {"x": 1, "y": [1]}, "l": [{"x": 1}, {"z": None}]}


def test_unknown_fields_are_dropped_where_the_stream_says_so() -> None:
    expected = [{"a": 1, "s": {"x": 1}, "l": [{"x": 1}, {"x": None}]}]
    assert arrow([STRAY], UNKNOWN, unknown="drop").to_pylist() == expected
    assert jsonl([STRAY], UNKNOWN, unknown="drop") == expected


def test_unknown_fields_are_kept_as_json_where_the_stream_says_so() -> None:
    kept = {"b": "1.5", "s.y": [1], "l[1].z": None}
    rows = arrow([STRAY, {"a": 2}, {"_extra": 1}], UNKNOWN, unknown="extra").to_pylist()
    assert [row["_extra"] and json.loads(row["_extra"]) for row in rows] == [kept, None, {"_extra": 1}]
    assert [row["_extra"] for row in jsonl([STRAY, {"a": 2}, {"_extra": 1}], UNKNOWN, unknown="extra")] == [
        kept,
        None,
        {"_extra": 1},
    ]


def test_unknown_fields_inside_of_tuples_are_kept_under_the_same_names() -> None:
    stray = STRAY | {"l": ({"x": 1}, {"z": None})}
    (row,) = arrow([stray], UNKNOWN, unknown="extra").to_pylist()
    assert json.loads(row["_extra"]) == {"b": "1.5", "s.y": [1], "l[1].z": None}
