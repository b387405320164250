"""A temporary PostgreSQL cluster, run by a user that is not root."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from .attacker import free_port
from .secure import Signer

HBA = """\
local all all scram-sha-256
hostssl all certified all cert
hostssl all doubly all scram-sha-256 clientcert=verify-full
host all postgres all scram-sha-256
"""
"""Who comes in how: `certified` and `doubly` with TLS and a client certificate of their own name, and not without."""


def unprivileged() -> pwd.struct_passwd:
    """An account to run it as: initdb refuses root, and wants its user to have a name."""
    names = [account.pw_name for account in pwd.getpwall()]
    return pwd.getpwnam("postgres" if "postgres" in names else "nobody")


def binaries() -> Path:
    """The folder of initdb and pg_ctl.

    Raises:
        RuntimeError: PostgreSQL is not installed.
    """
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists():
            return folder
    found = shutil.which("initdb")
    if found is None:
        raise RuntimeError("PostgreSQL is not installed: apt-get install postgresql")
    return Path(found).parent


class Postgres:
    """One cluster on loopback, with a password; gone after `close`.

    Attributes:
        password: Of `postgres`, and of `doubly`.
    """

    password = "pw-1f8e5c"

    def __init__(self, signer: Signer | None = None) -> None:
        """A cluster; with a signer, it speaks TLS as localhost and asks for client certificates of the signer's."""
        self.port = free_port()
        self.bin = binaries()
        self.user = unprivileged()
        self.folder = Path(tempfile.mkdtemp(prefix="caisson-pg-"))
        self._numbers = itertools.count(1)
        (self.folder / "password").write_text(self.password)
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", f"{self.user.pw_uid}:{self.user.pw_gid}", str(self.folder)], check=True)
        self._run(
            "initdb", "-D", "data", "-U", "postgres", "-A", "scram-sha-256", "--pwfile", "password",
            "-E", "UTF8", "--locale", "C", "--no-sync",
        )  # fmt: skip
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder} -c fsync=off"
        if signer is not None:
            options += self._secured(signer)
        self._run("pg_ctl", "-D", "data", "-w", "-t", "60", "-l", "log", "-o", options, "start")
        if signer is not None:
            self.sql(f"CREATE ROLE certified LOGIN; CREATE ROLE doubly LOGIN PASSWORD '{self.password}'", "postgres")

    def _secured(self, signer: Signer) -> str:
        """Puts certificates and rules in place; what the server is to be started with."""
        signer.issue("postgres-server", "DNS:localhost")
        files = {"server.crt": "postgres-server.pem", "server.key": "postgres-server.key", "root.crt": "ca.pem"}
        for name, source in files.items():
            path = self.folder / "data" / name
            shutil.copy(signer.folder / source, path)
            path.chmod(0o600)
            if os.geteuid() == 0:
                os.chown(path, self.user.pw_uid, self.user.pw_gid)
        (self.folder / "data/pg_hba.conf").write_text(HBA)
        return " -c ssl=on -c ssl_ca_file=root.crt"

    def create(self) -> str:
        """A fresh database; returns its name."""
        name = f"test{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name}", "postgres")
        return name

    def sql(self, text: str, database: str) -> str:
        """Runs statements; returns what psql prints, unaligned."""
        return self._run("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1",
                         "-p", str(self.port), "-U", "postgres", "-d", database, "-c", text)  # fmt: skip

    def close(self) -> None:
        """Stops the server and takes its files away."""
        self._run("pg_ctl", "-D", "data", "-m", "immediate", "-w", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> str:
        as_user = []
        if os.geteuid() == 0:
            as_user = ["setpriv", f"--reuid={self.user.pw_uid}", f"--regid={self.user.pw_gid}", "--clear-groups", "--"]
        done = subprocess.run(
            [*as_user, str(self.bin / program), *arguments],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "PGPASSWORD": self.password, "LC_ALL": "C", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program != "pg_ctl" else subprocess.DEVNULL,
            stderr=subprocess.PIPE if program != "pg_ctl" else subprocess.DEVNULL,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            log = self.folder / "log"
            said = log.read_text()[-2000:] if log.exists() else ""
            raise RuntimeError(f"{program} failed: {done.stderr or ''}{said}")
        return done.stdout or ""

    def __enter__(self) -> Postgres:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
