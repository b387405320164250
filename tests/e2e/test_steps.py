"""Test: a connection is tried step by step, and the step at which it fails has a name."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from conftest import loopback
from harness import Daemon, Stage
from harness.daemon import NOWHERE, inline
from servers.httpserver import Api

SECRET = {"$secret": "env:CAISSON_SECRET_TOKEN"}
GRANT = {"token": {"from": ["env:CAISSON_SECRET_TOKEN"], "reveal": True}}


@pytest.fixture
def tried(own: Callable[..., Daemon], stage: Stage, api: Api) -> Callable[..., Any]:
    """Runs Test of `web` against `api`: with this config, and under this policy."""

    def run(config: dict[str, Any], policy: dict[str, Any] | None, within: list[str] | None = None) -> Any:
        daemon = own()
        daemon.within = within or []
        daemon.environment["CAISSON_SECRET_TOKEN"] = "canary-5f2c81d7"
        if policy is not None:
            daemon.policy("web", **policy)
        daemon.start()
        connection = inline(stage.connectors / "web", config={"port": api.port, **config})
        return daemon.client.stream("Test", connection=connection).drain()

    return run


def told(stream: Any) -> list[tuple[str, str]]:
    """Names and endings of the steps, in their order."""
    return [(step["name"], step["status"].removeprefix("STATUS_").lower()) for step in stream.all("step")]


def unused() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_a_connection_that_works_passes_every_step(tried: Callable[..., Any], api: Api) -> None:
    stream = tried({"token": SECRET}, {"egress": [loopback(api.port)], "secrets": GRANT})
    assert stream.summary
    steps = dict(told(stream))
    assert set(steps.values()) == {"passed"}, steps
    assert list(steps)[:2] == ["secrets", "egress"]
    assert {"open", "authentication", "permissions"} <= set(steps)


@pytest.mark.parametrize(
    ("fault", "code", "step"),
    [
        ("no grant", "SECRET_UNAVAILABLE", "secrets"),
        ("no such variable", "SECRET_UNAVAILABLE", "secrets"),
        ("no policy", "EGRESS_DENIED", "egress"),
        ("another port", "EGRESS_DENIED", "egress"),
        ("no such name", "DNS_FAILED", "dns"),
        ("no listener", "UPSTREAM_UNAVAILABLE", "connect"),
        ("no TLS", "TLS_FAILED", "tls"),
        (401, "CREDENTIALS_INVALID", "authentication"),
        (403, "PERMISSION_MISSING", "permissions"),
    ],
)
def test_what_fails_names_its_step(tried: Callable[..., Any], api: Api, fault: str | int, code: str, step: str) -> None:
    config: dict[str, Any] = {"token": SECRET}
    policy: dict[str, Any] | None = {"egress": [loopback(api.port)], "secrets": GRANT}
    assert policy is not None
    match fault:
        case "no grant":
            del policy["secrets"]
        case "no such variable":
            config["token"] = {"$secret": "env:CAISSON_SECRET_ABSENT"}
            policy["secrets"] = {"token": {"from": ["env:CAISSON_SECRET_*"], "reveal": True}}
        case "no policy":
            config, policy = {}, None
        case "another port":
            policy["egress"] = [loopback(unused())]
        case "no such name":
            config["host"] = "nowhere.invalid"
            policy["egress"] = [{"host": "nowhere.invalid", "ports": [api.port], "protocol": "tcp"}]
        case "no listener":
            config["port"] = unused()
            policy["egress"] = [loopback(config["port"])]
        case "no TLS":
            config["scheme"] = "https"
        case int():
            api.fail("/me", fault, times=99)
    # A name is asked for where no nameserver can be reached.
    stream = tried(config, policy, NOWHERE if fault == "no such name" else None)
    assert stream.failure["code"] == f"ERROR_CODE_{code}", stream.failure
    steps = told(stream)
    assert steps[-1] == (step, "failed"), steps
    # Said once; beside it, only how its end looked from inside, where a refused name is one that does not resolve.
    failed = [name for name, status in steps if status == "failed"]
    assert failed.count(step) == 1 and set(failed) <= {step, "connect", "dns"}, steps
    assert stream.all("step")[-1]["message"]


def test_a_connectors_own_step_that_fails_is_named(daemon: Daemon, rows: Callable[..., dict[str, Any]]) -> None:
    stream = daemon.client.stream("Test", connection=rows(behave="credentials")).drain()
    assert told(stream)[-1] == ("authentication", "failed")
    stream = daemon.client.stream("Test", connection=rows(behave="exception in test")).drain()
    assert stream.failure["code"] == "ERROR_CODE_CONNECTOR_FAILED"
    assert told(stream)[-1] == ("test", "failed")
