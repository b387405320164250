"""Every layer that can be taken away, and the attempts that must succeed without it.

The names of the parts are those of runtime/without. Where one identity is left out, the reason stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Layer:
    """A layer, and what proves that it stops something.

    Attributes:
        part: What CAISSON_WITHOUT calls it.
        title: What the documentation calls it.
        root: Attempts that succeed against a root daemon's worker without it.
        user: The same for an ordinary user's daemon.
        remark: Why an identity has none, or what else is worth knowing.
        no_worker: Identities for whom no worker can be made without it, which is a failure of every attempt.
    """

    part: str
    title: str
    root: tuple[str, ...] = ()
    user: tuple[str, ...] = ()
    remark: str = ""
    no_worker: tuple[str, ...] = field(default=())

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
    Layer("pid-namespace", "pid namespace", ("23", "24", "A2"), ("23", "24", "A2")),
    Layer("root", "mount namespace and root", ("8", "9", "A2"), ("8", "9", "A2")),
    Layer("net-namespace", "network namespace", ("A2",), ("A2",)),
    Layer("ipc-namespace", "ipc namespace", ("A2",), ("A2",)),
    Layer("uts-namespace", "uts namespace", ("A2",), ("A2",)),
    Layer("cgroup-namespace", "cgroup namespace", ("A2",), ("A2",)),
    Layer("capabilities", "no capability in any set", ("A3", "A5"), ("A3", "A5")),
    Layer(
        "no-new-privileges",
        "no_new_privs",
        remark="the kernel takes no filter and no Landlock without it",
        no_worker=("root", "user"),
    ),
    Layer("seccomp", "system call filter", ("11", "14", "15", "16", "17", "18"), ("11", "14", "15", "16", "17", "18")),
    Layer("landlock", "Landlock", ("A5",), ("A5",)),
    Layer("cgroup", "cgroup, or the watch on memory", ("20",), ("20",)),
    Layer("rlimits", "resource limits", ("A4",), ("19", "A4")),
    Layer("descriptors", "closed descriptors", ("10",), ("10",)),
    Layer("environment", "an environment from nothing", ("6",), ("6",)),
    Layer("death", "the death signal", ("22",), ("22",)),
    Layer("read-only", "read-only binds", (), ("A8",), remark="a root daemon's worker owns none of the files"),
    Layer("proc", "the masks of /proc", ("7",), ("7",)),
    Layer("beneath", "granted directories without links", ("3",), ("3",)),
    Layer("forbidden", "the daemon's own directories kept out of grants", ("4",), ("4",)),
    Layer("tmp-size", "the size of /tmp", ("21",), ("21",)),
    Layer("first-code", "an interpreter that imports nothing by itself", ("56",), ("56",)),
    Layer("order", "the order of frames", ("26",), ("26",)),
    Layer("deadline", "the deadline", ("27",), ("27",)),
    Layer("log-quota", "the quota of log lines", ("21",), ("21",)),
)
