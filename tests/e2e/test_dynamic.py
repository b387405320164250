"""Database users that a vault makes for one call: there while it runs, gone after it, however it ends."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness import Daemon, Identity, Stage, Stream
from harness.daemon import inline
from harness.read import delivered, last_checkpoint, read, sync
from harness.watch import eventually, workers
from servers.postgres import Postgres
from servers.vault import Vault
from test_connectors import ALLOWED

POLICY = """
path "database/creds/*"           { capabilities = ["read"] }
path "auth/token/create"          { capabilities = ["update"] }
path "auth/token/revoke-accessor" { capabilities = ["update"] }
"""
ROWS = 60_000
SHORT = 4
"""Seconds that a user of the role `short` lives; the vault tells whole ones that are left, so one less."""


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A database with a table that no call reads at one go: its caller has to take the records."""
    with Postgres() as running:
        content = f"SELECT n AS id, repeat('x', 400) AS text FROM generate_series(1, {ROWS}) AS n"
        running.sql(f"CREATE TABLE t AS {content}; ALTER TABLE t ADD PRIMARY KEY (id)", "postgres")
        yield running


@pytest.fixture(scope="module")
def vault(stage: Stage, postgres: Postgres) -> Iterator[Vault]:
    server = serving(stage, postgres)
    yield server
    server.stop()


def serving(stage: Stage, postgres: Postgres) -> Vault:
    """A vault that makes users of the database, for an hour and for a short time."""
    server = Vault(stage.folder("dynamic-vault"))
    login = f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{postgres.port}/postgres?sslmode=disable"
    made = (
        "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';"
        ' GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{{name}}"'
    )
    server.ask("POST", "sys/mounts/database", {"type": "database"})
    server.ask(
        "POST",
        "database/config/shop",
        {
            "plugin_name": "postgresql-database-plugin",
            "allowed_roles": "*",
            "connection_url": login,
            "username": "postgres",
            "password": postgres.password,
        },
    )
    for name, life in [("reader", "1h"), ("short", f"{SHORT}s")]:
        role = {"db_name": "shop", "creation_statements": [made], "default_ttl": life, "max_ttl": life}
        server.ask("POST", f"database/roles/{name}", role)
    return server


def using(daemon: Daemon, vault: Vault) -> Daemon:
    """A daemon, started, that has its secrets from a vault."""
    daemon.configuration["secrets"] = {"vault": {"address": vault.address, "auth": {"token": {"file": "vault-token"}}}}
    (daemon.folder / "vault-token").write_text(vault.token(POLICY))
    return daemon.start()


