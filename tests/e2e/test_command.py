"""Secrets that a command of the operator prints."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import loopback
from harness import CallFailed, Daemon, Identity, Stage
from harness.daemon import inline
from harness.read import read, records
from servers.httpserver import Api, tied

VALUE = "canary-of-the-command-7d20"
# What it is asked is written down, and what it prints it says on stderr too, as a script under `set -x` does.
COMMAND = f"""#!/bin/sh
echo "$# $*" >> "$0.asked"
env > "$0.environment"
ls -l /proc/self/fd > "$0.descriptors"
case "$1" in
    shop/key) echo '{{"user": "nobody", "key": "{VALUE}"}}'; echo "+ {VALUE}" >&2 ;;
    shop/later) echo {VALUE}; echo "+ {VALUE}" >&2; exit 75 ;;
    *) echo "nothing is called $1" >&2; exit 1 ;;
esac
"""


@pytest.fixture(scope="module")
def using(stage: Stage, identity: Identity) -> Iterator[Daemon]:
    """A daemon with a command, which was started with a file open."""
    running = Daemon(stage, identity)
    command = running.folder / "command"
    command.write_text(COMMAND)
    command.chmod(0o755)
    running.configuration["secrets"] = {
        "command": {"run": [str(command), "{path}"], "timeout": "20s", "environment": ["LANG"]}
    }
    running.environment |= {"CAISSON_LOG": "debug", "CAISSON_SECRET_OTHER": "not-for-commands"}
    running.within = ["sh", "-c", 'exec 7<caisson.yaml && exec "$@"', "sh"]
    running.start()
    running.policy("web", secrets={"token": {"from": ["command:shop/*"], "reveal": True}})
    yield running
    running.remove()


def said(using: Daemon, what: str) -> str:
    """What the command left behind."""
    path = Path(using.folder, f"command.{what}")
    return path.read_text() if path.exists() else ""


def heard(using: Daemon, what: str) -> bool:
    """Whether the daemon says so, which reaches a test a moment later."""
    deadline = time.monotonic() + 20
    while what not in using.log and time.monotonic() < deadline:
        time.sleep(0.02)
    return what in using.log


def refused(using: Daemon, stage: Stage, reference: str) -> CallFailed:
    connection = inline(stage.connectors / "web", config={"port": 1, "token": {"$secret": reference}})
    with pytest.raises(CallFailed) as told:
        read(using, connection, "asc").drain()
    return told.value


def test_what_the_command_prints_authenticates_and_nobody_is_told(using: Daemon, stage: Stage, api: Api) -> None:
    api.records = tied(3)
    using.policy("web", egress=[loopback(api.port)], secrets={"token": {"from": ["command:shop/*"], "reveal": True}})
    connection = inline(
        stage.connectors / "web", config={"port": api.port, "token": {"$secret": "command:shop/key#key"}}
    )
    assert len(records(read(using, connection, "asc").drain())) == 3
    assert api.requests[0].headers["authorization"] == f"Bearer {VALUE}"
    assert said(using, "asked").splitlines()[-1] == "1 shop/key"
    names = {line.partition("=")[0] for line in said(using, "environment").splitlines()}
    assert names - {"PWD", "OLDPWD", "SHLVL", "_"} == {"PATH", "HOME", "LANG"}
    # Control: the file is open in the daemon.
    assert using.process is not None
    held = [path.resolve().name for path in Path(f"/proc/{using.process.pid}/fd").iterdir()]
    assert "caisson.yaml" in held
    descriptors = said(using, "descriptors")
    assert "/proc/" in descriptors and "caisson.yaml" not in descriptors
    assert "socket:" not in descriptors
    assert heard(using, "+ [redacted]")
    assert VALUE not in using.log


def test_what_the_command_refuses_is_unavailable_and_its_words_are_the_operators(using: Daemon, stage: Stage) -> None:
    later = refused(using, stage, "command:shop/later")
    assert (later.code, later.details["ErrorInfo"].metadata["retryable"]) == ("SECRET_UNAVAILABLE", "true")
    none = refused(using, stage, "command:shop/none")
    assert (none.code, none.details["ErrorInfo"].metadata["retryable"]) == ("SECRET_UNAVAILABLE", "false")
    for told in (later, none):
        assert "exit status" in str(told)
        assert "nothing is called" not in str(told) + str(told.details)
        assert VALUE not in str(told) + str(told.details)
    assert heard(using, "nothing is called shop/none")
    assert VALUE not in using.log


def test_a_reference_that_is_not_granted_or_could_be_an_option_runs_nothing(using: Daemon, stage: Stage) -> None:
    before = said(using, "asked")
    assert refused(using, stage, "command:admin/key").code == "SECRET_UNAVAILABLE"
    assert refused(using, stage, "command:shop/a/b").code == "SECRET_UNAVAILABLE"
    for reference in ("command:shop/-f", "command:--help", "command:shop/$(id)", "command:shop/../admin"):
        assert refused(using, stage, reference).code == "CONFIG_INVALID"
    assert said(using, "asked") == before
