"""A destination that keeps nothing."""

from __future__ import annotations

from dataclasses import dataclass

from caisson import Batch, Checkpoint, Connector, Reject, Secret, Stream


@dataclass
class Config:
    """How it behaves."""

    reject: int = 0
    fail_at: int = 0
    token: Secret | None = None


class Sink(Connector[Config]):
    """Takes batches of at most ten records."""

    taken = 0

    @property
    def told(self) -> str:
        """What it says wherever it says anything, if it has a secret."""
        return f" with {self.config.token.reveal()}" if self.config.token is not None else ""

    def test(self) -> None:
        """Nothing to try."""

    def write(self, stream: Stream, batch: Batch) -> list[Reject]:
        """Counts; rejects and fails as configured."""
        if len(batch) > 10:
            raise ValueError(f"a batch of {len(batch)} records")
        rejects = []
        for index, record in enumerate(batch.records()):
            self.taken += 1
            if self.taken == self.config.fail_at:
                raise RuntimeError(f"failing at record {self.taken} of {stream.name}{self.told}")
            if self.config.reject and record["id"] % self.config.reject == 0:
                rejects.append(Reject(index, f"its number divides{self.told}"))
        return rejects

    def commit(self, stream: Stream, checkpoint: Checkpoint | None) -> None:
        """Nothing is kept, so all is durable."""
        self.log.info("committed %s at %s%s", stream.name, checkpoint.id if checkpoint else "the end", self.told)
