"""A connector's folder that changes while the daemon reads it: the daemon has rights that its author has not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from harness import CallFailed, Stream
from harness.daemon import inline
from harness.read import read, records
from suite.house import House, Result
from suite.scenario import Scenario, got, refused

from .races import CALLS, naive, swapping

DATA = "data.txt"
FOLDER = Scenario("A6", "a file of a connector's folder, swapped for a link to one that only the daemon may read",
                  "the bundle")  # fmt: skip


def folder(house: House) -> tuple[Path, Path]:
    """A copy of the burglar with a harmless file, and a link to the daemon's own, about to change places."""
    project = house.world.folder / "project"
    data = project / "src/caisson_burglar" / DATA
    link = project / "link"
    if not project.exists():
        shutil.copytree(house.bundle, project, ignore=shutil.ignore_patterns("__pycache__"))
        data.write_text("honest")
        link.symlink_to(house.daemon.folder / "secrets/database")
        house.identity.own(project)
    return data, link


@FOLDER.part("a file")
def swapped(house: House) -> Result:
    data, link = folder(house)
    met: dict[str, int] = {}
    with swapping(house, data, link):
        for _ in range(2 * CALLS):
            stream = reading(house, data.parents[2])
            for record in records(stream):
                if house.world.canary in record["result"]:
                    return got("the canary, in the bundle")
                met["an honest file"] = met.get("an honest file", 0) + 1
            for failure in stream.all("failure"):
                met[failure["code"]] = met.get(failure["code"], 0) + 1
    return refused(f"{2 * CALLS} calls met {met}")


def reading(house: House, project: Path) -> Stream:
    """A call of the connector in that folder, which reads its own file."""
    told = {"path": f"/caisson/bundle/src/caisson_burglar/{DATA}"}
    config = {"world": "{}", "thefts": json.dumps([("tool", "read")]), "extra": told}
    stream = read(house.daemon, inline(project, config=config), "loot", mode="full")
    try:
        return stream.drain()
    except CallFailed as failed:
        stream.seen.append({"failure": {"code": failed.code, "message": failed.message}})
        return stream


@FOLDER.control("a file")
def swapped_outside(house: House) -> Result:
    data, link = folder(house)
    with swapping(house, data, link):
        text = naive(house, data, "", "not os.path.islink(path)")
    return got("the canary") if house.world.canary in text else refused(text)
