"""What a fork of a zygote does while it waits: a call of nothing.

Memory that a fork shares with its zygote becomes its own page by page, when
it writes there. A worker that has served a call before there is one finds
most of the pages that it will write to copied.
"""

# pathlib costs a worker's start more than all of this module.
# ruff: noqa: PTH118

from __future__ import annotations

import gc
import json
import logging
import os
import socket
import sys

from . import _logs, _native
from ._worker import hello, serve

NAME = "caisson_rehearsal"
START = {
    "operation": "read",
    "encoding": "arrow_ipc",
    "streams": [{"name": "lines", "partition": "", "mode": "full"}],
    "manifest_json": json.dumps(
        {"entrypoint": f"{NAME}:Rehearsal", "capabilities": ["test", "list", "read.full", "read.incremental"]}
    ),
    "config_json": json.dumps({"name": "nobody", "count": 2}),
    "secrets": [],
    "heartbeat_ms": 5000,
}


def rehearse(folder: str) -> None:
    """Imports a connector and reads its stream, for nobody.

    Args:
        folder: Where this package lies for now.
    """
    bundle = os.path.join(folder, "_rehearsed")
    path = list(sys.path)
    ours, theirs = socket.socketpair()
    try:
        channel = _native.Channel(theirs.detach())
        hello(channel, "")
        serve(channel, START, bundle=bundle)
    finally:
        sys.path[:] = path
        sys.modules.pop(NAME, None)
        for place in [place for place in sys.path_importer_cache if place.startswith(bundle)]:
            del sys.path_importer_cache[place]
        logging.root.manager.loggerDict.pop(NAME, None)
        _logs.remove()
        ours.close()
        gc.collect()
