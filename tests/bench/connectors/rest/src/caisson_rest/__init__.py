"""A connector as most are: the CDK with its HTTP client, and nothing of others'.

The first thing that it does is to log the time at which it does so.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from caisson import Connector, stream

__all__ = ["Rest"]


class Rest(Connector[Any]):
    """One record, and the time."""

    def open(self) -> None:
        self.log.info("%d", time.time_ns())
        self.http = self.client("http://localhost")

    def test(self) -> None:
        """Nothing can be wrong."""

    @stream(schema=[{"name": "id", "type": "int64"}])
    def row(self) -> Iterator[dict[str, Any]]:
        yield {"id": 1}
