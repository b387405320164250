"""Files of the host: what a worker must not find, by whatever way."""

from __future__ import annotations

import os
import signal
import socket
import stat
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from .. import loot
from ..loot import Apart, Attempt, Nothing, World
from ..syscalls import syscall

AT_FDCWD = -100
UP = "../" * 12


def grants(access: str, world: World) -> dict[str, Any]:
    """A policy that grants the world's one directory."""
    return {"files": [{"dir": world["granted"], "within": [world["granted"]], "access": access}]}


grants_read = partial(grants, "read")
grants_write = partial(grants, "write")


def scratch(world: World) -> Path:
    """Where a theft may write: a worker's /tmp, or the control's folder."""
    return Path("/tmp" if world["caged"] else world["scratch"])


def loot_of(found: bytes, world: World) -> str:
    """The canary, if it is in there."""
    return "the canary" if world["canary"].encode() in found else ""


EXECUTABLE = Attempt("1", "overwrite /proc/self/exe", "filesystem", "identity")


@EXECUTABLE.theft("through a handle that was opened while it ran")
def overwrite(world: World) -> str:
    """Inside, the file is the interpreter itself; outside, a program's copy, so that no control harms its host."""
    child = os.fork()
    if child == 0:
        try:
            if not world["caged"]:
                os.execv(world["tool"], ["tool", "60"])
            time.sleep(60)
        finally:
            os._exit(1)
    try:
        running = Path("/proc/self/exe" if world["caged"] else f"/proc/{child}/exe")
        until = time.monotonic() + 10
        while not world["caged"] and str(running.readlink()) != world["tool"] and time.monotonic() < until:
            time.sleep(0.01)
        handle = os.open(running, os.O_PATH)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    try:
        writable = os.open(f"/proc/self/fd/{handle}", os.O_WRONLY)
    except OSError as refused:
        if world["caged"] and refused.strerror == "Text file busy":
            return "busy, and writable as soon as it is not"
        raise
    return f"{os.write(writable, world['canary'].encode())} bytes over a program"


def program(world: World) -> Path:
    """The interpreter itself inside, a copy of a program outside."""
    return Path("/proc/self/exe" if world["caged"] else world["tool"])


@EXECUTABLE.theft("its mode")
def mode(world: World) -> str:
    """Sets what is set already: whoever may do that may set another."""
    found = stat.S_IMODE(program(world).stat().st_mode)
    program(world).chmod(found)
    return f"mode {found:o}"


@EXECUTABLE.theft("its times")
def times(world: World) -> str:
    """In the same way."""
    found = program(world).stat()
    os.utime(program(world), ns=(found.st_atime_ns, found.st_mtime_ns))
    return f"modified at {found.st_mtime_ns}"


INHERITED = Attempt("2", "working directory or descriptor that leads to a host directory", "filesystem", "descriptors")


@INHERITED.theft("the working directory")
def working_directory(world: World) -> str:
    return loot_of(Path(f"/proc/self/cwd/{UP}{world['key']}").read_bytes(), world)


def directories() -> list[int]:
    """Open descriptors that are directories."""
    found = []
    for number in range(1024):
        try:
            if stat.S_ISDIR(os.fstat(number).st_mode):
                found.append(number)
        except OSError:
            continue
    return found


@INHERITED.theft("/proc/self/fd/N")
def through_proc(world: World) -> str:
    for number in directories():
        found = loot_of(Path(f"/proc/self/fd/{number}/{UP}{world['key']}").read_bytes(), world)
        if found:
            return found
    raise Nothing("no descriptor is a directory")


@INHERITED.theft("openat")
def through_openat(world: World) -> str:
    for number in directories():
        opened = os.open(f"{UP}{world['key'].lstrip('/')}", os.O_RDONLY, dir_fd=number)
        found = loot_of(os.read(opened, 4096), world)
        if found:
            return found
    raise Nothing("no descriptor is a directory")


DENIED = Attempt(
    "8", "a denied path by symlink, .., hard link, openat2, /proc/self/root", "filesystem", "Landlock", grants_read
)


@DENIED.theft("a symlink that lies in a granted directory")
def planted_link(world: World) -> str:
    return loot_of(Path(world["granted"], "link").read_bytes(), world)


@DENIED.theft("a symlink of its own")
def own_link(world: World) -> str:
    link = scratch(world) / "own-link"
    link.unlink(missing_ok=True)
    link.symlink_to(world["key"])
    return loot_of(link.read_bytes(), world)


