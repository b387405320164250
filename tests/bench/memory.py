"""Part 7: what a long stream holds in memory, in the daemon and in its worker, and what workers hold that wait."""

from __future__ import annotations

import time
from pathlib import Path

from .caisson import Caisson
from .concurrency import peak
from .contest import say
from .start import calls, publish

RECORDS = 10_000_000
MIB = 1 << 20


AT_ONCE = 8
"""As many as wait for one connector at most."""


def waiting(running: Caisson) -> list[float]:
    """MiB of each worker that waits, a page that n processes share counted as an n-th of it."""
    found = []
    for pid in running.tree.processes():
        status = Path(f"/proc/{pid}/status").read_text()
        # Locked: it has the final filter, which neither a zygote nor its forks have.
        filters = next((line for line in status.splitlines() if line.startswith("Seccomp_filters")), ":0")
        if int(filters.split(":")[1]) >= 4:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            found.append(int(next(line.split()[1] for line in rollup if line.startswith("Pss:"))) / 1024)
    return found


def idle() -> list[float]:
    """The same of the CDK's HTTP client, once several calls were made at once."""
    with Caisson(dependencies="dependencies.toml") as running:
        connector = publish(running, "rest")
        calls(running, connector, 2)
        calls(running, connector, AT_ONCE, at_once=AT_ONCE)
        time.sleep(2)
        return waiting(running)


def metrics(rounds: int = 5, others: bool = True) -> dict[str, float]:
    """The keys of this part; one run, which is long enough."""
    del rounds, others
    with Caisson() as running:
        # What a daemon holds once it has served a call at all, to tell growth from ground.
        running.ask("read", "faucet", stream="mixed", encoding="arrow", config={"count": 1000})
        before = peak(running.tree.pid)
        cost = running.ask("read", "faucet", stream="mixed", encoding="arrow", config={"count": RECORDS})
        daemon = peak(running.tree.pid)
    weights = idle()
    say(f"  {len(weights)} workers wait with {', '.join(f'{each:.1f}' for each in weights)} MiB")
    say(f"  {RECORDS} records in {cost.wall:.1f} s, daemon {before:.1f} -> {daemon:.1f} MiB")
    return {
        "stream_10m_daemon_peak_mib": daemon,
        "stream_10m_daemon_growth_mib": daemon - before,
        "stream_10m_worker_peak_mib": cost.told["worker_peak_rss_bytes"] / MIB,
        "stream_10m_records_per_s": RECORDS / cost.wall,
        "idle_worker_pss_mib": sum(weights) / len(weights),
    }
