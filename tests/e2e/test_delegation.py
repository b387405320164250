"""Cgroups of an ordinary user: those it was handed, and what it is told where it was handed none."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Daemon, Stage
from harness.daemon import ORDINARY, Identity, inline
from harness.delegation import Delegated, delegated
from harness.read import read, records

ROOT_RUNS_THIS = os.geteuid() == 0
"""Only root can hand a group over; the header of a run says whether it was root's."""


@pytest.fixture
def handed(stage: Stage) -> Iterator[Daemon | None]:
    """A daemon of an ordinary user with groups of its own; none where nobody can hand them over."""
    if not ROOT_RUNS_THIS:
        yield None
        return
    with delegated() as identity:
        daemon = Daemon(stage, identity)
        daemon.start()
        yield daemon
        daemon.remove()


def glutton(daemon: Daemon, takes: str, **limits: Any) -> Any:
    daemon.policy("glutton", limits=limits)
    return read(daemon, inline(daemon.stage.connectors / "glutton", config={"takes": takes}), "rows").drain()


def groups_of(daemon: Daemon) -> list[Path]:
    """Groups of workers below those that were handed over."""
    assert isinstance(daemon.identity, Delegated)
    name = (daemon.folder / "data/instance/instance-id").read_text().strip()
    return [path for group in daemon.identity.groups for path in group.rglob(f"caisson-{name}-*") if path.is_dir()]


def test_in_groups_that_it_was_handed_an_ordinary_users_daemon_lacks_nothing(handed: Daemon | None) -> None:
    if handed is None:
        return
    assert handed.process is not None
    uids = [line for line in Path(f"/proc/{handed.process.pid}/status").read_text().splitlines() if "Uid" in line]
    assert uids == [f"Uid:\t{ORDINARY}\t{ORDINARY}\t{ORDINARY}\t{ORDINARY}"]
    failure = glutton(handed, "memory", memory="96MiB").failure
    assert failure["code"] == "ERROR_CODE_MEMORY_EXHAUSTED", failure
    assert not failure["stats"].get("missing_layers"), failure
    failure = glutton(handed, "processes", pids=24).failure
    assert failure["code"] == "ERROR_CODE_PROCESS_LIMIT", failure
    stream = glutton(handed, "processor", cpu=0.1)
    assert stream.summary["stats"]["cpu_throttled_seconds"] > 0.3
    assert len(records(stream)) == 100
    # Two wait for workers to come; those of ended ones are gone.
    waiting = groups_of(handed)
    assert len({group.name for group in waiting}) <= 2
    assert not any((group / "cgroup.procs").read_text() for group in waiting)
    handed.stop()
    assert groups_of(handed) == []


def test_what_a_killed_daemon_left_in_them_is_swept_by_the_next(handed: Daemon | None, stage: Stage) -> None:
    if handed is None:
        return
    stream = read(handed, inline(stage.connectors / "rows"), "counted", mode="streaming")
    stream.until("batch")
    assert groups_of(handed)
    handed.kill()
    handed.start()
    assert groups_of(handed) == []
    assert glutton(handed, "nothing").summary


def test_without_a_group_a_user_is_told_how_to_get_one_and_that_going_without_is_a_choice(stage: Stage) -> None:
    user = Daemon(stage, next(each for each in Identity.available() if each.ordinary))
    del user.environment["CAISSON_ALLOW_MISSING"]
    del user.configuration["allow_missing"]
    user.identity.own(user.folder)
    done = user.command("doctor", "--json", "--python", str(stage.python), "--shim", str(stage.shim))
    layer = next(each for each in json.loads(done.stdout)["layers"] if each["layer"] == "cgroup")
    if layer["present"]:
        user.start()  # this user was handed a group, so nothing is missing
    else:
        assert done.returncode == 1
        assert "chown -R" in layer["mend"] or "systemd-run --user --scope -p Delegate=yes" in layer["mend"]
        with pytest.raises(RuntimeError, match="--allow-missing=cgroup"):
            user.start()
        user.configuration["allow_missing"] = ["cgroup"]
        user.start()
        stream = read(user, inline(stage.connectors / "rows"), "rows").drain()
        assert stream.summary["stats"]["missing_layers"] == ["cgroup"]
    user.remove()
