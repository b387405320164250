"""Whom workers trust: the host's roots, and the gateway's authority wherever a client may look for roots."""

from __future__ import annotations

import hashlib
import shutil
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Daemon, Stage
from harness.daemon import inline
from harness.read import read, records
from harness.watch import one_waits
from servers.secure import Secure, Signer
from test_zygote import forked

Trusted = dict[str, set[str]]


@pytest.fixture(scope="module")
def signer(stage: Stage) -> Signer:
    """Who signed for the servers of this file. Workers trust it as one of the host's roots."""
    return Signer(stage.folder("signer"))


@pytest.fixture(scope="module")
def connector(stage: Stage, signer: Signer) -> Path:
    """The connector, with roots of its own and a client's certificate among its files."""
    folder = stage.connectors / "trust"
    own = folder / "src/caisson_trust"
    (own / "roots.pem").write_text("".join(signer.authority(f"own {number}") for number in range(4)))
    client = signer.issue("client", "DNS:client.example")
    (own / "client.pem").write_text(client + signer.authority("above the client"))
    return folder


@pytest.fixture
def secure(signer: Signer) -> Iterator[Secure]:
    """A server with TLS."""
    with Secure(signer) as server:
        yield server


def started(trusting: Callable[..., Daemon], how: str) -> Daemon:
    """A daemon whose workers are executed, or forked from a zygote that is up: one without cgroups forks none."""
    daemon = trusting(zygote_forks=1000 if how == "forked" else 0, pool="0MiB")
    if how == "forked" and not daemon.identity.ordinary:
        forked(daemon)
    return daemon


@pytest.fixture
def trusting(own: Callable[..., Daemon], signer: Signer) -> Callable[..., Daemon]:
    """Starts daemons whose host trusts `signer` alone."""

    def start(**configuration: Any) -> Daemon:
        daemon = own(**configuration)
        shutil.copy(signer.folder / "ca.pem", daemon.folder / "host.pem")
        daemon.environment["SSL_CERT_FILE"] = str(daemon.folder / "host.pem")
        return daemon.start()

    return start


def fingerprints(pem: str) -> list[str]:
    """The SHA-256 of each certificate, in order."""
    begin = "-----BEGIN CERTIFICATE-----"
    blocks = [begin + part.split("-----END")[0] + "-----END CERTIFICATE-----\n" for part in pem.split(begin)[1:]]
    return [hashlib.sha256(ssl.PEM_cert_to_DER_cert(block)).hexdigest() for block in blocks]


def authority(daemon: Daemon) -> str:
    """The gateway's, as the last of what workers are given."""
    return fingerprints((daemon.folder / "data/roots/system.pem").read_text())[-1]


def stores(daemon: Daemon, connection: dict[str, Any]) -> Trusted:
    """What a worker's stores trust."""
    stream = read(daemon, connection, "stores", mode="full").drain()
    assert stream.summary, stream.failure
    return {record["where"]: set(record["trusted"]) for record in records(stream)}


def answers(daemon: Daemon, connection: dict[str, Any]) -> dict[str, str]:
    """What a worker's clients were answered."""
    stream = read(daemon, connection, "asks", mode="full").drain()
    assert stream.summary, stream.failure
    return {record["client"]: record["answer"] for record in records(stream)}


def rule(port: int, protocol: str) -> dict[str, Any]:
    """A port of this machine, by a protocol."""
    return {"host": "localhost", "networks": ["127.0.0.0/8"], "ports": [port], "protocol": protocol}


def url(server: Secure) -> str:
    """Where it is."""
    return f"https://localhost:{server.port}"


@pytest.mark.parametrize("how", ["executed", "forked"])
def test_every_variable_and_path_names_the_hosts_roots_and_the_gateways_authority(
    trusting: Callable[..., Daemon], connector: Path, signer: Signer, how: str
) -> None:
    daemon = started(trusting, how)
    (host,) = fingerprints((signer.folder / "ca.pem").read_text())
    found = stores(daemon, inline(connector))
    own = {where for where in found if where.endswith(".pem") and "/" not in where}
    assert own == {"client.pem", "roots.pem"}
    everywhere = found.keys() - own
    assert len(everywhere) == 12
    assert {where: found[where] for where in everywhere if found[where] != {host, authority(daemon)}} == {}
    # Nothing is inspected, so what the connector brought is what it sees.
    brought = (connector / "src/caisson_trust/roots.pem").read_text()
    assert found["roots.pem"] == set(fingerprints(brought))


