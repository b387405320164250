"""Looking for processes of the host by what they call themselves, and ending those that a control made."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from pathlib import Path


def named(name: str) -> list[int]:
    """Living processes of that name (15 bytes of it)."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                status = (entry / "stat").read_text()
                if f"({name[:15]})" in status and status.rsplit(")", 1)[1].split()[0] != "Z":
                    found.append(int(entry.name))
    return found


def ended(pid: int, seconds: float) -> bool:
    """Whether a process ends within that time; one that is gone has ended."""
    try:
        watch = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([watch], [], [], seconds)[0])
    finally:
        os.close(watch)


def all_ended(name: str, seconds: float) -> bool:
    """Whether every process of that name ends within that time each."""
    return all(ended(pid, seconds) for pid in named(name))


def end(name: str) -> int:
    """Kills what a control left; how many there were."""
    found = named(name)
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            ended(pid, 10)
    return len(found)
