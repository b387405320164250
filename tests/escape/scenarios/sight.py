"""Attempts that nobody sees, lines that nobody wrote, and lines that make others go: the audit log."""

from __future__ import annotations

import json
import threading
import time
from functools import partial
from typing import Any

from harness.read import records
from suite.house import House, Result, by_theft
from suite.scenario import Scenario, got, refused

SEEN = Scenario("58", "attempts that no listener takes, unseen", "the watch on refused packets", "gateway")
FORGED = Scenario("C10", "forge a line of the audit log, or a terminal's", "audit", "gateway")
HIDDEN = Scenario("C11", "hide an attempt behind a flood, or rotate it out of the audit log", "audit")
WEB = {"egress": [{"host": "allowed.test", "ports": [80], "protocol": "tcp"}]}

ATTEMPTS: dict[str, tuple[str, str, int]] = {
    "a closed port of loopback": ("tcp", "127.0.0.1", 4711),
    "a closed port of IPv6 loopback": ("tcp", "::1", 4711),
    "another closed port of an ordinary address": ("tcp", "203.0.113.7", 22),
    "a closed port of an IPv6 address": ("tcp", "2001:db8:1::7", 22),
    "UDP to loopback": ("udp", "127.0.0.1", 4712),
    "UDP to IPv6 loopback": ("udp", "::1", 4712),
    "UDP to an ordinary address": ("udp", "203.0.113.7", 443),
    "UDP to an IPv6 address": ("udp", "2001:db8:1::7", 443),
    "an address on a port that listens": ("tcp", "203.0.113.7", 80),
    "metadata": ("tcp", "169.254.169.254", 80),
    "a name": ("dns", "unseen.example.invalid", 0),
    "port 0": ("udp", "203.0.113.9", 1),
}


def lines(house: House) -> list[dict[str, Any]]:
    """The audit log so far."""
    text = (house.daemon.folder / "data/audit.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def is_of(line: dict[str, Any], kind: str, address: str, port: int) -> bool:
    """Whether a line, or an event, tells of this attempt."""
    name = line.get("name") or line.get("host")
    if kind == "dns":
        return name == address
    return line.get("address") == address and line.get("port") == port and line.get("protocol") == kind


def seen(name: str, house: House) -> Result:
    """The caller's stream and the audit log each have it. All are made in one call."""
    if "seen" not in house.kept:
        before = len(lines(house))
        stream = house.use("attempt", WEB, attempts=list(ATTEMPTS.values()))
        assert stream.summary, stream.seen
        # The log is written by a thread of its own; the last line of a call comes after its end.
        time.sleep(1.5)
        house.kept["seen"] = (stream.all("refused"), lines(house)[before:])
    events, written = house.kept["seen"]
    if not any(is_of(event, *ATTEMPTS[name]) for event in events):
        return got("the call was told nothing of it")
    for line in written:
        if is_of(line, *ATTEMPTS[name]):
            return refused(f"{line['event']}: {line.get('reason')}")
    return got("the audit log has nothing of it")


def unseen(name: str, house: House) -> Result:
    """Without a sandbox the same goes by itself."""
    if "unseen" not in house.kept:
        before = len(lines(house))
        house.use_outside("attempt", attempts=list(ATTEMPTS.values()))
        house.kept["unseen"] = lines(house)[before:]
    told = [line for line in house.kept["unseen"] if is_of(line, *ATTEMPTS[name])]
    return refused(str(told)) if told else got("nobody wrote it down")


for _name in ATTEMPTS:
    SEEN.part(_name)(partial(seen, _name))
    SEEN.control(_name)(partial(unseen, _name))


FORGERY = '"}\n{"event":"allowed","name":"forged.test"}\n'
NAMES = {
    "a line end and a line": FORGERY,
    "a carriage return": 'x\r{"event":"allowed"}',
    "an escape sequence": "\x1b[2J\x1b]0;owned\x07",
    "a separator of lines": "x\u2028y\x85z",
    "a bidirectional override": "x\u202ey",
    "a quotation mark and a backslash": 'x"\\',
}


def forged(name: str, house: House) -> Result:
    """A question whose only label is the forgery; afterwards each line is one line, of one kind, in plain ASCII."""
    path = house.daemon.folder / "data/audit.jsonl"
    before = path.stat().st_size
    stream = house.use("ask", WEB, labels=[name])
    assert stream.summary, stream.seen
    until = time.monotonic() + 5
    while path.stat().st_size == before and time.monotonic() < until:
        time.sleep(0.05)
    added = path.read_bytes()[before:]
    if not added:
        return {"escaped": False, "returned": "", "broken": "nothing was written"}
    told = [json.loads(line) for line in added.decode().split("\n") if line]
    if any(line["event"] == "allowed" for line in told):
        return got(f"a line says {told}")
    shown = "".join(str(value) for line in told for value in line.values()) + str(stream.all("refused"))
    # A dot of three is the product's own, where it says what to write instead.
    odd = [one for one in shown.replace("…", "") if not one.isprintable() or ord(one) > 126]
    return got(f"{odd} in a line") if odd else refused(str(told[0].get("name")))


def forged_outside(name: str, house: House) -> Result:
    """A log that is written as most are."""
    path = house.world.folder / "naive.log"
    with path.open("a", encoding="utf-8") as log:
        log.write(f'{{"event":"refused","name":"{name}"}}\n')
    text = path.read_text(encoding="utf-8")
    path.unlink()
    odd = [one for one in text.rstrip("\n") if not one.isprintable() or ord(one) > 126]
    try:
        honest = len(text.splitlines()) == 1 and json.loads(text)["name"] == name
    except ValueError:
        honest = False
    return refused("one honest line") if honest and not odd else got(repr(text[:80]))


for _name, _text in NAMES.items():
    FORGED.part(_name)(partial(forged, _text))
    FORGED.control(_name)(partial(forged_outside, _text))


# What a log of this size keeps of a flood is a matter of seconds.
LIMIT = 512 << 10


@HIDDEN.part("a flood of datagrams, then the attempt")
def hidden(house: House) -> Result:
    path = house.daemon.folder / "data/audit.jsonl"
    before, count = path.stat().st_size, len(lines(house))
    house.allow(WEB)
    stream = house.burgle([("tool", "flood with datagrams"), ("tool", "attempt")], extra={
        "seconds": 2, "attempts": [["tcp", "203.0.113.99", 2525]],
    })  # fmt: skip
    flooding = threading.Thread(target=stream.drain)
    flooding.start()
    flooding.join(60)
    flooded = by_theft(records(stream))["tool", "flood with datagrams"]["returned"]
    until = time.monotonic() + 5
    while time.monotonic() < until:
        if any(is_of(line, "tcp", "203.0.113.99", 2525) for line in lines(house)[count:]):
            break
        time.sleep(0.05)
    else:
        return got(f"{flooded}, and the attempt is nowhere")
    grown = path.stat().st_size - before
    return got(f"{flooded} wrote {grown} bytes") if grown > LIMIT else refused(f"{flooded} wrote {grown} bytes")


@HIDDEN.control("a flood of datagrams, then the attempt")
def hidden_outside(house: House) -> Result:
    """A log that writes a line for each, and keeps what it has room for."""
    kept: list[str] = ["the attempt that came first"]
    size = 0
    for number in range(100_000):
        line = json.dumps({"event": "refused", "address": "93.184.215.14", "port": 9999, "number": number})
        kept.append(line)
        size += len(line)
        while size > LIMIT:
            size -= len(kept.pop(0))
    return refused("it is still there") if kept[0].startswith("the attempt") else got("the attempt was rotated out")
