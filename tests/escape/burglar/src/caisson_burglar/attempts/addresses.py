"""Hosts by number, and by names that stand for what is not to be reached."""

from __future__ import annotations

import socket
from functools import partial
from typing import Any
from urllib.request import urlopen

from ..loot import Attempt, Nothing, World
from ..wires import WEB, acting, by_name, call, datagram, hear

EVERYTHING = ["0.0.0.0/0", "::/0"]


def rule(host: str, *ports: int, protocol: str = "tcp", **more: Any) -> dict[str, Any]:
    """One egress rule."""
    return {"host": host, "ports": list(ports), "protocol": protocol, **more}


def empty(world: World) -> dict[str, Any]:
    """A policy that says nothing of egress."""
    return {}


def empty_list(world: World) -> dict[str, Any]:
    """A policy whose list of rules is empty."""
    return {"egress": []}


def web(world: World) -> dict[str, Any]:
    """One public web host."""
    return {"egress": [rule("allowed.test", 80, 443)]}


TARGETS = {
    "a public name": partial(by_name, "allowed.test", 443),
    "a public address": partial(call, "93.184.215.14", 443),
    "a private address": partial(call, "10.1.2.3", 5432),
    "a service of the host": partial(call, "127.0.0.1", 8080),
    "localhost": partial(by_name, "localhost", 8080),
    "a public IPv6 address": partial(call, "2606:2800:21f::14", 443),
}
ALONE = ("29", "reach anything under an empty or missing policy", "gateway", "network namespace")
NO_POLICY = Attempt(*ALONE)
NO_EGRESS = Attempt(*ALONE, empty)
NO_RULES = Attempt(*ALONE, empty_list)
for _name, _reach in TARGETS.items():
    NO_POLICY.theft(f"{_name}, without a policy")(acting(_reach))
    NO_EGRESS.theft(f"{_name}, under a policy without egress")(acting(_reach))
    NO_RULES.theft(f"{_name}, under an empty list")(acting(_reach))


NUMBERS = Attempt("31", "addresses in disguise: decimal, hexadecimal, octal, short, mapped", "gateway", "", web)
for _text in (
    "2130706433", "0x7f000001", "127.1", "0177.0.0.1", "0x7f.1",
    "2852039166", "0xa9fea9fe", "169.254.43518", "0251.0376.0251.0376",
):  # fmt: skip
    NUMBERS.theft(_text)(acting(by_name, _text, 80))
for _text in ("::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "::ffff:10.1.2.3", "64:ff9b::a01:203", "2002:a01:203::1"):
    NUMBERS.theft(_text)(acting(call, _text, 80))


def metadata(world: World) -> dict[str, Any]:
    """Whatever an operator may write, in the hope of it."""
    return {
        "egress": [
            rule("metadata.test", 80, networks=["169.254.0.0/16"]),
            rule("metadata6.test", 80, networks=["fd00::/8"]),
            rule("*.google.internal", 80),
            rule("allowed.test", 80),
            {"networks": EVERYTHING, "ports": [80], "protocol": "tcp"},
        ]
    }


METADATA = Attempt("33", "cloud metadata by number, by name, by redirect", "gateway", "network namespace", metadata)
for _text in (
    "169.254.169.254", "169.254.170.2", "100.100.100.200", "fd00:ec2::254", "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
):  # fmt: skip
    METADATA.theft(f"{_text} under networks of everything")(acting(call, _text, 80))
for _text in ("metadata.test", "metadata6.test", "metadata.google.internal", "METADATA.google.internal."):
    METADATA.theft(f"by the name {_text}")(acting(by_name, _text, 80))


@METADATA.theft("by a redirect of an allowed host")
def redirected(world: World) -> str:
    with urlopen("http://allowed.test/to/169.254.169.254", timeout=8) as answer:
        return str(answer.read().decode())


def private(world: World) -> dict[str, Any]:
    """Names whose owner decides what they stand for."""
    return {"egress": [rule("*.private.test", 80), rule("*.rebind.test", 80), rule("mixed.test", 80)]}


PRIVATE = Attempt("34", "allowed names that stand for private addresses, and rebinding", "gateway", "", private)
PUBLIC = "93.184.215.14"


def _private(name: str, world: World) -> str:
    where = by_name(name, 80)
    if PUBLIC in where:
        raise Nothing(f"{where}, which is public")
    return where


for _name in ("a", "b", "c", "loop", "zero", "link", "six", "mapped", "nat64", "6to4", "alias"):
    PRIVATE.theft(f"{_name}.private.test")(partial(_private, f"{_name}.private.test"))
PRIVATE.theft("a private address before a public one")(partial(_private, "mixed.test"))


def _rebound(again: bool, world: World) -> str:
    """The first answer is public: a check passes. The second is private: the dial goes there."""
    name = f"{'caged' if world['caged'] else 'free'}-{world['identity']}-{again}.rebind.test"
    checked = socket.getaddrinfo(name, 80, socket.AF_INET, socket.SOCK_STREAM)[0][4]
    if again:
        return _private(name, world)
    # Whoever dials by name again, as a proxy does, asks again.
    with socket.socket() as way:
        way.settimeout(8)
        way.connect(checked if world["caged"] else (name, 80))
        way.sendall(WEB)
        where = hear(way)
    if PUBLIC in where:
        raise Nothing(f"{where}, which is public")
    return where


PRIVATE.theft("rebound between check and dial")(partial(_rebound, False))
PRIVATE.theft("rebound, and looked up again")(partial(_rebound, True))


SIX = Attempt("38", "IPv6 literals and link-local addresses", "gateway", "network namespace", web)
for _text in ("2606:2800:21f::14", "fd00:ec2::254", "fe80::5%lo", "::1", "fd00:1::1"):
    SIX.theft(_text)(acting(call, _text, 80))


@SIX.theft("UDP to a public address")
def six_datagram(world: World) -> str:
    return datagram("2606:2800:21f::14", 443)


GUESSED = Attempt("C1", "an address that stands for a name of somebody else's", "gateway", "network namespace", web)
for _text in ("198.18.1.1", "198.18.1.2", "198.18.0.1", "198.19.255.254", "::ffff:198.18.1.1"):
    GUESSED.theft(_text)(acting(call, _text, 80))


@GUESSED.theft("all of the first block, after a look-up")
def guessed(world: World) -> str:
    """A look-up gives one; the others stand for nothing, or for what neighbours looked up."""
    own = socket.getaddrinfo("allowed.test", 80, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
    for last in (1, 2, 3, 254):
        address = f"198.18.1.{last}"
        if address == own:
            continue
        try:
            return call(address, 80)
        except (OSError, Nothing):
            continue
    raise Nothing("each of them was reset")


def spoken(world: World) -> dict[str, Any]:
    """A host of the daemon's own machine, without the networks that it needs, and one with."""
    return {"egress": [rule("localhost", 80, networks=["127.0.0.0/8"]), rule("host.test", 443)]}


OWN_HOST = Attempt("C2", "the host's own services under a rule for one of them", "gateway", "network namespace", spoken)
for _name, _port in (("localhost", 443), ("localhost", 8080), ("host.test", 443), ("host.test", 80)):
    OWN_HOST.theft(f"{_name}:{_port}")(acting(by_name, _name, _port))
for _text, _port in (("127.0.0.1", 443), ("127.0.0.2", 8080), ("::1", 443), ("0.0.0.0", 443), ("::", 443)):
    OWN_HOST.theft(f"{_text} port {_port}")(acting(call, _text, _port))
OWN_HOST.theft("another of the host's addresses")(acting(call, "10.1.2.3", 80))
