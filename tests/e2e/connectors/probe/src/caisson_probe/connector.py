"""Attempts as records: what was tried, and how it ended."""

from __future__ import annotations

import errno
import gc
import locale
import logging
import os
import platform
import random
import resource
import secrets
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import caisson
from caisson import Connector, Idle, stream


@dataclass
class Config:
    """What to try beside the fixed list."""

    paths: str = ""
    targets: str = ""
    linger: bool = False


Record = dict[str, Any]
STREAMS = (sys.stdin, sys.stdout, sys.stderr)


def outcome(attempt: Callable[[], object]) -> str:
    """`allowed: …`, or the name of the error."""
    try:
        return f"allowed: {attempt()!r}"
    except OSError as refused:
        return errno.errorcode.get(refused.errno or 0, type(refused).__name__)
    except Exception as refused:
        return type(refused).__name__


def connect(host: str, port: int) -> str:
    """A TCP connection, and the first bytes that come."""
    with socket.create_connection((host, port), 5) as way:
        way.settimeout(5)
        way.sendall(b"hello\n")
        answer = way.recv(100)
    if not answer:
        raise ConnectionResetError(errno.ECONNRESET, "closed")
    return answer.decode("latin-1")


def head(path: str) -> bytes:
    """The beginning of a file."""
    return Path(path).read_bytes()[:40]


def spawn(*command: str) -> int:
    """Runs a program."""
    return subprocess.run(command, capture_output=True, check=False).returncode


def descriptors() -> list[int]:
    """Open descriptors, found by asking each."""
    found = []
    for number in range(1024):
        try:
            os.fstat(number)
        except OSError:
            continue
        found.append(number)
    return found


class Probe(Connector[Config]):
    """Tries a fixed list of attempts, and those of its config."""

    def test(self) -> None:
        """Nothing to try."""

    @stream(primary_key="attempt", modes=("full", "streaming"))
    def attempts(self) -> Iterator[Record | Idle]:
        """One record an attempt."""
        for name, attempt in self.fixed():
            yield {"attempt": name, "outcome": outcome(attempt)}
        for path in filter(None, self.config.paths.split(":")):
            yield {"attempt": f"read {path}", "outcome": outcome(partial(head, path))}
            yield {"attempt": f"write {path}", "outcome": outcome(partial(Path(path).write_text, "x"))}
        for target in self.config.targets.split():
            host, port = target.rsplit(":", 1)
            yield {
                "attempt": f"connect {target}",
                "outcome": outcome(partial(connect, host, int(port))),
            }
        while self.config.linger:
            yield Idle(0.2)

    @stream(primary_key="what", modes=("full",))
    def birth(self) -> Iterator[Record]:
        """What a worker is a fork of, and what no two of them may share."""
        said: list[tuple[str, Callable[[], str]]] = [
            ("command line", lambda: Path("/proc/self/cmdline").read_text()),
            ("random", lambda: str(random.random())),
            ("secrets", secrets.token_hex),
            ("ssl", lambda: ssl.RAND_bytes(16).hex()),
            ("tempfile", lambda: tempfile.mkdtemp(dir="/tmp")),
            ("uuid", lambda: str(uuid.uuid4())),
        ]
        for what, value in said:
            yield {"what": what, "value": value()}

    @stream(primary_key="what", modes=("full",))
    def inherited(self) -> Iterator[Record]:
        """What a worker has in memory: modules but the standard library's, objects that no collection looks at."""
        foreign = {name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names - {"__main__"}
        # How the interpreter was built is in a module whose name says for what.
        foreign = {name for name in foreign if not name.startswith("_sysconfigdata_")}
        yield {"what": "modules", "value": " ".join(sorted(foreign))}
        yield {"what": "frozen", "value": str(gc.get_freeze_count())}

    def fixed(self) -> list[tuple[str, Callable[[], object]]]:
        """What every worker must refuse, or answer in one way only."""
        return [
            ("exec python", partial(spawn, sys.executable, "-c", "pass")),
            ("exec sh", partial(spawn, "/bin/sh", "-c", "true")),
            ("setuid 0", partial(os.setuid, 0)),
            ("setgid 0", partial(os.setgid, 0)),
            ("mknod", partial(os.mknod, "/tmp/node", 0o020600, os.makedev(1, 3))),
            ("netlink socket", partial(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW)),
            ("packet socket", partial(socket.socket, socket.AF_PACKET, socket.SOCK_RAW)),
            ("raw socket", partial(socket.socket, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)),
            ("vsock socket", partial(socket.socket, socket.AF_VSOCK, socket.SOCK_STREAM)),
            ("write bundle", lambda: Path("/caisson/bundle/src/x.py").write_text("x")),
            ("write shim", lambda: Path("/caisson/shim/caisson/x.py").write_text("x")),
            ("write root", lambda: Path("/x").write_text("x")),
            ("write tmp", lambda: Path("/tmp/x").write_text("x")),
            ("raise nofile", partial(resource.setrlimit, resource.RLIMIT_NOFILE, (1 << 20, 1 << 20))),
            ("list root", lambda: sorted(os.listdir("/"))),
            ("list home", lambda: os.listdir("/root") + os.listdir("/home")),
            ("list dev", lambda: sorted(os.listdir("/dev"))),
            ("list proc", lambda: sorted(name for name in os.listdir("/proc") if name.isdigit())),
            (
                "shim",
                lambda: (caisson.__file__, Connector.open.__code__.co_filename, type(caisson.__loader__).__name__),
            ),
            ("arguments", lambda: (sys.argv, sys.path, sys.flags, locale.setlocale(locale.LC_CTYPE))),
            ("streams", lambda: [(each.name, each.mode, each.encoding, each.errors) for each in STREAMS]),
            ("environ", lambda: dict(os.environ)),
            ("descriptors", descriptors),
            ("interfaces", lambda: [name for _, name in socket.if_nameindex()]),
            ("ids", lambda: (os.getuid(), os.geteuid(), os.getgid(), os.getgroups())),
            ("hostname", socket.gethostname),
            ("platform", platform.node),
            ("importers", lambda: [at for at in sys.path_importer_cache if not at.startswith(("/usr", "/caisson"))]),
            ("connectors", lambda: [each.__name__ for each in Connector.__subclasses__()]),
            ("loggers", lambda: [name for name in logging.root.manager.loggerDict if "rehears" in name]),
            ("time zone", lambda: (time.tzname, time.localtime().tm_gmtoff, time.mktime(time.gmtime(0)))),
            ("kill init", partial(os.kill, 1, 9)),
            ("resolv.conf", lambda: Path("/etc/resolv.conf").read_text()),
            ("sysctl", lambda: Path("/proc/sys/kernel/hostname").write_text("x")),
            ("channel again", lambda: os.dup(3) and os.write(3, b"")),
        ]
