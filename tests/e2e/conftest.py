"""Fixtures: a staged product, and daemons as root and as an ordinary user.

A test that takes `daemon` runs once per identity. As root both are tried;
an ordinary user can only be itself, and the header of the run says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness import Daemon, Identity, Stage
from harness.daemon import inline
from servers.httpserver import Api

IDENTITIES = Identity.available()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Half of the tests."""
    names = [identity.name for identity in IDENTITIES]
    parser.addoption("--identity", choices=names, help=f"those of one identity; what has none is {names[0]}'s")


def pytest_report_header(config: pytest.Config) -> str:
    """Who daemons run as in this run."""
    chosen = config.getoption("--identity") or ", ".join(identity.name for identity in IDENTITIES)
    return f"daemons run as: {chosen}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the tests of the other identity, where one was chosen."""
    chosen = config.getoption("--identity")
    if chosen:
        others = [item for item in items if whose(item).name != chosen]
        items[:] = [item for item in items if whose(item).name == chosen]
        config.hook.pytest_deselected(items=others)


def whose(item: pytest.Item) -> Identity:
    """The identity that a test is run as; the first, where it does not say."""
    parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    found = parameters.get("identity")
    return found if isinstance(found, Identity) else IDENTITIES[0]


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    """The product, where every user can read it."""
    staged = Stage()
    yield staged
    staged.remove()


@pytest.fixture(scope="session", params=IDENTITIES, ids=lambda identity: identity.name)
def identity(request: pytest.FixtureRequest) -> Identity:
    """Who runs the daemon."""
    chosen: Identity = request.param
    return chosen


@pytest.fixture(scope="session")
def shared(stage: Stage, identity: Identity) -> Iterator[Daemon]:
    """One daemon per identity for the whole run."""
    running = Daemon(stage, identity)
    running.environment["CAISSON_SECRET_TOKEN"] = "canary-5f2c81d7"
    running.start()
    yield running
    running.remove()


@pytest.fixture
def daemon(shared: Daemon) -> Iterator[Daemon]:
    """The shared daemon, without any policy at first and at last."""
    yield shared
    for path in (shared.folder / "policies").iterdir():
        path.unlink()
    shared.client.call("ReloadPolicies")


@pytest.fixture
def own(stage: Stage, identity: Identity) -> Iterator[Callable[..., Daemon]]:
    """Makes daemons that only this test uses; start them yourself."""
    made: list[Daemon] = []

    def make(**configuration: Any) -> Daemon:
        made.append(Daemon(stage, identity, **configuration))
        return made[-1]

    yield make
    for each in made:
        each.remove()


@pytest.fixture
def lone(stage: Stage) -> Iterator[Callable[..., Daemon]]:
    """Like `own`, for what does not depend on who runs the daemon: once only."""
    made: list[Daemon] = []

    def make(**configuration: Any) -> Daemon:
        made.append(Daemon(stage, IDENTITIES[0], **configuration))
        return made[-1]

    yield make
    for each in made:
        each.remove()


@pytest.fixture
def rows(stage: Stage) -> Callable[..., dict[str, Any]]:
    """A connection to the `rows` connector, with this config."""

    def connection(**config: Any) -> dict[str, Any]:
        return inline(stage.connectors / "rows", config=config)

    return connection


@pytest.fixture
def api() -> Iterator[Api]:
    """The HTTP server that misbehaves on demand."""
    with Api() as server:
        yield server


@pytest.fixture
def web(daemon: Daemon, stage: Stage, api: Api) -> Callable[..., dict[str, Any]]:
    """A connection to `api` through the `web` connector, allowed by a policy."""
    daemon.policy("web", egress=[loopback(api.port)])

    def connection(**fields: Any) -> dict[str, Any]:
        config = {"port": api.port, **fields.pop("config", {})}
        return inline(stage.connectors / "web", config=config, **fields)

    return connection


def loopback(*ports: int) -> dict[str, Any]:
    """A rule for ports of this machine."""
    return {"host": "localhost", "networks": ["127.0.0.0/8"], "ports": list(ports), "protocol": "tcp"}
