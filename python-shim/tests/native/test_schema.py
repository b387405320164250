"""Schemas in all their forms."""

from contextlib import suppress
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import Case, cases

from caisson import _native
from caisson._native import ArrowSchema


@given(case=cases())
@settings(deadline=None, suppress_health_check=list(HealthCheck))
def test_every_form_of_a_schema_is_the_same_schema(case: Case) -> None:
    schema = ArrowSchema.from_fields(case.fields)
    assert schema.fields() == _nullable(case.fields)
    assert ArrowSchema.from_fields(schema.fields()) == schema
    assert ArrowSchema.from_ipc(schema.to_ipc()) == schema
    assert ArrowSchema.from_arrow(schema) == schema
    assert ArrowSchema.from_arrow(pa.schema(schema)) == schema
    assert pa.ipc.read_schema(pa.py_buffer(schema.to_ipc())) == pa.schema(schema)
    assert ArrowSchema.from_ipc(pa.schema(schema).serialize().to_pybytes()) == schema


def _nullable(fields: Any) -> Any:
    return [{"nullable": True, **field} for field in fields]


def test_the_same_fields_are_equal_and_others_are_not() -> None:
    one = ArrowSchema.from_fields([{"name": "a", "type": "int64"}])
    assert one == ArrowSchema.from_fields([{"name": "a", "type": "int64", "nullable": True}])
    assert one != ArrowSchema.from_fields([{"name": "a", "type": "int64", "nullable": False}])
    assert "int64" in repr(one)


def test_json_is_the_canonical_extension_type() -> None:
    assert pa.schema(ArrowSchema.from_fields([{"name": "a", "type": "json"}])).field("a").type == pa.json_()


def test_layouts_have_the_name_of_what_they_hold() -> None:
    schema = pa.schema(
        [
            ("a", pa.large_string()),
            ("b", pa.dictionary(pa.int8(), pa.string())),
            ("c", pa.timestamp("ns", "Europe/Paris")),
            ("d", pa.list_(pa.binary(3), 2)),
            ("e", pa.date64()),
        ]
    )
    assert [field["type"] for field in ArrowSchema.from_arrow(schema).fields()] == [
        "string",
        "string",
        "timestamp",
        {"list": "binary"},
        "date",
    ]


def test_a_json_schema_says_types() -> None:
    document = {
        "type": "object",
        "required": ["id"],
        "properties": {
            "id": {"type": "integer"},
            "at": {"type": ["string", "null"], "format": "date-time"},
            "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
        },
        "$defs": {"line": {"type": "object", "properties": {"price": {"type": "number"}}}},
    }
    assert ArrowSchema.from_json_schema(document).fields() == [
        {"name": "id", "type": "int64", "nullable": False},
        {"name": "at", "type": "timestamp", "nullable": True},
        {
            "name": "lines",
            "type": {"list": {"struct": [{"name": "price", "type": "float64", "nullable": True}]}},
            "nullable": True,
        },
    ]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ([{"name": "a", "type": "integer"}], 'no type "integer"; types are'),
        ([{"type": "int64"}], "has a name"),
        ([{"name": "a", "type": {"list": "int64", "map": "int64"}}], "a type is a word"),
        ("a", "fields are a list"),
        ([{"name": "a", "type": "int64", "nullable": 1}], "true or false"),
        ([{1: 2}], "keys of type str"),
    ],
)
def test_faults_in_fields_say_what_to_write(fields: Any, says: str) -> None:
    with pytest.raises(ValueError, match=r".+") as raised:
        ArrowSchema.from_fields(fields)
    assert says in str(raised.value)


@given(message=st.binary(max_size=200))
def test_no_bytes_are_more_than_a_value_error(message: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        ArrowSchema.from_ipc(message)


def test_a_cut_or_changed_schema_message_is_a_value_error_at_worst() -> None:
    message = ArrowSchema.from_fields([{"name": "a", "type": {"list": "json"}}]).to_ipc()
    for at in range(len(message)):
        for broken in (message[:at], message[:at] + bytes([message[at] ^ 0xFF]) + message[at + 1 :]):
            with suppress(ValueError):
                ArrowSchema.from_ipc(broken)


def test_what_is_no_schema_is_refused() -> None:
    with pytest.raises(AttributeError):
        ArrowSchema.from_arrow(object())
    with pytest.raises(ValueError, match="properties"):
        ArrowSchema.from_json_schema({"type": "string"})
    with pytest.raises(TypeError, match="dict"):
        ArrowSchema.infer([1])  # type: ignore[list-item]
    assert ArrowSchema.infer([]).fields() == []


def test_versions_are_told() -> None:
    assert _native.PROTOCOL_VERSION == 2
    assert _native.VERSION.count(".") == 2
