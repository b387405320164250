"""What workers ask the kernel for, seen by strace.

strace follows the launcher, so it sees each worker from its first moment on.
What counts is what a worker asks for after it put its final filter on:
setting up a worker is the launcher's business and is judged by no profile.
"""

from __future__ import annotations

import collections
import contextlib
import json
import platform
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

PROFILES = Path(__file__).parents[2] / "sandbox-profiles"
LINE = re.compile(r"^(\d+) +(\w+)\((.*?)(?:\) += (.*)| <unfinished \.\.\.>)$")
RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>.*?\) += (.*)$")
# What a worker that locked itself cannot do, and a helper of the launcher does.
HELPER = "setns"
SEEN_AT_MOST = 3

Call = tuple[str, tuple[int, ...]]


def judged() -> dict[str, list[int]]:
    """The arguments that some profile looks at, by call."""
    found: dict[str, set[int]] = collections.defaultdict(set)
    for name in ("strict", "native", "exec"):
        profile = json.loads((PROFILES / f"{name}.json").read_text())
        for rule in profile["allow"]:
            for conditions in rule.get("args", []):
                found[rule["call"]].update(condition["arg"] for condition in conditions)
    return {call: sorted(arguments) for call, arguments in found.items()}


def launcher_of(daemon: int) -> int:
    """The process that makes a daemon's workers."""
    for task in Path(f"/proc/{daemon}/task").iterdir():
        for child in (task / "children").read_text().split():
            if b"launcher" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                return int(child)
    raise RuntimeError(f"the daemon {daemon} has no launcher")


def after_the_lock(lines: list[str], launcher: int) -> Iterator[Call]:
    """The calls of locked workers and of what they started."""
    by_process: dict[int, list[Call]] = collections.defaultdict(list)
    for line in lines:
        if (made := LINE.match(line)) is not None:
            process, name, arguments, result = int(made[1]), made[2], made[3], made[4]
            by_process[process].append((name, tuple(int(value, 0) for value in arguments.split(", ") if value)))
            if name == "seccomp" and result == "0":
                by_process[process].append(("locked", ()))
        elif (resumed := RESUMED.match(line)) is not None and resumed[2] == "seccomp" and resumed[3] == "0":
            by_process[int(resumed[1])].append(("locked", ()))
    for process, calls in by_process.items():
        if process == launcher or any(name == HELPER for name, _ in calls):
            continue
        locked = max((place for place, (name, _) in enumerate(calls) if name == "locked"), default=-1)
        yield from calls[locked + 1 :]


class Traces:
    """Calls by profile, with the workloads that made them."""

    def __init__(self) -> None:
        self.judged = judged()
        # profile -> call -> arguments that are looked at -> workloads
        self.seen: dict[str, dict[str, dict[tuple[int, ...], list[str]]]] = {}

    @contextlib.contextmanager
    def of(self, daemon: int, profile: str, workload: str) -> Iterator[None]:
        """Traces the workers that are made within."""
        launcher = launcher_of(daemon)
        with tempfile.NamedTemporaryFile("r", prefix="strace-") as out:
            tracer = subprocess.Popen(
                ["strace", "-f", "-e", "raw=all", "-o", out.name, "-p", str(launcher)],
                stderr=subprocess.PIPE,
                text=True,
            )
            assert tracer.stderr is not None
            attached = tracer.stderr.readline()
            assert "attached" in attached, attached
            try:
                yield
            finally:
                tracer.send_signal(signal.SIGINT)
                tracer.wait(30)
                tracer.stderr.close()
            self.add(profile, workload, after_the_lock(out.read().splitlines(), launcher))

    def add(self, profile: str, workload: str, calls: Iterator[Call]) -> None:
        """Takes the calls of one workload in."""
        table = self.seen.setdefault(profile, {})
        count = 0
        for name, arguments in calls:
            count += 1
            looked_at = tuple(arguments[place] for place in self.judged.get(name, []) if place < len(arguments))
            workloads = table.setdefault(name, {}).setdefault(looked_at, [])
            if workload not in workloads and len(workloads) < SEEN_AT_MOST:
                workloads.append(workload)
        assert count > 100, f"{workload}: only {count} calls were seen"

    def write(self, folder: Path) -> None:
        """One file a profile."""
        folder.mkdir(exist_ok=True)
        for profile, table in self.seen.items():
            calls = {
                name: [
                    {
                        "args": {
                            str(place): value for place, value in zip(self.judged.get(name, []), seen, strict=False)
                        },
                        "by": sorted(by),
                    }
                    for seen, by in sorted(found.items())
                ]
                for name, found in sorted(table.items())
            }
            made = {
                "arch": platform.machine(),
                "kernel": ".".join(platform.release().split(".")[:2]),
                "libc": " ".join(platform.libc_ver("/usr/bin/python3.11")),
            }
            (folder / f"{profile}.json").write_text(
                json.dumps({"profile": profile, "made": made, "calls": calls}, indent=1)
            )
