"""One stream being read: takes what the author yields, delivers it, and makes checkpoints.

`Managed` keeps the cursor for the author; `Owned` carries the author's own
state. Neither waits: `advance` returns how long the author is idle.
"""

from __future__ import annotations

from ._records import Checkpoint, Idle
from ._state import encode
from .errors import ConnectorFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from ._call import Call
    from ._cursor import Cursor
    from ._native import Track, Trail
    from ._slice import Slice
    from ._streams import Stream

    class EmitterLike(Protocol):
        """What a run needs of `_native.Emitter`."""

        def record(self, record: dict[str, Any]) -> None: ...
        def arrow(self, data: Any) -> int: ...
        def pump(
            self, source: Any, most: int, trail: Trail | None = None, limit: int | None = None
        ) -> tuple[int, Any, bool]: ...
        @property
        def pumped(self) -> int: ...
        def checkpoint(self, state: bytes, final: bool = False) -> str: ...
        def flush(self) -> None: ...
        def close(self) -> None: ...


class Pace:
    """How often a stream is checkpointed.

    Args:
        records: After so many records, where a record may carry a checkpoint.
        seconds: After so long.
        page_records: After so many records, where a page just ended.
        page_seconds: After so long, where a page just ended.
    """

    __slots__ = ("page_records", "page_seconds", "records", "seconds")

    def __init__(
        self,
        records: int = 10_000,
        seconds: float = 5.0,
        page_records: int = 5_000,
        page_seconds: float = 1.0,
    ) -> None:
        self.records = records
        self.seconds = seconds
        self.page_records = page_records
        self.page_seconds = page_seconds


LOOK_EVERY = 32
"""Records between two looks at the clock in a read that ends."""


class StreamRun:
    """The part that both kinds share.

    Attributes:
        count: Records delivered.
    """

    def __init__(self, call: Call, stream: Stream, emitter: EmitterLike, pace: Pace, max_records: int = 0) -> None:
        self.call = call
        self.stream = stream
        self.count = 0
        self._emitter = emitter
        self._pace = pace
        self._max = max_records
        self._look_every = 1 if stream.mode == "streaming" else min(LOOK_EVERY, max(1, pace.records))
        self._announced = False
        self._pumping = False
        self._at_checkpoint = 0
        self._checkpoint_at = call.clock.monotonic()
        self._looked_at = self._checkpoint_at

    def advance(self, source: Any) -> float | None:
        """Takes items until the author is idle (returns for how long) or done (returns None)."""
        if hasattr(source, "__anext__"):
            idle: float | None = self.call.loop.run_until_complete(self._pump(source))
            return idle
        most = 1
        while self._plain:
            left = self._max - self.count if self._max else None
            # The first record goes alone, so that "running" is told at once.
            limit = 1 if most == 1 else left
            self._pumping = True
            try:
                count, item, over = self._emitter.pump(source, most, self._trail, limit)
            except BaseException:
                count = self._emitter.pumped
                raise
            finally:
                self._pumping = False
                self.count += count
            if count:
                self._running()
                self._look()
            if over or self.limited:
                return None
            wait = None if item is None else self.accept(item)
            if wait is not None:
                return None if wait < 0 else wait
            most = self._look_every
        for item in source:
            wait = self.accept(item)
            if wait is not None:
                return None if wait < 0 else wait
        return None

    @property
    def _plain(self) -> bool:
        """Whether a record needs nothing but to be encoded: then the encoder takes many without a look at each."""
        return self.stream.mode != "streaming"

    @property
    def _trail(self) -> Trail | None:
        """What follows the pages through this stream."""
        return None

    async def _pump(self, source: Any) -> float | None:
        async for item in source:
            wait = self.accept(item)
            if wait is not None:
                return None if wait < 0 else wait
        return None

    def accept(self, item: Any) -> float | None:
        """Takes one yielded item.

        Returns:
            None to go on; seconds that the author is idle; negative if the stream is over.
        """
        if type(item) is dict:
            over = self._record(item)
            if self.count % self._look_every == 0:
                self._look()
            return -1.0 if over or (self._max and self.count >= self._max) else None
        if item is None or isinstance(item, Idle):
            self._look()
            return 1.0 if item is None else item.seconds
        if isinstance(item, Checkpoint):
            self._explicit(item)
            self._look()
            return None
        if hasattr(item, "__arrow_c_stream__") or hasattr(item, "__arrow_c_array__"):
            self.count += self._emitter.arrow(item)
            self._running()
            self._look()
            return -1.0 if self._max and self.count >= self._max else None
        if hasattr(item, "keys"):
            return self.accept(dict(item))
        raise ConnectorFailed(
            f"stream {self.stream.name}: it yields {type(item).__name__}; "
            "yield dicts, Arrow data, Checkpoint(...) or Idle(...)"
        )

    def track(self, request: str) -> Track | None:
        """For the client: follows the pages of one request through this stream, where that is of use."""
        return None

    def page(self, track: Track, token: Any) -> None:
        """For the client: a page of `track` ends."""
        track.page(token)
        self._page_ended()

    def settle(self) -> None:
        """Makes a checkpoint now, if one would say anything new."""
        raise NotImplementedError

    def finish(self) -> None:
        """The stream is complete: final checkpoint and status."""
        raise NotImplementedError

    def idle(self) -> None:
        """The author has caught up (streaming): a slice ends here."""
        self.settle()

    def flush(self) -> None:
        """Delivers what was accepted."""
        self._emitter.flush()

    def close(self) -> None:
        """Ends the encoder."""
        self._emitter.close()

    def announce(self) -> None:
        """Says that the stream has started."""
        self._status("started")

    @property
    def limited(self) -> bool:
        """True if the stream ended because the caller wanted no more records."""
        return bool(self._max) and self.count >= self._max

    def _record(self, record: dict[str, Any]) -> bool:
        raise NotImplementedError

    def _explicit(self, checkpoint: Checkpoint) -> None:
        raise NotImplementedError

    def _page_ended(self) -> None:
        return

    def _delivered(self) -> int:
        return self.count + (self._emitter.pumped if self._pumping else 0)

    def _due(self, records: int, seconds: float) -> bool:
        new = self._delivered() - self._at_checkpoint
        return new > 0 and (new >= records or self.call.clock.monotonic() - self._checkpoint_at >= seconds)

    def _look(self) -> None:
        now = self.call.clock.monotonic()
        if now - self._looked_at >= 0.05:
            self._looked_at = now
            self.call.check()
            self.call.alive("reading")  # records that are all left out send no frame

    def _send(self, state: dict[str, Any], final: bool = False) -> None:
        self._emitter.checkpoint(encode(state), final)
        self._at_checkpoint = self._delivered()
        self._checkpoint_at = self.call.clock.monotonic()

    def _running(self) -> None:
        if not self._announced:
            self._announced = True
            self._status("running")

    def _status(self, status: str) -> None:
        self.call.send(
            "stream_status",
            {"stream": self.stream.name, "partition": self.stream.partition, "status": status},
        )