@pytest.fixture(scope="module")
def home(stage: Stage, identity: Identity, vault: Vault, postgres: Postgres) -> Iterator[Daemon]:
    """A daemon with the connector, under a policy that grants it what the vault makes."""
    running = Daemon(stage, identity, dependencies="dependencies.toml")
    (running.folder / "dependencies.toml").write_text(ALLOWED)
    using(running, vault)
    done = running.cli("publish", stage.connectors / "postgres", timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    rule = {"networks": ["127.0.0.0/8"], "ports": [postgres.port], "protocol": "tcp"}
    granted = {
        "secret_user": {"from": ["vault:database/creds/reader#username"], "reveal": True},
        "password": {"from": ["vault:database/creds/reader#password"], "reveal": True},
    }
    running.policy("postgres", egress=[rule], secrets=granted)
    yield running
    running.remove()


def users(postgres: Postgres) -> list[str]:
    """The users that the vault made and that are there."""
    return postgres.sql("SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%'", "postgres").split()


def nobody_is_left(postgres: Postgres) -> None:
    """The vault takes users away soon after it was told to."""
    eventually(lambda: users(postgres) == [], "the users of calls that ended to be gone")


def connected(postgres: Postgres) -> list[str]:
    """Whom connectors are connected as."""
    return postgres.sql("SELECT usename FROM pg_stat_activity WHERE application_name = 'caisson'", "postgres").split()


def reading(home: Daemon, postgres: Postgres, **fields: Any) -> Stream:
    """A read of the table, at its first batch, where it stays until its caller takes more."""
    config = {
        "host": "127.0.0.1",
        "port": postgres.port,
        "sslmode": "disable",
        "database": "postgres",
        "secret_user": {"$secret": "vault:database/creds/reader#username"},
        "password": {"$secret": "vault:database/creds/reader#password"},
    }
    stream = read(home, inline(connector="postgres@0.1.0", config=config), "t", **fields)
    stream.until("batch")
    return stream


@pytest.mark.parametrize("end", ["finished", "cancelled", "crashed", "timed out", "died with its daemon"])
def test_a_user_is_there_for_the_call_and_gone_after_it_however_that_ends(
    home: Daemon, postgres: Postgres, vault: Vault, end: str
) -> None:
    stream = reading(home, postgres, options={"deadline_ms": 5_000} if end == "timed out" else {})
    (user,) = users(postgres)
    assert connected(postgres) == [user]
    if end == "finished":
        assert stream.drain().summary["stats"]["records"] == ROWS
    elif end == "cancelled":
        home.client.call("Cancel", call_id=stream.call_id)
        assert stream.drain().failure["code"] == "ERROR_CODE_CANCELLED"
    elif end == "crashed":
        (pid,) = workers(home, stream)
        os.kill(pid, signal.SIGKILL)
        assert stream.drain().failure["code"] == "ERROR_CODE_WORKER_LOST"
    elif end == "died with its daemon":
        home.kill()
        assert users(postgres) == [user]
        home.start()
    nobody_is_left(postgres)
    eventually(lambda: connected(postgres) == [], "nobody to be connected as it")
    assert vault.of_calls() == []
    if end == "timed out":
        assert stream.drain().failure["code"] == "ERROR_CODE_TIMEOUT"


@pytest.fixture
def endless(rows: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """A source that goes on for as long as it may, with a password that does not."""
    return rows(token={"$secret": "vault:database/creds/short#password"})


GRANT = {"token": {"from": ["vault:database/creds/short#password"], "reveal": True}}


def ended(stream: Stream, cause: str = "") -> None:
    """The call ended because of its secrets, and says that it can be started again."""
    failure = stream.failure
    assert failure["code"] == "ERROR_CODE_SECRET_UNAVAILABLE", failure
    assert failure["message"].startswith("the secrets from vault have ended") and cause in failure["message"], failure
    assert failure["action"].startswith("start the call again") and failure["retryable"], failure


def test_a_lease_that_ends_in_the_middle_of_a_read_ends_it_and_the_next_call_goes_on(
    home: Daemon, postgres: Postgres, endless: dict[str, Any]
) -> None:
    home.policy("rows", secrets=GRANT)
    began = time.monotonic()
    first = read(home, endless, "counted", mode="streaming").drain()
    assert time.monotonic() - began >= SHORT - 1
    ended(first)
    kept, checkpoint = delivered(first), last_checkpoint(first)
    assert kept
    again = read(home, endless, "counted", mode="streaming", from_="FROM_CHECKPOINT", checkpoints=[checkpoint])
    again.until("checkpoint")
    home.client.call("Cancel", call_id=again.call_id)
    assert delivered(again.drain())[0]["id"] == kept[-1]["id"] + 1
    nobody_is_left(postgres)


def test_a_lease_that_ends_in_the_middle_of_a_sync_ends_it(
    home: Daemon, stage: Stage, postgres: Postgres, endless: dict[str, Any]
) -> None:
    home.policy("rows", secrets=GRANT)
    stream = sync(home, endless, inline(stage.connectors / "sink"), mode="streaming", state_key="dynamic").drain()
    ended(stream)
    assert stream.all("committed")
    nobody_is_left(postgres)


@pytest.mark.parametrize("fate", ["gone", "sealed"])
def test_a_call_whose_vault_fails_meanwhile_goes_on_until_its_lease_ends(
    own: Callable[..., Daemon], stage: Stage, postgres: Postgres, endless: dict[str, Any], fate: str
) -> None:
    server = serving(stage, postgres)
    try:
        daemon = using(own(), server)
        daemon.policy("rows", secrets=GRANT)
        began = time.monotonic()
        stream = read(daemon, endless, "counted", mode="streaming")
        stream.until("batch")
        if fate == "gone":
            server.stop()
        else:
            server.ask("POST", "sys/seal")
        before = len(stream.all("checkpoint"))
        stream.drain()
        assert time.monotonic() - began >= SHORT - 1
        ended(stream, "cannot be reached" if fate == "gone" else "sealed")
        assert len(stream.all("checkpoint")) > before
    finally:
        server.stop()
        # Nobody ends them now.
        for user in users(postgres):
            postgres.sql(f'DROP OWNED BY "{user}"; DROP ROLE "{user}"', "postgres")
