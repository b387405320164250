"""What goes on while a daemon is killed: calls of every kind, and what each of their callers can vouch for.

A caller here does what an orchestrator does. It keeps what it was promised (a commit that was answered, a version that
was published, a sync that succeeded) and holds the next daemon to it.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from harness import CallFailed, Daemon
from harness.daemon import inline
from harness.read import read

READ = 600
"""Rows of one read."""
MOVED = 400
"""Rows of one sync."""


class Gone(Exception):
    """The daemon died, which is what all of this is about."""


def is_gone(failed: CallFailed) -> bool:
    """Dead daemons are expected; anything else that a call is refused with is a finding."""
    return failed.status == "UNAVAILABLE" and not failed.code


class Reader:
    """Reads from the stored checkpoint, lands rows and commits, over and over."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.serial = 0
        self.begin()

    def begin(self) -> None:
        """A fresh state key."""
        self.serial += 1
        self.key = f"{self.name}-{self.serial}"
        self.landed: list[int] = []
        self.acknowledged = 0
        self.asked = 0

    def work(self, daemon: Daemon, pause: float) -> None:
        """One read, from what is stored to the end.

        Raises:
            Gone: The daemon was killed meanwhile.
        """
        connection = inline(daemon.stage.connectors / "rows", config={"count": READ})
        connection["inline"]["state_key"] = self.key
        stream = read(daemon, connection, "counted", mode="incremental", from_="FROM_STORED")
        pending: list[int] = []
        first = True
        for event in stream:
            if "batch" in event:
                pending += [json.loads(line)["id"] for line in event["batch"]["data"].splitlines()]
                if first:
                    self.resume(pending)
                    first = False
            elif "checkpoint" in event:
                self.asked = max([self.asked, *pending])
                self.landed += [number for number in pending if number > len(self.landed)]
                pending = []
                daemon.client.call("Commit", state_key=self.key, checkpoint=event["checkpoint"], force=True)
                self.acknowledged = self.asked
                stop.wait(pause)
        failures = stream.all("failure")
        assert not failures, failures
        assert self.landed == list(range(1, READ + 1)), "lost or doubled"
        self.begin()

    def resume(self, came: list[int]) -> None:
        """What comes first follows the last commit that was answered, or the one that was on its way."""
        assert came[0] in (self.acknowledged + 1, self.asked + 1), (came[0], self.acknowledged, self.asked)
        # Now it is known which of the two is stored.
        self.acknowledged = self.asked = came[0] - 1


class Mover:
    """Syncs rows into SQLite files, one after the other."""

    def __init__(self, lake: Path) -> None:
        self.lake = lake
        self.serial = 1
        self.moved = 0

    def work(self, daemon: Daemon, pause: float) -> None:
        """One sync, from wherever the last one came.

        Raises:
            Gone: The daemon was killed meanwhile.
        """
        file = f"moved-{self.serial}.sqlite"
        target = {"dir": str(self.lake), "file": file}
        stream = daemon.client.stream(
            "Sync",
            source=inline(daemon.stage.connectors / "rows", config={"count": MOVED}),
            destination=inline(daemon.stage.connectors / "sqlite", config=target),
            streams=[{"stream": "counted", "mode": "READ_MODE_INCREMENTAL"}],
            from_="FROM_STORED",
            state_key=file,
        ).drain()
        failures = stream.all("failure")
        assert not failures, failures
        assert self.rows(file) == list(range(1, MOVED + 1)), "lost or doubled"
        self.serial += 1
        self.moved += 1

    def rows(self, file: str) -> list[int]:
        """What lies in the destination."""
        base = sqlite3.connect(f"{(self.lake / file).as_uri()}?mode=ro", uri=True)
        try:
            return [number for (number,) in base.execute("select id from counted order by id")]
        finally:
            base.close()


class Passer:
    """Short calls: workers that are made and end all the time."""

    def work(self, daemon: Daemon, pause: float) -> None:
        """A List and a Test.

        Raises:
            Gone: The daemon was killed meanwhile.
        """
        connection = inline(daemon.stage.connectors / "rows")
        for name in ("List", "Test"):
            stream = daemon.client.stream(name, connection=connection).drain()
            assert stream.summary


class Publisher:
    """Publishes one version after the other, and installs it."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.serial = 0
        self.published: list[str] = []

    def work(self, daemon: Daemon, pause: float) -> None:
        """One version.

        Raises:
            Gone: The daemon was killed meanwhile.
        """
        manifest = self.project / "connector.yaml"
        text = manifest.read_text().splitlines()
        self.serial += 1
        version = f"1.0.{self.serial}"
        manifest.write_text("\n".join(f"version: {version}" if line.startswith("version:") else line for line in text))
        try:
            done = daemon.cli("publish", self.project)
        except subprocess.TimeoutExpired:
            raise Gone from None
        if done.returncode != 0:
            raise Gone
        self.published.append(f"rows@{version}")
        daemon.client.call("Install", connector=self.published[-1])


stop = threading.Event()
"""Ends what waits between two steps of a load."""

Work = Callable[[Daemon, float], None]


class Load:
    """Everything at once, each in a thread of its own, until the daemon is gone."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        project = daemon.folder / "project"
        subprocess.run(["cp", "-r", str(daemon.stage.connectors / "rows"), str(project)], check=True)
        daemon.identity.own(project)
        self.readers = [Reader("one"), Reader("two")]
        self.mover = Mover(daemon.lake)
        self.publisher = Publisher(project)
        self.found: list[BaseException] = []

    @property
    def works(self) -> list[Work]:
        """All of it, without what changes the world outside."""
        return [*(reader.work for reader in self.readers), self.mover.work, Passer().work, self.publisher.work]

    def run(self, pause: float) -> list[threading.Thread]:
        """Starts it."""
        stop.clear()
        self.daemon.client.learn()
        threads = [threading.Thread(target=self._keep_on, args=(work, pause)) for work in self.works]
        for thread in threads:
            thread.start()
        return threads

    def end(self, threads: list[threading.Thread]) -> None:
        """Waits for it, once the daemon was killed; raises what anybody found to complain about."""
        stop.set()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "a caller waits for a dead daemon"
        if self.found:
            raise self.found[0]

    def once(self) -> None:
        """Each of it to its end, under a daemon that lives."""
        stop.set()
        for work in self.works:
            work(self.daemon, 0)

    def _keep_on(self, work: Work, pause: float) -> None:
        try:
            while not stop.is_set():
                work(self.daemon, pause)
        except CallFailed as failed:
            if not is_gone(failed):
                self.found.append(failed)
        except Gone:
            pass
        except BaseException as error:
            self.found.append(error)
