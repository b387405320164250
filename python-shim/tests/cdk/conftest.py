"""What several tests need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from loopback import Server


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[..., Any]], Server]]:
    """Starts servers that end with the test."""
    servers: list[Server] = []

    def start(answer: Callable[..., Any]) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
