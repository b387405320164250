"""A destination that keeps nothing, and takes several batches at once."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from caisson import Batch, Checkpoint, Connector, Reject, Stream


@dataclass
class Config:
    """How it behaves."""

    meet: int = 1
    hang_at: int = 0
    fail_at: int = 0


class Crowd(Connector[Config]):
    """Its batches wait for each other, so that too few at once are noticed."""

    def open(self) -> None:
        self.barrier = threading.Barrier(self.config.meet)

    def test(self) -> None:
        """Nothing to try."""

    def write(self, stream: Stream, batch: Batch) -> list[Reject]:
        """Rejects the first record of each batch, once enough of them have met."""
        first = next(iter(batch))["id"]
        numbers = range(first, first + len(batch))
        if self.config.hang_at in numbers:
            threading.Event().wait()
        if self.config.fail_at in numbers:
            raise RuntimeError(f"failing at record {self.config.fail_at}")
        self.barrier.wait(60)
        return [Reject(0, f"the first of {len(batch)}")]

    def commit(self, stream: Stream, checkpoint: Checkpoint | None) -> None:
        """Nothing is kept, so all is durable."""
