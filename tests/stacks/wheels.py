"""The locked wheels of the suite's connectors, installed for the servers of its tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness.wheels import fetched

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / "target/stacks"


def site(connector: str, *names: str) -> Path:
    """Some of the wheels installed in a folder of their own, for servers of the tests."""
    folder = CACHE / f"site-{connector}"
    if not folder.exists():
        wheels = fetched(HERE / "connectors" / connector / "requirements.lock", f"stacks/{connector}")
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index",
             "--find-links", wheels, "--target", folder, *names],
            check=True,
        )  # fmt: skip
    return folder
