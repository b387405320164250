"""Code of the bundle before the final filter: where interpreters look for some by themselves."""

from __future__ import annotations

import shutil
import subprocess
from functools import partial
from pathlib import Path

from harness.daemon import inline
from harness.read import read, records
from suite.house import House, Result
from suite.scenario import Scenario, got, refused

FIRST = Scenario(
    "56", "sitecustomize, usercustomize, .pth files, modules named like standard ones", "the order of start"
)
SQUATTER = Path(__file__).parents[1] / "squatter"
NAMES = ("sitecustomize", "usercustomize", "burgled_pth", "json", "caisson")
ASK = (
    "import sys; from caisson_squatter.marks import NAMES, ran; out = [f'{n}={ran(n)}' for n in NAMES];"
    " print('\\n'.join(out))"
)


def bundle(house: House) -> Path:
    """The squatter's folder, where every user can read it."""
    folder = house.stage.connectors / "squatter"
    if not folder.exists():
        shutil.copytree(SQUATTER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def caged(name: str, house: House) -> Result:
    stream = read(house.daemon, inline(bundle(house)), "squatted", mode="full").drain()
    found = {record["name"]: record["when"] for record in records(stream)}
    assert stream.summary and set(found) == set(NAMES), stream.seen
    return got(f"ran {found[name]}") if found[name] else refused("did not run")


def outside(name: str, house: House) -> Result:
    """An interpreter that is started as one usually is, with the bundle on its path."""
    base = house.world.folder / "userbase"
    packages = base / "lib/python3.11/site-packages"
    if not packages.exists():
        packages.mkdir(parents=True)
        shutil.copy(bundle(house) / "src/burgled.pth", packages)
        house.identity.own(base)
    done = subprocess.run(
        [*house.identity.prefix, str(house.stage.python), "-c", ASK],
        env={"PYTHONPATH": str(bundle(house) / "src"), "PYTHONUSERBASE": str(base), "HOME": str(base)},
        capture_output=True,
        text=True,
        check=True,
    )
    when = dict(line.split("=", 1) for line in done.stdout.splitlines())[name]
    return got(f"ran {when}") if when else refused("did not run")


for _name in NAMES:
    FIRST.part(_name)(partial(caged, _name))
    FIRST.control(_name)(partial(outside, _name))
