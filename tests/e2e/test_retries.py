"""Retries and leaving: what a refused request may do next, what outlives its caller, what holds a slot."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness import CallFailed, Daemon, Stage, Stream
from harness.daemon import inline
from harness.read import read, records

Made = Callable[..., dict[str, Any]]
REFERENCE = {"$secret": "env:CAISSON_SECRET_TOKEN"}
# A gRPC deadline that passed, as the client's clock or the server's says it first.
LATE = ("DEADLINE_EXCEEDED", "CANCELLED")
GRANT = {"token": {"from": ["env:CAISSON_SECRET_TOKEN"], "reveal": True}}


@pytest.fixture
def narrow(own: Callable[..., Daemon]) -> Callable[..., Daemon]:
    """Makes daemons with few slots."""

    def make(slots: int, **configuration: Any) -> Daemon:
        return own(slots={"total": slots}, **configuration).start()

    return make


def occupied(daemon: Daemon, rows: Made) -> Stream:
    """A call that holds a slot until it is cancelled."""
    stream = read(daemon, rows(behave="hang"), "rows")
    stream.until("batch")
    return stream


def free(daemon: Daemon, occupant: Stream) -> None:
    """Ends a call that holds a slot."""
    daemon.client.call("Cancel", call_id=occupant.call_id)
    occupant.drain()


def recorded(daemon: Daemon, kind: str, others: int = 0) -> None:
    """Returns once more than so many calls of a kind run, if only in the queue."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        calls = daemon.client.call("ListCalls", state="running").get("calls", [])
        if sum(call["kind"] == kind for call in calls) > others:
            return
    raise AssertionError(f"no {kind} was begun")


def sync_of(rows: Made, stage: Stage, name: str, **fields: Any) -> dict[str, Any]:
    """A Sync from `rows` into `sink`."""
    options = {"request_id": f"{name}-{time.time_ns()}", **fields}
    return {
        "source": rows(count=20), "destination": inline(stage.connectors / "sink"), "state_key": name,
        "streams": [{"stream": "rows"}], "options": options,
    }  # fmt: skip


def refusal(stream: Stream) -> CallFailed:
    with pytest.raises(CallFailed) as refused:
        stream.drain()
    return refused.value


def test_the_same_request_runs_once_its_refusals_cause_is_mended(daemon: Daemon, rows: Made) -> None:
    options = {"request_id": f"mended-{time.time_ns()}"}

    def again() -> Stream:
        return read(daemon, rows(count=20, token=REFERENCE), "rows", options=options)

    for _ in range(2):
        assert refusal(again()).code == "SECRET_UNAVAILABLE"
    daemon.policy("rows", secrets=GRANT)
    ran = again().drain()
    assert len(records(ran)) == 20
    attached = again().drain()
    assert attached.call_id == ran.call_id and attached.all("started")[0]["attached"]
    told = daemon.client.call("ListCalls")["calls"]
    assert sum(call.get("request_id") == options["request_id"] for call in told) == 3, "refusals are shown too"


def test_the_same_request_attaches_while_it_waits_and_runs_after_it_was_refused(
    narrow: Callable[..., Daemon], rows: Made
) -> None:
    daemon = narrow(1)
    occupant = occupied(daemon, rows)
    options = {"request_id": "waits", "deadline_ms": 3_000}

    def again() -> Stream:
        return read(daemon, rows(count=20), "rows", options=options)

    first = again()
    recorded(daemon, "read", others=1)
    second = again()
    assert second.until("started")["attached"]
    refused = refusal(first)
    assert refused.code == "TIMEOUT" and "slot" in refused.message, refused
    assert second.drain().failure["code"] == "ERROR_CODE_TIMEOUT"
    free(daemon, occupant)
    third = again().drain()
    assert third.call_id != second.call_id and len(records(third)) == 20


