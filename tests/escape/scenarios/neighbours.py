"""One worker's floods, and what is left for the others: of the daemon's time, its descriptors, its look-ups.

The control is the same flood against a service of the same user that bounds nothing.
"""

from __future__ import annotations

import socket
import statistics
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from harness import CallFailed, Daemon, Identity
from harness.read import records
from suite.gossips import REFERENCE, token
from suite.house import House, Result, by_theft
from suite.scenario import Scenario, got, refused

ALLOWED = {
    "egress": [{"host": host, "ports": [80, 4444], "protocol": "tcp"} for host in ("allowed.test", "*.silent.test")]
}
SECONDS = 2
# What the daemon may grow by over one worker's flood of frames.
MEMORY = 128 << 20
# The median of answers to somebody else while the flood lasts; loaded machines run this suite.
PATIENCE = 0.05

TIME = Scenario("C6", "floods of packets, questions and connections, to take the daemon's time", "gateway")
DESCRIPTORS = Scenario("C7", "as many connections as the daemon has descriptors", "gateway", "rlimits")
LOOK_UPS = Scenario("C8", "as many look-ups as the daemon makes at once, of a silent server", "gateway")


def flooded(
    house: House, tool: str, daemon: Daemon, secret: dict[str, str] | None = None, **extra: Any
) -> threading.Thread:
    """A call that floods, begun: its worker has been started."""
    stream = house.burgle([("tool", tool)], extra=extra, daemon=daemon, secret=secret)
    stream.until("started")
    thread = threading.Thread(target=stream.drain)
    thread.start()
    return thread


def answers(ask: Callable[[], object], while_: Callable[[], bool]) -> list[float]:
    """Seconds of each answer, as long as the flood lasts."""
    found = []
    while while_():
        began = time.monotonic()
        ask()
        found.append(time.monotonic() - began)
        time.sleep(0.02)
    return found


def judged(times: list[float], what: str) -> Result:
    """Whether somebody else was kept waiting."""
    if not times:
        return {"escaped": False, "returned": "", "broken": "the flood ended before anybody asked"}
    median = statistics.median(times)
    text = f"{what}: {len(times)} answers, median {median * 1000:.0f} ms, longest {max(times) * 1000:.0f} ms"
    return got(text) if median > PATIENCE else refused(text)


def flood(tool: str, house: House) -> Result:
    """Another caller asks the daemon for its calls while a worker floods it."""
    house.allow(ALLOWED)
    thread = flooded(house, tool, house.daemon, seconds=SECONDS)
    return judged(answers(lambda: house.daemon.client.call("ListCalls"), thread.is_alive), tool)


def flood_of_frames(house: House) -> Result:
    """The same, by what a worker says itself: each byte of it is searched for the call's secrets."""
    token(house)
    house.allow({"secrets": {"token": {"from": ["file:gossip"], "reveal": True}}})
    memory(house)
    before = memory(house)
    thread = flooded(house, "flood with frames", house.daemon, secret=REFERENCE, seconds=SECONDS)
    result = judged(answers(lambda: house.daemon.client.call("ListCalls"), thread.is_alive), "flood with frames")
    grown = memory(house) - before
    if grown > MEMORY:
        return got(f"the daemon grew by {grown >> 20} MiB")
    return {**result, "returned": f"{result['returned']}, and {grown >> 20} MiB more at most"}


