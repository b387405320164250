"""The file description behind a worker's standard input: its flags are for all who share it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from harness.read import records
from suite.house import House, Result
from suite.scenario import Scenario, got, refused

STDIN = Scenario("A12", "a message to the next tenant's worker, through the flags of standard input", "descriptors")


@STDIN.part("flags")
def next_worker(house: House) -> Result:
    """One worker sets what is rarely set; the next looks."""
    seen = []
    for tool in ("set a flag", "see a flag"):
        stream = house.use(tool)
        assert stream.summary
        (record,) = records(stream)
        seen.append(json.loads(record["result"])["returned"])
    return got(f"the next worker sees {seen[1]}") if seen[1] == "O_APPEND" else refused(f"set, and then {seen[1]}")


@STDIN.control("flags")
def next_process(house: House) -> Result:
    """Two processes of one service, which hands its standard input on as services do."""
    start = (
        "import sys; sys.path.insert(0, sys.argv[1]); from caisson_burglar.attempts.tools import set_flag, see_flag; "
    )
    python = [*house.identity.prefix, str(house.stage.python), "-I", "-S", "-c"]
    with Path(os.devnull).open("rb") as shared:
        for call in ("set_flag({})", "print(see_flag({}))"):
            command = [*python, start + call, str(house.bundle / "src")]
            done = subprocess.run(command, stdin=shared, capture_output=True, text=True, check=True)
    return got(f"the next process sees {done.stdout.strip()}") if "O_APPEND" in done.stdout else refused(done.stdout)
