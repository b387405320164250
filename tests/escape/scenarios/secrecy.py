"""Secrets on their way out of a worker, and at rest anywhere on the host."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

from harness import CallFailed
from harness.leaks import files_below
from harness.read import records
from servers.httpserver import Api, tied
from suite.gossips import REFERENCE, found, gossip, outside, token
from suite.house import House, Result
from suite.scenario import Scenario, apart, got, refused

from .remains import cores

TOLD = Scenario(
    "49",
    "a secret in an exception, a log line, a gRPC status, a record for debugging, the daemon's log",
    "redactor",
    "policy: reveal",
)
KEPT = Scenario(
    "50",
    "a secret in environ, cmdline, core, zygote, tmp, state database, cassette",
    "secrets: the channel alone",
    "filesystem",
)

# Lines in every form come in one call; an exception ends its call.
WAYS = [
    *["lines", "an exception", "a cause of an exception", "a note of an exception", "the file of an error"],
    *[f"an exception, {form}" for form in ("in base64, behind a name", "percent-encoded", "in JSON, escaped")],
]


def told(operation: str, way: str, house: House) -> Result:
    """Everything that the caller hears, that the daemon says, and that it writes down."""
    secret = token(house)
    said = len(house.daemon.log)
    heard = ""
    stream = gossip(house, operation, way)
    try:
        for event in stream:
            # What a record holds is the caller's own, and these ways put nothing there.
            heard += str(event)
    except CallFailed as failed:
        heard += f"{failed} {failed.details}"
    with suppress(CallFailed):
        heard += str(house.daemon.client.call("GetCall", call_id=stream.call_id))
    heard += house.daemon.log[said:] + (house.daemon.folder / "data/audit.jsonl").read_text()
    form = found(secret, heard)
    if form:
        return got(f"{form} in what is told")
    if "[redacted]" not in heard:
        return {"escaped": False, "returned": "", "broken": f"nothing was told at all: {heard[:500]}"}
    return refused("[redacted]")


def told_outside(way: str, house: House) -> Result:
    form = found(token(house), outside(house, way))
    return got(f"{form} in what is said") if form else refused("not said")


for _way in WAYS:
    TOLD.part(f"{_way} of a Read")(partial(told, "Read", _way))
    TOLD.control(f"{_way} of a Read")(partial(told_outside, _way))
for _way in ("lines", "a cause of an exception"):
    TOLD.part(f"{_way} of a Test")(partial(told, "Test", _way))
    TOLD.control(f"{_way} of a Test")(partial(told_outside, _way))


def named(way: str, house: House) -> Result:
    """What is no text but goes on as it is: such a call ends, and nothing of it is told."""
    secret = token(house)
    heard = ""
    try:
        for event in gossip(house, "Read", way):
            heard += str(event)
    except CallFailed as failed:
        heard += str(failed)
    form = found(secret, heard)
    return got(f"{form} in what is told") if form else refused(heard[-300:])


for _way in ("a checkpoint", "a name of a field"):
    TOLD.part(_way)(partial(named, _way))
    # Outside there is nobody between a text and its reader, whatever it is written into.
    TOLD.control(_way)(partial(told_outside, "a line on stdout"))


def recorded(redacted: bool, house: House) -> Result:
    """What a stream for debugging says of its connector's own config, and who reads it."""
    secret = token(house)
    stream = gossip(house, "Read", "the word of a record", redact_records=redacted).drain()
    words = [record["word"] for record in records(stream) if record.get("word")]
    if not words:
        return {"escaped": False, "returned": "", "broken": f"no such record came: {stream.seen}"}
    form = found(secret, "".join(words))
    return got(f"{form} in a record") if form else refused(f"{words}")


# The same without `redact_records`: what a connector yields is the caller's then, and goes on as it is.
TOLD.part("a record")(partial(recorded, True))
TOLD.control("a record")(partial(recorded, False))


