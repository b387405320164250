"""Waiting for what another process does: no fixed times, a condition and an end to patience."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .client import Stream
from .daemon import Daemon

STEP = 0.05
"""Seconds between two looks."""


def eventually(condition: Callable[[], Any], what: str, seconds: float = 20) -> Any:
    """The first true answer of `condition`.

    Raises:
        AssertionError: There was none in time; says `what` was waited for.
    """
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(STEP)


def workers(daemon: Daemon, stream: Stream) -> list[int]:
    """Process ids of a call's workers."""
    return list(daemon.client.call("GetCall", call_id=stream.call_id).get("worker_pids", []))


def running(daemon: Daemon) -> list[str]:
    """Identifiers of the calls that run or wait."""
    return [call["call_id"] for call in daemon.client.call("ListCalls", state="running").get("calls", [])]


def gone(pid: int, seconds: float = 10) -> bool:
    """Whether a process ends in time."""
    try:
        watch = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    ended, _, _ = select.select([watch], [], [], seconds)
    os.close(watch)
    return bool(ended)


def ticks(pid: int) -> int:
    """Processor time of a process so far, in clock ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def peak_rss(daemon: Daemon) -> int:
    """The daemon's largest resident size so far, bytes."""
    assert daemon.process is not None
    for line in Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def settled(pid: int, seconds: float = 60) -> None:
    """Waits until a process uses no processor any more.

    Raises:
        AssertionError: It goes on working.
    """
    last, since = ticks(pid), time.monotonic()

    def still() -> bool:
        nonlocal last, since
        now = ticks(pid)
        if now != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since > 1.5

    eventually(still, f"process {pid} comes to rest", seconds)


def waiting(daemon: Daemon) -> list[int]:
    """Process ids of workers that no call has."""
    assert daemon.process is not None
    taken: set[int] = set()
    for call in daemon.client.call("ListCalls", state="running").get("calls", []):
        taken |= set(daemon.client.call("GetCall", call_id=call["call_id"]).get("worker_pids", []))
    found = []
    for children in Path(f"/proc/{daemon.process.pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            try:
                status = Path(f"/proc/{child}/status").read_text()
            except FileNotFoundError:
                continue
            # Locked: the final filter is on, so the bundle may have been imported.
            filters = next((line for line in status.splitlines() if line.startswith("Seccomp_filters")), ":0")
            if int(filters.split(":")[1]) >= 4 and child not in taken:
                found.append(child)
    return sorted(found)


def one_waits(daemon: Daemon) -> int:
    """Waits until a worker waits."""
    found: list[int] = eventually(lambda: waiting(daemon), "a worker that waits")
    return found[0]


def served_by_waiting(daemon: Daemon, call: Callable[[], Stream]) -> tuple[int, Stream]:
    """Repeats a call until it is served by a worker that waited just before.

    `call` begins one and returns while its worker runs.

    Returns:
        The worker's process id, and the call, which goes on. Those that other workers served are cancelled.

    Raises:
        AssertionError: Workers that wait serve nobody.
    """

    def served() -> tuple[int, Stream] | None:
        before = waiting(daemon)
        stream = call()
        (worker,) = workers(daemon, stream)
        if worker in before:
            return worker, stream
        stream.cancel()
        assert gone(worker)
        return None

    found: tuple[int, Stream] = eventually(served, "a call that is served by a worker that waited")
    return found


def listening(pid: int) -> set[int]:
    """TCP ports that somebody listens on in a process's network."""
    sockets = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {int(fields[1].rpartition(":")[2], 16) for fields in sockets if fields[3] == "0A"}
