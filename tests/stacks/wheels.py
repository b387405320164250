"""The locked wheels of the suite's connectors, fetched once into target/."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / "target/stacks"


def fetched(connector: str) -> Path:
    """The folder of a connector's wheels; pip checks each against its hash, and fetches what is not there."""
    folder = CACHE / connector
    folder.mkdir(parents=True, exist_ok=True)
    lock = HERE / "connectors" / connector / "requirements.lock"
    stamp = folder / "lock"
    if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
             "--only-binary", ":all:", "--require-hashes", "--find-links", folder, "--dest", folder, "-r", lock],
            check=True,
        )  # fmt: skip
        stamp.write_bytes(lock.read_bytes())
    return folder


def site(connector: str, *names: str) -> Path:
    """Some of the wheels installed in a folder of their own, for servers of the tests."""
    folder = CACHE / f"site-{connector}"
    if not folder.exists():
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index",
             "--find-links", fetched(connector), "--target", folder, *names],
            check=True,
        )  # fmt: skip
    return folder
