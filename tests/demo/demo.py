"""The main job, end to end: `make demo` runs this on the built binary.

A real API (Datasette) with 50,000 orders is moved into SQLite by two isolated
workers; one request is answered with 429, and the source's worker is killed in
the middle. Then a thief runs twice.
"""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import compare
import verdict
from servers.generate import CUSTOMERS, ORDERS, advance
from thieves import caged, plain
from world import CAISSON, ROOT, World, say

# Requests: what there is takes four, 5,000 customers five pages, orders fifty.
KILLED_REQUEST = 35
THROTTLED_REQUEST = 45


def main() -> None:
    """Tells the story; its last line is for machines."""
    began = time.monotonic()
    say(f"1. A real API: Datasette with {ORDERS:,} orders and {CUSTOMERS:,} customers, and `caisson serve`.")
    world = World(throttle_at=THROTTLED_REQUEST)
    try:
        result, changed = story(world)
    finally:
        world.close()
    say(f"\nDone in {time.monotonic() - began:.0f} seconds. The source you just ran:\n")
    say(source_class())
    say("\nTry next:")
    binary = os.path.relpath(CAISSON, ROOT)
    if world.degraded:
        say("  export CAISSON_ALLOW_MISSING=cgroup   # this user has no cgroup of its own")
    say(f"  {binary} doctor")
    say(f"  {binary} new shop && {binary} validate shop")
    say(
        f"  {binary} read --connector sqlite@0.1.0 --config target/demo/lake-config.json --stream orders"
        " --max-records 3 --data-dir target/demo/data --policies target/demo/policies"
    )
    say()
    say(json.dumps(result, separators=(",", ":")))
    broken = verdict.broken(result, changed)
    if broken:
        raise SystemExit("the demo shows what Caisson does not do:\n  " + "\n  ".join(broken))


def story(world: World) -> tuple[dict[str, Any], int]:
    """Everything between the first and the last line; its figures, and how many rows changed before the second run."""
    say("2. Publish three connectors: checked, packed, stored.")
    for folder in ("connectors/datasette", "connectors/sqlite", "tests/demo/thief"):
        world.ask("publish", ROOT / folder)
    lake = json.loads((world.folder / "lake.yaml").read_text())
    (world.folder / "lake-config.json").write_text(json.dumps(lake["config"]))

    say("3. Sync. The source's worker gets SIGKILL in the middle.")
    killed: list[int] = []

    def kill(number: int, target: str) -> None:
        if number >= KILLED_REQUEST and not killed:
            killed.append(world.workers()[0])
            os.kill(killed[0], signal.SIGKILL)

    world.proxy.before = kill
    first = sync(world, "killed", expect=7)
    landed = sum(compare.rows(world).values())
    world.proxy.before = None
    say("   WORKER_LOST, as it should be. The next run goes on at the last checkpoint; one request is answered 429.")
    rest = sync(world, "finished")

    difference = compare.compare(world)
    say(f"4. Compared by key with the server: {difference.compared:,} rows, {difference.lost} lost, "
        f"{difference.duplicated} duplicated.")  # fmt: skip

    changed = advance(world.database)
    say(f"5. {changed} orders change or are new. An incremental run moves only those.")
    second = sync(world, "incremental")
    difference = compare.compare(world)

    say("6. A thief of a connector, under plain Python:")
    stolen_plain = plain(world)
    say(f"   STOLEN {stolen_plain}")
    say("   The same thief in Caisson:")
    stolen_caisson = caged(world)
    say(f"   STOLEN {stolen_caisson}")
    figures = {
        "records_read": first["records"] + rest["records_read"],
        "records_written": landed + rest["records_written"],
        "second_run_records": second["records_read"],
        "lost": difference.lost,
        "duplicated": difference.duplicated,
        "throttled_seconds": round(first["throttled_seconds"] + rest["throttled_seconds"], 1),
        "stolen_plain": stolen_plain,
        "stolen_caisson": stolen_caisson,
    }
    return figures, changed


def sync(world: World, name: str, expect: int = 0) -> dict[str, Any]:
    """One run of `caisson sync`; returns its figures."""
    stats = world.folder / f"{name}.stats.json"
    done = world.ask("sync", "shop.yaml", "lake.yaml", "--stats", stats, check=False, show=True)
    if done.returncode != expect:
        raise SystemExit(f"caisson sync ended with {done.returncode}, not with {expect}")
    figures: dict[str, Any] = json.loads(stats.read_text())
    return figures


def source_class() -> str:
    """The source's class, as far as its second method: twenty lines at most."""
    path = ROOT / "connectors/datasette/src/caisson_datasette/connector.py"
    text = path.read_text()
    body = text[text.index("class Datasette") : text.index("    def test(")]
    return "\n".join(f"    {line}".rstrip() for line in body.rstrip().splitlines()[:20])


if __name__ == "__main__":
    main()