@DENIED.theft("..")
def dots(world: World) -> str:
    return loot_of(Path(world["granted"], "../home/.ssh/id_ed25519").read_bytes(), world)


@DENIED.theft(".. from a descriptor")
def dots_at(world: World) -> str:
    directory = os.open(world["granted"], os.O_RDONLY | os.O_DIRECTORY)
    return loot_of(os.read(os.open("../home/.ssh/id_ed25519", os.O_RDONLY, dir_fd=directory), 4096), world)


@DENIED.theft("a hard link")
def hard_link(world: World) -> str:
    link = scratch(world) / "hard-link"
    link.unlink(missing_ok=True)
    os.link(world["key"], link)
    return loot_of(link.read_bytes(), world)


@DENIED.theft("openat2")
def openat2(world: World) -> str:
    how = bytes(24)  # read only, nothing resolved in a special way
    opened = syscall("openat2", AT_FDCWD, world["key"].encode(), how, len(how))
    return loot_of(os.read(opened, 4096), world)


@DENIED.theft("/proc/self/root")
def own_root(world: World) -> str:
    return loot_of(Path(f"/proc/self/root{world['key']}").read_bytes(), world)


@DENIED.theft("/proc/self/root and ..")
def above_root(world: World) -> str:
    return loot_of(Path(f"/proc/self/root/{UP}{world['key']}").read_bytes(), world)


ABSENT = Attempt(
    "9", "policy files, audit log, state database, other workers' tmp, the host's home", "filesystem", "Landlock"
)


def _read(what: str, world: World) -> str:
    return f"{len(Path(world['absent'][what]).read_bytes())} bytes of {what}"


for _what in ("policy", "audit", "state", "secrets", "home", "neighbour's tmp"):
    ABSENT.theft(_what)(partial(_read, _what))


@ABSENT.theft("the host's /tmp")
def host_tmp(world: World) -> str:
    return " ".join(name for name in os.listdir("/tmp") if name.startswith("caisson-e2e-"))


@ABSENT.theft("the host's directories")
def homes(world: World) -> str:
    return " ".join(root for root in ("/home", "/root", "/srv", "/var", "/opt", "/boot") if Path(root).exists())


SETUID = Attempt("12", "a set-uid program", "seccomp", "filesystem", grants_read)


@SETUID.theft("run from a granted directory")
def run_setuid(world: World) -> str:
    """A copy of id(1) that belongs to uid 4242, with the bit set."""
    if not world["caged"] and not world["suid"]:
        raise Apart("only root can make a set-uid program of somebody else's")
    program = world["suid"] or os.path.join(world["granted"], "suid")
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(theirs, 1)
        try:
            os.execv(program, ["id", "-u"])
        except OSError as refused:
            os.write(theirs, f"errno {refused.errno}".encode())
        os._exit(1)
    os.close(theirs)
    said = os.read(ours, 100).decode().strip()
    os.waitpid(child, 0)
    if said.startswith("errno "):
        raise OSError(int(said[6:]), said)
    return f"became uid {said}" if said == "4242" else ""


OWN_EXTRA = Attempt("A1", "plant a set-uid or set-gid file in a granted directory", "seccomp", "", grants_write)


def _planted(name: str, make: Callable[[str], object], world: World) -> str:
    path = Path(world["granted"], f"planted-{name}-{'caged' if world['caged'] else 'free'}")
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    umask = os.umask(0)
    try:
        make(str(path))
    finally:
        os.umask(umask)
    mode = path.stat().st_mode
    return f"{path.name} has mode {mode:o}" if mode & 0o6000 else ""


def _opened_and_changed(path: str) -> None:
    os.fchmod(os.open(path, os.O_CREAT | os.O_WRONLY, 0o755), 0o6755)


def _made_and_changed(path: str) -> None:
    Path(path).touch()
    os.chmod(path, 0o6755)


def _made_and_changed_at(path: str) -> None:
    directory = os.open(os.path.dirname(path), os.O_RDONLY)
    Path(path).touch()
    os.chmod(os.path.basename(path), 0o6755, dir_fd=directory)


def _made_and_changed_at_2(path: str) -> None:
    Path(path).touch()
    syscall("fchmodat2", AT_FDCWD, path.encode(), 0o6755, 0)


