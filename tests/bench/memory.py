"""Part 7: what a long stream holds in memory, in the daemon and in its worker."""

from __future__ import annotations

from .caisson import Caisson
from .concurrency import peak
from .contest import say

RECORDS = 10_000_000
MIB = 1 << 20


def metrics(rounds: int = 5, others: bool = True) -> dict[str, float]:
    """The keys of this part; one run, which is long enough. Idle workers are weighed once there is a pool."""
    del rounds, others
    with Caisson() as running:
        # What a daemon holds once it has served a call at all, to tell growth from ground.
        running.ask("read", "faucet", stream="mixed", encoding="arrow", config={"count": 1000})
        before = peak(running.tree.pid)
        cost = running.ask("read", "faucet", stream="mixed", encoding="arrow", config={"count": RECORDS})
        daemon = peak(running.tree.pid)
    say(f"  {RECORDS} records in {cost.wall:.1f} s, daemon {before:.1f} -> {daemon:.1f} MiB")
    return {
        "stream_10m_daemon_peak_mib": daemon,
        "stream_10m_daemon_growth_mib": daemon - before,
        "stream_10m_worker_peak_mib": cost.told["worker_peak_rss_bytes"] / MIB,
        "stream_10m_records_per_s": RECORDS / cost.wall,
    }
