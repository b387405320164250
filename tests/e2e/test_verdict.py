"""The demo and the preflight say what they mean: a figure that must not be ends the demo, a goal asks for its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GOOD = {
    "second_run_records": 7, "lost": 0, "duplicated": 0, "throttled_seconds": 1.5, "stolen_plain": 6,
    "stolen_caisson": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("figure", "value"),
    [
        ("lost", 1), ("duplicated", 1), ("stolen_caisson", 1), ("second_run_records", 0), ("second_run_records", 8),
        ("throttled_seconds", 0), ("stolen_plain", 0),
    ],
)  # fmt: skip
def test_one_figure_that_must_not_be_ends_the_demo(monkeypatch: pytest.MonkeyPatch, figure: str, value: int) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tests/demo"))
    import verdict

    assert verdict.broken(GOOD, 7) == []
    (told,) = verdict.broken({**GOOD, figure: value}, 7)
    assert told.startswith(f"{figure} is {value}")


@pytest.mark.parametrize(
    ("goal", "wanted"), [("demo", False), ("lint", False), ("test", False), ("escape", False), ("test-long", True)]
)
def test_only_the_data_stacks_ask_for_mariadb(tmp_path: Path, goal: str, wanted: bool) -> None:
    # A shell in which no mariadbd is found, and no root who would install it.
    script = (ROOT / "tests/setup/preflight.sh").read_text().replace("/usr/sbin", "/nowhere")
    stubs = tmp_path / "bin"
    stubs.mkdir()
    for name in ("awk", "cat", "cut", "df", "dirname", "grep", "head", "ls", "sed", "sort", "tail", "tr", "uname"):
        found = next(path for path in (Path("/usr/bin", name), Path("/bin", name)) if path.exists())
        (stubs / name).symlink_to(found)
    (stubs / "id").write_text("#!/bin/sh\necho 1000\n")
    (stubs / "id").chmod(0o755)
    (tmp_path / "python.sh").write_text("#!/bin/sh\n")
    (tmp_path / "python.sh").chmod(0o755)
    (tmp_path / "preflight.sh").write_text(script)
    done = subprocess.run(
        ["/bin/sh", str(tmp_path / "preflight.sh"), goal],
        env={"PATH": str(stubs), "CARGO": "/nowhere/cargo"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "cargo 1.88" in done.stderr
    assert ("mariadb" in done.stderr) is wanted
