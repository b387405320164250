"""Bad input: each a stable code with what to do, all faults at once, and the daemon unharmed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import CallFailed, Daemon, Stage
from harness.daemon import inline
from harness.read import read, records

Made = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def unharmed(daemon: Daemon, rows: Made) -> Any:
    """After each of these the daemon serves on."""
    yield
    assert len(records(read(daemon, rows(count=5), "rows").drain())) == 5


def refused(call: Callable[[], Any]) -> CallFailed:
    """How a call was refused before a worker existed."""
    with pytest.raises(CallFailed) as caught:
        call().drain()
    return caught.value


def project(daemon: Daemon, stage: Stage, name: str, manifest: str | None = None) -> Path:
    """A copy of the `rows` connector, with another connector.yaml."""
    folder = daemon.folder / name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(stage.connectors / "rows", folder)
    if manifest is not None:
        (folder / "connector.yaml").write_text(manifest)
    daemon.identity.own(folder)
    return folder


def test_a_malformed_manifest_is_refused_with_every_fault_and_its_line(daemon: Daemon, stage: Stage) -> None:
    text = "name: Rows!\nversion: one\ntitel: Rows\nentrypoint: nowhere\ncapabilities: [fly]\nconfig: {}\n"
    error = refused(lambda: read(daemon, inline(project(daemon, stage, "malformed", text)), "rows"))
    assert error.code == "CONFIG_INVALID"
    said = str(error) + str(error.details)
    for expected in ("connector.yaml:1", "connector.yaml:2", "connector.yaml:3", "title", "connector.yaml:5"):
        assert expected in said, said


def test_a_manifest_that_is_no_yaml_is_refused_with_its_line(daemon: Daemon, stage: Stage) -> None:
    error = refused(lambda: read(daemon, inline(project(daemon, stage, "noyaml", "name: [a\nversion: }")), "rows"))
    assert error.code == "CONFIG_INVALID"
    assert "connector.yaml:" in str(error) + str(error.details)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ('{"count": "many"}', ["count"]),
        ('{"count": -1, "size": "big", "colour": "red"}', ["count", "size", "colour"]),
        ("{not json", []),
        ("[]", []),
    ],
)
def test_a_config_that_does_not_fit_is_refused_with_every_path(
    daemon: Daemon, stage: Stage, config: str, expected: list[str]
) -> None:
    error = refused(lambda: read(daemon, inline(stage.connectors / "rows", config=config), "rows"))
    assert error.code == "CONFIG_INVALID"
    assert error.status == "INVALID_ARGUMENT"
    said = str(error) + str(error.details)
    for path in expected:
        assert path in said, said


def test_a_reference_stands_as_a_string_in_the_schema(daemon: Daemon, rows: Made) -> None:
    daemon.policy("rows", secrets={"token": {"from": ["env:CAISSON_SECRET_TOKEN"], "reveal": True}})
    stream = read(daemon, rows(count=3, token={"$secret": "env:CAISSON_SECRET_TOKEN"}), "rows").drain()
    assert len(records(stream)) == 3
    error = refused(lambda: read(daemon, rows(count={"$secret": "env:CAISSON_SECRET_TOKEN"}), "rows"))
    assert error.code == "CONFIG_INVALID"


def test_an_unknown_connector_and_an_unknown_version_are_version_unknown(daemon: Daemon) -> None:
    for connector in ("absent@1.0.0", "absent@sha256:" + "0" * 64):
        error = refused(lambda c=connector: read(daemon, inline(connector=c), "rows"))  # type: ignore[misc]
        assert error.code == "VERSION_UNKNOWN", connector


@pytest.mark.parametrize("pin", ["rows@^1", "rows@>=1,<2", "rows@latest", "rows", "rows@1"])
def test_a_range_is_refused_with_the_versions_that_match_it(daemon: Daemon, stage: Stage, pin: str) -> None:
    done = daemon.cli("publish", stage.connectors / "rows")
    assert done.returncode == 0, done.stderr
    error = refused(lambda: read(daemon, inline(connector=pin), "rows"))
    assert error.code in ("VERSION_UNKNOWN", "CONFIG_INVALID")
    assert "1.0.0" in str(error) + str(error.details), error


def test_an_unknown_stream_names_those_that_there_are(daemon: Daemon, rows: Made) -> None:
    stream = read(daemon, rows(), "absent").drain()
    assert stream.failure["code"] == "ERROR_CODE_CONFIG_INVALID"
    assert "ascending" in stream.failure["message"]


@pytest.mark.parametrize("state", [b"{not json", b"\xff\xfe", b"[]", b'{"v": 99}', b"x" * (2 << 20)])
def test_a_malformed_state_is_refused_and_not_read_from_the_beginning(daemon: Daemon, rows: Made, state: bytes) -> None:
    checkpoint = {"stream": "ascending", "id": "x", "state": state}
    try:
        stream = read(
            daemon, rows(), "ascending", mode="incremental", from_="FROM_CHECKPOINT", checkpoints=[checkpoint]
        ).drain()
    except CallFailed as error:
        assert error.code == "CONFIG_INVALID", error
    else:
        assert stream.failure["code"] == "ERROR_CODE_CONFIG_INVALID", stream.failure
        assert records(stream) == []


def write(daemon: Daemon, stage: Stage, *messages: dict[str, Any], encoding: str = "ARROW_IPC") -> str:
    """The code that a Write of these messages ends with."""
    start = {"connection": inline(stage.connectors / "sink"), "encoding": f"ENCODING_{encoding}"}
    try:
        stream = daemon.client.write([{"start": start}, *messages]).drain()
    except CallFailed as error:
        return error.code
    return str(stream.failure["code"]).removeprefix("ERROR_CODE_")


def test_malformed_records_are_schema_violation_or_config_invalid(daemon: Daemon, stage: Stage) -> None:
    import pyarrow as pa

    codes = {"SCHEMA_VIOLATION", "CONFIG_INVALID"}
    schema = {"stream": "t", "schema_id": "s", "ipc": pa.schema([("id", pa.int64())]).serialize().to_pybytes()}
    batch = {"stream": "t", "schema_id": "s", "sequence": 1, "records": 1}
    assert write(daemon, stage, {"schema": schema}, {"batch": {**batch, "data": b"\xff" * 100}}) in codes
    assert write(daemon, stage, {"schema": {**schema, "ipc": b"no arrow"}}) in codes
    assert write(daemon, stage, {"batch": {**batch, "data": b"{}"}}) in codes, "a batch before its schema"
    lines = {"stream": "t", "schema_id": "s"}
    assert (
        write(daemon, stage, {"schema": lines}, {"batch": {**batch, "data": b"{not json\n"}}, encoding="JSON_LINES")
        in codes
    )


def test_a_connection_file_is_refused_with_every_fault_and_its_line(daemon: Daemon) -> None:
    path = daemon.folder / "bad.yaml"
    path.write_text("conector: rows@1.0.0\nconfig: 5\nstreams:\n  a: { mode: sideways, write: over }\n")
    done = daemon.cli("read", path)
    assert done.returncode == 3, done
    for expected in ("bad.yaml:1:1", "connector", "bad.yaml:2", "bad.yaml:4"):
        assert expected in done.stderr, done.stderr
    assert "faults" in done.stderr


def test_a_daemon_configuration_is_refused_with_every_fault_and_its_line(stage: Stage, daemon: Daemon) -> None:
    path = daemon.folder / "bad-daemon.yaml"
    path.write_text("polices: p\nlisten: { tcp: nowhere }\nlimits:\n  memory: lots\n")
    done = daemon.command("serve", "--config", path)
    assert done.returncode != 0
    for expected in ("bad-daemon.yaml:1", "policies", "bad-daemon.yaml:2", "bad-daemon.yaml:4"):
        assert expected in done.stderr, done.stderr


def test_an_oversized_record_of_a_caller_is_refused_and_the_daemon_serves_on(daemon: Daemon, stage: Stage) -> None:
    data = json.dumps({"id": 1, "text": "x" * 4_000_000}).encode() + b"\n"
    code = write(
        daemon,
        stage,
        {"schema": {"stream": "t", "schema_id": "s"}},
        {"batch": {"stream": "t", "schema_id": "s", "sequence": 1, "records": 1, "data": data}},
        encoding="JSON_LINES",
    )
    assert code in ("RECORD_TOO_LARGE", "CONFIG_INVALID", ""), code
