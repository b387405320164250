"""What a destination gets: rows, objects, COPY text, Arrow without a copy."""

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import Case, cases
from test_encode import arrow

from caisson import _native


def decoded(data: pa.Table) -> _native.RecordBatch:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, data.schema) as writer:
        writer.write_table(data)
    body = sink.getvalue().to_pybytes()[data.schema.serialize().size :]
    return _native.RecordBatch.decode(_native.ArrowSchema.from_arrow(data.schema), "arrow_ipc", body)


@given(case=cases())
@settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
def test_arrow_crosses_back_and_slices_are_those_records(case: Case) -> None:
    data = arrow(case.records, case.fields)
    batch = decoded(data)
    assert len(batch) == data.num_rows
    assert pa.table(batch) == data
    assert pa.record_batch(batch).to_pylist() == data.to_pylist()
    assert pa.schema(batch) == data.schema
    rows = batch.to_pylist()
    assert [tuple(row.values()) for row in rows] == batch.rows()
    middle = len(batch) // 2
    assert repr(batch.slice(middle, len(batch) - middle).to_pylist()) == repr(rows[middle:])
    assert batch.csv() == batch.slice(0, middle).csv() + batch.slice(middle, len(batch) - middle).csv()


def test_values_come_as_pythons_own_types() -> None:
    moment = dt.datetime(2024, 5, 1, 12, 0, 0, 5, tzinfo=dt.UTC)
    record = {
        "bool": True,
        "int": -1,
        "big": 2**64 - 1,
        "float": 1.5,
        "decimal": Decimal("-0.05"),
        "text": "ü",
        "bytes": b"\x00",
        "date": dt.date(1, 1, 1),
        "time": dt.time(23, 59, 59, 999_999),
        "at": moment,
        "naive": moment.replace(tzinfo=None),
        "span": dt.timedelta(-1, 5, 7),
        "list": [1, None],
        "dict": {"a": [{"b": None}]},
        "none": None,
    }
    schema = pa.schema([
        ("bool", pa.bool_()), ("int", pa.int64()), ("big", pa.uint64()), ("float", pa.float64()),
        ("decimal", pa.decimal128(10, 2)), ("text", pa.string()), ("bytes", pa.binary()), ("date", pa.date32()),
        ("time", pa.time64("us")), ("at", pa.timestamp("us", "UTC")), ("naive", pa.timestamp("us")),
        ("span", pa.duration("us")), ("list", pa.list_(pa.int64())),
        ("dict", pa.struct([("a", pa.list_(pa.struct([("b", pa.string())])))])), ("none", pa.null()),
    ])  # fmt: skip
    batch = decoded(pa.Table.from_pylist([record], schema))
    (found,) = batch.to_pylist()
    assert found == record
    assert {name: type(value) for name, value in found.items()} == {n: type(v) for n, v in record.items()}
    assert found["at"].tzinfo is dt.UTC
    assert batch.nbytes > 0


def test_other_layouts_and_units_read_as_the_same_values() -> None:
    data = pa.table(
        {
            "dictionary": pa.array(["a", None]).dictionary_encode(),
            "view": pa.array(["x" * 30, None], pa.string_view()),
            "large": pa.array([["a"], None], pa.large_list(pa.large_string())),
            "nanos": pa.array([1_000_000_001_999, None], pa.timestamp("ns", "UTC")),
            "seconds": pa.array([-1, None], pa.timestamp("s", "Europe/Paris")),
            "date64": pa.array([86_400_000, None], pa.date64()),
        }
    )
    assert decoded(data).rows()[0] == (
        "a",
        "x" * 30,
        ["a"],
        dt.datetime(1970, 1, 1, 0, 16, 40, 1, tzinfo=dt.UTC),
        dt.datetime(1969, 12, 31, 23, 59, 59, tzinfo=dt.UTC),
        dt.date(1970, 1, 2),
    )


def unescaped(line: str) -> list[str | None]:
    """COPY's text format, read as PostgreSQL's manual describes it."""
    plain = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}

    def cell(text: str) -> str | None:
        if text == "\\N":
            return None
        out, at = "", 0
        while at < len(text):
            if text[at] == "\\":
                at += 1
                out += plain[text[at]]
            else:
                out += text[at]
            at += 1
        return out

    return [cell(text) for text in line.split("\t")]


