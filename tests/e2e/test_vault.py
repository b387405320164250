"""Secrets from a vault: read for a call, with a token of its own that ends with it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from conftest import loopback
from harness import CallFailed, Daemon, Identity, Stage
from harness.daemon import inline
from harness.read import read, records
from servers.between import Between
from servers.httpserver import Api, tied
from servers.vault import POLICY, Vault

KEY = "vault-canary-81d7"
REFERENCE = {"$secret": "vault:secret/data/shop#key"}
GRANT = {"token": {"from": ["vault:secret/data/*"], "reveal": True}}


@pytest.fixture(scope="module")
def vault(stage: Stage) -> Iterator[Vault]:
    """A server, with one secret."""
    server = Vault(stage.folder("vault"))
    server.put("shop", key=KEY)
    server.put("admin", key="nobody's")
    yield server
    server.stop()


@pytest.fixture
def using(stage: Stage, identity: Identity, vault: Vault) -> Iterator[Daemon]:
    """A daemon that uses it."""
    secrets = {"vault": {"address": vault.address, "auth": {"token": {"file": "vault-token"}}}}
    running = Daemon(stage, identity, secrets=secrets)
    (running.folder / "vault-token").write_text(vault.token(POLICY))
    running.start()
    yield running
    running.remove()


def connection(stage: Stage, api: Api, reference: dict[str, str] = REFERENCE, **fields: Any) -> dict[str, Any]:
    return inline(stage.connectors / "web", config={"port": api.port, "token": reference}, **fields)


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_secret_is_read_for_the_call_and_its_token_ends_with_it(
    using: Daemon, stage: Stage, vault: Vault, api: Api
) -> None:
    api.records = tied(3)
    using.policy("web", egress=[loopback(api.port)], secrets=GRANT)
    assert len(records(read(using, connection(stage, api), "asc").drain())) == 3
    assert api.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert vault.of_calls() == []
    assert KEY not in using.log


def test_what_the_policy_or_the_vault_does_not_grant_is_unavailable_with_what_to_do(
    using: Daemon, stage: Stage, vault: Vault, api: Api
) -> None:
    using.policy("web", egress=[loopback(api.port)], secrets=GRANT)
    for path, told in [("secret/data/admin#key", "secret/data/admin"), ("secret/metadata/shop#key", "is not granted")]:
        with pytest.raises(CallFailed) as refused:
            read(using, connection(stage, api, {"$secret": f"vault:{path}"}), "asc").drain()
        assert refused.value.code == "SECRET_UNAVAILABLE"
        assert told in str(refused.value) + str(refused.value.details)
        assert refused.value.details["ErrorInfo"].metadata["retryable"] == "false"
    assert vault.of_calls() == []


def test_the_token_of_a_call_that_died_with_its_daemon_is_revoked_by_the_next_one(
    using: Daemon, stage: Stage, vault: Vault, api: Api
) -> None:
    api.records = tied(2)
    using.policy("web", egress=[loopback(api.port)], secrets=GRANT)
    stream = read(using, connection(stage, api), "events", mode="STREAMING")
    stream.until("batch")
    assert len(vault.of_calls()) == 1
    using.kill()
    assert len(vault.of_calls()) == 1
    using.start()
    until(lambda: vault.of_calls() == [])


@pytest.mark.parametrize("end", ["cancelled", "crashed", "timed out"])
def test_a_token_ends_with_its_call_however_that_ends(
    using: Daemon, stage: Stage, vault: Vault, api: Api, end: str
) -> None:
    api.records = tied(2)
    using.policy("web", egress=[loopback(api.port)], secrets=GRANT)
    timeout = 5 if end == "timed out" else 60
    stream = read(using, connection(stage, api), "events", mode="STREAMING", timeout=timeout)
    stream.until("batch")
    assert len(vault.of_calls()) == 1
    if end == "cancelled":
        stream.cancel()
    elif end == "crashed":
        (pid,) = using.client.call("GetCall", call_id=stream.call_id)["worker_pids"]
        os.kill(pid, signal.SIGKILL)
    until(lambda: vault.of_calls() == [])
    assert using.client.call("GetCall", call_id=stream.call_id)["state"] != "succeeded"


def test_a_call_goes_on_without_the_vault_that_it_had_its_secrets_of(
    stage: Stage, api: Api, own: Callable[..., Daemon]
) -> None:
    server = Vault(stage.folder("vault"))
    try:
        server.put("shop", key=KEY)
        running = own(secrets={"vault": {"address": server.address, "auth": {"token": {"file": "vault-token"}}}})
        (running.folder / "vault-token").write_text(server.token(POLICY))
        running.start()
        running.policy("web", egress=[loopback(api.port)], secrets=GRANT)
        api.records = tied(2)
        stream = read(running, connection(stage, api), "events", mode="STREAMING")
        stream.until("batch")
    finally:
        server.stop()
    time.sleep(1)
    api.records = tied(4)
    stream.until("batch")
    stream.cancel()


def test_a_vault_that_is_gone_is_a_failure_that_may_pass(
    stage: Stage, identity: Identity, api: Api, own: Callable[..., Daemon]
) -> None:
    secrets = {"vault": {"address": "http://127.0.0.1:1", "auth": {"token": {"file": "vault-token"}}}}
    running = own(secrets=secrets)
    (running.folder / "vault-token").write_text("t")
    running.start()
    running.policy("web", egress=[loopback(api.port)], secrets=GRANT)
    with pytest.raises(CallFailed) as refused:
        read(running, connection(stage, api), "asc").drain()
    assert refused.value.code == "SECRET_UNAVAILABLE"
    assert refused.value.details["ErrorInfo"].metadata["retryable"] == "true"
    assert refused.value.status == "UNAVAILABLE"


@pytest.mark.parametrize(
    ("fate", "says"), [("sealed", "is sealed; unseal it, and try again"), ("slow", "did not answer within 10 s")]
)
def test_a_vault_that_is_sealed_or_slow_when_a_call_begins_is_a_failure_that_may_pass(
    stage: Stage, api: Api, lone: Callable[..., Daemon], fate: str, says: str
) -> None:
    server = Vault(stage.folder("vault"))
    server.put("shop", key=KEY)
    between = Between(server.address)
    running = lone(secrets={"vault": {"address": between.url, "auth": {"token": {"file": "vault-token"}}}})
    (running.folder / "vault-token").write_text(server.token(POLICY))
    if fate == "sealed":
        server.ask("POST", "sys/seal")
    else:
        between.holds = lambda method, path: path == "/v1/secret/data/shop"
    try:
        running.start()
        running.policy("web", egress=[loopback(api.port)], secrets=GRANT)
        with pytest.raises(CallFailed) as refused:
            read(running, connection(stage, api), "asc").drain()
    finally:
        between.stop()
        server.stop()
    assert refused.value.code == "SECRET_UNAVAILABLE"
    assert says in refused.value.message, refused.value
    assert refused.value.details["ErrorInfo"].metadata["retryable"] == "true"
    assert api.requests == []


def test_a_check_of_secrets_says_what_the_vault_has_and_leaves_nothing_there(
    using: Daemon, stage: Stage, vault: Vault
) -> None:
    using.policy("web", secrets=GRANT)
    config = using.folder / "web.json"
    for path, available, told in [
        ("secret/data/shop#key", True, ""),
        ("secret/data/shop#none", False, "no field"),
        ("secret/data/admin#key", False, "secret/data/admin"),
        ("secret/metadata/shop#key", False, "lists only"),
    ]:
        config.write_text(json.dumps({"port": 1, "token": {"$secret": f"vault:{path}"}}))
        config.chmod(0o644)
        done = using.cli("secrets", "check", "--json", "--path", stage.connectors / "web", "--config", config)
        assert done.returncode == (0 if available else 1), done.stderr
        found = json.loads(done.stdout)
        assert found["available"] is available
        assert told in found["problem"]
        assert KEY not in done.stdout + done.stderr + using.log
    assert vault.of_calls() == []
