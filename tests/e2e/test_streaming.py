"""Streaming: unbounded, with timed checkpoints and heartbeats, ending cleanly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness import Daemon
from harness.read import last_checkpoint, read, records
from servers.httpserver import Api, tied

Made = Callable[..., dict[str, Any]]


def test_records_come_as_they_happen_and_a_cancel_ends_cleanly(daemon: Daemon, web: Made, api: Api) -> None:
    api.records = tied(3)
    stream = read(daemon, web(), "events", mode="streaming")
    stream.until("checkpoint")
    assert len(records(stream)) == 3
    api.records = tied(5)
    while len(records(stream)) < 5:
        stream.until("batch")
    stream.until("checkpoint")
    daemon.client.call("Cancel", call_id=stream.call_id)
    stream.drain()
    assert stream.failure["code"] == "ERROR_CODE_CANCELLED"
    assert [record["id"] for record in records(stream)] == [1, 2, 3, 4, 5]


def test_a_later_call_goes_on_at_the_last_checkpoint(daemon: Daemon, web: Made, api: Api) -> None:
    api.records = tied(4)
    connection = web()
    first = read(daemon, connection, "events", mode="streaming")
    first.until("checkpoint")
    checkpoint = last_checkpoint(first)
    first.cancel()
    api.records = tied(6)
    second = read(daemon, connection, "events", mode="streaming", from_="FROM_CHECKPOINT", checkpoints=[checkpoint])
    second.until("batch")
    second.cancel()
    assert [record["id"] for record in records(second)][:2] == [5, 6]


def test_a_streaming_worker_that_idles_properly_is_not_stalled_however_long(
    own: Callable[..., Daemon], rows: Made
) -> None:
    daemon = own(limits={"stall": "2s"}).start()
    stream = read(daemon, rows(idle=6), "counted", mode="streaming")
    while len(stream.all("checkpoint")) < 2:
        stream.until("checkpoint")
    # Between the two nothing happened, and the caller heard of it.
    beats = [each for each in stream.all("progress") if each.get("message") == "waiting"]
    assert len(beats) > 3, stream.all("progress")
    stream.cancel()


def test_a_streaming_worker_that_hangs_is_stalled(own: Callable[..., Daemon], rows: Made) -> None:
    daemon = own(limits={"stall": "2s"}).start()
    stream = read(daemon, rows(behave="hang", at=15), "counted", mode="streaming", timeout=60).drain()
    assert stream.failure["code"] == "ERROR_CODE_STALLED", stream.failure
    assert last_checkpoint(stream)["records"] == 10
