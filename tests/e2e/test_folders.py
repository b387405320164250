"""Connectors from folders: which policy is for them, and whose folders the daemon reads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from conftest import loopback
from harness import CallFailed, Client, Daemon, Stage
from harness.daemon import inline
from harness.read import read, records
from servers.httpserver import Api, tied

# Nobody's account; daemons name it under `listen.users`.
OTHER = 64_999
REFERENCE = {"$secret": "env:CAISSON_SECRET_TOKEN"}
KEYS = {"plain": "publish", "boss": "operator"}
GRANT = {"token": {"from": ["env:CAISSON_SECRET_TOKEN"], "reveal": True}}


def general(daemon: Daemon, connector: str, **body: Any) -> Path:
    """A policy that names no workspace."""
    path = daemon.folder / "policies" / f"{connector}.yaml"
    path.write_text(json.dumps({"format": 1, "connector": connector, **body}))
    daemon.client.call("ReloadPolicies")
    return path


def refusal(call: Callable[[], Any]) -> CallFailed:
    with pytest.raises(CallFailed) as refused:
        call()
    return refused.value


def test_a_policy_that_names_no_workspace_is_for_published_versions_and_not_for_a_folder_of_that_name(
    daemon: Daemon, stage: Stage
) -> None:
    daemon.cli("publish", stage.connectors / "rows")
    folder = inline(stage.connectors / "rows", config={"count": 3, "token": REFERENCE})
    published = inline(connector="rows@1.0.0", config={"count": 3, "token": REFERENCE})
    general(daemon, "rows", secrets=GRANT)
    assert len(records(read(daemon, published, "rows").drain())) == 3
    refused = refusal(lambda: read(daemon, folder, "rows").drain())
    assert refused.code == "EGRESS_DENIED" and refused.status == "PERMISSION_DENIED", refused
    assert "rows.yaml" in refused.message and "`workspace: default`" in refused.message, refused
    # What the message says to write is enough.
    daemon.policy("rows", secrets=GRANT, workspace="default")
    assert len(records(read(daemon, folder, "rows").drain())) == 3
    assert len(records(read(daemon, published, "rows").drain())) == 3
    daemon.policy("rows", secrets=GRANT, workspace="elsewhere")
    assert refusal(lambda: read(daemon, folder, "rows").drain()).code == "SECRET_UNAVAILABLE"


def test_a_policy_that_is_narrowed_away_closes_what_a_folders_call_had_open(
    daemon: Daemon, stage: Stage, api: Api
) -> None:
    api.records = tied(5)
    daemon.policy("web", egress=[loopback(api.port)])
    stream = read(daemon, inline(stage.connectors / "web", config={"port": api.port}), "events", mode="streaming")
    stream.until("batch")
    general(daemon, "web", egress=[loopback(api.port)])
    stream.drain()
    assert stream.failure["code"] in ("ERROR_CODE_EGRESS_DENIED", "ERROR_CODE_UPSTREAM_UNAVAILABLE"), stream.failure


def test_explain_says_of_a_folder_what_a_call_would(daemon: Daemon, stage: Stage, api: Api) -> None:
    folder = inline(stage.connectors / "web", config={"port": api.port})
    asked = {"connection": folder, "host": "localhost", "port": api.port}
    general(daemon, "web", egress=[loopback(api.port)])
    refused = refusal(lambda: daemon.client.call("ExplainEgress", **asked))
    called = refusal(lambda: read(daemon, folder, "asc").drain())
    assert (refused.code, refused.message) == (called.code, called.message)
    words = ("policy", "explain", "--to", f"localhost:{api.port}", "--path", stage.connectors / "web")
    config = daemon.folder / "web-config.json"
    config.write_text(json.dumps({"port": api.port}))
    done = daemon.cli(*words, "--config", config)
    assert done.returncode != 0 and "workspace: default" in done.stderr, done
    daemon.policy("web", egress=[loopback(api.port)])
    assert daemon.client.call("ExplainEgress", **asked)["allowed"]
    assert daemon.cli(*words, "--config", config).returncode == 0


def test_a_daemon_of_one_command_takes_the_policies_that_the_command_names(
    daemon: Daemon, stage: Stage, api: Api, tmp_path: Path
) -> None:
    api.records = tied(3)
    policies = stage.folder("policies")
    body = {"format": 1, "connector": "web", "egress": [loopback(api.port)]}
    (policies / "web.yaml").write_text(json.dumps(body))
    config = policies / "config.json"
    config.write_text(json.dumps({"port": api.port}))
    data = stage.folder("embedded")
    daemon.identity.own(data)
    done = daemon.command(
        "read", "--path", stage.connectors / "web", "--config", config, "--stream", "asc", "--format", "jsonl",
        "--policies", policies, "--data-dir", data, "--shim", stage.shim, "--python", stage.python,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3


@contextmanager
def connected_as(uid: int, daemon: Daemon) -> Iterator[Client]:
    """A client whose connection is another user's: the kernel tells the daemon who connected."""
    if os.geteuid() != 0:
        pytest.fail("nobody but root can call as another user; run the suite as root for this promise")
    client = Client(f"unix:{daemon.socket}")
    os.seteuid(uid)
    try:
        client.methods()
    finally:
        os.seteuid(0)
    yield client
    client.close()


