"""The source and the destination on real files."""

from __future__ import annotations

import sqlite3
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from caisson.testing import Harness, kill_after_each_checkpoint

PROJECT = Path(__file__).parents[1]
Record = dict[str, Any]


def harness(folder: Path, **config: Any) -> Harness:
    return Harness(PROJECT, config={"dir": str(folder), "file": "a.sqlite", **config})


def query(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    base = sqlite3.connect(folder / "a.sqlite")
    rows = base.execute(sql).fetchall()
    base.close()
    return rows


def filled(folder: Path, count: int) -> None:
    """`count` rows; three share each second."""
    base = sqlite3.connect(folder / "a.sqlite")
    base.executescript(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, total REAL, open BOOLEAN, note TEXT, data BLOB,"
        " updated_at TEXT NOT NULL); CREATE TABLE tags (name TEXT, anything); CREATE VIEW v AS SELECT id FROM orders"
    )
    base.executemany(
        "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?)",
        [
            (
                n,
                n / 4,
                n % 2,
                None if n % 5 == 0 else f'"{n}"',
                b"\x00" * (n % 3),
                f"2026-01-01T00:00:{n // 3:02d}Z",
            )
            for n in range(1, count + 1)
        ],
    )
    base.execute("INSERT INTO tags VALUES ('a', 1), ('b', 'two'), ('c', NULL)")
    base.commit()
    base.close()


def test_tables_and_views_are_found(tmp_path: Path) -> None:
    filled(tmp_path, 3)
    found = {each["name"]: each for each in harness(tmp_path).list().objects}
    assert set(found) == {"orders", "tags", "v"}
    assert found["orders"]["cursor"] == "updated_at"
    types = {field["name"]: field["type"] for field in found["orders"]["fields"]}
    assert types == {
        "id": "int64", "total": "float64", "open": "bool", "note": "string", "data": "binary", "updated_at": "string",
    }  # fmt: skip


def test_a_table_is_read_in_full(tmp_path: Path) -> None:
    filled(tmp_path, 50)
    run = harness(tmp_path).read("orders", mode="full")
    assert run.ok, run.error
    assert [record["id"] for record in run.records] == list(range(1, 51))
    assert run.records[0]["open"] is True
    assert run.records[4]["note"] is None


def test_a_column_without_type_comes_as_json(tmp_path: Path) -> None:
    filled(tmp_path, 1)
    run = harness(tmp_path).read("tags")
    assert run.ok, run.error
    assert [record["anything"] for record in run.records] == ["1", '"two"', None]


def test_an_incremental_read_brings_only_what_is_newer(tmp_path: Path) -> None:
    filled(tmp_path, 20)
    lake = harness(tmp_path)
    first = lake.read("orders", mode="incremental")
    base = sqlite3.connect(tmp_path / "a.sqlite")
    base.execute("UPDATE orders SET updated_at = '2026-01-02T00:00:00Z' WHERE id = 4")
    base.commit()
    base.close()
    second = lake.read("orders", mode="incremental", state=first.state)
    assert [record["id"] for record in second.records] == [4]


def test_killed_after_any_checkpoint_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    filled(tmp_path, 40)
    records = kill_after_each_checkpoint(harness(tmp_path), "orders", mode="incremental")
    assert [record["id"] for record in records] == list(range(1, 41))


def test_cursors_that_texts_put_in_another_order_are_told_and_read_in_full(tmp_path: Path) -> None:
    for number, (older, newer) in enumerate([("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5Z"), ("9", "10")]):
        base = sqlite3.connect(tmp_path / "a.sqlite")
        base.execute(f"CREATE TABLE t{number} (id INTEGER PRIMARY KEY, updated_at TEXT)")
        base.executemany(f"INSERT INTO t{number} VALUES (?, ?)", [(1, older), (2, newer)])
        base.commit()
        base.close()
        error = harness(tmp_path).read(f"t{number}", mode="incremental").error
        assert error is not None and error.code == "SCHEMA_VIOLATION" and "order='asc'" in error.message
        assert len(harness(tmp_path, cursor="none").read(f"t{number}").check().records) == 2


def test_a_number_that_no_float_holds_is_told_and_not_rounded(tmp_path: Path) -> None:
    base = sqlite3.connect(tmp_path / "a.sqlite")
    base.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, total DECIMAL(20, 0))")
    base.execute("INSERT INTO t VALUES (1, 9007199254740992), (2, 9007199254740993)")
    base.commit()
    base.close()
    run = harness(tmp_path).read("t")
    assert [record["total"] for record in run.records] == [float(2**53)]
    assert run.error is not None and run.error.code == "SCHEMA_VIOLATION" and "total" in run.error.message


