"""Which pages have gone through a stream completely.

The client hands records to the author's code, which yields them on, drops
some, or uses them to ask for more. A page may be named in a checkpoint only
when nothing of it can still be in the author's hands: a checkpoint that comes
too early loses records without a word. Each sequence of pages is a `Track`,
and a page of it is done when every record of it and of the pages before came
out of the stream, the very objects, and the author then asked for more (or a
record of a later page came out).

An author who builds new records, drops some, or only drives other requests
with them, does not make that true: such a track names no pages, and is read
again after a fault. That is slower and never wrong; who holds a record back
and who dropped it look the same from here. `records(map=…)` reshapes and
drops within the client, where the difference is known.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_PAGES = 2_000
"""Requests that one state remembers; further ones are read again after a fault."""

MAX_HELD = 1_000
"""Records that an author may hold back, once `MAX_OPEN` pages are, before the track is given up."""

MAX_OPEN = 3
"""Pages that an author may collect, however long they are."""

MAX_LINGERING = 32
"""Tracks that have ended while the author still has records of them; each is looked at for each record."""


class Track:
    """One sequence of pages on its way."""

    __slots__ = (
        "_given", "_last", "_lost", "_marks", "_oldest", "_out", "_reached", "_settled", "_trail", "name",
    )  # fmt: skip

    def __init__(self, trail: Trail, name: str) -> None:
        self._trail = trail
        self.name = name
        self._given: dict[int, tuple[int, Any]] = {}
        self._out: set[int] = set()  # the numbers of what the author has
        self._oldest = 1  # the lowest of them, or what comes next
        self._marks: list[tuple[int, Any]] = []
        self._last = 0  # the number of the last record handed in
        self._reached = 0  # the highest number that came out
        self._settled = 0  # the last number of the last page that is done
        self._lost = False

    @property
    def resume(self) -> Any:
        """The token to go on from; True: nothing is left; None: from the first page."""
        return self._trail.pages.get(self.name)

    @property
    def clean(self) -> bool:
        """True if nothing came out beyond the pages that are done."""
        return self._reached <= self._settled

    def give(self, record: Any) -> None:
        """The client hands `record` to the author."""
        self._last += 1
        if not self._lost:
            self._given[id(record)] = (self._last, record)
            self._out.add(self._last)

    def take(self, record: Any) -> int:
        """`record` is about to come out; returns its number on this track, 0 if it is of another."""
        found = self._given.pop(id(record), None)
        if found is None:
            return 0
        self._out.discard(found[0])
        if self._marks:
            while self._oldest <= self._last and self._oldest not in self._out:
                self._oldest += 1
            self._settle(min(found[0], self._oldest) - 1)
        return found[0]

    def passed(self, number: int) -> None:
        """The record with this number came out."""
        self._reached = max(self._reached, number)

    def page(self, token: Any) -> None:
        """A page ends here; `token` names the next one, True says that there is none."""
        if self._lost:
            return
        self._marks.append((self._last, token))
        if not self._out:
            self._settle(self._last)
            return
        if len(self._marks) >= MAX_OPEN and len(self._out) >= MAX_HELD:
            self._lost = True
            self._given.clear()
            self._out.clear()
            self._marks.clear()

    def end(self) -> None:
        """The client hands out nothing more on this track."""
        if self._out and self._marks:
            self._trail.linger(self)  # the author still has records of it
        else:
            self._trail.close(self)

    def _settle(self, through: int) -> None:
        while self._marks and self._marks[0][0] <= through:
            number, token = self._marks.pop(0)
            if number >= self._reached:
                self._settled = number
                self._trail.done(self.name, token)


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
        self._lingering: list[Track] = []
        self._names: dict[str, int] = {}
        self._foreign = False
        self._arrived: tuple[Track, int] | None = None

    @property
    def exact(self) -> bool:
        """True if `pages` names all that came out, and nothing else."""
        return not self._foreign and all(track.clean for track in self._tracks)

    @property
    def followed(self) -> bool:
        """True if records may be those of a track."""
        return bool(self._tracks)

    def foreign(self) -> None:
        """Records came out that are of no track."""
        self._foreign = True

    def open(self, request: str) -> Track:
        """A track for `request`; the same one asked again in one slice is another track."""
        count = self._names[request] = self._names.get(request, 0) + 1
        track = Track(self, request if count == 1 else f"{request}#{count}")
        self._tracks.append(track)
        return track

    def close(self, track: Track) -> None:
        """Nothing more comes of `track`."""
        if track in self._tracks:
            self._tracks.remove(track)
            self._foreign = self._foreign or not track.clean

    def linger(self, track: Track) -> None:
        """Nothing more comes of `track`, but what was given of it may still come out."""
        self._lingering.append(track)
        if len(self._lingering) > MAX_LINGERING:
            self.close(self._lingering.pop(0))

    def arrive(self, record: Any) -> None:
        """`record` is about to come out of the author's stream."""
        self._arrived = None
        for track in self._tracks:
            number = track.take(record)
            if number:
                self._arrived = (track, number)
                return

    def passed(self) -> None:
        """The record that arrived last came out."""
        if self._arrived is None:
            self._foreign = True
        else:
            track, number = self._arrived
            track.passed(number)

    def done(self, name: str, token: Any) -> None:
        """Everything of track `name` before `token` came out."""
        if name in self.pages or len(self.pages) < MAX_PAGES:
            self.pages[name] = token
            self.moves += 1
        else:
            self._foreign = True

    def restart(self) -> None:
        """A slice ended: its pages mean nothing to the next one."""
        self.pages.clear()
        self._tracks.clear()
        self._lingering.clear()
        self._names.clear()
        self._foreign = False