@pytest.fixture
def shared_with_other(lone: Callable[..., Daemon]) -> Daemon:
    """A root daemon that another user may call."""
    daemon = lone(listen={"users": [OTHER]})
    daemon.folder.joinpath("data").chmod(0o755)
    return daemon.start()


def folder_of(stage: Stage, uid: int, name: str) -> Path:
    """A copy of the `rows` connector that belongs to a user."""
    path = stage.folder(name) / "rows"
    shutil.copytree(stage.connectors / "rows", path)
    subprocess.run(["chown", "-R", f"{uid}:{uid}", str(path.parent)], check=True)
    return path


def test_a_users_folder_must_be_its_own_and_hold_nothing_that_it_may_not_read(
    shared_with_other: Daemon, stage: Stage
) -> None:
    own, roots = folder_of(stage, OTHER, "own"), folder_of(stage, 0, "roots")
    with connected_as(OTHER, shared_with_other) as client:
        assert client.call("Spec", path=str(own))["name"] == "rows"
        refused = refusal(lambda: client.call("Spec", path=str(roots)))
        assert refused.code == "PERMISSION_MISSING" and f"user {OTHER}" in refused.message, refused
        link = own.parent / "link"
        link.symlink_to(roots)
        assert refusal(lambda: client.call("Spec", path=str(link))).code == "PERMISSION_MISSING"
        # A hard link to what only root reads, which some kernels let a user make.
        private = roots / "private.md"
        private.write_text("root's alone")
        private.chmod(0o600)
        (own / "README.md").unlink(missing_ok=True)
        os.link(private, own / "README.md")
        assert refusal(lambda: client.call("Spec", path=str(own))).code == "PERMISSION_MISSING"
        private.chmod(0o644)
        assert client.call("Spec", path=str(own))["name"] == "rows"
    # An operator may name any folder.
    assert shared_with_other.client.call("Spec", path=str(roots))["name"] == "rows"


def test_a_caller_that_is_no_user_of_the_machine_names_no_folder(lone: Callable[..., Daemon], stage: Stage) -> None:
    import hashlib
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    daemon = lone(listen={"tcp": f"127.0.0.1:{port}", "keys": "keys"})
    lines = (f"{name} {hashlib.sha256(name.encode()).hexdigest()} {right}\n" for name, right in KEYS.items())
    (daemon.folder / "keys").write_text("".join(lines))
    daemon.start()
    clients = {name: Client(f"127.0.0.1:{port}", metadata=[("authorization", f"Bearer {name}")]) for name in KEYS}
    folder = str(stage.connectors / "rows")
    for call in (
        lambda: clients["plain"].call("Spec", path=folder),
        lambda: clients["plain"].stream("List", connection=inline(folder)).drain(),
        lambda: clients["plain"].call("ExplainEgress", connection=inline(folder), host="a.example", port=443),
    ):
        refused = refusal(call)
        assert refused.code == "PERMISSION_MISSING" and "no user of the daemon's machine" in refused.message, refused
    assert clients["boss"].call("Spec", path=folder)["name"] == "rows"
    for client in clients.values():
        client.close()


# Swaps connector.yaml between a file of the caller's and a link to somebody else's, as fast as it can.
SWAP = """
import os, sys
folder, victim = sys.argv[1:]
own = open(folder + "/connector.yaml").read()
print("swapping", flush=True)
while True:
    os.symlink(victim, folder + "/.next")
    os.rename(folder + "/.next", folder + "/connector.yaml")
    with open(folder + "/.next", "w") as file:
        file.write(own)
    os.rename(folder + "/.next", folder + "/connector.yaml")
"""


def test_what_is_swapped_for_a_link_while_it_is_read_is_not_followed(shared_with_other: Daemon, stage: Stage) -> None:
    own, victim = folder_of(stage, OTHER, "racer"), folder_of(stage, 0, "victim")
    manifest = (victim / "connector.yaml").read_text()
    title = next(line for line in manifest.splitlines() if line.startswith("title:"))
    (victim / "connector.yaml").write_text(manifest.replace(title, "title: Root's alone"))
    victim.parent.chmod(0o700)
    swapper = subprocess.Popen(
        ["setpriv", f"--reuid={OTHER}", f"--regid={OTHER}", "--clear-groups", "--",
         str(stage.python), "-I", "-c", SWAP, str(own), str(victim / "connector.yaml")],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert swapper.stdout is not None and swapper.stdout.readline() == "swapping\n"
        told: dict[str, int] = {}
        with connected_as(OTHER, shared_with_other) as client:
            for _ in range(1_000):
                try:
                    outcome = client.call("Spec", path=str(own))["title"]
                except CallFailed as error:
                    outcome = "a link" if "symbolic link" in error.message else error.message
                told[outcome] = told.get(outcome, 0) + 1
    finally:
        swapper.kill()
        swapper.wait(30)
        if swapper.stdout is not None:
            swapper.stdout.close()
    assert "Root's alone" not in told, told
    assert told.get("Rows", 0) > 10 and told.get("a link", 0) > 10, f"there was no race: {told}"
