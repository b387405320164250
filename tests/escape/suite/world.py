"""What there is to steal: files, a variable, a process, sockets. Built for one identity, in a folder of its own.

`for_worker` and `for_control` are the same world in plain values; they differ in the neighbour alone, which is
another worker for the one and a plain process for the other.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import socket
import struct
import subprocess
from pathlib import Path
from typing import Any

from harness import Daemon, Identity

from . import internet
from .listeners import UnixSockets
from .nameserver import ADDRESS
from .shared_memory import SharedMemory

BURGLAR = Path(__file__).parents[1] / "burglar"
NAMESPACES = ("user", "pid", "mnt", "net", "ipc", "uts", "cgroup")
SOMEBODY = 4242
# Holds a canary in its environment and its memory, and says when it does.
VICTIM = """
import os, sys
canary = os.environ["CANARY"]
open(os.path.join(os.environ["OWN_TMP"], "canary"), "w").write(canary)
print("ready", flush=True)
sys.stdin.read()
"""


class World:
    """A host worth a burglary.

    Attributes:
        folder: Everything of it; the identity owns it.
        canary: A text that stands nowhere else.
        victim: A plain process of the identity, which holds the canary.
        neighbour: Process id of another worker; 0 until there is one.
    """

    def __init__(self, folder: Path, identity: Identity, daemon: Daemon) -> None:
        self.folder, self.identity, self.daemon = folder, identity, daemon
        self.canary = f"canary-{secrets.token_hex(12)}"
        self.neighbour = 0
        for name in ("home/.ssh", "victim-tmp", "granted", "scratch"):
            (folder / name).mkdir(parents=True)
        self.key = folder / "home/.ssh/id_ed25519"
        self.key.write_text(f"-----BEGIN KEY {self.canary}-----\n")
        self.tool = folder / "tool"
        shutil.copy("/usr/bin/sleep", self.tool)
        (folder / "owned").write_text("the user's")
        (folder / "granted/inside.txt").write_text("granted")
        (folder / "granted/link").symlink_to(self.key)
        identity.own(folder)
        self.suid = self._set_uid_program()
        self.key_handle = handle_of(self.key)
        self.shared = SharedMemory(self.canary)
        self.victim = subprocess.Popen(
            [*identity.prefix, str(daemon.stage.python), "-I", "-S", "-c", VICTIM],
            env={"CANARY": self.canary, "OWN_TMP": str(folder / "victim-tmp")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.sockets = UnixSockets(folder / "granted", identity)
        assert self.victim.stdout is not None and self.victim.stdin is not None
        if self.victim.stdout.readline() != b"ready\n":
            raise RuntimeError("the victim did not start")

    def _set_uid_program(self) -> str:
        """A copy of id(1) that is uid 4242's, set-uid; only root can make one."""
        if os.geteuid() != 0:
            return ""
        program = self.folder / "granted/suid"
        shutil.copy("/usr/bin/id", program)
        os.chown(program, SOMEBODY, SOMEBODY)
        program.chmod(0o6755)
        return str(program)

    def _common(self) -> dict[str, Any]:
        data = self.daemon.folder / "data"
        return {
            "canary": self.canary,
            "folder": str(self.folder),
            "scratch": str(self.folder / "scratch"),
            "granted": str(self.folder / "granted"),
            "key": str(self.key),
            "tool": str(self.tool),
            "suid": self.suid,
            "namespaces": {name: str(Path(f"/proc/self/ns/{name}").readlink()) for name in NAMESPACES},
            "abstract": self.sockets.abstract,
            "daemon_socket": str(self.daemon.socket),
            "identity": self.identity.name,
            "hostname": socket.gethostname(),
            "key_handle": self.key_handle,
            "segment": self.shared.key,
            "shm_file": self.shared.file.name,
            "victim": self.victim.pid,
            "daemon": self.daemon.process.pid if self.daemon.process else 0,
            "absent": {
                "policy": str(self.daemon.folder / "policies/other.yaml"),
                "audit": str(data / "audit.jsonl"),
                "state": str(data / "state.db"),
                "secrets": str(self.daemon.folder / "secrets/database"),
                "home": str(self.key),
            },
        }

    def for_worker(self) -> dict[str, Any]:
        """As a connector is told."""
        world = self._common()
        world["neighbour"] = self.neighbour
        world["internet"] = {"nameserver": "127.0.0.1", **internet.of_worker()}
        world["absent"]["neighbour's tmp"] = f"/proc/{self.neighbour}/root/tmp/canary"
        return world

    def for_control(self) -> dict[str, Any]:
        """As its control is told."""
        world = self._common()
        world["neighbour"] = self.victim.pid
        world["internet"] = {"nameserver": ADDRESS, **internet.of_control()}
        world["absent"]["neighbour's tmp"] = f"/proc/{self.victim.pid}/root{self.folder}/victim-tmp/canary"
        return world

    def close(self) -> None:
        """Ends what runs."""
        self.sockets.close()
        self.shared.close()
        assert self.victim.stdin is not None and self.victim.stdout is not None
        self.victim.stdin.close()
        self.victim.wait(30)
        self.victim.stdout.close()


def handle_of(path: Path) -> str:
    """The kernel's handle of a file (name_to_handle_at(2)), as hexadecimal; empty where the file system has none."""
    buffer = ctypes.create_string_buffer(struct.pack("I", 128) + bytes(132))
    mount = ctypes.c_int()
    name_to_handle_at = ctypes.CDLL(None).name_to_handle_at
    if name_to_handle_at(-100, str(path).encode(), buffer, ctypes.byref(mount), 0) != 0:
        return ""
    (size,) = struct.unpack_from("I", buffer.raw)
    return buffer.raw[: 8 + size].hex()
