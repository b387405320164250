"""Memory that a process of the host shares with whoever knows its name."""

from __future__ import annotations

import ctypes
import os
import secrets
from pathlib import Path

IPC_CREAT, IPC_RMID = 0o1000, 0
_libc = ctypes.CDLL(None, use_errno=True)
_libc.shmat.restype = ctypes.c_void_p


class SharedMemory:
    """A segment of System V and a file in /dev/shm, readable by all, with the canary in them.

    Attributes:
        key: The segment's key.
        file: The file.
    """

    def __init__(self, canary: str) -> None:
        self.key = secrets.randbelow(1 << 30) + 1
        self._id = _libc.shmget(self.key, 64, IPC_CREAT | 0o666)
        if self._id < 0:
            raise OSError(ctypes.get_errno(), "shmget")
        address = ctypes.c_void_p(_libc.shmat(self._id, None, 0))
        ctypes.memmove(address, canary.encode(), len(canary))
        _libc.shmdt(address)
        self.file = Path(f"/dev/shm/caisson-escape-{os.getpid()}-{self.key}")
        self.file.write_text(canary)
        self.file.chmod(0o644)

    def close(self) -> None:
        """Takes both away."""
        _libc.shmctl(self._id, IPC_RMID, None)
        self.file.unlink(missing_ok=True)
