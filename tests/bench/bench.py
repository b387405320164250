"""Records a second through the daemon, against plain Python writing JSON into a pipe.

The same generator of dicts runs twice: under plain Python, which prints a
line of JSON per record into a pipe that is read to its end, and as a connector
in a worker, whose records reach this process over gRPC as Arrow and as JSON
lines. The ratio is what isolation, encoding in the worker, frames and gRPC
cost (below 1: they are faster than `print(json.dumps(…))`). Start-up is
measured apart: it is paid once per call. `make bench` writes
target/bench/results.json; the figures are of this machine, in this build profile.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from harness import Daemon, Identity, Stage
from harness.daemon import inline

ROOT = Path(__file__).parents[2]
RECORDS = 300_000
ROUNDS = 3

PLAIN = """
import json, sys
from datetime import datetime, timedelta
start = datetime(2026, 1, 1)
out = sys.stdout
for n in range(1, {count} + 1):
    moment = start + timedelta(seconds=n // 3)
    row = {{"id": n, "text": "x" * 20, "updated_at": moment.strftime("%Y-%m-%dT%H:%M:%SZ")}}
    out.write(json.dumps(row))
    out.write("\\n")
"""


def plain(python: Path) -> float:
    """Seconds from the first byte to the end of the pipe."""
    with subprocess.Popen(
        [str(python), "-I", "-S", "-c", PLAIN.format(count=RECORDS)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        first = process.stdout.read(1)
        began = time.perf_counter()
        lines = (first + process.stdout.read()).count(b"\n")
        seconds = time.perf_counter() - began
    assert lines == RECORDS, lines
    return seconds


def daemon(running: Daemon, encoding: str) -> tuple[float, float, float]:
    """(seconds from the first batch to the end, start_ms, peak bytes of the worker)."""
    stream = running.client.stream(
        "Read",
        connection=inline(running.stage.connectors / "rows", config={"count": RECORDS}),
        streams=[{"stream": "rows", "mode": "READ_MODE_FULL"}],
        accept=[encoding],
        from_="FROM_BEGINNING",
        timeout=600,
    )
    began = 0.0
    count = 0
    stats: dict[str, Any] = {}
    # The messages are only counted: what a caller does with them is its own.
    for message in stream.rpc:
        kind = message.WhichOneof("event")
        if kind == "batch":
            began = began or time.perf_counter()
            count += message.batch.records
        elif kind == "summary":
            stats = {"start_ms": message.summary.stats.start_ms, "rss": message.summary.stats.worker_peak_rss_bytes}
        elif kind == "failure":
            raise SystemExit(f"the call failed: {message.failure}")
    seconds = time.perf_counter() - began
    assert count == RECORDS, count
    return seconds, stats["start_ms"], stats["rss"]


def main() -> None:
    """Runs all rounds and writes the results."""
    stage = Stage()
    identity = Identity.available()[0]
    running = Daemon(stage, identity).start()
    try:
        baseline = min(plain(stage.python) for _ in range(ROUNDS))
        results: dict[str, Any] = {
            "records": RECORDS,
            "rounds": ROUNDS,
            "cores": os.cpu_count(),
            "binary": os.environ.get("CAISSON", "target/debug/caisson"),
            "identity": identity.name,
            "plain_python_records_per_second": round(RECORDS / baseline),
        }
        for name, encoding in (("arrow", "ENCODING_ARROW_IPC"), ("json_lines", "ENCODING_JSON_LINES")):
            rounds = [daemon(running, encoding) for _ in range(ROUNDS)]
            best = min(seconds for seconds, _, _ in rounds)
            results[name] = {
                "records_per_second": round(RECORDS / best),
                "seconds_over_plain_python": round(best / baseline, 2),
                "start_ms_median": round(statistics.median(start for _, start, _ in rounds), 1),
                "worker_peak_rss_mib": round(max(rss for _, _, rss in rounds) / (1 << 20), 1),
            }
    finally:
        running.remove()
        stage.remove()
    path = ROOT / "target/bench/results.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))
    print(f"written to {path.relative_to(ROOT)}", file=sys.stderr)


if __name__ == "__main__":
    main()
