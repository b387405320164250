"""Clients of HTTPS that were told of no roots, each as it comes: what the host trusts, and hosts that are inspected."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from stackservers.balance import Balance
from stackservers.rpc import Rpc
from works import work

from conftest import HERE
from harness import Daemon, Identity, Stage
from harness.read import read, records
from harness.wheels import published
from servers.secure import Secure, Signer

LIMITS = {"memory": "1GiB", "tmp": "256MiB", "cpu": 2, "pids": 128}
# They look at a variable or at the system's bundle.
SYSTEM = ("native", "requests", "httpx", "urllib3", "aiohttp", "botocore", "google_auth", "grpcio", "node", "curl")
# They read a file of their own and nothing else.
OWN = ("session_send", "httpx_without_environment", "urllib3_with_certifi", "stripe", "httplib2")
# They are programs, which one profile alone starts; all others run under every profile.
PROGRAMS = {"node", "curl"}
PROFILES = ("strict", "native", "exec")


def profiles(*clients: str) -> list[tuple[str, str]]:
    """Clients, each with every profile that it runs under."""
    return [(client, profile) for client in clients for profile in (PROFILES[-1:] if client in PROGRAMS else PROFILES)]


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    """Who signed for the servers of this file. The daemon's host trusts it."""
    return Signer(tmp_path_factory.mktemp("signer"))


@pytest.fixture(scope="module")
def secure(signer: Signer) -> Iterator[Secure]:
    """A server of HTTP/1.1."""
    with Secure(signer, Balance) as server:
        yield server


@pytest.fixture(scope="module")
def rpc(signer: Signer, secure: Secure) -> Iterator[Rpc]:
    """One of gRPC, under the same certificate."""
    read = signer.folder.joinpath
    server = Rpc(read("server.key").read_bytes(), read("server.pem").read_bytes() + read("ca.pem").read_bytes())
    yield server
    server.close()


@pytest.fixture(scope="module")
def clients(stage: Stage, identity: Identity, signer: Signer) -> Iterator[Daemon]:
    """A daemon whose host trusts `signer` alone, with the clients published."""
    daemon = Daemon(stage, identity, dependencies="dependencies.toml")
    shutil.copy(HERE / "dependencies.toml", daemon.folder)
    shutil.copy(signer.folder / "ca.pem", daemon.folder / "host.pem")
    daemon.environment["SSL_CERT_FILE"] = str(daemon.folder / "host.pem")
    # A program of the host is none of a worker; one in the bundle, with libraries that the interpreter's lie among, is.
    curl = shutil.which("curl")
    assert curl, "curl is not installed"
    shutil.copy(Path(curl).resolve(), stage.connectors / "clients/src/caisson_clients/curl")
    daemon.start()
    yield published(daemon, stage, "clients", "stacks")
    daemon.remove()


def answer(daemon: Daemon, client: str, profile: str, port: int, protocol: str) -> str:
    """What a client was answered under a profile."""
    rule = {"host": "localhost", "networks": ["127.0.0.0/8"], "ports": [port], "protocol": protocol}
    daemon.policy("clients", profile=profile, limits=LIMITS, egress=[rule])
    config = json.dumps({"client": client, "port": port})
    found = work(daemon, {"inline": {"connection": {"connector": "clients@1.0.0", "config_json": config}}})
    return str(found["answer"])


def expected(client: str) -> str:
    """What it should be."""
    return "HELLO" if client == "grpcio" else "hello"


@pytest.mark.parametrize(("client", "profile"), profiles(*SYSTEM))
def test_a_client_trusts_what_the_host_trusts(
    clients: Daemon, secure: Secure, rpc: Rpc, client: str, profile: str
) -> None:
    port = rpc.tls if client == "grpcio" else secure.port
    assert answer(clients, client, profile, port, "tls") == expected(client)


@pytest.mark.parametrize(("client", "profile"), profiles(*OWN))
def test_a_client_with_roots_of_its_own_is_not_overruled_where_nothing_is_inspected(
    clients: Daemon, secure: Secure, client: str, profile: str
) -> None:
    said = answer(clients, client, profile, secure.port, "tls").lower()
    assert "certificate_verify_failed" in said or "certificate verify failed" in said, said


@pytest.mark.parametrize(("client", "profile"), profiles(*SYSTEM, *OWN))
def test_an_inspected_host_is_trusted_by_a_client(
    clients: Daemon, secure: Secure, rpc: Rpc, client: str, profile: str
) -> None:
    port = rpc.tls if client == "grpcio" else secure.port
    assert answer(clients, client, profile, port, "https") == expected(client)


def test_every_file_that_a_library_takes_for_its_roots_ends_with_the_authority(clients: Daemon, secure: Secure) -> None:
    rule = {"host": "localhost", "networks": ["127.0.0.0/8"], "ports": [secure.port], "protocol": "https"}
    clients.policy("clients", profile="native", limits=LIMITS, egress=[rule])
    config = json.dumps({"client": "none"})
    connection = {"inline": {"connection": {"connector": "clients@1.0.0", "config_json": config}}}
    stream = read(clients, connection, "bundles", mode="full").drain()
    assert stream.summary, stream.failure
    found = {Path(record["file"]).name: record for record in records(stream)}
    assert {"cacert.pem", "cacerts.txt", "ca-certificates.crt", "roots.pem"} <= found.keys()
    system = (clients.folder / "data/roots/system.pem").read_text()
    last = system[system.rindex("-----BEGIN CERTIFICATE-----") :]
    assert {record["last"] for record in found.values()} == {last}
    assert all(record["count"] > 10 for record in found.values())
