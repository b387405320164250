"""Client certificates: the gateway shows them, the worker has no key. PostgreSQL's are in test_connectors.py."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import CallFailed, Daemon, Identity, Stage
from harness.daemon import inline
from harness.read import read, records
from harness.watch import workers
from servers.httpserver import Api, tied
from servers.secure import Signer


@pytest.fixture(scope="module")
def signer(stage: Stage) -> Signer:
    """Who signed for the server and for its clients, and is no root of the host's."""
    made = Signer(stage.folder("client-certificates"))
    made.issue("server", "DNS:localhost")
    for name in ("client", "foreign"):
        made.issue(name, f"DNS:{name}")
    return made


def key(signer: Signer, name: str) -> str:
    return (signer.folder / f"{name}.key").read_text()


@pytest.fixture(scope="module")
def showing(stage: Stage, identity: Identity, signer: Signer) -> Iterator[Daemon]:
    """A daemon that has keys: the client's, another one's, one under a passphrase, and what is none."""
    running = Daemon(stage, identity, egress={"ca": "upstream.pem"})
    encrypt = ["openssl", "pkcs8", "-topk8", "-passout", "pass:sesame", "-in", "client.key"]
    encrypted = subprocess.run(encrypt, cwd=signer.folder, check=True, capture_output=True, text=True).stdout
    keys = {
        "CLIENT": key(signer, "client"),
        "FOREIGN": key(signer, "foreign"),
        "ENCRYPTED": encrypted,
        "NONE": "no key at all",
    }
    running.environment.update({f"CAISSON_SECRET_{name}": value for name, value in keys.items()})
    shutil.copy(signer.folder / "ca.pem", running.folder / "upstream.pem")
    running.start()
    yield running
    running.remove()


@pytest.fixture
def api(signer: Signer) -> Iterator[Api]:
    """The HTTP server, which speaks with nobody who shows no certificate."""
    with Api(tls=signer.demanding("server")) as server:
        server.records = tied(25)
        yield server


def policy(port: int, **seal: Any) -> dict[str, Any]:
    """A policy that seals the key for the server, or as it is told to."""
    rule = {"host": "localhost", "networks": ["127.0.0.0/8"], "ports": [port], "protocol": "https"}
    placed = {"hosts": ["localhost"], "ports": [port], "place": "client_key", "certificate": "client_certificate"}
    return {"egress": [rule], "secrets": {"client_key": {"from": ["env:CAISSON_SECRET_*"], "seal": {**placed, **seal}}}}


@pytest.fixture
def web(stage: Stage, api: Api, signer: Signer) -> Callable[..., dict[str, Any]]:
    def connection(**config: Any) -> dict[str, Any]:
        own = {
            "port": api.port,
            "scheme": "https",
            "auth": "tls",
            "client_key": {"$secret": "env:CAISSON_SECRET_CLIENT"},
            "client_certificate": (signer.folder / "client.pem").read_text(),
        }
        given = {name: value for name, value in {**own, **config}.items() if value is not None}
        return inline(stage.connectors / "web", config=given)

    return connection


@pytest.mark.parametrize("stream", ["asc", "plain"])
def test_a_server_that_demands_a_certificate_is_read_by_the_cdks_client_and_by_one_that_knows_nothing(
    showing: Daemon, api: Api, web: Callable[..., dict[str, Any]], stream: str
) -> None:
    showing.policy("web", **policy(api.port))
    seen = read(showing, web(), stream).drain()
    assert seen.summary, seen.failure
    assert len(records(seen)) == 25
    assert "sealed" not in str([request.headers for request in api.requests])


def test_the_key_is_nowhere_in_the_worker(
    showing: Daemon, api: Api, signer: Signer, web: Callable[..., dict[str, Any]]
) -> None:
    showing.policy("web", **policy(api.port))
    stream = read(showing, web(), "events", mode="streaming")
    stream.until("batch")
    (pid,) = workers(showing, stream)
    try:
        held = memory(pid) + b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("environ", "cmdline"))
    except PermissionError:
        assert os.geteuid() != 0  # undumpable: not even its own user may look
        held = b""
    stream.cancel()
    lines = [line.encode() for line in key(signer, "client").splitlines() if not line.startswith("-")]
    certificate = (signer.folder / "client.pem").read_text().splitlines()[1].encode()
    assert certificate in held or os.geteuid() != 0, "the control: what the config says is there"
    assert not [line for line in lines if line in held]
    told = str(stream.seen) + showing.log + (showing.folder / "data/audit.jsonl").read_text()
    assert not [line for line in lines if line.decode() in told]


def memory(pid: int) -> bytes:
    """All that a process has in readable memory."""
    found = []
    with Path(f"/proc/{pid}/mem").open("rb", 0) as content:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights = line.split()[:2]
            start, end = (int(part, 16) for part in span.split("-"))
            if rights.startswith("rw"):
                content.seek(start)
                found.append(content.read(end - start))
    return b"".join(found)


def test_a_seal_for_another_port_leaves_the_server_without_and_the_failure_says_what_to_write(
    showing: Daemon, api: Api, web: Callable[..., dict[str, Any]]
) -> None:
    other = policy(api.port, ports=[443])
    other["egress"][0]["ports"].append(443)
    showing.policy("web", **other)
    seen = read(showing, web(), "plain").drain()
    assert seen.failure["code"] == "ERROR_CODE_TLS_FAILED", seen.failure
    assert "place: client_key" in seen.failure["action"], seen.failure
    assert seen.failure["refusals"][0]["reason"] == "client_certificate_wanted"
    assert api.requests == []


@pytest.mark.parametrize(
    ("config", "code", "says"),
    [
        ({"client_key": "NONE"}, "SECRET_UNAVAILABLE", "no private key in PEM"),
        ({"client_key": "ENCRYPTED"}, "SECRET_UNAVAILABLE", "is encrypted"),
        ({"client_key": "FOREIGN"}, "SECRET_UNAVAILABLE", "not that of the first certificate"),
        ({"client_certificate": None}, "CONFIG_INVALID", "does not set it"),
        ({"client_certificate": "none"}, "CONFIG_INVALID", "no certificate in PEM"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)
def test_what_is_no_certificate_with_its_key_ends_the_call_before_a_worker_is_made(
    showing: Daemon,
    api: Api,
    signer: Signer,
    web: Callable[..., dict[str, Any]],
    config: dict[str, Any],
    code: str,
    says: str,
) -> None:
    showing.policy("web", **policy(api.port))
    if "client_key" in config:
        config = {"client_key": {"$secret": f"env:CAISSON_SECRET_{config['client_key']}"}}
    with pytest.raises(CallFailed) as refused:
        read(showing, web(**config), "asc").drain()
    told = str(refused.value) + str(refused.value.details)
    assert refused.value.code == code and says in told, told
    for name in ("client", "foreign"):
        assert key(signer, name).splitlines()[1] not in told