class Managed(StreamRun):
    """A stream whose cursor (if it has one) and pages the CDK looks after."""

    def __init__(
        self,
        call: Call,
        stream: Stream,
        emitter: EmitterLike,
        pace: Pace,
        progress: Slice,
        max_records: int = 0,
    ) -> None:
        super().__init__(call, stream, emitter, pace, max_records)
        self._slice = progress
        self._orderly = progress.orderly

    @property
    def cursor(self) -> Cursor:
        """What the author's `since` is."""
        return self._slice.cursor

    def track(self, request: str) -> Track | None:
        return None if self._orderly else self._slice.trail.open(request)

    @property
    def _plain(self) -> bool:
        return super()._plain and self._slice.plain

    @property
    def _trail(self) -> Trail | None:
        return None if self._orderly else self._slice.trail

    def settle(self) -> None:
        if self._slice.moved:
            state = self._slice.state()
            self._slice.saved()
            self._send(state)

    def finish(self) -> None:
        self._running()
        if self.limited and not self._orderly:
            self._emitter.flush()
            self.settle()
        else:
            self._send(self._slice.state() if self.limited else self._slice.finish(), final=not self.limited)
            self._slice.saved()
        self._status("complete")

    def idle(self) -> None:
        if self._slice.restart(self.call.clock.now()) or self.count > self._at_checkpoint:
            self._send(self._slice.state())
            self._slice.saved()

    def _record(self, record: dict[str, Any]) -> bool:
        verdict = self._slice.judge(record)
        if not self._orderly and self._slice.moved and self._due(self._pace.page_records, self._pace.page_seconds):
            self.settle()
        if verdict != "deliver":
            self._slice.skipped()
            return verdict == "end"
        self._emitter.record(record)
        self.count += 1
        self._slice.delivered(record)
        if not self._announced:
            self._running()
        if self._orderly and self.count % self._look_every == 0 and self._due(self._pace.records, self._pace.seconds):
            self.settle()
        return False

    def _explicit(self, checkpoint: Checkpoint) -> None:
        if checkpoint.cursor is None:
            raise ConnectorFailed(
                f"stream {self.stream.name}: its method takes no `state`, so that Checkpoint(state) has no "
                "place to return to; take `state`, or yield Checkpoint(cursor=value)"
            )
        self._slice.vouch(checkpoint.cursor)
        if self._orderly:
            self.settle()

    def _page_ended(self) -> None:
        if self._slice.moved and self._due(self._pace.page_records, self._pace.page_seconds):
            self.settle()


class Owned(StreamRun):
    """A stream whose method takes `state` and yields its own checkpoints.

    Attributes:
        own: The author's state, as last checkpointed.
    """

    def __init__(
        self,
        call: Call,
        stream: Stream,
        emitter: EmitterLike,
        pace: Pace,
        state: Any,
        max_records: int = 0,
    ) -> None:
        super().__init__(call, stream, emitter, pace, max_records)
        self.own = state

    def settle(self) -> None:
        return  # only the author knows where a checkpoint is safe; each was sent when it was yielded

    def finish(self) -> None:
        self._running()
        if self.limited:
            self._emitter.flush()
        else:
            self._send(self._state(done=True), final=True)
        self._status("complete")

    def _record(self, record: dict[str, Any]) -> bool:
        self._emitter.record(record)
        self.count += 1
        self._running()
        return False

    def _explicit(self, checkpoint: Checkpoint) -> None:
        self.own = checkpoint.state
        self._send(self._state(done=False))

    def _state(self, done: bool) -> dict[str, Any]:
        state: dict[str, Any] = {"own": self.own}
        if self.stream.mode == "full" and not done:
            state["partial"] = True
        return state
