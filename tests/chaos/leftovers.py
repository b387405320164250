"""What a dead daemon may leave, and what it may not."""

from __future__ import annotations

import re
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path

from harness import Daemon

# What the operator's guide names as kept in a data directory, and the lake's own.
KEPT = [
    r"data/instance(/lock|/instance-id)?",
    r"data/(state\.db(-wal|-shm)?|audit\.jsonl|caisson\.sock|scratch)",
    # What workers trust, made anew by each daemon.
    r"data/roots(/system\.pem)?",
    r"data/registry(/index|/archives|/bundles|/tmp)?",
    r"data/registry/index/default(/rows(/[0-9.]+\.json)?)?",
    r"data/registry/archives/[0-9a-f]{64}\.tar\.gz",
    r"data/registry/bundles/[0-9a-f]{64}(/.*)?",
    r"(policies|secrets|lake|project)(/.*)?",
    r"caisson\.yaml|data|tmp",
]
SOON = 15
"""Seconds that the kernel may take to end what a dead daemon held."""


def processes(daemon: Daemon) -> list[str]:
    """Launchers, workers and workers in the making: whoever runs the staged program or has it mounted."""
    found = []
    home = str(daemon.stage.home)
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            mine = str((process / "exe").readlink()).startswith(home)
            mine = mine or home in (process / "mountinfo").read_text()
            if mine and "State:\tZ" not in (process / "status").read_text():
                found.append(f"{process.name}: {(process / 'cmdline').read_bytes().decode(errors='replace')}")
        except OSError:
            continue
    return found


def none_lives(daemon: Daemon) -> None:
    """Nothing of it runs, so no namespace of it is left: they live by processes, descriptors and mounts alone."""
    until = time.monotonic() + SOON
    while left := processes(daemon):
        assert time.monotonic() < until, f"outlived its daemon: {left}"
        time.sleep(0.01)
    mounts = Path("/proc/self/mountinfo").read_text()
    assert str(daemon.stage.home) not in mounts, mounts


def groups(daemon: Daemon) -> list[str]:
    """Cgroups of this instance's workers."""
    name = daemon.folder / "data/instance/instance-id"
    if not name.exists():
        return []
    return [
        str(path) for path in Path("/sys/fs/cgroup").rglob(f"caisson-{name.read_text().strip()}-*") if path.is_dir()
    ]


def nothing_is_left(daemon: Daemon) -> None:
    """After a start and before any call: no group, no file that nobody documented, no call that still runs."""
    assert groups(daemon) == []
    for path in daemon.folder.rglob("*"):
        relative = str(path.relative_to(daemon.folder))
        assert any(re.fullmatch(kept, relative) for kept in KEPT), f"{relative} was left behind"
    registry = daemon.folder / "data/registry"
    published = "".join(path.read_text() for path in (registry / "index").rglob("*.json"))
    for kept in (registry / "archives").iterdir():
        assert kept.name.removesuffix(".tar.gz") in published, f"{kept.name} belongs to no version"
    for kept in (registry / "bundles").iterdir():
        assert kept.name in published, f"the unpacked {kept.name} belongs to no version"
        files = sorted(str(path.relative_to(kept)) for path in kept.rglob("*") if path.is_file())
        assert "connector.yaml" in files and "src/caisson_rows/connector.py" in files, (
            f"{kept} is half unpacked: {files}"
        )
    running = daemon.client.call("ListCalls", state="running")
    assert not running.get("calls"), running


def state_is_whole(daemon: Daemon) -> None:
    """SQLite's own check, on a copy of what the dead daemon left."""
    source = daemon.folder / "data/state.db"
    if not source.exists():
        return
    with tempfile.TemporaryDirectory() as copy:
        for path in source.parent.glob("state.db*"):
            if not path.name.endswith("-shm"):
                shutil.copy(path, copy)
        base = sqlite3.connect(Path(copy) / "state.db")
        try:
            assert base.execute("pragma integrity_check").fetchall() == [("ok",)]
            assert base.execute("pragma foreign_key_check").fetchall() == []
        finally:
            base.close()
