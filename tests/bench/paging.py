"""Part 3: 100 pages of 1,000 records from a server of this machine.

Caisson's side is whole, the gateway included; the server's time counts for nobody.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from . import peers
from .caisson import Caisson
from .contest import alternate
from .measure import Cost, environment, pipeline

RECORDS = 100_000
PAGE = 1_000


@contextmanager
def served() -> Iterator[int]:
    """The port of the page server."""
    command = peers.program("floor", "page_server.py", RECORDS, PAGE)
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.terminate()


def verified(run: Callable[[], Cost]) -> Callable[[], Cost]:
    """The run, which fails unless every record came."""

    def checked() -> Cost:
        cost = run()
        if cost.told["records"] != RECORDS:
            raise RuntimeError(f"{cost.told['records']} of {RECORDS} records came")
        return cost

    return checked


def metrics(rounds: int = 5, others: bool = True) -> dict[str, float]:
    """The keys of this part."""
    with served() as port, Caisson() as running, tempfile.TemporaryDirectory(prefix="caisson-bench-") as folder:
        cwd, base = Path(folder), f"http://localhost:{port}/"
        rule = {"host": "localhost", "networks": ["127.0.0.0/8"], "ports": [port], "protocol": "tcp"}
        running.daemon.policy("paged", egress=[rule])

        def ours(stream: str) -> Callable[[], Cost]:
            return lambda: running.ask("read", "paged", stream=stream, encoding="arrow", config={"port": port})

        def peer(name: str, mark: str, program: str, *arguments: str) -> Callable[[], Cost]:
            command = peers.program(name, program, *arguments)
            return lambda: pipeline(command, peers.counter(mark), cwd=cwd)

        def alone(*command: str) -> Callable[[], Cost]:
            return lambda: pipeline(["rm", "-rf", "pipelines"], command, cwd=cwd, RUNTIME__DLTHUB_TELEMETRY="false")

        contestants = {
            "fast": ours("fast"),
            "slow": ours("slow"),
            "requests_orjson": alone(*peers.program("floor", "http_loop.py", f"{base}records?page=1")),
        }
        if others:
            contestants |= {
                "airbyte_httpstream": peer("airbyte", '"RECORD"', "airbyte_http.py", "stream", base),
                "airbyte_declarative": peer("airbyte", '"RECORD"', "airbyte_http.py", "declarative", base),
                "singer": peer("singer", '"RECORD","stream"', "singer_rest.py", base),
                "dlt": alone(*peers.program("dlt", "dlt_rest.py", base)),
            }
        checked = {name: verified(run) for name, run in contestants.items()}
        rates = {name: RECORDS / cost.cpu for name, cost in alternate(checked, rounds).items()}
    found = {f"http_{name}_records_per_cpu_s": rate for name, rate in rates.items()}
    found |= {f"http_fast_vs_{name}": rates["fast"] / rates[name] for name in rates if name not in ("fast", "slow")}
    return {**found, "http_slow_vs_requests_orjson": rates["slow"] / rates["requests_orjson"]}
