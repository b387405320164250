"""Pages of JSON: as they lie they give what their dicts give, and the trail knows of them."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from daemon import Daemon, Fields, lines, tables
from documents import layouts, quietly, same, values
from hypothesis import given, reject
from hypothesis import strategies as st
from samples import Case, cases

from caisson import _native
from caisson.errors import SchemaViolation
from caisson.pages import find

Told = tuple[list[Any], str]


def told(fields: Fields, options: dict[str, Any], emit: Callable[[_native.Emitter], None]) -> Told:
    """What came out, and how it ended."""
    declared = _native.ArrowSchema.from_fields(fields) if fields else None
    with Daemon() as daemon:
        emitter = _native.Emitter(daemon.channel, "orders", "", schema=declared, **options)
        error = ""
        try:
            emit(emitter)
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}"
        emitter.checkpoint(b"")
        emitter.close()
        frames = daemon.until()
    if options["encoding"] == "json_lines":
        return list(lines(frames)), error
    return [(found.schema.to_string(), found.to_pylist()) for found in tables(frames).values()], error


def whole(page: Any) -> Iterator[Any]:
    """A connector's method that touches nothing."""
    yield from page


def both(records: str, fields: Fields, **options: Any) -> tuple[Told, Told]:
    """The page on its way as it lies, and by dicts."""
    content = f'{{"data":{records},"next":null}}'.encode()
    options = {"encoding": "arrow_ipc", **options}

    def fast(emitter: _native.Emitter) -> None:
        text = _native.Json.parse(content)
        assert text is not None
        count, item, over = emitter.pump(whole(text.page("data")), 1_000_000)
        assert (item, over) == (None, True)
        assert count == len(json.loads(content)["data"])

    def slow(emitter: _native.Emitter) -> None:
        for record in json.loads(content)["data"]:
            emitter.record(record)

    return told(fields, options, fast), told(fields, options, slow)


def ahead(first: str, second: str, fields: Fields, **options: Any) -> tuple[Told, Told, int]:
    """A page after one of the same track, whose records are made rows as it is looked at, and both by dicts."""
    options = {"encoding": "arrow_ipc", **options}
    made = 0

    def fast(emitter: _native.Emitter) -> None:
        nonlocal made
        track = _native.Trail({}).open("r")
        for records in (first, second):
            text = _native.Json.parse(f'{{"data":{records},"next":null}}'.encode(), "data", track)
            assert text is not None
            made = text.ahead
            source = whole(text.page("data", track))
            while not emitter.pump(source, 1_000_000)[2]:
                pass

    def slow(emitter: _native.Emitter) -> None:
        for record in json.loads(first) + json.loads(second):
            emitter.record(record)

    return told(fields, options, fast), told(fields, options, slow), made


@given(
    case=cases(),
    layout=layouts,
    unknown=st.sampled_from(["error", "drop", "extra"]),
    encoding=st.sampled_from(["arrow_ipc", "json_lines"]),
    data=st.data(),
)
@quietly
def test_a_page_as_it_lies_gives_what_its_dicts_give(
    case: Case, layout: dict[str, Any], unknown: str, encoding: str, data: st.DataObject
) -> None:
    records = case.json()
    # The first one is made an object and by itself; all others may go as they lie.
    records = [records[0], *records]
    names = [*case.samples, "other", "_extra"]
    for _ in range(data.draw(st.integers(0, 2))):
        record = dict(data.draw(st.sampled_from(records)))
        record[data.draw(st.sampled_from(names))] = data.draw(values.filter(lambda value: "nan" not in repr(value)))
        records.append(record)
    text = json.dumps(records, **layout)
    if _native.Json.parse(text.encode("utf-8", "surrogatepass")) is None:
        return
    fast, slow = both(text, case.fields, unknown=unknown, encoding=encoding)
    assert same(fast, slow)
    limits = {"target_bytes": data.draw(st.sampled_from([1, 200, 1_048_576]))}
    first = json.dumps(records[:2], **layout)
    fast, slow, _ = ahead(first, text, case.fields, unknown=unknown, encoding=encoding, **limits)
    assert same(fast, slow)


