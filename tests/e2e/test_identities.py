"""Who a worker is to the host: nobody's user, nobody else's, and never root. Read from the host, not asked of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import Daemon
from harness.client import Stream
from harness.read import read

Made = Callable[..., dict[str, Any]]
EACH = 6
"""Calls at once, for each of two daemons."""
FIRST, COUNT = 1_900_000_000, 2 * EACH + 2
"""A range that both daemons were given, and that is hardly larger than what they need together."""


def running(daemon: Daemon, rows: Made) -> Stream:
    """A call whose worker lives until it is cancelled."""
    stream = read(daemon, rows(), "counted", mode="streaming")
    stream.until("batch")
    return stream


def worker(daemon: Daemon, stream: Stream) -> int:
    """The process of a call's worker."""
    (pid,) = daemon.client.call("GetCall", call_id=stream.call_id)["worker_pids"]
    return int(pid)


def status(pid: int) -> dict[str, list[str]]:
    """Lines of proc_pid_status(5)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}


def mapped(pid: int, name: str) -> tuple[int, int, int]:
    """The one line of an id map: inside, outside (as this process sees it), how many."""
    (line,) = Path(f"/proc/{pid}/{name}").read_text().splitlines()
    inner, outer, count = map(int, line.split())
    return inner, outer, count


def test_workers_of_two_daemons_at_once_are_distinct_and_never_root(own: Callable[..., Daemon], rows: Made) -> None:
    daemons = [own(worker_ids={"first": FIRST, "count": COUNT}).start() for _ in range(2)]
    streams = [(daemon, running(daemon, rows)) for daemon in daemons for _ in range(EACH)]
    outside = []
    for daemon, stream in streams:
        pid = worker(daemon, stream)
        facts = status(pid)
        assert mapped(pid, "uid_map") == (1000, int(facts["Uid"][0]), 1)
        assert mapped(pid, "gid_map") == (1000, int(facts["Gid"][0]), 1)
        assert Path(f"/proc/{pid}/setgroups").read_text() == "deny\n"
        for ids in (facts["Uid"], facts["Gid"]):
            assert len(set(ids)) == 1 and ids[0] != "0", facts
        for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(facts[capabilities][0], 16) == 0, facts
        assert facts["NoNewPrivs"] == ["1"] and facts["Seccomp"] == ["2"]
        outside.append((int(facts["Uid"][0]), int(facts["Gid"][0])))
        if not daemon.identity.ordinary:
            assert facts["Groups"] == []
    if daemons[0].identity.ordinary:
        # An ordinary user may map nobody but itself; the threat model says what that means.
        assert daemons[0].process is not None
        themselves = status(daemons[0].process.pid)
        assert set(outside) == {(int(themselves["Uid"][0]), int(themselves["Gid"][0]))}
    else:
        assert len(set(outside)) == len(outside), outside
        for uid, gid in outside:
            assert uid == gid and FIRST <= uid < FIRST + COUNT
    for _, stream in streams:
        stream.cancel()


def test_an_id_is_free_again_when_its_worker_has_ended_and_not_before(lone: Callable[..., Daemon], rows: Made) -> None:
    daemon = lone(worker_ids={"first": FIRST + COUNT, "count": 1}).start()
    if daemon.identity.ordinary:
        return  # it has but one id, its own, for all of its workers
    first = running(daemon, rows)
    refused = read(daemon, rows(), "rows").drain().failure
    assert "no id is free" in refused["message"], refused
    daemon.client.call("Cancel", call_id=first.call_id)
    first.drain()
    assert read(daemon, rows(), "rows").drain().summary
