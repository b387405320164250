"""What a fork of a zygote does while it waits: a call of nothing.

Memory that a fork shares with its zygote becomes its own page by page, when
it writes there. A worker that has served a call before there is one finds
most of the pages that it will write to copied.
"""

from __future__ import annotations

import json
import socket
import sys

from . import _logs, _native
from ._worker import serve

NAME = "caisson_rehearsal"
SOURCE = '''
from dataclasses import dataclass

from caisson import Connector, Secret, stream

@dataclass
class Config:
    """Nothing."""

    name: str = "nobody"
    count: int = 1
    token: Secret | None = None

class Rehearsal(Connector[Config]):
    """Speaks to no one."""

    def test(self) -> None:
        """Nothing to try."""

    @stream(primary_key="id", cursor="id", modes=("full", "incremental"), schema=[
        {"name": "id", "type": "int64", "nullable": False},
        {"name": "text", "type": "string", "nullable": True},
    ])
    def lines(self):
        """Two records."""
        for number in range(2):
            yield {"id": number, "text": f"{self.config.name} {number}"}
'''
START = {
    "operation": "list",
    "manifest_json": json.dumps({"capabilities": ["test", "list", "read.full", "read.incremental"]}),
    "config_json": json.dumps({"name": "nobody", "count": 2}),
    "secrets": [],
    "heartbeat_ms": 5000,
}


def rehearse() -> None:
    """Imports a connector and lists its streams, for nobody."""
    ours, theirs = socket.socketpair()
    try:
        channel = _native.Channel(theirs.detach())
        module = sys.modules[NAME] = type(sys)(NAME)
        exec(compile(SOURCE, NAME, "exec"), vars(module))
        serve(channel, START, connector=module.Rehearsal)
    finally:
        sys.modules.pop(NAME, None)
        _logs.remove()
        ours.close()
