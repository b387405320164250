"""Forks, signals, and programs that do not run."""

from __future__ import annotations

import ctypes.util
import faulthandler
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

from .refused import outcome


def forks(_http: int, _tls: int) -> dict[str, Any]:
    """Children of the interpreter, and what they say."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, f"{os.getppid()}".encode())
        os._exit(7)
    os.close(writer)
    said = os.read(reader, 10)
    os.close(reader)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sleeper = os.fork()
    if sleeper == 0:
        time.sleep(60)
        os._exit(0)
    os.kill(sleeper, signal.SIGTERM)
    killed = os.waitstatus_to_exitcode(os.waitpid(sleeper, 0)[1])

    def answer(way: Connection) -> None:
        way.send(sum(range(100)))

    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=answer, args=(there,))
    process.start()
    total = here.recv()
    process.join()
    return {
        "parent": said.decode(), "status": status, "killed": killed, "total": total, "exitcode": process.exitcode,
        "lock": outcome(lambda: multiprocessing.get_context("fork").Lock()),
    }  # fmt: skip


def programs(_http: int, _tls: int) -> dict[str, Any]:
    """Programs that a connector would like to start."""
    return {
        "run": outcome(lambda: subprocess.run([sys.executable, "-c", "0"], check=False)),
        "shell": outcome(lambda: subprocess.run("true", shell=True, check=False)),
        "absent": outcome(lambda: subprocess.run(["/absent"], check=False)),
        "spawn": outcome(lambda: os.posix_spawn(sys.executable, [sys.executable, "-c", "0"], {})),
        "exec": outcome(lambda: os.execv(sys.executable, [sys.executable, "-c", "0"])),
        "library": ctypes.util.find_library("c") is None,
    }


def signals(_http: int, _tls: int) -> dict[str, Any]:
    """Handlers, timers, and threads that are woken."""
    seen: list[int] = []
    for number in (signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, lambda number, _frame: seen.append(number))
    signal.siginterrupt(signal.SIGUSR2, False)
    # A timer interrupts a sleep, which is then slept to its end.
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    time.sleep(0.05)
    signal.alarm(30)
    signal.alarm(0)
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.pthread_kill(threading.get_ident(), signal.SIGUSR2)
    signal.raise_signal(signal.SIGUSR1)
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    signal.pthread_sigmask(signal.SIG_SETMASK, old)
    with open("/tmp/stacks", "w+") as out:
        faulthandler.enable(out)
        faulthandler.dump_traceback_later(30, file=out)
        faulthandler.cancel_dump_traceback_later()
        faulthandler.dump_traceback(out)
        out.seek(0)
        stacks = "signals" in out.read()
    faulthandler.disable()
    return {"seen": sorted(seen), "stacks": stacks}


WORKLOADS = (forks, programs, signals)