@given(case=cases(), layout=layouts, unknown=st.sampled_from(["error", "drop", "extra"]), data=st.data())
@quietly
def test_a_text_that_is_made_into_rows_is_as_whole_or_broken_as_another(
    case: Case, layout: dict[str, Any], unknown: str, data: st.DataObject
) -> None:
    records = case.json()
    content = bytearray(json.dumps({"data": records, "next": 1}, **layout).encode())
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(content)))
        new = data.draw(st.sampled_from(list(b'"\\{}[],:0123456789-+.eEuntrfalsb \n\x00\x1f\x80\xff')))
        content[at : at + data.draw(st.integers(0, 2))] = bytes([new])
    with Daemon() as daemon:
        try:
            track = moulded(daemon, case.fields, records[0], unknown)
        except SchemaViolation:
            reject()
        looked, made = _native.Json.parse(bytes(content)), _native.Json.parse(bytes(content), "data", track)
    assert (looked is None) == (made is None)
    if looked is not None and made is not None:
        assert same(looked.find(), made.find())


def moulded(daemon: Daemon, fields: Fields, record: Any, unknown: Any = "error") -> _native.Track:
    """A track of which a page went out as it lay."""
    emitter = _native.Emitter(
        daemon.channel, "orders", "", encoding="arrow_ipc", schema=_native.ArrowSchema.from_fields(fields),
        unknown=unknown,
    )  # fmt: skip
    track = _native.Trail({}).open("r")
    text = _native.Json.parse(json.dumps([record, record]).encode())
    assert text is not None
    emitter.pump(whole(text.page(None, track)), 2)
    return track


ROW: Fields = [
    {"name": "id", "type": "int64", "nullable": False},
    {"name": "price", "type": "float64"},
    {"name": "text", "type": "string"},
    {"name": "paid", "type": "decimal(10,2)"},
    {"name": "when", "type": "timestamp"},
    {"name": "free", "type": "json"},
    {"name": "tags", "type": {"list": "string"}},
    {"name": "inner", "type": {"struct": [{"name": "a", "type": "int8", "nullable": False}]}},
    {"name": "map", "type": {"map": "int32"}},
]


@pytest.mark.parametrize("unknown", ["error", "drop", "extra"])
@pytest.mark.parametrize("record", [
    '{"id": 2, "price": 3, "text": "a\\u00e9\\n", "paid": "1.50", "when": "2024-05-01T12:00:00Z"}',
    '{"text": null, "id": 2, "tags": ["a", null], "inner": {"a": 1}, "map": {"x": 1, "y": null}}',
    '{"id": 2, "id": 3}', '{"id": 2, "inner": {"a": 1, "a": 2}}', '{"id": 2, "map": {"x": 1, "x": 2}}',
    '{"id": 2, "free": {"x": 1, "x": 2}}', '{"id": 2, "free": [1.50, 1e2, "\\u0041", {"b": null, "a": true}]}',
    '{"id": 2, "free": 123456789012345678901234567890}', '{"id": 2, "free": 1e999}', '{"id": 2, "free": null}',
    '{"id": 2, "other": [1, 2]}', '{"id": 2, "_extra": 1}', '{"id": 2, "\\u0074ext": "x"}', "{}", '{"id": null}',
    '{"id": 2.0}', '{"id": 2.5}', '{"id": "2"}', '{"id": true}', '{"id": 99999999999999999999}', '{"id": -0}',
    '{"id": 2, "price": 9007199254740993}', '{"id": 2, "price": 9007199254740994}', '{"id": 2, "price": 1e999}',
    '{"id": 2, "paid": 1.5}', '{"id": 2, "paid": 7}', '{"id": 2, "paid": "x"}', '{"id": 2, "paid": 1.505}',
    '{"id": 2, "when": "yesterday"}', '{"id": 2, "when": 5}', '{"id": 2, "tags": "a"}', '{"id": 2, "tags": [1]}',
    '{"id": 2, "inner": {}}', '{"id": 2, "inner": {"a": 300}}', '{"id": 2, "inner": []}',
    '{"id": 2, "inner": {"b": 1}}',
])  # fmt: skip
def test_a_record_with_anything_to_think_about_goes_as_a_dict_would(record: str, unknown: str) -> None:
    fine = '{"id": 1, "price": 0.5, "inner": {"a": 1}}'
    fast, slow = both(f"[{fine}, {fine}, {record}, {fine}]", ROW, unknown=unknown)
    assert same(fast, slow)
    fast, slow, _ = ahead(f"[{fine}, {fine}]", f"[{fine}, {record}, {fine}, {fine}]", ROW, unknown=unknown)
    assert same(fast, slow)


