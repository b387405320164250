"""The stub and the module say the same."""

import subprocess
import sys
from pathlib import Path


def test_the_stub_is_true() -> None:
    command = [sys.executable, "-m", "mypy.stubtest", "caisson._native"]
    package = Path(__file__).parents[2] / "python"
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={"PYTHONPATH": str(package)}, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
