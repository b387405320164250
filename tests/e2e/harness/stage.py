"""The product as it would be installed: readable by every user.

The tree may lie in a home that ordinary users cannot enter, and workers of an
ordinary user's daemon run as that user, so what is tested is copied first.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[3]


class Stage:
    """A folder with the binary and the worker's library.

    Attributes:
        home: Everything of this test run, mode 0755.
        caisson: The binary.
        shim: The folder that holds the package `caisson`.
        python: The workers' interpreter.
        connectors: Copies of the connectors, by name: ours, the tests', and the thief.
    """

    def __init__(self) -> None:
        binary = Path(os.environ.get("CAISSON", ROOT / "target/debug/caisson")).resolve()
        if not binary.exists():
            raise RuntimeError(f"{binary} is not built; run `make test`, or `make build` first")
        self.home = Path(tempfile.mkdtemp(prefix="caisson-e2e-"))
        self.home.chmod(0o755)
        self.caisson = self.home / "bin/caisson"
        self.caisson.parent.mkdir()
        shutil.copy(binary, self.caisson)
        self.shim = self.home / "lib/caisson/shim"
        shutil.copytree(
            ROOT / "python-shim/python", self.shim, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
        self.python = Path(os.environ.get("WORKER_PYTHON", "/usr/bin/python3.11"))
        subprocess.run([str(self.python), "-m", "compileall", "-q", str(self.shim)], check=True)
        self.connectors = self.home / "connectors"
        for source in (*ROOT.glob("connectors/*"), *ROOT.glob("tests/e2e/connectors/*"), ROOT / "tests/demo/thief"):
            shutil.copytree(
                source, self.connectors / source.name, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache")
            )

    def folder(self, name: str) -> Path:
        """A fresh folder that every user can enter."""
        path = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.home))
        path.chmod(0o755)
        return path

    def remove(self) -> None:
        """Takes all of it away."""
        shutil.rmtree(self.home, ignore_errors=True)
