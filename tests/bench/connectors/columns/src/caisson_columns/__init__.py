"""Yields one Arrow batch from memory, many times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from caisson import Connector, stream

from .columns import batch

__all__ = ["Columns"]
ROWS = batch()


@dataclass
class Config:
    """How many."""

    batches: int = 100


class Columns(Connector[Config]):
    """A source whose data is Arrow already."""

    def test(self) -> None:
        """Nothing can be wrong."""

    @stream(schema=ROWS.schema)
    def rows(self) -> Iterator[Any]:
        for _ in range(self.config.batches):
            yield ROWS
