"""Whether a read that is killed anywhere loses or repeats records."""

from __future__ import annotations

import json

from .._cursor import precedes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ._harness import Harness


def kill_after_each_checkpoint(
    harness: Harness,
    stream: str,
    *,
    mode: str = "",
    state: bytes | None = None,
    key: str | Sequence[str] | None = None,
    cursor: str | None = None,
    every: int = 1,
) -> list[dict[str, Any]]:
    """Reads `stream`, then once more from each of its checkpoints, and compares.

    A worker that dies right after a checkpoint leaves exactly what came before it.
    From there the rest must come: nothing lost, nothing twice, and nothing older than
    where the checkpoint stands.

    Args:
        harness: With a source that answers the same each time.
        stream: Its name.
        mode: The mode of all reads.
        state: Where the first read starts.
        key: What tells records apart; None: the whole record.
        cursor: A field by which nothing older than the checkpoint may come again.
        every: Records between checkpoints, where the source allows one.

    Returns:
        The records of the undisturbed read.

    Raises:
        AssertionError: From one of the checkpoints, records are lost, repeated or too old.
    """
    whole = harness.read(stream, mode=mode, state=state, checkpoint_every=every).check()
    expected = _counted(whole.records, key)
    for checkpoint in whole.checkpoints:
        before = whole.records[: checkpoint.before]
        rest = harness.read(stream, mode=mode, state=checkpoint.state, checkpoint_every=every).check()
        if checkpoint.final and mode == "full":
            continue  # a full read that was complete starts again
        got = _counted([*before, *rest.records], key)
        lost = {name: count for name, count in expected.items() if got.get(name, 0) < count}
        again = {name: count for name, count in got.items() if count > expected.get(name, 0)}
        if lost or again:
            raise AssertionError(f"from {checkpoint!r}: lost {list(lost)[:5]}, delivered again {list(again)[:5]}")
        bound = json.loads(checkpoint.state).get("cursor")
        if cursor is not None and bound is not None:
            old = [each for each in rest.records if each[cursor] is not None and precedes(each[cursor], bound)]
            if old:
                raise AssertionError(f"from {checkpoint!r}: {len(old)} records are older than the checkpoint")
    return whole.records


def _counted(records: list[dict[str, Any]], key: str | Sequence[str] | None) -> dict[str, int]:
    keys = [key] if isinstance(key, str) else key
    found: dict[str, int] = {}
    for record in records:
        part = record if keys is None else [record[name] for name in keys]
        name = json.dumps(part, sort_keys=True, default=str)
        found[name] = found.get(name, 0) + 1
    return found
