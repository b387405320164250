"""Bombs and floods: what is there for all, used up by one."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import resource
import shutil
import signal
import threading
import time
from functools import partial
from typing import Any

from .. import loot
from ..loot import Apart, Attempt, Nothing, World
from ..syscalls import syscall
from .filesystem import scratch


def few_processes(world: World) -> dict[str, Any]:
    """A limit that is reached before memory is."""
    return {"limits": {"pids": 12}}


FORKS = Attempt("19", "a fork bomb", "cgroup", "rlimits", few_processes)
PROCESSES = 200


@FORKS.theft("processes", ends="PROCESS_LIMIT")
def forks(world: World) -> str:
    return _many(PROCESSES)


def _many(wanted: int) -> str:
    children: list[int] = []
    try:
        while len(children) < wanted:
            child = os.fork()
            if child == 0:
                time.sleep(300)
                os._exit(0)
            children.append(child)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return f"{len(children)} processes"


@FORKS.theft("processes, counted")
def forks_counted(world: World) -> str:
    """The limit itself: the error is met and told."""
    return _many(PROCESSES)


MEMORY = Attempt("20", "a memory bomb", "cgroup", "rlimits")
MEBIBYTES = 600


@MEMORY.theft("memory of one process", ends="MEMORY_EXHAUSTED")
def memory(world: World) -> str:
    kept = [bytearray(os.urandom(1 << 10) * (1 << 10)) for _ in range(MEBIBYTES)]
    return f"{len(kept)} MiB"


@MEMORY.theft("memory of a process whose first thread has ended", ends="MEMORY_EXHAUSTED", deadline_ms=20_000)
def memory_without_a_first_thread(world: World) -> str:
    """What /proc tells of a process is what it tells of that thread, which has no memory any more."""

    def take() -> None:
        kept = [bytearray(os.urandom(1 << 10) * (1 << 10)) for _ in range(MEBIBYTES)]
        loot.answer(f"{len(kept)} MiB")

    threading.Thread(target=take).start()
    syscall("exit", 0)
    return ""


DISK = Attempt("21", "a flood of tmp, log and stdout", "filesystem")


@DISK.theft("tmp", ends="DISK_EXHAUSTED")
def tmp(world: World) -> str:
    return _flood(world, 96)


@DISK.theft("tmp, counted")
def tmp_counted(world: World) -> str:
    return _flood(world, 96)


def _flood(world: World, mebibytes: int) -> str:
    """Many files, since the size of one has a limit of its own."""
    folder = scratch(world) / "flood"
    folder.mkdir()
    try:
        for number in range(mebibytes):
            (folder / str(number)).write_bytes(bytes(1 << 20))
    finally:
        shutil.rmtree(folder)
    return f"{mebibytes} MiB written"


@DISK.theft("inodes of tmp")
def inodes(world: World) -> str:
    """Empty files take memory that a size in bytes does not count."""
    folder = scratch(world) / "inodes"
    folder.mkdir()
    made = 0
    try:
        for made in range(8_000):
            (folder / str(made)).touch()
    finally:
        for number in range(made + 1):
            (folder / str(number)).unlink(missing_ok=True)
        folder.rmdir()
    return f"{made} files"


HANDLES = Attempt("A4", "more descriptors, locked memory or larger limits than granted", "rlimits", "cgroup")


@HANDLES.theft("descriptors")
def descriptors(world: World) -> str:
    opened: list[int] = []
    try:
        while len(opened) < 600:
            opened.append(os.open("/dev/null", os.O_RDONLY))
    finally:
        for each in opened:
            os.close(each)
    return f"{len(opened)} descriptors"


def _limit(what: int, wanted: int, world: World) -> str:
    """Takes a limit that a worker is not given; whoever has it out here need not raise it."""
    soft, hard = resource.getrlimit(what)
    try:
        resource.setrlimit(what, (wanted, hard if hard == resource.RLIM_INFINITY else max(hard, wanted)))
    except ValueError as refused:
        if not world["caged"]:
            raise Apart(f"the hard limit is {hard} out here too") from refused
        raise Nothing(f"{refused}: {hard} is the limit") from refused
    return f"from {soft} to {wanted}"


HANDLES.theft("a higher limit of descriptors")(partial(_limit, resource.RLIMIT_NOFILE, 4096))
HANDLES.theft("a core file")(partial(_limit, resource.RLIMIT_CORE, 1 << 30))


@HANDLES.theft("a real-time priority", needs_root=True)
def real_time(world: World) -> str:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    return "real time"


@HANDLES.theft("one file of 4 GiB, all holes")
def holes(world: World) -> str:
    hole = scratch(world) / "hole"
    try:
        with hole.open("wb") as file:
            file.truncate(4 << 30)
            file.seek((4 << 30) - 1)
            file.write(b"x")
            if hole.stat().st_size < 4 << 30:
                raise Nothing("cut")
    finally:
        hole.unlink()
    return "4 GiB"


def little_cpu(world: World) -> dict[str, Any]:
    """A tenth of one processor."""
    return {"limits": {"cpu": 0.1}}


SHARE = Attempt("A7", "more than its share of the processors", "cgroup", policy=little_cpu, identities=("root",))
SPINNERS, SECONDS, SHARE_OF_ALL = 4, 2.0, 0.4


@SHARE.theft("four busy processes")
def spin(world: World) -> str:
    """Two seconds of four processes: a tenth of a processor is 0.2 s of them. Without a cgroup there is no limit."""
    children = []
    for _ in range(SPINNERS):
        child = os.fork()
        if child == 0:
            while True:
                pass
        children.append(child)
    time.sleep(SECONDS)
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    used = os.times()
    spent = used.children_user + used.children_system
    if spent < SHARE_OF_ALL:
        raise Nothing(f"{spent:.2f} s of processor in {SECONDS:.0f} s")
    return f"{spent:.2f} s of processor in {SECONDS:.0f} s"


@HANDLES.theft("locked memory")
def locked(world: World) -> str:
    """4 MiB that cannot be swapped out."""
    size = 4 << 20
    page = mmap.mmap(-1, size)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    try:
        syscall("mlock", address, size)
    except OSError as refused:
        if not world["caged"] and refused.errno == errno.ENOMEM:
            raise Apart("the limit of locked memory is lower out here too") from refused
        raise
    return f"{size} bytes locked"
