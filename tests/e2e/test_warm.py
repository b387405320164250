"""Workers that wait: a call of a connector in use finds one, and nobody finds the same one twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from itertools import combinations

import pytest

from harness import Daemon, Identity, Stage, Stream
from harness.daemon import inline
from harness.read import read, records
from harness.watch import gone, listening, one_waits, served_by_waiting, waiting
from servers.httpserver import Api, tied

CHANCE = {"random", "secrets", "ssl", "tempfile", "uuid"}
"""What `birth` says that no two workers may say alike."""


@pytest.fixture
def pooled(stage: Stage, identity: Identity) -> Iterator[Daemon]:
    """A daemon of its own, with the probe published."""
    daemon = Daemon(stage, identity).start()
    published = daemon.cli("publish", stage.connectors / "probe")
    assert published.returncode == 0, published.stderr
    yield daemon
    daemon.remove()


def said(stream: Stream) -> dict[str, str]:
    """What a call's worker said of itself so far."""
    return {record["what"]: record["value"] for record in records(stream) if "what" in record}


def birth(daemon: Daemon) -> dict[str, str]:
    """What a call's worker says of itself."""
    stream = read(daemon, inline(connector="probe@1.0.0"), "birth", mode="full").drain()
    assert stream.summary, stream.failure
    return said(stream)


def staying(daemon: Daemon) -> Stream:
    """A call whose worker has said that of itself, and stays."""
    connection = inline(connector="probe@1.0.0", config={"linger": True})
    stream = read(daemon, connection, "birth", "attempts", mode="full")
    while not said(stream).keys() >= CHANCE:
        stream.until("batch")
    return stream


def test_a_call_is_served_by_the_worker_that_waits_and_that_by_one_call(pooled: Daemon) -> None:
    birth(pooled)
    one_waits(pooled)
    taken, stream = served_by_waiting(pooled, lambda: staying(pooled))
    another, other = served_by_waiting(pooled, lambda: staying(pooled))
    assert taken != another
    for pid, call in ((taken, stream), (another, other)):
        call.cancel()
        assert gone(pid)


def test_no_two_that_waited_have_the_same_chance(pooled: Daemon) -> None:
    birth(pooled)
    seen = []
    for _ in range(4):
        one_waits(pooled)
        _, stream = served_by_waiting(pooled, lambda: staying(pooled))
        seen.append(said(stream))
        stream.cancel()
    for first, other in combinations(seen, 2):
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
    published = pooled.cli("publish", stage.connectors / "web")
    assert published.returncode == 0, published.stderr
    api.records = tied(5)
    fixed = 4711
    rule = {"host": "localhost", "networks": ["127.0.0.0/8"], "protocol": "tcp"}
    own = {"ports": ["${config.port}", fixed], "within_ports": [f"{api.port}-{api.port}"]}
    pooled.policy("web", egress=[{**rule, **own}])

    def call() -> Stream:
        for pid in waiting(pooled):
            ports = listening(pid)
            assert fixed in ports and api.port not in ports
        stream = read(pooled, inline(connector="web@1.0.0", config={"port": api.port}), "events", mode="streaming")
        stream.until("checkpoint")
        return stream

    taken, stream = served_by_waiting(pooled, call)
    assert listening(taken) >= {fixed, api.port}
    assert records(stream) == api.records
    stream.cancel()


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
