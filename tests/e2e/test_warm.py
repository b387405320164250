"""Workers that wait: a call of a connector in use finds one, and nobody finds the same one twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from harness import Daemon, Identity, Stage
from harness.daemon import inline
from harness.read import read, records
from harness.watch import gone, one_waits, waiting
from servers.httpserver import Api


@pytest.fixture
def pooled(stage: Stage, identity: Identity) -> Iterator[Daemon]:
    """A daemon of its own, with the probe published."""
    daemon = Daemon(stage, identity).start()
    published = daemon.cli("publish", stage.connectors / "probe")
    assert published.returncode == 0, published.stderr
    yield daemon
    daemon.remove()


def birth(daemon: Daemon) -> dict[str, str]:
    """What a call's worker says of itself."""
    stream = read(daemon, inline(connector="probe@1.0.0"), "birth", mode="full").drain()
    assert stream.summary, stream.failure
    return {record["what"]: record["value"] for record in records(stream)}


def test_a_call_is_served_by_the_worker_that_waits_and_that_by_one_call(pooled: Daemon) -> None:
    birth(pooled)
    pid = one_waits(pooled)
    stream = read(pooled, inline(connector="probe@1.0.0", config={"linger": True}), "attempts", mode="streaming")
    stream.until("batch")
    (taken,) = pooled.client.call("GetCall", call_id=stream.call_id)["worker_pids"]
    assert taken == pid or taken not in waiting(pooled)
    stream.cancel()
    assert gone(taken)


def test_no_two_that_waited_have_the_same_chance(pooled: Daemon) -> None:
    birth(pooled)
    seen = []
    for _ in range(4):
        one_waits(pooled)
        seen.append(birth(pooled))
    for number, first in enumerate(seen):
        for other in seen[number + 1 :]:
            assert {what for what in first if first[what] == other[what]} <= {"command line"}


def test_a_reload_of_the_policies_ends_those_that_wait(pooled: Daemon) -> None:
    birth(pooled)
    pid = one_waits(pooled)
    pooled.policy("probe", egress=[])
    assert gone(pid)
    birth(pooled)


def test_one_that_ended_while_it_waited_is_not_found(pooled: Daemon) -> None:
    birth(pooled)
    pid = one_waits(pooled)
    os.kill(pid, signal.SIGKILL)
    assert gone(pid)
    birth(pooled)


def test_ports_of_one_call_listen_in_a_worker_that_waited(pooled: Daemon, stage: Stage, api: Api) -> None:
    pooled.cli("publish", stage.connectors / "web")
    api.records = [{"id": number, "updated_at": "2026-01-01T00:00:00Z"} for number in range(5)]
    rule = {"host": "localhost", "networks": ["127.0.0.0/8"], "protocol": "tcp"}
    pooled.policy("web", egress=[{**rule, "ports": ["${config.port}"], "within_ports": [f"{api.port}-{api.port}"]}])
    connection = inline(connector="web@1.0.0", config={"port": api.port})
    for _ in range(2):
        stream = read(pooled, connection, "asc").drain()
        assert stream.summary, stream.failure
        assert len(records(stream)) == 5
        one_waits(pooled)


def test_a_daemon_without_a_pool_has_nobody_wait(stage: Stage, identity: Identity) -> None:
    daemon = Daemon(stage, identity, pool="0MiB").start()
    try:
        daemon.cli("publish", stage.connectors / "probe")
        birth(daemon)
        birth(daemon)
        assert waiting(daemon) == []
    finally:
        daemon.remove()


def test_what_waits_ends_with_its_daemon(pooled: Daemon) -> None:
    birth(pooled)
    pid = one_waits(pooled)
    pooled.kill()
    assert gone(pid)
