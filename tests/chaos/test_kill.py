"""A daemon that is killed at any moment, under load, loses nothing and leaves nothing."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
import time

import pytest

from dice import ROUNDS, SEED
from harness import Daemon
from harness.stage import ROOT
from leftovers import none_lives, nothing_is_left, state_is_whole
from load import Load

FIGURES = ROOT / "target/chaos.jsonl"


def kill_while_it_starts(daemon: Daemon, after: float) -> None:
    """SIGKILL so many seconds after it was executed, served or not."""

    def strike() -> None:
        until = time.monotonic() + 30
        while daemon.process is None and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(after)
        if daemon.process is not None:
            os.kill(daemon.process.pid, signal.SIGKILL)

    striking = threading.Thread(target=strike)
    striking.start()
    with contextlib.suppress(RuntimeError):
        daemon.start()
    striking.join()
    if daemon.process is not None:
        daemon.kill()


def kill_under_load(daemon: Daemon, load: Load, after: float, pause: float) -> None:
    """SIGKILL so many seconds after the load began."""
    threads = load.run(pause)
    time.sleep(after)
    assert daemon.process is not None
    os.kill(daemon.process.pid, signal.SIGKILL)
    load.end(threads)
    daemon.kill()


@pytest.mark.timeout(120 + 30 * ROUNDS)
def test_a_daemon_killed_at_any_moment_loses_nothing_and_leaves_nothing(daemon: Daemon) -> None:
    dice = random.Random(SEED)
    (daemon.folder / "tmp").mkdir()
    daemon.environment["TMPDIR"] = str(daemon.folder / "tmp")
    files = [{"dir": "${config.dir}", "within": [str(daemon.lake)], "access": "write"}]
    daemon.policy("sqlite", files=files)
    load = Load(daemon)
    begun = time.monotonic()
    starting = 0
    for _ in range(ROUNDS):
        if dice.random() < 0.2:
            starting += 1
            kill_while_it_starts(daemon, dice.uniform(0, 0.4))
            none_lives(daemon)
            state_is_whole(daemon)
        daemon.start()
        nothing_is_left(daemon)
        kill_under_load(daemon, load, dice.uniform(0.05, 2.5), dice.choice([0, 0, 0.01]))
        none_lives(daemon)
        state_is_whole(daemon)
    daemon.start()
    nothing_is_left(daemon)
    load.once()
    FIGURES.parent.mkdir(exist_ok=True)
    with FIGURES.open("a") as file:
        figures = {
            "daemon": daemon.identity.name, "seed": SEED, "kills": ROUNDS + starting, "while_starting": starting,
            "seconds": round(time.monotonic() - begun, 1), "reads": sum(reader.serial - 1 for reader in load.readers),
            "syncs": load.mover.moved, "versions": len(load.publisher.published),
        }  # fmt: skip
        file.write(json.dumps(figures) + "\n")
