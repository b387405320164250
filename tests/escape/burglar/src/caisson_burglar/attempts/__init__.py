"""Every attempt that a connector makes, by room. Those that need the daemon's side are in `tests/escape/scenarios`."""

from __future__ import annotations

from ..loot import Attempt, Theft
from . import (
    addresses,
    exhaustion,
    filesystem,
    floods,  # noqa: F401 - it adds to the tools
    frames,
    hellos,
    kernel,
    names,
    processes,
    relays,
    seals,
    signatures,  # noqa: F401 - it adds to the tools
    smuggling,
    sockets,
    tools,
    transports,
)

ROOMS = (
    exhaustion, filesystem, frames, kernel, processes, sockets, addresses, names, transports, hellos, smuggling, relays,
    seals,
)  # fmt: skip
ALL: tuple[Attempt, ...] = tuple(
    attempt for room in ROOMS for attempt in vars(room).values() if isinstance(attempt, Attempt)
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
