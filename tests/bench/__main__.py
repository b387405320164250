"""`make bench`: runs the parts, writes target/bench/results.json, and prints a table.

Each part is a module with `metrics(rounds, others)`. With `--quick` no peer is
installed or run, and what came out is held against baseline.json: what is
worse by more than a tenth is named, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from . import peers, report
from .caisson import BENCH, ROOT
from .contest import say

PARTS = {
    "extract": "extract",
    "start": "start",
    "http": "paging",
    "load": "load",
    "arrow": "arrow",
    "memory": "memory",
    "concurrency": "concurrency",
    "egress": "egress",
    "inspect": "inspecting",
    "secrets": "secrecy",
}
"""The module of each part."""
QUICK = ("extract", "start", "concurrency")
BASELINE = Path(__file__).parent / "baseline.json"


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return {"cores": os.cpu_count(), "processor": model, "kernel": platform.release(), "uid": os.geteuid()}


def versions() -> dict[str, str]:
    """Of interpreter and peers, and the commit that was measured."""
    pinned = dict(pin.split("==") for pins in peers.PINNED.values() for pin in pins)
    head = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    python = subprocess.run([peers.worker_python(), "-V"], capture_output=True, text=True, check=True)
    return {"caisson": head.stdout.strip(), "python": python.stdout.split()[1], **pinned}


def main() -> int:
    """Runs what was asked for."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {' '.join(PARTS)} [default: all]")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of a contest; medians are of these")
    parser.add_argument("--quick", action="store_true", help="no peers; compare with the baseline")
    parser.add_argument("--keep-baseline", action="store_true", help="write baseline.json from a quick run")
    parser.add_argument("--page", action="store_true", help="put the table into docs/performance.md")
    asked = parser.parse_args()
    chosen = asked.parts or list(QUICK if asked.quick else PARTS)
    if unknown := set(chosen) - PARTS.keys():
        parser.error(f"no part is called {', '.join(sorted(unknown))}: they are {' '.join(PARTS)}")
    found: dict[str, float] = {}
    faults: dict[str, str] = {}
    for part in chosen:
        say(f"== {part}")
        try:
            module = importlib.import_module(f"{__package__}.{PARTS[part]}")
            found |= module.metrics(rounds=2 if asked.quick else asked.rounds, others=not asked.quick)
        except Exception as error:  # the other parts' hours are not lost with this one's
            faults[part] = f"{type(error).__name__}: {error}"
            say(f"{part} failed: {faults[part]}")
    name = "quick.json" if asked.quick else "results.json"
    together = report.write(BENCH / name, machine(), versions(), found)
    if asked.page:
        report.page(ROOT / "docs/performance.md", together, versions(), machine())
    print(report.table(found))
    if asked.keep_baseline:
        BASELINE.write_text(json.dumps(report.ratios(found), indent=2) + "\n")
    worse = report.regressions(found, json.loads(BASELINE.read_text())) if asked.quick and BASELINE.exists() else []
    for line in worse:
        say(f"regression: {line}")
    return 1 if worse or faults else 0


if __name__ == "__main__":
    sys.exit(main())
