"""Data stacks put to real work under `native`, as they come from the package index."""

from __future__ import annotations

import json
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
from wheels import fetched, site
from works import Work, work

from harness import Daemon, Stage
from servers.postgres import Postgres

PROFILE = "native"
LIMITS = {"memory": "2GiB", "tmp": "1GiB", "cpu": 2, "pids": 128}


@pytest.fixture(scope="session")
def bundle(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The connector with its wheels in the cache of its project."""
    project = stage.connectors / "stacks"
    for wheel in fetched("stacks").glob("*.whl"):
        (project / ".caisson/wheels").mkdir(parents=True, exist_ok=True)
        shutil.copy(wheel, project / ".caisson/wheels")
    return project


@pytest.fixture(scope="session")
def stacks(running: Daemon, bundle: Path) -> Daemon:
    """The daemon with the connector published."""
    done = running.cli("publish", bundle, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return running


@pytest.fixture
def native(daemon: Daemon, stacks: Daemon) -> Work:
    """Runs one stack under `native`, with a way to the given ports."""

    def run(stack: str, profile: str = PROFILE, **options: Any) -> dict[str, Any]:
        ports = [value for value in options.values() if isinstance(value, int)] + options.pop("ports", [])
        rules = [
            {"host": host, "networks": ["127.0.0.0/8"], "ports": ports, "protocol": "tcp"} for host in ("localhost",)
        ]
        daemon.policy("stacks", profile=profile, limits=LIMITS, egress=rules if ports else [])
        config = {"stack": stack, "options": json.dumps(options)}
        connection = {"connector": "stacks@1.0.0", "config_json": json.dumps(config)}
        return work(daemon, {"inline": {"connection": connection}})

    return run


def test_numpy_solves_and_transforms(native: Work) -> None:
    assert native("numpy") == {
        "solved": True, "positive": True, "wave": 4096, "same": True, "total": 4_999_950_000, "pages": 9766,
    }  # fmt: skip


def test_pandas_reads_joins_and_writes(native: Work) -> None:
    assert native("pandas") == {"rows": 100_000, "groups": 1000, "months": 9, "zone": "Europe/Berlin"}


def test_pyarrow_writes_and_maps_files(native: Work) -> None:
    sizes = dict.fromkeys(("zstd", "snappy", "gzip", "lz4", "brotli"), 200_000)
    assert native("pyarrow") == {
        "sizes": sizes, "some": 50_000, "total": 19_999_900_000, "read": 200_000, "groups": 1000, "files": 8,
        "pools": 2,
    }  # fmt: skip


def test_polars_scans_and_streams(native: Work) -> None:
    assert native("polars") == {"groups": 1000, "sunk": 94_845, "same": True, "threads": True}


def test_duckdb_sorts_more_than_it_may_hold(native: Work) -> None:
    assert native("duckdb") == {"ordered": 640_000, "joined": True, "arrow": 10_000, "kept": 640_000}


def test_psycopg_copies_and_pipelines(native: Work) -> None:
    with Postgres() as server:
        where = f"host=localhost port={server.port} user=postgres password={server.password} dbname={server.create()}"
        assert native("psycopg", postgres=where, ports=[server.port]) == {
            "library": "binary", "copied": True, "total": 199_990_000, "rows": 20_010, "binary": "0001",
        }  # fmt: skip


def test_pymysql_fills_and_streams(native: Work) -> None:
    server = Mariadb()
    try:
        assert native("pymysql", mysql=server.options, ports=[server.port]) == {"total": 12_497_500, "server": True}
    finally:
        server.close()


@pytest.mark.parametrize("stack", ["requests", "httpx", "aiohttp"])
def test_http_clients_keep_connections_and_check_certificates(native: Work, web: Web, stack: str) -> None:
    found = native(stack, http=web.http, tls=web.tls, certificate=web.certificate.read_text())
    expected = {
        "requests": {"plain": "hello", "streamed": 300_000, "kept": True, "trusted": False},
        "httpx": {"plain": "hello", "same": True, "many": 2_400_000},
        "aiohttp": {"plain": "hello", "many": 2_400_000},
    }
    assert found == expected[stack]


def test_botocore_signs_puts_and_pages(native: Work, tmp_path: Path) -> None:
    cloud = Web(tmp_path, S3)
    try:
        assert native("botocore", s3=cloud.http) == {
            "body": 30_000, "keys": [f"part-{number}.csv" for number in range(5)], "absent": "NoSuchKey",
            "who": "123456789012",
        }  # fmt: skip
    finally:
        cloud.close()


def test_grpcio_calls_in_every_form(native: Work, web: Web) -> None:
    certificate = web.certificate.read_bytes()
    server = Rpc(web.certificate.with_name("key.pem").read_bytes(), certificate)
    try:
        found = native("grpcio", grpc=server.plain, grpcs=server.tls, certificate=certificate.decode())
    finally:
        server.close()
    assert found == {
        "shouted": "HELLO", "counted": 204_800, "echoed": "abc", "absent": "UNIMPLEMENTED", "secure": "TLS",
        "later": "LATER",
    }  # fmt: skip


@pytest.fixture
def ssh(tmp_path: Path) -> Iterator[Ssh]:
    server = Ssh(tmp_path, site("stacks", "paramiko"))
    yield server
    server.close()


def test_paramiko_transfers_and_runs_a_command(native: Work, ssh: Ssh) -> None:
    assert native("paramiko", **ssh.options) == {"names": ["sent.csv"], "size": 150_000, "same": True, "said": "42"}


def test_cryptography_signs_and_seals(native: Work) -> None:
    assert native("cryptography") == {
        "forged": False, "tampered": False, "text": "text", "certificate": True, "derived": 32,
    }  # fmt: skip


def test_pydantic_validates(native: Work) -> None:
    assert native("pydantic") == {"total": "30000.00", "faults": 2, "text": True, "schema": True}


def test_orjson_writes_and_reads(native: Work) -> None:
    assert native("orjson") == {"rows": 50_000, "at": "2024-01-01T00:00:00+00:00", "broken": True}
