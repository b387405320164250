"""System calls that a connector never needs: mounts, foreign ABIs, and the kernel's large surfaces."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import shutil
import signal
import struct
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ..loot import Apart, Attempt, Nothing, World, in_child
from ..namespaces import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    seclude,
)
from ..syscalls import machine_code, numbered, syscall
from .filesystem import scratch

TUNED = Attempt("7", "/proc/kcore, sysrq-trigger, core_pattern, sysctl and /sys", "filesystem", "identity")


def _opens(flags: int, paths: tuple[str, ...], world: World) -> str:
    """Opens and writes nothing: what is proven is that it could. The first path that exists counts."""
    for path in filter(os.path.exists, paths):
        return f"descriptor {os.open(path, flags)} of {path}"
    if not world["caged"]:
        raise Apart(f"this kernel has none of {', '.join(paths)}")
    raise FileNotFoundError(errno.ENOENT, f"none of {paths}")


for _path in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/sys/kernel/modprobe"):
    TUNED.theft(f"write {_path}", needs_root=True)(partial(_opens, os.O_WRONLY, (_path,)))


@TUNED.theft("write to /sys", needs_root=True)
def write_sys(world: World) -> str:
    paths = ("/sys/kernel/uevent_helper", "/sys/kernel/profiling", "/sys/power/state", "/sys/class/net/lo/mtu")
    return _opens(os.O_WRONLY, paths, world)


for _path in ("/proc/kcore", "/dev/kmsg", "/dev/mem"):
    TUNED.theft(f"read {_path}", needs_root=True)(partial(_opens, os.O_RDONLY | os.O_NONBLOCK, (_path,)))


@TUNED.theft("write a sysctl of its own network")
def own_sysctl(world: World) -> str:
    seclude(world, CLONE_NEWNET)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    return "forwards packets now"


@TUNED.theft("read facts of the kernel")
def facts(world: World) -> str:
    return Path("/proc/version").read_text()[:40]


@TUNED.theft("read /sys")
def read_sys(world: World) -> str:
    return " ".join(os.listdir("/sys/class/net"))


MOUNTS = Attempt("11", "mount, umount, setns, unshare, pivot_root, chroot, open_tree, fsopen", "seccomp", "privilege")
TREE_CLONE, MOVE_EMPTY_PATH, DETACH = 1, 4, 2


@MOUNTS.theft("unshare")
def unshare(world: World) -> str:
    syscall("unshare", CLONE_NEWUSER)
    return os.readlink("/proc/self/ns/user")


@MOUNTS.theft("mount")
def mount(world: World) -> str:
    seclude(world, CLONE_NEWNS)
    syscall("mount", b"none", b"/tmp", b"tmpfs", 0, None)
    return "a tmpfs over /tmp"


@MOUNTS.theft("mount again, writable")
def remount(world: World) -> str:
    seclude(world, CLONE_NEWNS)
    read_only, bind, again = 1, 4096, 32
    target = b"/caisson/bundle" if world["caged"] else world["scratch"].encode()
    if not world["caged"]:
        syscall("mount", target, target, None, bind, None)
        syscall("mount", None, target, None, again | bind | read_only, None)
    syscall("mount", None, target, None, again | bind, None)
    (Path(target.decode()) / "written").write_text("x")
    return "what was read-only is written"


@MOUNTS.theft("umount2")
def umount2(world: World) -> str:
    seclude(world, CLONE_NEWNS)
    if not world["caged"]:
        syscall("mount", b"none", b"/tmp", b"tmpfs", 0, None)
    syscall("umount2", b"/tmp", DETACH)
    return "what lay under /tmp"


@MOUNTS.theft("setns")
def setns(world: World) -> str:
    """Into the host's, or, outside, into those of a child that has just made its own."""
    if world["caged"]:
        syscall("setns", os.open(f"/proc/{os.getppid()}/ns/user", os.O_RDONLY), 0)
        return "in another user namespace"
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        seclude(world, CLONE_NEWUTS)
        os.write(ready[1], b"x")
        os.read(done[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    try:
        for name in ("user", "uts") if os.geteuid() != 0 else ("uts",):
            syscall("setns", os.open(f"/proc/{child}/ns/{name}", os.O_RDONLY), 0)
        return f"in {os.readlink('/proc/self/ns/uts')}"
    finally:
        os.write(done[1], b"x")
        os.waitpid(child, 0)


@MOUNTS.theft("setns without a descriptor")
def setns_nothing(world: World) -> str:
    """The call itself: a filter answers before the kernel looks at the descriptor."""
    try:
        syscall("setns", -1, 0)
    except OSError as met:
        if met.errno == errno.EBADF:
            return "the kernel looked"
        raise
    return "joined"


@MOUNTS.theft("pivot_root")
def pivot_root(world: World) -> str:
    seclude(world, CLONE_NEWNS)
    root = "/tmp" if world["caged"] else world["scratch"]
    if not world["caged"]:
        syscall("mount", b"none", root.encode(), b"tmpfs", 0, None)
    os.makedirs(f"{root}/old", exist_ok=True)
    os.chdir(root)
    syscall("pivot_root", b".", b"old")
    return f"a root with {os.listdir('/')}"


@MOUNTS.theft("chroot")
def chroot(world: World) -> str:
    seclude(world, CLONE_NEWNS)
    os.chroot("/tmp")
    return "another root"


@MOUNTS.theft("open_tree and move_mount")
def open_tree(world: World) -> str:
    seclude(world, CLONE_NEWNS)
    if not world["caged"]:
        syscall("mount", b"none", b"/tmp", b"tmpfs", 0, None)
    tree = syscall("open_tree", -100, b"/tmp", TREE_CLONE)
    syscall("move_mount", tree, b"", -100, b"/tmp", MOVE_EMPTY_PATH)
    return "/tmp at /tmp"


@MOUNTS.theft("fsopen and fsmount")
def fsopen(world: World) -> str:
    seclude(world, CLONE_NEWNS)
    made = syscall("fsopen", b"tmpfs", 0)
    create = 6
    syscall("fsconfig", made, create, None, None, 0)
    return f"mount {syscall('fsmount', made, 0, 0)}"


for _call in ("open_tree", "move_mount", "fsopen", "fsmount", "fsconfig", "mount", "umount2", "pivot_root", "unshare"):

    def _reaches(world: World, call: str = _call) -> str:
        """The call with arguments that mean nothing: only a filter refuses it with EPERM to who may make it."""
        seclude(world, CLONE_NEWNS)
        try:
            syscall(call, -1, -1, -1, -1, -1)
        except OSError as met:
            if met.errno in (errno.EPERM, errno.ENOSYS):
                raise
            return f"the kernel looked: {errno.errorcode[met.errno or 0]}"
        return "it worked"

    MOUNTS.theft(f"the call {_call}")(_reaches)


FOREIGN = Attempt("14", "32-bit and x32 system calls", "seccomp")
# mov eax, 20 (getpid of i386); int 0x80; ret
GETPID_I386 = bytes([0xB8, 20, 0, 0, 0, 0xCD, 0x80, 0xC3])


@FOREIGN.theft("int 0x80")
def int_0x80(world: World) -> str:
    """In a child of its own: where the kernel knows no 32-bit calls, the instruction faults."""
    met = in_child(lambda: {"escaped": True, "returned": f"getpid said {machine_code(GETPID_I386)}"})
    if not met["escaped"] and not world["caged"] and "SIGSEGV" in met["returned"]:
        raise Apart("this kernel has no 32-bit system calls")
    if not met["escaped"]:
        raise Nothing(met["returned"])
    return str(met["returned"])


@FOREIGN.theft("int 0x80 in the first process", ends="SANDBOX_VIOLATION")
def int_0x80_first(world: World) -> str:
    return int_0x80(world) if not world["caged"] else f"getpid said {machine_code(GETPID_I386)}"


@FOREIGN.theft("x32")
def x32(world: World) -> str:
    try:
        return f"getpid said {numbered(0x4000_0000 | 39)}"
    except OSError as refused:
        if world["caged"]:
            raise
        raise Apart("this kernel has no x32 system calls") from refused


SURFACES = Attempt("15", "io_uring, bpf, userfaultfd, perf_event_open, keyctl, add_key", "seccomp")


@SURFACES.theft("io_uring")
def io_uring(world: World) -> str:
    return f"ring {syscall('io_uring_setup', 4, ctypes.create_string_buffer(120))}"


@SURFACES.theft("bpf", needs_root=True)
def bpf(world: World) -> str:
    array_map = ctypes.create_string_buffer(struct.pack("IIII", 2, 4, 4, 1) + bytes(100))
    return f"map {syscall('bpf', 0, array_map, 72)}"


@SURFACES.theft("userfaultfd")
def userfaultfd(world: World) -> str:
    user_mode_only = 1
    return f"descriptor {syscall('userfaultfd', user_mode_only)}"


@SURFACES.theft("perf_event_open")
def perf_event_open(world: World) -> str:
    # A software clock of this process in user mode alone, which paranoid settings up to 2 leave to everybody.
    exclude_kernel_and_hypervisor = 0b110_0000
    event = struct.pack("IIQQQQQ", 1, 112, 0, 0, 0, 0, exclude_kernel_and_hypervisor).ljust(112, b"\0")
    return f"event {syscall('perf_event_open', ctypes.create_string_buffer(event), 0, -1, -1, 0)}"


@SURFACES.theft("add_key")
def add_key(world: World) -> str:
    process_keyring = -2
    return f"key {syscall('add_key', b'user', b'burglar', b'loot', 4, process_keyring)}"


@SURFACES.theft("keyctl")
def keyctl(world: World) -> str:
    get_keyring_id, session_keyring = 0, -3
    return f"keyring {syscall('keyctl', get_keyring_id, session_keyring, 1)}"


CLONED = Attempt("17", "clone with namespace flags, and clone3", "seccomp", "privilege")


def _cloned(flags: int, world: World) -> str:
    """A process with fresh namespaces; who is not root takes a user namespace with them."""
    if os.geteuid() != 0 or world["caged"]:
        flags |= CLONE_NEWUSER
    child = syscall("clone", flags | signal.SIGCHLD, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return f"process {child}"


for _name, _flag in {
    "user": CLONE_NEWUSER, "pid": CLONE_NEWPID, "mount": CLONE_NEWNS, "network": CLONE_NEWNET, "ipc": CLONE_NEWIPC,
    "uts": CLONE_NEWUTS, "cgroup": CLONE_NEWCGROUP,
}.items():  # fmt: skip
    CLONED.theft(f"a {_name} namespace")(partial(_cloned, _flag))


@CLONED.theft("clone3")
def clone3(world: World) -> str:
    arguments = struct.pack("11Q", CLONE_NEWUSER, 0, 0, 0, signal.SIGCHLD, *[0] * 6)
    child = syscall("clone3", arguments, len(arguments))
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return f"process {child}"


@CLONED.theft("a sibling of its parent's")
def sibling(world: World) -> str:
    """CLONE_PARENT: a child that somebody else has to reap."""
    clone_parent, done = 0x8000, 0
    child = syscall("clone", clone_parent | done, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    return f"process {child}"


EXECUTED = Attempt("18", "exec, and memfd with execveat, under a profile without exec", "seccomp", "filesystem")


def _run(execute: Callable[[], object]) -> str:
    """What the program that `execute` turns a child into says."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(theirs, 1)
        try:
            execute()
        except OSError as refused:
            os.write(theirs, f"errno {refused.errno}".encode())
        os._exit(1)
    os.close(theirs)
    said = os.read(ours, 100).decode().strip()
    os.waitpid(child, 0)
    if said.startswith("errno "):
        raise OSError(int(said[6:]), said)
    return said


SAY = ("-I", "-S", "-c", "print('ran')")


@EXECUTED.theft("the interpreter")
def execute_interpreter(world: World) -> str:
    return _run(lambda: os.execv(sys.executable, [sys.executable, *SAY]))


@EXECUTED.theft("a shell")
def execute_shell(world: World) -> str:
    return _run(lambda: os.execv("/bin/sh", ["sh", "-c", "echo ran"]))


@EXECUTED.theft("posix_spawn")
def spawn(world: World) -> str:
    return f"process {os.posix_spawn(sys.executable, [sys.executable, *SAY], {})}"


@EXECUTED.theft("a program of its own in /tmp")
def execute_own(world: World) -> str:
    program = scratch(world) / "program"
    shutil.copy(sys.executable, program)
    program.chmod(0o755)
    try:
        return _run(lambda: os.execv(program, [str(program), *SAY]))
    finally:
        program.unlink()


@EXECUTED.theft("a script of its own")
def execute_script(world: World) -> str:
    script = scratch(world) / "script"
    script.write_text("#!/bin/sh\necho ran\n")
    script.chmod(0o755)
    return _run(lambda: os.execv(script, [str(script)]))


@EXECUTED.theft("through the loader")
def execute_loader(world: World) -> str:
    loader = "/lib64/ld-linux-x86-64.so.2"
    return _run(lambda: os.execv(loader, [loader, sys.executable, *SAY]))


@EXECUTED.theft("memfd and execveat")
def execute_memory(world: World) -> str:
    memory = syscall("memfd_create", b"program", 0)
    with open(sys.executable, "rb") as source:
        os.sendfile(memory, source.fileno(), 0, 1 << 30)
    words = [ctypes.create_string_buffer(word.encode()) for word in ("python", *SAY)]
    argv = (ctypes.c_char_p * (len(words) + 1))(*[word.value for word in words], None)
    empty_path = 0x1000
    nothing = (ctypes.c_char_p * 1)(None)
    return _run(lambda: syscall("execveat", memory, b"", argv, nothing, empty_path))


@EXECUTED.theft("execveat on a descriptor")
def execute_descriptor(world: World) -> str:
    program = os.open(sys.executable, os.O_RDONLY)
    return _run(lambda: os.execve(program, ["python", *SAY], {}))


@EXECUTED.theft("code mapped from a file of its own")
def map_program(world: World) -> str:
    """A file in /tmp as executable memory: what exec would do, by hand."""
    program = scratch(world) / "mapped"
    program.write_bytes(bytes([0xB8, 42, 0, 0, 0, 0xC3]).ljust(mmap.PAGESIZE, b"\0"))
    with program.open("rb") as file:
        page = mmap.mmap(file.fileno(), mmap.PAGESIZE, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)
        return f"{len(page)} executable bytes"


ROOTS = Attempt("57", "the kernel's uid 0, and what of root's it may write", "identity", "filesystem")


@ROOTS.theft("a file of the daemon's user")
def users_file(world: World) -> str:
    owned = Path(world["folder"], "owned")
    owned.write_text("taken")
    return owned.read_text()


@ROOTS.theft("core_pattern", needs_root=True)
def core_pattern(world: World) -> str:
    return _opens(os.O_WRONLY, ("/proc/sys/kernel/core_pattern",), world)


@ROOTS.theft("a cgroup of the host", needs_root=True)
def host_cgroup(world: World) -> str:
    found = [str(path) for path in Path("/sys/fs/cgroup").glob("**/cgroup.procs")]
    return _opens(os.O_WRONLY, tuple(found[:1]), world)


ADMINISTERED = Attempt("A13", "administer the kernel: modules, reboot, swap, accounting, ports, log", "seccomp",
                       "privilege")  # fmt: skip


def _administers(call: str, arguments: tuple[Any, ...], world: World) -> str:
    """With arguments that the kernel refuses once it has seen that the caller may: nothing is done to the host."""
    try:
        return f"it answered {syscall(call, *arguments)}"
    except OSError as met:
        if met.errno == errno.ENOSYS and not world["caged"]:
            raise Apart(f"this kernel has no {call}") from met
        if met.errno in (errno.EPERM, errno.ENOSYS):
            raise
        return f"the kernel looked: {errno.errorcode[met.errno or 0]}"


for _call, _words in {
    "init_module": (None, 0, b""),
    "delete_module": (b"no-such-module", 0),
    "reboot": (0, 0, 0, None),
    "swapon": (b"/no/such/file", 0),
    "acct": (b"/no/such/file",),
    "syslog": (10, None, 0),
    "ioperm": (0x80, 1, 1),
    "fanotify_init": (0, 0),
}.items():
    ADMINISTERED.theft(_call, needs_root=True)(partial(_administers, _call, _words))


@ADMINISTERED.theft("the kernel's log, read by everybody who may")
def kernel_log(world: World) -> str:
    """No right is needed to be told its size where dmesg_restrict is 0; a worker is not told."""
    if not world["caged"] and Path("/proc/sys/kernel/dmesg_restrict").read_text().strip() != "0":
        raise Apart("kernel.dmesg_restrict keeps it from everybody here")
    return f"{syscall('syslog', 10, None, 0)} bytes of log"


FILTERED = Attempt("A14", "change how the kernel treats it: its own filter, its personality, its ids", "seccomp",
                   "privilege")  # fmt: skip


@FILTERED.theft("a filter with a listener")
def filter_listener(world: World) -> str:
    """Whoever holds the listener answers the system calls of its children."""
    set_no_new_privs, set_filter, new_listener = 38, 1, 8
    if not world["caged"]:
        syscall("prctl", set_no_new_privs, 1, 0, 0, 0)
    allow = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7FFF_0000))
    program = struct.pack("HxxxxxxQ", 1, ctypes.addressof(allow))
    return f"listener {syscall('seccomp', set_filter, new_listener, program)}"


@FILTERED.theft("no randomised addresses")
def no_randomisation(world: World) -> str:
    no_randomize = 0x004_0000
    return f"was {syscall('personality', no_randomize):#x}"


@FILTERED.theft("another user id", needs_root=True)
def another_user(world: World) -> str:
    syscall("setuid", 4242)
    return f"uid {os.getuid()}"


@FILTERED.theft("another group", needs_root=True)
def another_group(world: World) -> str:
    syscall("setgid", 4242)
    return f"gid {os.getgid()}"


@FILTERED.theft("user id 0 of its own namespace")
def own_root(world: World) -> str:
    """What every attacker is after seclude(); in a worker a plain setuid."""
    seclude(world, 0)
    if world["caged"]:
        syscall("setuid", 0)
    return f"uid {os.geteuid()}"


SHARED_MEMORY = Attempt("A15", "System V and POSIX shared memory of the host", "seccomp", "ipc namespace")


@SHARED_MEMORY.theft("a segment of System V")
def segment(world: World) -> str:
    found = syscall("shmget", world["segment"], 64, 0)
    read_only = 0o10000
    address = syscall("shmat", found, None, read_only)
    return ctypes.string_at(address, 40).split(b"\0")[0].decode()


@SHARED_MEMORY.theft("a file in /dev/shm")
def dev_shm(world: World) -> str:
    return Path("/dev/shm", world["shm_file"]).read_text()


TREATED = Attempt(
    "A17", "what the kernel is told of a process through its own entry in /proc", "filesystem", "Landlock"
)


def _told(name: str, text: str, world: World) -> str:
    path = Path(f"/proc/self/{name}")
    path.write_text(text)
    return f"{name} is {path.read_text().strip()[:40]}"


for _name, _text in {"coredump_filter": "0x7f", "oom_score_adj": "1000", "comm": "burglar"}.items():
    TREATED.theft(_name)(partial(_told, _name, _text))
