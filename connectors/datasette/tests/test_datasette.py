"""The source against recorded traffic of a real Datasette."""

from __future__ import annotations

from collections.abc import Callable

from caisson.testing import Harness, kill_after_each_checkpoint
from conftest import rows

Made = Callable[..., Harness]


def test_the_test_names_who_we_are_and_counts_tables(datasette: Made) -> None:
    run = datasette().test()
    assert run.ok, run.error
    assert {"authentication", "permissions"} <= {step["name"] for step in run.steps}


def test_a_wrong_token_is_credentials_invalid_although_the_server_does_not_say_so(datasette: Made) -> None:
    error = datasette(token="somebody-else").test().error
    assert error is not None
    assert error.code in ("CREDENTIALS_INVALID", "PERMISSION_MISSING")


def test_tables_are_found_with_types_key_and_cursor(datasette: Made) -> None:
    run = datasette(database="shop").list()
    assert run.ok, run.error
    orders = next(found for found in run.objects if found["name"] == "orders")
    assert orders["primary_key"] == ["id"]
    assert orders["cursor"] == "updated_at"
    assert {field["name"]: field["type"] for field in orders["fields"]} == {
        "id": "int64",
        "customer": "string",
        "total": "float64",
        "paid": "int64",
        "receipt": "binary",
        "updated_at": "string",
    }
    odd = next(found for found in run.objects if found["name"] == "odd names/2")
    assert odd["primary_key"] == []
    assert [field["name"] for field in odd["fields"]] == ["rowid", "some column", "value"]


def test_without_a_database_streams_are_named_with_theirs(datasette: Made) -> None:
    assert {found["name"] for found in datasette().list().objects} == {"shop.orders", "shop.odd names/2"}


def test_every_page_of_a_table_comes_once(datasette: Made) -> None:
    run = datasette(database="shop").read("orders")
    assert run.ok, run.error
    assert [tuple(record.values()) for record in run.records] == rows()


def test_a_table_without_key_and_with_an_odd_name_is_read(datasette: Made) -> None:
    run = datasette(database="shop").read("odd names/2")
    assert run.ok, run.error
    assert [record["rowid"] for record in run.records] == [1, 2]
    assert [record["value"] for record in run.records] == ["1", '"two"']


def test_an_incremental_read_brings_only_what_is_newer(datasette: Made) -> None:
    harness = datasette(database="shop")
    first = harness.read("orders", mode="incremental")
    assert first.ok, first.error
    second = harness.read("orders", mode="incremental", state=first.state)
    assert second.ok, second.error
    assert second.records == []


def test_start_is_the_first_value_of_the_cursor(datasette: Made) -> None:
    run = datasette(database="shop", start="2026-02-01T00:03:00Z").read("orders", mode="incremental")
    assert run.ok, run.error
    assert [record["id"] for record in run.records] == [12]


def test_killed_after_any_checkpoint_nothing_is_lost_or_doubled(datasette: Made) -> None:
    records = kill_after_each_checkpoint(datasette(database="shop"), "orders", mode="incremental", every=3)
    assert [record["id"] for record in records] == [row[0] for row in rows()]


def test_401(datasette: Made) -> None:
    harness = datasette()
    harness.fails_with(401)
    assert harness.test().error.code == "CREDENTIALS_INVALID"


def test_429(datasette: Made) -> None:
    harness = datasette(database="shop")
    harness.fails_with(429, retry_after=2, times=1)
    run = harness.read("orders")
    assert run.ok and len(run.records) == 12 and run.throttled_seconds >= 2


def test_500(datasette: Made) -> None:
    harness = datasette(database="shop")
    harness.fails_with(500)
    assert harness.read("orders").error.code == "UPSTREAM_UNAVAILABLE"
