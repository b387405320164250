"""What the gateway does for connectors that never heard of it, where it inspects."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from harness import Daemon, Identity, Stage
from harness.daemon import inline
from harness.leaks import files, leaks
from harness.read import delivered, last_checkpoint, read, records, retry_at
from servers.httpserver import Api, retry_date, tied
from servers.secure import Signer

Rule = dict[str, Any]


@pytest.fixture(scope="module")
def signer(stage: Stage) -> Signer:
    """Who signed for the servers, and is no root of the host's."""
    made = Signer(stage.folder("private"))
    made.issue("server", "DNS:localhost")
    return made


@pytest.fixture(scope="module")
def inspecting(stage: Stage, identity: Identity, signer: Signer) -> Iterator[Daemon]:
    """A daemon that was told of that authority."""
    running = Daemon(stage, identity, egress={"ca": "upstream.pem"})
    shutil.copy(signer.folder / "ca.pem", running.folder / "upstream.pem")
    running.start()
    yield running
    running.remove()


@pytest.fixture
def api(signer: Signer) -> Iterator[Api]:
    """The HTTP server that misbehaves on demand, with TLS."""
    with Api(tls=signer.context("server")) as server:
        yield server


@pytest.fixture
def web(inspecting: Daemon, stage: Stage, api: Api) -> Callable[..., dict[str, Any]]:
    """A connection to `api` through the `web` connector, under a rule with `rule` in it."""

    def connection(rule: Rule | None = None, **fields: Any) -> dict[str, Any]:
        inspecting.policy("web", egress=[inspected(api.port, **(rule or {}))])
        config = {"port": api.port, "scheme": "https", **fields.pop("config", {})}
        return inline(stage.connectors / "web", config=config, **fields)

    return connection


def inspected(port: int, **rule: Any) -> Rule:
    """A rule for a port of this machine whose requests are judged."""
    return {"host": "localhost", "networks": ["127.0.0.0/8"], "ports": [port], "protocol": "https", **rule}


def test_requests_are_judged_and_each_is_a_line_of_the_audit_log(
    inspecting: Daemon, api: Api, web: Callable[..., dict[str, Any]]
) -> None:
    api.records = tied(25)
    connection = web({"http": {"methods": ["GET"], "paths": ["/asc"]}})
    stream = read(inspecting, connection, "asc", "plain").drain()
    assert stream.summary, stream.failure
    assert len(records(stream)) == 50
    lines = [json.loads(line) for line in (inspecting.folder / "data/audit.jsonl").read_text().splitlines()]
    mine = [line for line in lines if line["event"] == "request" and line["port"] == api.port]
    assert len(mine) == len(api.requests) == 6
    assert {(line["method"], line["path"], line["status"]) for line in mine} == {("GET", "/asc", 200)}
    assert all("?" not in json.dumps(line) for line in mine)


def test_a_request_that_no_rule_allows_ends_the_call_with_the_rule_to_add(
    inspecting: Daemon, api: Api, web: Callable[..., dict[str, Any]]
) -> None:
    api.records = tied(5)
    connection = web({"http": {"paths": ["/me"]}})
    for name in ("asc", "plain"):
        stream = read(inspecting, connection, name).drain()
        assert stream.failure["code"] == "ERROR_CODE_EGRESS_DENIED", stream.failure
        (refusal,) = stream.failure["refusals"]
        assert refusal["reason"] == "path_not_allowed"
        assert 'paths: ["/asc"]' in refusal["rule"]
    assert api.requests == []


def test_a_connector_that_goes_on_asking_is_ended_and_does_not_chew_until_its_deadline(
    inspecting: Daemon, api: Api, web: Callable[..., dict[str, Any]]
) -> None:
    connection = web({"http": {"paths": ["/me"]}})
    began = time.monotonic()
    stream = read(inspecting, connection, "stubborn", options={"deadline_ms": 60_000}).drain()
    assert stream.failure["code"] == "ERROR_CODE_EGRESS_DENIED", stream.failure
    assert "goes on asking" in stream.failure["message"]
    assert time.monotonic() - began < 30
    assert api.requests == []


def test_a_connector_that_goes_on_asking_for_a_place_that_no_rule_names_is_ended_too(
    inspecting: Daemon, api: Api, stage: Stage, web: Callable[..., dict[str, Any]]
) -> None:
    web()
    for host, port in (("api.example.net", 443), ("localhost", 1)):
        config = {"host": host, "port": port, "scheme": "https"}
        connection = inline(stage.connectors / "web", config=config)
        began = time.monotonic()
        stream = read(inspecting, connection, "stubborn", options={"deadline_ms": 60_000}).drain()
        assert stream.failure["code"] == "ERROR_CODE_EGRESS_DENIED", stream.failure
        assert time.monotonic() - began < 30


