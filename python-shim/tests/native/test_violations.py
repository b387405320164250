"""Values that do not fit: named by place and type, never shown."""

import datetime as dt
import math
from decimal import Decimal
from typing import Any

import pytest
from daemon import Daemon, Encoding, Fields, lines, table

from caisson import _native
from caisson.errors import RecordTooLarge, SchemaViolation

NESTED = {"struct": [{"name": "price", "type": "decimal(6,2)"}, {"name": "n", "type": "int8", "nullable": False}]}
UTC = dt.UTC

MISFITS: list[tuple[Any, Any, str, str, str]] = [
    ("int64", "1", "x", "int64", "str"),
    ("int64", True, "x", "int64", "bool"),
    ("int64", 1.5, "x", "int64", "float with a fraction or out of range"),
    ("int64", 2**63, "x", "int64", "int outside of 64 bits"),
    ("int64", 10**5000, "x", "int64", "int out of range"),
    ("uint64", -1, "x", "uint64", "int out of range"),
    ("uint64", 2**64, "x", "uint64", "int outside of 64 bits"),
    ("int8", 128, "x", "int8", "int out of range"),
    ("float64", "1.5", "x", "float64", "str"),
    ("float64", Decimal("1.5"), "x", "float64", "Decimal"),
    ("float64", 2**53 + 1, "x", "float64", "int that would be rounded"),
    ("float64", 2**64 - 1, "x", "float64", "int that would be rounded"),
    ("float32", 2**24 + 1, "x", "float32", "int that would be rounded"),
    ("bool", 1, "x", "bool", "int"),
    ("string", 1, "x", "string", "int"),
    ("string", b"a", "x", "string", "bytes"),
    ("string", "\ud800", "x", "string", "str with half of a surrogate pair"),
    ("string", object(), "x", "string", "object"),
    ("string", {1, 2}, "x", "string", "set"),
    ("binary", "YQ==", "x", "binary", "str"),
    ("date", dt.datetime(2024, 1, 1, tzinfo=UTC), "x", "date", "datetime with a zone"),
    ("date", "yesterday", "x", "date", "str that is no date"),
    ("time", dt.time(1, tzinfo=UTC), "x", "time", "time with a zone"),
    ("timestamp", 1714564800, "x", "timestamp", "int"),
    ("timestamp", "2024-13-01T00:00:00Z", "x", "timestamp", "str that is no timestamp"),
    ("timestamp_naive", dt.datetime(2024, 1, 1, tzinfo=UTC), "x", "timestamp_naive", "datetime with a zone"),
    ("duration", dt.timedelta.max, "x", "duration", "timedelta out of range"),
    ("decimal(6,2)", Decimal("1.005"), "x", "decimal(6,2)", "Decimal with 1 digits before the point and 3 after it"),
    ("decimal(6,2)", Decimal(12345), "x", "decimal(6,2)", "Decimal with 5 digits before the point and 0 after it"),
    ("decimal(6,2)", Decimal("NaN"), "x", "decimal(6,2)", "Decimal that is not finite"),
    ("decimal(6,2)", "abc", "x", "decimal(6,2)", "str that is no decimal(6,2)"),
    ({"list": "int64"}, [1, 2, "3"], "x[2]", "int64", "str"),
    ({"list": "int64"}, 1, "x", "list of int64", "int"),
    ({"list": NESTED}, [{"n": 1}, {"n": 1, "price": "?"}], "x[1].price", "decimal(6,2)", "str that is no decimal(6,2)"),
    ({"list": NESTED}, [{"price": 1}], "x[0].n", "int8", "no value"),
    (NESTED, {"n": None}, "x.n", "int8", "None"),
    (NESTED, {"n": 1, "more": 1}, "x.more", "no such field", "a value"),
    (NESTED, {1: 2}, "x", "keys of type str", "a key of type int"),
    ({"map": "bool"}, {"a": True, "b": 0}, "x.b", "bool", "int"),
    ({"map": "bool"}, {1: True}, "x", "keys of type str", "a key of type int"),
    ("json", {"a": [1, math.nan]}, "x.a[1]", "json that JSON can hold", "float that is not finite"),
    ("json", {"a": {1: 2}}, "x.a", "keys of type str", "a key of type int"),
    ("null", 1, "x", "null", "int"),
]


def end(daemon: Daemon, encoding: Encoding, fields: Fields, **options: Any) -> _native.Emitter:
    schema = _native.ArrowSchema.from_fields(fields)
    options = {"flush_seconds": 60, **options}
    return _native.Emitter(daemon.channel, "orders", "", encoding=encoding, schema=schema, **options)


