"""A real Datasette with datasette-auth-tokens, as its own process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from .attacker import free_port

TOKEN = "tok-4f1d3b7c9a-demo"


class Datasette:
    """Serves databases on loopback; only bearers of `TOKEN` may look.

    Raises:
        RuntimeError: It did not answer within 30 seconds; holds its log.
    """

    def __init__(self, *databases: Path, page: int = 1000) -> None:
        self.port = free_port()
        folder = databases[0].parent
        metadata = folder / "metadata.json"
        metadata.write_text(
            json.dumps(
                {
                    "plugins": {"datasette-auth-tokens": {"tokens": [{"token": TOKEN, "actor": {"id": "demo"}}]}},
                    "allow": {"id": "demo"},
                }
            )
        )
        self._log = (folder / "datasette.log").open("wb")
        command = [sys.executable, "-m", "datasette", "serve", *map(str, databases)]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--metadata", str(metadata)]
        command += ["--setting", "max_returned_rows", str(page)]
        self.process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        self._wait()

    def _wait(self) -> None:
        until = time.monotonic() + 30
        while time.monotonic() < until and self.process.poll() is None:
            try:
                self.get("/-/actor.json")
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.05)  # polls for readiness; it has no event for it
            else:
                return
        self.close()
        raise RuntimeError(f"datasette did not start:\n{Path(self._log.name).read_text()[-2000:]}")

    def get(self, target: str) -> Any:
        """The JSON that the API answers, as the demo's actor."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{target}", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def rows(self, database: str, table: str) -> list[dict[str, Any]]:
        """Every row of a table, page by page."""
        rows: list[dict[str, Any]] = []
        target = f"/{database}/{table}.json?_shape=objects&_size=max&_nocount=1"
        token = ""
        while True:
            page = self.get(target + token)
            rows += page["rows"]
            if not page["next"]:
                return rows
            token = f"&_next={page['next']}"

    def close(self) -> None:
        """Ends the server."""
        self.process.terminate()
        self.process.wait(10)
        self._log.close()

    def __enter__(self) -> Datasette:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