@given(texts=st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
@settings(deadline=None)
def test_copy_text_is_read_back_whatever_it_holds(texts: list[str | None]) -> None:
    data = pa.table({"a": pa.array(texts, pa.string()), "b": range(len(texts))})
    found = decoded(data).csv().decode().split("\n")
    assert found.pop() == ""
    assert [unescaped(line) for line in found] == [[text, str(at)] for at, text in enumerate(texts)]


def test_copy_text_spells_values_as_postgresql_does() -> None:
    data = pa.table(
        {
            "bool": [True],
            "float": [float("nan")],
            "bytes": [b"\x00\xff"],
            "at": pa.array([-1], pa.timestamp("us", "UTC")),
            "naive": pa.array([0], pa.timestamp("us")),
            "span": pa.array([-1_500_000], pa.duration("us")),
            "list": [["a\tb", None]],
            "null": pa.array([None], pa.int8()),
        }
    )
    assert decoded(data).csv(null="") == (
        b"t\tNaN\t\\\\x00ff\t1969-12-31 23:59:59.999999+00\t1970-01-01 00:00:00.000000"
        b'\tPT-1.500000S\t["a\\\\tb",null]\t\n'
    )


NESTED = pa.struct(
    [
        ("text", pa.string()),
        ("numbers", pa.list_(pa.int64())),
        ("share", pa.float64()),
        ("at", pa.timestamp("us", "UTC")),
        ("raw", pa.binary()),
    ]
)


@given(
    values=st.lists(
        st.none()
        | st.fixed_dictionaries(
            {
                "text": st.none() | st.text(st.characters(exclude_categories=["Cs"])),
                "numbers": st.none() | st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)),
                "share": st.none() | st.floats(allow_nan=False, allow_infinity=False),
                "at": st.none() | st.integers(0, 2**50),
                "raw": st.none() | st.binary(),
            }
        ),
        min_size=1,
    ),
    cut=st.integers(0, 3),
)
@settings(deadline=None)
def test_a_column_as_json_is_what_copy_text_says_of_it(values: list[dict[str, Any] | None], cut: int) -> None:
    data = pa.table({"id": range(len(values)), "doc": pa.array(values, NESTED)})
    batch = decoded(data)
    batch = batch.slice(min(cut, len(batch)), max(len(batch) - cut, 0))
    documents = batch.with_json(["doc"])
    assert documents.schema.fields()[1]["type"] == "json"
    said = [unescaped(line) for line in batch.csv().decode().split("\n")[:-1]]
    assert [[str(row["id"]), row["doc"]] for row in documents.to_pylist()] == said


def test_what_json_cannot_say_is_refused_with_its_column() -> None:
    data = pa.table({"a": pa.array([[1.5], [float("nan")]])})
    assert decoded(data).slice(0, 1).with_json(["a"]).to_pylist() == [{"a": "[1.5]"}]
    with pytest.raises(ValueError, match=r'column "a\.item"'):
        decoded(data).with_json(["a"])
    with pytest.raises(ValueError, match='there is no field "b"'):
        decoded(data).with_json(["b"])


def test_json_lines_without_a_schema_are_inferred() -> None:
    batch = _native.RecordBatch.decode(None, "json_lines", b'{"a":1}\n\n{"a":2.5,"b":{"c":[true]}}\n')
    assert batch.to_pylist() == [{"a": 1.0, "b": None}, {"a": 2.5, "b": {"c": [True]}}]


def test_json_lines_with_a_schema_become_its_types() -> None:
    fields = [
        {"name": "at", "type": "timestamp"},
        {"name": "d", "type": "decimal(9,2)"},
        {"name": "b", "type": "binary"},
    ]
    schema = _native.ArrowSchema.from_fields(fields)
    line = b'{"b":"AP8=","at":"2024-05-01T14:00:00+02:00","d":"1.5"}\n{"d":1.25}'
    assert _native.RecordBatch.decode(schema, "json_lines", line).rows() == [
        (dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC), Decimal("1.50"), b"\x00\xff"),
        (None, Decimal("1.25"), None),
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"a":1}\n{"a":', "line 2: EOF"),
        (b"[]", "line 1: a record is a JSON object"),
        (b'{"a":"x"}', 'record 0, field "a": expected int64, found str'),
        (b'{"a":1,"b":2}', 'record 0, field "b": expected no such field'),
        (b'{"a":1e400}', "line 1"),
        (b'{"a":\xff}', "line 1"),
    ],
)
def test_malformed_json_lines_say_what_and_where(line: bytes, says: str) -> None:
    schema = _native.ArrowSchema.from_fields([{"name": "a", "type": "int64"}])
    with pytest.raises(ValueError, match=r".+") as raised:
        _native.RecordBatch.decode(schema, "json_lines", line)
    assert says in str(raised.value)


@given(at=st.integers(0, 10_000), byte=st.integers(0, 255), cut=st.integers(0, 10_000))
@settings(deadline=None, max_examples=500)
def test_broken_arrow_is_a_value_error_at_worst(at: int, byte: int, cut: int) -> None:
    data = pa.table({"a": [1, None, 3], "s": ["a", "bb", None], "l": [[1], [], None]})
    body = bytearray(data.to_batches()[0].serialize().to_pybytes())
    body[at % len(body)] = byte
    schema = _native.ArrowSchema.from_arrow(data.schema)
    try:
        batch = _native.RecordBatch.decode(schema, "arrow_ipc", bytes(body[: cut % len(body) + 1]))
    except ValueError:
        return
    json.dumps(batch.to_pylist(), default=str)
    batch.csv()


def test_a_wrong_schema_encoding_or_slice_is_refused() -> None:
    data = pa.table({"a": [1]})
    body = data.to_batches()[0].serialize().to_pybytes()
    other = _native.ArrowSchema.from_fields([{"name": "a", "type": "int64"}, {"name": "b", "type": "string"}])
    refused: list[tuple[Any, str]] = [(other, "arrow_ipc"), (None, "arrow_ipc"), (other, "csv")]
    for schema, encoding in refused:
        with pytest.raises(ValueError, match=r".+"):
            _native.RecordBatch.decode(schema, encoding, body)
    for offset, length in ((0, 2), (2, 0), (1, 2**63)):
        with pytest.raises(IndexError):
            decoded(data).slice(offset, length)
    assert len(decoded(data).slice(1, 0)) == 0
