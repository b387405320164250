"""The first-party connectors against each other, as users run them."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Daemon, Identity, Stage
from servers.datasette import TOKEN, Datasette
from servers.generate import advance, generate
from servers.postgres import Postgres
from servers.secure import Signer

ALLOWED = """\
adbc-driver-manager = ">=1.8,<2"
adbc-driver-postgresql = ">=1.8,<2"
nanoarrow = ">=0.7,<1"
typing-extensions = ">=4,<5"
"""
REF = {"$secret": "env:CAISSON_SECRET_API"}


@pytest.fixture(scope="module")
def signer(stage: Stage) -> Signer:
    """Who signed for the database and for its clients, and is no root of the host's."""
    made = Signer(stage.folder("signer"))
    for name in ("certified", "doubly"):
        made.issue(name, f"DNS:{name}")
    return made


@pytest.fixture(scope="module")
def postgres(signer: Signer) -> Iterator[Postgres]:
    with Postgres(signer) as running:
        yield running


@pytest.fixture(scope="module")
def home(stage: Stage, identity: Identity, signer: Signer) -> Iterator[Daemon]:
    """A daemon to which all three connectors are published."""
    daemon = Daemon(stage, identity, dependencies="dependencies.toml", egress={"ca": "upstream.pem"})
    shutil.copy(signer.folder / "ca.pem", daemon.folder / "upstream.pem")
    for name in ("certified", "doubly"):
        daemon.environment[f"CAISSON_SECRET_{name.upper()}"] = (signer.folder / f"{name}.key").read_text()
    daemon.environment["CAISSON_SECRET_API"] = TOKEN
    daemon.environment["CAISSON_SECRET_PG"] = Postgres.password
    (daemon.folder / "dependencies.toml").write_text(ALLOWED)
    daemon.start()
    for name in ("datasette", "sqlite", "postgres"):
        done = daemon.cli("publish", stage.connectors / name, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    yield daemon
    daemon.remove()


@pytest.fixture
def shop(home: Daemon, tmp_path: Path) -> Iterator[Datasette]:
    """A smaller shop than the demo's, and a policy for it."""
    database = tmp_path / "shop.db"
    generate(database, orders=4_000, customers=300)
    with Datasette(database, page=500) as api:
        home.policy(
            "datasette",
            egress=[
                {
                    "host": "${config.host}", "within": ["localhost"], "networks": ["127.0.0.0/8"],
                    "ports": ["${config.port}"], "within_ports": [api.port], "protocol": "tcp",
                }
            ],
            secrets={"token": {"from": ["env:CAISSON_SECRET_API"], "reveal": True}},
        )  # fmt: skip
        yield api


def connection(home: Daemon, name: str, **content: Any) -> Path:
    """A connection file."""
    path = home.folder / f"{name}.yaml"
    path.write_text(json.dumps(content))
    return path


def source_of(home: Daemon, shop: Datasette) -> Path:
    config = {"host": "localhost", "port": shop.port, "scheme": "http", "database": "shop", "token": REF}
    return connection(home, "shop", connector="datasette@0.1.0", config=config)


def lake_of(home: Daemon, name: str) -> Path:
    within = [str(home.lake)]
    home.policy("sqlite", files=[{"dir": "${config.dir}", "within": within, "access": "write"}])
    config = {"dir": str(home.lake), "file": f"{name}.sqlite"}
    return connection(home, name, connector="sqlite@0.1.0", config=config)


def warehouse_of(home: Daemon, postgres: Postgres, database: str) -> Path:
    rule = {"networks": ["127.0.0.0/8"], "ports": [postgres.port], "protocol": "tcp"}
    home.policy("postgres", egress=[rule], secrets={"password": {"from": ["env:CAISSON_SECRET_PG"], "reveal": True}})
    config = {
        "host": "127.0.0.1", "port": postgres.port, "sslmode": "disable", "database": database,
        "user": "postgres", "password": {"$secret": "env:CAISSON_SECRET_PG"},
    }  # fmt: skip
    return connection(home, database, connector="postgres@0.1.0", config=config)


def sync(home: Daemon, source: Path, destination: Path, *more: str) -> dict[str, Any]:
    """One sync; its figures."""
    stats = home.folder / "stats.json"
    done = home.cli("sync", source, destination, "--stats", stats, *more, timeout=240)
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads(stats.read_text())
    return figures


def table(path: Path, name: str) -> dict[Any, Any]:
    base = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    base.row_factory = sqlite3.Row
    found = {row["id"]: dict(row) for row in base.execute(f"SELECT * FROM {name}")}
    base.close()
    return found


def test_datasette_to_sqlite_moves_everything_and_then_only_what_is_new(home: Daemon, shop: Datasette) -> None:
    source, lake = source_of(home, shop), lake_of(home, "lake")
    first = sync(home, source, lake)
    assert first["records_read"] == first["records_written"] == 4_300
    for name in ("orders", "customers"):
        assert table(home.lake / "lake.sqlite", name) == {row["id"]: row for row in shop.rows("shop", name)}
    changed = advance(Path(shop._log.name).parent / "shop.db", changed=30, added=20)
    second = sync(home, source, lake)
    assert second["records_read"] == changed == 50
    assert table(home.lake / "lake.sqlite", "orders") == {row["id"]: row for row in shop.rows("shop", "orders")}


def test_datasette_to_postgres_and_on_to_sqlite_keeps_every_value(
    home: Daemon, shop: Datasette, postgres: Postgres
) -> None:
    warehouse = warehouse_of(home, postgres, postgres.create())
    assert sync(home, source_of(home, shop), warehouse)["records_written"] == 4_300
    assert sync(home, warehouse, lake_of(home, "copy"))["records_written"] == 4_300
    for name in ("orders", "customers"):
        assert table(home.lake / "copy.sqlite", name) == {row["id"]: row for row in shop.rows("shop", name)}


def test_postgres_incremental_moves_only_what_is_new(home: Daemon, postgres: Postgres) -> None:
    database = postgres.create()
    postgres.sql(
        "CREATE TABLE t (id bigint PRIMARY KEY, updated_at timestamptz NOT NULL DEFAULT now());"
        "INSERT INTO t SELECT n FROM generate_series(1, 3000) AS n",
        database,
    )
    source, lake = warehouse_of(home, postgres, database), lake_of(home, "t")
    assert sync(home, source, lake)["records_read"] == 3000
    postgres.sql("INSERT INTO t SELECT n FROM generate_series(3001, 3010) AS n", database)
    assert sync(home, source, lake)["records_read"] == 10
    assert len(table(home.lake / "t.sqlite", "t")) == 3010


def certified(home: Daemon, postgres: Postgres, signer: Signer, of: str, **config: Any) -> Path:
    """A connection with the client certificate of a user, in plain text up to the gateway."""
    reference = f"env:CAISSON_SECRET_{of.upper()}"
    seal = {
        "hosts": ["localhost"],
        "ports": [postgres.port],
        "place": "client_key",
        "certificate": "client_certificate",
    }
    rule = {"host": "localhost", "networks": ["127.0.0.0/8"], "ports": [postgres.port], "protocol": "postgres"}
    granted = {
        "client_key": {"from": [reference], "seal": seal},
        "password": {"from": ["env:CAISSON_SECRET_PG"], "reveal": True},
    }
    home.policy("postgres", egress=[rule], secrets=granted)
    config = {
        "host": "localhost", "port": postgres.port, "sslmode": "disable", "database": "postgres", "user": of,
        "client_key": {"$secret": reference}, "client_certificate": (signer.folder / f"{of}.pem").read_text(),
        **config,
    }  # fmt: skip
    given = {name: value for name, value in config.items() if value is not None}
    return connection(home, of, connector="postgres@0.1.0", config=given)


PASSWORD = {"password": {"$secret": "env:CAISSON_SECRET_PG"}}


@pytest.mark.parametrize(("user", "more"), [("certified", {}), ("doubly", PASSWORD)])
def test_a_database_that_demands_a_client_certificate_is_read_by_a_worker_that_has_none(
    home: Daemon, postgres: Postgres, signer: Signer, user: str, more: dict[str, Any]
) -> None:
    database = postgres.create()
    postgres.sql(f"CREATE TABLE t AS SELECT n AS id FROM generate_series(1, 500) AS n; GRANT SELECT ON t TO {user}",
                 database)  # fmt: skip
    source = certified(home, postgres, signer, user, database=database, **more)
    assert sync(home, source, lake_of(home, f"of_{user}"))["records_read"] == 500
    secret = (signer.folder / f"{user}.key").read_text().splitlines()[1]
    seen = [
        path
        for path in (home.folder / "data").rglob("*")
        if path.is_file() and secret in path.read_text(errors="ignore")
    ]
    assert not seen and secret not in home.log


@pytest.mark.parametrize(
    ("config", "code", "says"),
    [
        ({"sslmode": "require"}, "EGRESS_DENIED", "sslmode=disable"),
        ({"client_key": None}, "TLS_FAILED", "valid client certificate"),
        ({"user": "doubly", **PASSWORD}, "CREDENTIALS_INVALID", "doubly"),
    ],
    ids=["the worker wants TLS up to the server", "no key", "the certificate of another user"],
)
def test_what_the_database_or_the_gateway_does_not_take_is_told(
    home: Daemon, postgres: Postgres, signer: Signer, config: dict[str, Any], code: str, says: str
) -> None:
    done = home.cli("test", certified(home, postgres, signer, "certified", **config))
    told = done.stdout + done.stderr
    assert done.returncode != 0 and code in told and says in told, told


def test_a_connection_is_tested_and_listed_from_the_command_line(home: Daemon, shop: Datasette) -> None:
    source = source_of(home, shop)
    done = home.cli("test", source)
    assert done.returncode == 0, done.stderr
    done = home.cli("list", source, "--format", "jsonl")
    assert {json.loads(line)["name"] for line in done.stdout.splitlines()} == {"orders", "customers"}


@pytest.mark.parametrize("form", ["jsonl", "arrow"])
def test_a_read_into_a_file_goes_on_from_its_state_file(
    home: Daemon, shop: Datasette, form: str, tmp_path: Path
) -> None:
    source = source_of(home, shop)
    output, state = home.lake / f"orders.{form}", home.lake / f"{form}.state"
    words: list[str | Path] = ["read", source, "--stream", "orders", "--output", output, "--state", state]
    done = home.cli(*words)
    assert done.returncode == 0, done.stderr
    assert count(output, form) == 4_000
    done = home.cli(*words[:-3], home.lake / f"rest.{form}", *words[-2:])
    assert done.returncode == 0, done.stderr


def count(path: Path, form: str) -> int:
    """Records in a file."""
    if form == "jsonl":
        return len(path.read_text().splitlines())
    import pyarrow as pa

    return int(pa.ipc.open_stream(path.read_bytes()).read_all().num_rows)


def test_write_takes_what_read_gave(home: Daemon, shop: Datasette) -> None:
    output = home.lake / "customers.jsonl"
    done = home.cli("read", source_of(home, shop), "--stream", "customers", "--output", output)
    assert done.returncode == 0, done.stderr
    lake = lake_of(home, "written")
    done = home.cli("write", lake, "--input", output, "--stream", "customers", "--primary-key", "id")
    assert done.returncode == 0, done.stderr
    assert len(table(home.lake / "written.sqlite", "customers")) == 300
