"""Outliving: the daemon's death, the end of the call."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import Daemon
from harness.watch import eventually
from suite.house import House, Result
from suite.processes import all_ended, end, ended, named
from suite.scenario import Scenario, apart, got, refused

KILLED = Scenario("22", "the daemon is killed with SIGKILL", "death", "pid namespace")
LEFT = Scenario("23", "setsid and a double fork, to outlive the call", "pid namespace", "cgroup")
MARK = "esc-stays"

# A service that has a child, as any service without a sandbox.
SERVICE = "import os, time\nif os.fork() == 0:\n    os.setsid()\nos.write(1, b'%d\\n' % os.getpid())\ntime.sleep(600)\n"


@contextmanager
def doomed(house: House) -> Iterator[tuple[Daemon, int]]:
    """A daemon of its own with one deaf worker, to be killed; and the worker's process id."""
    daemon = house.another_daemon()
    try:
        daemon.start()
        stream = house.burgle([("tool", "stay")], extra={"mark": MARK}, daemon=daemon)
        for event in stream:
            if "staying" in event.get("log", {}).get("message", ""):
                break
        (pid,) = daemon.client.call("GetCall", call_id=stream.call_id)["worker_pids"]
        # It goes deaf right after it said so, and makes a child; two seconds later the daemon would end it.
        eventually(lambda: named(MARK), "its child", 1)
        yield daemon, pid
    finally:
        daemon.remove()
        end(MARK)


@KILLED.part("a worker outlives it")
def worker_outlives(house: House) -> Result:
    with doomed(house) as (daemon, pid):
        before = cgroups_of(pid)
        daemon.kill()
        if not ended(pid, 10) or not all_ended(MARK, 10):
            os.kill(pid, signal.SIGKILL)
            return got(f"process {pid} lives")
        return refused(f"process {pid} and its children died with it; {len(before)} cgroups held them")


@KILLED.control("a worker outlives it")
def child_outlives(house: House) -> Result:
    with killed_service(house) as child:
        return got(f"process {child} lives") if not ended(child, 1) else refused("it died too")


@contextmanager
def killed_service(house: House) -> Iterator[int]:
    """A service that was killed, and its child."""
    command = [*house.identity.prefix, sys.executable, "-c", SERVICE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        try:
            pids = {int(service.stdout.readline()) for _ in range(2)}
        finally:
            service.kill()
        (child,) = pids - {service.pid}
        try:
            yield child
        finally:
            os.kill(child, signal.SIGKILL)


def cgroups_of(pid: int) -> list[Path]:
    """The directories of a process's own cgroups, wherever they are mounted."""
    mounted: dict[str, tuple[str, Path]] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ")[:3]
        if kind in ("cgroup", "cgroup2"):
            root, at = left.split(" ")[3:5]
            for controller in options.split(",") if kind == "cgroup" else [""]:
                mounted[controller] = (root, Path(at))
    found = []
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            if controller in mounted:
                base, where = mounted[controller]
                directory = where / os.path.relpath(path, base)
                if "caisson" in path and directory.is_dir():
                    found.append(directory)
    return found


@KILLED.part("its cgroups, mounts and files are left")
def remains(house: House) -> Result:
    mounts = Path("/proc/self/mountinfo").read_text()
    with doomed(house) as (daemon, pid):
        before = cgroups_of(pid)
        daemon.kill()
        ended(pid, 10)
        daemon.start()
        left = [str(each) for each in before if each.exists()]
        left += set(Path("/proc/self/mountinfo").read_text().splitlines()) - set(mounts.splitlines())
        if left:
            return got(" ".join(left))
        return refused(f"{len(before)} cgroups were swept, and no mount was left")


@KILLED.control("its cgroups, mounts and files are left")
def left_by_a_service(house: House) -> Result:
    """A service that mounts and is killed leaves the mount, in the suite's own mount namespace."""
    if house.identity.ordinary:
        return apart("an ordinary user's service can leave neither mount nor cgroup")
    at = house.world.folder / "scratch/mounted"
    at.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(at)], check=True)
    there = str(at) in Path("/proc/self/mountinfo").read_text()
    subprocess.run(["umount", str(at)], check=True)
    return got(f"{at} stays mounted") if there else refused("it went")


@LEFT.part("a daemon of its own")
def left_behind(house: House) -> Result:
    stream = house.use("leave a daemon behind", mark=MARK)
    assert stream.summary
    if all_ended(MARK, 10):
        return refused("nothing lived when the call was over")
    return got(f"{end(MARK)} processes lived on")


@LEFT.control("a daemon of its own")
def left_outside(house: House) -> Result:
    house.use_outside("leave a daemon behind", mark=MARK)
    alive = named(MARK)
    lives = bool(alive) and not ended(alive[0], 0.5)
    return got(f"{end(MARK)} processes lived on") if lives else refused("it died")
