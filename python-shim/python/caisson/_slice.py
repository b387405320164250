"""How far a stream has come, and what a checkpoint may say about it.

No IO here: records go in, and out comes whether to deliver each one, and a
state that loses nothing if the worker dies right after it was stored.

A slice is one pass over the source. In order "asc" the cursor moves with the
records. Otherwise it stands still until the slice ends, and a checkpoint in
the middle holds the pages that are done and the upper bound that the cursor
will move to. What shares the boundary value is told apart by content.
"""

from __future__ import annotations

from ._cursor import Cursor, precedes, unix_time
from ._native import Trail
from ._state import digest, digests
from .errors import SchemaViolation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    Verdict = Literal["deliver", "skip", "end"]

MAX_TIES = 10_000
"""Records at one cursor value that a state names; beyond, they are delivered again."""


class Slice:
    """The progress of one stream (or partition) with a managed cursor, or with none.

    Args:
        stream: Its name, for messages.
        field: The cursor field; "" for none.
        order: "asc", "desc" or None.
        keyed: True if the stream has a primary key.
        mode: "full", "incremental" or "streaming".
        start: Where the cursor starts if nothing has been read.
        state: What `_state.decode` gave.
        now: Unix time at which the slice begins.
    """

    def __init__(
        self,
        stream: str,
        *,
        field: str,
        order: str | None,
        keyed: bool,
        mode: str,
        start: Any,
        state: dict[str, Any],
        now: float,
    ) -> None:
        if mode == "full" and not state.get("partial"):
            state = {}
        self._stream = stream
        self._field = field
        self._order = order
        self._keyed = keyed
        self._full = mode == "full"
        self._boundary: Any = state.get("cursor") if field else None
        self._boundary_ties: dict[str, int] = dict(state.get("keys") or {})
        self._expected = dict(self._boundary_ties)
        self._upper: Any = state.get("upper")
        self._upper_ties: dict[str, int] = dict(state.get("upper_keys") or {})
        self._upper_records: list[dict[str, Any]] = []
        self._seen: Any = None
        self._began = float(state.get("began") or now)
        self._finished = False
        self._moves = 0
        self._saved = 0
        self.trail = Trail(state.get("pages") or {})
        self.cursor = Cursor(start if self._boundary is None else self._boundary, initial=self._boundary is None)

    @property
    def orderly(self) -> bool:
        """True if the cursor may move with each record."""
        return self._order == "asc"

    @property
    def plain(self) -> bool:
        """True if every record is delivered, whatever it holds."""
        return not self._field

    @property
    def moved(self) -> bool:
        """True if `state()` would say more than the last one that was saved."""
        if self.orderly:
            return self._moves != self._saved
        return self.trail.moves != self._saved and self.trail.exact

    def judge(self, record: dict[str, Any]) -> Verdict:
        """Whether to deliver `record`. "end": nothing new can follow, the slice is over.

        Raises:
            SchemaViolation: The cursor cannot be compared, or falls although `order="asc"`.
        """
        if self._order != "asc":
            self.trail.arrive(record)
        if not self._field:
            return "deliver"
        value = record.get(self._field)
        if value is None:
            return "deliver"
        boundary = self._boundary
        if boundary is not None:
            if value != boundary and precedes(value, boundary):
                return "end" if self._order == "desc" else "skip"
            if self._expected and not precedes(boundary, value) and self._delivered_before(record):
                return "skip"
        if self.orderly and self._seen is not None and value != self._seen and precedes(value, self._seen):
            raise SchemaViolation(
                f"stream {self._stream}: order='asc' is declared, but a record is older by "
                f"{self._field} than the one before it",
                action="Ask the API to sort by the cursor, or declare no order for the stream.",
            )
        return "deliver"

    def skipped(self) -> None:
        """The record that was judged last needs no delivery."""
        if not self.orderly:
            self.trail.passed()

    def delivered(self, record: dict[str, Any]) -> None:
        """`record` was accepted for delivery."""
        if not self.orderly:
            self.trail.passed()
        if not self._field:
            return
        value = record.get(self._field)
        if value is None:
            return
        upper = self._upper
        if self.orderly:
            self._moves += 1
            self._seen = value
            self.cursor.value = value
        elif self._order == "desc":
            if upper is not None and value != upper:
                return
        elif self._in_future(value):
            return
        if upper is None or (value != upper and precedes(upper, value)):
            self._upper = value
            self._upper_ties = {}
            self._upper_records = [record]
        elif len(self._upper_records) <= MAX_TIES and (value == upper or not precedes(value, upper)):
            self._upper_records.append(record)

    def vouch(self, value: Any) -> None:
        """The author says that everything up to `value` was delivered (Arrow data)."""
        self._upper = value
        self._upper_ties = {}
        self._upper_records = []
        self._seen = value
        self._moves += 1
        if self.orderly:
            self.cursor.value = value

    def state(self) -> dict[str, Any]:
        """What is safe to resume from now, in the middle of the slice."""
        if self._finished:
            return self._finished_state()
        partial: dict[str, Any] = {"partial": True} if self._full else {}
        if self.orderly:
            return {**self._advanced(), **partial}
        state = {**self._standing(), **partial}
        pages = self.trail.pages
        if pages:
            state["pages"] = pages
            state["began"] = self._began
            if self._upper is not None:
                state["upper"] = self._upper
                state["upper_keys"] = self._ties()
        return state

    def saved(self) -> None:
        """The present state is in a checkpoint."""
        self._saved = self._moves if self.orderly else self.trail.moves

    def finish(self) -> dict[str, Any]:
        """The slice is complete: the cursor moves to the upper bound. Returns the final state."""
        self._finished = True
        return self._finished_state()

    def restart(self, now: float) -> bool:
        """Begins the next slice where this one ended (streaming); returns whether the cursor moved."""
        state = self._finished_state()
        moved: bool = state.get("cursor") != self._boundary or state.get("keys", {}) != self._boundary_ties
        self._boundary = state.get("cursor")
        self._boundary_ties = dict(state.get("keys") or {})
        self._expected = dict(self._boundary_ties)
        self._upper = self._seen = None
        self._upper_ties = {}
        self._upper_records = []
        self._began = now
        self._full = self._finished = False
        self.trail.restart()
        if self._boundary is not None:
            self.cursor.value = self._boundary
            self.cursor.initial = False
        return moved

    def _delivered_before(self, record: dict[str, Any]) -> bool:
        name = digest(record)
        if self._keyed:
            return name in self._boundary_ties
        left = self._expected.get(name, 0)
        if left:
            self._expected[name] = left - 1
        return left > 0

    def _in_future(self, value: Any) -> bool:
        # A source without order may change a page that was read already while
        # later ones are read: nothing newer than the slice's begin is certain.
        found = unix_time(value, self._began)
        return found is not None and found > self._began

    def _ties(self) -> dict[str, int]:
        if len(self._upper_records) > MAX_TIES:
            return {}
        return digests(self._upper_records, self._upper_ties)

    def _standing(self) -> dict[str, Any]:
        if self._boundary is None:
            return {}
        return {"cursor": self._boundary, "keys": self._boundary_ties}

    def _advanced(self) -> dict[str, Any]:
        if self._upper is None:
            return self._standing()
        boundary = self._boundary
        if boundary is None or (self._upper != boundary and precedes(boundary, self._upper)):
            return {"cursor": self._upper, "keys": self._ties()}
        ties = dict(self._boundary_ties)
        for name, count in self._ties().items():
            ties[name] = ties.get(name, 0) + count
        return {"cursor": boundary, "keys": ties}

    def _finished_state(self) -> dict[str, Any]:
        return self._advanced() if self._field else {}
