"""Every attempt that needs the daemon's side."""

from __future__ import annotations

from suite.scenario import Scenario

from . import (
    cut_off,
    death,
    deputies,
    first_code,
    kernel_id,
    leases,
    neighbours,
    own_sockets,
    projects,
    published,
    races,
    reload,
    remains,
    secrecy,
    sight,
    starving,
    stdin,
    tokens,
)

ROOMS = (
    cut_off, death, deputies, first_code, kernel_id, leases, neighbours, own_sockets, projects, published, races,
    reload, remains, secrecy, sight, starving, stdin, tokens,
)  # fmt: skip
SCENARIOS: tuple[Scenario, ...] = tuple(
    scenario for room in ROOMS for scenario in vars(room).values() if isinstance(scenario, Scenario)
)