def _openat2(path: str) -> None:
    flags = os.O_CREAT | os.O_WRONLY
    how = flags.to_bytes(8, "little") + (0o6755).to_bytes(8, "little") + bytes(8)
    syscall("openat2", AT_FDCWD, path.encode(), how, len(how))


for _name, _make in {
    "open": lambda path: syscall("open", path.encode(), os.O_CREAT | os.O_WRONLY, 0o6755),
    "openat": lambda path: os.open(path, os.O_CREAT | os.O_WRONLY, 0o6755),
    "openat2": _openat2,
    "creat": lambda path: syscall("creat", path.encode(), 0o6755),
    "mknod": lambda path: os.mknod(path, stat.S_IFREG | 0o6755),
    "chmod": _made_and_changed,
    "fchmod": _opened_and_changed,
    "fchmodat": _made_and_changed_at,
    "fchmodat2": _made_and_changed_at_2,
}.items():
    OWN_EXTRA.theft(_name)(partial(_planted, _name, _make))


DESCRIPTORS = Attempt("10", "inherited descriptors", "descriptors")


@DESCRIPTORS.theft("any beside the channel and the pipes")
def descriptors(world: World) -> str:
    # The channel, and the pipe that takes the threads' stacks.
    expected = (3, 4) if world["caged"] else ()
    found = []
    for number in range(3, 1024):
        try:
            os.fstat(number)
        except OSError:
            continue
        if number not in (*expected, loot.report):
            found.append(number)
    return f"descriptors {found}" if found else ""


WRITTEN = Attempt("A8", "write into its bundle, its library, its interpreter, its root", "filesystem", "Landlock")


def _append(path: str, world: World) -> str:
    """To a file of that name in a worker; outside to one of the user's own, which stands for it."""
    target = Path(path if world["caged"] else f"{world['scratch']}/{os.path.basename(path)}")
    if not world["caged"]:
        target.write_text("")
    with target.open("ab") as file:
        file.write(b"# burgled\n")
    return f"{target} ends with {target.read_bytes()[-10:]!r}"


for _path in (
    "/caisson/bundle/src/caisson_burglar/loot.py",
    "/caisson/shim/caisson/_worker.py",
    "/usr/lib/python3.11/json/__init__.py",
    "/etc/passwd",
    "/etc/resolv.conf",
):
    WRITTEN.theft(_path)(partial(_append, _path))


@WRITTEN.theft("a file beside its bundle")
def beside(world: World) -> str:
    target = Path("/caisson/bundle/src/planted.py" if world["caged"] else f"{world['scratch']}/planted.py")
    target.write_text("planted = True\n")
    return f"{target} is there"


PLANTED = Attempt("A10", "plant a link, a pipe, a socket or an attribute for a reader on the host", "seccomp",
                  "Landlock", grants_write)  # fmt: skip


def _plant(name: str, make: Callable[[Path, World], object], world: World) -> str:
    path = Path(world["granted"], f"trap-{name.replace(' ', '-')}-{'caged' if world['caged'] else 'free'}")
    if os.path.lexists(path):
        path.unlink()
    make(path, world)
    return f"{path.name} is there"


def _bound(path: Path, world: World) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as trap:
        trap.bind(str(path))


def _attribute(path: Path, world: World) -> None:
    path.touch()
    syscall("setxattr", str(path).encode(), b"user.trap", b"x", 1, 0)


for _name, _trap in {
    "symlink": lambda path, world: path.symlink_to("/etc/passwd"),
    "hard link": lambda path, world: os.link(os.path.join(world["granted"], "inside.txt"), path),
    "pipe": lambda path, world: os.mkfifo(path),
    "socket": _bound,
    "extended attribute": _attribute,
}.items():
    PLANTED.theft(_name)(partial(_plant, _name, _trap))

HANDLE = Attempt("A11", "open a file of the host by its handle", "seccomp", "privilege")


@HANDLE.theft("open_by_handle_at", needs_root=True)
def by_handle(world: World) -> str:
    """A handle names a file for ever, below no root: the host's handle of the key, on any mount of that file system."""
    handle = bytes.fromhex(world["key_handle"])
    mount = os.open("/caisson/bundle" if world["caged"] else world["folder"], os.O_RDONLY | os.O_DIRECTORY)
    return loot_of(os.read(syscall("open_by_handle_at", mount, handle, os.O_RDONLY), 4096), world)