@pytest.mark.parametrize("item", ["1", "null", "[]", '"x"'])
def test_what_is_no_object_is_given_back(daemon: Daemon, item: str) -> None:
    emitter = _native.Emitter(
        daemon.channel, "orders", "", encoding="arrow_ipc", schema=_native.ArrowSchema.from_fields(ROW)
    )
    text = _native.Json.parse(f'[{{"id":1}}, {{"id":2}}, {item}, {{"id":3}}]'.encode())
    assert text is not None
    source = whole(text.page())
    assert emitter.pump(source, 10) == (2, json.loads(item), False)
    assert emitter.pump(source, 10) == (1, None, True)


def test_records_without_a_declared_schema_are_sampled_first() -> None:
    records = json.dumps([{"id": number, "name": "x"} for number in range(50)])
    fast, slow = both(records, [], sample=10)
    assert fast == slow


def test_a_record_that_is_too_large_is_the_same_error() -> None:
    fine = '{"id": 1, "text": "x"}'
    large = json.dumps({"id": 2, "text": "x" * 5_000})
    fast, slow = both(f"[{fine}, {fine}, {large}]", ROW, max_bytes=4_000, target_bytes=1_000)
    assert fast == slow
    assert "RecordTooLarge" in fast[1]


@pytest.mark.parametrize(("options", "error"), [
    ({}, ""), ({"target_bytes": 200}, ""), ({"max_records": 7}, ""),
    ({"max_bytes": 4_000, "target_bytes": 1_000}, "RecordTooLarge"),
])  # fmt: skip
def test_rows_made_ahead_are_under_the_limits_of_all(options: dict[str, Any], error: str) -> None:
    first = json.dumps([{"id": 0, "text": "x"}] * 2)
    second = json.dumps([{"id": number, "text": "y" * (5_000 if number == 15 else number)} for number in range(20)])
    fast, slow, made = ahead(first, second, ROW, **options)
    assert fast == slow
    assert error in fast[1]
    assert made == 20


def test_of_a_page_most_records_are_rows_though_some_are_not_ordinary() -> None:
    fine = '{"id": 1, "text": "x"}'
    odd = '{"id": 2, "other": 1}'
    fast, slow, made = ahead(f"[{fine}, {fine}]", f"[{odd}, {fine}, {odd}, {odd}, {fine}, {odd}]", ROW, unknown="extra")
    assert fast == slow
    assert made == 2


@pytest.mark.parametrize(("body", "at", "made"), [
    (b'[{"id": 1}, {"id": 2}]', None, 2), (b'{"a": [{"id": 1}]}', "a", 1), (b'{"a": [{"id": 1}]}', "b", 0),
    (b'{"a": {"b": [{"id": 1}]}}', "a.b", 0), (b'{"a.b": [{"id": 1}]}', "a.b", 1), (b'{"a": [{"id": 1}]}', None, 0),
    (b'{"a": [{"id": 1}], "b": [{"id": 1}], "a": [{"id": 2}, {"id": 3}]}', "a", 2),
    (b'{"a": [{"id": 1}, {"id": 2}], "a": null}', "a", 2), (b'{"a": [{"id": 1}], "a": [{"id": "x"}]}', "a", 0),
    (b"[]", None, 0), (b'["x", 1, null, [], {"id": null}]', None, 0),
])  # fmt: skip
def test_rows_are_made_of_the_array_that_was_asked_for(daemon: Daemon, body: bytes, at: str | None, made: int) -> None:
    track = moulded(daemon, ROW[:1], {"id": 0})
    text = _native.Json.parse(body, at, track)
    assert text is not None
    assert text.ahead == made
    expected, page = find(json.loads(body), at) if at else json.loads(body), text.page(at, track)
    assert (list(page) if page is not None else None) == (expected if isinstance(expected, list) else None)


