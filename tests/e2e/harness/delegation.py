"""A group of every controller, made by root and handed to an ordinary user: what systemd does with Delegate=yes."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .daemon import ORDINARY, Identity
from .watch import eventually

NEEDED = ("memory", "cpu", "pids")
LEAVES = ("caisson", "caisson-daemon")


@dataclass(frozen=True)
class Delegated(Identity):
    """An ordinary user whose daemon starts inside groups of its own."""

    groups: tuple[Path, ...] = ()

    @property
    def prefix(self) -> list[str]:
        enter = 'for group in $GROUPS_OF_OURS; do echo $$ > $group/cgroup.procs; done; unset GROUPS_OF_OURS; exec "$@"'
        groups = " ".join(map(str, self.groups))
        return ["env", f"GROUPS_OF_OURS={groups}", "sh", "-c", enter, "sh", *super().prefix]


def trees() -> list[Path]:
    """Where controllers are mounted: one v2 tree that has them all, or a tree for each."""
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    v2 = [Path(words[4]) for words in mounts if words[words.index("-") + 1] == "cgroup2"]
    for tree in v2:
        if set(NEEDED) <= set((tree / "cgroup.controllers").read_text().split()):
            (tree / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in NEEDED))
            return [tree]
    found = []
    for words in mounts:
        kind, options = words[words.index("-") + 1], words[-1].split(",")
        if kind == "cgroup" and {*NEEDED, "cpuacct"} & set(options):
            found.append(Path(words[4]))
    assert found, "no cgroup controllers are mounted"
    return found


@contextmanager
def delegated() -> Iterator[Delegated]:
    """The identity, for as long as its groups are there. Only root can hand over.

    Yields:
        Who may run a daemon without `allow_missing`.
    """
    groups = tuple(tree / f"handed-over-{os.getpid()}" for tree in trees())
    for group in groups:
        group.mkdir()
        for path in (group, *group.iterdir()):
            # As systemd does: the group and what moves processes and hands controllers on, not its own limits.
            if path == group or path.name in ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads", "tasks"):
                os.chown(path, ORDINARY, ORDINARY)
    try:
        yield Delegated("delegated", ORDINARY, groups)
    finally:
        for group in groups:
            for path in (*(group / leaf for leaf in LEAVES), group):
                if path.exists():
                    eventually(partial(_removed, path), f"{path} to be empty")


def _removed(group: Path) -> bool:
    """Removes it; False while a process in it is still ending. A group below it that somebody left is an error."""
    try:
        group.rmdir()
    except OSError as busy:
        if busy.errno != errno.EBUSY or any(path.is_dir() for path in group.iterdir()):
            raise
        return False
    return True
