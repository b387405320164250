"""Sealed secrets: the worker has a placeholder, the upstream gets the value."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness import Daemon, Identity, Stage, Stream
from harness.daemon import inline
from harness.read import read, records
from servers.httpserver import Api, Request, tied
from servers.parcels import Parcel, Parcels
from servers.secure import Signer

VALUE = "canary-of-the-seal-3b9e"
PLAIN = "canary-of-the-ways-7c1d"
HARD = f"{PLAIN}+:/&=%41"
"""It has what queries and pairs write in another form."""
REFERENCE = {"$secret": "env:CAISSON_SECRET_TOKEN"}


@pytest.fixture(scope="module")
def signer(stage: Stage) -> Signer:
    """Who signed for the servers, and is no root of the host's."""
    made = Signer(stage.folder("private"))
    made.issue("server", "DNS:localhost")
    return made


@pytest.fixture(scope="module")
def sealing(stage: Stage, identity: Identity, signer: Signer) -> Iterator[Daemon]:
    """A daemon that has the secrets."""
    running = Daemon(stage, identity, egress={"ca": "upstream.pem"})
    running.environment |= {"CAISSON_SECRET_TOKEN": VALUE, "CAISSON_SECRET_HARD": HARD}
    shutil.copy(signer.folder / "ca.pem", running.folder / "upstream.pem")
    running.start()
    yield running
    running.remove()


@pytest.fixture
def api(signer: Signer) -> Iterator[Api]:
    """The HTTP server, with TLS."""
    with Api(tls=signer.context("server")) as server:
        yield server


def seal(port: int, **more: Any) -> dict[str, Any]:
    """A policy's secrets."""
    return {"token": {"from": ["env:CAISSON_SECRET_TOKEN"], "seal": {"hosts": ["localhost"], "ports": [port], **more}}}


def inspected(port: int) -> dict[str, Any]:
    return {"host": "localhost", "networks": ["127.0.0.0/8"], "ports": [port], "protocol": "https"}


@pytest.fixture
def web(stage: Stage, api: Api) -> Callable[..., dict[str, Any]]:
    def connection(**config: Any) -> dict[str, Any]:
        return inline(
            stage.connectors / "web",
            config={"port": api.port, "scheme": "https", "token": REFERENCE, **config},
        )

    return connection


def test_the_cdks_client_authenticates_without_ever_holding_the_value(
    sealing: Daemon, api: Api, web: Callable[..., dict[str, Any]]
) -> None:
    api.records = tied(25)
    sealing.policy("web", egress=[inspected(api.port)], secrets=seal(api.port))
    stream = read(sealing, web(), "asc").drain()
    assert stream.summary, stream.failure
    assert len(records(stream)) == 25
    assert {request.headers["authorization"] for request in api.requests} == {f"Bearer {VALUE}"}
    assert VALUE not in sealing.log
    assert VALUE not in (sealing.folder / "data/audit.jsonl").read_text()


def test_what_the_worker_has_is_a_placeholder(
    sealing: Daemon, stage: Stage, api: Api, rows: Callable[..., dict[str, Any]]
) -> None:
    sealing.policy("rows", egress=[inspected(api.port)], secrets=seal(api.port))
    stream = read(sealing, rows(token=REFERENCE, behave="leak", at=10), "rows").drain()
    logs = [log["message"] for log in stream.all("log")]
    (leaked,) = [message for message in logs if message.startswith("the token is")]
    assert leaked.startswith("the token is sealed"), leaked
    assert VALUE not in str(logs) + str(stream.failure)


def test_a_placeholder_elsewhere_ends_the_call_with_what_is_wrong(
    sealing: Daemon, api: Api, web: Callable[..., dict[str, Any]]
) -> None:
    api.records = tied(5)
    sealing.policy("web", egress=[inspected(api.port)], secrets=seal(api.port, place="header:X-Api-Key"))
    stream = read(sealing, web(), "asc").drain()
    assert stream.failure["code"] == "ERROR_CODE_EGRESS_DENIED", stream.failure
    assert stream.failure["refusals"][0]["reason"] == "secret_misplaced"
    assert "field authorization" in stream.failure["message"], stream.failure
    assert api.requests == []


def pair(request: Request) -> str:
    """Basic's pair of a request."""
    return base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()


# By the declaration of `keys`: the place that operators write, how to find it in a request, what stands there.
WAYS: dict[str, tuple[str, Callable[[Request], str], str]] = {
    "password": ("basic", pair, f"ann:{HARD}"),
    "user_key": ("basic", pair, f"{HARD}:"),
    "header_key": ("header:x-api-key", lambda request: request.headers["x-api-key"], HARD),
    "prefixed_key": ("header:x-auth", lambda request: request.headers["x-auth"], f"Token {HARD}"),
    "query_key": ("query:api_key", lambda request: request.params["api_key"], HARD),
}


