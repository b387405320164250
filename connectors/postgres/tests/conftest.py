"""A real PostgreSQL of the tests' own, on a port that is free."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from caisson.testing import Harness

PROJECT = Path(__file__).parents[1]
sys.path.insert(0, str(PROJECT.parents[1] / "tests/e2e"))
sys.path.insert(0, str(PROJECT / "src"))

from servers.postgres import Postgres  # noqa: E402


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    with Postgres() as running:
        yield running


@pytest.fixture
def database(server: Postgres) -> str:
    """A fresh database."""
    return server.create()


@pytest.fixture
def postgres(server: Postgres, database: str) -> Harness:
    return made(server, database)


def made(server: Postgres, database: str, **config: Any) -> Harness:
    """The connector with a config, in which None leaves something out."""
    given = {
        "host": "127.0.0.1",
        "port": server.port,
        "sslmode": "disable",
        "database": database,
        "user": "postgres",
        "password": server.password,
        **config,
    }
    return Harness(PROJECT, config={name: value for name, value in given.items() if value is not None})
