"""What is counted for a whole user, used up by one worker, so that the daemon gets none of it."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from harness.read import records
from suite.house import House, Result
from suite.scenario import Scenario, got, refused

FLIGHT = Scenario(
    "A9",
    "descriptors in flight, until nobody of the user can send one",
    "rlimits",
    identities=("user",),  # root is not held by that count
)
# What a system gives a service, and what a worker is given where nothing else is said.
USUAL = 1024
SENDER = """
import socket, sys
ours, theirs = socket.socketpair()
socket.send_fds(ours, [b"x"], [0])
print("sent")
"""


@contextmanager
def usual_limit() -> Iterator[None]:
    """What is started meanwhile has the soft limit that services have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(USUAL, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@FLIGHT.part("the daemon's launcher")
def starve(house: House) -> Result:
    daemon = house.another_daemon(limits={"open_files": USUAL})
    try:
        with usual_limit():
            daemon.start()
        holder = house.burgle([("tool", "hold descriptors in flight")], daemon=daemon)
        held = holder.until("log")["message"]
        stream = house.burgle([("tool", "read")], extra={"path": "/etc/passwd"}, daemon=daemon).drain()
        holder.cancel()
        if stream.all("failure"):
            return got(f"{held}; {stream.failure['code']}: {stream.failure['message']}")
        return refused(f"{held}; the next call brought {len(records(stream))} record")
    finally:
        daemon.remove()


@FLIGHT.control("the daemon's launcher")
def starve_outside(house: House) -> Result:
    python = [*house.identity.prefix, str(house.stage.python), "-I", "-S", "-c"]
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from caisson_burglar.attempts.tools import in_flight;"
        " in_flight({'caged': False})"
    )
    with usual_limit():
        holder = subprocess.Popen([*python, code, str(house.bundle / "src")], stdout=subprocess.PIPE, text=True)
        assert holder.stdout is not None
        held = holder.stdout.readline().strip()
        done = subprocess.run([*python, SENDER], capture_output=True, text=True, check=False)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    return got(f"{held}; {done.stderr.splitlines()[-1]}") if "sent" not in done.stdout else refused(held)