@pytest.fixture
def keyed(sealing: Daemon, stage: Stage, api: Api) -> Callable[..., Stream]:
    """Reads pages through a client with a way to authenticate, and what the worker holds, under a seal."""
    api.records = tied(25)

    def run(way: str, **more: Any) -> Stream:
        grant = {"from": ["env:CAISSON_SECRET_HARD"], "seal": {"hosts": ["localhost"], "ports": [api.port], **more}}
        sealing.policy("keys", egress=[inspected(api.port)], secrets={way: grant})
        config = {"port": api.port, "auth": way, way: {"$secret": "env:CAISSON_SECRET_HARD"}}
        return read(sealing, inline(stage.connectors / "keys", config=config), "asc", "held", mode="full").drain()

    return run


@pytest.mark.parametrize("way", WAYS)
def test_whatever_auth_is_declared_the_value_stands_there_and_the_worker_holds_a_placeholder(
    sealing: Daemon, api: Api, keyed: Callable[..., Stream], way: str
) -> None:
    place, where, value = WAYS[way]
    stream = keyed(way, place=place)
    assert stream.summary, stream.failure
    *read_from_pages, held = records(stream)
    assert read_from_pages == api.records
    assert held["value"].startswith("sealed"), held
    assert [where(request) for request in api.requests] == [value] * 3
    told = str(stream.seen) + sealing.log + (sealing.folder / "data/audit.jsonl").read_text()
    assert PLAIN not in told


@pytest.mark.parametrize("way", ["header_key", "prefixed_key", "query_key"])
def test_a_declared_place_that_the_policy_does_not_name_is_refused_with_the_line_to_write(
    api: Api, keyed: Callable[..., Stream], way: str
) -> None:
    stream = keyed(way)
    misplaced(stream)
    assert f'place: "{WAYS[way][0]}"' in str(stream.failure), stream.failure
    assert api.requests == []


PLACES: dict[str, dict[str, Any]] = {
    "header:X-Key": {"headers": {"X-Key": "{token}"}},
    "header:Authorization": {"headers": {"Authorization": "Bearer {token}"}},
    "query:key": {"path": "/?key={token}"},
    "form:key": {"body": "key={token}", "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
    "json:/key": {"body": '{"key":"{token}"}', "headers": {"Content-Type": "application/json"}},
}


@pytest.fixture
def courier(sealing: Daemon, stage: Stage, signer: Signer) -> Iterator[Callable[..., Any]]:
    """Sends a request to one of two ports under a seal for the first: what came at both, and how it ended."""
    with Parcels(signer) as first, Parcels(signer) as second:
        rule = {**inspected(first.port), "ports": [first.port, second.port]}

        def run(place: str, to: int = 0, **ask: Any) -> tuple[list[Parcel], Stream]:
            sealing.policy("courier", egress=[rule], secrets=seal(first.port, place=place))
            port = (first, second)[to].port
            asks = json.dumps([{"method": "POST", "path": "/", "port": port, **ask}])
            config = {"port": first.port, "token": REFERENCE, "asks": asks}
            stream = read(sealing, inline(stage.connectors / "courier", config=config), "answers").drain()
            assert not any("sealed" in text_of(parcel) for parcel in first.broken + second.broken)
            return first.came + second.came, stream

        yield run


def misplaced(stream: Stream) -> None:
    """It ended the call."""
    assert stream.failure["code"] == "ERROR_CODE_EGRESS_DENIED", stream.failure
    assert stream.failure["refusals"][0]["reason"] == "secret_misplaced"


def text_of(parcel: Parcel) -> str:
    """All that came, decoded as far as Basic's pairs."""
    kind, _, pair = parcel.headers.get("authorization", "").partition(" ")
    decoded = base64.b64decode(pair).decode() if kind == "Basic" else ""
    return f"{parcel.target} {parcel.headers} {parcel.head!r} {decoded}"


@pytest.mark.parametrize("place", PLACES)
def test_a_value_is_put_in_at_the_port_of_its_seal_and_at_no_other_of_the_host(
    courier: Callable[..., Any], place: str
) -> None:
    (parcel,), stream = courier(place, **PLACES[place])
    assert stream.summary and VALUE in text_of(parcel), stream.failure
    came, stream = courier(place, to=1, **PLACES[place])
    assert came == [parcel]
    misplaced(stream)


@pytest.mark.parametrize(
    ("field", "stands"),
    [
        ("Basic {as_user}", f"{VALUE}:"),
        ("Basic {as_password}", f"ann:{VALUE}"),
        ("Bearer {token}", ""),
        ("{token}", ""),
    ],
)
def test_a_place_inside_of_basics_pair_is_that_and_no_other(
    courier: Callable[..., Any], field: str, stands: str
) -> None:
    came, stream = courier("basic", headers={"Authorization": field})
    if stands:
        assert stream.summary, stream.failure
        assert text_of(came[0]).endswith(f" {stands}")
    else:
        assert came == []
        misplaced(stream)


def test_a_seal_that_no_rule_could_honour_is_refused_when_the_policy_is_read(sealing: Daemon, api: Api) -> None:
    from harness import CallFailed

    relayed = {**inspected(api.port), "protocol": "tls"}
    with pytest.raises(CallFailed) as refused:
        sealing.policy("web", egress=[relayed], secrets=seal(api.port))
    told = str(refused.value) + str(refused.value.details)
    assert refused.value.code == "CONFIG_INVALID" and "protocol: https" in told, told