# A service that has its secret as services do: in its environment, its arguments, a file of its own, its database; and
# that keeps it in memory before it makes the processes that serve.
SERVICE = """
import os, sqlite3, sys, time
token, folder = os.environ["TOKEN"], sys.argv[1]
open(os.path.join(folder, "tmp.txt"), "w").write(token)
database = sqlite3.connect(os.path.join(folder, "state.db"))
database.execute("create table state (value text)"); database.execute("insert into state values (?)", (token,))
database.commit()
print("ready", flush=True)
time.sleep(600)
"""


class Service:
    """Something that runs with a secret: its processes, and the folders that are its own.

    Attributes:
        worker: The process that uses the secret.
        maker: The one that made it, and shall not know it.
        folders: All that it writes to.
    """

    def __init__(self, worker: int, maker: int, folders: list[Path]) -> None:
        self.worker, self.maker, self.folders = worker, maker, folders


@contextmanager
def caisson(house: House) -> Iterator[Service]:
    """A call that knows the secret and stays."""
    stream = gossip(house, "Read", "linger", mode="streaming")
    try:
        stream.until("batch")
        (worker,) = house.daemon.client.call("GetCall", call_id=stream.call_id)["worker_pids"]
        yield Service(
            worker, launcher_of(house), [house.daemon.folder, house.stage.home, Path(f"/proc/{worker}/root/tmp")]
        )
    finally:
        stream.cancel()


def launcher_of(house: House) -> int:
    """The process that makes the daemon's workers."""
    assert house.daemon.process is not None
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            line = (entry / "cmdline").read_bytes()
            if b"launcher" in line:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
    return next(pid for pid, parent in parents.items() if parent == house.daemon.process.pid)


@contextmanager
def plain(house: House) -> Iterator[Service]:
    """A service of the same user without a sandbox."""
    folder = house.stage.folder("service")
    house.identity.own(folder)
    secret = token(house)
    command = [
        *house.identity.prefix,
        str(house.stage.python),
        "-I",
        "-S",
        "-c",
        SERVICE,
        str(folder),
        f"--key={secret}",
    ]
    with subprocess.Popen(command, env={"TOKEN": secret}, stdout=subprocess.PIPE) as service:
        assert service.stdout is not None and service.stdout.readline() == b"ready\n"
        try:
            yield Service(service.pid, service.pid, [folder])
        finally:
            service.kill()
            shutil.rmtree(folder)


def of_process(file: str, service: Service, secret: str) -> str:
    """Where a file of /proc holds it."""
    return found(secret, Path(f"/proc/{service.worker}/{file}").read_bytes().decode("utf-8", "replace"))


def of_maker(service: Service, secret: str) -> str:
    """Where the memory of the process that makes workers holds it."""
    if os.geteuid() != 0:
        raise PermissionError("only root reads another process's memory")
    wanted = secret.encode()
    with Path(f"/proc/{service.maker}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{service.maker}/maps").read_text().splitlines():
            span, rights = line.split()[:2]
            start, end = (int(part, 16) for part in span.split("-"))
            if "w" not in rights or end - start > 1 << 28:
                continue
            with suppress(OSError, OverflowError):
                memory.seek(start)
                if wanted in (memory.read(end - start) or b""):
                    return f"at {span}"
    return ""


def of_files(suffixes: tuple[str, ...], service: Service, secret: str) -> str:
    """The file that holds it; the directory of secrets is where it belongs."""
    for folder in service.folders:
        for path in files_below(folder):
            if path.is_file() and "secrets" not in path.parts and (not suffixes or path.suffix in suffixes):
                with suppress(OSError):
                    if found(secret, path.read_bytes().decode("utf-8", "replace")):
                        return str(path)
    return ""


def of_database(service: Service, secret: str) -> str:
    """The table that holds it."""
    for folder in service.folders:
        for path in (path for path in files_below(folder) if path.name == "state.db"):
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
                for line in database.iterdump():
                    if found(secret, line):
                        return line[:60]
    return ""


