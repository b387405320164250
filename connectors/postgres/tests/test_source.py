"""The source on a real PostgreSQL."""

from __future__ import annotations

from caisson.testing import Harness, kill_after_each_checkpoint
from conftest import made
from servers.postgres import Postgres

EVERY_TYPE = """
CREATE TYPE mood AS ENUM ('fine', 'bad');
CREATE DOMAIN cents AS bigint;
CREATE TABLE every (
    id bigint PRIMARY KEY, s smallint, i integer, r real, d double precision, n numeric(12,3), free numeric,
    b boolean, t text, v varchar(10), c char(4), raw bytea, day date, at timestamptz, local timestamp,
    clock time, span interval, u uuid, j jsonb, list integer[], m mood, money cents, ip inet
);
INSERT INTO every VALUES (
    1, -2, 3, 1.5, 2.25, 12345.678, 'NaN', true, 'a "b" \\ ü', 'v', 'c', '\\x00ff', '2026-02-03',
    '2026-02-03 04:05:06.000007+00', '2026-02-03 04:05:06', '04:05:06', '1 day 2 hours',
    '6f9619ff-8b86-d011-b42d-00cf4fc964ff', '{"a": [1, null]}', '{1,2,NULL}', 'fine', 42, '10.0.0.1'
);
INSERT INTO every (id) VALUES (2);
"""
ORDERS = """
CREATE TABLE orders (id bigint PRIMARY KEY, note text, updated_at timestamptz);
INSERT INTO orders SELECT n, repeat('x', 200), '2026-01-01'::timestamptz + (n / 1000) * interval '1 second'
  FROM generate_series(1, 20000) AS n;
"""


def test_tables_are_found_with_types_key_and_cursor(server: Postgres, database: str, postgres: Harness) -> None:
    server.sql(EVERY_TYPE, database)
    server.sql(ORDERS, database)
    found = {each["name"]: each for each in postgres.list().objects}
    assert set(found) == {"every", "orders"}
    assert found["orders"]["primary_key"] == ["id"]
    assert found["orders"]["cursor"] == "updated_at"
    types = {field["name"]: field["type"] for field in found["every"]["fields"]}
    assert types["at"] == "timestamp" and types["local"] == "timestamp_naive"
    assert types["n"] == "string" and types["j"] == "json" and types["list"] == "json"


def test_the_user_may_be_a_secret(server: Postgres, database: str) -> None:
    user = f"user_of_{database}"
    server.sql(f"CREATE ROLE {user} LOGIN PASSWORD '{server.password}'", database)
    server.sql(f"CREATE VIEW me AS SELECT current_user::text AS name; GRANT SELECT ON me TO {user}", database)
    run = made(server, database, user=None, secret_user=user).read("me")
    assert run.ok, run.error
    assert run.records == [{"name": user}]


def test_every_type_comes_with_all_its_digits(server: Postgres, database: str, postgres: Harness) -> None:
    server.sql(EVERY_TYPE, database)
    run = postgres.read("every")
    assert run.ok, run.error
    first, second = run.records
    assert first["n"] == "12345.678" and first["free"] == "NaN"
    assert first["raw"] == b"\x00\xff"
    assert first["at"].isoformat() == "2026-02-03T04:05:06.000007+00:00"
    assert first["u"] == "6f9619ff-8b86-d011-b42d-00cf4fc964ff"
    assert first["j"] == '{"a": [1, null]}' and first["list"] == "[1, 2, null]"
    assert first["m"] == "fine" and first["money"] == 42 and first["ip"] == "10.0.0.1/32"
    assert second["id"] == 2 and all(value is None for name, value in second.items() if name != "id")


def test_a_full_read_brings_every_row_once(server: Postgres, database: str, postgres: Harness) -> None:
    server.sql(ORDERS, database)
    run = postgres.read("orders", mode="full")
    assert run.ok, run.error
    assert [record["id"] for record in run.records] == list(range(1, 20001))
    assert len(run.checkpoints) > 2


def test_killed_after_any_checkpoint_nothing_is_lost_or_doubled(
    server: Postgres, database: str, postgres: Harness
) -> None:
    server.sql(ORDERS, database)
    for mode in ("full", "incremental"):
        records = kill_after_each_checkpoint(postgres, "orders", mode=mode)
        assert [record["id"] for record in records] == list(range(1, 20001)), mode


