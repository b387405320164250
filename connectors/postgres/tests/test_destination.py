"""The destination on a real PostgreSQL."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caisson import Checkpoint, Stream
from caisson._native import ArrowSchema
from caisson.testing import Harness
from caisson_postgres.database import Database
from caisson_postgres.loading import Load
from caisson_postgres.table import Table
from conftest import made
from servers.postgres import Postgres

Record = dict[str, Any]


def test_append_adds_and_upsert_replaces(server: Postgres, database: str, postgres: Harness) -> None:
    rows: list[Record] = [{"id": 1, "a": "x"}, {"id": 2, "a": "y"}]
    for mode in ("append", "upsert"):
        for _ in range(2):
            run = postgres.write(f"{mode}ed", rows, primary_key="id", mode=mode)
            assert run.ok, run.error
    assert postgres.write("upserted", [{"id": 2, "a": "z"}], primary_key="id", mode="upsert").ok
    assert server.sql("SELECT count(*) FROM appended", database).strip() == "4"
    assert server.sql("SELECT id, a FROM upserted ORDER BY id", database).split() == ["1|x", "2|z"]


def test_of_two_records_with_one_key_in_a_batch_the_later_stays(
    server: Postgres, database: str, postgres: Harness
) -> None:
    rows: list[Record] = [{"id": 1, "a": "old"}, {"id": 2, "a": "two"}, {"id": 1, "a": "new"}]
    run = postgres.write("t", rows, primary_key="id", mode="upsert")
    assert run.ok, run.error
    assert server.sql("SELECT id, a FROM t ORDER BY id", database).split() == ["1|new", "2|two"]


def test_batches_and_their_checkpoint_are_committed_together(
    server: Postgres, database: str, postgres: Harness
) -> None:
    run = postgres.write("t", [{"id": n} for n in range(10)], primary_key="id", checkpoints=[4, 10], batch=2)
    assert run.ok, run.error
    assert len(run.committed) == 2
    assert server.sql("SELECT stream, final FROM _caisson_checkpoints", database).split() == ["t|t"]


def test_a_checkpoints_state_is_any_bytes(server: Postgres, database: str, postgres: Harness) -> None:
    state = b"\x00\xff\\'"
    load = Load(connection(server, database), "public")
    stream = Stream("t", primary_key="id")
    stream.schema = ArrowSchema.from_fields([{"name": "id", "type": "int64", "nullable": False}])
    load.prepare(stream)
    load.commit(stream, Checkpoint(state))
    load.close()
    assert server.sql("SELECT encode(state, 'hex') FROM _caisson_checkpoints", database).strip() == state.hex()


def test_a_lock_that_never_comes_ends_the_call(
    server: Postgres, database: str, postgres: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.sql("CREATE TABLE t (id bigint PRIMARY KEY)", database)
    monkeypatch.setattr("caisson_postgres.database.LOCK_TIMEOUT", "200ms")
    holder = connection(server, database)
    holder.begin()
    holder.run("ALTER TABLE t ADD COLUMN a text")
    error = postgres.write("t", [{"id": 1}], primary_key="id", mode="upsert").error
    holder.close()
    assert error is not None and error.code == "UPSTREAM_UNAVAILABLE" and "lock timeout" in error.message


def connection(server: Postgres, database: str) -> Database:
    return Database(
        host="127.0.0.1",
        port=str(server.port),
        dbname=database,
        user="postgres",
        password=server.password,
        sslmode="disable",
    )


def test_every_type_arrives(server: Postgres, database: str, postgres: Harness) -> None:
    row: Record = {
        "id": 1,
        "tiny": 7,
        "huge": 2**64 - 1,
        "price": Decimal("1234567890.123456789"),
        "day": date(2026, 2, 3),
        "at": datetime(2026, 2, 3, 4, 5, 6, 7, UTC),
        "raw": b"\x00\xff",
        "nested": {"b": [1, 2], "c": "ü"},
        "list": [1, None, 3],
        "doc": {"any": ["thing", None]},
        "ok": True,
        "text": "quote \" ' \\ tab \t 🧊",
    }
    schema = [
        {"name": "id", "type": "int64"},
        {"name": "tiny", "type": "int8"},
        {"name": "huge", "type": "uint64"},
        {"name": "price", "type": "decimal(38,9)"},
        {"name": "day", "type": "date"},
        {"name": "at", "type": "timestamp"},
        {"name": "raw", "type": "binary"},
        {
            "name": "nested",
            "type": {"struct": [{"name": "b", "type": {"list": "int64"}}, {"name": "c", "type": "string"}]},
        },
        {"name": "list", "type": {"list": "int64"}},
        {"name": "doc", "type": "json"},
        {"name": "ok", "type": "bool"},
        {"name": "text", "type": "string"},
    ]
    run = postgres.write("t", [row, {"id": 2}], schema=schema, primary_key="id", mode="upsert")
    assert run.ok, run.error
    assert run.rejects == []
    stored = server.sql(
        "SELECT tiny, huge, price, day, at AT TIME ZONE 'UTC', encode(raw, 'hex'), nested, list, doc->'any'->0, ok"
        " FROM t WHERE id = 1",
        database,
    )
    assert stored.strip() == (
        "7|18446744073709551615|1234567890.123456789|2026-02-03|2026-02-03 04:05:06.000007|00ff"
        '|{"b": [1, 2], "c": "ü"}|[1, null, 3]|"thing"|t'
    )
    assert server.sql("SELECT text FROM t WHERE id = 1", database).rstrip("\n") == row["text"]


def test_new_columns_are_added_and_old_ones_stay(server: Postgres, database: str, postgres: Harness) -> None:
    assert postgres.write("t", [{"id": 1, "a": "x"}], primary_key="id", mode="upsert").ok
    run = postgres.write("t", [{"id": 2, "b": 1.5}], primary_key="id", mode="upsert")
    assert run.ok, run.error
    assert server.sql("SELECT id, a, b FROM t ORDER BY id", database).split() == ["1|x|", "2||1.5"]


def test_records_that_the_server_refuses_are_rejected_and_the_others_stay(
    server: Postgres, database: str, postgres: Harness
) -> None:
    server.sql("CREATE TABLE t (id bigint PRIMARY KEY, n bigint CHECK (n <> 700), j jsonb)", database)
    rows: list[Record] = [{"id": n, "n": n, "j": "{}" if n != 3 else "{not json"} for n in range(1000)]
    schema = [
        {"name": "id", "type": "int64"},
        {"name": "n", "type": "int64"},
        {"name": "j", "type": "string"},
    ]
    run = postgres.write("t", rows, schema=schema, primary_key="id", mode="upsert")
    assert run.ok, run.error
    assert sorted(reject["record"] for reject in run.rejects) == [3, 700]
    assert server.sql("SELECT count(*) FROM t", database).strip() == "998"


def test_an_existing_table_keeps_its_types(server: Postgres, database: str, postgres: Harness) -> None:
    server.sql("CREATE TABLE t (id integer PRIMARY KEY, price numeric(8,2), at timestamptz)", database)
    rows: list[Record] = [{"id": 1, "price": "12.50", "at": "2026-02-03T04:05:06Z"}]
    run = postgres.write("t", rows, primary_key="id", mode="upsert")
    assert run.ok, run.error
    stored = server.sql("SELECT price, extract(epoch from at)::bigint FROM t", database)
    assert stored.strip() == "12.50|1770091506"


def test_a_schema_that_is_not_there_is_config_invalid(server: Postgres, database: str) -> None:
    error = made(server, database, schema="absent").write("t", [{"id": 1}], primary_key="id").error
    assert error is not None and error.code == "CONFIG_INVALID"


def test_a_role_that_may_not_write_is_permission_missing(server: Postgres, database: str) -> None:
    server.sql("CREATE ROLE looker LOGIN PASSWORD 'l'; REVOKE ALL ON SCHEMA public FROM PUBLIC;"
               "GRANT USAGE ON SCHEMA public TO looker", database)  # fmt: skip
    harness = made(server, database, user="looker", password="l")
    error = harness.write("t", [{"id": 1}], primary_key="id").error
    assert error is not None and error.code == "PERMISSION_MISSING"


def test_a_name_that_postgres_would_cut_is_refused(postgres: Harness) -> None:
    error = postgres.write("t", [{"id": 1, "x" * 64: 1}], primary_key="id").error
    assert error is not None and error.code == "SCHEMA_VIOLATION"


def test_a_schema_change_between_batches_stays_in_their_transaction(
    server: Postgres, database: str, postgres: Harness
) -> None:
    rows: list[Record] = [{"id": n, "text": "x" * 1000} for n in range(5000)]
    run = postgres.write("t", rows, primary_key="id", mode="upsert", checkpoints=[2500, 5000], batch=500)
    assert run.ok, run.error
    assert server.sql("SELECT count(*) FROM t", database).strip() == "5000"


MIXED = [
    {"name": "id", "type": "int64"},
    {"name": "n", "type": "int32"},
    {"name": "text", "type": "string"},
    {"name": "doc", "type": "json"},
    {"name": "nested", "type": {"list": "float64"}},
]
records = st.fixed_dictionaries(
    {
        "id": st.none() | st.integers(0, 9),
        "n": st.none() | st.integers(0, 9),
        "text": st.none() | st.sampled_from(["a", "\0", "ü"]),
        "doc": st.none() | st.sampled_from([{"a": 1}, "\0", [None]]),
        "nested": st.none() | st.lists(st.none() | st.sampled_from([1.5, float("nan")]), max_size=2),
    }
)


@given(
    rows=st.lists(records, min_size=1, max_size=20),
    mode=st.sampled_from(["append", "upsert"]),
    batch=st.integers(1, 20),
    constraint=st.sampled_from(["CHECK (n <> 7)", "UNIQUE (n)", "UNIQUE (id)"]),
)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_copying_straight_does_what_the_staging_table_does(
    server: Postgres, database: str, rows: list[Record], mode: str, batch: int, constraint: str
) -> None:
    found = []
    for straight in (True, False):
        server.sql(
            "DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint PRIMARY KEY, n integer, text text, doc jsonb,"
            f" nested jsonb, {constraint})",
            database,
        )
        with pytest.MonkeyPatch.context() as patch:
            if not straight:
                patch.setattr(Table, "straight", lambda *_: False)
            run = made(server, database).write("t", rows, schema=MIXED, primary_key="id", mode=mode, batch=batch)
        assert run.ok, run.error
        rejects = [(each["sequence"], each["record"], each["reason"]) for each in run.rejects]
        found.append((server.sql("SELECT * FROM t ORDER BY id", database), rejects))
    assert found[0] == found[1]


def test_an_upsert_of_keys_that_are_there_replaces_them(server: Postgres, database: str, postgres: Harness) -> None:
    for text in ("old", "new"):
        rows: list[Record] = [{"id": n, "text": text} for n in range(50 if text == "old" else 100)]
        assert postgres.write("t", rows, primary_key="id", mode="upsert", batch=20).ok
    assert server.sql("SELECT text, count(*) FROM t GROUP BY 1", database).split() == ["new|100"]


@pytest.mark.parametrize(
    ("declared", "found"),
    [
        ("CREATE RULE twice AS ON INSERT TO t DO ALSO INSERT INTO log VALUES (new.id)", "1|1"),
        ("ALTER TABLE t ENABLE ROW LEVEL SECURITY", "1|0"),
        ("DROP TABLE t; CREATE TABLE u (id bigint, text text); CREATE VIEW t AS SELECT * FROM u", "1|0"),
    ],
)
def test_a_table_that_copy_treats_unlike_insert_gets_an_insert(
    server: Postgres, database: str, postgres: Harness, declared: str, found: str
) -> None:
    server.sql(f"CREATE TABLE log (id bigint); CREATE TABLE t (id bigint, text text); {declared}", database)
    run = postgres.write("t", [{"id": 1, "text": "x"}])
    assert run.ok, run.error
    counts = "SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM log)"
    assert server.sql(counts, database).strip() == found


def test_a_column_that_is_always_generated_is_not_written(server: Postgres, database: str, postgres: Harness) -> None:
    server.sql("CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY, text text)", database)
    run = postgres.write("t", [{"id": 1, "text": "x"}])
    assert not run.ok
    assert server.sql("SELECT count(*) FROM t", database).strip() == "0"


def test_a_key_that_is_checked_at_commit_only_takes_no_upserts(
    server: Postgres, database: str, postgres: Harness
) -> None:
    server.sql("CREATE TABLE t (id bigint PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, text text)", database)
    error = postgres.write("t", [{"id": 1, "text": "x"}], primary_key="id", mode="upsert").error
    assert error is not None and "deferrable" in error.message
    assert server.sql("SELECT count(*) FROM t", database).strip() == "0"


def test_whole_numbers_nulls_and_spans_arrive_whatever_the_columns_are(
    server: Postgres, database: str, postgres: Harness
) -> None:
    schema = [
        {"name": "id", "type": "int64"},
        {"name": "a", "type": "int8"},
        {"name": "b", "type": "uint8"},
        {"name": "c", "type": "uint16"},
        {"name": "d", "type": "uint32"},
        {"name": "e", "type": "uint64"},
        {"name": "f", "type": "duration"},
        {"name": "g", "type": "null"},
        {"name": "h", "type": {"list": "int64"}},
    ]
    row = {"id": 1, "a": -128, "b": 255, "c": 65535, "d": 2**32 - 1, "e": 2**64 - 1, "f": timedelta(days=1), "h": [1]}
    server.sql("CREATE TABLE cast_ (id text, a text, b text, c text, d text, e text, f text, g text, h text)", database)
    for table in ("made", "cast_"):
        run = postgres.write(table, [row, {"id": 2}], schema=schema)
        assert run.ok and run.rejects == [], run.error
        stored = server.sql(f"SELECT a, b, c, d, e, f, g, h FROM {table} ORDER BY id", database)
        assert stored.split("\n") == ["-128|255|65535|4294967295|18446744073709551615|24:00:00||[1]", "|||||||", ""]
