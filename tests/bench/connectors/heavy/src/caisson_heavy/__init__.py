"""A connector that carries httpx and pydantic in its bundle.

The first thing that it does is to log the time at which it does so.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pydantic

from caisson import Connector, stream

__all__ = ["Heavy"]


class Row(pydantic.BaseModel):  # type: ignore[misc]  # not installed where this is checked
    """What a record is."""

    id: int
    user_agent: str


class Heavy(Connector[Any]):
    """One record, and the time."""

    def open(self) -> None:
        self.log.info("%d", time.time_ns())

    def test(self) -> None:
        """Nothing can be wrong."""

    @stream(schema=[{"name": "id", "type": "int64"}, {"name": "user_agent", "type": "string"}])
    def row(self) -> Iterator[dict[str, Any]]:
        yield Row(id=1, user_agent=httpx.__version__).model_dump()
