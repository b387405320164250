"""Every attempt that a connector makes, by room. Those that need the daemon's side are in `tests/escape/scenarios`."""

from __future__ import annotations

from ..loot import Attempt, Theft
from . import exhaustion, filesystem, frames, kernel, processes, sockets, tools

ALL: tuple[Attempt, ...] = tuple(
    attempt
    for module in (exhaustion, filesystem, frames, kernel, processes, sockets)
    for attempt in vars(module).values()
    if isinstance(attempt, Attempt)
)


def find(number: str, name: str) -> Theft:
    """The theft of that name.

    Raises:
        LookupError: There is none.
    """
    for attempt in (*ALL, tools.TOOLS):
        for theft in attempt.thefts:
            if (attempt.id, theft.name) == (number, name):
                return theft
    raise LookupError(f"no theft {name!r} of attempt {number}")
