"""A daemon of a test's own, as root or as an ordinary user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .client import Client
from .stage import Stage

# No account of this machine: an ordinary user owns nothing but its data.
ORDINARY = 64_321

# A network namespace without any route: nothing that a daemon asks for leaves this machine.
NOWHERE = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--user", "--map-current-user"]), "--"]


@dataclass(frozen=True)
class Identity:
    """Who runs a daemon."""

    name: str
    uid: int | None

    @property
    def prefix(self) -> list[str]:
        """What makes a command run as this one."""
        if self.uid is None:
            return []
        # By its path: some commands run with no PATH at all.
        setpriv = shutil.which("setpriv") or "setpriv"
        return [setpriv, f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups", "--"]

    @staticmethod
    def available() -> list[Identity]:
        """Root can be both; anybody else is an ordinary user."""
        if os.geteuid() != 0:
            return [Identity("user", None)]
        return [Identity("root", None), Identity("user", ORDINARY)]

    @property
    def ordinary(self) -> bool:
        """Whether this is not root."""
        return self.name == "user"

    def own(self, path: Path) -> None:
        """Gives a folder and all in it to this identity."""
        if self.uid is not None:
            subprocess.run(["chown", "-R", f"{self.uid}:{self.uid}", str(path)], check=True)


class Daemon:
    """`caisson serve` in a folder of its own; `client` talks to it.

    Attributes:
        folder: Holds data, policies, secrets and the configuration.
        lake: A folder that policies may grant.
        within: What the daemon is started through, for example `NOWHERE`.
        options: What `caisson serve` is told beside its configuration.
    """

    def __init__(self, stage: Stage, identity: Identity, **configuration: Any) -> None:
        self.stage = stage
        self.identity = identity
        self.folder = stage.folder("daemon")
        for name in ("data", "policies", "secrets", "lake"):
            (self.folder / name).mkdir()
        self.lake = self.folder / "lake"
        self.within: list[str] = []
        self.options: list[str] = []
        self.configuration = {
            "data_dir": "data",
            "policies": "policies",
            "secrets": {"files": "secrets"},
            "shim": str(stage.shim),
            "python": str(stage.python),
            "development": ["default"],
            **({"allow_missing": ["cgroup"]} if identity.ordinary else {}),
            **configuration,
        }
        self.socket = self.folder / "data/caisson.sock"
        self.environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "CAISSON_LOG": os.environ.get("CAISSON_LOG", "info"),
            # For the daemons that commands embed.
            **({"CAISSON_ALLOW_MISSING": "cgroup"} if identity.ordinary else {}),
        }
        self.process: subprocess.Popen[bytes] | None = None
        self._client: Client | None = None

    def start(self) -> Daemon:
        """Starts it and waits until it serves.

        Raises:
            RuntimeError: It ended instead; holds what it said.
        """
        (self.folder / "caisson.yaml").write_text(json.dumps(self.configuration))
        self.identity.own(self.folder)
        command = [
            *self.within,
            *self.identity.prefix,
            str(self.stage.caisson),
            "serve",
            "--config",
            str(self.folder / "caisson.yaml"),
            *self.options,
        ]
        self.process = subprocess.Popen(
            command,
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self.said: list[str] = []
        serving = threading.Event()

        def listen(pipe: Any) -> None:
            for line in pipe:
                self.said.append(line.decode(errors="replace"))
                if b"serving" in line:
                    serving.set()
            serving.set()

        self._listener = threading.Thread(target=listen, args=(self.process.stderr,), daemon=True)
        self._listener.start()
        serving.wait(30)
        if "serving" not in self.log:
            self.stop()
            raise RuntimeError("the daemon did not start:\n" + "".join(self.said))
        return self

    @property
    def client(self) -> Client:
        """One client for the daemon's life."""
        if self._client is None:
            self._client = Client(f"unix:{self.socket}")
        return self._client

    @property
    def log(self) -> str:
        """What it said so far."""
        return "".join(self.said)

    def policy(self, connector: str, **body: Any) -> Path:
        """Writes a policy file, which is for folders too; reload if the daemon runs."""
        path = self.folder / "policies" / f"{connector}.yaml"
        path.write_text(json.dumps({"format": 1, "connector": connector, "workspace": "default", **body}))
        if self.process is not None:
            self.client.call("ReloadPolicies")
        return path

    def cli(self, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """A command against this daemon, as its user."""
        return self.command("--server", f"unix:{self.socket}", *arguments, **options)

    def command(
        self, *arguments: str | Path, env: dict[str, str] | None = None, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """A command as the daemon's user, with a server named only in its arguments."""
        # The subcommand comes first, where --server belongs to it.
        words = [str(word) for word in arguments]
        if words[:1] == ["--server"]:
            words = words[2:] + words[:2]
        return subprocess.run(
            [*self.identity.prefix, str(self.stage.caisson), *words],
            env={**self.environment, **(env or {})},
            cwd=options.pop("cwd", self.folder),
            capture_output=True,
            text=True,
            timeout=options.pop("timeout", 120),
            **options,
        )

    def stop(self) -> None:
        """Asks it to end, and waits."""
        if self._client is not None:
            self._client.close()
            self._client = None
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
        self._ended()

    def kill(self) -> None:
        """SIGKILL: no last word."""
        assert self.process is not None
        if self._client is not None:
            self._client.close()
            self._client = None
        self.process.kill()
        self._ended()

    def _ended(self) -> None:
        if self.process is not None:
            self.process.wait(30)
            self._listener.join(30)
            assert self.process.stderr is not None
            self.process.stderr.close()
        self.process = None

    def remove(self) -> None:
        """Stops and takes its folder away."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def inline(path: Path | str | None = None, connector: str = "", **fields: Any) -> dict[str, Any]:
    """A ConnectionRef to a folder or to a published version, with a config."""
    config = fields.pop("config", {})
    connection = {
        "connector": connector,
        "config_json": config if isinstance(config, str) else json.dumps(config),
    }
    if "streams" in fields:
        connection["streams"] = fields.pop("streams")
    return {"inline": {"connection": connection, "path": str(path) if path else None, **fields}}
