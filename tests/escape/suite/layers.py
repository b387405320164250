"""Every layer that can be taken away, and the attempts that must succeed without it.

The names of the parts are those of runtime/without. Where one identity is left out, the reason stands beside it. A
layer that stands behind another one is proven with that one gone: what it stops must be refused then, and succeed once
it is gone too.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Layer:
    """A layer, and what proves that it stops something.

    Attributes:
        part: What CAISSON_WITHOUT calls it.
        title: What the documentation calls it.
        root: Attempts that succeed against a root daemon's worker without it: numbers, or NUMBER/THEFT.
        user: The same for an ordinary user's daemon.
        remark: Why an identity has none, or what else is worth knowing.
        behind: The parts that it stands behind, separated by commas.
        no_worker: Identities for whom no worker can be made without it, which is a failure of every attempt.
    """

    part: str
    title: str
    root: tuple[str, ...] = ()
    user: tuple[str, ...] = ()
    remark: str = ""
    behind: str = ""
    no_worker: tuple[str, ...] = ()

    def expected(self, identity: str) -> tuple[str, ...]:
        """Attempts that must succeed."""
        return self.root if identity == "root" else self.user


LAYERS: tuple[Layer, ...] = (
    Layer(
        "user-namespace",
        "user namespace",
        ("57", "A2"),
        remark="an ordinary user makes none of the others without",
        no_worker=("user",),
    ),
    Layer("id-map", "an outer id that owns nothing", ("57",), remark="an ordinary user has but its own id"),
    Layer("own-ids", "one outer id per worker", ("57",), remark="an ordinary user has but its own id"),
    Layer("pid-namespace", "pid namespace", ("23", "24"), ("23", "24")),
    Layer(
        "root",
        "mount namespace and root",
        ("8", "9", "A2"),
        remark="an ordinary user's daemon takes the host's /tmp for what the worker holds, and ends it",
        no_worker=("user",),
    ),
    Layer("net-namespace", "network namespace", ("A2",), ("A2",)),
    Layer("ipc-namespace", "ipc namespace", ("A2",), ("A2",)),
    Layer("uts-namespace", "uts namespace", ("A2",), ("A2",)),
    Layer("cgroup-namespace", "cgroup namespace", ("A2",), ("A2",)),
    Layer("capabilities", "no capability in any set", ("A3",), ("A3",)),
    Layer(
        "no-new-privileges",
        "no_new_privs",
        ("A3/privileges by exec, as /proc tells it",),
        ("A3/privileges by exec, as /proc tells it",),
        remark="Landlock and the filter set it once more; the kernel takes neither without it from an ordinary user",
        behind="seccomp,landlock",
    ),
    Layer("seccomp", "system call filter", ("11", "14", "15", "16", "17", "18"), ("11", "14", "15", "16", "17", "18")),
    Layer(
        "landlock",
        "Landlock",
        ("A5/bind TCP", "A10/symlink", "A10/pipe", "A10/socket"),
        ("A5/bind TCP", "A10/symlink", "A10/pipe", "A10/socket"),
        remark="the second lock on files and ports",
        behind="seccomp",
    ),
    Layer("cgroup", "cgroup, or the watch on memory", ("20",), ("20",)),
    Layer("rlimits", "resource limits", ("A4",), ("19", "A4")),
    Layer("descriptors", "closed descriptors", ("10",), ("10",)),
    Layer("environment", "an environment from nothing", ("6",), ("6",)),
    Layer("death", "the death signal", ("22",), ("22",)),
    Layer(
        "read-only",
        "read-only binds",
        (),
        ("A8/a file beside its bundle",),
        remark="a root daemon's worker owns none of the files",
        behind="landlock",
    ),
    Layer("proc", "the masks of /proc", ("7",), ("7",)),
    Layer("beneath", "granted directories without links", ("3",), ("3",)),
    Layer("forbidden", "the daemon's own directories kept out of grants", ("4",), ("4",)),
    Layer("tmp-size", "the size of /tmp", ("21",), ("21",)),
    Layer("first-code", "an interpreter that imports nothing by itself", ("56",), ("56",)),
    Layer("policy", "the policy's rules on hosts and ports", ("32", "40"), ("32", "40")),
    Layer("addresses", "the checks on the addresses behind names", ("33", "34"), ("33", "34")),
    Layer("dns", "what DNS may be asked", ("35",), ("35",)),
    Layer("sni", "the name in the ClientHello", ("41/another name",), ("41/another name",)),
    Layer(
        "http-rules", "the rules on methods and paths", ("42/a path that none allows",), ("42/a path that none allows",)
    ),
    Layer("own-sockets", "the daemon's own sockets kept out of every rule", ("45",), ("45",)),
    Layer("revocation", "connections closed when a policy is reloaded", ("44",), ("44",)),
    Layer("watch", "the watch on packets that no listener takes", ("58",), ("58",)),
    Layer("secrets-from", "`from` of a policy's secrets", ("54",), ("54",)),
    Layer("redactor", "the redactor", ("49",), ("49",)),
    Layer("order", "the order of frames", ("26",), ("26",)),
    Layer("deadline", "the deadline", ("27",), ("27",)),
    Layer("log-quota", "the quota of log lines", ("21",), ("21",)),
)
