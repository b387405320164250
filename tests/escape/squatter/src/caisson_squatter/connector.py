"""Reports which of the squatter's modules ran."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from caisson import Connector, stream

from .marks import NAMES, ran


class Squatter(Connector[Any]):
    """Tells, and tries nothing more."""

    def test(self) -> None:
        """Nothing to try."""

    @stream(primary_key="name")
    def squatted(self) -> Iterator[dict[str, Any]]:
        """One record a name."""
        for name in NAMES:
            yield {"name": name, "when": ran(name)}
