"""A real OAuth server on loopback: oidc-provider, under Node.js."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "oidc"
TOP = Path(__file__).parents[3]
SECRET = "client-canary-a4c1/+ &="


class OAuth:
    """A server of its own, with the clients that server.mjs names.

    Attributes:
        url: Where it is.
        keys: Private keys in PEM, by algorithm.
    """

    def __init__(self, folder: Path) -> None:
        node = shutil.which("node")
        if node is None:
            raise RuntimeError("there is no node; install nodejs 18 or later, and npm")
        public = {}
        self.keys = {}
        for algorithm, options in {
            "RS256": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
            "ES256": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        }.items():
            key = folder / f"{algorithm}.key"
            subprocess.run(["openssl", "genpkey", *options, "-out", key], check=True, capture_output=True)
            self.keys[algorithm] = key.read_text()
            read = subprocess.run(
                ["openssl", "pkey", "-in", key, "-pubout"], check=True, capture_output=True, text=True
            )
            public[algorithm] = read.stdout
        settings = json.dumps({"secret": SECRET, "keys": public})
        environment = {**os.environ, "SETTINGS": settings, "MODULES": str(modules())}
        with (folder / "oauth.log").open("wb") as log:
            self._process = subprocess.Popen(
                [node, HERE / "server.mjs"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url.startswith("http"):
            raise RuntimeError(f"the OAuth server did not start: {(folder / 'oauth.log').read_text()}")

    @property
    def token_url(self) -> str:
        """The token endpoint."""
        return f"{self.url}/token"

    def tell(self, what: str, **told: Any) -> Any:
        """Something beside OAuth: see server.mjs."""
        data = json.dumps(told).encode()
        with urllib.request.urlopen(f"{self.url}/control/{what}", data, timeout=30) as answer:
            return json.load(answer)

    def login(self) -> str:
        """A refresh token."""
        return str(self.tell("login")["refresh_token"])

    def is_valid(self, authorization: str) -> bool:
        """Whether a field's value has a token that is valid now."""
        kind, _, token = authorization.partition(" ")
        return kind == "Bearer" and bool(self.tell("valid", token=token)["valid"])

    def revoke(self, authorization: str) -> None:
        """Ends an access token before its time."""
        self.tell("revoke", token=authorization.removeprefix("Bearer "))

    def asked(self) -> list[int]:
        """The statuses of all requests to the token endpoint so far."""
        return list(self.tell("requests")["requests"])

    def stop(self) -> None:
        """Ends it."""
        self._process.terminate()
        self._process.communicate(timeout=10)


def modules() -> Path:
    """Where oidc-provider is, installed once per checkout as package-lock.json has it."""
    folder = TOP / "target/oidc"
    lock = (HERE / "package-lock.json").read_text()
    installed = folder / "installed"
    if not installed.exists() or installed.read_text() != lock:
        npm = shutil.which("npm")
        if npm is None:
            raise RuntimeError("there is no npm; install it")
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder)
        subprocess.run([npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder, check=True)
        installed.write_text(lock)
    return folder / "node_modules"
