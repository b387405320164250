"""A call that ran out of time says where its worker stood."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from harness import Daemon, Stage
from harness.daemon import inline
from harness.read import read

CANARY = "canary-5f2c81d7"
GRANT = {"token": {"from": ["env:CAISSON_SECRET_TOKEN"], "reveal": True}}


def glutton(stage: Stage, takes: str, **config: Any) -> dict[str, Any]:
    return inline(stage.connectors / "glutton", config={"takes": takes, **config})


def test_a_call_that_reaches_its_deadline_returns_the_stacks_of_all_threads(daemon: Daemon, stage: Stage) -> None:
    stream = read(daemon, glutton(stage, "time asleep"), "rows", options={"deadline_ms": 2000}).drain()
    assert stream.failure["code"] == "ERROR_CODE_TIMEOUT", stream.failure
    stacks = stream.failure["stacks"]
    assert stacks.count("most recent call first") >= 2, stacks
    for where in (
        "/tmp/nothing/listening.py",
        "in listening_with_nothing",
        "in sleeping_with_nothing",
        "in time_asleep",
    ):
        assert where in stacks, stacks
    assert "caisson_glutton/connector.py" in stacks
    assert "stacks" in stream.failure["action"]


def test_a_stalled_call_returns_the_stacks_of_a_thread_that_never_lets_go(
    own: Callable[..., Daemon], stage: Stage
) -> None:
    daemon = own(limits={"stall": "2s"}).start()
    stream = read(daemon, glutton(stage, "time busy"), "rows").drain()
    assert stream.failure["code"] == "ERROR_CODE_STALLED", stream.failure
    assert "in time_busy" in stream.failure["stacks"], stream.failure
    assert "in rows" in stream.failure["stacks"]


def test_stacks_hold_no_secret(daemon: Daemon, stage: Stage) -> None:
    daemon.policy("glutton", secrets=GRANT)
    connection = glutton(stage, "time asleep", token={"$secret": "env:CAISSON_SECRET_TOKEN"})
    stream = read(daemon, connection, "rows", options={"deadline_ms": 2000}).drain()
    stacks = stream.failure["stacks"]
    assert "in listening_with_" in stacks and "in sleeping_with_" in stacks, stacks
    assert CANARY not in str(stream.seen)


def test_a_worker_that_will_not_hear_is_ended_at_its_deadline_all_the_same(daemon: Daemon, stage: Stage) -> None:
    begun = time.monotonic()
    stream = read(daemon, glutton(stage, "time unheard"), "rows", options={"deadline_ms": 2000}).drain()
    assert stream.failure["code"] == "ERROR_CODE_TIMEOUT", stream.failure
    assert not stream.failure.get("stacks"), stream.failure
    assert time.monotonic() - begun < 15
    call = daemon.client.call("GetCall", call_id=stream.call_id)
    assert call["state"] == "failed", call


def test_a_call_that_was_cancelled_or_failed_tells_no_stacks(daemon: Daemon, stage: Stage) -> None:
    stream = read(daemon, glutton(stage, "time asleep"), "rows")
    stream.until("started")
    daemon.client.call("Cancel", call_id=stream.call_id)
    assert not stream.drain().failure.get("stacks")
    assert stream.failure["code"] == "ERROR_CODE_CANCELLED"
    failure = read(daemon, glutton(stage, "files"), "rows").drain().failure
    assert failure["traceback"] and not failure.get("stacks")
