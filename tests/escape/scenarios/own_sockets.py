"""The daemon's own listener, whatever a policy says, and a neighbour's gateway."""

from __future__ import annotations

import hashlib
import socket
from functools import partial
from typing import Any

from harness import Client, Daemon
from harness.read import records
from suite.house import House, Result, by_theft
from suite.scenario import Scenario

OWN = Scenario("45", "the daemon's own ports, and another worker's gateway", "gateway", "network namespace")
# What an operator may write, in the hope of it.
EVERYTHING = ["0.0.0.0/0", "::/0"]
HOSTS = ("127.0.0.1", "::ffff:127.0.0.1", "localhost", "host.test")


def everything(port: int) -> dict[str, Any]:
    """All addresses, and the names that stand for this host."""
    named: list[dict[str, Any]] = [{"host": name, "networks": ["127.0.0.0/8"]} for name in ("localhost", "host.test")]
    rules = [*named, {"networks": EVERYTHING}]
    return {"egress": [{**rule, "ports": [port], "protocol": "tcp"} for rule in rules]}


def free() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def on_tcp(house: House) -> tuple[Daemon, int]:
    """A daemon that listens on TCP, with a key, and a policy that allows all of it."""
    port = free()
    daemon = house.another_daemon(listen={"tcp": f"127.0.0.1:{port}", "keys": "keys"})
    (daemon.folder / "keys").write_text("me " + hashlib.sha256(b"key").hexdigest() + " operator\n")
    daemon.policy("burglar", **everything(port))
    daemon.start()
    daemon._client = Client(f"127.0.0.1:{port}", metadata=[("authorization", "Bearer key")])
    return daemon, port


def caged(host: str, house: House) -> Result:
    daemon, port = on_tcp(house)
    try:
        extra = {"host": host, "port": port}
        return by_theft(records(house.burgle([("tool", "speak HTTP/2")], extra=extra, daemon=daemon).drain()))[
            "tool", "speak HTTP/2"
        ]
    finally:
        daemon.remove()


def outside(host: str, house: House) -> Result:
    daemon, port = on_tcp(house)
    try:
        return house.use_outside("speak HTTP/2", host=host, port=port)
    finally:
        daemon.remove()


for _host in HOSTS:
    OWN.part(f"the API at {_host}")(partial(caged, _host))
    OWN.control(f"the API at {_host}")(partial(outside, _host))


@OWN.part("a port that a neighbour's gateway holds")
def neighbours_gateway(house: House) -> Result:
    """The neighbour's worker is allowed the port; this one has a network of its own, where nobody listens on it."""
    house.allow({"egress": [{"host": "allowed.test", "ports": [80], "protocol": "tcp"}]})
    return by_theft(records(house.burgle([("tool", "dial")], extra={"host": "127.0.0.1", "port": 8080}).drain()))[
        "tool", "dial"
    ]


@OWN.control("a port that a neighbour's gateway holds")
def same_network(house: House) -> Result:
    """Processes that share a network share its listeners."""
    return house.use_outside("dial", host="127.0.0.1", port=8080)
