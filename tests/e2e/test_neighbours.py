"""Whoever takes more than is allowed ends alone: with its code, beside a neighbour who gets everything right.

The daemon answers all the while. This machine may be loaded by others, so the bound that is tested is a median under
50 ms and no answer after two seconds; the figures are in target/limits.jsonl.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from harness import Daemon, Stage
from harness.client import Stream
from harness.daemon import inline
from harness.latency import Latency
from harness.read import read, records
from harness.stage import ROOT

LIMITS = {"memory": "96MiB", "tmp": "16MiB", "pids": 24, "open_files": 64, "cpu": 0.5}
MEDIAN_MS = 50
LONGEST_MS = 2000
FIGURES = ROOT / "target/limits.jsonl"

# What is taken, the code it ends with, and what the failure names.
ABUSES = [
    ("memory", "MEMORY_EXHAUSTED", ["`limits.memory` of 96MiB", "100663296", "peak"]),
    ("one large allocation", "MEMORY_EXHAUSTED", ["`limits.memory` of 96MiB", "peak"]),
    ("tmp", "DISK_EXHAUSTED", ["`limits.tmp` is 16MiB"]),
    ("threads", "PROCESS_LIMIT", ["`limits.pids` is 24"]),
    ("processes", "PROCESS_LIMIT", ["`limits.pids` is 24"]),
    ("files", "CONNECTOR_FAILED", ["[Errno 24]", "`limits.open_files` is 64"]),
    ("sockets", "CONNECTOR_FAILED", ["[Errno 24]", "`limits.open_files` is 64"]),
    ("time busy", "TIMEOUT", ["deadline"]),
    ("time unheard", "TIMEOUT", ["deadline"]),
]


class Neighbour:
    """Another call that streams at the same time, for about four seconds."""

    def __init__(self, daemon: Daemon, stage: Stage) -> None:
        self.count = 800
        connection = inline(stage.connectors / "rows")
        self.stream: Stream = read(daemon, connection, "counted", mode="streaming", max_records=self.count)
        self.stream.until("started")
        self._reading = threading.Thread(target=self.stream.drain)
        self._reading.start()

    def finish(self) -> None:
        """It got all of its records in order, and its Summary."""
        self._reading.join(60)
        assert not self._reading.is_alive()
        assert self.stream.summary
        assert [record["id"] for record in records(self.stream)] == list(range(1, self.count + 1))


@pytest.fixture
def beside(daemon: Daemon, stage: Stage) -> Callable[..., Stream]:
    """Drains the call that takes too much of something, and sees that nobody else was hurt."""

    def take(what: str, **limits: Any) -> Stream:
        # Only time is short where time is taken: elsewhere a loaded machine must not end the call first.
        duration = "2s" if what.startswith("time") else "1m"
        daemon.policy("glutton", limits={**LIMITS, "duration": duration, **limits})
        neighbour = Neighbour(daemon, stage)
        with Latency(f"unix:{daemon.socket}", neighbour.stream.call_id) as latency:
            stream = read(daemon, inline(stage.connectors / "glutton", config={"takes": what}), "rows").drain()
        neighbour.finish()
        FIGURES.parent.mkdir(exist_ok=True)
        with FIGURES.open("a") as file:
            line = {"taken": what, "daemon": daemon.identity.name, **latency.figures}
            file.write(json.dumps(line) + "\n")
        assert latency.at(0.5) < MEDIAN_MS and latency.milliseconds[-1] < LONGEST_MS, latency.figures
        return stream

    return take


@pytest.mark.parametrize(("what", "code", "named"), ABUSES, ids=[abuse[0] for abuse in ABUSES])
def test_what_is_taken_ends_the_call_that_takes_it_and_nobody_else(
    beside: Callable[..., Stream], what: str, code: str, named: list[str]
) -> None:
    failure = beside(what).failure
    assert failure["code"] == f"ERROR_CODE_{code}", failure
    for words in named:
        assert words in failure["message"], failure
    assert failure["action"]


def test_files_in_tmp_are_memory(beside: Callable[..., Stream]) -> None:
    failure = beside("memory in tmp", tmp="256MiB").failure
    assert failure["code"] == "ERROR_CODE_MEMORY_EXHAUSTED", failure
    assert int(failure["stats"]["worker_peak_memory_bytes"]) > 90 << 20


def test_a_busy_call_is_held_back_and_not_ended_and_its_summary_says_so(
    beside: Callable[..., Stream], daemon: Daemon
) -> None:
    stream = beside("processor", duration="1m", cpu=0.1)
    stats = stream.summary["stats"]
    assert len(records(stream)) == 100
    if daemon.identity.ordinary:
        # Nobody holds it back, and the Summary names the layer that is missing.
        assert stats["missing_layers"] == ["cgroup"] and not stats.get("cpu_throttled_seconds")
    else:
        assert stats["cpu_throttled_seconds"] > 0.3, stats


@pytest.mark.parametrize("what", ["lines", "large lines"])
def test_a_flood_of_lines_is_cut_and_counted_and_the_call_goes_on(beside: Callable[..., Stream], what: str) -> None:
    stream = beside(what, duration="1m", cpu=1)
    assert len(records(stream)) == 100
    assert int(stream.summary["stats"]["logs_dropped"]) > 0
    assert sum(len(log["message"]) for log in stream.all("log")) < 24 << 20
