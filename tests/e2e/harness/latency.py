"""How long a daemon takes to answer something light while it is under load.

Asked from a process of its own, so that what the test itself does is not measured.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from .client import Client

EVERY = 0.01
"""Seconds between an answer and the next question."""


@dataclass
class Latency:
    """Asks GetCall about one call for as long as the context lasts.

    Attributes:
        milliseconds: Of every answer, sorted; there after the context.
    """

    target: str
    call_id: str
    milliseconds: list[float] = field(default_factory=list)

    def __enter__(self) -> Latency:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "harness.latency", self.target, self.call_id],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "asking\n"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        told, _ = self._process.communicate("\n", timeout=60)
        if error is None:
            self.milliseconds = sorted(json.loads(told))

    def at(self, share: float) -> float:
        """The time within which this share of the answers came, milliseconds."""
        return self.milliseconds[min(len(self.milliseconds) - 1, int(share * len(self.milliseconds)))]

    @property
    def figures(self) -> dict[str, float]:
        """Count, median, 99th percentile and the longest."""
        return {
            "answers": len(self.milliseconds),
            "p50_ms": round(self.at(0.5), 2),
            "p99_ms": round(self.at(0.99), 2),
            "max_ms": round(self.milliseconds[-1], 2),
        }


def ask(target: str, call_id: str) -> list[float]:
    """Asks until a line comes on standard input."""
    client = Client(target)
    client.call("GetCall", call_id=call_id)
    print("asking", flush=True)
    taken = []
    while not select.select([sys.stdin], [], [], EVERY)[0]:
        before = time.monotonic()
        client.call("GetCall", call_id=call_id)
        taken.append((time.monotonic() - before) * 1000)
    client.close()
    return taken


if __name__ == "__main__":
    print(json.dumps(ask(sys.argv[1], sys.argv[2])))
