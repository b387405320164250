"""The test support: cassettes, faults, projects, and the YAML that projects are read from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopback import Server

from caisson import Connector, Secret, Settings, pages, stream
from caisson.testing import Cassette, FakeClock, Fault, Harness
from caisson.testing._yaml import load

MANIFEST = """
# A comment.
name: shop
version: 1.4.2
title: "Shop: the one"
python: ">=3.11"
entrypoint: caisson_shop:Shop
capabilities: [test, list, read.full,
  read.incremental]
config:
  type: object
  required: [shop, api_key]
  properties:
    shop: { type: string, title: Shop name }
    api_key: { type: string, secret: true, title: API key }
    start_date: { type: string, format: date, default: "2020-01-01" }
    text:
      type: string
      description: >
        Folded
        text.
      default: |-
        kept
          as is
form: [{ group: Credentials, fields: [shop, api_key] }, { group: Sync, fields: [start_date] }]
auth:
  key: { type: query, name: key, value: api_key }
egress:
- host: "${config.shop}.example.com"   # the shop
  ports: [443]
- { host: other.example.com, ports: [80, 443] }
write: { max_records: 500, max_bytes: 5MiB, ratio: 1.5, nothing: ~, yes_no: true }
"""

CONNECTOR = """
from collections.abc import Iterator
from typing import Any
from caisson import Connector, Secret, Settings, pages, stream

class Config(Settings):
    shop: str
    api_key: Secret
    start_date: str = "2020-01-01"
    text: str = ""

class Shop(Connector[Config]):
    def open(self) -> None:
        self.http = self.client(f"https://{self.config.shop}.example.com", auth="key")

    @stream(primary_key="id")
    def orders(self) -> Iterator[dict[str, Any]]:
        yield from self.http.records("/orders", page=pages.next_link())
