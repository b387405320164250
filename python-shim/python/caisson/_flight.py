"""Parts of batches on their way into a destination: how many at once, and which not beside which.

`write.concurrency` in connector.yaml says how many. Parts are begun in the
order in which they came. Two that hold the same key of an upserted stream are
never under way together, or the older one might land last.
"""

from __future__ import annotations

from ._batch import Batch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol

    from ._call import Call
    from ._native import RecordBatch
    from ._records import Reject
    from ._streams import Stream

    class Task(Protocol):
        """What a carrier gives for a part that it took: a future."""

        def done(self) -> bool: ...
        def result(self) -> list[Reject]: ...

    class Carrier(Protocol):
        """Carries parts: in threads, or as tasks of an event loop."""

        def take(self, part: Part) -> Task: ...
        def wait(self, tasks: Sequence[Task], seconds: float) -> None: ...
        def stop(self, tasks: Sequence[Task]) -> None: ...


STEP = 0.05
"""Seconds between two looks at what landed, and at whether the call was cancelled."""

PATIENCE = 2.0
"""Seconds that parts which are under way get when the call ends; the daemon waits little longer."""


class Part:
    """Records that one `write` gets.

    Attributes:
        stream: Theirs.
        records: The records.
        offset: Place of the first one in the batch that the daemon sent.
        keys: What identifies the records, where another part may not overtake them.
        rejects: What `write` gave, once the part has landed; None before.
    """

    __slots__ = ("keys", "offset", "records", "rejects", "stream", "task")

    def __init__(self, stream: Stream, records: RecordBatch, offset: int, keys: frozenset[str]) -> None:
        self.stream = stream
        self.records = records
        self.offset = offset
        self.keys = keys
        self.rejects: list[Reject] | None = None
        self.task: Task | None = None

    @property
    def batch(self) -> Batch:
        """What `write` is given."""
        return Batch(self.records, self.offset)

    def meets(self, other: Part) -> bool:
        """Whether the two may not be under way together."""
        return self.stream.name == other.stream.name and not self.keys.isdisjoint(other.keys)


class Flight:
    """At most so many parts under way at once.

    Args:
        call: The call.
        width: How many.
        carrier: What carries them.
    """

    def __init__(self, call: Call, width: int, carrier: Carrier) -> None:
        self._call = call
        self._width = width
        self._carrier = carrier
        self._under_way: list[Part] = []

    def __len__(self) -> int:
        return len(self._under_way)

    def start(self, part: Part) -> None:
        """Sends a part on its way, once there is room and nothing that it must not overtake.

        Raises:
            Exception: What `write` raised for an earlier part.
            Cancelled: The call was cancelled.
        """
        while len(self._under_way) >= self._width or any(part.meets(other) for other in self._under_way):
            self.look(STEP)
        part.task = self._carrier.take(part)
        self._under_way.append(part)

    def look(self, seconds: float) -> None:
        """Waits until a part lands, for so long at most, and marks those that did.

        There is no sign of life in here: parts that never land are a stall.

        Raises:
            Exception: What `write` raised, of the first part that failed.
            Cancelled: The call was cancelled.
        """
        self._call.check()
        tasks = [part.task for part in self._under_way if part.task is not None]
        self._carrier.wait(tasks, seconds)
        still = []
        failed: Exception | None = None
        for part in self._under_way:
            if part.task is None or not part.task.done():
                still.append(part)
                continue
            try:
                part.rejects = part.task.result()
            except Exception as error:
                failed = failed or error
        self._under_way = still
        if failed is not None:
            raise failed

    def stop(self) -> None:
        """Begins nothing more, and gives what is under way a moment to end."""
        self._carrier.stop([part.task for part in self._under_way if part.task is not None])


class Threads:
    """Carries parts in threads: for a `write` that blocks."""

    def __init__(self, width: int, write: Callable[[Part], list[Reject]]) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._write = write
        self._pool = ThreadPoolExecutor(width, thread_name_prefix="caisson-write")

    def take(self, part: Part) -> Task:
        return self._pool.submit(self._write, part)

    def wait(self, tasks: Sequence[Task], seconds: float) -> None:
        from concurrent.futures import FIRST_COMPLETED, wait

        wait(tasks, seconds, FIRST_COMPLETED)  # type: ignore[arg-type]

    def stop(self, tasks: Sequence[Task]) -> None:
        from concurrent.futures import wait

        self._pool.shutdown(wait=False, cancel_futures=True)
        wait(tasks, PATIENCE)  # type: ignore[arg-type]


class Tasks:
    """Carries parts as tasks of the call's event loop: for an `async def write`."""

    def __init__(self, call: Call, write: Callable[[Part], Any]) -> None:
        self._loop = call.loop
        self._write = write

    def take(self, part: Part) -> Task:
        task: Task = self._loop.create_task(_collected(self._write(part)))
        return task

    def wait(self, tasks: Sequence[Task], seconds: float) -> None:
        import asyncio

        if tasks:
            first = asyncio.FIRST_COMPLETED
            self._loop.run_until_complete(asyncio.wait(tasks, timeout=seconds, return_when=first))  # type: ignore[type-var]

    def stop(self, tasks: Sequence[Task]) -> None:
        import asyncio

        for task in tasks:
            task.cancel()  # type: ignore[attr-defined]
        if tasks:
            self._loop.run_until_complete(asyncio.wait(tasks, timeout=PATIENCE))  # type: ignore[type-var]


async def _collected(result: Any) -> list[Reject]:
    """What an asynchronous hook gave, as a list: a generator, or a coroutine of something to iterate."""
    if not hasattr(result, "__anext__"):
        result = await result
    if hasattr(result, "__aiter__"):
        return [each async for each in result]
    return list(() if result is None else result)


def is_asynchronous(hook: Any) -> bool:
    """Whether a hook is an `async def`, generator or not."""
    import inspect

    return inspect.iscoroutinefunction(hook) or inspect.isasyncgenfunction(hook)
