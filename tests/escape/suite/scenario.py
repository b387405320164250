"""Attempts that need the daemon's side: to kill it, to edit a policy during a call, to look at the host afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .house import House, Result

Step = Callable[[House], Result]
"""Returns `escaped` and `returned`, like a theft."""


@dataclass
class Scenario:
    """A numbered attempt that is more than a connector's.

    `run` is called with a house whose daemon runs and must leave it so, or restore it; `control` shows the same
    without the sandbox. Both are registered by decorators, by the part's name; an attempt of the burglar with the
    same number is merged with it.
    """

    id: str
    title: str
    layer: str
    behind: str = ""
    identities: tuple[str, ...] = ("root", "user")
    runs: dict[str, Step] = field(default_factory=dict)
    controls: dict[str, Step] = field(default_factory=dict)

    def part(self, name: str) -> Callable[[Step], Step]:
        """Registers what happens in Caisson."""

        def register(step: Step) -> Step:
            self.runs[name] = step
            return step

        return register

    def control(self, name: str) -> Callable[[Step], Step]:
        """Registers the control of a part."""

        def register(step: Step) -> Step:
            self.controls[name] = step
            return step

        return register


def got(returned: str) -> Result:
    """The attempt has it."""
    return {"escaped": True, "returned": returned}


def refused(returned: str) -> Result:
    """The attempt has nothing; the text says what it met."""
    return {"escaped": False, "returned": returned}


def apart(reason: str) -> Result:
    """A control that this host cannot show."""
    return {"escaped": False, "returned": "", "apart": reason}
