"""Part 6: what the gateway costs that relays TCP, against HAProxy in TCP mode.

Counted is the process that relays: the daemon, which also serves the call, and
haproxy. Client and server are the same code on both ways. Latency is added to
that of a client which connects straight to the server.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from servers.attacker import free_port

from . import peers
from .caisson import HERE, Caisson
from .contest import say
from .measure import TICKS, environment, pipeline

GIB = 1 << 30
AMOUNTS = {"download": 2 * GIB, "trips": 5_000, "connections": 1_000}

# Splicing always, which halves what it needs in bulk; its default decides for itself, and copies.
HAPROXY = """
global
    maxconn 4096
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option splice-request
    option splice-response
listen relay
    bind 127.0.0.1:{port}
    server upstream 127.0.0.1:{upstream}
"""


def used(pid: int) -> float:
    """Processor seconds of one process, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:13]) / TICKS


@contextmanager
def server() -> Iterator[int]:
    """The port of the plumbing's other end."""
    command = [str(peers.worker_python()), str(HERE / "programs/plumbing_server.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


@contextmanager
def haproxy(upstream: int, folder: Path) -> Iterator[tuple[int, int]]:
    """The relay's port and process id."""
    port = free_port()
    (folder / "haproxy.cfg").write_text(HAPROXY.format(port=port, upstream=upstream))
    program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin") or "haproxy"
    with subprocess.Popen([program, "-f", str(folder / "haproxy.cfg")], stderr=subprocess.DEVNULL) as process:
        try:
            time.sleep(0.5)
            yield port, process.pid
        finally:
            process.terminate()


def metrics(rounds: int = 5, others: bool = True) -> dict[str, float]:
    """The keys of this part."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with (
        tempfile.TemporaryDirectory() as scratch,
        server() as upstream,
        haproxy(upstream, Path(scratch)) as (relay, relay_pid),
        Caisson() as running,
    ):
        rule = {"host": "localhost", "networks": ["127.0.0.0/8"], "ports": [upstream], "protocol": "tcp"}
        running.daemon.policy("plumb", egress=[rule])

        def ours(what: str, amount: int) -> int:
            config = {"port": upstream, "what": what, "amount": amount}
            return int(running.ask("read", "plumb", stream="figure", config=config).told["sum"])

        def by(port: int) -> Callable[[str, int], int]:
            script = [str(peers.worker_python()), str(HERE / "programs/plumbing.py"), str(port)]
            return lambda what, amount: int(pipeline([*script, what, str(amount)], cwd=Path(scratch)).told["sum"])

        ways = {
            "caisson": (running.tree.pid, ours),
            "haproxy": (relay_pid, by(relay)),
            "direct": (os.getpid(), by(upstream)),
        }
        for number in range(rounds):
            for what, amount in AMOUNTS.items():
                for name, (pid, run) in ways.items():
                    before = used(pid)
                    nanoseconds = run(what, amount)
                    cpu = used(pid) - before
                    say(f"  round {number + 1} {name} {what}: {nanoseconds / 1e6:.3f} ms, {cpu:.2f} CPU s")
                    found.setdefault((name, what), []).append((cpu, nanoseconds / 1e6))
    cpu_of = {key: statistics.median(cpu for cpu, _ in values) for key, values in found.items()}
    time_of = {key: statistics.median(taken for _, taken in values) for key, values in found.items()}
    gib = AMOUNTS["download"] / GIB
    return {
        # Unlike other ratios: the smaller the better, since it is of costs.
        "egress_cpu_per_gib_vs_haproxy": cpu_of["caisson", "download"] / max(cpu_of["haproxy", "download"], 1 / TICKS),
        "egress_cpu_s_per_gib": cpu_of["caisson", "download"] / gib,
        "egress_haproxy_cpu_s_per_gib": cpu_of["haproxy", "download"] / gib,
        "egress_gib_per_s": gib / (time_of["caisson", "download"] / 1e3),
        "egress_added_latency_p50_ms": time_of["caisson", "trips"] - time_of["direct", "trips"],
        "egress_haproxy_added_latency_p50_ms": time_of["haproxy", "trips"] - time_of["direct", "trips"],
        "egress_connection_p50_ms": time_of["caisson", "connections"],
        "egress_haproxy_connection_p50_ms": time_of["haproxy", "connections"],
        "egress_connections_cpu_vs_haproxy": cpu_of["caisson", "connections"]
        / max(cpu_of["haproxy", "connections"], 1 / TICKS),
    }
