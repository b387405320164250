"""Every example of the author's guide runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from caisson import Connector
from caisson.testing import Api, Harness, Request, kill_after_each_checkpoint

GUIDE = Path(__file__).parents[3] / "docs/guides/author.md"
BLOCK = re.compile(r"^```(\S+(?: file=\S+)?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS: list[tuple[str, str]] = BLOCK.findall(GUIDE.read_text())


def test_the_projects_of_the_guide_pass_their_own_tests(tmp_path: Path) -> None:
    for kind, text in BLOCKS:
        if " file=" in kind:
            path = tmp_path / kind.partition(" file=")[2]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    package = Path(__file__).parents[2] / "python"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "-W", "error", "tests"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{package}:src"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^8 passed", done.stdout, re.MULTILINE), done.stdout


def example(name: str) -> Any:
    """The class of this name in one of the guide's examples."""
    for kind, text in BLOCKS:
        if kind == "python" and f"class {name}(" in text:
            space: dict[str, Any] = {"__name__": __name__}
            exec(compile(text, str(GUIDE), "exec"), space)
            globals().update({each: value for each, value in space.items() if not each.startswith("__")})
            return space[name]
    raise LookupError(name)


def test_every_python_block_is_run_by_a_test_here() -> None:
    classes = {
        name
        for kind, text in BLOCKS
        if kind == "python"
        for name in re.findall(r"^class (\w+)\(Connector", text, re.MULTILINE) or ["errors"]
    }
    assert classes == {"Invoices", "Tracker", "Log", "Base", "Events", "errors"}


def test_a_typed_dict_with_everything_fits() -> None:
    (record,) = Harness(example("Invoices")).read("invoices").check().records
    assert str(record["total"]) == "12.50"
    assert record["lines"] == [{"sku": "a", "amount": 2}]
    assert "x" not in record


def pages_of(rows: list[dict[str, Any]], request: Request) -> Any:
    at = (int(request.params["page"]) - 1) * 2
    return {"data": rows[at : at + 2]}


def test_reshaping_in_the_client_keeps_the_pages() -> None:
    issues = [{"id": n, "deleted": n == 3, "meta": {"at": f"2024-01-0{9 - n}"}} for n in range(7)]

    def answer(request: Request) -> Any:
        if request.path == "/issues":
            return pages_of(issues, request)
        return pages_of([{"id": int(request.path.split("/")[2]) * 10 + n} for n in range(3)], request)

    harness = Harness(example("Tracker"), api=Api(answer))
    assert len(kill_after_each_checkpoint(harness, "issues", key="id", cursor="at")) == 6
    assert len(harness.read("issues", checkpoint_every=1).checkpoints) >= 3
    assert len(kill_after_each_checkpoint(harness, "comments", mode="full", key="id")) == 21


def test_an_own_state() -> None:
    assert len(kill_after_each_checkpoint(Harness(example("Log")), "entries", key="offset")) == 100


def test_discovery_and_partitions() -> None:
    harness = Harness(example("Base"))
    assert [each["name"] for each in harness.list().check().objects] == ["everything", "eu", "us"]
    assert harness.read("us").check().records == [{"id": 2, "at": 5}]
    whole = harness.read("everything").check().records
    parts = [record for part in ("eu", "us") for record in harness.read("everything", partition=part).check().records]
    assert parts == whole


@pytest.mark.parametrize("name", ["polled", "followed"])
def test_streaming(name: str) -> None:
    events = [{"id": n} for n in range(1, 6)]

    def answer(request: Request) -> Any:
        first = int(request.params.get("from", 0))
        events.append({"id": len(events) + 1})
        return {"data": [event for event in events if event["id"] >= first], "next": None}

    run = Harness(example("Events"), api=Api(answer)).read(name, mode="streaming", seconds=40)
    numbers = [each["id"] for each in run.records]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 8
    assert run.code == "CANCELLED"


def test_errors_carry_what_to_do() -> None:
    (text,) = [text for kind, text in BLOCKS if kind == "python" and "def refuse" in text]
    space: dict[str, Any] = {}
    exec(compile(text, str(GUIDE), "exec"), space)

    class Refusing(Connector[Any]):
        def test(self) -> None:
            space[self.config.which]()

    assert Harness(Refusing, {"which": "refuse"}).test().code == "CONFIG_INVALID"
    quota = Harness(Refusing, {"which": "come_back"}).test()
    assert quota.error is not None
    assert quota.error.retry_at == 1_800_000_000
