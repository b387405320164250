"""Clocks, random numbers, and what a program asks about itself."""

from __future__ import annotations

import datetime
import getpass
import os
import platform
import random
import resource
import secrets
import sys
import time
import uuid
import zoneinfo
from typing import Any

from .refused import outcome


def time_and_chance(_http: int, _tls: int) -> dict[str, Any]:
    """Every clock moves, every generator gives something else."""
    clocks = (time.time, time.monotonic, time.perf_counter, time.process_time, time.thread_time)
    before = [clock() for clock in clocks]
    time.sleep(0.002)
    for _ in range(20_000):
        pass
    moved = all(clock() > was for clock, was in zip(clocks, before, strict=True))
    zone = datetime.datetime(2024, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")).utcoffset()
    different = len({random.random(), random.SystemRandom().random(), float.fromhex("0x" + secrets.token_hex(4))})
    names: tuple[Any, ...] = ("time", "monotonic", "perf_counter", "process_time", "thread_time")
    resolution = all(time.get_clock_info(name).resolution > 0 for name in names)
    return {
        "moved": moved, "zone": str(zone), "different": different, "uuid": uuid.uuid4().version,
        "local": uuid.uuid1().version, "urandom": len(os.urandom(32)), "resolution": resolution,
        "times": os.times().elapsed > 0,
    }  # fmt: skip


def facts(_http: int, _tls: int) -> dict[str, Any]:
    """Who, where, how much."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    return {
        "system": platform.system(), "platform": bool(platform.platform()), "node": os.uname().nodename,
        "user": getpass.getuser(), "uid": os.getuid() == os.geteuid(), "gid": os.getgid() == os.getegid(),
        "groups": isinstance(os.getgroups(), list), "cpus": (os.cpu_count() or 0) >= len(os.sched_getaffinity(0)) > 0,
        "memory": usage.ru_maxrss > 0, "lowered": resource.getrlimit(resource.RLIMIT_NOFILE)[0] == soft - 1,
        "raised": outcome(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (hard + 1, hard + 1))),
        "page": os.sysconf("SC_PAGESIZE"), "load": outcome(os.getloadavg),
        "pid": os.getpid(), "switch": sys.getswitchinterval() > 0,
    }  # fmt: skip


WORKLOADS = (time_and_chance, facts)
