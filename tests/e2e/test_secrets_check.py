"""`caisson secrets check`: what a connection's secrets come to, without their values."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness import CallFailed, Daemon, Identity, Stage
from harness.daemon import inline

ENV, FILE, COMMAND = "canary-env-1b7f", "canary-file-93ce", "canary-command-40aa"
SHORT = "c4n"


@pytest.fixture(scope="module")
def using(stage: Stage, identity: Identity) -> Iterator[Daemon]:
    """A daemon with three providers."""
    running = Daemon(stage, identity)
    command = running.folder / "command"
    command.write_text(f'#!/bin/sh\necho "$1" >> "$0.asked"\n[ "$1" = shop/key ] && echo {COMMAND}\n')
    command.chmod(0o755)
    running.configuration["secrets"] = {"files": "secrets", "command": {"run": [str(command), "{path}"]}}
    running.environment |= {"CAISSON_SECRET_TOKEN": ENV, "CAISSON_SECRET_SHORT": SHORT}
    (running.folder / "secrets/shop").write_text(FILE)
    running.start()
    yield running
    running.remove()


@pytest.fixture
def check(using: Daemon, stage: Stage) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs it on the connector `web` with this reference."""

    def run(reference: str, *options: str) -> subprocess.CompletedProcess[str]:
        config = using.folder / "web.json"
        config.write_text(json.dumps({"port": 8443, "token": {"$secret": reference}}))
        config.chmod(0o644)
        done = using.cli("secrets", "check", "--path", stage.connectors / "web", "--config", config, *options)
        for value in (ENV, FILE, COMMAND, SHORT):
            assert value not in done.stdout + done.stderr + using.log
        return done

    return run


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    (line,) = done.stdout.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


@pytest.mark.parametrize("reference", ["env:CAISSON_SECRET_TOKEN", "file:shop", "command:shop/key"])
def test_what_is_granted_and_there_is_available(
    using: Daemon, check: Callable[..., subprocess.CompletedProcess[str]], reference: str
) -> None:
    using.policy("web", secrets={"token": {"from": [reference], "reveal": True}})
    done = check(reference)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"policy: {using.folder}/policies/web.yaml\n/token: {reference}\n"
        "  granted, revealed to the worker\n  available\n1 reference, 0 unavailable, 0 warnings\n"
    )
    found = told(check(reference, "--json"))
    assert (found["granted"], found["revealed"], found["available"]) == (True, True, True)
    assert found["lease_seconds"] is None and found["warnings"] == []


