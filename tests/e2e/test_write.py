"""Write: a destination that takes several batches at once, and what its caller hears of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from harness import Daemon, Stage
from harness.daemon import inline


def messages(stage: Stage, batches: int, checkpoints: tuple[int, ...], **config: Any) -> Iterator[dict[str, Any]]:
    """Batches of twenty records, with a checkpoint after each that is named by its number."""
    yield {
        "start": {
            "connection": inline(stage.connectors / "crowd", config=config),
            "encoding": "ENCODING_JSON_LINES",
        }
    }
    yield {"schema": {"stream": "t", "schema_id": "s", "primary_key": ["id"], "mode": "WRITE_MODE_UPSERT"}}
    for number in range(1, batches + 1):
        ids = range(number * 20 - 19, number * 20 + 1)
        data = b"".join(json.dumps({"id": each}).encode() + b"\n" for each in ids)
        yield {"batch": {"stream": "t", "schema_id": "s", "sequence": number, "data": data, "records": 20}}
        if number in checkpoints:
            yield {"checkpoint": {"stream": "t", "id": f"after-{number}", "state": b"{}"}}


def told(stream: Any) -> list[tuple[str, Any]]:
    """Rejects, acknowledgements and commits, in order."""
    found: list[tuple[str, Any]] = []
    for event in stream.seen:
        if "rejected" in event:
            found.append(("rejected", int(event["rejected"].get("record", 0))))
        elif "acknowledged" in event:
            found.append(("acknowledged", int(event["acknowledged"]["sequence"])))
        elif "committed" in event:
            found.append(("committed", event["committed"]["checkpoint"]["id"]))
    return found


def test_declared_concurrency_is_honoured_and_told_in_order(daemon: Daemon, stage: Stage) -> None:
    stream = daemon.client.write(messages(stage, 8, (4, 8), meet=4)).drain()
    assert stream.summary
    # Four parts of ten records met, two of each batch.
    one = [("rejected", 0), ("rejected", 10)]
    acknowledged = [("acknowledged", number) for number in range(1, 9)]
    assert told(stream) == [
        *one * 4, *acknowledged[:4], ("committed", "after-4"), *one * 4, *acknowledged[4:], ("committed", "after-8")
    ]  # fmt: skip
    assert stream.summary["stats"]["records"] == 160


def test_a_batch_that_fails_ends_the_write_at_the_last_checkpoint_before_it(daemon: Daemon, stage: Stage) -> None:
    stream = daemon.client.write(messages(stage, 8, (2, 8), fail_at=95)).drain()
    assert stream.failure["code"] == "ERROR_CODE_CONNECTOR_FAILED", stream.failure
    assert "record 95" in stream.failure["message"]
    assert stream.failure["last_checkpoint"]["id"] == "after-2"
    assert [name for kind, name in told(stream) if kind == "committed"] == ["after-2"]


def test_a_batch_that_never_lands_is_a_stall(own: Callable[..., Daemon], stage: Stage) -> None:
    daemon = own(limits={"stall": "2s"}).start()
    stream = daemon.client.write(messages(stage, 8, (8,), hang_at=35), timeout=60).drain()
    assert stream.failure["code"] == "ERROR_CODE_STALLED", stream.failure
    assert [kind for kind, _ in told(stream) if kind == "committed"] == []
