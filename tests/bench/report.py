"""What came out: a file for machines, a table for docs/performance.md, and a comparison with the baseline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TOLERANCE = 0.10
"""A ratio that is worse by more than this is a regression."""

SMALLER_IS_BETTER = (
    "_ms",
    "_ms_p50",
    "_mib",
    "_errors",
    "_vs_haproxy",
    "_vs_bare_vault",
    "_per_connection",
    "_per_gib",
    "_per_request",
)


MARK = "<!-- table -->"
"""Where the table begins in docs/performance.md."""


def write(path: Path, machine: dict[str, Any], versions: dict[str, str], metrics: dict[str, float]) -> dict[str, float]:
    """Writes the results; parts that this run left out keep the figures of the run before. Returns all."""
    earlier: dict[str, float] = {}
    if path.exists():
        earlier = json.loads(path.read_text()).get("metrics", {})
    together = {**earlier, **{key: round(value, 4) for key, value in metrics.items()}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine, "versions": versions, "metrics": together}, indent=2) + "\n")
    return together


def table(metrics: dict[str, float]) -> str:
    """Markdown, one line a metric."""
    lines = [f"| `{key}` | {number(value)} |" for key, value in metrics.items()]
    return "\n".join(["| metric | value |", "|---|---|", *lines])


def page(path: Path, metrics: dict[str, float], versions: dict[str, str], machine: dict[str, Any]) -> None:
    """Writes the table into a page, below its mark. Rows of parts that were not run stay as they are."""
    text, _, before = path.read_text().partition(MARK)
    kept = [line for line in before.splitlines() if line.startswith("| `") and line.split("`")[1] not in metrics]
    what = ", ".join(f"{name} {version}" for name, version in versions.items())
    about = f"{machine['cores']} cores, {machine['processor']}, Linux {machine['kernel']}; {what}."
    rows = "\n".join([table(metrics), *kept])
    earlier = f" The last {len(kept)} rows are of an earlier run." if kept else ""
    path.write_text(f"{text}{MARK}\n\n{about}{earlier}\n\n{rows}\n")


def number(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def ratios(metrics: dict[str, float]) -> dict[str, float]:
    """The metrics that do not hang on how fast a machine is."""
    return {key: round(value, 4) for key, value in metrics.items() if "_vs_" in key or key.endswith("_errors")}


def regressions(metrics: dict[str, float], baseline: dict[str, float]) -> list[str]:
    """What is worse than the baseline by more than the tolerance, a sentence each."""
    worse = []
    for key, was in baseline.items():
        if key not in metrics:
            continue
        now = metrics[key]
        loss = now - was if key.endswith(SMALLER_IS_BETTER) else was - now
        if loss > TOLERANCE * max(abs(was), 1e-9):
            worse.append(f"{key} was {number(was)} and is {number(now)}")
    return worse
