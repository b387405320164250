"""The connector of a rehearsal: it speaks to no one."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caisson import Connector, Secret, stream

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Config:
    """Nothing."""

    name: str = "nobody"
    count: int = 1
    token: Secret | None = None


class Rehearsal(Connector[Config]):
    """Has two lines."""

    def test(self) -> None:
        """Nothing to try."""

    def open(self) -> None:
        """Logs as much as many do."""
        logging.getLogger(__name__).info("opened at %s", time.time())

    @stream(
        primary_key="id",
        cursor="id",
        modes=("full", "incremental"),
        schema=[
            {"name": "id", "type": "int64", "nullable": False},
            {"name": "text", "type": "string", "nullable": True},
        ],
    )
    def lines(self) -> Iterator[dict[str, object]]:
        """Two records."""
        for number in range(self.config.count):
            yield {"id": number, "text": f"{self.config.name} {number}"}
