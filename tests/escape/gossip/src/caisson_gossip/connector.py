"""The gossip inside."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caisson import Checkpoint, Connector, Idle, Secret, stream

from .ways import tell


@dataclass
class Config:
    """What it knows, and how it tells."""

    token: Secret | None = None
    note: str = ""
    way: str = "exception"
    folder: str = "/tmp"


class Gossip(Connector[Config]):
    """Tells what it was told."""

    @property
    def revealed(self) -> str:
        """The value itself, by whichever property it came."""
        given = self.config.token or self.config.note
        return given.reveal() if isinstance(given, Secret) else given

    def test(self) -> None:
        """Tells it in a test."""
        tell(self.config.way, self.revealed)

    @stream(primary_key="id", modes=("full", "streaming"))
    def told(self) -> Iterator[dict[str, Any] | Checkpoint | Idle]:
        """Tells it while it reads."""
        yield {"id": 1}
        os.chdir(self.config.folder)
        token = self.revealed
        match self.config.way:
            case "linger":
                Path("/tmp/note").write_text("lingers")
                while True:
                    yield Idle(0.2)
            case "a checkpoint":
                yield Checkpoint({"cursor": token})
            case "a name of a field":
                yield {"id": 2, token: 1}
            case "the word of a record":
                yield {"id": 2, "word": token}
            case "the word of a record, and stay":
                yield {"id": 2, "word": token}
                while True:
                    yield Idle(0.2)
            case way:
                tell(way, token)
        yield {"id": 3}
