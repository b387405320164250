"""Contestants taking turns: load that comes and goes meets all of them alike."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping

from .measure import Cost

ROUNDS = 5
"""At least so many; medians are of these."""


def alternate(contestants: Mapping[str, Callable[[], Cost]], rounds: int = ROUNDS) -> dict[str, Cost]:
    """Runs all of them, round after round.

    Returns:
        By name: the medians of CPU and wall seconds, and what the last run told.
    """
    runs: dict[str, list[Cost]] = {name: [] for name in contestants}
    for number in range(rounds):
        for name, run in contestants.items():
            cost = run()
            runs[name].append(cost)
            say(f"  round {number + 1}/{rounds} {name}: {cost.cpu:.3f} CPU s, {cost.wall:.3f} s")
    return {
        name: Cost(
            statistics.median(cost.cpu for cost in costs),
            statistics.median(cost.wall for cost in costs),
            costs[-1].told,
        )
        for name, costs in runs.items()
    }


def percentile(values: list[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def say(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)
