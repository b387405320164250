"""Lists: each page fits what a gRPC client takes, following the pages shows all of it, and what is old goes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from harness import CallFailed, Client, Daemon, Stage
from harness.read import read

Made = Callable[..., dict[str, Any]]
# What gRPC clients take where nobody raised it: grpcio, grpc-go, grpc-java and tonic alike.
LIMIT = 4 << 20


def pages(client: Client, method: str, entries: str, **fields: Any) -> list[list[Any]]:
    """The entries of every page."""
    found, token = [], ""
    while True:
        page = client.call(method, page_token=token, **fields)
        found.append(page.get(entries, []))
        token = page.get("next_page_token", "")
        if not token:
            return found


def all_of(found: list[list[Any]]) -> list[Any]:
    """The entries of all pages together."""
    return [entry for page in found for entry in page]


def test_calls_that_failed_at_length_are_listed_in_pages_that_a_client_can_take(
    own: Callable[..., Daemon], rows: Made
) -> None:
    daemon = own().start()
    crooked = json.dumps({f"{number:05}" + "x" * 2_000: 1 for number in range(400)})
    for _ in range(120):
        connection = rows()
        connection["inline"]["connection"]["config_json"] = crooked
        with pytest.raises(CallFailed) as refused:
            read(daemon, connection, "rows").drain()
        assert refused.value.code == "CONFIG_INVALID", refused.value
    found = pages(daemon.client, "ListCalls", "calls", page_size=1_000)
    assert len(found) > 1
    assert len({call["call_id"] for call in all_of(found)}) == len(all_of(found)) == 120
    assert len(daemon.client.call("GetCall", call_id=found[0][0]["call_id"])["failure"]["faults"]) == 200
    done = daemon.cli("calls", "list", "--limit", "1000", "--json")
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 120, done.stderr


def test_connections_and_their_checkpoints_are_listed_in_pages_that_a_client_can_take(
    own: Callable[..., Daemon], stage: Stage
) -> None:
    daemon = own().start()
    daemon.cli("publish", stage.connectors / "rows")
    client = daemon.client
    streams = {f"{number:04}" + "s" * 200: {"mode": "READ_MODE_FULL"} for number in range(3_000)}
    large = {"connector": "rows@1.0.0", "config_json": "{}", "streams": streams}
    for number in range(8):
        client.call("Put", name=f"c{number}", connection=large)
    found = pages(client, "Connections.List", "connections")
    assert len(found) > 1
    assert [connection["name"] for connection in all_of(found)] == [f"c{number}" for number in range(8)]
    assert [len(page) for page in pages(client, "Connections.List", "connections", page_size=1)] == [1] * 8

    state = b'"' + b"s" * 900_000 + b'"'
    for number in range(6):
        checkpoint = {"stream": "rows", "partition": f"p{number}", "id": "a", "state": state}
        client.call("Commit", state_key="c0", checkpoint=checkpoint)
    found = pages(client, "Connections.Get", "checkpoints", name="c0")
    assert len(found) > 1
    assert [one["checkpoint"]["partition"] for one in all_of(found)] == [f"p{number}" for number in range(6)]
    assert all(one["checkpoint"]["state"] == state for one in all_of(found))

    # The command line has to know the revision of a checkpoint on the last page.
    entry = {"stream": "rows", "partition": "p5", "id": "b", "state": '"next"'}
    file = daemon.folder / "state.json"
    file.write_text(json.dumps({"format": 1, "checkpoints": [entry]}))
    daemon.identity.own(file)
    done = daemon.cli("commit", "c0", "--state", file)
    assert done.returncode == 0 and "revision 2" in done.stderr, done.stderr


def test_a_token_that_no_page_gave_is_refused(own: Callable[..., Daemon], stage: Stage) -> None:
    daemon = own().start()
    daemon.cli("publish", stage.connectors / "rows")
    good = {"connector": "rows@1.0.0", "config_json": "{}"}
    daemon.client.call("Put", name="c", connection=good)
    for name, fields in (("ListCalls", {}), ("Connections.Get", {"name": "c"}), ("ListConnectors", {})):
        with pytest.raises(CallFailed) as refused:
            daemon.client.call(name, page_token="x", **fields)
        assert refused.value.status == "INVALID_ARGUMENT" and "page token" in refused.value.message, refused.value


def test_connectors_are_listed_in_pages(own: Callable[..., Daemon], stage: Stage) -> None:
    daemon = own().start()
    for name in ("rows", "sink", "web"):
        done = daemon.cli("publish", stage.connectors / name)
        assert done.returncode == 0, done.stderr
    found = pages(daemon.client, "ListConnectors", "versions", page_size=2)
    assert [[version["name"] for version in page] for page in found] == [["rows", "sink"], ["web"]]
    only = pages(daemon.client, "ListConnectors", "versions", page_size=1, name="sink")
    assert [version["name"] for version in all_of(only)] == ["sink"]


def test_calls_are_forgotten_while_the_daemon_runs_but_no_request_id_of_today(
    own: Callable[..., Daemon], rows: Made
) -> None:
    daemon = own(calls={"keep": 5}).start()
    options = {"request_id": "held-to"}
    first = read(daemon, rows(count=1), "rows", options=options).drain()
    for _ in range(12):
        with pytest.raises(CallFailed):
            read(daemon, rows(count="many"), "rows").drain()
    until = time.monotonic() + 30
    while time.monotonic() < until:
        calls = daemon.client.call("ListCalls").get("calls", [])
        if len(calls) <= 6:
            break
    assert len(calls) == 6, [call["state"] for call in calls]
    again = read(daemon, rows(count=1), "rows", options=options).drain()
    assert again.call_id == first.call_id and again.all("started")[0]["attached"]