def memory(house: House) -> int:
    """The most that the daemon has held since this was last asked, in bytes: see proc_pid_clear_refs(5)."""
    assert house.daemon.process
    status = Path(f"/proc/{house.daemon.process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    Path(f"/proc/{house.daemon.process.pid}/clear_refs").write_text("5")
    return int(line.split()[1]) << 10


# One thread that answers everything in turn, as daemons do that read what comes as it comes.
IN_TURN = """
import socket, sys, time
tcp = socket.create_server(("127.0.0.1", 7071)); udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("127.0.0.1", 7071)); udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
print("ready", flush=True)
while True:
    said, guest = udp.recvfrom(4096)
    sum(said * 40)  # looks at every byte of it
    udp.sendto(said[:8], guest)
"""


def flood_in_turn(house: House) -> Result:
    """The same for each kind of flood, so it is tried once."""
    if "in turn" not in house.kept:
        house.kept["in turn"] = _flood_in_turn(house)
    result: Result = house.kept["in turn"]
    return result


def _flood_in_turn(house: House) -> Result:
    """The flood comes from this machine too; the other caller waits behind all that was there before."""
    command = [*house.identity.prefix, str(house.stage.python), "-I", "-S", "-c", IN_TURN]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as service:
        assert service.stdout is not None and service.stdout.readline() == b"ready\n"
        over = time.monotonic() + SECONDS

        def pour() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way, suppress(OSError):
                while time.monotonic() < over:
                    way.sendto(b"x" * 1000, ("127.0.0.1", 7071))

        thread = threading.Thread(target=pour)
        thread.start()

        def ask() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way, suppress(TimeoutError):
                way.settimeout(1)
                way.sendto(b"question", ("127.0.0.1", 7071))
                way.recv(100)

        try:
            return judged(answers(ask, thread.is_alive), "a service that answers in turn")
        finally:
            thread.join()
            service.kill()


TIME.part("flood with frames")(flood_of_frames)
TIME.control("flood with frames")(flood_in_turn)
for _tool in ("flood with datagrams", "flood with questions", "flood with connections"):
    TIME.part(_tool)(partial(flood, _tool))
    TIME.control(_tool)(flood_in_turn)


DESCRIPTOR_LIMIT = 300


@dataclass(frozen=True)
class Tight(Identity):
    """The same user with few descriptors."""

    @property
    def prefix(self) -> list[str]:
        return ["prlimit", f"--nofile={DESCRIPTOR_LIMIT}:{DESCRIPTOR_LIMIT}", "--", *super().prefix]


@DESCRIPTORS.part("another call begins and connects")
def crowded(house: House) -> Result:
    """A worker holds all the connections that it gets; another one starts, and reaches its host."""
    daemon = Daemon(house.stage, Tight(house.identity.name, house.identity.uid))
    try:
        daemon.policy("burglar", **ALLOWED)
        daemon.start()
        thread = flooded(house, "hold connections", daemon, seconds=4, processes=3)
        until = time.monotonic() + 5
        while len(house.internet.arrivals) < 10 and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(1)
        result = dialled(house, daemon)
        thread.join()
    finally:
        daemon.remove()
    return result


def dialled(house: House, daemon: Daemon, patience: float = 4.0) -> Result:
    """Whether another call reaches its host, and in good time."""
    try:
        stream = house.burgle([("tool", "dial")], extra={"host": "allowed.test", "port": 80}, daemon=daemon).drain()
    except CallFailed as failed:
        return got(f"another call does not even begin: {failed}")
    result = by_theft(records(stream)).get(("tool", "dial"))
    if result is None or not result["escaped"]:
        return got(f"another call got {result or stream.all('failure')}")
    seconds = float(result["returned"].split()[-2])
    text = f"another call {result['returned']}"
    return got(text) if seconds > patience else refused(text)


# A relay as they are written, with the same few descriptors.
RELAY = """
import socket, threading
door = socket.create_server(("127.0.0.1", 7072), backlog=500)
print("ready", flush=True)
held = []
while True:
    try:
        guest, _ = door.accept()
        held.append((guest, socket.create_connection(("93.184.215.14", 4444))))
        guest.sendall(b"relayed")
    except OSError:
        pass
"""


@DESCRIPTORS.control("another call begins and connects")
def crowded_relay(house: House) -> Result:
    """One caller holds what it gets; is another one served?"""
    tight = Tight(house.identity.name, house.identity.uid)
    with subprocess.Popen(
        [*tight.prefix, str(house.stage.python), "-I", "-S", "-c", RELAY], stdout=subprocess.PIPE
    ) as service:
        assert service.stdout is not None and service.stdout.readline() == b"ready\n"
        held = [socket.create_connection(("127.0.0.1", 7072), 5) for _ in range(DESCRIPTOR_LIMIT)]
        try:
            with socket.create_connection(("127.0.0.1", 7072), 5) as other:
                other.settimeout(2)
                return refused(f"another caller heard {other.recv(20)!r}")
        except OSError as failed:
            return got(f"another caller heard nothing: {failed}")
        finally:
            service.kill()
            for one in held:
                one.close()


NAMES = 130


@LOOK_UPS.part("another call looks a name up")
def silent(house: House) -> Result:
    """A worker asks for names that nobody answers for; another one asks for one that is answered at once."""
    house.allow(ALLOWED)
    thread = flooded(house, "ask a silent server", house.daemon, seconds=4, names=NAMES)
    until = time.monotonic() + 5
    while not any("silent" in each.name for each in house.nameserver.questions) and time.monotonic() < until:
        time.sleep(0.02)
    result = dialled(house, house.daemon, patience=1.5)
    thread.join()
    return result


@LOOK_UPS.control("another call looks a name up")
def silent_pool(house: House) -> Result:
    """A pool of as many threads, first come first served."""
    with ThreadPoolExecutor(64) as pool:
        for number in range(NAMES):
            pool.submit(suppressed, f"n{number}.silent.test")
        began = time.monotonic()
        pool.submit(socket.getaddrinfo, "allowed.test", 80).result()
        seconds = time.monotonic() - began
        pool.shutdown(cancel_futures=True)
    text = f"the other look-up took {seconds:.1f} s"
    return got(text) if seconds > 1.5 else refused(text)


def suppressed(name: str) -> None:
    """A look-up that comes to nothing."""
    with suppress(OSError):
        socket.getaddrinfo(name, 80)
