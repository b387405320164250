"""Egress: nothing by default, what a policy says, and every refusal reported."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest

from conftest import loopback
from harness import CallFailed, Daemon, Stage
from harness.daemon import inline
from harness.read import read, records
from servers.attacker import Attacker
from servers.httpserver import Api, tied


def probe(daemon: Daemon, stage: Stage, *targets: str) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """How connecting to each target ended, and what was refused."""
    connection = inline(stage.connectors / "probe", config={"targets": " ".join(targets)})
    stream = read(daemon, connection, "attempts", mode="full").drain()
    assert stream.summary
    outcomes = {record["attempt"]: record["outcome"] for record in records(stream)}
    return {target: outcomes[f"connect {target}"] for target in targets}, stream.all("refused")


def test_without_a_policy_nothing_is_reached_and_every_refusal_is_seen(daemon: Daemon, stage: Stage) -> None:
    with Attacker() as attacker:
        targets = (f"127.0.0.1:{attacker.tcp_port}", "169.254.169.254:80", "example.com:443", "192.0.2.1:22")
        outcomes, refused = probe(daemon, stage, *targets)
        assert not any(outcome.startswith("allowed") for outcome in outcomes.values()), outcomes
        assert attacker.tcp == []
    seen = {(refusal.get("host", ""), refusal.get("address", ""), refusal.get("port", 0)) for refusal in refused}
    assert any(address == "127.0.0.1" and port == attacker.tcp_port for _, address, port in seen), seen
    assert any(address == "169.254.169.254" and port == 80 for _, address, port in seen), seen
    assert any(host == "example.com" for host, _, _ in seen), seen
    assert any(address == "192.0.2.1" and port == 22 for _, address, port in seen), seen


def test_an_allowed_port_is_reached_and_counted(daemon: Daemon, stage: Stage, api: Api) -> None:
    daemon.policy("probe", egress=[loopback(api.port)])
    outcomes, refused = probe(daemon, stage, f"localhost:{api.port}")
    assert outcomes[f"localhost:{api.port}"].startswith("allowed: '<!DOCTYPE"), outcomes
    assert refused == []


def test_another_port_of_an_allowed_host_is_refused_with_the_rule_that_would_allow_it(
    daemon: Daemon, stage: Stage, api: Api
) -> None:
    with Attacker() as attacker:
        daemon.policy("probe", egress=[loopback(api.port)])
        outcomes, refused = probe(daemon, stage, f"localhost:{attacker.tcp_port}")
        assert not outcomes[f"localhost:{attacker.tcp_port}"].startswith("allowed")
        assert attacker.tcp == []
    assert any(refusal.get("port") == attacker.tcp_port and refusal.get("rule") for refusal in refused), refused


def test_metadata_and_the_daemons_own_sockets_stay_closed_whatever_a_policy_says(
    lone: Callable[..., Daemon], stage: Stage
) -> None:
    import hashlib

    port = free()
    keys = "me " + hashlib.sha256(b"key").hexdigest() + " operator\n"
    daemon = lone(listen={"tcp": f"127.0.0.1:{port}", "keys": "keys"})
    (daemon.folder / "keys").write_text(keys)
    everything = ["0.0.0.0/0", "127.0.0.0/8", "169.254.0.0/16"]
    daemon.policy("probe", egress=[{"networks": everything, "ports": [80, port], "protocol": "tcp"}])
    daemon.start()
    from harness import Client

    daemon._client = Client(f"127.0.0.1:{port}", metadata=[("authorization", "Bearer key")])
    outcomes, refused = probe(daemon, stage, "169.254.169.254:80", f"127.0.0.1:{port}")
    assert not any(outcome.startswith("allowed") for outcome in outcomes.values()), outcomes
    assert {"metadata", "own_socket"} <= {refusal["reason"] for refusal in refused}, refused


def test_a_port_from_the_config_is_opened_inside_its_fence(daemon: Daemon, stage: Stage, api: Api) -> None:
    api.records = tied(25)
    rule = {
        "host": "${config.host}", "within": ["localhost"], "networks": ["127.0.0.0/8"],
        "ports": ["${config.port}"], "within_ports": [f"{api.port}-{api.port}"], "protocol": "tcp",
    }  # fmt: skip
    daemon.policy("web", egress=[rule])
    connection = inline(stage.connectors / "web", config={"port": api.port})
    assert len(records(read(daemon, connection, "asc").drain())) == 25
    daemon.policy("web", egress=[{**rule, "within_ports": ["1-2"]}])
    stream = read_or_refusal(daemon, connection)
    assert stream in ("EGRESS_DENIED", "CONFIG_INVALID"), stream


def read_or_refusal(daemon: Daemon, connection: dict[str, Any]) -> str:
    """The code that a read of `asc` ends with."""
    try:
        stream = read(daemon, connection, "asc").drain()
    except CallFailed as refused:
        return refused.code
    return str(stream.failure["code"]).removeprefix("ERROR_CODE_")


def test_a_refused_host_ends_the_call_with_egress_denied_and_the_rule(daemon: Daemon, stage: Stage, api: Api) -> None:
    connection = inline(stage.connectors / "web", config={"port": api.port})
    stream = read(daemon, connection, "asc").drain()
    assert stream.failure["code"] == "ERROR_CODE_EGRESS_DENIED", stream.failure
    assert stream.failure["refusals"], stream.failure
    assert api.requests == []


def test_a_reloaded_policy_opens_and_closes_for_a_running_call(
    daemon: Daemon, stage: Stage, api: Api, web: Callable[..., dict[str, Any]]
) -> None:
    api.records = tied(5)
    stream = read(daemon, web(), "events", mode="streaming")
    stream.until("batch")
    daemon.policy("web", egress=[])
    for event in stream:
        if "failure" in event:
            break
    assert stream.failure["code"] in ("ERROR_CODE_EGRESS_DENIED", "ERROR_CODE_UPSTREAM_UNAVAILABLE"), stream.failure


def test_a_bad_policy_file_is_refused_whole_and_the_old_one_stays(daemon: Daemon, stage: Stage, api: Api) -> None:
    api.records = tied(3)
    daemon.policy("web", egress=[loopback(api.port)])
    path = daemon.folder / "policies/web.yaml"
    path.write_text(
        "format: 1\nconnector: web\negress:\n  - host: a.example\n    ports: [99999]\n    protocol: carrier\n"
    )
    with pytest.raises(CallFailed) as refused:
        daemon.client.call("ReloadPolicies")
    assert "web.yaml:5" in str(refused.value) + str(refused.value.details), refused.value
    connection = inline(stage.connectors / "web", config={"port": api.port})
    assert len(records(read(daemon, connection, "asc").drain())) == 3


def test_policy_check_reports_every_fault_with_line_and_column_and_refuses_what_is_not_built(
    daemon: Daemon,
) -> None:
    folder = daemon.folder / "checked"
    folder.mkdir(exist_ok=True)
    (folder / "a.yaml").write_text(
        "format: 1\nconnector: a\nsigner: me\negress:\n  - host: a.example\n    ports: [443]\n    protocol: tls\n"
        "    rate: { per_second: 5 }\n  - hots: b.example\n    ports: [0]\n    protocol: tls\n"
    )
    done = daemon.command("policy", "check", folder)
    assert done.returncode == 3, done
    said = done.stdout + done.stderr
    for expected in ("a.yaml:3", "signer", "a.yaml:8", "rate", "a.yaml:9", "host", "a.yaml:10"):
        assert expected in said, said


def test_the_policies_in_the_connectors_readmes_are_valid(daemon: Daemon, stage: Stage) -> None:
    checked = 0
    for readme in stage.connectors.glob("*/README.md"):
        for text in readme.read_text().split("```yaml\n")[1:]:
            # A folder for each: two policies for one connector are refused.
            checked += 1
            folder = daemon.folder / f"readme-{checked}"
            folder.mkdir(exist_ok=True)
            (folder / "policy.yaml").write_text(text.split("```")[0])
            done = daemon.command("policy", "check", folder)
            assert done.returncode == 0, done.stdout + done.stderr
    assert checked == 5


def test_policy_explain_names_the_deciding_rule_or_the_missing_one(daemon: Daemon, stage: Stage, api: Api) -> None:
    daemon.policy("web", egress=[loopback(api.port)])
    connection = inline(stage.connectors / "web", config={"port": api.port})
    yes = daemon.client.call("ExplainEgress", connection=connection, host="localhost", port=api.port)
    assert yes["allowed"] and "web.yaml" in yes["rule_at"]
    no = daemon.client.call("ExplainEgress", connection=connection, host="localhost", port=1)
    assert not no.get("allowed", False) and no["rule"]


def test_every_attempt_is_a_line_of_the_audit_log(daemon: Daemon, stage: Stage) -> None:
    probe(daemon, stage, "203.0.113.7:4711")
    lines = [json.loads(line) for line in (daemon.folder / "data/audit.jsonl").read_text().splitlines()]
    assert any("203.0.113.7" in json.dumps(line) and "4711" in json.dumps(line) for line in lines)


def free() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
