"""Greenhouse by `airbyte-source-greenhouse` of PyPI."""

from __future__ import annotations

from collections.abc import Iterator

from caisson import stream
from caisson.airbyte import Source


class Greenhouse(Source):
    """The source as it comes, and a stream that tells what it was given."""

    command = "source-greenhouse"

    @stream()
    def given(self) -> Iterator[dict[str, str]]:
        yield {"key": self.config["api_key"].reveal()}
