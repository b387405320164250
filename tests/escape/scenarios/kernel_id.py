"""What a worker is to the kernel, seen from outside, and what of root's that would open."""

from __future__ import annotations

import subprocess
from pathlib import Path

from suite.house import House, Result
from suite.scenario import Scenario, apart, got, refused

IDENTITY = Scenario("57", "the kernel's uid 0, and what of root's it may write", "identity", "filesystem")


def ids(pid: int) -> set[int]:
    """All user ids of a process, as the host sees them."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("Uid:"))
    return {int(word) for word in line.split()[1:]}


@IDENTITY.part("uid 0 outside")
def kernel_uid(house: House) -> Result:
    found = ids(house.world.neighbour)
    mapped = Path(f"/proc/{house.world.neighbour}/uid_map").read_text().split()
    if 0 in found or int(mapped[1]) == 0:
        return got(f"uid {sorted(found)}, mapped {mapped}")
    return refused(f"uid {sorted(found)}, mapped {mapped}")


@IDENTITY.control("uid 0 outside")
def plain_uid(house: House) -> Result:
    if house.identity.ordinary:
        return apart("an ordinary user's processes are not root's outside a sandbox either")
    found = ids(house.world.victim.pid)
    return got(f"uid {sorted(found)}") if 0 in found else refused(f"uid {sorted(found)}")


@IDENTITY.part("the id of another worker")
def same_id(house: House) -> Result:
    """Two workers of a root daemon are two users; an ordinary user has but one id to give."""
    other = house.burgle([("neighbour", "second")], mode="streaming")
    other.until("batch")
    (pid,) = house.daemon.client.call("GetCall", call_id=other.call_id)["worker_pids"]
    shared = ids(pid) & ids(house.world.neighbour)
    other.cancel()
    return got(f"uid {sorted(shared)}") if shared and not house.identity.ordinary else refused(f"uid {sorted(shared)}")


@IDENTITY.control("the id of another worker")
def same_id_outside(house: House) -> Result:
    if house.identity.ordinary:
        return apart("an ordinary user has one id; the threat model says what that means")
    with subprocess.Popen(["sleep", "60"]) as other:
        shared = ids(other.pid) & ids(house.world.victim.pid)
        other.kill()
    return got(f"uid {sorted(shared)}") if shared else refused("none")
