"""Uses TCP through the gateway and logs the figure that `plumbing` finds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from caisson import Connector, stream

from .plumbing import WORK

__all__ = ["Plumb"]


@dataclass
class Config:
    """What is done."""

    port: int
    what: str
    amount: int = 1000


class Plumb(Connector[Config]):
    """A source whose one record's number is a figure."""

    def test(self) -> None:
        """Nothing can be wrong."""

    @stream(schema=[{"name": "nanoseconds", "type": "int64"}])
    def figure(self) -> Iterator[dict[str, Any]]:
        yield {"nanoseconds": WORK[self.config.what]("localhost", self.config.port, self.config.amount)}
