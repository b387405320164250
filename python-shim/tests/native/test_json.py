"""Bodies of JSON: what the native reader makes of them is what Python's own makes of them."""

import json
from typing import Any

import pytest
from documents import layouts, quietly, same, values
from hypothesis import given
from hypothesis import strategies as st

from caisson import _native
from caisson._response import Headers, Response
from caisson.pages import find


def native(content: bytes) -> tuple[bool, Any]:
    text = _native.Json.parse(content)
    return text is not None, None if text is None else text.find()


@given(value=values, layout=layouts)
@quietly
def test_a_plain_text_is_read_as_python_reads_it(value: Any, layout: dict[str, Any]) -> None:
    content = json.dumps(value, **layout).encode("utf-8", "surrogatepass")
    plain, found = native(content)
    if plain:
        assert same(found, json.loads(content))
    else:
        told = content.decode("utf-8", "replace")
        assert "NaN" in told or "Infinity" in told or "\\ud" in told.lower() or "\ufffd" in told


@given(value=values, layout=layouts, data=st.data())
@quietly
def test_a_broken_text_is_never_taken_for_a_plain_one(value: Any, layout: dict[str, Any], data: st.DataObject) -> None:
    content = bytearray(json.dumps(value, **layout).encode("utf-8", "surrogatepass"))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content)))
        new = data.draw(st.sampled_from(list(b'"\\{}[],:0123456789-+.eEuntrfalsb \n\x00\x1f\x80\xff')))
        content[at : at + data.draw(st.integers(0, 2))] = bytes([new])
    plain, found = native(bytes(content))
    if plain:
        assert same(found, json.loads(bytes(content)))


@pytest.mark.parametrize("content", [
    b"", b" ", b"nul", b"truefalse", b"[1,]", b"[,1]", b'{"a":1,}', b'{"a" 1}', b"{1:2}", b"01", b"-", b"1.", b".5",
    b"1e", b"+1", b"NaN", b"[Infinity]", b'"\x01"', b'"\\x"', b'"\\u12"', b'"\\ud800"', b'"\\ud800\\u0041"',
    b'"\\udc00"', b"\xef\xbb\xbf[]", "[]".encode("utf-16"), b'"\xff"', b'"\xed\xa0\x80"', b"[1] 2", b'{"a":1}}',
    b"'a'", b"[1 2]", b"[" * 101 + b"]" * 101, b"[" * 100_000, b"1" * 4_400, b'{"a":' * 100_000,
])  # fmt: skip
def test_what_is_odd_or_broken_is_left_to_python(content: bytes) -> None:
    assert _native.Json.parse(content) is None


@pytest.mark.parametrize("content", [
    b"[" * 100 + b"]" * 100, b'"\\ud83d\\ude00 \\u00e9\\/\\b"', b'{"a":1,"a":2}', b" [ ] ", b"-0", b"-0.0", b"1E400",
    b"123456789012345678901234567890", b"9223372036854775808", b"-9223372036854775808", b"999999999999999999",
])  # fmt: skip
def test_what_is_plain_and_rare(content: bytes) -> None:
    plain, found = native(content)
    assert plain
    assert same(found, json.loads(content))


_paths = st.lists(st.sampled_from(["a", "b", "a.b", "0", "-1", "", "é"]), min_size=1, max_size=3).map(".".join)
_bodies = st.recursive(
    st.integers(0, 3) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_paths, inner, max_size=4),
    max_leaves=12,
)


@given(body=_bodies, at=_paths, layout=layouts)
@quietly
def test_a_path_finds_what_it_finds_in_the_values(body: Any, at: str, layout: dict[str, Any]) -> None:
    text = _native.Json.parse(json.dumps(body, **layout).encode())
    assert text is not None
    expected = find(body, at)
    try:
        found = text.find(at)
        assert same(found, expected)
        assert not isinstance(expected, (list, dict))
    except LookupError:
        pass
    page = text.page(at)
    if page is not None:
        assert len(page) == len(expected)
        assert bool(page) == bool(expected)
        if expected:
            assert same(page[-1], expected[-1])
        assert same(list(page), expected)
        assert len(page) == len(expected)


def test_of_keys_that_are_there_twice_the_last_one_counts() -> None:
    text = _native.Json.parse(b'{"a": [1], "b": {"c": [2], "c": [3]}, "d": 5, "a": [4], "d": 6}')
    assert text is not None
    assert text.find("d") == 6
    assert [list(text.page(at) or []) for at in ("a", "b.c")] == [[4], [3]]


def test_what_is_no_bytes_is_not_plain() -> None:
    assert _native.Json.parse("[]") is None
    assert _native.Json.parse(bytearray(b"[]")) is None


def test_a_part_of_a_body_is_the_same_object_each_time() -> None:
    response = Response(200, Headers([]), b'{"rows": [{"x": 1}], "next": "n"}', "http://localhost/")
    assert response.find("next") == "n"
    assert response.find("rows") is response.find("rows")
    response.find("rows")[0]["x"] = 2
    assert response.json()["rows"] == [{"x": 2}]