@pytest.mark.parametrize("encoding", ["arrow_ipc", "json_lines"])
@pytest.mark.parametrize(
    ("kind", "value", "field", "expected", "found"), MISFITS, ids=[f"{row[3]}-{row[4]}" for row in MISFITS]
)
def test_a_value_that_does_not_fit_is_named_and_its_record_taken_back(
    daemon: Daemon, encoding: Encoding, kind: Any, value: Any, field: str, expected: str, found: str
) -> None:
    fields: Fields = [{"name": "id", "type": "int64"}, {"name": "x", "type": kind}, {"name": "z", "type": "string"}]
    emitter = end(daemon, encoding, fields)
    emitter.record({"id": 0, "z": "a"})
    with pytest.raises(SchemaViolation) as raised:
        emitter.record({"id": 1, "z": "b", "x": value})
    error = raised.value
    assert (error.stream, error.record) == ("orders", 1)
    assert (error.field, error.expected, error.found) == (field, expected, found)
    assert f'stream "orders", record 1, field "{field}": expected' in str(error)
    emitter.record({"id": 2})
    assert emitter.count == 2
    emitter.checkpoint(b"")
    frames = daemon.until()
    if encoding == "arrow_ipc":
        assert table(frames).column("id").to_pylist() == [0, 2]
    else:
        assert [line.startswith(b'{"id":%d,' % number) for line, number in zip(lines(frames), (0, 2), strict=True)]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_refuses_what_arrow_keeps(daemon: Daemon, value: float) -> None:
    fields: Fields = [{"name": "x", "type": "float64"}]
    with pytest.raises(SchemaViolation, match="not finite"):
        end(daemon, "json_lines", fields).record({"x": value})
    emitter = end(daemon, "arrow_ipc", fields)
    emitter.record({"x": value})
    emitter.checkpoint(b"")
    (found,) = table(daemon.until()).column("x").to_pylist()
    assert found == value or (math.isnan(found) and math.isnan(value))


@pytest.mark.parametrize("encoding", ["arrow_ipc", "json_lines"])
def test_a_field_that_must_be_there_is_missed(daemon: Daemon, encoding: Encoding) -> None:
    emitter = end(daemon, encoding, [{"name": "id", "type": "int64", "nullable": False}])
    for record, found in (({}, "no value"), ({"id": None}, "None")):
        with pytest.raises(SchemaViolation) as raised:
            emitter.record(record)
        assert (raised.value.field, raised.value.found) == ("id", found)


@pytest.mark.parametrize("encoding", ["arrow_ipc", "json_lines"])
def test_a_value_that_contains_itself_is_refused(daemon: Daemon, encoding: Encoding) -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(SchemaViolation, match="nesting"):
        end(daemon, encoding, [{"name": "x", "type": "json"}]).record({"x": loop})
    emitter = _native.Emitter(daemon.channel, "s", "", encoding=encoding, schema=None)
    with pytest.raises(SchemaViolation, match="nesting"):
        emitter.record({"x": loop})


@pytest.mark.parametrize("record", [None, [], "x", ("a", 1)])
def test_a_record_that_is_no_dict_is_a_type_error(daemon: Daemon, record: Any) -> None:
    with pytest.raises(TypeError, match="a record is a dict, not"):
        end(daemon, "arrow_ipc", []).record(record)


def test_an_exception_of_the_values_own_code_comes_through(daemon: Daemon) -> None:
    class Broken:
        def __index__(self) -> int:
            raise ZeroDivisionError

    emitter = end(daemon, "arrow_ipc", [{"name": "x", "type": "int64"}])
    with pytest.raises(ZeroDivisionError):
        emitter.record({"x": Broken()})
    emitter.record({"x": 1})
    emitter.checkpoint(b"")
    assert table(daemon.until()).to_pylist() == [{"x": 1}]


def test_a_value_whose_code_empties_the_record_harms_nobody(daemon: Daemon) -> None:
    record: dict[str, Any] = {}

    class Eraser:
        def __index__(self) -> int:
            record.clear()
            return 1

    record |= {"x": Eraser(), "y": [Eraser()], "z": 3}
    fields: Fields = [
        {"name": "x", "type": "int64"},
        {"name": "y", "type": {"list": "int64"}},
        {"name": "z", "type": "int64"},
    ]
    emitter = end(daemon, "arrow_ipc", fields)
    emitter.record(record)
    emitter.checkpoint(b"")
    assert table(daemon.until()).column("x").to_pylist() == [1]


@pytest.mark.parametrize("encoding", ["arrow_ipc", "json_lines"])
@pytest.mark.parametrize("declared", [True, False])
def test_a_record_over_the_limit_is_named_and_those_around_it_arrive(
    daemon: Daemon, encoding: Encoding, declared: bool
) -> None:
    fields: Fields = [{"name": "x", "type": "string"}]
    emitter = end(daemon, encoding, fields, max_bytes=10_000)
    if not declared:
        emitter = _native.Emitter(
            daemon.channel,
            "orders",
            "",
            encoding=encoding,
            schema=None,
            sample=1,
            max_bytes=10_000,
            flush_seconds=60,
        )
    emitter.record({"x": "a"})
    with pytest.raises(RecordTooLarge, match=r"record 1: .* at most 10000"):
        emitter.record({"x": "b" * 20_000})
    emitter.record({"x": "c"})
    emitter.checkpoint(b"")
    frames = daemon.until()
    found = (
        table(frames).column("x").to_pylist() if encoding == "arrow_ipc" else [line[-3:-2] for line in lines(frames)]
    )
    assert found == (["a", "c"] if encoding == "arrow_ipc" else [b"a", b"c"])


def test_what_breaks_in_the_sample_stays_broken(daemon: Daemon) -> None:
    emitter = _native.Emitter(daemon.channel, "s", "", encoding="json_lines", schema=None, flush_seconds=60)
    emitter.record({"x": 1.5})
    emitter.record({"x": math.nan})
    for _ in range(2):
        with pytest.raises(SchemaViolation) as raised:
            emitter.flush()
        assert raised.value.record == 1
    with pytest.raises(SchemaViolation):
        emitter.record({"x": 1.5})
