"""The burglar inside: one record a theft."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from caisson import Connector, Idle, Secret, stream

from .attempts import find
from .loot import commit


@dataclass
class Config:
    """What to try, and on what."""

    world: str = "{}"
    thefts: str = "[]"
    extra: dict[str, Any] = field(default_factory=dict)
    token: Secret | None = None


class Burglar(Connector[Config]):
    """Tries what its config names."""

    def test(self) -> None:
        """Nothing to try."""

    @stream(primary_key="theft", modes=("full", "streaming"))
    def loot(self) -> Iterator[dict[str, Any] | Idle]:
        """What came of each theft."""
        token = self.config.token.reveal() if self.config.token else ""
        world = {**json.loads(self.config.world), **self.config.extra, "caged": True, "token": token}
        for number, name in json.loads(self.config.thefts):
            if number == "neighbour":
                yield from self.linger(world["canary"])
                continue
            theft = find(number, name)
            # What ends the worker shall end it by its own error too, so it is not caught.
            result = {"escaped": True, "returned": theft.steal(world)} if theft.ends else commit(theft, world)
            yield {"theft": f"{number} {name}", "result": json.dumps(result)}

    def linger(self, canary: str) -> Iterator[dict[str, Any] | Idle]:
        """Another tenant's worker: it holds a canary in its tmp, and stays."""
        Path("/tmp/canary").write_text(canary)
        yield {"theft": "neighbour", "result": "{}"}
        while True:
            yield Idle(0.2)