def test_every_daemon_has_an_authority_of_its_own_and_its_key_is_in_no_file(
    trusting: Callable[..., Daemon],
) -> None:
    daemon = trusting()
    first = authority(daemon)
    for path in (daemon.folder / "data").rglob("*"):
        if path.is_file():
            assert b"PRIVATE KEY" not in path.read_bytes(), path
    assert (daemon.folder / "data/roots/system.pem").stat().st_mode & 0o777 == 0o644
    daemon.stop()
    daemon.start()
    assert authority(daemon) != first


def test_pythons_clients_and_the_cdks_trust_what_the_host_trusts(
    trusting: Callable[..., Daemon], connector: Path, secure: Secure
) -> None:
    daemon = trusting()
    daemon.policy("trust", egress=[rule(secure.port, "tls")])
    found = answers(daemon, inline(connector, config={"url": url(secure)}))
    assert "CERTIFICATE_VERIFY_FAILED" in found.pop("its_own")
    assert found == {"python": "hello", "strictly": "hello", "native": "hello"}


# What follows is about inspected hosts.


@pytest.mark.parametrize("how", ["executed", "forked"])
def test_where_a_host_is_inspected_roots_of_the_connectors_own_gain_the_authority_and_nothing_else_does(
    trusting: Callable[..., Daemon], connector: Path, secure: Secure, how: str
) -> None:
    daemon = started(trusting, how)
    daemon.policy("trust", egress=[rule(secure.port, "https")])
    own = connector / "src/caisson_trust"
    found = stores(daemon, inline(connector))
    assert found["roots.pem"] == {*fingerprints((own / "roots.pem").read_text()), authority(daemon)}
    # Of the client's certificate and the one above it, the context counts the authority alone.
    assert found["client.pem"] == {fingerprints((own / "client.pem").read_text())[1]}


def test_an_inspected_host_is_trusted_by_every_client_of_a_worker_even_strictly(
    trusting: Callable[..., Daemon], connector: Path, secure: Secure
) -> None:
    daemon = trusting()
    daemon.policy("trust", egress=[rule(secure.port, "https")])
    found = answers(daemon, inline(connector, config={"url": url(secure)}))
    assert found == dict.fromkeys(("python", "strictly", "its_own", "native"), "hello")


def test_a_worker_that_waited_trusts_what_one_made_for_its_call_trusts(
    trusting: Callable[..., Daemon], connector: Path, secure: Secure
) -> None:
    daemon = trusting()
    published = daemon.cli("publish", connector)
    assert published.returncode == 0, published.stderr
    daemon.policy("trust", egress=[rule(secure.port, "https")])
    connection = inline(connector="trust@1.0.0", config={"url": url(secure)})
    made = stores(daemon, connection)
    one_waits(daemon)
    assert stores(daemon, connection) == made
    assert authority(daemon) in made["roots.pem"]
    one_waits(daemon)
    assert set(answers(daemon, connection).values()) == {"hello"}


def test_a_policy_that_inspects_no_more_ends_workers_that_wait_with_the_authority(
    trusting: Callable[..., Daemon], connector: Path, secure: Secure
) -> None:
    daemon = trusting()
    published = daemon.cli("publish", connector)
    assert published.returncode == 0, published.stderr
    connection = inline(connector="trust@1.0.0")
    for protocol, inspected in (("https", True), ("tls", False), ("https", True)):
        daemon.policy("trust", egress=[rule(secure.port, protocol)])
        stores(daemon, connection)
        one_waits(daemon)
        assert (authority(daemon) in stores(daemon, connection)["roots.pem"]) is inspected
