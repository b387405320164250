"""The client against real servers on loopback, and against an API made of a function."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from email.utils import formatdate
from typing import Any

import pytest
from loopback import Server

from caisson import Connector, Secret, Settings, pages, stream
from caisson._retry import unreached_wait
from caisson.testing import Api, Harness

Serve = Callable[[Callable[..., Any]], Server]
Record = dict[str, Any]

AUTH = {
    "bearer": {"type": "bearer", "token": "api_key"},
    "basic": {"type": "basic", "username": "user", "password": "api_key"},
    "header": {"type": "header", "name": "X-Key", "value": "api_key"},
    "query": {"type": "query", "name": "key", "value": "api_key"},
    "tls": {"type": "mtls", "key": "api_key"},
}


class Config(Settings):
    url: str
    api_key: Secret | None = None
    user: str = "me"
    auth: str | None = None


class Shop(Connector[Config]):
    def open(self) -> None:
        self.http = self.client(self.config.url + "/v1", auth=self.config.auth, timeout=0.5, retries=2)

    def test(self) -> None:
        self.http.get("/account", {"a": 1})

    @stream(primary_key="id")
    def orders(self) -> Iterator[Record]:
        yield from self.http.records("/orders", page=pages.page_number())

    @stream(primary_key="id")
    async def asynchronous(self) -> AsyncIterator[Record]:
        response = await self.http.aget("/orders", {"page": 1})
        for record in response.json()["data"]:
            yield record


def paged(method: str, path: str, params: dict[str, str], headers: dict[str, str], body: bytes) -> Any:
    page = int(params.get("page", 1))
    return {"data": [{"id": page * 10 + n} for n in range(3)] if page <= 3 else []}


def shop(server: Server, **config: Any) -> Harness:
    return Harness(Shop, {"url": server.url, "api_key": "k-7", **config}, manifest={"auth": AUTH})


@pytest.mark.parametrize(
    ("auth", "where", "expected"),
    [
        ("bearer", "authorization", "Bearer k-7"),
        ("basic", "authorization", "Basic bWU6ay03"),
        ("header", "x-key", "k-7"),
    ],
)
def test_credentials_go_where_the_manifest_says(serve: Serve, auth: str, where: str, expected: str) -> None:
    server = serve(lambda *_: {})
    shop(server, auth=auth).test().check()
    assert server.asked[0][3][where] == expected
    assert server.asked[0][:3] == ("GET", "/v1/account", {"a": "1"})


def test_a_credential_in_the_query_is_sent_and_never_shown(serve: Serve) -> None:
    server = serve(lambda *_: (404, {}))
    run = shop(server, auth="query").test()
    assert server.asked[0][2] == {"a": "1", "key": "k-7"}
    assert run.error is not None
    assert "k-7" not in repr(run.frames)


def test_without_a_credential_nothing_is_sent(serve: Serve) -> None:
    server = serve(lambda *_: {})
    shop(server, auth="bearer", api_key=None).test().check()
    assert "authorization" not in server.asked[0][3]


def test_a_client_certificate_is_in_no_request(serve: Serve) -> None:
    server = serve(lambda *_: {})
    shop(server, auth="tls").test().check()
    shop(server, auth="tls", api_key=None).test().check()
    assert "k-7" not in str(server.asked)


def test_a_private_key_that_is_revealed_is_told_of_since_nobody_would_use_it(serve: Serve) -> None:
    server = serve(lambda *_: {})
    key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n"
    run = shop(server, auth="tls", api_key=key).test()
    assert run.error is not None
    assert run.error.code == "CONFIG_INVALID" and "place: client_key" in run.error.message
    assert server.asked == []


def test_an_auth_that_is_not_declared_is_named(serve: Serve) -> None:
    run = shop(serve(lambda *_: {}), auth="oauth").test()
    assert run.error is not None
    assert (
        "auth 'oauth' is not declared in connector.yaml; there is: bearer, basic, header, query, tls"
        in run.error.message
    )


@pytest.mark.parametrize(
    ("status", "code", "step"),
    [
        (401, "CREDENTIALS_INVALID", "authentication"),
        (403, "PERMISSION_MISSING", "permissions"),
        (404, "UPSTREAM_UNAVAILABLE", "connect"),
        (400, "UPSTREAM_UNAVAILABLE", "connect"),
        (500, "UPSTREAM_UNAVAILABLE", "connect"),
    ],
)
def test_each_refusal_has_its_code_and_its_step(serve: Serve, status: int, code: str, step: str) -> None:
    run = shop(serve(lambda *_: (status, {"error": "because"}))).test()
    assert run.error is not None
    assert run.error.code == code
    assert f"answered {status}" in run.error.message
    assert "because" in run.error.message
    failed = [each["name"] for each in run.steps if each["status"] == "failed"]
    assert failed == [step]


@pytest.mark.parametrize("form", ["seconds", "date", "absent", "absurd", "past", "nonsense"])
def test_a_429_is_waited_out_visibly_and_the_read_is_whole(serve: Serve, form: str) -> None:
    given = {"left": 1}
    harness: Harness

    def answer(*asked: Any) -> Any:
        if asked[2].get("page") == "2" and given["left"]:
            given["left"] -= 1
            now = harness.clock.now()
            value = {
                "seconds": "2", "date": formatdate(now + 2, usegmt=True), "absurd": "123456789",
                "past": formatdate(now - 100, usegmt=True), "nonsense": "later",
            }.get(form)  # fmt: skip
            return 429, {}, {"Retry-After": value} if value else {}
        return paged(*asked)

    harness = shop(serve(answer))
    run = harness.read("orders")
    assert len(run.throttled) == (form != "absurd")
    if form == "absurd":
        assert run.error is not None
        assert run.error.code == "QUOTA_EXHAUSTED"
        assert run.error.retry_at is not None
        assert run.error.retry_at > harness.clock.now() + 100_000_000
        return
    run.check()
    assert len(run.records) == 9
    assert 0.9 <= run.throttled_seconds <= (4.0 if form in ("seconds", "date") else 60.0)
    assert "429" in run.throttled[0]["cause"]
    assert run.throttled[0]["host"] == harness_host(harness)


def harness_host(harness: Harness) -> str:
    return str(harness._config["url"]).partition("://")[2]


def test_a_wait_that_does_not_fit_the_deadline_ends_at_once_at_the_last_page(serve: Serve) -> None:
    server = serve(lambda *asked: (429, {}, {"Retry-After": "600"}) if asked[2]["page"] == "3" else paged(*asked))
    harness = shop(server)
    run = harness.read("orders", deadline=60)
    assert run.error is not None
    assert run.error.code == "QUOTA_EXHAUSTED"
    assert run.error.retry_at == pytest.approx(harness.clock.now() + 600, abs=2)
    assert harness.clock.slept == 0
    assert run.throttled == []
    assert len(run.records) == 6
    assert run.checkpoints[-1].before == 6
    rest = shop(serve(paged)).read("orders", state=run.state).check()
    assert [each["id"] for each in rest.records] == [30, 31, 32]


def test_a_wait_over_the_operators_limit_ends_at_once_with_the_time_to_come_back(serve: Serve) -> None:
    harness = shop(serve(lambda *_: (429, {}, {"Retry-After": "600"})))
    run = harness.read("orders", throttle_max_ms=60_000)
    assert run.error is not None
    assert run.error.code == "QUOTA_EXHAUSTED"
    assert "60 s at most here" in run.error.message
    assert run.error.retry_at == pytest.approx(harness.clock.now() + 600, rel=0.2)
    assert (harness.clock.slept, run.throttled) == (0, [])
    passes = shop(serve(lambda *asked: (429, {}, {"Retry-After": "600"}) if not left.pop() else paged(*asked)))
    left = [True] * 9 + [False]
    assert passes.read("orders", throttle_max_ms=900_000).check().throttled


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_a_failure_that_passes_is_tried_again(serve: Serve, status: int) -> None:
    left = [2]

    def answer(*asked: Any) -> Any:
        if left[0]:
            left[0] -= 1
            return status, {}
        return paged(*asked)

    run = shop(serve(answer)).read("orders").check()
    assert len(run.records) == 9
    assert run.requests == 6


def test_a_failure_that_stays_ends_after_the_retries(serve: Serve) -> None:
    server = serve(lambda *_: (500, {}))
    run = shop(server).read("orders")
    assert run.error is not None
    assert run.error.code == "UPSTREAM_UNAVAILABLE"
    assert len(server.asked) == 3


def test_a_server_that_stalls_times_out_and_is_tried_again(serve: Serve) -> None:
    release = threading.Event()
    left = [1]

    def answer(*asked: Any) -> Any:
        if left[0]:
            left[0] -= 1
            release.wait(10)
        return paged(*asked)

    run = shop(serve(answer)).read("orders").check()
    release.set()
    assert len(run.records) == 9
    assert "timeout" in run.throttled[0]["cause"]


def test_nobody_listening_is_an_upstream_that_is_not_there(serve: Serve) -> None:
    server = serve(lambda *_: {})
    url = server.url
    server.close()
    run = Harness(Shop, {"url": url}).test()
    assert run.error is not None
    assert run.error.code == "UPSTREAM_UNAVAILABLE"


class Poster(Connector[Any]):
    def test(self) -> None:
        http = self.client("https://api.example.com", retries=2)
        http.post("/orders", json={"a": 1}, idempotent=True if self.config.again else None)


@pytest.mark.parametrize(("again", "asked"), [(False, 1), (True, 3)])
@pytest.mark.parametrize("fault", [500, "reset", "timeout"])
def test_a_request_that_is_not_idempotent_is_not_sent_twice(fault: int | str, again: bool, asked: int) -> None:
    harness = Harness(Poster, {"again": again}, api=Api(lambda _: {}))
    harness.fails_with(fault)
    run = harness.test()
    assert run.error is not None
    assert run.error.code == "UPSTREAM_UNAVAILABLE"
    assert run.requests == asked


@pytest.mark.parametrize(
    ("fault", "code"), [("dns", "DNS_FAILED"), ("tls", "TLS_FAILED"), ("connect", "UPSTREAM_UNAVAILABLE")]
)
def test_a_request_without_an_answer_has_its_code(fault: str, code: str) -> None:
    harness = Harness(Poster, {"again": False}, api=Api(lambda _: {}))
    harness.fails_with(fault)
    run = harness.test()
    assert run.error is not None
    assert run.error.code == code


@pytest.mark.parametrize(("fault", "code"), [("dns", "DNS_FAILED"), ("connect", "UPSTREAM_UNAVAILABLE")])
def test_a_host_that_is_not_reached_is_tried_once_more_and_soon(fault: str, code: str) -> None:
    harness = Harness(Poster, {"again": True}, api=Api(lambda _: {}))
    harness.fails_with(fault)
    run = harness.test()
    assert run.code == code
    assert run.requests == 2
    assert len(run.throttled) == 1
    assert all(unreached_wait(draw) <= 0.5 for draw in (0.0, 0.5, 0.999))


def test_a_host_that_comes_back_at_once_is_read() -> None:
    harness = Harness(Poster, {"again": False}, api=Api(lambda _: {}))
    harness.fails_with("connect", times=1)
    run = harness.test().check()
    assert run.code == ""
    assert run.requests == 2


class Walker(Connector[Any]):
    @stream(primary_key="id")
    def items(self) -> Iterator[Record]:
        http = self.client("https://api.example.com/v1", auth="query")
        yield from http.records("/items", {"kind": "a b"}, at=self.config.at, page=self.page(), timeout=5)

    def page(self) -> Any:
        name, options = self.config.page
        return getattr(pages, name)(**options)


def walk(answer: Callable[..., Any], name: str, at: str | None = "data", **options: Any) -> tuple[Any, Api]:
    api = Api(answer)
    manifest = {"auth": {"query": {"type": "query", "name": "key", "value": "api_key"}}}
    harness = Harness(Walker, {"at": at, "page": [name, options], "api_key": "k-7"}, manifest=manifest, api=api)
    return harness.read("items"), api


def test_next_link_absolute_relative_and_with_the_wrong_scheme() -> None:
    links = {
        "1": "https://api.example.com/v1/items?p=2&key=k-7",
        "2": "/v1/items?p=3",
        "3": "?p=4",
        "4": "http://api.example.com/v1/items?p=5",
    }
    run, api = walk_links(links)
    run.check()
    assert [each["id"] for each in run.records] == ["1", "2", "3", "4", "5"]
    assert all(each.params["key"] == "k-7" for each in api.requests)
    assert all(each.url.startswith("https://api.example.com/v1/items?") for each in api.requests)
    assert all("k-7" not in each.state.decode() for each in run.checkpoints)


def walk_links(links: dict[str, str]) -> tuple[Any, Api]:
    def answer(request: Any) -> Any:
        page = request.params.get("p", "1")
        return {"data": [{"id": page}], "next": links.get(page)}

    return walk(answer, "next_link")


def test_a_next_link_to_another_host_is_refused() -> None:
    run, api = walk_links({"1": "https://evil.example.net/steal"})
    assert run.error.code == "UPSTREAM_UNAVAILABLE"
    assert "another host" in run.error.message
    assert len(api.requests) == 1


def test_link_headers() -> None:
    def answer(request: Any) -> Any:
        page = int(request.params.get("p", 1))
        link = f'<https://api.example.com/v1/items?p=9>; rel="last", </v1/items?p={page + 1}>; title="a, b"; rel=next'
        return 200, {"data": [{"id": page}]}, {"Link": link} if page < 4 else {}

    run, _ = walk(answer, "link_header")
    assert [each["id"] for each in run.check().records] == [1, 2, 3, 4]


def test_cursors_with_and_without_a_flag() -> None:
    def answer(request: Any) -> Any:
        page = int(request.params.get("cursor", 1))
        return {"data": [{"id": page}], "next_cursor": page + 1 if page < 4 else None, "more": page < 3}

    assert len(walk(answer, "cursor")[0].check().records) == 4
    assert len(walk(answer, "cursor", more="more")[0].check().records) == 3


def rows(request: Any, count: int, cap: int = 1000) -> list[Record]:
    at = int(request.params.get("offset", 0))
    return [{"id": n} for n in range(at, min(count, at + min(cap, int(request.params["limit"]))))]


@pytest.mark.parametrize(("count", "asked"), [(0, 1), (3, 2), (4, 2), (5, 2), (8, 3), (9, 3)])
def test_offsets_end_on_an_empty_or_a_short_page(count: int, asked: int) -> None:
    run, api = walk(lambda r: {"data": rows(r, count)}, "offset", size=4)
    assert [each["id"] for each in run.check().records] == list(range(count))
    assert len(api.requests) == asked


def test_an_api_that_gives_less_than_asked_for_is_read_to_its_end() -> None:
    run, _ = walk(lambda r: {"data": rows(r, 11, cap=3)}, "offset", size=100)
    assert len(run.check().records) == 11


def test_page_numbers_and_last_ids() -> None:
    def numbered(request: Any) -> Any:
        page = int(request.params["page"])
        return {"data": [{"id": page * 2}, {"id": page * 2 + 1}] if page < 3 else []}

    assert len(walk(numbered, "page_number", start=0)[0].check().records) == 6

    def after(request: Any) -> Any:
        last = int(request.params.get("after", 0))
        return {"data": [{"id": n} for n in range(last + 1, min(last + 4, 9))], "has_more": last + 4 < 9}

    run, api = walk(after, "last_id", more="has_more")
    assert [each["id"] for each in run.check().records] == list(range(1, 9))
    assert [each.params.get("after") for each in api.requests] == [None, "3", "6"]


class Reshaping(Walker):
    """Changes the records that it was handed, as authors do."""

    @stream(primary_key="key")
    def items(self) -> Iterator[Record]:
        http = self.client("https://api.example.com/v1")
        for record in http.records("/items", page=self.page(), map=self.map()):
            if "id" in record:
                record["key"] = record.pop("id")
            yield record

    def map(self) -> Callable[[Record], Record] | None:
        return (lambda record: {"key": record.pop("id")}) if self.config.map else None


@pytest.mark.parametrize("mapped", [False, True])
def test_what_the_author_does_to_records_does_not_end_the_pages(mapped: bool) -> None:
    def after(request: Any) -> Any:
        last = int(request.params.get("after", 0))
        return {"data": [{"id": n} for n in range(last + 1, min(last + 4, 9))]}

    harness = Harness(Reshaping, {"at": "data", "page": ["last_id", {}], "map": mapped}, api=Api(after))
    assert [each["key"] for each in harness.read("items").check().records] == list(range(1, 9))


@pytest.mark.parametrize(
    ("name", "options", "body", "told"),
    [
        ("last_id", {"field": "ID"}, {"data": [{"id": 1}]}, "the last record has no 'ID'"),
        ("last_id", {"field": "ID", "more": "more"}, {"data": [{"id": 1}], "more": True}, "has no 'ID'"),
        ("last_id", {"more": "more"}, {"data": [], "more": True}, "'more' says so, without a record"),
        ("cursor", {"more": "more"}, {"data": [{"id": 1}], "more": True}, "nothing at 'next_cursor'"),
        ("cursor", {"more": "more"}, {"data": [{"id": 1}], "more": True, "next_cursor": ""}, "nothing at"),
    ],
)
def test_more_that_cannot_be_asked_for_is_an_error_and_no_end(
    name: str, options: Record, body: Record, told: str
) -> None:
    run, api = walk(lambda _: body, name, **options)
    assert run.error is not None
    assert run.error.code == "UPSTREAM_UNAVAILABLE"
    assert told in run.error.message
    assert len(api.requests) == 1


def test_a_flag_that_says_more_outweighs_a_short_page() -> None:
    def after(request: Any) -> Any:
        last = int(request.params.get("after", 0))
        count = 1 if last == 3 else 3
        return {"data": [{"id": n} for n in range(last + 1, last + 1 + count)], "more": last < 4}

    run, _ = walk(after, "last_id", more="more", size=3)
    assert [each["id"] for each in run.check().records] == list(range(1, 8))


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("cursor", lambda r: {"data": [{"id": len(r.url)}], "next_cursor": "x"}),
        ("next_link", lambda r: {"data": [{"id": 1}], "next": "/v1/items?kind=a%20b&p=2"}),
        ("page_number", lambda r: {"data": [{"id": 1}]}),
        ("offset", lambda r: {"data": [{"id": 1}]}),
    ],
)
def test_pages_that_run_in_a_circle_are_an_error_and_no_endless_loop(name: str, answer: Any) -> None:
    run, api = walk(answer, name)
    assert run.error.code == "UPSTREAM_UNAVAILABLE"
    assert "circle" in run.error.message
    assert len(api.requests) <= 3


def test_a_list_that_is_the_body_itself_and_an_empty_one() -> None:
    def answer(request: Any) -> Any:
        return [{"id": 1}] if request.params["page"] == "1" else []

    assert len(walk(answer, "page_number", at=None)[0].check().records) == 1


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"items": []}, "no list of records at 'data'; the answer is an object with items"),
        ({"data": {"a": 1}}, "no list of records at 'data'"),
        ([1], "the answer is a list"),
        (b"<html>", "a body that is no JSON (application/json, 6 bytes)"),
        (b"", "no JSON"),
        (b'{"data": [{"id"', "no JSON"),
    ],
)
def test_an_answer_without_records_says_what_it_is(body: Any, told: str) -> None:
    run, _ = walk(lambda _: body, "page_number")
    assert run.error.code == "UPSTREAM_UNAVAILABLE"
    assert told in run.error.message


def test_an_empty_list_may_be_null() -> None:
    assert walk(lambda _: {"data": None}, "page_number")[0].check().records == []


class Redirected(Connector[Any]):
    def test(self) -> None:
        http = self.client("https://api.example.com", auth="bearer")
        assert http.get("/a").json() == {"ok": True}


def redirected(targets: dict[str, str]) -> tuple[Any, Api]:
    def answer(request: Any) -> Any:
        key = request.url.partition("?")[0]
        return (302, {}, {"Location": targets[key]}) if key in targets else {"ok": True}

    api = Api(answer)
    harness = Harness(Redirected, {"api_key": "k-7"}, manifest={"auth": AUTH}, api=api)
    return harness.test(), api


def test_a_redirect_is_followed_and_takes_no_credentials_elsewhere() -> None:
    run, api = redirected({
        "https://api.example.com/a": "/b", "https://api.example.com/b": "https://files.example.net/c?signed=1",
    })  # fmt: skip
    run.check()
    assert ["authorization" in each.headers for each in api.requests] == [True, True, False]


class Keyed(Connector[Any]):
    """Authenticates by hand, as where no declared kind fits."""

    def test(self) -> None:
        http = self.client("https://api.example.com", headers={"X-Api-Key": "k-7", "User-Agent": "shop"})
        http.get(self.config.path, headers={"Authorization": "Token t", "Cookie": "c=1", "Range": "bytes=0-"})


@pytest.mark.parametrize(
    "target", ["https://files.example.net/c", "https://api.example.com:8443/c", "http://api.example.com/c"]
)
def test_a_redirect_takes_no_headers_elsewhere_that_may_hold_credentials(target: str) -> None:
    targets = {
        "https://api.example.com/a": "/b",
        "https://api.example.com/b": target,
        target: "https://api.example.com/d",
    }
    api = Api(lambda request: (302, {}, {"Location": targets[request.url]}) if request.url in targets else {})
    Harness(Keyed, {"path": "/a"}, api=api).test().check()
    assert len(api.requests) == 4
    for number, request in enumerate(api.requests):
        held = {"x-api-key", "user-agent", "authorization", "cookie"} & set(request.headers)
        assert len(held) == (0 if number == 2 else 4), request.url
        assert request.headers["range"] == "bytes=0-"


def test_the_clients_headers_do_not_go_to_another_origin_that_a_whole_address_names() -> None:
    api = Api(lambda _: {})
    Harness(Keyed, {"path": "https://files.example.net/c"}, api=api).test().check()
    assert "x-api-key" not in api.requests[0].headers
    assert api.requests[0].headers["authorization"] == "Token t", "what this request was given goes where it was sent"


def test_a_circle_of_redirects_ends() -> None:
    run, _ = redirected({"https://api.example.com/a": "/a"})
    assert "more than 10 redirects" in run.error.message


def test_a_body_that_is_gzipped_is_undone(serve: Serve) -> None:
    packed = gzip.compress(json.dumps({"data": []}).encode())
    run = shop(serve(lambda *_: (200, packed, {"Content-Encoding": "gzip"}))).read("orders").check()
    assert run.records == []


def test_async_requests_read_the_same(serve: Serve) -> None:
    run = shop(serve(paged)).read("asynchronous").check()
    assert [each["id"] for each in run.records] == [10, 11, 12]


def test_a_cancelled_call_ends_in_the_middle_of_a_wait(serve: Serve) -> None:
    harness = shop(serve(lambda *_: (429, {}, {"Retry-After": "500"})))
    run = harness.read("orders", seconds=30)
    assert run.error is not None
    assert run.error.code == "CANCELLED"
    assert 30 <= harness.clock.slept <= 31


class Parallel(Connector[Any]):
    """Asks for several pages at once; one of them is throttled in another thread."""

    @stream(primary_key="id", cursor="id", order="asc")
    async def items(self) -> AsyncIterator[Record]:
        import asyncio

        http = self.client("https://api.example.com")
        yield {"id": 0}
        for response in await asyncio.gather(*(http.aget(f"/{n}") for n in range(1, 6))):
            yield response.json()


def test_requests_that_run_together_wait_apart() -> None:
    harness = Harness(Parallel, api=Api(lambda request: {"id": int(request.path[1:])}))
    harness.fails_with(429, retry_after=2, times=2, on="/3")
    run = harness.read("items").check()
    assert [each["id"] for each in run.records] == [0, 1, 2, 3, 4, 5]
    assert len(run.throttled) == 2
