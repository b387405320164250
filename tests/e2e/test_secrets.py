"""Secrets: by reference, only where a policy lists them, and in no output."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import loopback
from harness import CallFailed, Daemon, Stage
from harness.daemon import inline
from harness.leaks import files, forms, leaks
from harness.read import read, records
from servers.httpserver import Api, tied

CANARY = "canary-5f2c81d7"
REFERENCE = {"$secret": "env:CAISSON_SECRET_TOKEN"}
GRANT = {"token": {"from": ["env:CAISSON_SECRET_TOKEN"], "reveal": True}}


def code_of(call: Callable[[], Any]) -> str:
    """The code that a call is refused with, or fails with."""
    try:
        stream = call().drain()
    except CallFailed as refused:
        return refused.code
    return str(stream.failure["code"]).removeprefix("ERROR_CODE_")


def test_a_granted_secret_authenticates(daemon: Daemon, stage: Stage, api: Api) -> None:
    api.records = tied(3)
    daemon.policy("web", egress=[loopback(api.port)], secrets=GRANT)
    connection = inline(stage.connectors / "web", config={"port": api.port, "token": REFERENCE})
    assert len(records(read(daemon, connection, "asc").drain())) == 3
    assert api.requests[0].headers["authorization"] == f"Bearer {CANARY}"


def test_a_secret_from_a_file_is_read_from_the_one_directory(daemon: Daemon, stage: Stage, api: Api) -> None:
    api.records = tied(3)
    (daemon.folder / "secrets/shop").write_text("from-a-file\n")
    daemon.identity.own(daemon.folder / "secrets")
    daemon.policy("web", egress=[loopback(api.port)], secrets={"token": {"from": ["file:shop"], "reveal": True}})
    connection = inline(stage.connectors / "web", config={"port": api.port, "token": {"$secret": "file:shop"}})
    assert len(records(read(daemon, connection, "asc").drain())) == 3
    assert api.requests[0].headers["authorization"] == "Bearer from-a-file"


@pytest.mark.parametrize(
    "grant",
    [
        pytest.param({}, id="no grant at all"),
        pytest.param({"token": {"from": ["env:CAISSON_SECRET_OTHER"], "reveal": True}}, id="another reference"),
        pytest.param({"other": {"from": ["env:CAISSON_SECRET_TOKEN"], "reveal": True}}, id="another property"),
    ],
)
def test_a_reference_outside_from_is_secret_unavailable(
    daemon: Daemon, rows: Callable[..., dict[str, Any]], grant: dict[str, Any]
) -> None:
    daemon.policy("rows", secrets=grant)
    assert code_of(lambda: read(daemon, rows(token=REFERENCE), "rows")) == "SECRET_UNAVAILABLE"


@pytest.mark.parametrize(
    "grant",
    [
        pytest.param({"from": ["env:HOME"], "reveal": True}, id="a variable of the daemon's own"),
        pytest.param({"from": ["env:**"], "reveal": True}, id="every variable"),
        pytest.param({"from": ["env:CAISSON_SECRET_TOKEN"]}, id="neither revealed nor sealed"),
        pytest.param({"from": ["env:CAISSON_SECRET_TOKEN"], "seal": {"hosts": ["a.example"]}}, id="no rule inspects"),
    ],
)
def test_a_grant_that_cannot_be_honoured_is_refused_when_the_policy_is_read(
    daemon: Daemon, grant: dict[str, Any]
) -> None:
    with pytest.raises(CallFailed) as refused:
        daemon.policy("rows", secrets={"token": grant})
    assert refused.value.code == "CONFIG_INVALID"
    assert "secrets.token" in str(refused.value) + str(refused.value.details)


@pytest.mark.parametrize("reference", ["file:../caisson.yaml", "file:/etc/passwd", "file:link", "env:HOME"])
def test_providers_stay_inside_their_fences(
    daemon: Daemon, rows: Callable[..., dict[str, Any]], reference: str
) -> None:
    link = daemon.folder / "secrets/link"
    if not link.is_symlink():
        link.symlink_to("/etc/hostname")
    daemon.policy("rows", secrets={"token": {"from": ["file:**"], "reveal": True}})
    code = code_of(lambda: read(daemon, rows(token={"$secret": reference}), "rows"))
    assert code in ("SECRET_UNAVAILABLE", "CONFIG_INVALID")


def test_a_literal_secret_is_config_invalid_and_not_repeated(
    daemon: Daemon, rows: Callable[..., dict[str, Any]]
) -> None:
    with pytest.raises(CallFailed) as refused:
        read(daemon, rows(token="literal-9e1d"), "rows").drain()
    assert refused.value.code == "CONFIG_INVALID"
    assert "literal-9e1d" not in str(refused.value) + str(refused.value.details)


def test_no_output_holds_the_value_of_a_secret(
    daemon: Daemon, stage: Stage, rows: Callable[..., dict[str, Any]]
) -> None:
    daemon.policy("rows", secrets=GRANT)
    stream = read(daemon, rows(token=REFERENCE, behave="leak", at=10), "rows").drain()
    assert stream.failure["code"] == "ERROR_CODE_CONNECTOR_FAILED"
    logs = [log["message"] for log in stream.all("log")]
    assert any("the token is" in message for message in logs), logs
    said = {"events": repr(stream.seen).encode(), "daemon's log": daemon.log.encode()}
    assert leaks(CANARY, {**said, **files(daemon.folder / "data")}) == []


@pytest.mark.parametrize("encoding", ["JSON_LINES", "ARROW_IPC"])
def test_records_are_passed_on_as_they_are_unless_the_policy_has_them_redacted(
    daemon: Daemon, rows: Callable[..., dict[str, Any]], encoding: str
) -> None:
    told = {}
    for asked in (False, True):
        daemon.policy("rows", secrets=GRANT, redact_records=asked)
        connection = rows(token=REFERENCE, behave="tell", at=10, count=20)
        stream = read(daemon, connection, "rows", accept=[f"ENCODING_{encoding}"]).drain()
        assert stream.summary["stats"]["records"] == 20
        told[asked] = b"".join(batch["data"] for batch in stream.all("batch"))
    masked = b"*" * len(CANARY)
    assert CANARY.encode() in told[False] and masked not in told[False]
    assert CANARY.encode() not in told[True] and masked in told[True]


@pytest.mark.parametrize(
    ("behave", "stream", "says"),
    [
        ("name a field", "undeclared", "holds a secret"),
        ("name a stream", "", "holds a secret"),
        ("describe a field", "described", "holds a secret"),
        ("describe a field", "misfitting", 'field "[redacted]"'),
        ("describe a field", "List", "holds a secret"),
    ],
)
def test_a_name_that_holds_a_secret_reaches_nobody_and_ends_the_call(
    daemon: Daemon, rows: Callable[..., dict[str, Any]], behave: str, stream: str, says: str
) -> None:
    daemon.policy("rows", secrets=GRANT)
    connection = rows(token=REFERENCE, behave=behave, count=5)
    if stream == "List":
        seen = daemon.client.stream("List", connection=connection).drain()
    else:
        seen = read(daemon, connection, *([stream] if stream else [])).drain()
    code = "SCHEMA_VIOLATION" if stream == "misfitting" else "CONNECTOR_FAILED"
    assert seen.failure["code"] == f"ERROR_CODE_{code}", seen.failure
    assert says in seen.failure["message"]
    call = daemon.client.call("GetCall", call_id=seen.call_id)
    for form in forms(CANARY):
        assert form not in repr(seen.seen).encode() + repr(call).encode() + daemon.log.encode()


def test_a_worker_sees_no_secret_in_environment_or_arguments(daemon: Daemon, stage: Stage) -> None:
    daemon.policy("rows", secrets=GRANT)
    connection = inline(stage.connectors / "rows", config={"token": REFERENCE})
    stream = read(daemon, connection, "counted", mode="streaming")
    stream.until("batch")
    (pid,) = daemon.client.call("GetCall", call_id=stream.call_id)["worker_pids"]
    for name in ("environ", "cmdline"):
        try:
            content = Path(f"/proc/{pid}/{name}").read_bytes()
        except PermissionError:
            assert os.geteuid() != 0  # undumpable: not even its own user may look
            continue
        assert CANARY.encode() not in content, name
    stream.cancel()
