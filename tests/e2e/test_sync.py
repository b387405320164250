"""Sync: what names its state, and that nobody else's is touched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness import CallFailed, Daemon, Stage
from harness.daemon import inline
from harness.read import sync

Made = Callable[..., dict[str, Any]]


def moved(stream: Any) -> tuple[int, int]:
    """Records that a finished Sync read and wrote."""
    summary = stream.summary
    return int(summary["source"].get("records", 0)), int(summary["destination"].get("records", 0))


@pytest.mark.parametrize("named", ["neither", "source", "destination"])
def test_a_sync_whose_connections_have_no_names_needs_a_state_key(
    daemon: Daemon, rows: Made, stage: Stage, named: str
) -> None:
    source, destination = rows(count=20), inline(stage.connectors / "sink")
    if named == "source":
        source["inline"]["state_key"] = "a-source"
    if named == "destination":
        destination["inline"]["state_key"] = "a-destination"
    with pytest.raises(CallFailed) as refused:
        sync(daemon, source, destination).drain()
    assert refused.value.code == "CONFIG_INVALID", refused.value
    assert "state" in refused.value.message


def test_two_syncs_of_nameless_connections_share_nothing(daemon: Daemon, rows: Made, stage: Stage) -> None:
    sink = inline(stage.connectors / "sink")
    for key in ("one", "other"):
        first = sync(daemon, rows(count=20), sink, state_key=f"nameless-{key}").drain()
        assert moved(first) == (20, 20), key
    again = sync(daemon, rows(count=25), sink, state_key="nameless-one").drain()
    assert moved(again) == (5, 5)


def test_two_syncs_of_one_state_key_at_once_are_a_conflict_that_names_the_holder(
    daemon: Daemon, rows: Made, stage: Stage
) -> None:
    sink = inline(stage.connectors / "sink")
    holder = sync(daemon, rows(), sink, mode="streaming", state_key="held")
    holder.until("committed")
    with pytest.raises(CallFailed) as refused:
        sync(daemon, rows(count=20), sink, state_key="held").drain()
    assert refused.value.code == "STATE_CONFLICT"
    assert holder.call_id in refused.value.message
    daemon.client.call("Cancel", call_id=holder.call_id)
    holder.drain()
