"""Data stacks put to real work, as they come from the package index: all under `native`, most under `strict` too."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from works import failed, work

from harness import Daemon

PROFILE = "native"
LIMITS = {"memory": "2GiB", "tmp": "1GiB", "cpu": 2, "pids": 128}
FOUND: dict[str, dict[str, Any]] = {
    "numpy": {
        "solved": True, "positive": True, "wave": 4096, "same": True, "total": 4_999_950_000, "pages": 9766,
    },
    "pandas": {"rows": 100_000, "groups": 1000, "months": 9, "zone": "Europe/Berlin"},
    "pyarrow": {
        "sizes": dict.fromkeys(("zstd", "snappy", "gzip", "lz4", "brotli"), 200_000), "some": 50_000,
        "total": 19_999_900_000, "read": 200_000, "groups": 1000, "files": 8, "pools": 2,
    },
    "polars": {"groups": 1000, "sunk": 94_845, "same": True, "threads": True},
    "duckdb": {"ordered": 640_000, "joined": True, "arrow": 10_000, "kept": 640_000},
    "psycopg": {"library": "binary", "copied": True, "total": 199_990_000, "rows": 20_010, "binary": "0001"},
    "pymysql": {"total": 12_497_500, "server": True},
    "requests": {"plain": "hello", "streamed": 300_000, "kept": True, "trusted": False},
    "httpx": {"plain": "hello", "same": True, "many": 2_400_000},
    "aiohttp": {"plain": "hello", "many": 2_400_000},
    "botocore": {
        "body": 30_000, "keys": [f"part-{number}.csv" for number in range(5)], "absent": "NoSuchKey",
        "who": "123456789012",
    },
    "grpcio": {
        "shouted": "HELLO", "counted": 204_800, "echoed": "abc", "absent": "UNIMPLEMENTED", "secure": "TLS",
        "later": "LATER",
    },
    "paramiko": {"names": ["sent.csv"], "size": 150_000, "same": True, "said": "42"},
    "cryptography": {"forged": False, "tampered": False, "text": "text", "certificate": True, "derived": 32},
    "pydantic": {"total": "30000.00", "faults": 2, "text": True, "schema": True},
    "orjson": {"rows": 50_000, "at": "2024-01-01T00:00:00+00:00", "broken": True},
}  # fmt: skip
# sandbox-profiles/README.md says so too.
NATIVE_ALONE = {"polars"}

Run = Callable[[str, str], dict[str, Any]]


@pytest.fixture
def connection(daemon: Daemon, stacks: Daemon, servers: dict[str, tuple[dict[str, Any], list[int]]]) -> Run:
    """A connection to the connector of one stack, under a profile, with a way to its servers."""

    def connect(stack: str, profile: str) -> dict[str, Any]:
        options, ports = servers.get(stack, ({}, []))
        rule = {"host": "localhost", "networks": ["127.0.0.0/8"], "ports": ports, "protocol": "tcp"}
        daemon.policy("stacks", profile=profile, limits=LIMITS, egress=[rule] if ports else [])
        config = json.dumps({"stack": stack, "options": json.dumps(options)})
        return {"inline": {"connection": {"connector": "stacks@1.0.0", "config_json": config}}}

    return connect


@pytest.mark.parametrize("stack", FOUND)
def test_a_stack_works_under_native(daemon: Daemon, connection: Run, stack: str) -> None:
    assert work(daemon, connection(stack, "native")) == FOUND[stack]


@pytest.mark.once
@pytest.mark.parametrize("stack", FOUND.keys() - NATIVE_ALONE)
def test_a_stack_works_under_strict_too(running: Daemon, connection: Run, stack: str) -> None:
    assert work(running, connection(stack, "strict")) == FOUND[stack]


@pytest.mark.once
@pytest.mark.parametrize("stack", NATIVE_ALONE)
def test_a_stack_that_is_said_to_need_native_does(running: Daemon, connection: Run, stack: str) -> None:
    assert "ermi" in failed(running, connection(stack, "strict"))


@pytest.mark.once
def test_no_two_workers_have_the_same_chance_from_numpy(running: Daemon, connection: Run) -> None:
    seen = [value for _ in range(4) for value in work(running, connection("chance", "native")).values()]
    assert len(set(seen)) == 8
