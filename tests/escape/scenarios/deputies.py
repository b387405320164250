"""Configs that make the daemon do what their writer may not: reach, resolve, read (the confused deputy)."""

from __future__ import annotations

import fnmatch
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness import CallFailed
from harness.daemon import inline
from harness.read import read, records
from suite.gossips import bundle, token
from suite.house import House, Result, by_theft
from suite.nameserver import EVIL, PUBLIC
from suite.scenario import Scenario, got, refused

HOSTS = Scenario("C9", "a host from the config that another reading puts outside of its fence", "policy", "gateway")
SECRETS = Scenario("54", "a config that names a secret the policy does not grant", "secrets", "secrets' providers")
FILES = Scenario("55", "a config that names a file or directory the policy does not grant", "policy", "filesystem")


def attempted(house: House, tool: str, policy: dict[str, Any], **extra: Any) -> Result:
    """One tool in a worker, whose call may be refused before there is one."""
    try:
        stream = house.use(tool, policy, **extra)
    except CallFailed as failed:
        return refused(f"{failed.code}: {failed.message[:200]}")
    for failure in stream.all("failure"):
        return refused(f"{failure['code']}: {failure['message'][:200]}")
    return by_theft(records(stream))["tool", tool]


# What a config says; how somebody who thinks of no attacker would check it; what the attacker reaches by it.
READINGS: dict[str, tuple[str, Callable[[str], bool], str]] = {
    "a fragment": ("evil.test#.allowed.test", lambda text: text.endswith(".allowed.test"), "evil.test"),
    "a path": ("evil.test/.allowed.test", lambda text: text.endswith(".allowed.test"), "evil.test"),
    "a query": ("evil.test?.allowed.test", lambda text: text.endswith(".allowed.test"), "evil.test"),
    "a user": ("allowed.test@evil.test", lambda text: text.startswith("allowed.test"), "evil.test"),
    "a password": ("allowed.test:x@evil.test", lambda text: text.startswith("allowed.test"), "evil.test"),
    "a NUL": ("evil.test\0.allowed.test", lambda text: text.endswith(".allowed.test"), "evil.test"),
    "a line end": ("evil.test\n.allowed.test", lambda text: text.endswith(".allowed.test"), "evil.test"),
    "no dot before the suffix": ("evilexample.test", lambda text: text.endswith("example.test"), "evilexample.test"),
    "a star over two labels": (
        "a.b.example.test",
        lambda text: fnmatch.fnmatch(text, "*.example.test"),
        "a.b.example.test",
    ),
    "another script's dot": ("evil.test。allowed.test", lambda text: text.endswith("allowed.test"), "evil.test"),
    "a number": ("16843009", lambda text: "." not in text, EVIL),
    "a short number": ("1.65793", lambda text: text.count(".") != 3, EVIL),
}
WITHIN = ["allowed.test", "*.allowed.test", "*.example.test"]


def host_caged(text: str, target: str, house: House) -> Result:
    """The rule's host is the config's, inside of its fence; the worker dials what its writer wants."""
    rule = {"host": "${config.extra.deputy}", "within": WITHIN, "ports": [80], "protocol": "tcp"}
    result = attempted(house, "dial", {"egress": [rule]}, host=target, port=80, deputy=text)
    return refused(result["returned"]) if PUBLIC in result["returned"] else result


def host_outside(text: str, check: Callable[[str], bool], house: House) -> Result:
    """Checks the text, and dials what a URL library and the C library make of it."""
    if not check(text):
        return refused("the check saw it")
    name = text.split("\0")[0].split("\n")[0].split("。")[0] if set("\0\n。") & set(text) else text
    with socket.create_connection((urlsplit(f"http://{name}").hostname or name, 80), 5) as way:
        address = way.getpeername()[0]
    return got(f"arrived at {address}") if address == EVIL else refused(f"arrived at {address}")


for _name, (_text, _check, _target) in READINGS.items():
    HOSTS.part(_name)(partial(host_caged, _text, _target))
    HOSTS.control(_name)(partial(host_outside, _text, _check))


GRANT = {"token": {"from": ["file:gossip"], "reveal": True}}


def resolved(config: dict[str, Any], policy: dict[str, Any], house: House) -> Result:
    """Whether the value of a reference reaches the connector, which tells it as a record."""
    token(house)
    house.daemon.policy("gossip", **policy)
    connection = inline(bundle(house), config={"way": "the word of a record", **config})
    try:
        stream = read(house.daemon, connection, "told", mode="full").drain()
    except CallFailed as failed:
        return refused(f"{failed.code}: {failed.message[:200]}")
    words = [record["word"] for record in records(stream) if "word" in record]
    if not words:
        return refused(str(stream.all("failure"))[:300])
    return got("the value") if token(house) in words or house.world.canary in "".join(words) else refused(f"{words}")


def reference(text: str) -> dict[str, Any]:
    return {"token": {"$secret": text}}


CONFIGS: dict[str, dict[str, Any]] = {
    "another file": reference("file:database"),
    "another variable": reference("env:CAISSON_SECRET_TOKEN"),
    "a variable that is none of ours": reference("env:CANARY"),
    "a token of the vault": reference("env:VAULT_TOKEN"),
    "a path of the vault": reference("vault:kv/admin#root"),
    "an absolute file": reference("file:/etc/shadow"),
    "a file above": reference("file:../caisson.yaml"),
    "a file above, encoded": reference("file:%2e%2e/caisson.yaml"),
    "a file above, within": reference("file:gossip/../database"),
    "a link in the directory": reference("file:link"),
    "a key of the granted file": reference("file:gossip#x"),
    "another case": reference("FILE:database"),
    "another scheme": reference("exec:cat /etc/shadow"),
    "where no secret is expected": {"note": {"$secret": "file:gossip"}},
    "beside another key": {"token": {"$secret": "file:gossip", "default": "x"}},
}


