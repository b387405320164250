"""The SSH server of `ssh_server.py`, under the wheels that the connector carries."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any


class Ssh:
    """One server on loopback until `close`.

    Args:
        folder: Where keys go, and what clients see.
        site: Holds paramiko.
    """

    def __init__(self, folder: Path, site: Path) -> None:
        files = folder / "files"
        files.mkdir()
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("ssh_server.py"), folder / "client", folder / "host"],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(site)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        port, host_key = self._process.stdout.readline().split()
        self.options: dict[str, Any] = {
            "ssh": int(port), "host_key": host_key, "user": "stack", "folder": str(files),
            "key": (folder / "client").read_text(),
        }  # fmt: skip

    def close(self) -> None:
        """Ends it."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()
