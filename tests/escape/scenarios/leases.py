"""What a call was lent, after the call: a role of a real database, made for it by a real vault."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from functools import partial

from harness import Daemon
from harness.client import Stream
from harness.daemon import inline
from harness.read import read, records
from harness.watch import eventually, workers
from servers.vault import POLICY
from suite.gossips import bundle
from suite.house import House, Result
from suite.scenario import Scenario, got, refused

LENT = Scenario("52", "a login that was lent to a call, used after the call", "secrets: leases", "the vault's own time")

GRANT = POLICY + 'path "database/creds/reader" { capabilities = ["read"] }'
PASSWORD = "vault:database/creds/reader#password"
ROLES = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%'"
# Borrows as a program does that has a token of the vault's, and knows of no end.
BORROWER = """
import sys, time, urllib.request
request = urllib.request.Request(sys.argv[1] + "/v1/database/creds/reader", headers={"X-Vault-Token": sys.argv[2]})
print(urllib.request.urlopen(request).read().decode().strip(), flush=True)
time.sleep(600)
"""


def enters(house: House, role: str, password: str) -> bool:
    """Whether the database lets them in."""
    server = ["-h", "127.0.0.1", "-p", str(house.postgres.port), "-U", role, "-d", "postgres"]
    environment = {"PATH": os.environ["PATH"], "PGPASSWORD": password}
    command = [str(house.postgres.bin / "psql"), "-X", *server, "-c", "SELECT"]
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0


def cancel(daemon: Daemon, stream: Stream) -> None:
    stream.cancel()


def crash(daemon: Daemon, stream: Stream) -> None:
    (pid,) = workers(daemon, stream)
    os.kill(pid, signal.SIGKILL)


def time_out(daemon: Daemon, stream: Stream) -> None:
    """The deadline, which the call has had from its beginning."""
    assert stream.drain().failure["code"] == "ERROR_CODE_TIMEOUT", stream.failure


def die(daemon: Daemon, stream: Stream) -> None:
    daemon.kill()
    daemon.start()


ENDS: dict[str, Callable[[Daemon, Stream], None]] = {
    "the call is cancelled": cancel,
    "the worker is killed": crash,
    "the deadline comes": time_out,
    "the daemon is killed, and there is another": die,
}


def lent(end: Callable[[Daemon, Stream], None], house: House) -> Result:
    """The connector tells the password, which is how it gets out, and the login is tried before and after."""
    vault = {"address": house.vault.address, "auth": {"token": {"file": "vault-token"}}}
    daemon = house.another_daemon(secrets={"vault": vault})
    try:
        (daemon.folder / "vault-token").write_text(house.vault.token(GRANT))
        daemon.start()
        daemon.policy("gossip", secrets={"token": {"from": [PASSWORD], "reveal": True}})
        before = set(house.postgres.sql(ROLES, "postgres").split())
        config = {"token": {"$secret": PASSWORD}, "way": "the word of a record, and stay"}
        options = {"deadline_ms": 6_000} if end is time_out else None
        stream = read(daemon, inline(bundle(house), config=config), "told", mode="streaming", options=options)
        while not any(told := [record.get("word") for record in records(stream)]):
            stream.until("batch")
        password = str(told[-1])
        (role,) = set(house.postgres.sql(ROLES, "postgres").split()) - before
        if not enters(house, role, password):
            return {"escaped": False, "returned": "", "broken": f"{role} could never log in"}
        end(daemon, stream)
        try:
            eventually(lambda: not enters(house, role, password), "its end")
        except AssertionError:
            return got(f"{role} logs in")
        return refused(f"{role} is gone")
    finally:
        daemon.remove()


def borrowed(house: House) -> Result:
    """A program that borrowed for itself, and ends before it gives back."""
    command = [*house.identity.prefix, str(house.stage.python), "-I", "-S", "-c", BORROWER]
    token = house.vault.token(GRANT)
    with subprocess.Popen([*command, house.vault.address, token], stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        login = json.loads(program.stdout.readline())["data"]
        program.kill()
    left = enters(house, login["username"], login["password"])
    return got(f"{login['username']} logs in") if left else refused(f"{login['username']} is gone")


for _name, _end in ENDS.items():
    LENT.part(_name)(partial(lent, _end))
    LENT.control(_name)(borrowed)
