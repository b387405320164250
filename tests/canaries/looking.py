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
from functools import partial
from pathlib import Path

from harness import Daemon
from house import Canary, House
from scenarios.secrecy import Service, files_below, of_maker, of_process
from suite.gossips import found

HOLDER = "import os, sys; kept = os.environ['TOKEN'] * 2; print('ready', flush=True); sys.stdin.read()"
PATTERN = Path("/proc/sys/kernel/core_pattern")


@dataclass
class Count:
    """What was searched."""

    searches: int = 0
    found: list[str] = field(default_factory=list)
    controls: int = 0
    blind: list[str] = field(default_factory=list)

    def search(self, what: str, look: Callable[[], str], control: Callable[[], str]) -> None:
        """Looks for a canary where it must not be, and in the same way where it is."""
        self.searches += 1
        if where := look():
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
        print(f"{self.searches} searches, {len(self.found)} found, {self.controls} controls found")
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
    but = ("secrets", "vault-token", "planted", house.tmp.name)
    elsewhere = ("bin", "lib", house.signer.folder.name, folder.name)
    piped = PATTERN.read_text().startswith(("|", "/"))
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


def in_processes(house: House, canaries: Iterable[Canary], count: Count) -> None:
    """In what the daemon made and no call has: the launcher, the zygote, forks and workers that wait."""
    made = children_of(house.daemon)
    assert made, "the daemon has no processes"
    for canary in canaries:
        value, name = canary.value, canary.name
        with holder(value) as control:
            for pid in made:
                service = Service(pid, pid, [])
                for file in ("environ", "cmdline"):
                    look = partial(of_process, file, service, value)
                    count.search(f"{name} in {file} of {pid}", seen(look), partial(of_process, file, control, value))
                if os.geteuid() == 0:
                    look = partial(of_maker, service, value)
                    count.search(f"{name} in the memory of {pid}", seen(look), partial(of_maker, control, value))


def seen(look: Callable[[], str]) -> Callable[[], str]:
    """A look at a process that has ended since, or that not even its own user may look at: it shows nothing."""

    def looked() -> str:
        try:
            return look()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return ""

    return looked


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
    for path in folder.rglob("*.db"):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            for line in database.iterdump():
                if found(value, line):
                    return line[:60]
    return ""


def in_cores(folder: Path, value: str, but: Path | None = None) -> str:
    """The core file that holds it."""
    for path in folder.rglob("core*"):
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
def holder(value: str) -> Iterator[Service]:
    """A process that holds it in its memory, environment and arguments."""
    command = [sys.executable, "-c", HOLDER, value]
    with subprocess.Popen(
        command, env={**os.environ, "TOKEN": value}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        yield Service(process.pid, process.pid, [])
        process.kill()