def test_what_is_no_database_is_config_invalid(tmp_path: Path) -> None:
    (tmp_path / "a.sqlite").write_text("this is a text, and quite a long one for a database")
    error = harness(tmp_path).test().error
    assert error is not None and error.code == "CONFIG_INVALID"


def test_a_missing_directory_is_config_invalid_and_names_the_policy(tmp_path: Path) -> None:
    error = harness(tmp_path / "absent").test().error
    assert error is not None and error.code == "CONFIG_INVALID" and "files" in error.message


def test_append_adds_and_upsert_replaces(tmp_path: Path) -> None:
    lake = harness(tmp_path)
    rows: list[Record] = [{"id": 1, "a": "x"}, {"id": 2, "a": "y"}]
    for mode in ("append", "upsert"):
        for _ in range(2):
            run = lake.write(mode, rows, primary_key="id", mode=mode)
            assert run.ok, run.error
    assert query(tmp_path, "SELECT count(*) FROM append") == [(4,)]
    assert lake.write("upsert", [{"id": 2, "a": "z"}], primary_key="id", mode="upsert").ok
    assert query(tmp_path, "SELECT * FROM upsert ORDER BY id") == [(1, "x"), (2, "z")]


def test_of_two_records_with_one_key_in_a_batch_the_later_stays(tmp_path: Path) -> None:
    rows: list[Record] = [{"id": 1, "a": "old"}, {"id": 1, "a": "new"}]
    assert harness(tmp_path).write("t", rows, primary_key="id", mode="upsert").ok
    assert query(tmp_path, "SELECT a FROM t") == [("new",)]


def test_batches_and_their_checkpoint_are_there_together_or_not_at_all(tmp_path: Path) -> None:
    rows: list[Record] = [{"id": n} for n in range(10)]
    run = harness(tmp_path).write("t", rows, primary_key="id", checkpoints=[4], batch=2, final=False)
    assert run.ok, run.error
    first = query(tmp_path, "SELECT stream, partition, state FROM _caisson_checkpoints")
    assert [(stream, partition) for stream, partition, _ in first] == [("t", "")]
    assert len(run.committed) >= 1


def test_every_type_is_stored_whole(tmp_path: Path) -> None:
    row: Record = {
        "id": 1,
        "price": Decimal("1234567890.123456789"),
        "day": date(2026, 2, 3),
        "at": datetime(2026, 2, 3, 4, 5, 6, 7, UTC),
        "blob": b"\x00\xff",
        "nested": {"b": [1, None, "ü"]},
        "ok": True,
        "nothing": None,
        "big": 2**63 - 1,
        "text": "quote \" ' \\ tab \t 🧊",
    }
    schema = [
        {"name": "id", "type": "int64"},
        {"name": "price", "type": "decimal(38,9)"},
        {"name": "day", "type": "date"},
        {"name": "at", "type": "timestamp"},
        {"name": "blob", "type": "binary"},
        {"name": "nested", "type": {"struct": [{"name": "b", "type": "json"}]}},
        {"name": "ok", "type": "bool"},
        {"name": "nothing", "type": "string"},
        {"name": "big", "type": "int64"},
        {"name": "text", "type": "string"},
    ]
    run = harness(tmp_path).write("t", [row], schema=schema, primary_key="id")
    assert run.ok, run.error
    stored = dict(zip(row, query(tmp_path, "SELECT * FROM t")[0], strict=True))
    assert stored["price"] == "1234567890.123456789"
    assert stored["day"] == "2026-02-03"
    assert stored["at"] == "2026-02-03T04:05:06.000007Z"
    assert stored["blob"] == b"\x00\xff"
    assert stored["big"] == 2**63 - 1
    assert stored["text"] == row["text"]
    assert stored["ok"] == 1 and stored["nothing"] is None


