"""Every attempt that needs the daemon's side."""

from __future__ import annotations

from suite.scenario import Scenario

SCENARIOS: tuple[Scenario, ...] = ()
