"""Which pages have gone through a stream completely.

The client hands records to the author's code, which yields them on, drops
some, or uses them to ask for more. A page may be named in a checkpoint only
when nothing of it can still be in the author's hands: a checkpoint that comes
too early loses records without a word. Each sequence of pages is a `Track`,
and a page of it is done when

- at its end every record of it (and of the pages before) came out of the
  stream, the very objects: the author passes records on as they come; or
- a record of a later page of the same track comes out, and each earlier one
  came out too, or that record is the last one handed in (then what did not
  come out was dropped on the way).

An author who builds new records instead of passing them on, or only drives
other requests with them, makes neither true: that track names no pages, and
is read again after a fault. `records(map=…)` reshapes and keeps them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_PAGES = 2_000
"""Requests that one state remembers; further ones are read again after a fault."""

MAX_HELD = 1_000
"""Records of whole pages that an author may hold back before the track is given up."""


class Track:
    """One sequence of pages on its way."""

    __slots__ = ("_given", "_held", "_last", "_lost", "_marks", "_trail", "name")

    def __init__(self, trail: Trail, name: str) -> None:
        self._trail = trail
        self.name = name
        self._given: dict[int, tuple[int, Any]] = {}
        self._last = 0
        self._marks: list[tuple[int, Any]] = []
        self._held = 0
        self._lost = False

    @property
    def resume(self) -> Any:
        """The token to go on from; True: nothing is left; None: from the first page."""
        return self._trail.pages.get(self.name)

    def give(self, record: Any) -> None:
        """The client hands `record` to the author."""
        self._last += 1
        if not self._lost:
            self._given[id(record)] = (self._last, record)

    def take(self, record: Any) -> bool:
        """`record` came out of the stream; returns whether it is of this track."""
        found = self._given.pop(id(record), None)
        if found is None:
            return False
        self._held = 0
        number = found[0]
        if number == self._last:
            self._given.clear()
            self._settle(number - 1)
        elif self._marks:
            self._settle(min(number, self._oldest()) - 1)
        return True

    def page(self, token: Any) -> None:
        """A page ends here; `token` names the next one, True says that there is none."""
        self._marks.append((self._last, token))
        if not self._given and not self._lost:
            self._settle(self._last)
            return
        self._held += 1
        if self._held >= 2 and len(self._given) >= MAX_HELD:
            self._lost = True
            self._given.clear()
        if self._lost:
            self._marks.clear()

    def end(self) -> None:
        """The client hands out nothing more on this track."""
        if not (self._given and self._marks):
            self._trail.close(self)

    def _oldest(self) -> int:
        return min((number for number, _ in self._given.values()), default=self._last + 1)

    def _settle(self, through: int) -> None:
        while self._marks and self._marks[0][0] <= through:
            self._trail.done(self.name, self._marks.pop(0)[1])


class Trail:
    """The tracks of one stream's slice.

    Attributes:
        pages: What is done, by request: the token of the next page, or True.
        moves: How often `pages` changed.
    """

    def __init__(self, pages: dict[str, Any]) -> None:
        self.pages = dict(pages)
        self.moves = 0
        self._tracks: list[Track] = []
        self._names: dict[str, int] = {}

    def open(self, request: str) -> Track:
        """A track for `request`; the same one asked again in one slice is another track."""
        count = self._names[request] = self._names.get(request, 0) + 1
        track = Track(self, request if count == 1 else f"{request}#{count}")
        self._tracks.append(track)
        return track

    def close(self, track: Track) -> None:
        """The client hands out nothing more on `track`."""
        if track in self._tracks:
            self._tracks.remove(track)

    def receive(self, record: Any) -> None:
        """`record` came out of the author's stream."""
        for track in self._tracks:
            if track.take(record):
                return

    def done(self, name: str, token: Any) -> None:
        """Everything of track `name` before `token` came out."""
        if name in self.pages or len(self.pages) < MAX_PAGES:
            self.pages[name] = token
            self.moves += 1

    def restart(self) -> None:
        """A slice ended: its pages mean nothing to the next one."""
        self.pages.clear()
        self._tracks.clear()
        self._names.clear()
