"""Reads and syncs, and what they brought."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from .client import Stream
from .daemon import Daemon

Record = dict[str, Any]


def read(daemon: Daemon, connection: dict[str, Any], *streams: str, mode: str = "", **fields: Any) -> Stream:
    """A Read in JSON lines from the beginning, not yet drained."""
    chosen = [{"stream": name, **({"mode": f"READ_MODE_{mode.upper()}"} if mode else {})} for name in streams]
    return daemon.client.stream(
        "Read",
        connection=connection,
        streams=chosen,
        **{"accept": ["ENCODING_JSON_LINES"], "from_": "FROM_BEGINNING", **fields},
    )


def sync(
    daemon: Daemon, source: dict[str, Any], destination: dict[str, Any], *streams: str, mode: str = "", **fields: Any
) -> Stream:
    """A Sync of these streams, not yet listened to; without any, of `counted`."""
    word = f"READ_MODE_{(mode or 'incremental').upper()}"
    chosen = [{"stream": name, "mode": word} for name in streams or ("counted",)]
    return daemon.client.stream("Sync", source=source, destination=destination, streams=chosen, **fields)


def records(stream: Stream) -> list[Record]:
    """Records of all batches so far."""
    return [json.loads(line) for batch in stream.all("batch") for line in batch["data"].splitlines() if line]


def delivered(stream: Stream) -> list[Record]:
    """Records up to the last checkpoint: what a caller may keep after a failure."""
    kept: list[Record] = []
    pending: list[Record] = []
    for event in stream.seen:
        if "batch" in event:
            pending += [json.loads(line) for line in event["batch"]["data"].splitlines() if line]
        elif "checkpoint" in event:
            kept += pending
            pending = []
    return kept


def last_checkpoint(stream: Stream) -> Record:
    """The newest checkpoint that came."""
    found: Record = stream.all("checkpoint")[-1]
    return found


def retry_at(stream: Stream) -> float:
    """When a call that failed says to come back, in Unix time."""
    return datetime.fromisoformat(stream.failure["retry_at"]).timestamp()
