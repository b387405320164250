"""Uses TCP or HTTPS through the gateway and yields the figure that `plumbing` or `requesting` finds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from caisson import Connector, stream

from . import plumbing, requesting

__all__ = ["Plumb"]


@dataclass
class Config:
    """What is done."""

    port: int
    what: str
    amount: int = 1000
    token: str = ""
    sealed: str = ""


class Plumb(Connector[Config]):
    """A source whose one record's number is a figure."""

    def test(self) -> None:
        """Nothing can be wrong."""

    @stream(schema=[{"name": "nanoseconds", "type": "int64"}])
    def figure(self) -> Iterator[dict[str, Any]]:
        what, amount = self.config.what, self.config.amount
        if what == "nothing":
            found = 0
        elif what == "latency":
            key = self.config.token or self.config.sealed
            found = requesting.latency("localhost", self.config.port, amount, None, key)
        elif what in requesting.WORK:
            # The worker's own roots, which hold the gateway's authority.
            found = requesting.WORK[what]("localhost", self.config.port, amount, None)
        else:
            found = plumbing.WORK[what]("localhost", self.config.port, amount)
        yield {"nanoseconds": found}
