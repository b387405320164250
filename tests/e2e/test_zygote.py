"""Workers that are forked from a preloaded interpreter: as isolated as others, and no two alike."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path

import pytest

from harness import Daemon, Identity, Stage
from harness.daemon import inline
from harness.delegation import delegated
from harness.read import read, records
from harness.watch import eventually, gone

FORKED = "caisson/_zygote.py"


@pytest.fixture(scope="module", params=["root", "delegated"])
def start(request: pytest.FixtureRequest, stage: Stage) -> Iterator[Callable[..., Daemon]]:
    """Starts daemons that have cgroups: root's, and those of an ordinary user who was handed some."""
    with ExitStack() as stack:
        if os.geteuid() != 0:
            pytest.fail("a daemon that forks workers counts their memory, so an ordinary user must be handed cgroups")
        identity: Identity = Identity.available()[0]
        if request.param == "delegated":
            identity = stack.enter_context(delegated())

        def started(**configuration: object) -> Daemon:
            daemon = Daemon(stage, identity, **configuration)
            stack.callback(daemon.remove)
            return daemon.start()

        yield started


def zygotes(daemon: Daemon) -> list[int]:
    """Process ids of a daemon's zygotes, without the forks that wait in networks of their own."""
    assert daemon.process is not None

    def network(pid: int) -> str:
        return str(Path(f"/proc/{pid}/ns/net").readlink())

    found = []
    for children in Path(f"/proc/{daemon.process.pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            line = Path(f"/proc/{child}/cmdline")
            try:
                is_fork = line.read_text().split("\0")[-2:-1] == [FORKED]
                if is_fork and network(child) == network(daemon.process.pid):
                    found.append(child)
            except FileNotFoundError:
                continue
    return sorted(found)


def birth(daemon: Daemon, *more: str) -> dict[str, str]:
    """What a worker says of where it comes from, and in more streams."""
    stream = read(daemon, inline(daemon.stage.connectors / "probe"), "birth", *more, mode="full").drain()
    assert stream.summary, stream.failure
    return {record["what"]: record["value"] for record in records(stream)}


def forked(daemon: Daemon, *more: str) -> dict[str, str]:
    """The same of one that was forked."""

    def first() -> dict[str, str] | None:
        born = birth(daemon, *more)
        return born if FORKED in born["command line"] else None

    found: dict[str, str] = eventually(first, "a worker that is a fork")
    return found


def test_workers_are_forks_and_no_two_have_the_same_chance(start: Callable[..., Daemon]) -> None:
    daemon = start()
    for first, other in combinations([forked(daemon) for _ in range(4)], 2):
        alike = {what for what in first if first[what] == other[what]}
        assert alike == {"command line"}


def test_a_fork_brings_the_standard_library_and_the_package_and_no_more(start: Callable[..., Daemon]) -> None:
    born = forked(start(), "inherited")
    assert born["modules"].split() == ["caisson", "caisson_probe"]
    # What the collector does not touch stays shared.
    assert int(born["frozen"]) > 10_000


def test_a_fork_meets_what_a_worker_meets_that_was_executed(start: Callable[..., Daemon]) -> None:
    executing, forking = start(zygote_forks=0), start()
    forked(forking)
    seen = []
    for daemon in (executing, forking):
        stream = read(daemon, inline(daemon.stage.connectors / "probe"), "attempts", mode="full").drain()
        assert stream.summary, stream.failure
        seen.append({record["attempt"]: record["outcome"] for record in records(stream)})
    assert FORKED not in birth(executing)["command line"]
    assert seen[0] == seen[1]


def test_another_zygote_takes_the_place_of_one_that_had_its_share(start: Callable[..., Daemon]) -> None:
    daemon = start(zygote_forks=3)
    forked(daemon)
    before = zygotes(daemon)

    def replaced() -> bool:
        birth(daemon)
        return set(zygotes(daemon)).isdisjoint(before)

    eventually(replaced, "another zygote in place of the first")
    assert all(gone(pid) for pid in before)
    forked(daemon)
    assert len(zygotes(daemon)) in (1, 2)  # a third may be coming up


def test_without_its_zygote_a_daemon_makes_workers_as_ever(start: Callable[..., Daemon]) -> None:
    daemon = start()
    forked(daemon)
    (zygote,) = zygotes(daemon)
    os.kill(zygote, signal.SIGKILL)
    # What it forked ahead of need is still used.
    eventually(lambda: FORKED not in birth(daemon)["command line"], "a worker that was executed")


def test_a_zygote_ends_with_its_daemon(start: Callable[..., Daemon]) -> None:
    stopped, killed = start(), start()
    for daemon, end in ((stopped, Daemon.stop), (killed, Daemon.kill)):
        forked(daemon)
        (zygote,) = zygotes(daemon)
        end(daemon)
        assert gone(zygote)


def test_a_zygote_is_no_user_of_the_host(start: Callable[..., Daemon]) -> None:
    daemon = start()
    forked(daemon)
    (zygote,) = zygotes(daemon)
    lines = dict(line.split(":\t", 1) for line in Path(f"/proc/{zygote}/status").read_text().splitlines())
    uids = set(lines["Uid"].split())
    assert "0" not in uids and len(uids) == 1
    assert not any(int(lines[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"))
    assert lines["Threads"] == "1"
    if daemon.identity.name == "root":
        assert lines["NoNewPrivs"] == "1"
        # Processes of all its forks count against it.
        # Where it may (CAP_SYS_RESOURCE) it has none, and never less than the daemon.
        own, its = (
            re.findall(r"Max processes +(\S+)", Path(f"/proc/{pid}/limits").read_text()) for pid in ("self", zygote)
        )
        may = int(re.findall(r"CapEff:\s+(\S+)", Path("/proc/self/status").read_text())[0], 16) >> 24 & 1
        assert its == (["unlimited"] if may else own)