def linked(house: House) -> None:
    """A link to the key, in the directory of secret files."""
    link = house.daemon.folder / "secrets/link"
    if not link.is_symlink():
        link.symlink_to(house.world.key)


def secret_caged(config: dict[str, Any], house: House) -> Result:
    linked(house)
    return resolved(config, {"secrets": GRANT}, house)


def secret_outside(config: dict[str, Any], house: House) -> Result:
    """A deputy that resolves what it is told, as the same user: variables, and files from where secrets are."""
    token(house)
    linked(house)
    text = next(iter(config.values()))["$secret"]
    scheme, _, path = text.partition(":")
    path = path.replace("%2e", ".").split("#")[0]
    home = house.daemon.folder / "secrets"
    variables = {"VAULT_TOKEN": house.world.canary, **house.daemon.environment}
    if scheme == "env":
        value = variables.get(path, "")
    elif scheme in ("exec", "vault"):
        # Any command, any path: the deputy's own rights, here the private key of its user.
        value = house.world.key.read_text()
    else:
        value = (home / ("database" if path.startswith(("gossip/", "database")) else path)).read_text()
    return got(f"{len(value)} characters of a secret") if value else refused("nothing there")


for _name, _config in CONFIGS.items():
    SECRETS.part(_name)(partial(secret_caged, _config))
    SECRETS.control(_name)(partial(secret_outside, _config))


@SECRETS.part("without any policy")
def no_policy(house: House) -> Result:
    """The reference itself is right; nobody has granted it."""
    path = house.daemon.folder / "policies/gossip.yaml"
    path.unlink(missing_ok=True)
    house.daemon.client.call("ReloadPolicies")
    token(house)
    connection = inline(bundle(house), config={"way": "the word of a record", **reference("file:gossip")})
    try:
        read(house.daemon, connection, "told", mode="full").drain()
    except CallFailed as failed:
        return refused(f"{failed.code}: {failed.message[:200]}")
    return got("the call ran")


@SECRETS.control("without any policy")
def granted(house: House) -> Result:
    """The same config under a policy that grants it gets the value."""
    return resolved(reference("file:gossip"), {"secrets": GRANT}, house)


def directories(house: House) -> dict[str, str]:
    """What a config may say of a directory inside of `granted`, to come to the key's directory."""
    granted, home = house.world.folder / "granted", house.world.folder / "home/.ssh"
    with suppress(FileExistsError):
        (granted / "door").symlink_to(home)
    with suppress(FileExistsError):
        (granted / "up").symlink_to("..")
    beside = house.world.folder / "granted-not"
    beside.mkdir(exist_ok=True)
    (beside / "id_ed25519").write_text(house.world.key.read_text())
    house.identity.own(beside)
    return {
        "the directory itself": str(home),
        "through ..": f"{granted}/../home/.ssh",
        "through . and ..": f"{granted}/./../home/.ssh",
        "a link inside": f"{granted}/door",
        "a link on the way": f"{granted}/up/home/.ssh",
        "a name that begins alike": str(beside),
        "through /proc": f"/proc/self/root{home}",
        "the root": "/",
        "doubled slashes": f"/{home}",
    }


def policy_of(house: House, access: str) -> dict[str, Any]:
    granted = str(house.world.folder / "granted")
    return {"files": [{"dir": "${config.extra.dir}", "within": [granted], "access": access}]}


def file_caged(name: str, house: House) -> Result:
    """The config names a directory; the worker reads the key in it, by every path that may be there."""
    directory = directories(house)[name]
    for path in (house.world.key, Path(directory) / "id_ed25519", house.world.folder / "granted-not/id_ed25519"):
        result = attempted(house, "read", policy_of(house, "read"), dir=directory, path=str(path))
        if result["escaped"] and house.world.canary in result["returned"]:
            return got(f"read {path}")
    return refused(result["returned"])


def file_outside(name: str, house: House) -> Result:
    """A deputy that opens what it is told, after it has seen that the name begins as it should, or not even that."""
    directory = directories(house)[name]
    path = f"{directory}/{house.world.key if name == 'the root' else 'id_ed25519'}"
    result = house.use_outside("read", path=path)
    return got(f"read {path}") if house.world.canary in result["returned"] else refused(result["returned"])


for _name in (
    "the directory itself", "through ..", "through . and ..", "a link inside", "a link on the way",
    "a name that begins alike", "through /proc", "the root", "doubled slashes",
):  # fmt: skip
    FILES.part(_name)(partial(file_caged, _name))
    FILES.control(_name)(partial(file_outside, _name))


@FILES.part("to write where reading is granted")
def write_caged(house: House) -> Result:
    granted = house.world.folder / "granted"
    path = str(granted / "written")
    return attempted(house, "write", policy_of(house, "read"), dir=str(granted), path=path)


@FILES.control("to write where reading is granted")
def write_outside(house: House) -> Result:
    return house.use_outside("write", path=str(house.world.folder / "granted/written"))
