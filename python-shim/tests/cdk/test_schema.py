"""Whatever an author declares as a schema becomes the same Arrow fields."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, NotRequired, TypedDict
from uuid import UUID

import pytest

from caisson import Connector, Stream, errors, stream
from caisson._native import ArrowSchema
from caisson._schema import arrow_schema, class_fields
from caisson.testing import Harness

Sku = NewType("Sku", str)
Record = dict[str, Any]


class Colour(str, enum.Enum):  # noqa: UP042
    RED = "red"


class Line(TypedDict):
    sku: str
    amount: int


class Order(TypedDict):
    id: int
    note: str | None
    paid: NotRequired[bool]
    total: Decimal
    exact: Annotated[Decimal, "decimal(12,2)"]
    at: datetime
    day: date
    hour: time
    took: timedelta
    raw: bytes
    rate: float
    either: int | float
    lines: list[Line]
    tags: Sequence[str]
    counts: dict[str, int]
    extra: dict[str, Any]
    anything: Any
    kind: Literal["a", "b"]
    mixed: int | str
    sku: Sku
    colour: Colour
    uuid: UUID
    plain: dict  # type: ignore[type-arg]
    mapping: Mapping[str, float]


@dataclass
class Point:
    x: float
    label: str | None = None


def test_a_typed_dict_becomes_fields() -> None:
    fields = {each["name"]: (each["type"], each["nullable"]) for each in class_fields(Order)}
    struct = {"struct": [
        {"name": "sku", "type": "string", "nullable": False}, {"name": "amount", "type": "int64", "nullable": False},
    ]}  # fmt: skip
    assert fields == {
        "id": ("int64", False), "note": ("string", True), "paid": ("bool", True), "total": ("decimal(38,9)", False),
        "exact": ("decimal(12,2)", False), "at": ("timestamp", False), "day": ("date", False),
        "hour": ("time", False), "took": ("duration", False), "raw": ("binary", False), "rate": ("float64", False),
        "either": ("float64", False), "lines": ({"list": struct}, False), "tags": ({"list": "string"}, False),
        "counts": ({"map": "int64"}, False), "extra": ("json", False), "anything": ("json", True),
        "kind": ("string", False), "mixed": ("json", False), "sku": ("string", False), "colour": ("string", False),
        "uuid": ("string", False), "plain": ("json", False), "mapping": ({"map": "float64"}, False),
    }  # fmt: skip
    schema = arrow_schema(Order)
    assert schema is not None
    assert [each["name"] for each in schema.fields()] == list(fields)


def test_a_dataclass_a_json_schema_a_file_fields_and_arrow_do_too() -> None:
    here = str(Path(__file__).parent)
    assert [each["name"] for each in arrow_schema(Point).fields()] == ["x", "label"]  # type: ignore[union-attr]
    from_file = arrow_schema("schemas_order.json", ["id"], here)
    assert from_file is not None
    assert {each["name"]: each["nullable"] for each in from_file.fields()} == {"id": False, "at": True}
    fields = [{"name": "id", "type": "int64", "nullable": False}]
    by_fields = arrow_schema(fields)
    assert by_fields is not None
    assert by_fields.fields() == fields

    class Foreign:
        def __arrow_c_schema__(self) -> object:
            return ArrowSchema.from_fields(fields).__arrow_c_schema__()

    foreign = arrow_schema(Foreign())
    assert foreign is not None
    assert foreign.fields() == fields
    assert arrow_schema(by_fields) is by_fields
    assert arrow_schema(None) is None


@pytest.mark.parametrize(
    ("declared", "key", "told"),
    [
        (17, (), "schema= is a int"),
        (Point, ("id",), "primary key 'id' is no field"),
        ("missing.json", (), "cannot be read: No such file"),
        (object, (), "no annotated field"),
    ],
)
def test_what_is_no_schema_is_named(declared: Any, key: Any, told: str) -> None:
    with pytest.raises(errors.ConnectorFailed, match=told):
        arrow_schema(declared, key)


def test_a_type_without_an_arrow_type_says_what_to_write() -> None:
    class Odd(TypedDict):
        value: complex

    with pytest.raises(errors.ConnectorFailed, match=r"Odd\.value: no Arrow type .* annotate one"):
        class_fields(Odd)


class Shop(Connector[Any]):
    @stream(schema="schemas_order.json", primary_key="id", cursor="at", order="asc", partitions=["eu", "us"])
    def orders(self, state: Any) -> Iterator[Record]:
        yield {"id": 1, "at": "2024-01-01T00:00:00Z", "unknown": 1}

    @stream(title="Points of sale", partitions=lambda shop: [shop.config.region])
    def points(self) -> Iterator[Record]:
        yield {"x": 1.5, "note": None}
        yield {"x": 2, "note": "late"}

    @stream(schema=Line, unknown="drop")
    def dropping(self) -> Iterator[Record]:
        yield {"sku": "a", "amount": 1, "more": 2}

    def list(self) -> Iterator[Stream]:
        yield Stream("found", [{"name": "id", "type": "int64", "nullable": False}], primary_key="id")

    def read(self, stream: Stream, state: Any) -> Iterator[Record]:
        yield {"id": "not a number"}


def test_list_describes_declared_and_discovered_streams() -> None:
    harness = Harness(Shop, {"region": "north"}, manifest={"capabilities": ["list", "write.append", "write.upsert"]})
    objects = {each["name"]: each for each in harness.list().check().objects}
    assert list(objects) == ["orders", "points", "dropping", "found"]
    assert objects["orders"] == {
        "name": "orders", "title": "Orders", "primary_key": ["id"], "cursor": "at", "order": "asc",
        "modes": ["full", "incremental"], "partitions": ["eu", "us"], "write_modes": ["append", "upsert"],
        "fields": objects["orders"]["fields"],
    }  # fmt: skip
    assert [each["name"] for each in objects["orders"]["fields"]] == ["id", "at"]
    assert (objects["points"]["title"], objects["points"]["partitions"]) == ("Points of sale", ["north"])
    assert objects["points"]["modes"] == ["full"]
    assert objects["found"]["modes"] == ["full", "incremental"]


def test_the_schema_travels_with_its_object() -> None:
    frames = [frame for frame in Harness(Shop, {"region": "x"}).list().frames if frame[0] == "object"]
    assert [bool(body) for _, _, body in frames] == [True, False, True, True]
    assert ArrowSchema.from_ipc(frames[3][2]).fields()[0]["name"] == "id"


def test_records_are_held_to_their_schema() -> None:
    harness = Harness(Shop)
    unknown = harness.read("orders")
    assert unknown.error is not None
    assert unknown.error.code == "SCHEMA_VIOLATION"
    assert "unknown" in unknown.error.message
    wrong = harness.read("found")
    assert wrong.error is not None
    assert wrong.error.code == "SCHEMA_VIOLATION"
    assert "not a number" not in wrong.error.message
    assert harness.read("dropping").check().records == [{"sku": "a", "amount": 1}]


def test_without_a_schema_it_is_inferred() -> None:
    run = Harness(Shop, {"region": "x"}).read("points").check()
    assert run.records == [{"x": 1.5, "note": None}, {"x": 2.0, "note": "late"}]


def test_two_streams_of_one_name_are_refused() -> None:
    class Twice(Connector[Any]):
        @stream()
        def rows(self) -> list[Record]:
            return []

        def list(self) -> list[Stream]:
            return [Stream("rows")]

    run = Harness(Twice).list()
    assert run.error is not None
    assert "two streams are named 'rows'" in run.error.message


class Arrow(Connector[Any]):
    @stream(primary_key="id")
    def table(self) -> Iterator[Any]:
        from caisson._native import RecordBatch

        lines = b"\n".join(b'{"id": %d}' % n for n in range(5))
        yield RecordBatch.decode(None, "json_lines", lines)


def test_arrow_data_passes_as_it_is() -> None:
    assert [each["id"] for each in Harness(Arrow).read("table").check().records] == [0, 1, 2, 3, 4]
