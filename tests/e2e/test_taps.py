"""Connectors of PyPI that nobody here wrote, unmodified: they put a placeholder where they would put the key."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import Daemon, Identity, Stage
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
    "checkly", "token", "check_alerts", {"account_id": "a1", "start_date": "2026-01-02T00:00:00Z"},
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
            if wanted in (memory.read(end - start) or b""):
                return True
    return False


def held(home: Daemon, case: Case, service: Service, **fields: Any) -> tuple[Any, list[bool]]:
    """A read, and whether its workers held the key when they asked for the second page."""
    stream = read(home, connection(case), case.stream, mode="incremental", **fields)
    stream.until("started")
    assert service.second.wait(60), stream.drain().failure
    found = [in_memory(pid, KEYS[case.name]) for pid in workers(home, stream)]
    service.proceed.set()
    return stream.drain(), found


@BOTH
def test_it_reads_with_a_key_that_its_worker_never_has(home: Daemon, services: dict[str, Service], case: Case) -> None:
    service = services[case.name]
    allow(home, case)
    stream, found = held(home, case, service)
    assert stream.summary, stream.failure
    wanted = [record["id"] for record in service.records]
    assert [record["id"] for record in records(stream)] == wanted
    assert len(service.asked) == 3 and service.refused == 0
    assert found == [False]
    (given,) = records(read(home, connection(case), "given").drain())
    assert re.fullmatch("sealed[0-9a-f]{32}", given["key"])
    for text in (str(stream.seen), home.log, (home.folder / "data/audit.jsonl").read_text()):
        assert KEYS[case.name] not in text


@BOTH
def test_a_revealed_key_is_found_in_the_same_way_and_a_checkpoint_is_where_the_next_read_begins(
    home: Daemon, services: dict[str, Service], case: Case
) -> None:
    service = services[case.name]
    allow(home, case, reveal=True)
    stream, found = held(home, case, service)
    assert found == [True]
    (given,) = records(read(home, connection(case), "given").drain())
    assert given["key"] == KEYS[case.name]
    checkpoint = last_checkpoint(stream)
    service.asked.clear()
    again = read(
        home, connection(case), case.stream, mode="incremental", from_="FROM_CHECKPOINT", checkpoints=[checkpoint]
    ).drain()
    assert [record["id"] for record in records(again)] == [service.records[-1]["id"]], service.asked


@BOTH
def test_a_seal_for_another_place_ends_the_call_and_says_where_the_placeholder_stood(
    home: Daemon, services: dict[str, Service], case: Case
) -> None:
    service = services[case.name]
    allow(home, case, seal={"hosts": [service.host], "place": case.elsewhere})
    stream = read(home, connection(case), case.stream).drain()
    assert stream.failure["code"] == "ERROR_CODE_EGRESS_DENIED", stream.failure
    assert {refusal["reason"] for refusal in stream.failure["refusals"]} == {"secret_misplaced"}
    assert "field authorization" in stream.failure["message"], stream.failure
    assert service.asked == [] and service.refused == 0


@BOTH
def test_without_the_policys_word_nothing_starts(home: Daemon, services: dict[str, Service], case: Case) -> None:
    allow(home, case)
    policy = home.folder / "policies" / f"{case.name}.yaml"
    policy.write_text(json.dumps({**json.loads(policy.read_text()), "secrets": {}}))
    home.client.call("ReloadPolicies")
    stream = read(home, connection(case), case.stream).drain()
    assert stream.failure["code"] == "ERROR_CODE_SECRET_UNAVAILABLE", stream.failure
    assert services[case.name].asked == [] and services[case.name].refused == 0


@pytest.mark.parametrize("name", list(KEYS))
def test_the_guides_connectors_are_these(stage: Stage, name: str) -> None:
    folder = ROOT / "tests/e2e/connectors" / name
    assert yaml.safe_load((folder / "connector.yaml").read_text()) == page(name=name)
    command = re.search(r"^    command = .*$", (folder / f"src/caisson_{name}/__init__.py").read_text(), re.MULTILINE)
    assert command and command[0] in PAGE.read_text()
