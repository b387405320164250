"""Every attempt that needs the daemon's side."""

from __future__ import annotations

from suite.scenario import Scenario

from . import death, first_code, kernel_id, races, remains

SCENARIOS: tuple[Scenario, ...] = tuple(
    scenario
    for module in (death, first_code, kernel_id, races, remains)
    for scenario in vars(module).values()
    if isinstance(scenario, Scenario)
)
