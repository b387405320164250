"""Whether the demo's figures are those of a Caisson that works."""

from __future__ import annotations

from typing import Any

# What plain Python gives away, and so must the demo: a thief that is foiled twice shows nothing.
FIGURES = {
    "lost": "rows are missing",
    "duplicated": "rows are there twice",
    "stolen_caisson": "the thief took something out of its cage",
}


def broken(result: dict[str, Any], changed: int) -> list[str]:
    """What the figures of `demo.story` say that must not be, in sentences; none where all is well.

    Args:
        result: The demo's last line.
        changed: Rows that changed on the server before the second run.
    """
    found = [f"{key} is {result[key]}: {why}" for key, why in FIGURES.items() if result[key]]
    if result["second_run_records"] != changed:
        found.append(f"second_run_records is {result['second_run_records']}, and {changed} have changed")
    if not result["throttled_seconds"]:
        found.append("throttled_seconds is 0: nobody waited after 429")
    if not result["stolen_plain"]:
        found.append("stolen_plain is 0: the thief took nothing without a cage either, so the cage proves nothing")
    return found