def test_a_sync_whose_caller_left_while_it_waited_runs(narrow: Callable[..., Daemon], rows: Made, stage: Stage) -> None:
    daemon = narrow(2)
    occupant = occupied(daemon, rows)
    asked = sync_of(rows, stage, "left")
    left = daemon.client.stream("Sync", **asked)
    recorded(daemon, "sync")
    left.cancel()
    attached = daemon.client.stream("Sync", **asked)
    assert attached.until("started")["attached"]
    free(daemon, occupant)
    assert attached.drain().summary["source"]["records"] == 20
    assert daemon.client.call("GetCall", call_id=attached.call_id)["state"] == "succeeded"


def test_a_sync_outlives_the_time_that_its_caller_listens(
    narrow: Callable[..., Daemon], rows: Made, stage: Stage
) -> None:
    daemon = narrow(2)
    occupant = occupied(daemon, rows)
    asked = sync_of(rows, stage, "listened")
    gone = refusal(daemon.client.stream("Sync", timeout=2, **asked))
    assert gone.status in LATE, gone
    attached = daemon.client.stream("Sync", **asked)
    assert attached.until("started")["attached"]
    free(daemon, occupant)
    assert attached.drain().summary["source"]["records"] == 20


def test_a_sync_that_waits_ends_by_its_own_deadline_and_by_cancel(
    narrow: Callable[..., Daemon], rows: Made, stage: Stage
) -> None:
    daemon = narrow(2)
    occupant = occupied(daemon, rows)
    late = daemon.client.stream("Sync", **sync_of(rows, stage, "late", deadline_ms=500))
    assert refusal(late).code == "TIMEOUT"
    cancelled = daemon.client.stream("Sync", **sync_of(rows, stage, "cancelled"))
    recorded(daemon, "sync")
    (call,) = (call for call in daemon.client.call("ListCalls", state="running")["calls"] if call["kind"] == "sync")
    assert daemon.client.call("Cancel", call_id=call["call_id"])["cancelled"]
    assert refusal(cancelled).code == "CANCELLED"
    free(daemon, occupant)


@pytest.mark.parametrize("name", ["Registry.Publish", "Registry.Validate"])
def test_what_inspects_a_connector_waits_for_a_slot_and_holds_it(
    narrow: Callable[..., Daemon], rows: Made, name: str
) -> None:
    daemon = narrow(1)
    occupant = occupied(daemon, rows)
    first = {"sha256": "0" * 64, "data": b"no bundle"}
    with pytest.raises(CallFailed) as refused:
        daemon.client.push(name, [first], timeout=2)
    assert refused.value.status in LATE, refused.value
    free(daemon, occupant)

    hold = threading.Event()
    answers: list[CallFailed] = []

    def upload() -> Iterator[dict[str, Any]]:
        yield first
        hold.wait(60)

    def push() -> None:
        try:
            daemon.client.push(name, upload())
        except CallFailed as error:
            answers.append(error)

    pushing = threading.Thread(target=push)
    pushing.start()
    try:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                read(daemon, rows(count=1), "rows", options={"deadline_ms": 1_000}).drain()
            except CallFailed as error:
                assert error.code == "TIMEOUT" and "slot" in error.message, error
                break
        else:
            raise AssertionError(f"{name} holds no slot while its bundle comes")
    finally:
        hold.set()
        pushing.join(60)
    assert [answer.code for answer in answers] == ["CONFIG_INVALID"], answers
    assert len(records(read(daemon, rows(count=5), "rows").drain())) == 5


def test_a_bundle_that_does_not_come_gives_its_slot_back(narrow: Callable[..., Daemon], rows: Made) -> None:
    daemon = narrow(1, limits={"stall": "1s"})
    hold = threading.Event()

    def upload() -> Iterator[dict[str, Any]]:
        yield {"sha256": "0" * 64, "data": b"no bundle"}
        hold.wait(60)

    try:
        with pytest.raises(CallFailed) as refused:
            daemon.client.push("Registry.Validate", upload())
        assert refused.value.code == "STALLED", refused.value
    finally:
        hold.set()
    assert len(records(read(daemon, rows(count=5), "rows").drain())) == 5
