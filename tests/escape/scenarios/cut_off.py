"""A worker that is stopped in the middle of an upload: its host must not take what came for all there is."""

from __future__ import annotations

import subprocess
import time

from suite.house import START, House, Result
from suite.internet import UPLOAD
from suite.scenario import Scenario, got, refused

BROKEN = Scenario("C5", "an upload that is cut off passes for a whole one", "gateway")
POLICY = {"egress": [{"host": "allowed.test", "ports": [UPLOAD], "protocol": "tcp"}]}
TOOL = ("tool", "upload for ever")


def ended(house: House) -> Result:
    """How the host saw the upload end."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        for arrival in house.internet.arrivals:
            if arrival.port == UPLOAD and arrival.ended:
                text = f"the host saw it {arrival.ended}, after {arrival.said.decode() or 'some'} bytes"
                return got(text) if arrival.ended == "closed" else refused(text)
        time.sleep(0.05)
    return {"escaped": False, "returned": "", "broken": "the upload did not end"}


def begun(house: House) -> None:
    """Waits until the upload has arrived."""
    until = time.monotonic() + 20
    while not any(arrival.port == UPLOAD for arrival in house.internet.arrivals) and time.monotonic() < until:
        time.sleep(0.02)


@BROKEN.part("at the deadline of its call")
def deadline(house: House) -> Result:
    house.allow(POLICY)
    house.forget()
    house.burgle([TOOL], options={"deadline_ms": 2000}).drain()
    return ended(house)


@BROKEN.part("when its call is cancelled")
def cancelled(house: House) -> Result:
    house.allow(POLICY)
    house.forget()
    stream = house.burgle([TOOL])
    stream.until("started")
    begun(house)
    stream.cancel()
    return ended(house)


def killed(house: House) -> Result:
    """The kernel ends the connections of a process that is killed as if it had finished."""
    house.forget()
    told = house.world.folder / "world.json"
    house.control([])  # writes the world down
    command = [*house.identity.prefix, str(house.stage.python), "-I", "-S", "-c", START, str(house.bundle / "src")]
    with subprocess.Popen([*command, str(told), f'[["{TOOL[0]}", "{TOOL[1]}"]]'], start_new_session=True) as uploading:
        begun(house)
        subprocess.run(["pkill", "-KILL", "--session", str(uploading.pid)], check=True)
    return ended(house)


BROKEN.control("at the deadline of its call")(killed)
BROKEN.control("when its call is cancelled")(killed)
