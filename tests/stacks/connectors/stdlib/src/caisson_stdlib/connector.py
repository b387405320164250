"""One record: what a workload found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from caisson import Connector, stream

from . import clocks, files, imports, memory, network, processes, storage, threads

WORKLOADS = {
    workload.__name__: workload
    for part in (clocks, files, imports, memory, network, processes, storage, threads)
    for workload in part.WORKLOADS
}


@dataclass
class Config:
    """What to do, and which servers there are."""

    workload: str
    http: int = 0
    tls: int = 0


class Stdlib(Connector[Config]):
    """Runs one workload in a worker of its own."""

    def test(self) -> None:
        """Nothing to try."""

    @stream(primary_key="workload", modes=("full",))
    def work(self) -> Iterator[dict[str, Any]]:
        found = WORKLOADS[self.config.workload](self.config.http, self.config.tls)
        yield {"workload": self.config.workload, "found": found}
