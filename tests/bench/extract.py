"""Part 1: records of a generator to whoever asked for them.

Caisson's side is whole: daemon, launcher, worker, and the caller that decodes
every batch. The others' is their process and the cheapest reader of its
output that still counts records; dlt's extract step has no reader.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import peers
from .caisson import Caisson
from .contest import alternate, say
from .measure import Cost, pipeline

RECORDS = 500_000
Run = Callable[[], Cost]


def verified(run: Run) -> Run:
    """The run, which fails unless every record came."""

    def checked() -> Cost:
        cost = run()
        told: dict[str, Any] = cost.told
        if told["records"] != RECORDS:
            raise RuntimeError(f"{told['records']} of {RECORDS} records came")
        if "sum" in told and not told["last"] and told["sum"] != RECORDS * (RECORDS + 1) // 2:
            raise RuntimeError(f"the records' numbers sum to {told['sum']}")
        if told.get("last") and f'"id":{RECORDS}' not in told["last"]:
            raise RuntimeError(f"the last record is {told['last']}")
        return cost

    return checked


def ours(running: Caisson, kind: str, encoding: str) -> Run:
    """A Read through the daemon."""
    asked = {"stream": kind, "encoding": encoding, "config": {"count": RECORDS}}
    return verified(lambda: running.ask("read", "faucet", **asked))


def line_of(peer: str, name: str, mark: str, kind: str, cwd: Path) -> Run:
    """A peer's program whose output is lines, into the counter."""
    command = peers.program(peer, name, kind, RECORDS)
    return verified(lambda: pipeline(command, peers.counter(mark), cwd=cwd))


def dlt(kind: str, cwd: Path) -> Run:
    """The extract step of dlt, which tells itself what it wrote."""
    command = peers.program("dlt", "dlt_extract.py", kind, RECORDS)
    return verified(lambda: pipeline(["rm", "-rf", "pipelines"], command, cwd=cwd, RUNTIME__DLTHUB_TELEMETRY="false"))


def grpcio(kind: str, cwd: Path) -> Run:
    """A server and a client of grpcio, 1,000 records a message."""
    command = peers.program("grpcio", "grpcio_pair.py", kind, RECORDS)
    return verified(lambda: pipeline(command, cwd=cwd))


def contest(running: Caisson | None, kind: str, rounds: int, others: bool) -> dict[str, float]:
    """Records per CPU second, by contestant, for one set of records."""
    with tempfile.TemporaryDirectory(prefix="caisson-bench-") as folder:
        cwd = Path(folder)
        contestants: dict[str, Run] = {}
        if running is not None:
            contestants["caisson arrow"] = ours(running, kind, "arrow")
            contestants["caisson jsonl"] = ours(running, kind, "jsonl")
        contestants["orjson pipe"] = line_of("floor", "orjson_pipe.py", '"id":', kind, cwd)
        if others:
            contestants["grpcio"] = grpcio(kind, cwd)
            contestants["dlt"] = dlt(kind, cwd)
            contestants["airbyte-cdk"] = line_of("airbyte", "airbyte_source.py", '"RECORD"', kind, cwd)
            contestants["singer-sdk"] = line_of("singer", "singer_tap.py", '"RECORD","stream"', kind, cwd)
        costs = alternate(contestants, rounds)
    for name, cost in costs.items():
        if "worker_cpu_seconds" in cost.told:
            worker, daemon = cost.told["worker_cpu_seconds"], cost.told["daemon_cpu_seconds"]
            say(f"  {name}, the last run: worker {worker:.3f} CPU s, daemon {daemon:.3f}")
    return {name: RECORDS / cost.cpu for name, cost in costs.items()}


def metrics(rounds: int = 5, others: bool = True) -> dict[str, float]:
    """The keys of this part."""
    with Caisson() as running:
        mixed = contest(running, "mixed", rounds, others)
        exact = contest(running, "exact", rounds, others)
    found = {"extract_dicts_records_per_cpu_s": mixed["caisson arrow"]}
    for prefix, rates in (("extract_dicts", mixed), ("extract_exact", exact)):
        arrow = rates["caisson arrow"]
        found[f"{prefix}_records_per_cpu_s"] = arrow
        for key, name in (
            ("airbyte_cdk", "airbyte-cdk"),
            ("dlt", "dlt"),
            ("singer_sdk", "singer-sdk"),
            ("orjson_pipe", "orjson pipe"),
            ("grpcio", "grpcio"),
        ):
            if name in rates:
                found[f"{prefix}_vs_{key}"] = arrow / rates[name]
    found["extract_jsonl_vs_orjson_pipe"] = mixed["caisson jsonl"] / mixed["orjson pipe"]
    found["extract_exact_jsonl_vs_orjson_pipe"] = exact["caisson jsonl"] / exact["orjson pipe"]
    for prefix, rates in (("mixed", mixed), ("exact", exact)):
        for name, rate in rates.items():
            found[f"extract_{prefix}_{name.replace(' ', '_').replace('-', '_')}_records_per_cpu_s"] = rate
    return found
