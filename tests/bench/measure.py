"""What a run costs: processor seconds of every process that takes part, and wall time.

Two kinds of contestants. A *pipeline* is processes that begin and end with
the run: `wait4` gives the time of each and of the children that it reaped. A
*daemon* was there before and stays: what its tree of processes has used is
read from /proc before and after, once none of them works any more, and what
the caller's process used is added. A daemon's own start is not counted.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")
UNWANTED = ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP")
"""What a machine may have set and what would make every Python slower, or another."""


@dataclass(frozen=True)
class Cost:
    """Of one run.

    Attributes:
        cpu: Processor seconds, user and system, of all processes.
        wall: Seconds from the first process's start, or from the call, to the last one's end.
        told: What the process that verified the result said.
    """

    cpu: float
    wall: float
    told: dict[str, Any]


def environment(**more: str) -> dict[str, str]:
    """This process's, without what would slow Python down."""
    return {**{name: value for name, value in os.environ.items() if name not in UNWANTED}, **more}


def pipeline(*commands: Sequence[str | Path], cwd: Path, **more: str) -> Cost:
    """Runs commands, each into the next; the last one prints a line of JSON.

    Raises:
        RuntimeError: One of them failed; holds what it said.
    """
    began = time.perf_counter()
    processes: list[subprocess.Popen[bytes]] = []
    with (cwd / "stderr").open("w+b") as said:
        for command in commands:
            before = processes[-1].stdout if processes else subprocess.DEVNULL
            words = [str(word) for word in command]
            process = subprocess.Popen(
                words, stdin=before, stdout=subprocess.PIPE, stderr=said, cwd=cwd, env=environment(**more)
            )
            if processes and processes[-1].stdout is not None:
                processes[-1].stdout.close()
            processes.append(process)
        last = processes[-1].stdout
        assert last is not None
        with last:
            told = last.read().decode()
        cpu, codes = 0.0, []
        for process in processes:
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            codes.append(process.returncode)
            cpu += used.ru_utime + used.ru_stime
        wall = time.perf_counter() - began
        if any(codes):
            said.seek(0)
            raise RuntimeError(f"{commands[0]} ended with {codes}: {said.read().decode(errors='replace')[-4000:]}")
    return Cost(cpu, wall, json.loads(told.strip().splitlines()[-1]))


class Tree:
    """A daemon's process and all that descend from it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def processes(self, pid: int | None = None) -> Iterator[int]:
        """Process ids, the daemon's first."""
        pid = pid or self.pid
        yield pid
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                for child in children.read_text().split():
                    yield from self.processes(int(child))
            except FileNotFoundError:
                continue

    def cpu(self) -> float:
        """Seconds that the living ones and those that they reaped have used; 10 ms exact for each."""
        total = 0
        for pid in self.processes():
            try:
                # After the name, which may hold anything: utime, stime, cutime, cstime are 14 to 17.
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            total += sum(int(field) for field in fields[11:15])
        return total / TICKS

    def settled(self, quiet: float = 0.1, seconds: float = 10) -> float:
        """As `cpu`, once it has not grown for a while: a worker that ends after its call has ended too.

        It does not matter whether a worker was reaped by then, and workers that wait for a call may stay.

        Raises:
            TimeoutError: Something goes on working.
        """
        until = time.monotonic() + seconds
        used, since = self.cpu(), time.monotonic()
        while time.monotonic() - since < quiet:
            if time.monotonic() > until:
                raise TimeoutError("the processes of the daemon go on working")
            time.sleep(0.02)
            if (now := self.cpu()) != used:
                used, since = now, time.monotonic()
        return used
