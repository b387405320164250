"""System calls by number, for what Python has no function for. x86_64."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
from typing import Any

if platform.machine() != "x86_64":
    raise RuntimeError("the system call numbers of this suite are those of x86_64")

NUMBERS = {
    "setuid": 105, "setgid": 106, "setgroups": 116, "personality": 135, "init_module": 175, "delete_module": 176,
    "reboot": 169, "swapon": 167, "acct": 163, "syslog": 103, "ioperm": 173, "fanotify_init": 300,
    "name_to_handle_at": 303, "open_by_handle_at": 304, "seccomp": 317, "inotify_init1": 294, "setxattr": 188,
    "shmctl": 31, "mlock": 149,
    "capget": 125, "prctl": 157, "execve": 59, "fork": 57, "sendto": 44, "exit": 60,
    "open": 2, "creat": 85, "fchmodat2": 452, "process_vm_writev": 311, "pidfd_send_signal": 424, "chroot": 161,
    "ioctl": 16, "clone": 56, "ptrace": 101, "pivot_root": 155, "mount": 165, "umount2": 166, "add_key": 248,
    "keyctl": 250, "unshare": 272, "perf_event_open": 298, "setns": 308, "process_vm_readv": 310, "kcmp": 312,
    "memfd_create": 319, "bpf": 321, "execveat": 322, "userfaultfd": 323, "io_uring_setup": 425, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "clone3": 435, "openat2": 437,
    "pidfd_getfd": 438, "pidfd_open": 434, "link": 86, "shmget": 29, "shmat": 30, "msgget": 68, "mq_open": 240,
}  # fmt: skip

Argument = Any
"""An int, bytes, an array of ctypes, or None for a null pointer."""
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def syscall(name: str, *arguments: Argument) -> int:
    """Makes a system call.

    Raises:
        OSError: As it was refused.
    """
    return numbered(NUMBERS[name], *arguments)


def numbered(number: int, *arguments: Argument) -> int:
    """The same, by number.

    Raises:
        OSError: As it was refused.
    """
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    result: int = _libc.syscall(ctypes.c_long(number), *words)
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def machine_code(code: bytes) -> int:
    """Runs machine code that takes nothing; returns what it leaves in rax."""
    # Private: shared memory without a file is refused where nothing counts it, and that is another attempt.
    private, anything = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    page = mmap.mmap(-1, mmap.PAGESIZE, flags=private, prot=anything)
    page.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    result: int = ctypes.CFUNCTYPE(ctypes.c_long)(address)()
    return result
