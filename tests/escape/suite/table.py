"""The table of attempts in docs/threat-model.md, and the numbers that nobody may leave out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import scenarios
from caisson_burglar import attempts
from caisson_burglar.loot import Attempt

from .scenario import Scenario

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/threat-model.md"
BEGIN = "<!-- attempts: written by tests/setup/escape.sh --write-table -->\n"
END = "<!-- end of attempts -->\n"
HEAD = "| attempt | layer that stops it | behind it | test |\n|---|---|---|---|\n"

# Of the published attacks and bugs, those on what is built.
REQUIRED = frozenset(map(str, range(1, 59)))


def missing() -> list[str]:
    """Required numbers that no attempt has."""
    return sorted(REQUIRED - {one.id for one, _ in _all()}, key=int)


def table() -> str:
    """A row an attempt, by number."""
    rows: dict[str, list[tuple[Attempt | Scenario, Path]]] = {}
    for one, path in _all():
        rows.setdefault(one.id, []).append((one, path))
    return HEAD + "".join(_row(rows[number]) for number in sorted(rows, key=by_number))


def is_written() -> bool:
    """Whether the page has the table of today."""
    return _between(PAGE.read_text())[1] == table()


def write() -> None:
    """Puts the table into the page."""
    before, _, after = _between(PAGE.read_text())
    PAGE.write_text(before + table() + after)


def by_number(number: str) -> tuple[str, int]:
    """A key that sorts the published attempts first, then ours by room."""
    room = number.rstrip("0123456789")
    return room, int(number[len(room) :])


def _all() -> Iterable[tuple[Attempt | Scenario, Path]]:
    """Every attempt, and the file that it stands in."""
    for room in (*attempts.ROOMS, *scenarios.ROOMS):
        assert room.__file__
        for one in vars(room).values():
            if isinstance(one, Attempt | Scenario):
                yield one, Path(room.__file__).relative_to(ROOT)


def _row(ones: list[tuple[Attempt | Scenario, Path]]) -> str:
    first = ones[0][0]
    tests = ", ".join(f"[{path.stem}](../{path})" for path in sorted({path for _, path in ones}))
    return f"| {first.id} {first.title} | {first.layer} | {first.behind or '–'} | {tests} |\n"


def _between(page: str) -> tuple[str, str, str]:
    before, _, rest = page.partition(BEGIN)
    inside, _, after = rest.partition(END)
    return before + BEGIN, inside, END + after
