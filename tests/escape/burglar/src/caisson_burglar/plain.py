"""The burglar outside: the same thefts under a plain Python, one JSON line each.

Run as `python -I -S -c "…" WORLD THEFTS` by `suite/control.py`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from .attempts import find
from .loot import commit


def main(world_file: str, thefts: str) -> None:
    """Tries every theft of a JSON list of [attempt, theft]."""
    world = {**json.loads(Path(world_file).read_text()), "caged": False}
    # A theft may write to its standard output; the results go where it does not.
    results = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
    for number, name in json.loads(thefts):
        result = commit(find(number, name), world)
        print(json.dumps({"theft": f"{number} {name}", "result": result}), file=results)
