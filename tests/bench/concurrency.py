"""Part 8: 200 calls at once, and calls one after another as fast as they come."""

from __future__ import annotations

from pathlib import Path

from .caisson import Caisson
from .contest import percentile, say

AT_ONCE = 200
SETTINGS = {"slots": {"total": AT_ONCE, "tenant": AT_ONCE}}
"""A slot for each: none waits for another to end."""


def peak(pid: int) -> float:
    """The most memory that a process has held, MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def metrics(rounds: int = 5, others: bool = True) -> dict[str, float]:
    """The keys of this part; the worst of the rounds, since it is what all calls must survive."""
    del others
    errors, worst, half, seconds = 0, 0.0, 0.0, 0.0
    with Caisson(**SETTINGS) as running:
        for number in range(rounds):
            told = running.ask("calls", "rest", stream="row", count=AT_ONCE, at_once=AT_ONCE).told
            say(f"  round {number + 1}: {told['seconds']:.2f} s, {told['errors']} errors {told['fault'] or ''}")
            errors += told["errors"]
            worst = max(worst, percentile(told["end_ms"], 0.99))
            half = max(half, percentile(told["end_ms"], 0.5))
            seconds = max(seconds, told["seconds"])
        memory = peak(running.tree.pid)
    return {
        "concurrent_200_errors": errors,
        "concurrent_200_p50_ms": half,
        "concurrent_200_p99_ms": worst,
        "concurrent_200_seconds": seconds,
        "concurrent_200_daemon_peak_mib": memory,
    }
