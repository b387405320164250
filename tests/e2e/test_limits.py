"""Limits: a worker that misbehaves ends with a stable code, and nobody else notices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness import Daemon
from harness.read import delivered, read, records
from harness.watch import peak_rss

Made = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("behave", "codes"),
    [
        ("exception", {"CONNECTOR_FAILED"}),
        ("credentials", {"CREDENTIALS_INVALID"}),
        ("exit", {"WORKER_LOST"}),
        ("frames", {"WORKER_LOST"}),
        ("half a frame", {"WORKER_LOST"}),
        ("system call", {"SANDBOX_VIOLATION"}),
        ("memory", {"MEMORY_EXHAUSTED"}),
        ("disk", {"DISK_EXHAUSTED"}),
        ("processes", {"PROCESS_LIMIT"}),
        ("misfit", {"SCHEMA_VIOLATION"}),
        ("large", {"RECORD_TOO_LARGE"}),
    ],
)
def test_a_worker_that_fails_ends_with_a_stable_code_and_the_daemon_lives(
    daemon: Daemon, rows: Made, behave: str, codes: set[str]
) -> None:
    daemon.policy("rows", limits={"memory": "128MiB", "tmp": "16MiB"})
    stream = read(daemon, rows(count=100, behave=behave, at=50), "rows").drain()
    failure = stream.failure
    assert failure["code"].removeprefix("ERROR_CODE_") in codes, failure
    assert failure["message"] and failure["action"], failure
    assert [record["id"] for record in delivered(stream)] == list(range(1, len(delivered(stream)) + 1))
    assert len(records(read(daemon, rows(count=10), "rows").drain())) == 10


def test_an_exception_carries_type_message_and_traceback(daemon: Daemon, rows: Made) -> None:
    failure = read(daemon, rows(behave="exception"), "rows").drain().failure
    assert failure["exception"].endswith("ValueError")
    assert "it went wrong" in failure["message"]
    assert "misbehave" in failure["traceback"]


def test_a_misfit_names_stream_record_field_and_types_but_not_the_value(daemon: Daemon, rows: Made) -> None:
    message = read(daemon, rows(behave="misfit"), "rows").drain().failure["message"]
    for word in ("rows", "id", "int64"):
        assert word in message, message
    assert "not a number" not in message


def test_garbage_on_stdout_and_stderr_is_a_log_and_harms_nothing(daemon: Daemon, rows: Made) -> None:
    stream = read(daemon, rows(behave="garbage"), "rows").drain()
    assert stream.summary and len(records(stream)) == 100
    assert {log["logger"] for log in stream.all("log")} >= {"stdout", "stderr"}


def test_a_flood_of_output_is_cut_at_its_quota_and_counted(daemon: Daemon, rows: Made) -> None:
    stream = read(daemon, rows(behave="flood"), "rows").drain()
    assert stream.summary and len(records(stream)) == 100
    assert int(stream.summary["stats"]["logs_dropped"]) > 0
    assert sum(len(log["message"]) for log in stream.all("log")) < 20_000_000


def test_a_worker_that_hangs_is_stalled(own: Callable[..., Daemon], rows: Made) -> None:
    daemon = own(limits={"stall": "2s"}).start()
    stream = read(daemon, rows(behave="hang"), "rows").drain()
    assert stream.failure["code"] == "ERROR_CODE_STALLED", stream.failure
    assert len(records(stream)) >= 49


def test_an_announced_wait_is_no_stall(own: Callable[..., Daemon], rows: Made) -> None:
    daemon = own(limits={"stall": "2s"}).start()
    stream = read(daemon, rows(behave="wait"), "rows").drain()
    assert len(records(stream)) == 100 and stream.summary, stream.seen[-1]


def test_an_announced_wait_is_believed_no_longer_than_the_operators_limit(
    own: Callable[..., Daemon], rows: Made
) -> None:
    daemon = own(limits={"stall": "2s", "throttle": "3s"}).start()
    stream = read(daemon, rows(behave="lie"), "rows", timeout=60).drain()
    assert stream.failure["code"] == "ERROR_CODE_STALLED", stream.failure
    assert "after the wait" in stream.failure["message"]
    assert 3 <= stream.failure["stats"]["throttled_seconds"] < 4


def test_a_deadline_ends_a_worker_with_timeout(daemon: Daemon, rows: Made) -> None:
    stream = read(daemon, rows(behave="hang"), "rows", options={"deadline_ms": 1500}).drain()
    assert stream.failure["code"] == "ERROR_CODE_TIMEOUT", stream.failure


def test_memory_stays_flat_when_the_caller_does_not_read(daemon: Daemon, rows: Made) -> None:
    stream = read(daemon, rows(count=400_000, size=2000), "rows")
    stream.until("batch")
    # Back-pressure: the rest waits in the worker's generator, not in a queue.
    assert len(records(stream)) < 5_000
    for event in stream:
        if "batch" in event and len(stream.seen) > 300:
            break
    call = daemon.client.call("GetCall", call_id=stream.call_id)
    stream.cancel()
    assert call["state"] == "running"
    assert peak_rss(daemon) < 400 << 20
