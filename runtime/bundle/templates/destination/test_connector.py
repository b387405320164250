"""{{title}} writing into a temporary directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from caisson.testing import Harness


def destination(folder: Path) -> Harness:
    return Harness(".", config={"dir": str(folder)})


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def test_a_directory_is_tested(tmp_path: Path) -> None:
    assert destination(tmp_path).test().ok
    refused = destination(tmp_path / "missing").test().error
    assert refused is not None
    assert refused.code == "PERMISSION_MISSING"


def test_records_are_appended_and_committed(tmp_path: Path) -> None:
    orders: list[dict[str, Any]] = [json.loads(line) for line in Path("samples/orders.jsonl").read_text().splitlines()]
    run = destination(tmp_path).write("orders", orders, primary_key=["id"], mode="append", checkpoints=[2])
    assert run.ok
    assert not run.rejects
    assert [record["id"] for record in lines(tmp_path, "orders.jsonl")] == [1, 2, 3]
    destination(tmp_path).write("orders", orders[:1], primary_key=["id"], mode="append")
    assert len(lines(tmp_path, "orders.jsonl")) == 4


def test_a_record_without_its_key_is_rejected_and_the_others_are_written(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = [{"id": 1, "total": 1.5}, {"id": None, "total": 2.5}, {"id": 3, "total": 3.5}]
    run = destination(tmp_path).write("orders", records, primary_key=["id"], mode="append")
    assert run.ok
    assert len(run.rejects) == 1
    assert [record["id"] for record in lines(tmp_path, "orders.jsonl")] == [1, 3]
