"""What scenarios have the burglar do in a worker. No attempts by themselves: the scenario judges."""

from __future__ import annotations

import fcntl
import logging
import os
import resource
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

from ..loot import Attempt, World

TOOLS = Attempt("tool", "what scenarios use", "")


@TOOLS.theft("read")
def read(world: World) -> str:
    """The file that the scenario names."""
    return Path(world["path"]).read_bytes().decode("latin-1")


@TOOLS.theft("leave a daemon behind")
def daemonize(world: World) -> str:
    """Two forks and a session of its own, where it may have one; every signal ignored; nothing held open that somebody
    could wait for."""
    if os.fork() == 0:
        with suppress(OSError):
            os.setsid()
        if os.fork() == 0:
            name_process(world["mark"])
            ignore_signals()
            os.closerange(0, 1024)
            while True:
                time.sleep(60)
        os._exit(0)
    return "left behind"


def name_process(name: str) -> None:
    """What the host sees in /proc/PID/comm."""
    from ..syscalls import syscall

    set_name = 15
    syscall("prctl", set_name, name.encode()[:15] + b"\0", 0, 0, 0)


def ignore_signals() -> None:
    """All that can be."""
    for number in range(1, 65):
        with suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, range(1, 65))


@TOOLS.theft("stay", ends="stays")
def stay(world: World) -> str:
    """In the first process: deaf, with the channel closed, and with a child that is deaf too."""
    print("staying", flush=True)
    ignore_signals()
    if os.fork() == 0:
        name_process(world["mark"])
    os.closerange(0, 1024)
    while True:
        time.sleep(60)


@TOOLS.theft("hold descriptors in flight", ends="holds")
def in_flight(world: World) -> str:
    """Descriptors that were sent and not received are counted for the whole user, and held against every sender."""
    sent = fill_flight()
    print(f"holding {len(sent)}", flush=True)
    while True:
        time.sleep(60)


def fill_flight() -> list[socket.socket]:
    """Sends as many as it may, to itself; the sockets hold them."""
    held: list[socket.socket] = []
    with suppress(OSError):
        while True:
            ours, theirs = socket.socketpair()
            held += [ours, theirs]
            socket.send_fds(ours, [b"x"], [ours.fileno()] * 250)
    return held


@TOOLS.theft("set a flag")
def set_flag(world: World) -> str:
    """On the description of standard input."""
    flags = fcntl.fcntl(0, fcntl.F_GETFL)
    fcntl.fcntl(0, fcntl.F_SETFL, flags | os.O_APPEND)
    return "set"


@TOOLS.theft("see a flag")
def see_flag(world: World) -> str:
    """Whether somebody else set it."""
    return "O_APPEND" if fcntl.fcntl(0, fcntl.F_GETFL) & os.O_APPEND else "none"


@TOOLS.theft("crash", ends="WORKER_LOST")
def crash(world: World) -> str:
    """With a core asked for, in a directory of the host that may be written."""
    os.chdir(world["path"])
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    with suppress(OSError):
        from ..syscalls import syscall

        set_dumpable = 4
        syscall("prctl", set_dumpable, 1, 0, 0, 0)
    kept = bytearray(world["canary"].encode() * 100)
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGSEGV)
    # Process 1 of a pid namespace is deaf to signals of its own making; a fault is none.
    from ..syscalls import machine_code

    machine_code(b"\x0f\x0b")
    return f"lives, with {len(kept)} bytes"


@TOOLS.theft("flood Python's log", ends="floods")
def flood_python(world: World) -> str:
    """Through the channel, as fast as it takes it. Errors are what Python's side never leaves out."""
    for number in range(world["lines"]):
        logging.getLogger("burglar").error("flood %d %s", number, "x" * 1000)
    return f"{world['lines']} lines"


@TOOLS.theft("flood the log", ends="floods")
def flood(world: World) -> str:
    """To both pipes, as fast as they take it."""
    for number in range(world["lines"]):
        print("flood", number, "x" * 1000)
        print("flood", number, "x" * 1000, file=sys.stderr)
    return f"{2 * world['lines']} lines"