def test_new_columns_are_added_and_old_ones_stay(tmp_path: Path) -> None:
    lake = harness(tmp_path)
    assert lake.write("t", [{"id": 1, "a": "x"}], primary_key="id", mode="upsert").ok
    assert lake.write("t", [{"id": 2, "b": 1.5}], primary_key="id", mode="upsert").ok
    assert query(tmp_path, "SELECT id, a, b FROM t ORDER BY id") == [(1, "x", None), (2, None, 1.5)]


def test_a_record_that_a_constraint_refuses_is_rejected_and_the_others_stay(tmp_path: Path) -> None:
    base = sqlite3.connect(tmp_path / "a.sqlite")
    base.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER CHECK (n < 3))")
    base.close()
    run = harness(tmp_path).write("t", [{"id": n, "n": n} for n in range(5)], primary_key="id", mode="upsert")
    assert run.ok, run.error
    assert [reject["record"] for reject in run.rejects] == [3, 4]
    assert query(tmp_path, "SELECT count(*) FROM t") == [(3,)]


def test_what_sqlite_would_change_is_rejected_and_the_others_stay(tmp_path: Path) -> None:
    schema = [
        {"name": "id", "type": "int64", "nullable": True},
        {"name": "n", "type": "float64", "nullable": True},
        {"name": "list", "type": {"list": "float64"}, "nullable": True},
        {"name": "s", "type": "string", "nullable": True},
    ]
    rows: list[Record] = [
        {"id": 1, "n": 1.5, "list": [1.0], "s": "first"},
        {"id": None, "n": 2.5, "list": None, "s": "no key"},
        {"id": 3, "n": float("nan"), "list": None, "s": "no number"},
        {"id": 4, "n": None, "list": [float("nan")], "s": "no number inside"},
        {"id": 5, "n": float("inf"), "list": None, "s": "infinite"},
        {"id": 6, "n": None, "list": None, "s": "last"},
    ]
    run = harness(tmp_path).write("t", rows, schema=schema, primary_key="id", mode="upsert")
    assert run.ok, run.error
    reasons = {reject["record"]: reject["reason"] for reject in run.rejects}
    assert set(reasons) == {1, 2, 3}
    assert reasons[1] == "id is null, and it is a primary key"
    assert reasons[2] == "n is NaN, which SQLite cannot hold"
    assert "nested" in reasons[3]
    assert query(tmp_path, "SELECT id, n, s FROM t ORDER BY id") == [
        (1, 1.5, "first"), (5, float("inf"), "infinite"), (6, None, "last"),
    ]  # fmt: skip


def test_rejects_of_both_kinds_name_their_places_in_the_batch(tmp_path: Path) -> None:
    base = sqlite3.connect(tmp_path / "a.sqlite")
    base.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n REAL CHECK (n < 3))")
    base.close()
    schema = [{"name": "id", "type": "int64", "nullable": True}, {"name": "n", "type": "float64", "nullable": True}]
    rows: list[Record] = [{"id": None, "n": 0.0}, {"id": 1, "n": 9.0}, {"id": 2, "n": 1.0}]
    run = harness(tmp_path).write("t", rows, schema=schema, primary_key="id", mode="upsert")
    assert run.ok, run.error
    assert [reject["record"] for reject in run.rejects] == [0, 1]
    assert query(tmp_path, "SELECT id FROM t") == [(2,)]


def test_a_table_with_a_reserved_name_is_refused(tmp_path: Path) -> None:
    error = harness(tmp_path).write("_caisson_checkpoints", [{"id": 1}], primary_key="id").error
    assert error is not None and error.code == "SCHEMA_VIOLATION"


def test_columns_that_differ_in_case_only_are_refused(tmp_path: Path) -> None:
    error = harness(tmp_path).write("t", [{"id": 1, "Name": "a", "name": "b"}], primary_key="id").error
    assert error is not None and error.code == "SCHEMA_VIOLATION" and "Name and name" in error.message