PLACES: dict[str, Callable[[Service, str], str]] = {
    "the environment": partial(of_process, "environ"),
    "the arguments": partial(of_process, "cmdline"),
    "the memory of who makes workers": of_maker,
    "any file, the worker's tmp too": partial(of_files, ()),
    "the state database": of_database,
}


def kept(place: str, inside: bool, house: House) -> Result:
    secret = token(house)
    with (caisson if inside else plain)(house) as service:
        try:
            where = PLACES[place](service, secret)
        except PermissionError as unable:
            return refused(str(unable)) if inside else apart(str(unable))
    return got(f"in {place}: {where}") if where else refused(f"not in {place}")


for _place in PLACES:
    KEPT.part(_place)(partial(kept, _place, True))
    KEPT.control(_place)(partial(kept, _place, False))


def in_cores(secret: str, house: House) -> str:
    """The core that holds it, of those in the granted folder and in the daemon's; removes them."""
    holds = ""
    for core in {*cores(house.daemon.folder), *cores(house.daemon.lake)}:
        holds = holds or (str(core) if secret.encode() in core.read_bytes() else "")
        core.unlink()
    return holds


@KEPT.part("a core")
def dumped(house: House) -> Result:
    stream = gossip(house, "Read", "an abort", folder=house.daemon.lake).drain()
    code = stream.failure["code"].removeprefix("ERROR_CODE_")
    if where := in_cores(token(house), house):
        return got(where)
    if code not in ("WORKER_LOST", "SANDBOX_VIOLATION"):
        return {"escaped": False, "returned": "", "broken": f"it did not crash: {stream.failure}"}
    return refused(f"{code}: {stream.failure['message']}")


@KEPT.control("a core")
def dumped_outside(house: House) -> Result:
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if pattern.startswith(("|", "/")):
        return apart(f"cores of this host go to {pattern}")
    outside(house, "an abort", house.daemon.lake)
    where = in_cores(token(house), house)
    return got(where) if where else refused("in no core")


def recording(house: House) -> tuple[str, str]:
    """The cassette of a read that sends the secret in its query, and what the server was sent."""
    folder = house.stage.folder("recording")
    house.signer.issue("recorded", "DNS:localhost")
    with Api(records=tied(5), tls=house.signer.context("recorded")) as api:
        rule = {"host": "localhost", "networks": ["127.0.0.0/8"], "ports": [api.port], "protocol": "https"}
        grant = {"query_key": {"from": ["file:gossip"], "reveal": True}}
        files = {
            "policies/keys.yaml": {"format": 1, "connector": "keys", "egress": [rule], "secrets": grant},
            "config.yaml": {"port": api.port, "auth": "query_key", "query_key": REFERENCE},
        }
        for name, content in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(json.dumps(content))
        token(house)
        house.identity.own(folder)
        done = house.daemon.command(
            "read", "--path", house.stage.connectors / "keys", "--config", "config.yaml", "--stream", "asc",
            "--policies", "policies", "--secrets", house.daemon.folder / "secrets", "--data-dir", "data",
            "--record", "recorded.har", cwd=folder,
            env={
                "CAISSON_SHIM": str(house.stage.shim), "CAISSON_PYTHON": str(house.stage.python),
                "SSL_CERT_FILE": str(house.daemon.folder / "authority.pem"),
            },
        )  # fmt: skip
        cassette = (folder / "recorded.har").read_text() if done.returncode == 0 else ""
        if "/asc" not in cassette:
            raise RuntimeError(f"nothing was recorded: {done.stderr}")
        return cassette, str(api.requests)


def recorded_as(sent: bool, house: House) -> Result:
    """Whether it is in the cassette, or in what a recorder would have that keeps requests as they come."""
    cassette, requests = recording(house)
    form = found(token(house), requests if sent else cassette)
    return got(f"{form} in what is kept") if form else refused(f"{len(cassette)} characters without it")


KEPT.part("a cassette")(partial(recorded_as, False))
KEPT.control("a cassette")(partial(recorded_as, True))
