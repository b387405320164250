"""Connectors of PyPI that nobody here wrote, unmodified: they put a placeholder where they would put the key."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import CallFailed, Daemon, Identity, Stage, Stream
from harness.daemon import inline
from harness.read import last_checkpoint, read, records
from harness.stage import ROOT
from harness.watch import workers
from harness.wheels import published
from servers.secure import Signer
from servers.services import Internet, Service, checkly, greenhouse

KEYS = {"checkly": "cu-canary-5b1f09d2e77c", "greenhouse": "canary-8c40e6a9f3b1-7"}
PAGE = ROOT / "docs/guides/taps.md"


@dataclass(frozen=True)
class Case:
    """A connector.

    Attributes:
        name: Its own.
        secret: The property of its configuration that is the key.
        stream: What is read.
        config: The rest of its configuration.
        elsewhere: A place where it does not put the key.
    """

    name: str
    secret: str
    stream: str
    config: dict[str, Any]
    elsewhere: str


TAP = Case(
    "checkly", "token", "check_alerts", {"account_id": "a1", "start_date": "2026-01-01T00:00:00Z"},
    "header:X-Api-Key",
)  # fmt: skip
SOURCE = Case("greenhouse", "api_key", "candidates", {}, "query:api_key")
BOTH = pytest.mark.parametrize("case", [TAP, SOURCE], ids=["a Singer tap", "an Airbyte source"])


@pytest.fixture(scope="module")
def internet(stage: Stage) -> Iterator[tuple[Internet, Signer]]:
    """The services' machine, and who signed for it. Its services are replaced for each test."""
    signer = Signer(stage.folder("private"))
    signer.issue("server", "DNS:api.checklyhq.com,DNS:harvest.greenhouse.io")
    with Internet(signer.context("server")) as running:
        yield running, signer


@pytest.fixture(scope="module")
def home(stage: Stage, internet: tuple[Internet, Signer]) -> Iterator[Daemon]:
    """A daemon with the keys, to which both connectors are published. Who runs it makes no difference here."""
    running, signer = internet
    names = ("api.checklyhq.com", "harvest.greenhouse.io")
    daemon = Daemon(
        stage,
        Identity.available()[0],
        egress={"ca": "upstream.pem", "hosts": {name: [running.address] for name in names}},
        dependencies="dependencies.toml",
        pool="0MiB",  # each that waited would import all of it for nobody
    )
    shutil.copy(signer.folder / "ca.pem", daemon.folder / "upstream.pem")
    locks = "".join((stage.connectors / name / "requirements.lock").read_text() for name in KEYS)
    packages = sorted(set(re.findall(r"^([a-z0-9-]+)==", locks, re.MULTILINE)))
    (daemon.folder / "dependencies.toml").write_text("".join(f'{name} = ">=0"\n' for name in packages))
    for name, key in KEYS.items():
        daemon.environment[f"CAISSON_SECRET_{name.upper()}"] = key
    daemon.start()
    for name in KEYS:
        published(daemon, stage, name, "taps")
    yield daemon
    daemon.remove()


@pytest.fixture
def services(internet: tuple[Internet, Signer]) -> Iterator[dict[str, Service]]:
    """The services, as nobody has asked them yet."""
    found = {"checkly": checkly(KEYS["checkly"]), "greenhouse": greenhouse(KEYS["greenhouse"])}
    internet[0].serve(*found.values())
    yield found
    for service in found.values():
        service.proceed.set()


def page(**head: str) -> dict[str, Any]:
    """The guide's YAML that says this, as it stands there."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (found,) = [block for block in map(yaml.safe_load, blocks) if head.items() <= block.items()]
    return dict(found)


def allow(home: Daemon, case: Case, **use: Any) -> None:
    """The guide's policy, for a service on this machine; `use` is what the key may be used for instead."""
    policy = page(connector=case.name)
    policy["egress"] = [{**rule, "networks": ["127.0.0.0/8"]} for rule in policy["egress"]]
    if use:
        policy["secrets"][case.secret] = {"from": policy["secrets"][case.secret]["from"], **use}
    home.policy(policy.pop("connector"), **policy)


def connection(case: Case) -> dict[str, Any]:
    """A connection with a reference to the key."""
    version = {"checkly": "0.5.7", "greenhouse": "0.6.1"}[case.name]
    config = {**case.config, case.secret: {"$secret": f"env:CAISSON_SECRET_{case.name.upper()}"}}
    return inline(connector=f"{case.name}@{version}", config=config)


