"""The demo's world: a folder, a daemon, a real API, and commands against it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

from servers.attacker import Attacker
from servers.datasette import TOKEN, Datasette
from servers.faultproxy import FaultProxy
from servers.generate import generate

ROOT = Path(__file__).parents[2]
CAISSON = ROOT / os.environ.get("CAISSON", "target/debug/caisson")
CANARY = "AKIA-demo-canary-7f3a"


def say(text: str = "") -> None:
    """A line of the story."""
    print(text, flush=True)


class World:
    """Everything that runs; `close` ends it.

    Attributes:
        folder: Connections, policies, data; stays after the demo, to look into.
        victim: A home with a key in it, which the daemon's environment names.
        degraded: Whether this user has no cgroup of its own, which has to be accepted by name.
    """

    def __init__(self, throttle_at: int) -> None:
        self.folder = ROOT / "target/demo"
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in ("policies", "lake", "victim/.ssh", "api"):
            (self.folder / name).mkdir(parents=True)
        self.victim = self.folder / "victim"
        (self.victim / ".ssh/id_ed25519").write_text(f"-----BEGIN KEY {CANARY}-----\n")
        self.database = self.folder / "api/shop.db"
        self.lake = self.folder / "lake/lake.sqlite"
        generate(self.database)
        self.api = Datasette(self.database)
        self.proxy = FaultProxy(("127.0.0.1", self.api.port), throttle_at=throttle_at).start()
        self.attacker = Attacker()
        self.socket = self.folder / "data/caisson.sock"
        self.environment = {
            **os.environ,
            "CAISSON_SECRET_DATASETTE": TOKEN,
            "AWS_SECRET_ACCESS_KEY": CANARY,
            "HOME": str(self.victim),
        }
        self._write_files()
        self._serve()

    def _write_files(self) -> None:
        """Policies and connections, as an operator would write them."""
        port = self.proxy.port
        write = {
            "policies/datasette.yaml": {
                "format": 1,
                "connector": "datasette",
                "egress": [
                    {
                        "host": "${config.host}",
                        "within": ["localhost"],
                        "networks": ["127.0.0.0/8"],
                        "ports": ["${config.port}"],
                        "within_ports": [port],
                        "protocol": "tcp",
                    }
                ],
                "secrets": {"token": {"from": ["env:CAISSON_SECRET_DATASETTE"], "reveal": True}},
            },
            "policies/sqlite.yaml": {
                "format": 1,
                "connector": "sqlite",
                "files": [{"dir": "${config.dir}", "within": [str(self.folder / "lake")], "access": "write"}],
            },
            "policies/thief.yaml": {"format": 1, "connector": "thief"},
            "shop.yaml": {
                "connector": "datasette@0.1.0",
                "config": {
                    "host": "localhost",
                    "port": port,
                    "scheme": "http",
                    "database": "shop",
                    "token": {"$secret": "env:CAISSON_SECRET_DATASETTE"},
                },
                "streams": {name: {"mode": "incremental", "write": "upsert"} for name in ("customers", "orders")},
            },
            "lake.yaml": {"connector": "sqlite@0.1.0", "config": {"dir": str(self.folder / "lake")}},
            "thief.yaml": {
                "connector": "thief@0.1.0",
                "config": {
                    "home": str(self.victim),
                    "policy": str(self.folder / "policies/datasette.yaml"),
                    "attacker_port": self.attacker.tcp_port,
                    "resolver_port": self.attacker.dns_port,
                },
            },
        }
        for name, content in write.items():
            # JSON is YAML: no library is needed to write it.
            (self.folder / name).write_text(json.dumps(content, indent=2) + "\n")

    def _serve(self) -> None:
        layers = json.loads(self.run("doctor", "--json", check=False).stdout)
        self.degraded = '"cgroup"' in json.dumps([layer for layer in layers["layers"] if not layer["present"]])
        command = [str(CAISSON), "serve", "--data-dir", str(self.folder / "data")]
        command += ["--policies", str(self.folder / "policies")]
        if self.degraded:
            say("   (an ordinary user without a cgroup of its own: --allow-missing=cgroup)")
            command += ["--allow-missing", "cgroup"]
        self.said: list[str] = []
        self.daemon = subprocess.Popen(
            command, env=self.environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        serving = threading.Event()

        def listen() -> None:
            assert self.daemon.stderr is not None
            for line in self.daemon.stderr:
                self.said.append(line)
                if "serving" in line:
                    serving.set()
            serving.set()

        threading.Thread(target=listen, daemon=True).start()
        serving.wait(60)
        if "serving" not in "".join(self.said):
            raise SystemExit("caisson serve did not start:\n" + "".join(self.said))

    def run(self, *words: str | Path, check: bool = True, show: bool = False) -> subprocess.CompletedProcess[str]:
        """A caisson command. `show` leaves its progress to the terminal.

        Raises:
            SystemExit: It failed although it was not expected to.
        """
        pipe = None if show else subprocess.PIPE
        done = subprocess.run(
            [str(CAISSON), *map(str, words)],
            env=self.environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=pipe,
            text=True,
            check=False,
        )
        if check and done.returncode != 0:
            raise SystemExit(f"caisson {words[0]} failed ({done.returncode}):\n{done.stdout}{done.stderr or ''}")
        return done

    def ask(self, *words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """A command against the daemon."""
        return self.run(*words, "--server", f"unix:{self.socket}", **options)

    def workers(self) -> list[int]:
        """Process ids of the running sync's workers, the source's first."""
        listed = self.ask("calls", "list", "--state", "running", "--json").stdout.splitlines()
        calls = [json.loads(line) for line in listed]
        running = next(call for call in calls if call["kind"] == "sync")
        call = json.loads(self.ask("calls", "get", running["call_id"], "--json").stdout)
        return [int(pid) for pid in call["worker_pids"]]

    def close(self) -> None:
        """Ends all of it."""
        self.daemon.terminate()
        self.daemon.wait(30)
        self.attacker.close()
        self.proxy.close()
        self.api.close()
