"""Locked wheels of connectors, fetched once into target/ and given to each copy of the connector."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from .daemon import Daemon
from .stage import ROOT, Stage


def fetched(lock: Path, cache: str) -> Path:
    """The folder of a lock's wheels; pip checks each against its hash, and fetches what is not there."""
    folder = ROOT / "target" / cache
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / "lock"
    if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
             "--only-binary", ":all:", "--require-hashes", "--find-links", folder, "--dest", folder, "-r", lock],
            check=True,
        )  # fmt: skip
        stamp.write_bytes(lock.read_bytes())
    return folder


def published(daemon: Daemon, stage: Stage, name: str, cache: str) -> Daemon:
    """A connector of the stage in the daemon's registry, with its wheels."""
    project = stage.connectors / name
    wheels = project / ".caisson/wheels"
    if not wheels.exists():
        wheels.mkdir(parents=True)
        for wheel in fetched(project / "requirements.lock", f"{cache}/{name}").glob("*.whl"):
            shutil.copy(wheel, wheels)
    done = daemon.cli("publish", project, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return daemon
