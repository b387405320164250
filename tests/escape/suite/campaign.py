"""All attempts as one identity: controls first, then workers, then scenarios."""

from __future__ import annotations

import traceback

from caisson_burglar.attempts import ALL
from caisson_burglar.loot import Attempt
from harness import Identity, Stage
from scenarios import SCENARIOS

from .house import House, Named, Result
from .scenario import Scenario, Step
from .table import by_number
from .verdict import Line

# What `needs_root` means for the control of an ordinary user.
ROOTS_ALONE = "only root can do this outside a sandbox"


class Campaign:
    """Runs what is asked for; `harm` says what the daemon did not survive.

    Args:
        stage: The product.
        identity: Who runs the daemon and the controls.
        only: Numbers of attempts; empty for all.
        without: The layer that the daemon leaves out, where it is one that can.
    """

    def __init__(self, stage: Stage, identity: Identity, only: set[str], without: str = "") -> None:
        self.stage, self.identity, self.without = stage, identity, without
        self.harm: list[str] = []
        self.attempts = [one for one in ALL if self._chosen(one, only)]
        self.scenarios = [one for one in SCENARIOS if self._chosen(one, only)]
        self.lines: dict[str, Line] = {}

    def _chosen(self, one: Attempt | Scenario, only: set[str]) -> bool:
        return (not only or one.id in only) and self.identity.name in one.identities

    def run(self) -> list[Line]:
        """Every line, by number."""
        house = House(self.stage, self.identity, self.without)
        try:
            house.settle()
            self._controls(house)
            house.forget()
            self._workers(house)
            harm = house.uninvited()
            self._scenarios(house)
            for each in filter(None, (harm, house.unharmed())):
                self.harm.append(f"({self.identity.name}) {each}")
        finally:
            house.close()
        return [self.lines[number] for number in sorted(self.lines, key=by_number)]

    def _line(self, one: Attempt | Scenario) -> Line:
        if one.id not in self.lines:
            self.lines[one.id] = Line(one.id, self.identity.name, one.title, one.layer, one.behind)
        return self.lines[one.id]

    def _controls(self, house: House) -> None:
        ordinary = self.identity.ordinary
        shown: list[Named] = []
        for attempt in self.attempts:
            line = self._line(attempt)
            for theft in attempt.thefts:
                if theft.needs_root and ordinary:
                    line.controls[theft.name] = {"escaped": False, "returned": "", "apart": ROOTS_ALONE}
                else:
                    shown.append((attempt.id, theft.name))
        for (number, name), result in house.control(shown).items():
            self.lines[number].controls[name] = result

    def _workers(self, house: House) -> None:
        groups: dict[object, list[Attempt]] = {}
        for attempt in self.attempts:
            groups.setdefault(attempt.policy, []).append(attempt)
        for group in groups.values():
            make = group[0].policy
            policy = make(house.world.for_worker()) if make else None
            together: list[Named] = [(one.id, theft.name) for one in group for theft in one.thefts if not theft.ends]
            found = house.caged(together, policy) if together else {}
            for missing in [named for named in together if named not in found]:
                # The worker died over one of them: each in a worker of its own tells which.
                alone = house.caged([missing], policy)
                found[missing] = alone.get(missing, _broken("its worker died without an answer"))
            for (number, name), result in found.items():
                self.lines[number].caged[name] = result
            for attempt in group:
                for theft in attempt.thefts:
                    if theft.ends:
                        self._line(attempt).caged[theft.name] = house.caged_to_death(
                            (attempt.id, theft.name), theft.ends, policy, theft.deadline_ms
                        )
        house.allow(None)

    def _scenarios(self, house: House) -> None:
        for scenario in self.scenarios:
            line = self._line(scenario)
            for name, step in scenario.controls.items():
                line.controls[name] = _tried(step, house)
            for name, step in scenario.runs.items():
                line.caged[name] = _tried(step, house)
            house.allow(None)


def _tried(step: Step, house: House) -> Result:
    try:
        return step(house)
    except Exception:
        return _broken(traceback.format_exc())


def _broken(text: str) -> Result:
    return {"escaped": False, "returned": "", "broken": text}