def test_rows_that_join_the_boundary_value_later_still_come(server: Postgres, database: str, postgres: Harness) -> None:
    server.sql(
        "CREATE TABLE t (id text PRIMARY KEY, updated_at timestamptz);"
        "INSERT INTO t VALUES ('b', '2026-01-01'), ('d', '2026-01-01'), ('n', NULL)",
        database,
    )
    first = postgres.read("t", mode="incremental")
    assert {record["id"] for record in first.records} == {"b", "d", "n"}
    server.sql("INSERT INTO t VALUES ('a', '2026-01-01'), ('c''q', '2026-01-01'), ('e', '2026-01-02')", database)
    second = postgres.read("t", mode="incremental", state=first.state)
    assert [record["id"] for record in second.records] == ["a", "c'q", "e"]
    third = postgres.read("t", mode="incremental", state=second.state)
    assert third.ok and third.records == []


def test_a_table_without_the_cursor_column_is_read_in_full_each_time(
    server: Postgres, database: str, postgres: Harness
) -> None:
    server.sql("CREATE TABLE t (id bigint PRIMARY KEY, v int); INSERT INTO t VALUES (2, 0), (5, 0)", database)
    (found,) = postgres.list().objects
    assert found["modes"] == ["full"]
    first = postgres.read("t").check()
    server.sql("INSERT INTO t VALUES (1, 0); UPDATE t SET v = 1 WHERE id = 2", database)
    second = postgres.read("t", state=first.state).check()
    assert [(record["id"], record["v"]) for record in second.records] == [(1, 0), (2, 1), (5, 0)]
    refused = postgres.read("t", mode="incremental")
    assert refused.code == "CONFIG_INVALID"


def test_an_incremental_read_goes_on_from_no_full_one(server: Postgres, database: str, postgres: Harness) -> None:
    server.sql(ORDERS, database)
    full = postgres.read("orders", mode="full").check()
    for checkpoint in (full.checkpoints[0], full.checkpoints[-1]):
        run = postgres.read("orders", mode="incremental", state=checkpoint.state).check()
        assert [record["id"] for record in run.records] == list(range(1, 20001))


def test_a_view_without_a_key_is_read_in_full(server: Postgres, database: str, postgres: Harness) -> None:
    server.sql(ORDERS + "CREATE VIEW few AS SELECT id FROM orders WHERE id < 5", database)
    run = postgres.read("few")
    assert run.ok and [record["id"] for record in run.records] == [1, 2, 3, 4]


def test_odd_names_are_quoted(server: Postgres, database: str) -> None:
    server.sql(
        'CREATE SCHEMA "od""d"; CREATE TABLE "od""d"."sel;ect" ("a b" int PRIMARY KEY, "UPDATED" date);'
        """INSERT INTO "od""d"."sel;ect" VALUES (1, '2026-01-01')""",
        database,
    )
    run = made(server, database, schema='od"d', cursor="UPDATED").read("sel;ect", mode="incremental")
    assert run.ok, run.error
    assert run.records[0]["a b"] == 1


def test_a_wrong_password_is_credentials_invalid(server: Postgres, database: str) -> None:
    error = made(server, database, password="wrong").test().error
    assert error is not None and error.code == "CREDENTIALS_INVALID"
    assert "wrong" not in error.message.replace("password", "")


def test_a_database_that_is_not_there_is_config_invalid(server: Postgres) -> None:
    error = made(server, "absent").test().error
    assert error is not None and error.code == "CONFIG_INVALID"


def test_a_name_that_does_not_resolve_is_dns_failed(server: Postgres, database: str) -> None:
    error = made(server, database, host="db.invalid").test().error
    assert error is not None and error.code == "DNS_FAILED"


def test_a_server_that_is_not_there_is_upstream_unavailable(server: Postgres, database: str) -> None:
    error = made(server, database, port=1).test().error
    assert error is not None and error.code == "UPSTREAM_UNAVAILABLE"


def test_a_table_that_may_not_be_read_is_not_listed(server: Postgres, database: str) -> None:
    server.sql(ORDERS + "CREATE ROLE reader LOGIN PASSWORD 'r'", database)
    assert made(server, database, user="reader", password="r").list().objects == []
