"""The smallest connector: what a start costs when there is nothing to import.

The first thing that it does is to log the time at which it does so.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from caisson import Connector, stream

__all__ = ["Blank"]


class Blank(Connector[Any]):
    """One record, and the time."""

    def open(self) -> None:
        self.log.info("%d", time.time_ns())

    def test(self) -> None:
        """Nothing can be wrong."""

    @stream(schema=[{"name": "id", "type": "int64"}])
    def row(self) -> Iterator[dict[str, Any]]:
        yield {"id": 1}
