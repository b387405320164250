"""Admission: slots, the queue before them, callers that leave, and listeners that do not listen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness import CallFailed, Daemon, Stage
from harness.daemon import inline
from harness.read import read, records, sync
from harness.watch import eventually, gone, running, settled, workers

Made = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("slots", [{"total": 1}, {"total": 4, "tenant": 1}], ids=["in all", "per tenant"])
def test_a_deadline_counts_while_a_call_waits_for_its_slot_and_slots_are_given_back(
    own: Callable[..., Daemon], rows: Made, slots: dict[str, int]
) -> None:
    daemon = own(slots=slots).start()
    holder = read(daemon, rows(), "counted", mode="streaming")
    holder.until("batch")
    with pytest.raises(CallFailed) as late:
        read(daemon, rows(count=5), "rows", options={"deadline_ms": 1000}, timeout=30).drain()
    assert late.value.code == "TIMEOUT", late.value
    assert "waited for a slot" in late.value.message
    holder.cancel()
    for _ in range(3):
        assert len(records(read(daemon, rows(count=5), "rows", timeout=60).drain())) == 5


def test_a_call_that_needs_more_slots_than_there_are_is_refused_and_does_not_wait(
    own: Callable[..., Daemon], rows: Made, stage: Stage
) -> None:
    daemon = own(slots={"total": 1}).start()
    with pytest.raises(CallFailed) as refused:
        sync(daemon, rows(count=5), inline(stage.connectors / "sink"), state_key="two", timeout=30).drain()
    assert refused.value.code == "QUOTA_EXHAUSTED", refused.value
    assert "slots" in refused.value.message


def test_a_caller_that_leaves_the_queue_leaves_its_place(own: Callable[..., Daemon], rows: Made) -> None:
    daemon = own(slots={"total": 1}).start()
    holder = read(daemon, rows(), "counted", mode="streaming")
    holder.until("batch")
    waiting = [read(daemon, rows(count=5), "rows") for _ in range(3)]
    eventually(lambda: len(running(daemon)) == 4, "three calls wait")
    for each in waiting:
        each.cancel()
    eventually(lambda: len(running(daemon)) == 1, "nobody waits any more")
    holder.cancel()
    assert len(records(read(daemon, rows(count=5), "rows", timeout=60).drain())) == 5
    ended = daemon.client.call("ListCalls", state="cancelled")["calls"]
    assert len(ended) == 4


def test_a_caller_that_leaves_while_its_call_begins_leaves_nothing_behind(
    own: Callable[..., Daemon], rows: Made
) -> None:
    daemon = own(slots={"total": 2}).start()
    connection = rows(count=5)
    # Wherever in its beginning a call is, its caller's patience ends there for some of these.
    for milliseconds in [*range(1, 25)] * 4:
        stream = read(daemon, connection, "rows", timeout=milliseconds / 1000)
        try:
            stream.drain()
        except CallFailed as left:
            assert left.status in ("DEADLINE_EXCEEDED", "CANCELLED"), left
    eventually(lambda: not running(daemon), "every call has ended")
    # Both slots are there.
    two = [read(daemon, rows(), "counted", mode="streaming", timeout=60) for _ in range(2)]
    for each in two:
        each.until("batch")
        each.cancel()


def test_a_caller_that_does_not_read_stops_its_worker_and_nothing_else(daemon: Daemon, rows: Made) -> None:
    stream = read(daemon, rows(count=50_000_000, size=2000), "rows")
    stream.until("batch")
    (pid,) = workers(daemon, stream)
    settled(pid)
    # The daemon goes on, for others and for this one.
    assert len(records(read(daemon, rows(count=10), "rows").drain())) == 10
    assert daemon.client.call("GetCall", call_id=stream.call_id)["state"] == "running"
    assert daemon.client.call("Cancel", call_id=stream.call_id)["cancelled"]
    assert gone(pid)
    eventually(lambda: stream.call_id not in running(daemon), "the call ends though nobody reads")
    assert daemon.client.call("GetCall", call_id=stream.call_id)["state"] == "cancelled"


def test_a_sync_whose_listener_does_not_read_waits_and_can_still_be_ended(
    own: Callable[..., Daemon], rows: Made, stage: Stage
) -> None:
    daemon = own(slots={"total": 2}).start()
    stream = sync(daemon, rows(idle=0), inline(stage.connectors / "sink"), mode="streaming", state_key="deaf")
    stream.until("committed")
    pids = workers(daemon, stream)
    assert len(pids) == 2
    for pid in pids:
        settled(pid, 120)
    assert daemon.client.call("Cancel", call_id=stream.call_id)["cancelled"]
    assert all(gone(pid) for pid in pids)
    eventually(lambda: stream.call_id not in running(daemon), "the sync ends though nobody listens", 30)
    # Its slots are free, and its state's only writer is gone.
    again = sync(daemon, rows(count=10), inline(stage.connectors / "sink"), state_key="deaf", timeout=60).drain()
    assert again.summary
