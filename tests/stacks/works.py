"""One workload, as a call."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from harness import Daemon
from harness.read import read, records

Work = Callable[..., dict[str, Any]]


def work(daemon: Daemon, connection: dict[str, Any]) -> dict[str, Any]:
    """What one workload found."""
    stream = read(daemon, connection, "work").drain()
    assert stream.summary
    (record,) = records(stream)
    found: dict[str, Any] = record["found"]
    return found


def failed(daemon: Daemon, connection: dict[str, Any]) -> str:
    """How a workload that must not succeed ended."""
    failure: dict[str, Any] = read(daemon, connection, "work").drain().failure
    return json.dumps(failure)
