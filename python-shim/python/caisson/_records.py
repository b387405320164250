"""What travels between an author's hooks and the CDK besides plain dicts."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Checkpoint:
    """A point that a later read resumes from, or a commit makes durable.

    A source yields `Checkpoint(state)` once everything before it was yielded
    (methods that take `state`), or `Checkpoint(cursor=value)` after Arrow data
    of a stream with a managed cursor. A destination gets one in `commit`.

    Args:
        state: JSON values; what `state` will be next time.
        cursor: How far a managed cursor has come.
    """

    __slots__ = ("cursor", "final", "id", "partition", "records", "state", "stream")

    def __init__(self, state: Any = None, *, cursor: Any = None) -> None:
        self.state = state
        self.cursor = cursor
        self.id = ""
        self.stream = ""
        self.partition = ""
        self.records = 0
        self.final = False

    def __repr__(self) -> str:
        return f"Checkpoint(id={self.id!r}, final={self.final})"


class Idle:
    """Yielded by a streaming read that has caught up: wait, and go on.

    Args:
        seconds: How long; the CDK keeps checkpoints and heartbeats going meanwhile.
    """

    __slots__ = ("seconds",)

    def __init__(self, seconds: float = 1.0) -> None:
        self.seconds = seconds


class Reject:
    """One record of a batch that a destination refuses.

    Args:
        index: The record's place in the batch, from 0.
        reason: Why, in one sentence.
    """

    __slots__ = ("index", "reason")

    def __init__(self, index: int, reason: str) -> None:
        self.index = index
        self.reason = reason
