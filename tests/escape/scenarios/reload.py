"""A policy that is edited while a call uses what it allowed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from harness.read import records
from suite.house import House, Result, by_theft
from suite.internet import PING
from suite.scenario import Scenario, got, refused

EDITED = Scenario("44", "a policy edited during a call: enforced at once", "gateway")


def policy(**rule: Any) -> dict[str, Any]:
    """One rule for the host that the worker talks to, or what is left of it."""
    return {"egress": [{"host": "allowed.test", "ports": [PING], "protocol": "tcp", **rule}]}


EDITS: dict[str, dict[str, Any] | None] = {
    "the file is removed": None,
    "no rule is left": {"egress": []},
    "another host": policy(host="db.test"),
    "another port": policy(ports=[80]),
    "TLS alone from now on": policy(protocol="tls"),
}


def during(house: House, act: Callable[[], Result], edit: Callable[[], None]) -> Result:
    """Runs the act beside, edits once it has arrived, and then lets the host say so."""
    house.internet.edited = False
    house.forget()
    met: list[Result] = []
    acting = threading.Thread(target=lambda: met.append(act()))
    acting.start()
    until = time.monotonic() + 20
    while not any(arrival.port == PING for arrival in house.internet.arrivals) and time.monotonic() < until:
        time.sleep(0.01)
    edit()
    house.internet.edited = True
    acting.join(60)
    house.internet.edited = False
    return met[0] if met else {"escaped": False, "returned": "", "broken": "the act did not end"}


def caged(tool: str, after: dict[str, Any] | None, house: House) -> Result:
    house.allow(policy())
    stream = house.burgle([("tool", tool)])

    def act() -> Result:
        stream.drain()
        return by_theft(records(stream))["tool", tool]

    return during(house, act, lambda: house.allow(after))


def outside(tool: str, house: House) -> Result:
    """Nobody edits anything for a process that asks nobody."""
    return during(house, lambda: house.use_outside(tool), lambda: None)


GOING = "a granted directory, while nobody reads what the worker says"


@EDITED.part(GOING)
def granted(house: House) -> Result:
    """Its caller does not read, so the daemon cannot hand anything on; the mount goes all the same."""
    path = house.daemon.lake / "going"
    house.allow({"files": [{"dir": str(house.daemon.lake), "access": "write"}]})
    stream = house.burgle([("tool", "write for ever")], extra={"path": str(path), "seconds": 25})
    try:
        stream.until("started")
        until = time.monotonic() + 20
        while not path.exists() and time.monotonic() < until:
            time.sleep(0.02)
        # Until nothing more fits between the daemon and its caller.
        time.sleep(1.5)
        going = written_on(path, patience=1)
        if not going["escaped"]:
            return {**going, "broken": "it had stopped before anything was taken back"}
        house.allow({"egress": []})
        result = written_on(path)
        call = house.daemon.client.call("GetCall", call_id=stream.call_id)
        code = call.get("failure", {}).get("code", call["state"])
        if not result["escaped"] and "PERMISSION_MISSING" not in code:
            return {**result, "broken": f"the call is {code}"}
        return result
    finally:
        stream.cancel()
        path.unlink(missing_ok=True)


@EDITED.control(GOING)
def not_granted(house: House) -> Result:
    """Nobody takes anything back from a process that asks nobody."""
    path = house.world.folder / "going"
    acting = threading.Thread(target=lambda: house.use_outside("write for ever", path=str(path), seconds=4))
    acting.start()
    until = time.monotonic() + 20
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.02)
    result = written_on(path, patience=1)
    acting.join()
    path.unlink(missing_ok=True)
    return result


def written_on(path: Path, patience: float = 8) -> Result:
    """Whether a file still changes after some seconds."""
    if not path.exists():
        return {"escaped": False, "returned": "", "broken": "nothing was ever written"}
    until = time.monotonic() + patience
    while time.monotonic() < until:
        before = path.read_text()
        time.sleep(0.5)
        if path.read_text() == before:
            return refused(f"nothing was written after number {before}")
    return got(f"number {path.read_text()} was written")


for _name, _after in EDITS.items():
    EDITED.part(f"an open connection: {_name}")(partial(caged, "converse", _after))
    EDITED.control(f"an open connection: {_name}")(partial(outside, "converse"))
EDITED.part("new connections")(partial(caged, "call again and again", None))
EDITED.control("new connections")(partial(outside, "call again and again"))