def in_memory(pid: int, value: str) -> bool:
    """Whether a process holds it anywhere in its memory, environment or arguments."""
    wanted = value.encode()
    if any(wanted in Path(f"/proc/{pid}/{file}").read_bytes() for file in ("environ", "cmdline")):
        return True
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights, *_, name = [*line.split(maxsplit=5), ""][:6]
            if "r" not in rights or name in ("[vvar]", "[vsyscall]"):
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            memory.seek(start)
            with suppress(OSError):  # pages of the kernel's, which nobody reads this way
                if wanted in (memory.read(end - start) or b""):
                    return True
    return False


def held(home: Daemon, case: Case, service: Service, **fields: Any) -> tuple[Stream, str, list[bool]]:
    """A read, what its worker was given as the key, and whether it held the true one before its last page came."""
    service.rest()
    stream = read(home, connection(case), "given", case.stream, **fields)
    stream.until("started")
    assert service.last.wait(60), stream.drain().failure
    found = [in_memory(pid, KEYS[case.name]) for pid in workers(home, stream)]
    service.proceed.set()
    assert stream.drain().summary, stream.failure
    return stream, records(stream)[0]["key"], found


@BOTH
def test_it_reads_with_a_key_that_its_worker_never_has_unless_the_policy_reveals_it(
    home: Daemon, services: dict[str, Service], case: Case
) -> None:
    service = services[case.name]
    allow(home, case)
    stream, key, found = held(home, case, service)
    assert re.fullmatch("sealed[0-9a-f]{32}", key)
    assert found == [False]
    assert [record["id"] for record in records(stream)[1:]] == [record["id"] for record in service.records]
    # Each request had the key at its place: the service counts those that did not.
    assert len(service.asked) == 3 and service.refused == 0
    for text in (str(stream.seen), home.log, (home.folder / "data/audit.jsonl").read_text()):
        assert KEYS[case.name] not in text
    # The same search finds one that is revealed, and the next read goes on from the checkpoint.
    allow(home, case, reveal=True)
    more = {"from_": "FROM_CHECKPOINT", "checkpoints": [last_checkpoint(stream)]}
    stream, key, found = held(home, case, service, **more)
    assert key == KEYS[case.name]
    assert found == [True]
    assert [record["id"] for record in records(stream)[1:]] == [service.records[-1]["id"]], service.asked


@BOTH
def test_a_seal_for_another_place_is_told_with_where_the_placeholder_stood(
    home: Daemon, services: dict[str, Service], case: Case
) -> None:
    service = services[case.name]
    allow(home, case, seal={"hosts": [service.host], "place": case.elsewhere})
    stream = read(home, connection(case), case.stream).drain()
    assert {refused["reason"] for refused in stream.all("refused")} == {"secret_misplaced"}, stream.seen
    assert stream.all("refused")[0]["host"] == service.host
    assert records(stream) == [] and service.asked == [] and service.refused == 0
    # The source takes a 403 for a table that it may not see: without the call's end it would be whole, and empty.
    assert stream.failure["code"] == "ERROR_CODE_EGRESS_DENIED", stream.failure
    assert "field authorization" in stream.failure["message"], stream.failure


@BOTH
def test_without_the_policys_word_nothing_starts(home: Daemon, services: dict[str, Service], case: Case) -> None:
    allow(home, case)
    policy = home.folder / "policies" / f"{case.name}.yaml"
    policy.write_text(json.dumps({**json.loads(policy.read_text()), "secrets": {}}))
    home.client.call("ReloadPolicies")
    with pytest.raises(CallFailed) as failed:
        read(home, connection(case), case.stream).drain()
    assert failed.value.code == "SECRET_UNAVAILABLE"
    assert services[case.name].asked == [] and services[case.name].refused == 0


@pytest.mark.parametrize("name", list(KEYS))
def test_the_guides_connectors_are_these(name: str) -> None:
    folder = ROOT / "tests/e2e/connectors" / name
    assert yaml.safe_load((folder / "connector.yaml").read_text()) == page(name=name)
    command = re.search(r"^    command = .*$", (folder / f"src/caisson_{name}/__init__.py").read_text(), re.MULTILINE)
    assert command and command[0] in PAGE.read_text()
