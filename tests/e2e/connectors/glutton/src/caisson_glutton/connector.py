"""One stream, and in its middle every way of taking more than is allowed."""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from caisson import Connector, Secret, stream

FIELDS = [
    {"name": "id", "type": "int64", "nullable": False},
    {"name": "text", "type": "string", "nullable": True},
]


@dataclass
class Config:
    """What it takes, and how slowly it yields."""

    count: int = 100
    takes: str = "nothing"
    pause: float = 0
    token: Secret | None = None


class Glutton(Connector[Config]):
    """A source that needs no network."""

    def test(self) -> None:
        """Nothing to try."""

    @stream(schema=FIELDS, primary_key="id")
    def rows(self) -> Iterator[dict[str, Any]]:
        for number in range(1, self.config.count + 1):
            if number == self.config.count // 2:
                self.take()
            if self.config.pause:
                time.sleep(self.config.pause)
            yield {"id": number, "text": "x" * 100}

    def take(self) -> None:
        """Takes what the config names."""
        ways: dict[str, Callable[[], None]] = {
            "nothing": lambda: None,
            "memory": memory,
            "one large allocation": lambda: print(len(bytearray(1 << 40))),
            "memory in tmp": files_in_tmp,
            "tmp": tmp,
            "threads": threads,
            "processes": processes,
            "files": files,
            "sockets": sockets,
            "processor": processor,
            "lines": lines,
            "large lines": large_lines,
            "time asleep": self.time_asleep,
            "time busy": time_busy,
            "time unheard": time_unheard,
        }
        ways[self.config.takes]()

    def time_asleep(self) -> None:
        """One thread waits for bytes that never come, and this one sleeps; both under names with the secret."""
        token = self.config.token.reveal() if self.config.token is not None else "nothing"
        there = threading.Event()

        def listening() -> None:
            pair = socket.socketpair()
            there.set()
            pair[0].recv(1)

        def sleeping() -> None:
            time.sleep(3600)

        for function in (listening, sleeping):
            code = function.__code__
            function.__code__ = code.replace(
                co_name=f"{code.co_name}_with_{token}", co_filename=f"/tmp/{token}/{code.co_name}.py"
            )
        threading.Thread(target=listening, daemon=True).start()
        there.wait()
        sleeping()


def memory() -> None:
    held = []
    while True:
        held.append(bytearray(os.urandom(1 << 20)))


def files_in_tmp() -> None:
    for number in range(1 << 20):
        Path(f"/tmp/{number}").write_bytes(b"x" * (1 << 20))


def tmp() -> None:
    with Path("/tmp/fill").open("wb", buffering=0) as fill:
        while True:
            fill.write(b"x" * (1 << 20))


def threads() -> None:
    while True:
        threading.Thread(target=threading.Event().wait, daemon=True).start()


def processes() -> None:
    while True:
        if os.fork() == 0:
            signal.pause()


def files() -> None:
    held = []
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))


def sockets() -> None:
    held = []
    while True:
        held.append(socket.socket())


def processor() -> None:
    until = time.process_time() + 0.4
    while time.process_time() < until:
        pass


def lines() -> None:
    for _ in range(60_000):
        print("a line " * 50)


def large_lines() -> None:
    for _ in range(2_000):
        print("x" * 60_000)


def time_busy() -> NoReturn:
    while True:
        pass


def time_unheard() -> NoReturn:
    faulthandler.unregister(signal.SIGQUIT)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    time_busy()
