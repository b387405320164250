"""Races: what a path names is changed while a worker is made, as fast as a process can."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.read import records
from suite.house import House, Result
from suite.scenario import Scenario, got, refused

SWAPPED = Scenario("3", "a symlink swapped in during mount set-up", "filesystem", "seccomp")
MASKED = Scenario("4", "a path checked, and replaced by a link to a forbidden one", "filesystem", "identity")
CALLS = 12
TRIES = 200_000

# Exchanges two names for ever: renameat2(RENAME_EXCHANGE) leaves no moment without one of them.
SWAP = """
import ctypes, sys
renameat2 = ctypes.CDLL(None).renameat2
first, second = sys.argv[1].encode(), sys.argv[2].encode()
print("swapping", flush=True)
while True:
    for _ in range(1000):
        renameat2(-100, first, -100, second, 2)
"""
# What a set-up does that looks first and uses then: `check` is an expression over the path.
NAIVE = """
import os, sys
path, forbidden, wanted, check, tries = sys.argv[1:6]
for number in range(int(tries)):
    try:
        if eval(check):
            found = open(os.path.join(path, wanted) if wanted else path, "rb").read().decode("latin-1")
            if found != "honest":
                print(found, end="")
                break
    except OSError:
        continue
"""


@contextmanager
def swapping(house: House, first: Path, second: Path) -> Iterator[None]:
    """Keeps exchanging two names, as the identity."""
    house.identity.own(first.parent)
    command = [*house.identity.prefix, str(house.stage.python), "-I", "-S", "-c", SWAP, str(first), str(second)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as swapper:
        assert swapper.stdout is not None and swapper.stdout.readline()
        try:
            yield
        finally:
            swapper.kill()


def naive(house: House, path: Path, wanted: str, check: str) -> str:
    """What looking first and using then lets through."""
    arguments = [str(path), str(house.daemon.folder / "data"), wanted, check, str(TRIES)]
    done = subprocess.run(
        [*house.identity.prefix, str(house.stage.python), "-I", "-S", "-c", NAIVE, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def won(house: House, path: Path, within: Path, wanted: str, is_loot: Callable[[str], bool]) -> Result:
    """Calls that are granted the path, again and again, while it changes."""
    policy: dict[str, Any] = {"files": [{"dir": str(path), "within": [str(within)], "access": "read"}]}
    met: dict[str, int] = {}
    for _ in range(CALLS):
        stream = house.use("read", policy, path=f"{path}/{wanted}")
        for record in records(stream):
            text = record["result"]
            if is_loot(text):
                return got(text[:60])
            met["an honest directory"] = met.get("an honest directory", 0) + 1
        for failure in stream.all("failure"):
            code = failure["code"].removeprefix("ERROR_CODE_")
            met[code] = met.get(code, 0) + 1
    if set(met) - {"an honest directory", "CONFIG_INVALID"}:
        raise RuntimeError(f"calls ended otherwise: {met}")
    return refused(f"{CALLS} calls met {met}")


def symlinked(house: House) -> tuple[Path, Path]:
    """A directory, and a link to somebody's home, about to change places."""
    base = house.world.folder / "race"
    real, link = base / "granted", base / "link"
    if not base.exists():
        (real / ".ssh").mkdir(parents=True)
        (real / ".ssh/id_ed25519").write_text("honest")
        link.symlink_to(house.world.folder / "home")
    return real, link


@SWAPPED.part("the granted directory")
def swapped(house: House) -> Result:
    real, link = symlinked(house)
    with swapping(house, real, link):
        return won(house, real, real.parent, ".ssh/id_ed25519", lambda text: house.world.canary in text)


@SWAPPED.control("the granted directory")
def swapped_outside(house: House) -> Result:
    real, link = symlinked(house)
    with swapping(house, real, link):
        text = naive(house, real, ".ssh/id_ed25519", "not os.path.islink(path)")
    return got("the canary") if house.world.canary in text else refused(text)


def two_links(house: House) -> tuple[Path, Path]:
    """A link to an honest directory, and one to the daemon's own, about to change places."""
    base = house.world.folder / "masked"
    honest, forbidden = base / "granted", base / "other"
    if not base.exists():
        (base / "honest").mkdir(parents=True)
        honest.symlink_to(base / "honest")
        forbidden.symlink_to(house.daemon.folder / "data")
    return honest, forbidden


@MASKED.part("the daemon's own directory")
def masked(house: House) -> Result:
    honest, forbidden = two_links(house)
    with swapping(house, honest, forbidden):
        # `within` is the operator's word and may be a link: what it leads to is judged all the same.
        return won(house, honest, honest, "state.db", lambda text: "SQLite format" in text)


@MASKED.control("the daemon's own directory")
def masked_outside(house: House) -> Result:
    honest, forbidden = two_links(house)
    with swapping(house, honest, forbidden):
        text = naive(house, honest, "state.db", "not os.path.realpath(path).startswith(forbidden)")
    return got("the state database") if "SQLite format" in text else refused(text)