"""


def test_the_yaml_of_a_manifest() -> None:
    manifest = load(MANIFEST)
    assert manifest["title"] == "Shop: the one"
    assert manifest["version"] == "1.4.2"
    assert manifest["capabilities"] == ["test", "list", "read.full", "read.incremental"]
    assert manifest["config"]["properties"]["api_key"] == {"type": "string", "secret": True, "title": "API key"}
    assert manifest["config"]["properties"]["text"]["description"] == "Folded text.\n"
    assert manifest["config"]["properties"]["text"]["default"] == "kept\n  as is"
    assert manifest["form"][1] == {"group": "Sync", "fields": ["start_date"]}
    assert manifest["egress"] == [
        {"host": "${config.shop}.example.com", "ports": [443]}, {"host": "other.example.com", "ports": [80, 443]},
    ]  # fmt: skip
    assert manifest["write"] == {
        "max_records": 500, "max_bytes": "5MiB", "ratio": 1.5, "nothing": None, "yes_no": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\na: 2", "connector.yaml:2: the key 'a' occurs twice"),
        ("a: [1, 2", "a bracket is not closed"),
        ("a: &x 1", "'&' is not used"),
        ("a: 1\n   b: 2", "what is this indented for?"),
        ("\ta: 1", "a tab indents this line"),
        ("a: {b: 1} c", "after the closing bracket"),
        ('a: "open', "not closed"),
        ("a: 1\nplain", "a key and a colon"),
    ],
)
def test_yaml_that_is_not_known_is_refused_with_its_line(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=r"connector\.yaml:") as error:
        load(text)
    assert told in str(error.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(st.characters(codec="ascii"), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc:#-", min_size=1), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_json_is_yaml(value: Any) -> None:
    assert load(f"a: {json.dumps(value)}") == {"a": value}


class Config(Settings):
    url: str
    api_key: Secret


class Shop(Connector[Config]):
    @stream(primary_key="id")
    def orders(self) -> Iterator[dict[str, Any]]:
        http = self.client(self.config.url, auth="key")
        yield from http.records("/orders", {"size": 2}, page=pages.next_link())


def shop(url: str, cassette: Any, kind: str = "query") -> Harness:
    auth = {"key": {"type": kind, "name": "key", "value": "api_key", "token": "api_key"}}
    return Harness(Shop, {"url": url, "api_key": "canary/+77"}, cassette=cassette, manifest={"auth": auth})


@pytest.mark.parametrize("kind", ["query", "bearer", "header"])
def test_a_cassette_is_recorded_without_secrets_and_played_back(
    serve: Callable[[Callable[..., Any]], Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def answer(method: str, path: str, params: dict[str, str], headers: dict[str, str], body: bytes) -> Any:
        page = params.get("p", "1")
        link = f"/orders?p=2&size=2&key={params.get('key', '')}" if page == "1" else None
        return 200, {"data": [{"id": page, "echo": headers.get("authorization")}], "next": link}, {"Set-Cookie": "s=1"}

    server = serve(answer)
    path = tmp_path / "cassettes" / "orders.har"
    monkeypatch.setenv("CAISSON_RECORD", "1")
    recorded = shop(server.url, path, kind).read("orders").check()
    monkeypatch.delenv("CAISSON_RECORD")
    server.close()
    text = path.read_text()
    assert json.loads(text)["log"]["version"] == "1.2"
    for form in ("canary/+77", "canary%2F%2B77", "canary"):
        assert form not in text
    assert "s=1" not in text
    played = shop(server.url, path, kind).read("orders").check()
    assert [each["id"] for each in played.records] == [each["id"] for each in recorded.records] == ["1", "2"]


def entry(url: str, body: Any, method: str = "GET", sent: str | None = None) -> dict[str, Any]:
    request: dict[str, Any] = {"method": method, "url": url, "headers": [], "queryString": []}
    if sent is not None:
        request["postData"] = {"text": sent}
    return {"request": request, "response": {
        "status": 200, "headers": [{"name": "Content-Encoding", "value": "br"}], "content": {"text": json.dumps(body)},
    }}  # fmt: skip


def har(path: Path, *entries: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"log": {"version": "1.2", "entries": list(entries)}}))
    return path


def saved(path: Path, monkeypatch: pytest.MonkeyPatch, secrets: list[str], *exchanges: tuple[Any, ...]) -> str:
    monkeypatch.setenv("CAISSON_RECORD", "1")
    cassette = Cassette(path, ignore=["Key"])
    for exchange in exchanges:
        cassette.record(*exchange)
    cassette.save(secrets)
    return path.read_text()


def test_secrets_are_taken_out_of_every_place_and_short_ones_damage_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = 'a"b\\c/é\nhunter22'
    inner = json.dumps({"echo": secret, "n": 12345678})
    url = "https://x.example/a?K%65y=1&access_token=abc&b=%41"
    text = saved(
        tmp_path / "a.har",
        monkeypatch,
        [secret, "12345678", "e"],
        (
            "POST",
            url,
            [("KEY", "hunter22")],
            inner.encode(),
            (200, [], json.dumps({"text": json.dumps({"echo": secret})}).encode()),
        ),
        ("POST", url, [], b"grant_type=refresh_token&refresh%5Ftoken=abc", (200, [], b'{"id_token":"abc","n":1}')),
    )
    log = json.loads(text)["log"]
    assert log["_ignored"] == ["Key"]
    kept = json.dumps(log["entries"], ensure_ascii=False)
    for form in ("hunter22", "12345678", "abc", "Ke", "K%65"):
        assert form not in kept.replace("KEY", ""), form
    request, answered = (
        {**each} for each in (json.loads(text)["log"]["entries"][0][side] for side in ("request", "response"))
    )
    assert request["url"] == "https://x.example/a?access_token=[secret]&b=%41"
    assert json.loads(request["postData"]["text"]) == {"echo": "[secret]", "n": "[secret]"}
    assert json.loads(json.loads(answered["content"]["text"])["text"])["echo"] == "[secret]"
    monkeypatch.delenv("CAISSON_RECORD")
    again = Cassette(tmp_path / "a.har")
    assert again.answer("POST", url, json.dumps({"n": 1, "echo": "other"}).encode())[0] == 200
    assert again.answer("POST", url, b"grant_type=refresh_token&refresh%5Ftoken=other")[0] == 200
    with pytest.raises(ValueError, match="holds a secret"):
        saved(tmp_path / "b.har", monkeypatch, [secret], ("GET", url, [], None, (200, [], b"\xff" + secret.encode())))


def test_a_request_without_a_recording_shows_the_nearest(tmp_path: Path) -> None:
    path = har(tmp_path / "a.har", entry("https://x.example/orders?size=3", {}), entry("https://x.example/shops", {}))
    run = shop("https://x.example", path).read("orders")
    assert run.error is not None
    assert "GET /orders?size=2 is not in" in run.error.message
    assert "the nearest recording is GET /orders?size=3" in run.error.message


def test_the_same_request_recorded_twice_is_answered_in_order_and_no_third_time(tmp_path: Path) -> None:
    path = har(tmp_path / "a.har", entry("https://x.example/a?b=1&c=2", [1]), entry("https://x.example/a?c=2&b=1", [2]))
    cassette = Cassette(path)
    answers = [cassette.answer("GET", "https://other.host/a?b=1&c=2", None)[2] for _ in range(2)]
    assert answers == [b"[1]", b"[2]"]
    with pytest.raises(Exception, match="was recorded 2 times and is asked once more"):
        cassette.answer("GET", "https://x.example/a?b=1&c=2", None)
    cassette.rewind()
    assert cassette.answer("GET", "https://x.example/a?c=2&b=1", None)[2] == b"[1]"


def test_bodies_are_compared_as_json(tmp_path: Path) -> None:
    path = har(tmp_path / "a.har", entry("https://x.example/q", [1], "POST", '{"b": 1, "a": 2}'))
    cassette = Cassette(path)
    with pytest.raises(Exception, match="is not in"):
        cassette.answer("POST", "https://x.example/q", b'{"a": 3}')
    assert cassette.answer("POST", "https://x.example/q", b'{"a":2,"b":1}')[0] == 200


def test_a_cassette_that_is_missing_or_no_har_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="record it with CAISSON_RECORD=1"):
        Cassette(tmp_path / "none.har")
    (tmp_path / "bad.har").write_text("{}")
    with pytest.raises(ValueError, match="is no HAR file"):
        Cassette(tmp_path / "bad.har")


def test_a_project_folder_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    (tmp_path / "connector.yaml").write_text(MANIFEST)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "caisson_shop.py").write_text(CONNECTOR)
    har(tmp_path / "orders.har", entry("https://acme.example.com/orders", {"data": [{"id": 1}], "next": None}))
    monkeypatch.setattr(sys, "path", [*sys.path])
    harness = Harness(tmp_path, {"shop": "acme", "api_key": "k"}, cassette="orders.har")
    assert harness.read("orders").check().records == [{"id": 1}]
    assert [each["name"] for each in harness.list().check().objects] == ["orders"]
    harness.fails_with(401)
    failed = harness.read("orders")
    assert failed.error is not None
    assert failed.error.code == "CREDENTIALS_INVALID"
    sys.modules.pop("caisson_shop")


def test_faults_count_and_choose_their_requests() -> None:
    fault = Fault(503, on="/orders", after=1, times=1, retry_after="soon", headers={"X-A": "b"}, body="no")
    assert fault.meets("GET", "https://x/shops") is None
    assert fault.meets("GET", "https://x/orders") is None
    met = fault.meets("GET", "https://x/orders")
    assert isinstance(met, tuple)
    assert met[0] == 503
    assert ("Retry-After", "soon") in met[1]
    assert fault.meets("GET", "https://x/orders") is None
    with pytest.raises(ValueError, match="no such fault 'nothing'"):
        Fault("nothing")


def test_a_fake_clock_moves_only_when_it_is_waited_on() -> None:
    clock = FakeClock(1000.0)
    assert clock.now() == clock.now() == 1000.0
    clock.sleep(2.5)
    assert (clock.now(), clock.monotonic(), clock.slept) == (1002.5, 2.5, 2.5)


def test_check_says_what_the_worker_said() -> None:
    class Bad(Connector[Any]):
        @stream()
        def rows(self) -> list[dict[str, Any]]:
            raise ValueError("told")

    with pytest.raises(AssertionError, match="CONNECTOR_FAILED: told"):
        Harness(Bad).read("rows").check()
