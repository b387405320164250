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


def test_silence_is_filled_with_heartbeats_and_is_no_stall(own: Callable[..., Daemon], stage: Any, api: Api) -> None:
    from conftest import loopback
    from harness.daemon import inline

    daemon = own(limits={"stall": "2s"})
    daemon.policy("web", egress=[loopback(api.port)])
    daemon.start()
    stream = read(daemon, inline(stage.connectors / "web", config={"port": api.port}), "events", mode="streaming")
    # A worker that waits says so; a heartbeat is what the daemon sends when nothing else came.
    for event in stream:
        if "heartbeat" in event or event.get("progress", {}).get("message") == "waiting":
            break
    assert api.count("/events") > 20
    stream.cancel()
