"""A clock that tests wind on: waiting takes no time."""

from __future__ import annotations

import time

from .._call import Clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class FakeClock(Clock):
    """Time stands still, except that a sleep moves it on at once.

    Args:
        start: Unix time at the beginning; None: now.

    Attributes:
        slept: Seconds slept altogether.
    """

    def __init__(self, start: float | None = None) -> None:
        self._start = time.time() if start is None else start
        self.slept = 0.0
        self.alarm: Callable[[], None] | None = None
        self.alarm_at = float("inf")

    def now(self) -> float:
        return self._start + self.slept

    def monotonic(self) -> float:
        return self.slept

    def sleep(self, seconds: float) -> None:
        self.slept += max(0.0, seconds)
        if self.slept >= self.alarm_at and self.alarm is not None:
            alarm, self.alarm = self.alarm, None
            alarm()
