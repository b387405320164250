"""Other processes: to see them, to read them, to stop them, to outlive one's own end."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import platform
import re
import resource
import signal
import struct
import termios
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..loot import Apart, Attempt, Nothing, World
from ..syscalls import syscall
from .filesystem import loot_of

TERMINAL = Attempt("5", "terminal input injection", "seccomp", "filesystem")
TIOCLINUX = 0x541C
CONSOLES = ("/dev/tty1", "/dev/tty0", "/dev/console")


def _terminal(world: World) -> int:
    """A terminal of its own to be the controlling one; in a worker, where none can be made, its standard input."""
    try:
        _, terminal = os.openpty()
    except OSError:
        if not world["caged"]:
            raise
        return 0
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    return terminal


@TERMINAL.theft("TIOCSTI")
def tiocsti(world: World) -> str:
    terminal = _terminal(world)
    try:
        for byte in b"id\n":
            fcntl.ioctl(terminal, termios.TIOCSTI, bytes([byte]))
    except OSError as refused:
        if not world["caged"] and refused.strerror == "Input/output error":
            raise Apart("dev.tty.legacy_tiocsti is 0 here") from refused
        raise
    return f"the terminal reads {os.read(terminal, 10)!r}"


@TERMINAL.theft("TIOCLINUX")
def tioclinux(world: World) -> str:
    """Pastes the selection of a virtual console."""
    if not world["caged"]:
        raise Apart("no virtual console that a test may write to")
    for path in CONSOLES:
        try:
            fcntl.ioctl(os.open(path, os.O_RDWR), TIOCLINUX, b"\x03")
        except FileNotFoundError:
            continue
        return f"pasted to {path}"
    fcntl.ioctl(0, TIOCLINUX, b"\x03")
    return "pasted"


@TERMINAL.theft("the controlling terminal")
def controlling(world: World) -> str:
    _terminal(world)
    return f"descriptor {os.open('/dev/tty', os.O_RDWR)}"


SEEN = Attempt("6", "/proc/1/environ, memory and processes of others", "pid namespace", "environment")


@SEEN.theft("its own environment")
def own_environment(world: World) -> str:
    found = repr(os.environ).encode()
    with contextlib.suppress(OSError):
        found += Path("/proc/self/environ").read_bytes()
    return loot_of(found, world)


@SEEN.theft("environ of a process of the host")
def environ(world: World) -> str:
    return loot_of(Path(f"/proc/{world['victim']}/environ").read_bytes(), world)


@SEEN.theft("environ of the daemon", needs_root=True)
def environ_of_daemon(world: World) -> str:
    return loot_of(Path(f"/proc/{world['daemon']}/environ").read_bytes(), world)


@SEEN.theft("environ of every process")
def environ_of_all(world: World) -> str:
    kept = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            kept.append(Path("/proc", name, "environ").read_bytes())
        except OSError:
            continue
    return loot_of(b"".join(kept), world)


@SEEN.theft("memory of a process of the host")
def memory(world: World) -> str:
    return _memory(world["victim"], world)


@SEEN.theft("memory of the daemon", needs_root=True)
def memory_of_daemon(world: World) -> str:
    return _memory(world["daemon"], world)


def _memory(pid: int, world: World) -> str:
    mapped = Path(f"/proc/{pid}/maps").read_text()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for low, high in re.findall(r"^(\w+)-(\w+) rw", mapped, re.MULTILINE):
            begin, size = int(low, 16), int(high, 16) - int(low, 16)
            memory.seek(begin)
            try:
                found = memory.read(min(size, 64 << 20))
            except OSError:
                continue
            if loot_of(found or b"", world):
                return "the canary, from memory"
    raise Nothing("no canary in memory")


@SEEN.theft("the process table")
def process_table(world: World) -> str:
    own = {1, os.getpid(), os.getppid()}
    return " ".join(name for name in os.listdir("/proc") if name.isdigit() and int(name) not in own)


@SEEN.theft("another worker")
def neighbour(world: World) -> str:
    return Path(f"/proc/{world['neighbour']}/status").read_text().splitlines()[0]


TRACED = Attempt("13", "ptrace, process_vm_readv, pidfd_getfd, kcmp", "seccomp", "pid namespace")
PTRACE_ATTACH = 16


def _with_child(act: Callable[[int], str]) -> str:
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    try:
        return act(child)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@TRACED.theft("ptrace")
def ptrace(world: World) -> str:
    def attach(child: int) -> str:
        syscall("ptrace", PTRACE_ATTACH, child, 0, 0)
        os.waitpid(child, 0)
        return f"traces {child}"

    return _with_child(attach)


@TRACED.theft("PTRACE_TRACEME")
def traceme(world: World) -> str:
    syscall("ptrace", 0, 0, 0, 0)
    return "is traced"


def _vectors(buffer: ctypes.Array[ctypes.c_char]) -> bytes:
    return struct.pack("QQ", ctypes.addressof(buffer), len(buffer))


@TRACED.theft("process_vm_readv")
def vm_readv(world: World) -> str:
    secret, taken = ctypes.create_string_buffer(b"memory", 6), ctypes.create_string_buffer(6)
    read = partial(syscall, "process_vm_readv")
    _with_child(lambda child: str(read(child, _vectors(taken), 1, _vectors(secret), 1, 0)))
    return taken.raw.decode()


@TRACED.theft("process_vm_writev")
def vm_writev(world: World) -> str:
    ours, theirs = ctypes.create_string_buffer(b"poison", 6), ctypes.create_string_buffer(6)
    written = partial(syscall, "process_vm_writev")
    return _with_child(lambda child: f"{written(child, _vectors(ours), 1, _vectors(theirs), 1, 0)} bytes written")


@TRACED.theft("pidfd_getfd")
def pidfd_getfd(world: World) -> str:
    return _with_child(lambda child: f"descriptor {syscall('pidfd_getfd', syscall('pidfd_open', child, 0), 1, 0)}")


@TRACED.theft("pidfd_open")
def pidfd_open(world: World) -> str:
    return _with_child(lambda child: f"descriptor {syscall('pidfd_open', child, 0)}")


@TRACED.theft("kcmp")
def kcmp(world: World) -> str:
    compared_files = 2
    try:
        return _with_child(lambda child: f"order {syscall('kcmp', os.getpid(), child, compared_files, 0, 0)}")
    except OSError as refused:
        if not world["caged"] and refused.strerror == "Function not implemented":
            raise Apart("this kernel has no kcmp") from refused
        raise


SIGNALS = Attempt("24", "signals to processes outside", "pid namespace", "identity")


@SIGNALS.theft("kill")
def kill(world: World) -> str:
    os.kill(world["victim"], signal.SIGCONT)
    return "SIGCONT delivered"


@SIGNALS.theft("whether a process exists")
def exists(world: World) -> str:
    """EPERM would be an answer too."""
    with contextlib.suppress(PermissionError):
        os.kill(world["victim"], 0)
    return "it exists"


@SIGNALS.theft("whether the daemon exists")
def daemon_exists(world: World) -> str:
    with contextlib.suppress(PermissionError):
        os.kill(world["daemon"], 0)
    return "it exists"


@SIGNALS.theft("pidfd_send_signal")
def pidfd_signal(world: World) -> str:
    opened = syscall("pidfd_open", world["victim"], 0)
    return f"delivered: {syscall('pidfd_send_signal', opened, int(signal.SIGCONT), None, 0) == 0}"


@SIGNALS.theft("F_SETOWN")
def set_owner(world: World) -> str:
    """The kernel would signal whoever owns a descriptor."""
    ours, _ = os.pipe()
    set_owner, get_owner = 8, 9
    fcntl.fcntl(ours, set_owner, world["victim"])
    return f"signals go to {fcntl.fcntl(ours, get_owner)}"


@SIGNALS.theft("prlimit of a process of the host")
def prlimit(world: World) -> str:
    return f"limits {resource.prlimit(world['victim'], resource.RLIMIT_NOFILE)}"


@SIGNALS.theft("priority of a process of the host")
def priority(world: World) -> str:
    os.setpriority(os.PRIO_PROCESS, world["victim"], 5)
    return "it is slower now"


@SIGNALS.theft("scheduling of a process of the host")
def scheduling(world: World) -> str:
    return f"may run on {sorted(os.sched_getaffinity(world['victim']))}"


SHARED = Attempt("A2", "a namespace that is the host's too", "namespaces")


def _shares(name: str, world: World) -> str:
    own = os.readlink(f"/proc/self/ns/{name}")
    return own if own == world["namespaces"][name] else ""


for _name in ("user", "pid", "mnt", "net", "ipc", "uts", "cgroup"):
    SHARED.theft(f"{_name} namespace")(partial(_shares, _name))


@SHARED.theft("the host's name")
def host_name(world: World) -> str:
    return platform.node() if platform.node() == world["hostname"] else ""


READ_BOUNDING = 23
PRIVILEGE = Attempt("A3", "a capability, or a way to gain privilege", "privilege")


@PRIVILEGE.theft("a capability in any set")
def capabilities(world: World) -> str:
    held = re.findall(r"^(Cap\w+):\s*(\w+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    return " ".join(f"{name}={bits}" for name, bits in held if int(bits, 16))


@PRIVILEGE.theft("capget")
def capget(world: World) -> str:
    """Asked of the kernel: /proc may be empty."""
    header, data = struct.pack("Ii", 0x2008_0522, 0), ctypes.create_string_buffer(24)
    syscall("capget", header, data)
    words = struct.unpack("6I", data.raw)
    bounding = [number for number in range(41) if syscall("prctl", READ_BOUNDING, number, 0, 0, 0)]
    return f"sets {words}, bounding {bounding}" if any(words) or bounding else ""


@PRIVILEGE.theft("privileges by exec")
def new_privileges(world: World) -> str:
    get_no_new_privs = 39
    return "no_new_privs is off" if syscall("prctl", get_no_new_privs, 0, 0, 0, 0) == 0 else ""


@PRIVILEGE.theft("privileges by exec, as /proc tells it")
def new_privileges_told(world: World) -> str:
    """Where the filter answers for the kernel."""
    told = re.search(r"^NoNewPrivs:\s*(\d)", Path("/proc/self/status").read_text(), re.MULTILINE)
    return "no_new_privs is off" if told and told[1] == "0" else ""


@PRIVILEGE.theft("a dumpable process")
def dumpable(world: World) -> str:
    get_dumpable = 3
    return "others may trace it" if syscall("prctl", get_dumpable, 0, 0, 0, 0) == 1 else ""


@PRIVILEGE.theft("to be dumpable again")
def dumpable_again(world: World) -> str:
    set_dumpable = 4
    syscall("prctl", set_dumpable, 1, 0, 0, 0)
    return "dumpable"


@PRIVILEGE.theft("to let go of the death signal")
def no_death_signal(world: World) -> str:
    set_death_signal = 1
    syscall("prctl", set_death_signal, 0, 0, 0, 0)
    return "it would outlive its parent"
