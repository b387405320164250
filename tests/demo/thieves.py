"""One thief, twice: under plain Python, and in Caisson."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from harness.client import Client
from world import ROOT, World, say

# What stands in the way of what opens no connection.
STANDS = {
    "home": (
        "filesystem",
        "no `files` rule names it: the worker's root holds its bundle and the interpreter",
    ),
    "environ": ("environment and pid namespace", "no rule can allow it"),
    "policy": ("filesystem", "rule: none under `files` names it"),
}


def plain(world: World) -> int:
    """Runs it without a cage; returns how many attempts paid."""
    config = json.loads((world.folder / "thief.yaml").read_text())["config"]
    program = ROOT / "tests/demo/thief/src/caisson_thief/loot.py"
    done = subprocess.run(
        [sys.executable, str(program), *(str(value) for value in config.values())],
        env=world.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    attempts = [json.loads(line) for line in done.stdout.splitlines()]
    for attempt in attempts:
        if attempt["taken"]:
            say(f"   took     {attempt['attempt']:<9} {_short(attempt['target'])}")
    return sum(bool(attempt["taken"]) for attempt in attempts)


def caged(world: World) -> int:
    """Runs it in Caisson; returns how many attempts paid."""
    taken_before = world.attacker.taken
    connection = json.loads((world.folder / "thief.yaml").read_text())
    client = Client(f"unix:{world.socket}")
    stream = client.stream(
        "Read",
        connection={
            "inline": {
                "connection": {
                    "connector": connection["connector"],
                    "config_json": json.dumps(connection["config"]),
                }
            }
        },
        accept=["ENCODING_JSON_LINES"],
        from_="FROM_BEGINNING",
    ).drain()
    client.close()
    if stream.all("failure"):
        raise SystemExit(f"the thief's call failed: {stream.failure}")
    attempts = [json.loads(line) for batch in stream.all("batch") for line in batch["data"].splitlines() if line]
    refusals = stream.all("refused")
    for attempt in attempts:
        layer, rule = _stopped_by(attempt, refusals)
        verdict = "TOOK" if attempt["taken"] else "refused"
        say(f"   {verdict:<8} {attempt['attempt']:<9} {_short(attempt['target']):<34} by {layer}")
        say(f"{'':<55}{rule}")
    # Loot that arrived counts, whatever the thief believes.
    return sum(bool(attempt["taken"]) for attempt in attempts) + world.attacker.taken - taken_before


def _stopped_by(attempt: dict[str, Any], refusals: list[dict[str, Any]]) -> tuple[str, str]:
    """The layer that refused, and the rule that would allow it."""
    name = attempt["attempt"]
    if name in STANDS:
        return STANDS[name]
    for refusal in refusals:
        where = f"{refusal.get('address', '')}:{refusal.get('port', 0)}"
        asked = name == "name" and refusal.get("host", "").endswith(".attacker.example")
        if asked or attempt["target"].startswith(where):
            rule = " ".join(refusal.get("rule", "").split()).removeprefix("- ")
            return f"{refusal['layer']} ({refusal['reason']})", f"rule: {rule}" if rule else "no rule can allow it"
    return "network", f"nothing is there ({attempt['detail']})"


def _short(target: str) -> str:
    return target if len(target) <= 34 else "…" + target[-33:]
