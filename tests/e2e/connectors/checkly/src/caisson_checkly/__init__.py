"""Checkly by `tap-checkly` of PyPI."""

from __future__ import annotations

from collections.abc import Iterator

from caisson import stream
from caisson.singer import Tap


class Checkly(Tap):
    """The tap as it comes, and a stream that tells what it was given."""

    command = "tap-checkly"

    @stream()
    def given(self) -> Iterator[dict[str, str]]:
        yield {"key": self.config["token"].reveal()}