def test_a_sealed_one_says_where_and_one_that_the_seal_misses_is_warned_of(
    using: Daemon, check: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    rule = {"host": "api.example.com", "ports": [443], "protocol": "https"}
    seal: dict[str, Any] = {"hosts": ["api.example.com"]}
    secrets = {"token": {"from": ["file:shop"], "seal": seal}}
    using.policy("web", egress=[rule], secrets=secrets)
    found = told(check("file:shop", "--json"))
    assert found["places"] == ["header:authorization at api.example.com port 443"]
    assert (found["revealed"], found["available"], found["warnings"]) == (False, True, [])
    seal["place"] = "query:key"
    using.policy("web", egress=[rule], secrets=secrets)
    found = told(check("file:shop", "--json"))
    assert found["places"] == ["query:key at api.example.com port 443"]
    (warning,) = found["warnings"]
    assert "header:authorization" in warning and "EGRESS_DENIED" in warning


def test_what_is_not_granted_is_not_asked_for_and_the_line_that_grants_it_works(
    using: Daemon, check: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    asked = using.folder / "command.asked"
    asked.unlink(missing_ok=True)
    rule = {"host": "api.example.com", "ports": [8443], "protocol": "https"}
    tried: list[tuple[dict[str, Any], str]] = [
        ({}, "secrets"),
        ({"egress": [rule]}, "secrets"),
        ({"secrets": {"token": {"from": ["file:shop"], "reveal": True}}}, "secrets.token"),
    ]
    for body, at in tried:
        using.policy("web", **body)
        done = check("command:shop/key")
        assert done.returncode == 1
        assert "not granted" in done.stdout and "1 unavailable" in done.stdout
        found = told(check("command:shop/key", "--json"))
        assert (found["granted"], found["available"], found["rule_at"]) == (False, False, at)
        assert not asked.exists()
        # The line, put where it belongs. YAML's flow style is what policies are written in here.
        path = using.folder / "policies/web.yaml"
        text = "format: 1\nconnector: web\nworkspace: default\n"
        if "egress" in body:
            text += f"egress: [{json.dumps(rule)}]\n"
            assert "seal" in found["rule"] and "8443" in found["rule"]
        if at == "secrets":
            text += f"secrets:\n  {found['rule']}\n"
        else:
            assert "file:shop" in found["rule"]
            text += f"secrets:\n  token:\n    {found['rule']}\n    reveal: true\n"
        path.write_text(text)
        using.client.call("ReloadPolicies")
        assert check("command:shop/key").returncode == 0
        asked.unlink()


def test_what_the_provider_has_not_or_nobody_could_redact_is_told(
    using: Daemon, check: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    using.policy("web", secrets={"token": {"from": ["file:*", "env:CAISSON_SECRET_*", "command:*"], "reveal": True}})
    for reference, says in [
        ("file:none", "no such file"),
        ("env:CAISSON_SECRET_NONE", "no such variable"),
        ("file:shop#key", "not a JSON object"),
        ("command:none", "exit status 1"),
    ]:
        done = check(reference)
        assert done.returncode == 1, reference
        assert f"unavailable: {says}" in done.stdout or says in done.stdout, done.stdout
    short = check("env:CAISSON_SECRET_SHORT")
    assert short.returncode == 0
    assert "warning: the secret is shorter than 6 bytes and is not redacted" in short.stdout


def test_a_stored_connection_and_another_workspace(using: Daemon, stage: Stage) -> None:
    using.policy("web", secrets={"token": {"from": ["file:shop"], "reveal": True}})
    inlined = inline(stage.connectors / "web", config={"port": 1, "token": {"$secret": "file:shop"}})
    answer = using.client.call("CheckSecrets", connection=inlined)
    (found,) = answer["secrets"]
    assert found["available"] and FILE not in str(answer)
    nothing = inline(stage.connectors / "web", config={"port": 1})
    assert using.client.call("CheckSecrets", connection=nothing).get("secrets", []) == []
    with pytest.raises(CallFailed) as refused:
        using.client.call("CheckSecrets", connection=inlined, workspace="staging")
    assert refused.value.code == "PERMISSION_MISSING"
    with pytest.raises(CallFailed) as unknown:
        using.client.call("CheckSecrets", connection={"name": "nobody"})
    assert unknown.value.code == "CONFIG_INVALID"
    literal = inline(stage.connectors / "web", config={"port": 1, "token": FILE})
    with pytest.raises(CallFailed) as wrong:
        using.client.call("CheckSecrets", connection=literal)
    assert wrong.value.code == "CONFIG_INVALID"
    assert FILE not in str(wrong.value) + str(wrong.value.details)


def test_what_becomes_access_tokens_says_of_whom(using: Daemon, stage: Stage) -> None:
    rule = {"host": "localhost", "networks": ["127.0.0.0/8"], "ports": [8443], "protocol": "https"}
    url = "https://login.example/token"
    way = {"grant": "refresh_token", "rotates": False, "token_url": url}
    way |= {"client_id": "app", "client_secret": "client_secret"}
    own = {"from": ["env:CAISSON_SECRET_TOKEN"]}
    token = {**own, "seal": {"hosts": ["localhost"], "ports": [8443]}, "oauth2": way}
    using.policy("web", egress=[rule], secrets={"token": token, "client_secret": own})
    config = using.folder / "web.json"
    reference = {"$secret": "env:CAISSON_SECRET_TOKEN"}
    config.write_text(json.dumps({"port": 8443, "token": reference, "client_secret": reference}))
    config.chmod(0o644)
    done = using.cli("secrets", "check", "--path", stage.connectors / "web", "--config", config, "--json")
    found = {line["property"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert found["/token"]["places"] == [f"access tokens of {url} in header:authorization at localhost port 8443"]
    assert found["/client_secret"]["places"] == [f"requests to {url}"]
    assert all(line["available"] and not line["revealed"] for line in found.values())
