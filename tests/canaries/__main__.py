"""`make canaries`: secrets that are planted in every provider, and looked for wherever calls may have left them.

Each is used, revealed or sealed, by calls that succeed and calls that fail, and the daemon is killed in the middle of
one. Each search has a control: the same look finds the same canary where it was put.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import tokens
from harness import CallFailed, Daemon, Identity, Stage
from harness.daemon import inline
from harness.read import read
from harness.watch import one_waits
from scenarios.secrecy import Service, files_below, of_maker, of_process
from servers.httpserver import Api, tied
from servers.oauth import OAuth
from servers.secure import Signer
from servers.vault import POLICY, Vault
from suite.gossips import found

HOLDER = "import os, sys; kept = os.environ['TOKEN'] * 2; print('ready', flush=True); sys.stdin.read()"


@dataclass
class Canary:
    """One secret.

    Attributes:
        name: Its provider, and whether the worker sees it.
        reference: What a config has.
        sealed: The worker does not see it.
        value: Has what encoders change.
        told: All that callers heard of calls with it.
    """

    name: str
    reference: str
    sealed: bool
    value: str = field(default_factory=lambda: f"can/{secrets.token_hex(12)}+=?&~")
    told: list[str] = field(default_factory=list)


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


class House:
    """A daemon with every provider, and what calls reach."""

    def __init__(self, stage: Stage, identity: Identity, vault: Vault) -> None:
        self.stage, self.vault = stage, vault
        self.canaries = [
            Canary(f"{provider}, {'sealed' if sealed else 'revealed'}", reference, sealed)
            for sealed in (False, True)
            for provider, reference in [
                ("env", f"env:CAISSON_SECRET_{'SEALED' if sealed else 'SHOWN'}"),
                ("file", f"file:{'sealed' if sealed else 'shown'}"),
                ("vault", f"vault:secret/data/{'sealed' if sealed else 'shown'}#key"),
                ("command", f"command:printed/{'sealed' if sealed else 'shown'}"),
            ]
        ]
        self.signer = signer = Signer(stage.folder("private"))
        self.daemon = Daemon(stage, identity, egress={"ca": "upstream.pem"})
        tokens.issue(signer, self.daemon.folder)
        self.api = Api(tls=signer.context("server"))
        self.api.__enter__()
        self.api.records = tied(25)
        login = {"address": vault.address, "auth": {"token": {"file": "vault-token"}}}
        # It says on stderr what it prints, as a script under `set -x` does.
        command = self.daemon.folder / "command"
        command.write_text(f'#!/bin/sh\ncat "{self.daemon.folder}/secrets/$1" | tee /dev/stderr\n')
        command.chmod(0o755)
        (self.daemon.folder / "secrets/printed").mkdir()
        self.daemon.configuration["secrets"] = {
            "files": "secrets", "vault": login, "command": {"run": [str(command), "{path}"]},
        }  # fmt: skip
        self.daemon.environment["CAISSON_LOG"] = "debug"
        self.daemon.environment.update(tokens.environment(signer))
        paths = "\n".join(f'path "secret/data/{name}" {{ capabilities = ["read"] }}' for name in ("sealed", "shown"))
        paths += '\npath "secret/data/sealed-crm" { capabilities = ["read", "update"] }'
        (self.daemon.folder / "vault-token").write_text(vault.token(POLICY + paths))
        for canary in self.canaries:
            kind, _, place = canary.reference.partition(":")
            if kind == "env":
                self.daemon.environment[place] = canary.value
            elif kind in ("file", "command"):
                (self.daemon.folder / "secrets" / place).write_text(canary.value)
            else:
                vault.put(place.split("/")[-1].partition("#")[0], key=canary.value)
        self.daemon.start()
        done = self.daemon.cli("publish", stage.connectors / "web")
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        self.said = ""

    def remove(self) -> None:
        """All of it."""
        self.api.__exit__(None, None, None)
        self.daemon.remove()

    def grant(self, connector: str, canary: Canary) -> None:
        """The policy under which the canary is used."""
        port = self.api.port
        rule = {"host": "localhost", "networks": ["127.0.0.0/8"], "ports": [port], "protocol": "https"}
        shown = {"seal": {"hosts": ["localhost"], "ports": [port]}} if canary.sealed else {"reveal": True}
        self.daemon.policy(connector, egress=[rule], secrets={"token": {"from": [canary.reference], **shown}})

    def connection(self, connector: str, canary: Canary, **config: Any) -> dict[str, Any]:
        """One that holds the canary's reference."""
        return inline(self.stage.connectors / connector, config={"token": {"$secret": canary.reference}, **config})

    def published(self, canary: Canary) -> dict[str, Any]:
        """One of the published connector, for whose calls workers wait."""
        config = {"port": self.api.port, "scheme": "https", "token": {"$secret": canary.reference}}
        return inline(connector="web@1.0.0", config=config)

    def use(self, canary: Canary) -> None:
        """Uses it in the daemon that is there, until a worker waits for the next call."""
        self.grant("web", canary)
        for _ in range(2):
            self.hear(canary, partial(read, self.daemon, self.published(canary), "asc"))
        one_waits(self.daemon)

    def hear(self, canary: Canary, call: Callable[[], Any]) -> None:
        """Runs a call to its end, whatever that is, and keeps all that is told of it."""
        try:
            stream = call()
            for event in stream:
                canary.told.append(str(event))
            with suppress(CallFailed):
                canary.told.append(str(self.daemon.client.call("GetCall", call_id=stream.call_id)))
        except CallFailed as failed:
            canary.told.append(f"{failed} {failed.details}")

    def calls(self, canary: Canary) -> None:
        """Every call, and every way in which one fails."""
        web = {"port": self.api.port, "scheme": "https"}
        self.grant("web", canary)
        for name in ("asc", "plain"):
            self.hear(canary, partial(read, self.daemon, self.connection("web", canary, **web), name))
        for what in ("Test", "List"):
            for source in (self.connection("web", canary, **web), self.published(canary)):
                self.hear(canary, partial(self.daemon.client.stream, what, connection=source))
        checked = self.daemon.client.call("CheckSecrets", connection=self.published(canary))
        canary.told.append(f"{checked} {self.daemon.client.call('Spec', connector='web@1.0.0')}")
        self.grant("rows", canary)
        # A forbidden system call ends a process as a crash does, which leaves a core where one may be left.
        failing = ("leak", "exception", "credentials", "exit", "system call", "garbage", "half a frame", "name a field")
        for behave in failing:
            stream = "undeclared" if behave == "name a field" else "rows"
            config = self.connection("rows", canary, behave=behave, at=10)
            self.hear(canary, partial(read, self.daemon, config, stream))
        hanging = self.connection("rows", canary, behave="hang", at=10)
        self.hear(canary, lambda: read(self.daemon, hanging, "rows", options={"deadline_ms": 1_500}))
        running = read(self.daemon, self.connection("rows", canary), "counted", mode="streaming")
        running.until("batch")
        running.cancel()

    def record(self, canary: Canary) -> Path:
        """A cassette of a call with the canary."""
        self.grant("web", canary)
        config = {"port": self.api.port, "scheme": "https", "token": {"$secret": canary.reference}}
        return self.recorded(canary, config)

    def recorded(self, canary: Canary, config: dict[str, Any]) -> Path:
        """A cassette of a call under the policy that stands."""
        folder = self.stage.folder("recorded")
        shutil.copytree(self.daemon.folder / "policies", folder / "policies")
        (folder / "config.json").write_text(json.dumps(config))
        environment = {"CAISSON_SHIM": str(self.stage.shim), "CAISSON_PYTHON": str(self.stage.python)}
        environment["SSL_CERT_FILE"] = str(self.daemon.folder / "upstream.pem")
        self.daemon.identity.own(folder)
        done = self.daemon.command(
            "read", "--path", self.stage.connectors / "web", "--config", folder / "config.json", "--stream", "asc",
            "--format", "jsonl", "--policies", folder / "policies", "--data-dir", folder / "data",
            "--record", folder / "a.har", cwd=folder,
            env={**environment, canary.reference.partition(":")[2]: canary.value},
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        canary.told.append(done.stdout + done.stderr)
        return folder / "a.har"

    @property
    def log(self) -> str:
        """All that its daemons said."""
        return self.said + self.daemon.log

    def die(self, canary: Canary) -> None:
        """SIGABRT, on which a process leaves a core if it may, and SIGKILL in the middle of a call; another daemon."""
        self.grant("rows", canary)
        for ends in (signal.SIGABRT, signal.SIGKILL):
            read(self.daemon, self.connection("rows", canary), "counted", mode="streaming").until("batch")
            self.said += self.daemon.log
            assert self.daemon.process is not None
            self.daemon.process.send_signal(ends)
            self.daemon.process.wait(20)
            self.daemon.kill()
            self.daemon.start()


def children_of(daemon: Daemon) -> list[int]:
    """The launcher, the zygote and whoever waits for a call: what the daemon made."""
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
            with suppress(OSError):
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


@contextmanager
def planted(folder: Path, value: str) -> Iterator[Path]:
    """A file and a database that hold it."""
    inside = folder / "planted"
    inside.mkdir()
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


def left_a_core(folder: Path, value: str) -> bool:
    """Whether a process that may leave a core leaves one, and the secret is in it."""
    # By a shell: gRPC's threads and code between fork and exec do not go together.
    command = ["sh", "-c", 'ulimit -c unlimited && exec "$@"', "sh", sys.executable, "-c", HOLDER]
    with subprocess.Popen(
        command, env={**os.environ, "TOKEN": value}, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGABRT)
        process.wait(20)
    return bool(in_cores(folder, value))


def in_cores(folder: Path, value: str) -> str:
    """The core file that holds it."""
    for path in folder.rglob("core*"):
        with suppress(OSError):
            if path.is_file() and found(value, path.read_bytes().decode("utf-8", "replace")):
                return str(path)
    return ""


def look_everywhere(house: House, canary: Canary, count: Count, cassette: Path | None) -> None:
    """Every place in which a canary could have been left."""
    value, name = canary.value, canary.name
    texts = {
        "answers": "\n".join(canary.told),
        "the daemon's log": house.log,
        "the audit log": (house.daemon.folder / "data/audit.jsonl").read_text(),
    }
    if cassette is not None:
        texts["the cassette"] = cassette.read_text()
    for place, text in texts.items():
        assert text, f"{place} of {name} are empty: nothing was tried"
        count.search(
            f"{name} in {place}",
            partial(found, value, text),
            partial(found, value, f"{text} {value}"),
        )
    folder = house.daemon.folder
    but = ("secrets", "vault-token")
    with planted(folder, value) as inside:
        count.search(
            f"{name} in a file", lambda: in_files(folder, value, (*but, "planted")), lambda: in_files(inside, value)
        )
        count.search(
            f"{name} in the state", lambda: in_database(folder / "data", value), lambda: in_database(inside, value)
        )
    count.search(
        f"{name} in a temporary file",
        lambda: in_files(house.stage.home, value, (*but, house.signer.folder.name, folder.name)),
        lambda: _found_planted(house.stage.home, value),
    )
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if pattern.startswith(("|", "/")):
        print(f"core files are not looked for: this host hands them to {pattern}")
    else:
        with planted(folder, value) as inside:
            count.search(
                f"{name} in a core file",
                lambda: in_cores(house.stage.home, value),
                lambda: "a core" if left_a_core(inside, value) else "",
            )
    look_in_processes(house, canary, count)


def look_in_processes(house: House, canary: Canary, count: Count) -> None:
    """What the daemon made and no call has: the launcher, the zygote, forks and workers that wait."""
    value, name = canary.value, canary.name
    with holder(value) as control:
        for pid in children_of(house.daemon):
            service = Service(pid, pid, [])
            for file in ("environ", "cmdline"):
                count.search(
                    f"{name} in {file} of {pid}",
                    partial(of_process, file, service, value),
                    partial(of_process, file, control, value),
                )
            if os.geteuid() == 0:
                count.search(
                    f"{name} in the memory of {pid}",
                    partial(of_maker, service, value),
                    partial(of_maker, control, value),
                )


def _found_planted(folder: Path, value: str) -> str:
    with planted(folder, value) as inside:
        return in_files(inside, value)


def run(stage: Stage, identity: Identity, vault: Vault, oauth: OAuth, count: Count) -> None:
    """All canaries as one identity."""
    house = House(stage, identity, vault)
    try:
        for canary in house.canaries:
            house.calls(canary)
        for canary in house.canaries:
            cassette = house.record(canary) if canary.reference.startswith("env:") else None
            house.use(canary)
            # In what lived while the canary was used, and then in what comes after a daemon that died with it.
            look_in_processes(house, canary, count)
            house.die(canary)
            # What the kernel ends with a daemon takes a moment.
            time.sleep(0.5)
            look_everywhere(house, canary, count, cassette)
        turned = [
            *tokens.of_a_client(house, oauth, Canary),
            *tokens.of_a_login(house, oauth, Canary),
            *tokens.of_a_key(house, house.signer, Canary),
        ]
        for canary, cassette in turned:
            look_everywhere(house, canary, count, cassette)
    finally:
        house.remove()


def main() -> int:
    """Looks as every identity."""
    stage, count = Stage(), Count()
    try:
        vault = Vault(stage.folder("vault"))
        oauth = OAuth(stage.folder("vault"))
        try:
            for identity in Identity.available():
                run(stage, identity, vault, oauth, count)
        finally:
            oauth.stop()
            vault.stop()
    finally:
        stage.remove()
    for line in count.found:
        print(f"FOUND {line}")
    for line in count.blind:
        print(f"the control did not find {line}")
    print(f"{count.searches} searches, {len(count.found)} found, {count.controls} controls found")
    return 0 if not count.found and count.controls == count.searches else 1


if __name__ == "__main__":
    sys.exit(main())
