"""One record: what a stack found."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from caisson import Connector, stream

# A worker loads only what its call is about.
MODULES = {
    "numpy": "arrays", "chance": "arrays", "pandas": "frames", "pyarrow": "columns", "polars": "frames",
    "duckdb": "analytics",
    "psycopg": "databases", "pymysql": "databases", "requests": "web", "httpx": "web", "aiohttp": "web",
    "botocore": "clouds", "grpcio": "rpc", "paramiko": "transfer", "cryptography": "crypto",
    "pydantic": "models", "orjson": "models",
}  # fmt: skip


@dataclass
class Config:
    """What to do, and which servers there are."""

    stack: str
    options: str = "{}"


class Stacks(Connector[Config]):
    """Runs one stack in a worker of its own."""

    def test(self) -> None:
        """Nothing to try."""

    @stream(primary_key="stack", modes=("full",))
    def work(self) -> Iterator[dict[str, Any]]:
        stack = self.config.stack
        module = importlib.import_module(f"caisson_stacks.{MODULES[stack]}")
        found = getattr(module, f"work_{stack}")(json.loads(self.config.options))
        yield {"stack": stack, "found": found}