def test_a_client_that_gives_up_at_its_first_429_finishes_with_every_record(
    inspecting: Daemon, api: Api, web: Callable[..., dict[str, Any]]
) -> None:
    api.records = tied(30)
    connection = web({"on_429": "retry"})
    api.fail("/asc", 429, headers={"Retry-After": "1"})
    api.fail("/asc", 429, headers={"Retry-After": retry_date(2)})
    api.fail("/asc", 503, headers={"Retry-After": "1"})
    stream = read(inspecting, connection, "plain").drain()
    assert stream.summary, stream.failure
    assert [record["id"] for record in records(stream)] == list(range(1, 31))
    throttled = stream.all("throttled")
    assert {one["host"] for one in throttled} == {"localhost"}
    assert {one["cause"] for one in throttled} >= {"429 Retry-After", "503 Retry-After"}
    assert len(api.requests) == 3 + 3


@pytest.mark.parametrize("name", ["plain", "asc"])
def test_a_quota_that_an_answer_says_is_used_up_is_waited_for_although_it_serves(
    inspecting: Daemon, api: Api, web: Callable[..., dict[str, Any]], name: str
) -> None:
    api.records = tied(25)
    connection = web()
    page = json.dumps(api._asc({}))
    api.fail("/asc", 200, headers={"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "2"}, body=page)
    stream = read(inspecting, connection, name).drain()
    assert stream.summary, stream.failure
    assert sorted(record["id"] for record in records(stream)) == list(range(1, 26))
    first, second, _ = (request.at for request in api.requests)
    assert second - first >= 2
    assert "quota" in {one["cause"] for one in stream.all("throttled")}


def test_a_policy_that_was_learned_of_the_audit_log_allows_the_call_again_and_nothing_else(
    lone: Callable[..., Daemon], stage: Stage, signer: Signer, api: Api
) -> None:
    api.records = tied(25)
    running = lone(egress={"ca": "upstream.pem"})
    shutil.copy(signer.folder / "ca.pem", running.folder / "upstream.pem")
    running.start()
    wide = [inspected(api.port), {"host": "*.example.com", "ports": [443], "protocol": "https"}]
    policy = running.policy("web", egress=wide)
    connection = inline(stage.connectors / "web", config={"port": api.port, "scheme": "https"})

    def rows() -> list[dict[str, Any]]:
        stream = read(running, connection, "asc", "plain").drain()
        assert stream.summary, stream.failure
        return records(stream)

    seen = rows()
    audit = running.folder / "data/audit.jsonl"
    check = ("policy", "check", policy.parent, "--audit", audit, "--strict")
    found = running.command(*check)
    assert (
        found.returncode == 1 and "egress[1]: nothing in the audit logs that were given used the rule" in found.stdout
    )
    learned = running.command("policy", "learn", audit)
    assert learned.returncode == 0, learned.stderr
    policy.write_text(learned.stdout.replace("# workspace: default", "workspace: default"))
    running.client.call("ReloadPolicies")
    assert rows() == seen and len(seen) == 50
    assert running.command(*check).returncode == 0
    declared = running.folder / "connector.yaml"
    manifest = (stage.connectors / "web/connector.yaml").read_text()
    for port, code, says in [(api.port, 0, f"https by {policy}"), (1, 1, f"! localhost port {api.port}: declared not")]:
        asked = f"{{ host: localhost, ports: [{port}], protocol: https }}"
        own = '{ host: "${config.host}", ports: ["${config.port}"], protocol: tcp }'
        declared.write_text(manifest.replace(own, asked))
        found = running.command("policy", "diff", "--declared", declared, "--policy", policy, "--observed", audit)
        assert found.returncode == code and says in found.stdout, found.stdout + found.stderr
    refused = read(running, connection, "desc").drain()
    assert refused.failure["code"] == "ERROR_CODE_EGRESS_DENIED", refused.failure


@pytest.fixture
def impatient(lone: Callable[..., Daemon], signer: Signer) -> Daemon:
    """A daemon that takes two seconds of silence for a stall."""
    running = lone(egress={"ca": "upstream.pem"}, limits={"stall": "2s"})
    shutil.copy(signer.folder / "ca.pem", running.folder / "upstream.pem")
    return running.start()


def test_a_wait_of_the_gateways_own_is_no_stall_and_silence_of_the_upstream_is(
    impatient: Daemon, stage: Stage, api: Api
) -> None:
    api.records = tied(20)
    impatient.policy("web", egress=[inspected(api.port, on_429="retry", rate={"concurrency": 1})])
    connection = inline(stage.connectors / "web", config={"port": api.port, "scheme": "https"})
    api.fail("/asc", 429, headers={"Retry-After": "4"})
    throttled = read(impatient, connection, "plain").drain()
    assert throttled.summary and len(records(throttled)) == 20, throttled.failure
    assert "429 Retry-After" in {one["cause"] for one in throttled.all("throttled")}
    assert throttled.summary["stats"]["throttled_seconds"] >= 4
    assert throttled.summary["stats"]["requests"] == 2
    # One has the only place for four seconds, and the other one waits for it.
    api.drip("/asc", 4)
    first = read(impatient, connection, "plain")
    api.wait_for("/asc", len(api.requests) + 1)
    second = read(impatient, connection, "plain")
    for stream in (first, second):
        assert stream.drain().summary and len(records(stream)) == 20, stream.failure
    assert "concurrency" in {one["cause"] for one in second.all("throttled")}
    api.stall("/asc")
    silent = read(impatient, connection, "plain").drain()
    assert silent.failure["code"] == "ERROR_CODE_STALLED", silent.failure


def test_a_wait_that_does_not_fit_ends_the_call_at_once_with_its_last_checkpoint_and_the_time(
    inspecting: Daemon, api: Api, web: Callable[..., dict[str, Any]]
) -> None:
    api.records = tied(30)
    connection = web({"on_429": "retry"})
    page = api._asc
    asked: list[str] = []

    def second_page_is_too_much(params: dict[str, str]) -> dict[str, Any]:
        asked.append(params.get("page", "0"))
        if len(asked) == 1:
            api.fail("/asc", 429, times=9, headers={"Retry-After": "900"})
        return page(params)

    api._asc = second_page_is_too_much  # type: ignore[method-assign]
    began = time.time()
    stream = read(inspecting, connection, "plain", options={"deadline_ms": 120_000}).drain()
    assert time.time() - began < 20
    assert stream.failure["code"] == "ERROR_CODE_QUOTA_EXHAUSTED", stream.failure
    # What was asked, five seconds by chance, and what two readings of the clock may differ by.
    assert began + 900 - 0.1 <= retry_at(stream) <= time.time() + 905 + 0.1
    assert [record["id"] for record in delivered(stream)] == list(range(1, 11))
    assert stream.failure["last_checkpoint"]["id"] == last_checkpoint(stream)["id"]


@pytest.fixture
def embedded(
    inspecting: Daemon, stage: Stage, api: Api, signer: Signer, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[int, list[dict[str, Any]], str]]:
    """Reads a stream of `web` in a daemon of the command's own: exit status, records, and what was said."""
    folder = stage.folder("embedded")
    (folder / "policies").mkdir()
    config = folder / "config.yaml"
    config.write_text(json.dumps({"port": api.port, "scheme": "https", "token": {"$secret": "env:CAISSON_SECRET_WEB"}}))

    def run(stream: str, *options: str, rule: Rule | None = None, **env: str) -> tuple[int, list[dict[str, Any]], str]:
        secrets = {"token": {"from": ["env:CAISSON_SECRET_*"], "reveal": True}}
        policy = {"format": 1, "connector": "web", "egress": [inspected(api.port, **(rule or {}))], "secrets": secrets}
        (folder / "policies/web.yaml").write_text(json.dumps(policy))
        shutil.copy(signer.folder / "ca.pem", folder / "ca.pem")
        inspecting.identity.own(folder)
        done = inspecting.command(
            "read", "--path", stage.connectors / "web", "--config", config, "--stream", stream, "--format", "jsonl",
            "--policies", folder / "policies", "--data-dir", folder / "data", *options, cwd=folder,
            env={
                "CAISSON_SHIM": str(stage.shim), "CAISSON_PYTHON": str(stage.python),
                "SSL_CERT_FILE": str(folder / "ca.pem"), **env,
            },
        )  # fmt: skip
        run.output = done.stdout + done.stderr  # type: ignore[attr-defined]
        found = [json.loads(line) for line in done.stdout.splitlines()]
        return done.returncode, [line.get("record", line) for line in found], done.stderr

    run.folder = folder  # type: ignore[attr-defined]
    return run


# Each of its forms is another text.
CANARY = 'sesame/open+"4711"'
SECRET = {"CAISSON_SECRET_WEB": CANARY}


@pytest.mark.parametrize("stream", ["asc", "plain"])
def test_what_was_recorded_is_played_without_a_network_and_without_a_secret(
    embedded: Any, api: Api, stream: str
) -> None:
    api.records = tied(25)
    code, recorded, said = embedded(stream, "--record", "a.har", **SECRET)
    assert code == 0, said
    text = (embedded.folder / "a.har").read_text()
    assert leaks(CANARY, {"the cassette": text.encode()}) == []
    assert len(json.loads(text)["log"]["entries"]) == 3 == len(api.requests)
    api.close()
    code, played, said = embedded(stream, "--replay", "a.har")
    assert code == 0, said
    assert played == recorded
    assert len(api.requests) == 3


def test_a_request_that_was_not_recorded_ends_the_call_and_shows_the_nearest_one(embedded: Any, api: Api) -> None:
    api.records = tied(5)
    code, _, said = embedded("asc", "--record", "b.har", **SECRET)
    assert code == 0, said
    code, _, said = embedded("events", "--replay", "b.har")
    assert code != 0
    assert "the nearest recording is GET localhost" in said, said
    assert "/asc" in said and "/events" in said, said


@pytest.mark.parametrize("option", ["--record", "--replay"])
def test_what_cannot_be_recorded_or_played_ends_the_call_and_says_what_to_write(
    embedded: Any, api: Api, option: str
) -> None:
    if option == "--replay":
        assert embedded("asc", "--record", "c.har", **SECRET)[0] == 0
    code, _, said = embedded("asc", option, "c.har", rule={"protocol": "tcp"}, **SECRET)
    assert code != 0
    assert "write protocol: https" in said, said


def test_faults_of_a_script_are_met_as_an_upstream_would_make_them(embedded: Any, api: Api) -> None:
    api.records = tied(25)
    script = {
        "format": 1,
        "faults": [
            {
                "match": {"host": "localhost", "path": "/asc", "nth": 2},
                "answer": {"status": 429, "retry_after": {"seconds": 1}},
            },
            {"match": {"host": "localhost", "path": "/asc", "nth": 4}, "reset": {"after": 10}},
        ],
    }  # fmt: skip
    (embedded.folder / "faults.yaml").write_text(json.dumps(script))
    code, found, said = embedded("asc", "--faults", "faults.yaml", **SECRET)
    assert code == 0, said
    assert sorted(record["id"] for record in found) == list(range(1, 26))
    # Three pages; the 429 never came here, and the answer that was reset did.
    assert len(api.requests) == 4
    script["faults"] = [{"match": {"host": "localhost", "path": "/asc"}, "answer": {"status": 401}}]
    (embedded.folder / "faults.yaml").write_text(json.dumps(script))
    code, _, said = embedded("asc", "--faults", "faults.yaml", **SECRET)
    assert code == 4, said
    script["faults"] = [{"match": {"host": "localhost"}, "certificate": "expired"}]
    (embedded.folder / "faults.yaml").write_text(json.dumps(script))
    code, _, said = embedded("plain", "--faults", "faults.yaml", **SECRET)
    assert code == 5 and "TLS_FAILED" in said, said
    (embedded.folder / "faults.yaml").write_text("format: 1\nfaults:\n  - match: { hots: a }\n")
    code, _, said = embedded("plain", "--faults", "faults.yaml", **SECRET)
    assert code != 0 and "faults.yaml:3" in said and "did you mean `host`" in said, said


# Of the second of three pages, or of the first look-up or connection: exit status and records.
Outcome = tuple[int, int]
WHOLE, REFUSED, DENIED, BROKEN, LATE = (0, 25), (7, 10), (4, 10), (5, 0), (6, 10)


class Met(NamedTuple):
    """A fault, and what comes of it.

    Attributes:
        fault: As a script has it.
        outcome: Exit status and records.
        waits: Seconds that lie at least between the first request that the API sees and the second one.
        most: Requests that the API sees at most: where it is asked and its answer spoiled, one more than pages.
    """

    fault: dict[str, Any]
    outcome: Outcome
    waits: float = 0
    most: int = 3


FAULTS: dict[str, Met] = {
    **{f"{status}": Met({"answer": {"status": status}}, REFUSED, most=1) for status in (400, 404, 409)},
    **{f"{status}": Met({"answer": {"status": status}}, DENIED, most=1) for status in (401, 403)},
    **{f"{status}": Met({"answer": {"status": status}}, WHOLE, waits=0.5) for status in (408, 500, 502, 503, 504)},
    **{
        f"{status}, Retry-After in seconds": Met(
            {"answer": {"status": status, "retry_after": {"seconds": 3}}}, WHOLE, 3
        )
        for status in (429, 503)
    },
    **{
        f"{status}, Retry-After absurd": Met({"answer": {"status": status, "retry_after": "absurd"}}, LATE, most=1)
        for status in (429, 503)
    },
    # A date has no fractions of a second.
    "429, Retry-After a date": Met({"answer": {"status": 429, "retry_after": {"date": 4}}}, WHOLE, waits=3),
    "429, Retry-After past": Met({"answer": {"status": 429, "retry_after": "past"}}, WHOLE),
    "429, Retry-After absent": Met({"answer": {"status": 429, "retry_after": "absent"}}, WHOLE, waits=1),
    "an empty body": Met({"answer": {"status": 200}}, REFUSED, most=1),
    "reset before the head": Met({"reset": {"after": 0}}, WHOLE, most=4),
    "reset in the body": Met({"reset": {"after": 10}}, WHOLE, most=4),
    "a stalled body": Met({"stall": {"after": 10}}, WHOLE, most=4),
    "a slow body": Met({"slow": {"bytes_per_second": 1000}}, WHOLE),
    "a truncated body": Met({"truncate": {"after": 10}}, WHOLE, most=4),
    "another type": Met({"content_type": "text/html"}, WHOLE),
    "broken gzip": Met({"broken_gzip": True}, WHOLE, most=4),
    "a redirect": Met({"redirect_loop": True}, WHOLE),
    "refused": Met({"refuse": True}, WHOLE),
    "no such name": Met({"dns": "nxdomain"}, WHOLE),
    "no answer of DNS": Met({"dns": "servfail"}, WHOLE),
    **{
        f"certificate {which}": Met({"certificate": which}, BROKEN, most=0)
        for which in ("wrong_name", "unknown_issuer")
    },
}


@pytest.fixture
def faulty(embedded: Any, api: Api) -> Callable[..., tuple[Outcome, str]]:
    """Reads 25 records of `asc` under one fault: exit status, records and what was said. They are the first ones, in
    order, and nothing that was written has the secret."""

    def run(fault: dict[str, Any], *options: str, **match: Any) -> tuple[Outcome, str]:
        api.records = tied(25)
        script = {"format": 1, "faults": [{"match": {"host": "localhost", **match}, **fault}]}
        (embedded.folder / "faults.yaml").write_text(json.dumps(script))
        code, found, said = embedded("asc", "--faults", "faults.yaml", *options, **SECRET)
        assert [record["id"] for record in found] == list(range(1, len(found) + 1)), said
        assert {request.headers["authorization"] for request in api.requests} <= {f"Bearer {CANARY}"}
        written = files(embedded.folder / "data")
        assert any(path.endswith("audit.jsonl") for path in written)
        assert leaks(CANARY, {"the command": embedded.output.encode(), **written}) == []
        return (code, len(found)), said

    return run


@pytest.mark.parametrize("name", FAULTS)
def test_of_every_fault_all_records_come_or_the_code_with_those_before_it(faulty: Any, api: Api, name: str) -> None:
    met = FAULTS[name]
    before = {"refuse", "dns", "certificate"} & set(met.fault)
    outcome, said = faulty(met.fault, **({"times": 1} if before else {"path": "/asc", "nth": 2}))
    assert outcome == met.outcome, said
    assert len(api.requests) <= met.most, said
    if met.waits:
        assert api.requests[1].at - api.requests[0].at >= met.waits, said


@pytest.mark.parametrize(
    ("status", "options", "most"), [(500, (), 6), *((status, ("--deadline", "6s"), 4) for status in (502, 503, 504))]
)
def test_a_status_that_never_passes_ends_the_call_after_so_many_tries_with_the_records_before_it(
    faulty: Any, embedded: Any, api: Api, status: int, options: tuple[str, ...], most: int
) -> None:
    outcome, said = faulty({"answer": {"status": status}}, *options, path="/asc", after=1)
    assert outcome == REFUSED, said
    assert "UPSTREAM_UNAVAILABLE" in said and f"{status}" in said, said
    assert len(api.requests) == 1
    audit = (embedded.folder / "data/audit.jsonl").read_text().splitlines()
    lines = [json.loads(line) for line in audit]
    tries = [line for line in lines if line["event"] == "request" and line["status"] == status]
    # The first one and its retries; a deadline leaves out those that do not fit.
    assert 2 <= len(tries) <= most


def test_redirects_without_end_are_an_error(embedded: Any, api: Api) -> None:
    script = {"format": 1, "faults": [{"match": {"host": "localhost", "path": "/asc"}, "redirect_loop": True}]}
    (embedded.folder / "faults.yaml").write_text(json.dumps(script))
    code, found, said = embedded("asc", "--faults", "faults.yaml", **SECRET)
    assert code == 7 and found == [] and "more than 10 redirects" in said, said


def test_the_audit_log_is_followed_by_operators_and_by_whose_call_it_is(
    inspecting: Daemon, api: Api, web: Callable[..., dict[str, Any]]
) -> None:
    api.records = tied(25)
    connection = web()
    watched = inspecting.client.stream("WatchAudit", workspace="default")
    stream = read(inspecting, connection, "asc").drain()
    assert stream.summary, stream.failure
    lines = []
    for line in watched:
        lines.append(json.loads(line["json"]))
        if sum(one["event"] == "request" for one in lines) == 3:
            break
    watched.cancel()
    assert {line["call"] for line in lines} == {stream.call_id}


def test_two_calls_of_one_connection_share_the_rate(
    inspecting: Daemon, api: Api, web: Callable[..., dict[str, Any]]
) -> None:
    api.records = tied(100)
    connection = web({"rate": {"per_second": 8, "burst": 1}})
    streams = [read(inspecting, connection, "plain") for _ in range(2)]
    began = time.monotonic()
    threads = [threading.Thread(target=stream.drain) for stream in streams]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(stream.summary for stream in streams), [stream.failure for stream in streams]
    assert len(api.requests) == 20
    # The first goes at once, and nineteen at eight a second.
    assert time.monotonic() - began > 19 / 8 - 0.1


@pytest.mark.parametrize("rate", [{"per_second": 8, "burst": 1}, {"concurrency": 1}], ids=["a rate", "one place"])
def test_a_connection_that_floods_does_not_starve_another_one_of_the_same_credential(
    inspecting: Daemon, api: Api, stage: Stage, rate: Rule
) -> None:
    api.records = tied(1000)
    turns = 8
    under_way, at_once = threading.Semaphore(1), threading.Event()

    def guard(authorization: str) -> bool:
        if not under_way.acquire(blocking=False):
            at_once.set()
            return True
        time.sleep(0.12)
        under_way.release()
        return True

    api.guard = guard
    (inspecting.folder / "secrets/shop").write_text("credential-of-both-77")
    inspecting.identity.own(inspecting.folder / "secrets")
    seal = {"hosts": ["localhost"], "ports": [api.port]}
    secrets = {"token": {"from": ["file:shop"], "seal": seal}}
    inspecting.policy("web", egress=[inspected(api.port, rate=rate)], secrets=secrets)
    config = {"port": api.port, "scheme": "https", "token": {"$secret": "file:shop"}}
    flooding, modest = (inline(stage.connectors / "web", config={**config, **more}) for more in ({}, {"auth": "token"}))
    flood = [read(inspecting, flooding, "plain") for _ in range(8)]
    with ThreadPoolExecutor(9) as pool:
        taking = [pool.submit(stream.drain) for stream in flood]
        api.wait_for("/asc", len(flood))
        other = read(inspecting, modest, "desc")
        taking.append(pool.submit(other.drain))
        api.wait_for("/desc", turns)
        assert not any(done.done() for done in taking)
        for stream in (*flood, other):
            inspecting.client.call("Cancel", call_id=stream.call_id)
    paths = [request.path for request in api.requests]
    first, *_, last = [at for at, path in enumerate(paths) if path == "/desc"][:turns]
    # In turn it is one for one; first come, first served would be eight for one.
    assert paths[first:last].count("/asc") <= 3 * turns, paths[first:]
    # And they do share. Where there is one place, no two are under way.
    assert not at_once.is_set() or "concurrency" not in rate
    if "per_second" in rate:
        # From its second on, which needs no new connection; one at each end may come late. Of two rates these would
        # be twice as many.
        since = paths.index("/desc", first + 1)
        seen = [request.at for request in api.requests[since : last + 1]]
        assert len(seen) <= rate["per_second"] * (seen[-1] - seen[0]) + rate["burst"] + 2
