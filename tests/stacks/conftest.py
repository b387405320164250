"""Fixtures: daemons as root and as an ordinary user, and servers for clients.

`--strace FOLDER` has strace write down every system call of every worker; see
trace.py. It needs root, and runs as root alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stackservers.mariadb import Mariadb
from stackservers.rpc import Rpc
from stackservers.s3 import S3
from stackservers.ssh import Ssh
from stackservers.web import Web
from tracing import Traces
from wheels import site
from works import Work, work

from harness import Daemon, Identity, Stage
from harness.daemon import inline
from harness.wheels import published
from servers.postgres import Postgres

HERE = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where traces go."""
    parser.addoption("--strace", type=Path, default=None, help="trace every worker; write profiles' traces here")


def pytest_configure(config: pytest.Config) -> None:
    """Marks of this suite."""
    config.addinivalue_line("markers", "once: what does not depend on who runs the daemon")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Root and an ordinary user; root alone where workers are traced."""
    if "identity" in metafunc.fixturenames:
        available = Identity.available()
        if metafunc.config.getoption("--strace"):
            available = [identity for identity in available if not identity.ordinary]
            if not available:
                raise pytest.UsageError("--strace needs root")
        if metafunc.definition.get_closest_marker("once"):
            available = available[:1]
        metafunc.parametrize("identity", available, ids=lambda identity: identity.name, scope="session")


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    """The product, and the connectors of this suite beside the others."""
    staged = Stage()
    for source in (HERE / "connectors").iterdir():
        shutil.copytree(source, staged.connectors / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    yield staged
    staged.remove()


@pytest.fixture(scope="session")
def traces(pytestconfig: pytest.Config) -> Iterator[Traces | None]:
    """What workers asked the kernel for, if anybody wants to know."""
    folder = pytestconfig.getoption("--strace")
    if folder is None:
        yield None
        return
    collected = Traces()
    yield collected
    collected.write(folder)


@pytest.fixture(scope="session")
def running(stage: Stage, identity: Identity) -> Iterator[Daemon]:
    """One daemon per identity."""
    daemon = Daemon(stage, identity, dependencies="dependencies.toml")
    shutil.copy(HERE / "dependencies.toml", daemon.folder)
    daemon.start()
    yield daemon
    daemon.remove()


@pytest.fixture
def daemon(running: Daemon, traces: Traces | None, request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """The daemon, traced if asked for. A test's module says which profile its workers have."""
    if traces is None:
        yield running
        return
    workload = request.node.name.removeprefix("test_").replace("_", " ").replace("[root]", "").replace("[root-", " [")
    assert running.process is not None
    with traces.of(running.process.pid, request.module.PROFILE, workload):
        yield running


@pytest.fixture(scope="session")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Servers for HTTP clients."""
    servers = Web(tmp_path_factory.mktemp("web"))
    yield servers
    servers.close()


@pytest.fixture(scope="session")
def servers(
    web: Web, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, tuple[dict[str, Any], list[int]]]]:
    """What the client of each stack is told, and the ports that it needs."""
    certificate = web.certificate.read_text()
    rpc = Rpc(web.certificate.with_name("key.pem").read_bytes(), certificate.encode())
    cloud = Web(tmp_path_factory.mktemp("cloud"), S3)
    ssh = Ssh(tmp_path_factory.mktemp("ssh"), site("stacks", "paramiko"))
    maria = Mariadb()
    clients = {"http": web.http, "tls": web.tls, "certificate": certificate}
    calls = {"grpc": rpc.plain, "grpcs": rpc.tls, "certificate": certificate}
    with Postgres() as postgres:
        where = f"host=localhost port={postgres.port} user=postgres password={postgres.password} dbname=postgres"
        yield {
            "psycopg": ({"postgres": where}, [postgres.port]),
            "pymysql": ({"mysql": maria.options}, [maria.port]),
            **{stack: (clients, [web.http, web.tls]) for stack in ("requests", "httpx", "aiohttp")},
            "botocore": ({"s3": cloud.http}, [cloud.http]),
            "grpcio": (calls, [rpc.plain, rpc.tls]),
            "paramiko": (ssh.options, [ssh.options["ssh"]]),
        }
    for server in (maria, ssh, cloud, rpc):
        server.close()


@pytest.fixture(scope="session")
def stacks(running: Daemon, stage: Stage) -> Daemon:
    """The daemon, with the data stacks published."""
    return published(running, stage, "stacks", "stacks")


@pytest.fixture(scope="session")
def programs(running: Daemon, stage: Stage) -> Daemon:
    """The daemon, with the programs published."""
    return published(running, stage, "programs", "stacks")


@pytest.fixture
def stdlib(daemon: Daemon, stage: Stage, web: Web) -> Work:
    """Runs a workload of the standard library under the default profile."""
    rule = {"host": "localhost", "networks": ["127.0.0.0/8"], "ports": [web.http, web.tls], "protocol": "tcp"}
    daemon.policy("stdlib", egress=[rule])

    def run(workload: str) -> dict[str, Any]:
        config = {"workload": workload, "http": web.http, "tls": web.tls}
        return work(daemon, inline(stage.connectors / "stdlib", config=config))

    return run
