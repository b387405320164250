"""What every worker does under `strict`: the CDK's own calls, and the first-party connectors at work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Daemon, Stage
from harness.daemon import inline
from harness.read import read, records
from servers.datasette import TOKEN, Datasette
from servers.generate import generate
from servers.httpserver import Api
from servers.postgres import Postgres

PROFILE = "strict"
FIRST_PARTY = ("datasette", "sqlite", "postgres")


def test_a_source_reads_in_both_encodings(daemon: Daemon, stage: Stage) -> None:
    rows = inline(stage.connectors / "rows", config={"count": 30_000, "size": 200})
    assert len(records(read(daemon, rows, "rows", "ascending").drain())) == 60_000
    arrow = read(daemon, rows, "undeclared", accept=["ENCODING_ARROW_IPC"]).drain()
    assert arrow.summary and sum(batch["records"] for batch in arrow.all("batch")) == 30_000


def test_a_source_is_tested_listed_and_cancelled(daemon: Daemon, stage: Stage) -> None:
    rows = inline(stage.connectors / "rows", config={"count": 20})
    assert daemon.client.stream("Test", connection=rows).drain().summary
    assert daemon.client.stream("List", connection=rows).drain().all("object")
    endless = read(daemon, rows, "counted", mode="streaming")
    endless.until("checkpoint")
    assert daemon.client.call("Cancel", call_id=endless.call_id)["cancelled"]
    endless.drain()
    failing = inline(stage.connectors / "rows", config={"behave": "exception"})
    assert "it went wrong" in read(daemon, failing, "rows").drain().failure["traceback"]


def test_a_destination_takes_batches(daemon: Daemon, stage: Stage) -> None:
    def messages() -> Iterator[dict[str, Any]]:
        connection = inline(stage.connectors / "sink", config={"reject": 7})
        yield {"start": {"connection": connection, "encoding": "ENCODING_JSON_LINES"}}
        yield {"schema": {"stream": "t", "schema_id": "s", "primary_key": ["id"], "mode": "WRITE_MODE_UPSERT"}}
        data = b"".join(json.dumps({"id": n}).encode() + b"\n" for n in range(1, 31))
        yield {"batch": {"stream": "t", "schema_id": "s", "sequence": 1, "data": data, "records": 30}}
        yield {"checkpoint": {"stream": "t", "id": "c1", "state": b"{}", "final": True}}

    stream = daemon.client.write(messages()).drain()
    assert stream.summary and len(stream.all("rejected")) == 4


def test_a_source_pages_waits_and_retries_over_http(daemon: Daemon, stage: Stage) -> None:
    with Api() as api:
        api.records[:] = [{"id": n, "updated_at": f"2026-01-01T00:00:{n:02}Z"} for n in range(1, 40)]
        rule = {"host": "localhost", "networks": ["127.0.0.0/8"], "ports": [api.port], "protocol": "tcp"}
        daemon.policy("web", egress=[rule])
        api.fail("/asc", 429, headers={"Retry-After": "1"})
        api.fail("/asc", 503)
        web = inline(stage.connectors / "web", config={"port": api.port})
        assert len(records(read(daemon, web, "asc").drain())) == 39


@pytest.fixture(scope="module")
def published(running: Daemon, stage: Stage) -> Daemon:
    """The daemon, with the first-party connectors in its registry."""
    for name in FIRST_PARTY:
        done = running.cli("publish", stage.connectors / name, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    return running


def saved(daemon: Daemon, name: str, connector: str, **config: Any) -> Path:
    """A connection file."""
    path = daemon.folder / f"{name}.yaml"
    path.write_text(json.dumps({"connector": f"{connector}@0.1.0", "config": config}))
    return path


@pytest.mark.usefixtures("published")
def test_first_party_connectors_move_tables(daemon: Daemon, tmp_path: Path) -> None:
    generate(tmp_path / "shop.db", orders=1_000, customers=100)
    reveal = {"from": ["file:*"], "reveal": True}
    for name, value in (("api", TOKEN), ("pg", Postgres.password)):
        (daemon.folder / f"secrets/{name}").write_text(value)
    daemon.identity.own(daemon.folder / "secrets")
    lake = {"dir": str(daemon.lake), "within": [str(daemon.lake)], "access": "write"}
    daemon.policy("sqlite", files=[lake])
    with Datasette(tmp_path / "shop.db", page=200) as api, Postgres() as postgres:
        loopback = {"networks": ["127.0.0.0/8"], "protocol": "tcp"}
        daemon.policy(
            "datasette", egress=[{"host": "localhost", "ports": [api.port], **loopback}], secrets={"token": reveal}
        )
        daemon.policy("postgres", egress=[{"ports": [postgres.port], **loopback}], secrets={"password": reveal})
        shop = saved(daemon, "shop", "datasette", host="localhost", port=api.port, scheme="http", database="shop",
                     token={"$secret": "file:api"})  # fmt: skip
        base = saved(daemon, "base", "postgres", host="127.0.0.1", port=postgres.port, sslmode="disable",
                     database=postgres.create(), user="postgres", password={"$secret": "file:pg"})  # fmt: skip
        files = saved(daemon, "files", "sqlite", dir=str(daemon.lake), file="lake.sqlite")
        again = saved(daemon, "again", "sqlite", dir=str(daemon.lake), file="again.sqlite")
        for source, destination in ((shop, base), (base, files), (files, again)):
            stats = daemon.folder / "stats.json"
            done = daemon.cli("sync", source, destination, "--stats", stats, timeout=240)
            assert done.returncode == 0, done.stderr
            assert json.loads(stats.read_text())["records_written"] == 1_100
