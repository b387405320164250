"""Looking for a canary: in texts, in files and databases, in processes. Each look is tried where the canary is, too."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

from harness import Daemon
from harness.leaks import files_below
from harness.watch import waiting
from house import Canary, House
from scenarios.secrecy import Service, of_maker
from suite.gossips import found

# What a daemon that has served has: none of them may go unread.
PARTS = ("the launcher", "the zygote", "a worker that waits")
HOLDER = "import os, sys; kept = os.environ['TOKEN'] * 2; print('ready', flush=True); sys.stdin.read()"
PATTERN = Path("/proc/sys/kernel/core_pattern")


@dataclass
class Count:
    """What was searched.

    Attributes:
        left_out: What this host lets nobody search.
    """

    searches: int = 0
    found: list[str] = field(default_factory=list)
    controls: int = 0
    blind: list[str] = field(default_factory=list)
    left_out: set[str] = field(default_factory=set)

    def search(self, what: str, look: Callable[[], str], control: Callable[[], str]) -> None:
        """Looks for a canary where it must not be, and in the same way where it is.

        A look that raises is not counted.
        """
        where = look()
        self.searches += 1
        if where:
            self.found.append(f"{what}: {where}")
        if control():
            self.controls += 1
        else:
            self.blind.append(what)

    def conclude(self) -> bool:
        """Tells what is wrong, and prints the last line; whether all is well."""
        for line in self.found:
            print(f"FOUND {line}")
        for line in self.blind:
            print(f"the control did not find {line}")
        for line in sorted(self.left_out):
            print(f"NOT SEARCHED: {line}")
        counted = f"{self.searches} searches, {len(self.found)} found, {self.controls} controls found"
        print(counted + f", {len(self.left_out)} kinds of place not searched" * bool(self.left_out))
        return 0 < self.searches == self.controls and not self.found


def in_texts(house: House, canaries: Iterable[Canary], cassette: str, count: Count) -> None:
    """In what was told, logged and recorded."""
    for canary in canaries:
        for place, text in {
            "answers": "\n".join(canary.told),
            "the daemon's log": house.said + house.daemon.log,
            "the audit log": (house.daemon.folder / "data/audit.jsonl").read_text(),
            "the audit as it was watched": "\n".join(house.watched),
            "the cassette": cassette,
        }.items():
            assert text, f"{place} of {canary.name} are empty: nothing was tried"
            value = canary.value
            count.search(
                f"{canary.name} in {place}", partial(found, value, text), partial(found, value, f"{text} {value}")
            )


def at_rest(house: House, canaries: Iterable[Canary], count: Count) -> None:
    """In files, and in the cores of what crashed."""
    folder, home = house.daemon.folder, house.stage.home
    # Where canaries belong, and what is looked through by itself.
    but = ("secrets", "secret-id", "planted", house.tmp.name)
    elsewhere = ("bin", "lib", house.signer.folder.name, folder.name, "RS256.key")
    pattern = PATTERN.read_text().strip()
    piped = pattern.startswith(("|", "/"))
    if piped:
        count.left_out.add(f"core files: this host hands them to {pattern}; sysctl kernel.core_pattern=core")
    for canary in canaries:
        value, name = canary.value, canary.name
        with planted(house.stage.folder("planted"), value) as inside:
            control = partial(in_files, inside, value)
            count.search(f"{name} in a file", partial(in_files, folder, value, but), control)
            count.search(f"{name} in the daemon's temporary directory", partial(in_files, house.tmp, value), control)
            others = partial(in_files, home, value, (*elsewhere, inside.name))
            count.search(f"{name} in a file of what ran beside it", others, control)
            state = partial(in_database, folder / "data", value)
            count.search(f"{name} in the state", state, partial(in_database, inside, value))
            if not piped:
                crashed = partial(left_a_core, inside, value)
                count.search(f"{name} in a core file", partial(in_cores, home, value, inside), crashed)


def in_processes(house: House, canaries: Iterable[Canary], count: Count, parts: tuple[str, ...] = ()) -> None:
    """In what the daemon made and no call has: the launcher, the zygote, forks and workers that wait.

    Raises:
        AssertionError: None of one of these parts could be read to its end.
    """
    made, named = children_of(house.daemon), parts_of(house.daemon)
    assert made, "the daemon has no processes"
    looks: dict[str, Callable[[int, str], str]] = {"cmdline": partial(in_proc, "cmdline")}
    if os.geteuid() == 0:
        looks |= {"environ": partial(in_proc, "environ"), "the memory": in_memory}
    else:
        count.left_out.add("memory and environment of processes: run this as root")
    for canary in canaries:
        value, name = canary.value, canary.name
        with holder(value) as control:
            for file, look in looks.items():
                read, there = set(), cache(partial(look, control, value))
                for pid in made:
                    # It may have ended since, as workers that waited too long do.
                    with suppress(FileNotFoundError, ProcessLookupError):
                        count.search(f"{name} in {file} of {pid}", partial(look, pid, value), there)
                        read.add(pid)
                for part in parts:
                    assert read & named[part], f"{file} of {part} was not read, of {named[part]}: nothing was tried"


def in_proc(file: str, pid: int, value: str) -> str:
    """Where a file of /proc holds it.

    Raises:
        FileNotFoundError, ProcessLookupError: The process has ended, before or meanwhile.
    """
    where = found(value, Path(f"/proc/{pid}/{file}").read_bytes().decode("utf-8", "replace"))
    if not where:
        lives(pid)
    return where


def in_memory(pid: int, value: str) -> str:
    """Where the memory of a process holds it, in what it may write to.

    Raises:
        FileNotFoundError, ProcessLookupError: The process has ended, before or meanwhile.
    """
    where = of_maker(Service(pid, pid, []), value)
    if not where:
        lives(pid)
    return where


def lives(pid: int) -> None:
    """Raises what a look at a process that is gone raises: of one that is a zombie, files read as empty.

    Raises:
        FileNotFoundError, ProcessLookupError: It does not live.
    """
    if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in ("Z", "X"):
        raise ProcessLookupError(f"process {pid} has ended")


def parts_of(daemon: Daemon) -> dict[str, set[int]]:
    """The processes of each of `PARTS`."""
    parts: dict[str, set[int]] = {part: set() for part in PARTS}
    for pid in children_of(daemon):
        with suppress(FileNotFoundError, ProcessLookupError):
            line = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            if line[-1] == b"launcher":
                parts["the launcher"].add(pid)
            elif line[-1] == b"caisson/_zygote.py" and network_of(pid) == network_of(os.getpid()):
                # Its forks wait in networks of their own.
                parts["the zygote"].add(pid)
    parts["a worker that waits"] = set(waiting(daemon))
    return parts


def network_of(pid: int) -> str:
    """The network namespace of a process."""
    return str(Path(f"/proc/{pid}/ns/net").readlink())


def children_of(daemon: Daemon) -> list[int]:
    """All that the daemon made, and what that made."""
    assert daemon.process is not None
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
    family, grown = {daemon.process.pid}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in family} - family
        family |= more
        grown = bool(more)
    return sorted(family - {daemon.process.pid})


def in_files(folder: Path, value: str, but: tuple[str, ...] = ()) -> str:
    """The file that holds it."""
    for path in files_below(folder):
        if path.is_file() and not set(but) & set(path.relative_to(folder).parts):
            with suppress(FileNotFoundError):
                if found(value, path.read_bytes().decode("utf-8", "replace")):
                    return str(path)
    return ""


def in_database(folder: Path, value: str) -> str:
    """The line of a table that holds it."""
    for path in (path for path in files_below(folder) if path.suffix == ".db"):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            for line in database.iterdump():
                if found(value, line):
                    return line[:60]
    return ""


def in_cores(folder: Path, value: str, but: Path | None = None) -> str:
    """The core file that holds it."""
    for path in (path for path in files_below(folder) if path.name.startswith("core")):
        mine = path.is_file() and but not in path.parents
        if mine and found(value, path.read_bytes().decode("utf-8", "replace")):
            return str(path)
    return ""


def left_a_core(folder: Path, value: str) -> str:
    """The core of a process that may leave one, where the secret is in it."""
    # By a shell: gRPC's threads and code between fork and exec do not go together.
    command = ["sh", "-c", 'ulimit -c unlimited && exec "$@"', "sh", sys.executable, "-c", HOLDER]
    with subprocess.Popen(
        command, env={**os.environ, "TOKEN": value}, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGABRT)
        process.wait(20)
    return in_cores(folder, value)


@contextmanager
def planted(inside: Path, value: str) -> Iterator[Path]:
    """A file and a database that hold it."""
    (inside / "file").write_text(f"x{value}x")
    with closing(sqlite3.connect(inside / "planted.db")) as database, database:
        database.execute("create table planted (value text)")
        database.execute("insert into planted values (?)", (value,))
    try:
        yield inside
    finally:
        shutil.rmtree(inside)


@contextmanager
def holder(value: str) -> Iterator[int]:
    """A process that holds it in its memory, environment and arguments."""
    command = [sys.executable, "-c", HOLDER, value]
    with subprocess.Popen(
        command, env={**os.environ, "TOKEN": value}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        yield process.pid
        process.kill()