@pytest.mark.parametrize("name", ["free", "unknown"])
def test_what_is_nested_too_deep_stays_python_s(daemon: Daemon, name: str) -> None:
    track = moulded(daemon, ROW, {"id": 0, "inner": {"a": 1}}, "drop")
    for depth, plain in ((98, True), (99, False), (100, False), (50_000, False)):
        nested = b"[" * depth + b"]" * depth
        content = b'[{"id": 1, "%s": %s}]' % (name.encode(), nested)
        assert (_native.Json.parse(content) is not None) == plain
        assert (_native.Json.parse(content, None, track) is not None) == plain


def test_short_records_of_a_wide_schema_take_no_more_room_than_their_text_allows(daemon: Daemon) -> None:
    fields: Fields = [{"name": f"f{number}", "type": "int64"} for number in range(1_000)]
    track = moulded(daemon, fields, {})
    text = _native.Json.parse(b"[" + b"{}," * 100_000 + b"{}]", None, track)
    assert text is not None
    assert 0 < text.ahead < 200


def test_rows_of_another_emitter_s_schema_are_left_alone(daemon: Daemon) -> None:
    track = moulded(daemon, ROW[:1], {"id": 0})
    text = _native.Json.parse(b'[{"id": 1}, {"id": 2}, {"id": 3}]', None, track)
    assert text is not None
    assert text.ahead == 3
    fields: Fields = [{"name": "id", "type": "float64"}]
    schema = _native.ArrowSchema.from_fields(fields)
    other = _native.Emitter(daemon.channel, "others", "", encoding="arrow_ipc", schema=schema)
    assert other.pump(whole(text.page(None, track)), 1) == (3, None, False)
    other.checkpoint(b"")
    found = tables(daemon.until())
    assert [value for table in found.values() for value in table.column("id").to_pylist()] == [1.0, 2.0, 3.0]


