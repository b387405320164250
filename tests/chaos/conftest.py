"""Fixtures: the end-to-end suite's stage, and a daemon per identity that is killed again and again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))

from dice import ROUNDS, SEED
from harness import Daemon, Identity, Stage

IDENTITIES = Identity.available()


def pytest_report_header() -> str:
    """Who daemons run as, how often each is killed, and by which dice."""
    names = ", ".join(identity.name for identity in IDENTITIES)
    return f"daemons run as: {names}; killed {ROUNDS} times each, CHAOS_SEED={SEED}"


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    """The product, where every user can read it."""
    staged = Stage()
    yield staged
    staged.remove()


@pytest.fixture(params=IDENTITIES, ids=lambda identity: identity.name)
def daemon(stage: Stage, request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """A daemon that was not started yet."""
    made = Daemon(stage, request.param)
    yield made
    made.remove()
