"""Part 2: Arrow batches from memory, against their bytes over two bare sockets, readers counted.

Whoever takes part imports pyarrow and makes the batch once; with 1,000
batches of about 1 MB, that is a small part of what is counted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from . import peers
from .caisson import Caisson
from .contest import alternate
from .measure import Cost, pipeline
from .start import publish

BATCHES = 1_000
ROWS = 8_192
RECORDS = BATCHES * ROWS


def verified(run: Callable[[], Cost]) -> Callable[[], Cost]:
    """The run, which fails unless every record came."""

    def checked() -> Cost:
        cost = run()
        expected = BATCHES * (ROWS * (ROWS + 1) // 2)
        if cost.told["records"] != RECORDS or cost.told.get("sum", expected) != expected:
            raise RuntimeError(f"{RECORDS} records were sent, and this came: {cost.told}")
        return cost

    return checked


def metrics(rounds: int = 5, others: bool = True) -> dict[str, float]:
    """The keys of this part."""
    with Caisson(dependencies="dependencies.toml") as running, tempfile.TemporaryDirectory() as folder:
        cwd = Path(folder)
        connector = publish(running, "columns")
        hops = peers.program("arrow", "arrow_hops.py", BATCHES)
        contestants: dict[str, Callable[[], Cost]] = {
            "caisson": lambda: running.ask("read", connector, stream="rows", config={"batches": BATCHES}),
            "hops": lambda: pipeline(hops, cwd=cwd),
        }
        if others:
            command = peers.program("dlt", "dlt_arrow.py", BATCHES)
            contestants["dlt"] = lambda: pipeline(
                ["rm", "-rf", "pipelines"], command, cwd=cwd, RUNTIME__DLTHUB_TELEMETRY="false"
            )
        costs = alternate({name: verified(run) for name, run in contestants.items()}, rounds)
    found = {f"extract_arrow_{name}_records_per_cpu_s": RECORDS / cost.cpu for name, cost in costs.items()}
    found["extract_arrow_vs_bare_hops"] = costs["hops"].cpu / costs["caisson"].cpu
    if others:
        found["extract_arrow_vs_dlt"] = costs["dlt"].cpu / costs["caisson"].cpu
    return found