def test_an_author_who_took_some_of_a_page_of_rows_is_not_given_them_again(daemon: Daemon) -> None:
    emitter = emitter_of(daemon)
    track = _native.Trail({}).open("r")

    def author() -> Iterator[Any]:
        yield from page_of(3, track)
        page = page_of(10, track)
        taken = [next(page), next(page)]
        yield from page
        yield from taken

    source = author()
    while not emitter.pump(source, 1)[2]:
        pass
    emitter.checkpoint(b"")
    (found,) = tables(daemon.until()).values()
    assert found.column("id").to_pylist() == [0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


def page_of(count: int, track: _native.Track | None = None) -> _native.Page:
    text = _native.Json.parse(json.dumps([{"id": number} for number in range(count)]).encode(), None, track)
    assert text is not None
    page = text.page(None, track)
    assert page is not None
    return page


def emitter_of(daemon: Daemon) -> _native.Emitter:
    return _native.Emitter(
        daemon.channel, "orders", "", encoding="arrow_ipc", schema=_native.ArrowSchema.from_fields(ROW[:1])
    )


def test_a_page_goes_whole_through_generators_that_only_delegate(daemon: Daemon) -> None:
    emitter = emitter_of(daemon)

    def client() -> Iterator[Any]:
        yield from page_of(10)
        yield from page_of(5)

    assert emitter.pump(whole(whole(client())), 1) == (10, None, False)


def test_an_author_who_looks_at_each_record_gets_each(daemon: Daemon) -> None:
    emitter = emitter_of(daemon)
    seen = []

    def author() -> Iterator[Any]:
        for record in page_of(10):
            seen.append(record["id"])
            yield record

    assert emitter.pump(author(), 4) == (4, None, False)
    assert seen == [0, 1, 2, 3]


def test_an_author_who_took_some_of_a_page_is_not_given_them_again(daemon: Daemon) -> None:
    emitter = emitter_of(daemon)
    page = page_of(10)

    def author() -> Iterator[Any]:
        taken = [next(page), next(page)]
        yield from page
        yield from taken

    source = author()
    assert emitter.pump(source, 1) == (8, None, False)
    assert emitter.pump(source, 10) == (2, None, True)
    emitter.checkpoint(b"")
    (found,) = tables(daemon.until()).values()
    assert found.column("id").to_pylist() == [2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


def test_a_limit_ends_within_a_page(daemon: Daemon) -> None:
    emitter = emitter_of(daemon)
    source = whole(page_of(10))
    assert emitter.pump(source, 1, None, 4) == (4, None, False)
    assert emitter.pump(source, 1, None, 1) == (1, None, False)


def test_a_page_that_went_whole_is_known_to_its_track(daemon: Daemon) -> None:
    emitter = emitter_of(daemon)
    trail = _native.Trail({})
    track = trail.open("r")

    def client() -> Iterator[Any]:
        yield from page_of(10, track)
        track.page("2")
        assert trail.exact
        yield from page_of(10, track)
        track.page(True)
        track.end()

    source = client()
    assert emitter.pump(source, 1, trail) == (10, None, False)
    assert not trail.exact
    assert emitter.pump(source, 1, trail)[0] == 10
    assert trail.pages == {"r": "2"}
    assert emitter.pump(source, 1, trail) == (0, None, True)
    assert trail.pages == {"r": True}
    assert trail.exact


def test_a_record_held_back_keeps_its_page_open_though_the_rest_went_whole(daemon: Daemon) -> None:
    emitter = emitter_of(daemon)
    trail = _native.Trail({})
    track = trail.open("r")

    def author() -> Iterator[Any]:
        page = page_of(10, track)
        held = next(page)
        yield from page
        track.page("2")
        assert trail.pages == {}
        yield held

    source = author()
    assert emitter.pump(source, 1, trail) == (9, None, False)
    assert emitter.pump(source, 1, trail) == (0, {"id": 0}, False)


def test_children_go_whole_while_a_page_of_their_parents_is_open(daemon: Daemon) -> None:
    emitter = emitter_of(daemon)
    trail = _native.Trail({})
    parents, children = trail.open("parents"), trail.open("children")

    def author() -> Iterator[Any]:
        parents.give({"id": 1})
        parents.page("2")
        yield from page_of(10, children)

    assert emitter.pump(author(), 1, trail, None) == (10, None, False)
    children.page(True)
    assert trail.pages == {"children": True}


def test_a_page_that_leaves_through_another_stream_is_never_done(daemon: Daemon) -> None:
    emitter = emitter_of(daemon)
    mine, other = _native.Trail({}), _native.Trail({})
    track = mine.open("r")
    source = whole(page_of(10, track))
    assert emitter.pump(source, 1, other) == (10, None, False)
    track.page("2")
    assert mine.pages == {}
    assert not other.exact


def test_a_page_stops_where_a_batch_was_sent(daemon: Daemon) -> None:
    emitter = _native.Emitter(
        daemon.channel, "orders", "", encoding="arrow_ipc", schema=_native.ArrowSchema.from_fields(ROW[:1]),
        target_bytes=80,
    )  # fmt: skip
    assert emitter.pump(whole(page_of(100)), 1) == (10, None, False)


def test_fields_in_an_order_of_their_own_are_found(daemon: Daemon) -> None:
    fields: Fields = [{"name": f"f{number}", "type": "int64"} for number in range(100)]
    record = {f"f{number * 37 % 100}": number for number in range(100)}
    fewer = dict(list(record.items())[::3])
    other = {**fewer, "unknown": 1}
    text = json.dumps([record, record, fewer, record, other, fewer])
    fast, slow = both(text, fields, unknown="drop")
    assert fast == slow


def test_a_page_of_no_track_makes_its_stream_inexact(daemon: Daemon) -> None:
    emitter = emitter_of(daemon)
    trail = _native.Trail({})
    emitter.pump(whole(page_of(10)), 1, trail)
    assert not trail.exact


def test_rows_that_do_not_fit_leave_those_before_them_counted(daemon: Daemon) -> None:
    emitter = emitter_of(daemon)
    text = _native.Json.parse(b'[{"id":1},{"id":2},{"id":"x"},{"id":4}]')
    assert text is not None
    with pytest.raises(Exception, match="record 2") as raised:
        emitter.pump(whole(text.page()), 10)
    assert type(raised.value).__name__ == "SchemaViolation"
    assert emitter.pumped == 2
