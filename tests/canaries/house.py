"""A daemon with every provider, what its calls reach, and all the calls that there are."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from harness import CallFailed, Daemon, Identity, Stage, Stream
from harness.daemon import inline
from harness.read import last_checkpoint, read, sync
from harness.watch import one_waits
from servers.between import Between
from servers.httpserver import Api, tied
from servers.oauth import SECRET
from servers.secure import Signer
from servers.vault import POLICY, Vault

CONNECTORS = ("web", "rows", "sink")
# A forbidden system call ends a process as a crash does, which leaves a core where one may be left.
MISBEHAVIOUR = ("leak", "tell", "exception", "credentials", "exit", "system call", "garbage", "half a frame")


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


def of_providers() -> list[Canary]:
    """Two of each provider: revealed and sealed."""
    return [
        Canary(f"{provider}, {'sealed' if sealed else 'revealed'}", reference, sealed)
        for sealed, name in ((False, "shown"), (True, "sealed"))
        for provider, reference in {
            "env": f"env:CAISSON_SECRET_{name.upper()}",
            "file": f"file:{name}",
            "vault": f"vault:secret/data/{name}#key",
            "command": f"command:printed/{name}",
        }.items()
    ]


class House:
    """What canaries live in.

    Attributes:
        canaries: Those of the providers, planted.
        said: The log of daemons that are gone.
        watched: The audit, as a watcher has it.
        between: Stands before the vault, and sees the daemon's tokens.
        api: Repeats the records of `tied`, with TLS.
    """

    def __init__(self, stage: Stage, identity: Identity, vault: Vault, canaries: list[Canary]) -> None:
        self.stage, self.vault, self.canaries = stage, vault, canaries
        self.signer = signer = Signer(stage.folder("private"))
        signer.issue("server", "DNS:localhost")
        signer.issue("client", "DNS:client")
        self.api = Api(tls=signer.context("server"))
        self.api.records = tied(25)
        self.daemon = daemon = Daemon(stage, identity, egress={"ca": "upstream.pem"})
        (daemon.folder / "upstream.pem").write_bytes((signer.folder / "ca.pem").read_bytes())
        self.tmp = daemon.folder / "tmp"
        self.tmp.mkdir()
        daemon.environment |= {"CAISSON_LOG": "debug", "TMPDIR": str(self.tmp)}
        # It says on stderr what it prints, as a script under `set -x` does.
        command = daemon.folder / "command"
        command.write_text(f'#!/bin/sh\ncat "{daemon.folder}/secrets/$1" | tee /dev/stderr\n')
        command.chmod(0o755)
        (daemon.folder / "secrets/printed").mkdir()
        read_only = ("secret/data/sealed", "secret/data/shown", "secret/data/sealed-robot", "database/creds/reader")
        paths = "\n".join(f'path "{path}" {{ capabilities = ["read"] }}' for path in read_only)
        paths += '\npath "secret/data/sealed-crm" { capabilities = ["read", "update"] }'
        role = vault.role(POLICY + paths)
        self.secret_id = role.pop("secret_id")
        (daemon.folder / "secret-id").write_text(self.secret_id)
        self.between = Between(vault.address)
        login = {"address": self.between.url, "auth": {"approle": {**role, "secret_id_file": "secret-id"}}}
        daemon.configuration["secrets"] = {
            "files": "secrets", "vault": login, "command": {"run": [str(command), "{path}"]},
        }  # fmt: skip
        for canary in canaries:
            self._plant(canary)
        daemon.environment |= {
            "CAISSON_SECRET_MACHINE": SECRET,
            "CAISSON_SECRET_KEY": (signer.folder / "client.key").read_text(),
        }
        self.said = ""
        self.watched: list[str] = []

    def _plant(self, canary: Canary) -> None:
        kind, _, place = canary.reference.partition(":")
        if kind == "env":
            self.daemon.environment[place] = canary.value
        elif kind in ("file", "command"):
            (self.daemon.folder / "secrets" / place).write_text(canary.value)
        else:
            self.vault.put(place.split("/")[-1].partition("#")[0], key=canary.value)

    def start(self, *options: str) -> None:
        """The daemon, with these options of `caisson serve`, and somebody who watches its audit."""
        self.daemon.options = list(options)
        self.daemon.start()
        watching = self.daemon.client.stream("WatchAudit", workspace="default", timeout=None)

        def watch() -> None:
            with suppress(CallFailed):
                for line in watching:
                    self.watched.append(str(line))

        threading.Thread(target=watch, daemon=True).start()

    def end(self, by: int) -> None:
        """Ends the daemon by a signal, in the middle of a call with every canary."""
        running = []
        for canary in self.each():
            stream = read(self.daemon, self.connection("rows", canary), "counted", mode="streaming")
            stream.until("batch")
            running.append(stream)
        for stream in running:
            state = self.daemon.client.call("GetCall", call_id=stream.call_id)["state"]
            assert state == "running", f"the call is {state}"
        assert self.daemon.process is not None
        self.daemon.process.send_signal(by)
        self.daemon.process.wait(30)
        self.daemon.stop()
        self.said += self.daemon.log

    def remove(self) -> None:
        """All of it."""
        self.api.close()
        self.daemon.remove()
        self.between.stop()

    def logins(self) -> list[Canary]:
        """What the daemon logs in to its vault with, and the tokens that this becomes: its own, and two of calls."""
        asked = self.between.tokens
        own = [token for token, paths in asked.items() if "/v1/auth/token/create" in paths]
        lent = [token for token in asked if token not in own]
        assert own and len(lent) > 1, f"the vault lent {len(own)} and {len(lent)} tokens: nothing was tried"
        named = {"a secret id": self.secret_id, "the daemon's token": own[-1]}
        named |= {"the first call's token": lent[0], "the last call's token": lent[-1]}
        return [Canary(name, "", sealed=True, value=value) for name, value in named.items()]

    def each(self) -> Iterator[Canary]:
        """Every canary of the providers, under policies that grant it."""
        for sealed in (False, True):
            mine = [canary for canary in self.canaries if canary.sealed == sealed]
            if mine:
                self.grant(mine, sealed)
            yield from mine

    def grant(self, canaries: list[Canary], sealed: bool) -> None:
        """Policies under which every connector may have them."""
        port = self.api.port
        rule = {"host": "localhost", "networks": ["127.0.0.0/8"], "ports": [port], "protocol": "https"}
        shown: dict[str, Any] = {"seal": {"hosts": ["localhost"], "ports": [port]}} if sealed else {"reveal": True}
        token = {"from": [canary.reference for canary in canaries], **shown}
        for connector in CONNECTORS:
            self.daemon.policy(connector, egress=[rule], secrets={"token": token}, redact_records=True)

    def connection(self, connector: str, canary: Canary, **config: Any) -> dict[str, Any]:
        """One that holds the canary's reference."""
        where = {"port": self.api.port, "scheme": "https"} if connector == "web" else {}
        held = {"token": {"$secret": canary.reference}, **where, **config}
        return inline(self.stage.connectors / connector, config=held)

    def published(self, canary: Canary) -> dict[str, Any]:
        """One of the published connector, for whose calls workers wait."""
        config = {"port": self.api.port, "scheme": "https", "token": {"$secret": canary.reference}}
        return inline(connector="web@1.0.0", config=config)

    def hear(self, canary: Canary, call: Callable[[], Any], well: bool = False) -> bool:
        """Runs a call to its end, and keeps all that is told of it; whether it ended well, which some have to."""
        try:
            answer = call()
            if not isinstance(answer, Stream):
                canary.told.append(str(answer))
                return True
            for event in answer:
                canary.told.append(str(event))
            with suppress(CallFailed):
                canary.told.append(str(self.daemon.client.call("GetCall", call_id=answer.call_id)))
            return bool(answer.summary if well else answer.all("summary"))
        except CallFailed as failed:
            if well:
                raise
            canary.told.append(f"{failed} {failed.details}")
            return False

    def command(self, canary: Canary, *words: str | Path) -> None:
        """A command of the operator's, about a connection with the canary."""
        config = self.daemon.folder / "config.json"
        config.write_text(self.connection("web", canary)["inline"]["connection"]["config_json"])
        config.chmod(0o644)
        done = self.daemon.cli(*words, "--path", self.stage.connectors / "web", "--config", config)
        assert done.returncode == 0, f"{words} ended with {done.returncode}: {done.stderr}"
        canary.told.append(done.stdout + done.stderr)

    def use(self) -> None:
        """Uses every canary in workers that wait, until one waits for the next call."""
        for canary in self.each():
            for _ in range(2):
                self.hear(canary, partial(read, self.daemon, self.published(canary), "asc"))
        one_waits(self.daemon)

    def calls(self) -> None:
        """Every call with every canary, and every way in which one fails."""
        done = self.daemon.cli("publish", self.stage.connectors / "web")
        assert done.returncode == 0, done.stderr
        for canary in self.canaries:
            self.without_grant(canary)
        for canary in self.each():
            self.reads(canary)
            self.misbehaviour(canary)
            self.writes(canary)
            self.questions(canary)
            fields = [request.headers.get("authorization", "") for request in self.api.requests]
            assert f"Bearer {canary.value}" in fields, f"{canary.name} never came to the upstream: nothing was tried"
            told = "\n".join(canary.told)
            assert canary.sealed or "[redacted]" in told, f"{canary.name} was told to nobody: nothing was tried"

    def without_grant(self, canary: Canary) -> None:
        """Calls that no policy grants it to, and the value itself where a reference belongs."""
        for token in ({"$secret": canary.reference}, canary.value):
            self.hear(canary, partial(read, self.daemon, self.connection("rows", canary, token=token), "rows"))
        stored = {"connector": "web@1.0.0", "config_json": json.dumps({"port": 1, "token": canary.value})}
        self.hear(canary, lambda: self.daemon.client.call("Put", name="literal", connection=stored))

    def reads(self, canary: Canary) -> None:
        """What asks an upstream, which at last says back what it was sent."""
        web = self.connection("web", canary)
        for stream in ("asc", "plain"):
            self.hear(canary, partial(read, self.daemon, web, stream), well=True)
        for what in ("Test", "List"):
            for source in (web, self.published(canary)):
                self.hear(canary, partial(self.daemon.client.stream, what, connection=source), well=True)
        self.command(canary, "read", "--stream", "asc")
        echo = json.dumps({"error": f"no access for Bearer {canary.value}"})
        for stream, status in (("asc", 401), ("asc", 429), ("plain", 400), ("plain", 500)):
            self.api.fail("/asc", status, headers={"Retry-After": "1"}, body=echo)
            self.hear(canary, partial(read, self.daemon, web, stream, options={"deadline_ms": 5_000}))
            self.api.forgive()

    def misbehaviour(self, canary: Canary) -> None:
        """Workers that tell what they know, crash, hang and are cancelled."""
        for behave in (*MISBEHAVIOUR, "name a field"):
            stream = "undeclared" if behave == "name a field" else "rows"
            config = self.connection("rows", canary, behave=behave, at=10)
            self.hear(canary, partial(read, self.daemon, config, stream))
        hanging = self.connection("rows", canary, behave="hang", at=10)
        self.hear(canary, lambda: read(self.daemon, hanging, "rows", options={"deadline_ms": 1_000}))
        for cancel in (Stream.cancel, lambda stream: self.daemon.client.call("Cancel", call_id=stream.call_id)):
            running = read(self.daemon, self.connection("rows", canary), "counted", mode="streaming")
            running.until("batch")
            cancel(running)
            self.hear(canary, lambda running=running: running)  # type: ignore[misc]

    def writes(self, canary: Canary) -> None:
        """A destination and a source between which records move, with checkpoints that are stored."""
        client = self.daemon.client
        for config in ({"reject": 7}, {"fail_at": 15}):
            sink = self.connection("sink", canary, **config)
            self.hear(canary, partial(client.write, _batches(sink)), well="reject" in config)
            key = f"{canary.name}, {list(config)}"
            source = self.connection("rows", canary, count=30)
            self.hear(canary, partial(sync, self.daemon, source, sink, state_key=key), well="reject" in config)
        source = self.connection("rows", canary, behave="exception", at=15)
        sink = self.connection("sink", canary)
        self.hear(canary, partial(sync, self.daemon, source, sink, state_key=f"{canary.name}, broken"))
        source = self.connection("rows", canary, count=30)
        source["inline"]["state_key"] = canary.name
        reading = read(self.daemon, source, "counted", mode="incremental")
        self.hear(canary, lambda: reading, well=True)
        for _ in ("the first", "a conflict"):
            checkpoint = last_checkpoint(reading)
            self.hear(canary, partial(client.call, "Commit", state_key=canary.name, checkpoint=checkpoint))
        self.hear(canary, partial(read, self.daemon, source, "counted", mode="incremental", from_="FROM_STORED"))

    def questions(self, canary: Canary) -> None:
        """What operators and callers ask beside calls, and a connection that the daemon stores."""
        client, web, name = self.daemon.client, self.published(canary), f"stored-{canary.sealed}".lower()
        for asked in (
            partial(client.call, "Spec", connector="web@1.0.0"),
            partial(client.call, "CheckSecrets", connection=web),
            partial(client.call, "ExplainEgress", connection=web, host="localhost", port=self.api.port),
            partial(client.call, "ExplainEgress", connection=web, host="elsewhere.example", port=443),
            partial(client.call, "Put", name=name, connection=web["inline"]["connection"]),
            partial(client.call, "Get", name=name),
            partial(client.call, "Connections.List"),
            partial(read, self.daemon, {"name": name}, "asc"),
            partial(client.call, "Delete", name=name),
            partial(client.call, "ListCalls"),
            partial(client.call, "ListConnectors"),
        ):
            self.hear(canary, asked)
        self.command(canary, "secrets", "check")


def _batches(sink: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Forty records for a Write, and a checkpoint in their middle."""
    yield {"start": {"connection": sink, "encoding": "ENCODING_JSON_LINES"}}
    yield {"schema": {"stream": "t", "schema_id": "s", "primary_key": ["id"], "mode": "WRITE_MODE_UPSERT"}}
    for number in (1, 2):
        data = b"".join(b'{"id": %d}\n' % each for each in range(number * 20 - 19, number * 20 + 1))
        yield {"batch": {"stream": "t", "schema_id": "s", "sequence": number, "data": data, "records": 20}}
        yield {"checkpoint": {"stream": "t", "id": f"after-{number}", "state": b"{}"}}
