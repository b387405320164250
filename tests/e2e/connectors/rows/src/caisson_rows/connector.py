"""Streams of rows, and every way of failing in the middle of one."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from caisson import Checkpoint, Connector, Cursor, Idle, Secret, Stream, errors, stream

Record = dict[str, Any]
FIELDS = [
    {"name": "id", "type": "int64", "nullable": False},
    {"name": "text", "type": "string", "nullable": True},
    {"name": "updated_at", "type": "string", "nullable": False},
]


@dataclass
class Config:
    """How much, and how badly."""

    count: int = 100
    behave: str = "well"
    at: int = 50
    size: int = 20
    heavy: int = 0
    weight: int = 900_000
    idle: float = 0.05
    token: Secret | None = None


def stamp(number: int) -> str:
    """Three rows share each second."""
    moment = datetime(2026, 1, 1) + timedelta(seconds=number // 3)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class Rows(Connector[Config]):
    """A source that needs no network."""

    def test(self) -> None:
        if self.config.behave == "credentials":
            raise errors.CredentialsInvalid("the token is not known")
        if self.config.behave == "exception in test":
            raise ValueError("it went wrong")

    def row(self, number: int) -> Record:
        return {"id": number, "text": "x" * self.config.size, "updated_at": stamp(number)}

    @stream(schema=FIELDS, primary_key="id")
    def rows(self) -> Iterator[Record]:
        for number in range(1, self.config.count + 1):
            if number == self.config.at:
                self.misbehave()
            row = self.row(number)
            if number == self.config.at and self.config.behave == "misfit":
                row["id"] = "not a number"
            if number == self.config.at and self.config.behave == "tell":
                row["text"] = f"é {self.revealed()} é"
            if number == self.config.at and self.config.behave == "large":
                row["text"] = "x" * 5_000_000
            yield row

    @stream(schema=FIELDS, primary_key="id", cursor="updated_at", order="asc")
    def ascending(self, since: Cursor) -> Iterator[Record]:
        for number in range(1, self.config.count + 1):
            if since.value is None or stamp(number) >= since.value:
                if number == self.config.at:
                    self.misbehave()
                yield self.row(number)

    @stream(schema=FIELDS, primary_key="id", cursor="updated_at", order="desc")
    def descending(self, since: Cursor) -> Iterator[Record]:
        for number in range(self.config.count, 0, -1):
            if since.value is None or stamp(number) >= since.value:
                yield self.row(number)

    @stream(schema=FIELDS, primary_key="id", modes=("full", "incremental", "streaming"))
    def counted(self, state: Any, mode: str) -> Iterator[Record | Checkpoint | Idle]:
        number = state["number"] if state else 0
        while mode == "streaming" or number < self.config.count:
            number += 1
            if number == self.config.at:
                self.misbehave()
            yield self.row(number)
            if number % 10 == 0:
                yield Checkpoint({"number": number})
                if mode == "streaming":
                    yield Idle(self.config.idle)

    @stream(primary_key="id")
    def undeclared(self) -> Iterator[Record]:
        for number in range(1, self.config.count + 1):
            yield {
                "id": number,
                "nested": {"a": [number], "b": None},
                "price": number / 4,
                "ok": number % 2 == 0,
                **({self.revealed(): 1} if self.config.behave == "name a field" else {}),
            }

    def list(self) -> Iterator[Stream]:
        for number in range(self.config.heavy):
            yield Stream(f"heavy{number}", FIELDS, primary_key="id", modes=("full", "incremental"))
        if self.config.behave == "name a stream":
            yield Stream(f"of {self.revealed()}", FIELDS, modes=("full",))
        if self.config.behave == "describe a field":
            yield Stream("described", [{"name": self.revealed(), "type": "string"}], modes=("full",))
            yield Stream("misfitting", [{"name": self.revealed(), "type": "int64"}], modes=("full",))

    def read(self, stream: Stream, state: Any) -> Iterator[Record | Checkpoint]:
        """Half of the rows before a checkpoint, half behind it; the state must come back as it went."""
        if stream.name in ("described", "misfitting"):
            yield {self.revealed(): "no number"}
            return
        ballast = stream.name[-1] * self.config.weight
        if state and state["ballast"] != ballast:
            raise RuntimeError(f"the state of {stream.name} came back with {len(state['ballast'])} other characters")
        for number in range(state["number"] + 1 if state else 1, self.config.count + 1):
            yield self.row(number)
            if number == self.config.count // 2:
                yield Checkpoint({"number": number, "ballast": ballast})

    def throttled(self, seconds: float) -> None:
        until = int((time.time() + seconds) * 1000)
        self._call.send("throttled", {"until_unix_ms": until, "host": "nowhere", "cause": "said so"})

    def revealed(self) -> str:
        return self.config.token.reveal() if self.config.token is not None else "nothing"

    def misbehave(self) -> None:
        token = self.revealed()
        match self.config.behave:
            case "exception":
                raise ValueError(f"it went wrong with {token}")
            case "credentials":
                raise errors.CredentialsInvalid("the token is not known")
            case "exit":
                os._exit(3)
            case "hang":
                threading.Event().wait()
            case "wait":
                # As a worker without the library's heartbeats would.
                self.throttled(4)
                time.sleep(4)
            case "lie":
                self.throttled(86_400)
                threading.Event().wait()
            case "garbage":
                os.write(1, bytes(range(256)) * 40)
                os.write(2, b"\xff\xfe\n")
            case "flood":
                for _ in range(60_000):
                    print("flood " * 60)
            case "frames":
                os.write(3, b"\xff" * 64)
            case "half a frame":
                os.write(3, b"\x10\x00\x00\x00\x10")
                os._exit(0)
            case "memory":
                kept = []
                while True:
                    kept.append(bytearray(os.urandom(1 << 20)))
            case "disk":
                with Path("/tmp/fill").open("wb", buffering=0) as fill:
                    while True:
                        fill.write(b"x" * (1 << 20))
            case "processes":
                threads = []
                while True:
                    thread = threading.Thread(target=threading.Event().wait, daemon=True)
                    thread.start()
                    threads.append(thread)
            case "system call":
                os.chroot("/tmp")
            case "leak":
                print(f"the token is {token}")
                sys.stderr.write(f"half of it {token[:4]}")
                sys.stderr.write(f"{token[4:]} the rest\n")
                self.log.warning("logged %s", token)
                raise RuntimeError(f"and raised {token}")
