"""A temporary MariaDB, run by a user that is not root."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

from servers.attacker import free_port
from servers.postgres import unprivileged

SCRIPTS = Path("/usr/share/mysql")
BEFORE = "create database mysql;\nuse mysql;\nset @auth_root_socket=NULL;\nset @skip_auth_anonymous=1;\n"
AFTER = """\
create database test;
flush privileges;
create user stack@'%' identified by '{password}';
grant all on test.* to stack@'%';
"""


class Mariadb:
    """One server on loopback, with a password; gone after `close`."""

    password = "pw-9a4c77"

    def __init__(self) -> None:
        program = shutil.which("mariadbd", path="/usr/sbin:/usr/bin:/usr/libexec")
        if program is None:
            raise RuntimeError("MariaDB is not installed: apt-get install mariadb-server-core")
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="caisson-mariadb-"))
        (self.folder / "data").mkdir()
        user = unprivileged()
        as_user: list[str] = []
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", f"{user.pw_uid}:{user.pw_gid}", str(self.folder)], check=True)
            as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"]
        self._command = [*as_user, program, "--no-defaults", f"--datadir={self.folder}/data"]
        tables = ("mysql_system_tables", "mysql_performance_tables", "mysql_system_tables_data")
        script = BEFORE + "".join((SCRIPTS / f"{name}.sql").read_text() for name in tables)
        script += AFTER.format(password=self.password)
        made = subprocess.run(
            [*self._command, "--bootstrap"], input=script, text=True, capture_output=True, check=False
        )
        if made.returncode != 0:
            raise RuntimeError(f"mariadbd --bootstrap failed: {made.stderr[-2000:]}")
        self._process = subprocess.Popen(
            [*self._command, "--bind-address=127.0.0.1", f"--port={self.port}", f"--socket={self.folder}/socket",
             "--innodb-flush-log-at-trx-commit=0"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        ready, said = threading.Event(), []

        def listen() -> None:
            assert self._process.stderr is not None
            for line in self._process.stderr:
                said.append(line)
                if "ready for connections" in line:
                    ready.set()
            ready.set()

        self._listener = threading.Thread(target=listen, daemon=True)
        self._listener.start()
        ready.wait(60)
        if self._process.poll() is not None:
            raise RuntimeError("mariadbd did not start: " + "".join(said[-20:]))

    @property
    def options(self) -> dict[str, Any]:
        """How a client connects."""
        return {"host": "localhost", "port": self.port, "user": "stack", "password": self.password}

    def close(self) -> None:
        """Stops the server and takes its files away."""
        self._process.kill()
        self._process.wait(30)
        self._listener.join(30)
        assert self._process.stderr is not None
        self._process.stderr.close()
        shutil.rmtree(self.folder, ignore_errors=True)
