"""One daemon and one world, as one identity, and the two ways into it: as a worker, and as a control."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from contextlib import ExitStack
from functools import cached_property
from typing import Any

from harness import CallFailed, Daemon, Identity, Stage, Stream
from harness.daemon import inline
from harness.read import read, records
from servers.oauth import OAuth
from servers.postgres import Postgres
from servers.secure import Signer
from servers.vault import Vault

from .internet import Internet
from .nameserver import ADDRESS, Nameserver
from .namespaces import resolve_at
from .strangers import strangers
from .world import BURGLAR, World

Named = tuple[str, str]
"""An attempt's number and a theft's name."""
Result = dict[str, Any]

START = "import sys; sys.path.insert(0, sys.argv[1]); from caisson_burglar.plain import main; main(*sys.argv[2:])"
# Small, so that reaching them takes no time.
LIMITS = {"memory": "160MiB", "tmp": "16MiB", "pids": 48, "open_files": 256}


def sealed(policy: dict[str, Any] | None) -> dict[str, str] | None:
    """The reference of the secret that a policy is about."""
    return {"$secret": "file:database"} if policy and "secrets" in policy else None


class House:
    """What is broken into.

    Attributes:
        daemon: The real one.
        world: What there is to steal.
        bundle: The burglar's folder, readable by all.
        kept: What the parts of a scenario share.
    """

    def __init__(self, stage: Stage, identity: Identity, without: str = "") -> None:
        self.stage, self.identity = stage, identity
        self.bundle = stage.connectors / "burglar"
        if not self.bundle.exists():
            shutil.copytree(BURGLAR, self.bundle, ignore=shutil.ignore_patterns("__pycache__"))
        self.signer = Signer(stage.folder(f"signer-{identity.name}"))
        # Many thefts share a worker, and one that ended its call would keep the others from being tried.
        egress = {"ca": "authority.pem", "refused_attempts": 1_000_000}
        self.daemon = Daemon(stage, identity, limits=LIMITS, egress=egress)
        shutil.copy(self.signer.folder / "ca.pem", self.daemon.folder / "authority.pem")
        self.world = World(stage.folder("world"), identity, self.daemon)
        self.daemon.environment |= {"CAISSON_SECRET_TOKEN": self.world.canary, "CANARY": self.world.canary}
        self.without = {"CAISSON_WITHOUT": without} if without else {}
        self.daemon.environment |= self.without
        (self.daemon.folder / "secrets/database").write_text(self.world.canary)
        self.daemon.policy("other", egress=[])
        self.internet, self.nameserver = Internet(self.signer).open(), Nameserver().open()
        resolve_at(ADDRESS, self.world.folder)
        self.daemon.start()
        self._neighbour: Stream | None = None
        self.kept: dict[str, Any] = {}
        self._opened = ExitStack()

    @cached_property
    def oauth(self) -> OAuth:
        """An OAuth server, from the first attempt on that needs one."""
        server = OAuth(self.stage.folder("oauth"))
        self._opened.callback(server.stop)
        return server

    @cached_property
    def postgres(self) -> Postgres:
        """A database whose roles the vault lends."""
        server = Postgres()
        self._opened.callback(server.close)
        return server

    @cached_property
    def vault(self) -> Vault:
        """A vault, likewise."""
        server = Vault(self.stage.folder("vault"))
        self._opened.callback(server.stop)
        server.lend(self.postgres)
        return server

    def another_daemon(self, **configuration: Any) -> Daemon:
        """One that may be killed: not started, and to be removed by who asked for it."""
        daemon = Daemon(self.stage, self.identity, **configuration)
        daemon.environment |= self.without
        return daemon

    def settle(self) -> None:
        """Starts the neighbour: a worker that holds a canary in its tmp while others are burgled."""
        self._neighbour = self.burgle([("neighbour", "linger")], mode="streaming", timeout=None)
        first = self._neighbour.until("batch")
        assert first
        (self.world.neighbour,) = self.daemon.client.call("GetCall", call_id=self._neighbour.call_id)["worker_pids"]

    def burgle(
        self,
        thefts: Iterable[Named],
        mode: str = "full",
        extra: dict[str, Any] | None = None,
        daemon: Daemon | None = None,
        secret: dict[str, str] | None = None,
        **fields: Any,
    ) -> Stream:
        """A call of the burglar, not yet drained."""
        config = {
            "world": json.dumps(self.world.for_worker()),
            "thefts": json.dumps(list(thefts)),
            "extra": extra or {},
            **({"token": secret} if secret else {}),
        }
        return read(daemon or self.daemon, inline(self.bundle, config=config), "loot", mode=mode, **fields)

    def caged(self, thefts: list[Named], policy: dict[str, Any] | None = None) -> dict[Named, Result]:
        """What thefts got in one worker; those that its death kept from answering are left out."""
        self.allow(policy)
        stream = self.burgle(thefts, secret=sealed(policy))
        try:
            stream.drain()
        except CallFailed as failed:
            return {theft: {"escaped": False, "returned": "", "broken": str(failed)} for theft in thefts}
        return by_theft(records(stream))

    def caged_to_death(
        self, theft: Named, code: str, policy: dict[str, Any] | None = None, deadline_ms: int = 0
    ) -> Result:
        """A theft that has to end its call with a code."""
        self.allow(policy)
        options = {"deadline_ms": deadline_ms} if deadline_ms else None
        # Far longer than any of them may take.
        timeout = 60 + deadline_ms / 1000
        stream = self.burgle([theft], options=options, timeout=timeout, secret=sealed(policy))
        try:
            stream.drain()
        except CallFailed as failed:
            return {"escaped": True, "returned": f"the call went on: {failed}"}
        for failure in stream.all("failure"):
            text = f"{failure['code']}: {failure['message']}"
            ended = failure["code"].removeprefix("ERROR_CODE_") == code
            return {"escaped": False, "returned": text, **({} if ended else {"broken": f"{text}; expected {code}"})}
        found = records(stream)
        if forged := [record for record in found if "theft" not in record]:
            return {"escaped": True, "returned": f"the caller was given {forged[0]}"}
        return by_theft(found).get(theft, {"escaped": False, "returned": "", "broken": "no record came"})

    def use(self, tool: str, policy: dict[str, Any] | None = None, **extra: Any) -> Stream:
        """One of the burglar's tools in a worker, for scenarios; drained."""
        self.allow(policy)
        return self.burgle([("tool", tool)], extra=extra).drain()

    def use_outside(self, tool: str, **extra: Any) -> Result:
        """The same tool without a sandbox."""
        return self.control([("tool", tool)], extra)["tool", tool]

    def control(self, thefts: list[Named], extra: dict[str, Any] | None = None) -> dict[Named, Result]:
        """What the same thefts get without a sandbox, as the same identity, in the same world."""
        told = self.world.folder / "world.json"
        told.write_text(json.dumps({**self.world.for_control(), **(extra or {})}))
        self.identity.own(told)
        command = [*self.identity.prefix, str(self.stage.python), "-I", "-S", "-c", START]
        inherited = os.open(self.world.folder, os.O_RDONLY | os.O_DIRECTORY)
        done = subprocess.run(
            [*command, str(self.bundle / "src"), str(told), json.dumps(thefts)],
            env={"CANARY": self.world.canary},
            cwd=self.world.folder,
            pass_fds=[inherited],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        os.close(inherited)
        if done.returncode != 0:
            raise RuntimeError(f"the controls ended with {done.returncode}:\n{done.stderr}")
        return by_theft([json.loads(line) for line in done.stdout.splitlines()])

    def allow(self, policy: dict[str, Any] | None) -> None:
        """Puts the burglar's policy file in force, or takes it away."""
        path = self.daemon.folder / "policies/burglar.yaml"
        if policy is not None:
            self.daemon.policy("burglar", **policy)
        elif path.exists():
            path.unlink()
            self.daemon.client.call("ReloadPolicies")

    def unharmed(self) -> str:
        """What is wrong with the daemon or the neighbour after all that; empty when nothing is."""
        faults = []
        if self.daemon.process is None or self.daemon.process.poll() is not None:
            faults.append("the daemon ended")
        elif self._neighbour is not None:
            assert self._neighbour is not None
            call = self.daemon.client.call("GetCall", call_id=self._neighbour.call_id)
            if call.get("state") != "running":
                faults.append(f"the neighbour's call is over: {call}")
        if self.world.canary not in self.world.key.read_text():
            faults.append("the key was changed")
        return "; ".join(faults)

    def uninvited(self) -> str:
        """Who arrived in the internet, or asked the name server, and was allowed by no policy; forgets them."""
        found = strangers(self.internet.arrivals, self.nameserver.questions)
        self.forget()
        return found

    def forget(self) -> None:
        """Forgets who arrived in the internet."""
        self.internet.arrivals.clear()
        self.nameserver.questions.clear()

    def close(self) -> None:
        """Ends all of it."""
        self.internet.close()
        self.nameserver.close()
        if self._neighbour is not None:
            self._neighbour.cancel()
        self.daemon.remove()
        self.world.close()
        self._opened.close()


def by_theft(lines: Iterable[dict[str, Any]]) -> dict[Named, Result]:
    """Results by attempt and theft, from the burglar's lines."""
    found: dict[Named, Result] = {}
    for line in lines:
        number, _, name = line["theft"].partition(" ")
        result = line["result"]
        found[number, name] = json.loads(result) if isinstance(result, str) else result
    return found
