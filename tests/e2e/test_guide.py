"""The orchestrator guide's client, taken out of the page and run as it stands there."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from harness import Daemon, Stage
from harness.stage import ROOT

GUIDE = ROOT / "docs/guides/orchestrator.md"


@pytest.fixture
def client(tmp_path: Path) -> Path:
    """The page's only Python block, as a file."""
    blocks = GUIDE.read_text().split("```python\n")[1:]
    assert len(blocks) == 1
    path = tmp_path / "client.py"
    path.write_text(blocks[0].split("```")[0])
    return path


def fill(daemon: Daemon, first: int, last: int) -> None:
    path = daemon.lake / "shop.sqlite"
    base = sqlite3.connect(path)
    base.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, total REAL, updated_at TEXT NOT NULL)")
    base.executemany(
        "INSERT INTO orders VALUES (?, ?, ?)",
        [(n, n / 4, f"2026-01-01T{n // 3600:02d}:{n // 60 % 60:02d}:{n % 60:02d}Z") for n in range(first, last)],
    )
    base.commit()
    base.close()
    daemon.identity.own(daemon.lake)


def test_the_guides_client_lists_reads_to_parquet_and_commits(
    daemon: Daemon, stage: Stage, client: Path, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    done = daemon.cli("publish", stage.connectors / "sqlite")
    assert done.returncode == 0, done.stderr
    daemon.policy("sqlite", files=[{"dir": "${config.dir}", "within": [str(daemon.lake)], "access": "read"}])
    fill(daemon, 1, 25_001)
    parquet = tmp_path / "parquet"
    parquet.mkdir()
    config = json.dumps({"dir": str(daemon.lake), "file": "shop.sqlite"})
    command = [sys.executable, str(client), f"unix:{daemon.socket}", "sqlite@0.1.0", config, "guide", str(parquet)]

    first = subprocess.run(command, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "orders: key ['id'], cursor updated_at" in first.stdout
    fill(daemon, 25_001, 25_011)
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "10 records" in second.stdout, second.stdout

    ids = [number for path in sorted(parquet.glob("*.parquet")) for number in pq.read_table(path)["id"].to_pylist()]
    assert ids == list(range(1, 25_011))
